//! What is remembered of questions that brought no answer: about whom it is too early to ask again, and which provider is
//! left alone.
//!
//! In memory alone. When somebody was vouched for last lies on the disk, so a new start costs her three more tries and no
//! more time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// After a question that brought no answer the next one about her comes so much later, and twice as much each time.
const PAUSE_SECONDS: u64 = 30;

/// Who was asked about so often in a row without an answer that could be used is not vouched for any more, if it has also
/// lasted: see [`Tries::is_enough`].
pub(super) const TRIES_MAX: u32 = 3;

/// How the questions about somebody went since the last that was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    asked_at: i64,
    failed: u32,
    doubts: u32,
    doubted_at: i64,
}

/// What is remembered of one provider.
#[derive(Clone, Copy, Default)]
struct Known {
    /// From when, and for how many seconds it is left alone.
    quiet: Option<(i64, u64)>,
    /// When it last gave an answer about anybody that could be used.
    answered_at: Option<i64>,
}

/// The same of all, by key and by issuer.
#[derive(Default)]
pub(super) struct Remembered {
    keys: Mutex<HashMap<String, Tries>>,
    providers: Mutex<HashMap<String, Known>>,
}

impl Tries {
    /// When she was asked about last: seconds since 1970 (UTC); 0 if all went well.
    pub fn asked_at(&self) -> i64 {
        self.asked_at
    }

    /// Whether others come first. `most` is the longest that she is put off.
    pub fn is_too_early(&self, now: i64, most: Duration) -> bool {
        let Some(times) = self.failed.checked_sub(1) else { return false };
        let pause = PAUSE_SECONDS.saturating_mul(1 << times.min(16)).min(most.as_secs());
        now.abs_diff(self.asked_at) < pause
    }

    /// Once more without an answer.
    pub fn failed(&mut self, now: i64) {
        (self.asked_at, self.failed) = (now, self.failed.saturating_add(1));
    }

    /// The answer cannot be used, or the provider fails with this question: then it counts if others were answered since
    /// the last time, or else nobody can tell her from all others. Whether this is the first time.
    pub fn doubted(&mut self, now: i64, is_answer: bool, others_at: Option<i64>) -> bool {
        let is_first = self.doubts == 0;
        if is_first || is_answer || others_at.is_some_and(|at| at >= self.doubted_at) {
            (self.doubts, self.doubted_at) = (self.doubts.saturating_add(1), now);
        }
        is_first
    }

    /// Whether that is enough for a refusal, by one who was vouched for so many seconds ago.
    pub fn is_enough(&self, since_seconds: u64, recheck: Duration) -> bool {
        self.doubts >= TRIES_MAX && since_seconds >= recheck.as_secs().saturating_mul(2)
    }
}

impl Remembered {
    pub fn of_key(&self, key: &str) -> Tries {
        self.keys().get(key).copied().unwrap_or_default()
    }

    pub fn note(&self, key: &str, tries: Tries) {
        let mut keys = self.keys();
        match tries == Tries::default() {
            true => drop(keys.remove(key)),
            false => drop(keys.insert(key.to_owned(), tries)),
        }
    }

    /// Forgets the keys of which nothing is stored any more.
    pub fn retain(&self, is_stored: impl Fn(&str) -> bool) {
        self.keys().retain(|key, _| is_stored(key));
    }

    /// A provider answers nobody. It is left alone for a while, as it wishes within `most`.
    pub fn is_silent(&self, issuer: &str, now: i64, wish: Option<Duration>, most: Duration) {
        let wish = wish.map_or(0, |wish| wish.as_secs());
        let seconds = wish.min(most.as_secs()).max(PAUSE_SECONDS);
        self.providers().entry(issuer.to_owned()).or_default().quiet = Some((now, seconds));
    }

    /// Whether it is left alone now.
    pub fn is_quiet(&self, issuer: &str, now: i64) -> bool {
        let quiet = self.providers().get(issuer).and_then(|known| known.quiet);
        quiet.is_some_and(|(at, seconds)| now.abs_diff(at) < seconds)
    }

    /// It has answered about somebody.
    pub fn answered(&self, issuer: &str, now: i64) {
        *self.providers().entry(issuer.to_owned()).or_default() =
            Known { quiet: None, answered_at: Some(now) };
    }

    pub fn answered_at(&self, issuer: &str) -> Option<i64> {
        self.providers().get(issuer).and_then(|known| known.answered_at)
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<String, Tries>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn providers(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECHECK: Duration = Duration::from_secs(900);

    #[test]
    fn who_brings_no_answer_is_put_off_for_longer_each_time_and_never_for_longer_than_the_recheck() {
        let (mut tries, mut pauses) = (Tries::default(), Vec::new());
        assert!(!tries.is_too_early(0, RECHECK));
        for _ in 0..40 {
            tries.failed(1000);
            pauses.push((1000..).take_while(|now| tries.is_too_early(*now, RECHECK)).count());
        }
        assert_eq!(pauses[..6], [30, 60, 120, 240, 480, 900]);
        assert_eq!(pauses[39], 900);
    }

    #[test]
    fn a_provider_that_fails_with_everybody_refuses_nobody_and_one_that_answers_others_does() {
        let times = [0, 1000, 2000, 3000];
        let after = |is_answer, others_at: Option<i64>| {
            let mut tries = Tries::default();
            for at in times {
                tries.doubted(at, is_answer, others_at);
            }
            tries.is_enough(1800, RECHECK)
        };
        assert!(!after(false, None));
        assert!(!after(false, Some(500)), "it has answered nobody since");
        assert!(after(false, Some(3000)));
        assert!(after(true, None), "it answers");
    }

    #[test]
    fn three_tries_within_a_moment_are_not_enough_nor_is_one_that_lasts() {
        let mut tries = Tries::default();
        assert!(tries.doubted(0, true, None));
        assert!(!tries.doubted(0, true, None), "said once");
        assert!(!tries.is_enough(10_000, RECHECK));
        tries.doubted(0, true, None);
        assert!(!tries.is_enough(1799, RECHECK));
        assert!(tries.is_enough(1800, RECHECK));
    }

    #[test]
    fn a_provider_is_left_alone_for_as_long_as_it_wishes_within_bounds() {
        let pause_of = |wish: Option<u64>| {
            let remembered = Remembered::default();
            remembered.is_silent("i", 1000, wish.map(Duration::from_secs), RECHECK);
            (1000..).take_while(|now| remembered.is_quiet("i", *now)).count()
        };
        assert_eq!([None, Some(0), Some(120), Some(u64::MAX)].map(pause_of), [30, 30, 120, 900]);
    }
}
