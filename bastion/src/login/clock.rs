//! The time of day, so that a test can live through the hours of a binding.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Tells the time: the system's, or a test's.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(Arc::new(SystemTime::now))
    }

    /// A clock that shows what `read` says.
    #[cfg(test)]
    pub fn pretended(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(read))
    }

    /// Now.
    pub fn system_time(&self) -> SystemTime {
        (self.0)()
    }

    /// Now, in seconds since 1970 (UTC).
    pub fn now(&self) -> i64 {
        let since = self.system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}
