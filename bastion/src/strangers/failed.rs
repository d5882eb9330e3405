//! Proofs that failed, by where they came from: who guesses is turned away until the minute is over.
//!
//! A key that nobody knows is no failed proof, nor is a sign-in that was left, or that failed for the provider's sake:
//! those are what honest clients do. Failed is a signature that does not hold, a certificate of an authority of ours
//! that does not, and a sign-in that was denied or was somebody else's.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::network;

/// What is said to whoever is turned away.
pub const TURNED_AWAY: &str = "bastion: too many failed sign-ins from your address. Try again in a minute.";

const MINUTE: Duration = Duration::from_secs(60);

/// Sources that are remembered, 100 bytes each. A source costs whoever has so many a connection and a second.
const SOURCES_MAX: usize = 10_000;

/// How many failed in the last minute, by source.
#[derive(Default)]
pub struct FailedProofs(Mutex<HashMap<IpAddr, Minute>>);

/// Begins with the first that fails.
#[derive(Clone, Copy)]
struct Minute {
    began: Instant,
    failed: usize,
}

impl FailedProofs {
    /// So many more have failed. Whether that is what turns the source away.
    pub fn note(&self, source: IpAddr, failed: usize, most: usize) -> bool {
        self.note_at(source, failed, most, Instant::now())
    }

    /// Whether this source is turned away now.
    pub fn turns_away(&self, source: IpAddr, most: usize) -> bool {
        self.turns_away_at(source, most, Instant::now())
    }

    fn note_at(&self, source: IpAddr, failed: usize, most: usize, now: Instant) -> bool {
        let source = network(source);
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minutes.len() >= SOURCES_MAX && !minutes.contains_key(&source) {
            make_room(&mut minutes, now);
        }
        let minute = minutes.entry(source).or_insert(Minute { began: now, failed: 0 });
        if minute.is_over(now) {
            *minute = Minute { began: now, failed: 0 };
        }
        let before = minute.failed;
        minute.failed = before.saturating_add(failed);
        before < most && minute.failed >= most
    }

    fn turns_away_at(&self, source: IpAddr, most: usize, now: Instant) -> bool {
        let minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        minutes.get(&network(source)).is_some_and(|minute| minute.failed >= most && !minute.is_over(now))
    }
}

impl Minute {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.began) >= MINUTE
    }
}

/// Forgets the minutes that are over, or else the oldest one.
fn make_room(minutes: &mut HashMap<IpAddr, Minute>, now: Instant) {
    minutes.retain(|_, minute| !minute.is_over(now));
    if minutes.len() >= SOURCES_MAX
        && let Some(oldest) = minutes.iter().min_by_key(|(_, minute)| minute.began).map(|(source, _)| *source)
    {
        minutes.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_source_is_turned_away_until_the_minute_of_its_failures_is_over() {
        let (failed, began) = (FailedProofs::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let of_the_same: IpAddr = "2001:db8::2".parse().unwrap();

        let said = [0, 10, 20, 30].map(|second| failed.note_at(one, 1, 3, at(second)));
        assert_eq!(said, [false, false, true, false], "said once");
        assert!(failed.turns_away_at(of_the_same, 3, at(59)), "a network is one source");
        assert!(!failed.turns_away_at(from(1), 3, at(59)), "others are not");
        assert!(!failed.turns_away_at(one, 3, at(60)));

        assert!(!failed.note_at(one, 2, 3, at(70)), "a new minute");
        assert!(!failed.turns_away_at(one, 3, at(71)));
        assert!(failed.note_at(one, 2, 3, at(72)));
    }

    #[test]
    fn sources_are_bounded_and_the_oldest_is_forgotten() {
        let (failed, began) = (FailedProofs::default(), Instant::now());
        for number in 0..SOURCES_MAX as u32 {
            failed.note_at(from(number), 1, 1, began + Duration::from_millis(number.into()));
        }
        let later = began + Duration::from_secs(11);
        failed.note_at(from(1 << 24), 1, 1, later);
        assert_eq!(failed.0.lock().unwrap().len(), SOURCES_MAX);
        assert!(!failed.turns_away_at(from(0), 1, later));
        assert!(failed.turns_away_at(from(1), 1, later) && failed.turns_away_at(from(1 << 24), 1, later));

        failed.note_at(from(1 << 25), 1, 1, later + MINUTE);
        assert_eq!(failed.0.lock().unwrap().len(), 1, "what is over needs no place");
    }
}
