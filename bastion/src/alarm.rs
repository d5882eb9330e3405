//! Waiting for a moment that moves.

use std::{future::pending, pin::Pin};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for one whose deadline moves with every byte.
///
/// A timer of tokio's that is set anew for each wait wakes the thread that polls the sockets, each time; on the way
/// of a key that costs as much as the key. So a deadline that moves away is not told to the timer: it goes off at the
/// earlier time, and is set anew then.
#[derive(Default)]
pub struct Alarm(Option<(Pin<Box<Sleep>>, Instant)>);

impl Alarm {
    /// Waits until `at`; for ever if there is none. May be dropped at any time, and asked again with another time.
    pub async fn reached(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return pending().await };
        while Instant::now() < at {
            let (sleep, set) = self.0.get_or_insert_with(|| (Box::pin(sleep_until(at)), at));
            if *set > at {
                sleep.as_mut().reset(at);
                *set = at;
            }
            sleep.as_mut().await;
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_goes_off_at_its_time_wherever_that_was_moved() {
        let mut alarm = Alarm::default();
        let began = Instant::now();
        let ms = |ms| Some(began + Duration::from_millis(ms));
        for dropped in [ms(10_000), ms(5), ms(20), None] {
            tokio::select! {
                biased;
                () = alarm.reached(dropped) => panic!("too early"),
                () = std::future::ready(()) => {}
            }
        }
        for at in [20, 60, 30] {
            alarm.reached(ms(at)).await;
            assert!(Instant::now() >= began + Duration::from_millis(at));
        }
        assert!(began.elapsed() < Duration::from_secs(5), "not at the first one's time");
    }
}
