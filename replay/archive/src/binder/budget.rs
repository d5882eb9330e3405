//! How much may be spent on key frames.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The part of one core that key frames may take. Emulating a terminal costs 20 to 40 ms for each MiB of output:
/// so up to some 3 MiB/s of output get key frames at once, and what is faster gets them later.
pub const KEYFRAME_SHARE: f64 = 0.1;
/// What may be saved up, in time of one core: a short session has its key frames as soon as it ends.
const SAVED_AT_MOST: Duration = Duration::from_secs(2);

/// What may still be spent.
pub(super) struct Budget {
    /// In seconds of one core; less than nothing after a screen that was dear.
    left: f64,
    counted: Instant,
    spent: Duration,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Budget { left: SAVED_AT_MOST.as_secs_f64(), counted: now, spent: Duration::ZERO }
    }

    /// Whether anything may be spent now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.left_at(now) > 0.0
    }

    /// When something may be spent again.
    pub(super) fn opens_at(&self, now: Instant) -> Instant {
        let missing = (-self.left_at(now)).max(0.0) / KEYFRAME_SHARE;
        now + Duration::from_secs_f64(missing) + Duration::from_millis(10)
    }

    /// So much was spent.
    pub(super) fn spend(&mut self, now: Instant, spent: Duration) {
        self.left = self.left_at(now) - spent.as_secs_f64();
        self.spent += spent;
        self.counted = now;
    }

    /// All that was spent.
    pub(super) fn spent(&self) -> Duration {
        self.spent
    }

    fn left_at(&self, now: Instant) -> f64 {
        let earned = now.saturating_duration_since(self.counted).as_secs_f64() * KEYFRAME_SHARE;
        (self.left + earned).min(SAVED_AT_MOST.as_secs_f64())
    }
}

/// The time that this thread has spent on a core.
pub(super) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let whole = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(whole, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_any_stretch_key_frames_take_their_share_and_what_was_saved() {
        let begin = Instant::now();
        let mut budget = Budget::new(begin);
        let (mut now, mut spent) = (begin, Duration::ZERO);
        let step = Duration::from_millis(30);
        while now < begin + Duration::from_secs(1000) {
            if budget.is_open(now) {
                budget.spend(now, step);
                (now, spent) = (now + step, spent + step);
            } else {
                now = budget.opens_at(now);
            }
        }

        let allowed = 1000.0 * KEYFRAME_SHARE + SAVED_AT_MOST.as_secs_f64() + step.as_secs_f64();
        assert!(spent.as_secs_f64() <= allowed && spent.as_secs_f64() > allowed * 0.8, "{spent:?}");
    }

    #[test]
    fn what_is_not_spent_is_not_saved_for_ever() {
        let begin = Instant::now();
        let mut budget = Budget::new(begin);
        let later = begin + Duration::from_secs(3600);
        budget.spend(later, SAVED_AT_MOST);

        assert!(!budget.is_open(later));
    }
}
