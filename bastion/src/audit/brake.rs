//! How much of what is refused is written: a share for each, so that nobody fills the record and nobody hides in another's
//! noise, and a bound in all. What is left out is counted, and told once the minute is over.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use recording::Person;
use tokio::time::Instant;

use super::Act;

/// After so long what was left out is told, and everybody has a new share.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Refusals of one source, or denials of one person, that are written a minute.
pub(super) const SHARE_A_MINUTE: u64 = 100;

/// The same of all together: 1.5 MB a minute, before they are compressed.
pub(super) const IN_ALL_A_MINUTE: u64 = 3000;

/// Networks of IPv6 that are turned away, of one site: see [`site`]. Who has a site has 65,536 of them, and each costs
/// `limits.failed_proofs` failed proofs. An address of IPv4 is turned away once a minute.
pub(super) const TURNED_AWAY_OF_A_SITE: u64 = 60;

/// The same of all together: to have more takes more failed proofs than a machine can check in a minute. No refusal takes
/// any of these, so that a flood of those hides no source that guesses.
pub(super) const TURNED_AWAY_IN_ALL: u64 = 10_000;

/// Sources or persons of whom it is told how many of theirs were left out; the rest is told as one number.
const TOLD_MAX: usize = 100;

/// Whose refusals are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// Those of this site.
    Site(IpAddr),
    /// Those of this person.
    Hers { issuer: String, subject: String, name: String },
}

#[derive(Clone, Copy, Default)]
struct Count {
    written: u64,
    left_out: u64,
}

/// Counts the refusals of a minute. Remembers as many as have had one written, so no more than are written in all.
pub(super) struct Brake {
    begun: Instant,
    each: u64,
    in_all: u64,
    written: u64,
    counts: HashMap<Whose, Count>,
    /// Left out, of whom nothing was written.
    others: u64,
}

impl Whose {
    /// Who causes this to be written, if it is a refusal.
    pub fn of(act: &Act) -> Option<Whose> {
        match act {
            Act::SignInRefused { source, .. } | Act::SourceTurnedAway { source, .. } => {
                Some(Whose::Site(site(source.ip())))
            }
            Act::Denied { person, .. } => Some(Whose::Hers {
                issuer: person.issuer.clone(),
                subject: person.subject.clone(),
                name: person.name.clone(),
            }),
            _ => None,
        }
    }
}

impl Brake {
    pub fn new(each: u64, in_all: u64) -> Brake {
        Brake { begun: Instant::now(), each, in_all, written: 0, counts: HashMap::new(), others: 0 }
    }

    /// Whether one more of theirs may be written.
    pub fn passes(&mut self, whose: Option<&Whose>) -> bool {
        let count = whose.and_then(|whose| self.counts.get_mut(whose));
        let has_share = count.as_ref().is_none_or(|count| count.written < self.each);
        if !has_share || self.written >= self.in_all {
            *count.map_or(&mut self.others, |count| &mut count.left_out) += 1;
            return false;
        }
        self.written += 1;
        if let Some(whose) = whose {
            self.counts.entry(whose.clone()).or_default().written += 1;
        }
        true
    }

    /// So many that were to be written are not.
    pub fn leaves_out(&mut self, whose: Option<&Whose>, refusals: u64) {
        let count = whose.and_then(|whose| self.counts.get_mut(whose));
        *count.map_or(&mut self.others, |count| &mut count.left_out) += refusals;
    }

    pub fn has_left_out(&self) -> bool {
        self.others > 0 || self.counts.values().any(|count| count.left_out > 0)
    }

    /// Once the minute is over, begins a new one, and tells what was left out in it.
    pub fn turn(&mut self, now: Instant) -> Vec<(Option<Whose>, u64)> {
        match now.duration_since(self.begun) >= MINUTE {
            true => self.begin_anew(now),
            false => Vec::new(),
        }
    }

    /// The same, whether it is over or not.
    pub fn begin_anew(&mut self, now: Instant) -> Vec<(Option<Whose>, u64)> {
        (self.begun, self.written) = (now, 0);
        let mut counts: Vec<_> = self.counts.drain().filter(|(_, count)| count.left_out > 0).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(count.left_out));
        let rest = counts.split_off(TOLD_MAX.min(counts.len()));
        let rest = std::mem::take(&mut self.others) + rest.iter().map(|(_, c)| c.left_out).sum::<u64>();
        let each = counts.into_iter().map(|(whose, count)| (Some(whose), count.left_out));
        each.chain((rest > 0).then_some((None, rest))).collect()
    }

    /// When the minute will be over.
    pub fn over_at(&self) -> Instant {
        self.begun + MINUTE
    }
}

/// What is told of those that were left out.
pub(super) fn told((whose, refusals): (Option<Whose>, u64)) -> Act {
    let (source, person) = match whose {
        None => (None, None),
        Some(Whose::Site(IpAddr::V6(site))) => (Some(format!("{site}/48")), None),
        Some(Whose::Site(address)) => (Some(address.to_string()), None),
        Some(Whose::Hers { issuer, subject, name }) => {
            (None, Some(Person { issuer, subject, name, ..Person::default() }))
        }
    };
    Act::LeftOut { refusals, source, person }
}

/// An address, or of IPv6 the /48 around it: a site has that many, and would have a share for each of 65,536 networks.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 80 << 80).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Whose {
        Whose::Site(site(address.parse().unwrap()))
    }

    fn passed(brake: &mut Brake, whose: &Whose, times: u64) -> u64 {
        (0..times).filter(|_| brake.passes(Some(whose))).count() as u64
    }

    #[test]
    fn who_uses_up_his_share_takes_nothing_of_anothers_and_it_is_told_how_many_of_his_were_left_out() {
        let mut brake = Brake::new(SHARE_A_MINUTE, IN_ALL_A_MINUTE);
        let (loud, quiet) = (from("192.0.2.1"), from("192.0.2.2"));
        assert_eq!(passed(&mut brake, &loud, 5000), SHARE_A_MINUTE);
        assert_eq!(passed(&mut brake, &quiet, 3), 3);

        let begun = brake.begun;
        assert_eq!(brake.turn(begun + MINUTE - Duration::from_secs(1)), []);
        assert_eq!(brake.turn(begun + MINUTE), [(Some(loud.clone()), 4900)]);
        assert_eq!(passed(&mut brake, &loud, 5), 5, "a new minute");
        assert!(!brake.has_left_out());
    }

    #[test]
    fn a_site_has_one_share_for_all_its_networks_and_all_have_a_bound() {
        let mut brake = Brake::new(SHARE_A_MINUTE, IN_ALL_A_MINUTE);
        let networks = (0..500).map(|n| from(&format!("2001:db8:7:{n:x}::1")));
        let passes = networks.filter(|whose| brake.passes(Some(whose))).count() as u64;
        assert_eq!(passes, SHARE_A_MINUTE);

        let sites = (0..2 * IN_ALL_A_MINUTE).map(|n| from(&format!("2001:db8:{:x}::1", n + 100)));
        let passes = sites.filter(|whose| brake.passes(Some(whose))).count() as u64;
        assert_eq!(passes, IN_ALL_A_MINUTE - SHARE_A_MINUTE);
        assert!(brake.counts.len() as u64 <= IN_ALL_A_MINUTE);
        let told = brake.begin_anew(Instant::now());
        assert_eq!(told, [(Some(from("2001:db8:7::")), 400), (None, IN_ALL_A_MINUTE + SHARE_A_MINUTE)]);
    }

    #[test]
    fn as_many_are_told_of_as_can_be_read_and_the_rest_is_a_number() {
        let mut brake = Brake::new(1, IN_ALL_A_MINUTE);
        for n in 0..150u32 {
            passed(&mut brake, &from(&format!("10.0.0.{n}")), 2);
        }
        let told = brake.begin_anew(Instant::now());
        assert_eq!((told.len(), told[TOLD_MAX].clone()), (TOLD_MAX + 1, (None, 50)));
    }
}
