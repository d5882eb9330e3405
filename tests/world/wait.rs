//! Waiting for something to be so.

use std::{
    thread,
    time::{Duration, Instant},
};

/// For what takes milliseconds on a quiet machine. Tests share two cores with a compiler at times.
pub const SHORT: Duration = Duration::from_secs(20);

/// For what takes seconds on a quiet machine.
pub const LONG: Duration = Duration::from_secs(120);

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until there is something to see, and answers with it.
///
/// # Panics
/// When `bound` is over, naming `what` was waited for.
#[track_caller]
pub fn within<T>(bound: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < bound, "waited {bound:?} in vain for {what}");
        thread::park_timeout(LOOK_AGAIN);
    }
}
