//! How a client is slowed down whose target does not read.
//!
//! russh puts what arrives into a bounded queue per channel and stops the whole connection when one is full; it
//! grants a window anew when bytes arrive, not when they are taken; and it does not enforce windows. So each channel
//! is drained at once, what piles up is counted, and while the count is above one window only two bytes are granted
//! at a time, the sender of those two bytes being kept waiting. It leans on russh's internals: the tests that would
//! hang without it are the flow-control journeys.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// The window of every channel, in bytes. On a long line it caps the throughput at window / round trip.
pub const WINDOW_BYTES: u32 = 2 << 20;
/// Bytes that may wait on one connection before its client is squeezed: one window.
const BACKLOG_BYTES_MAX: usize = WINDOW_BYTES as usize;
/// What a squeezed client is granted instead of a window. russh ignores 0 and never recovers from 1.
const SQUEEZED_WINDOW: u32 = 2;
/// Squeezed messages that pass freely; after that each costs its connection [`BRAKE`].
const FREE_PINGS: u32 = 32;
/// A stalled client would play ping-pong, two bytes each, as fast as its line allows: 70 % of a core on a short one.
const BRAKE: Duration = Duration::from_millis(5);
/// An honest client cannot have this much under way: one that has ignores its windows.
const FLOOD_BYTES: usize = 64 << 20;

/// The client sent far more than its windows allow; its connection must end.
#[derive(Debug, thiserror::Error)]
#[error("client ignores its windows: {0} bytes wait")]
pub struct Flood(pub usize);

/// The squeeze of one connection.
#[derive(Default)]
pub struct Squeeze {
    backlog: Arc<AtomicUsize>,
    pings: u32,
}

impl Squeeze {
    /// The count of bytes that wait, for those who hold them.
    pub fn backlog(&self) -> Arc<AtomicUsize> {
        self.backlog.clone()
    }

    /// The window to grant now.
    pub fn window(&mut self) -> u32 {
        if self.backlog.load(Relaxed) > BACKLOG_BYTES_MAX {
            return SQUEEZED_WINDOW;
        }
        self.pings = 0;
        WINDOW_BYTES
    }

    /// So many bytes have arrived: brakes a squeezed client, and finds out one that ignores its windows.
    pub async fn arrived(&mut self, bytes: usize) -> Result<(), Flood> {
        let waiting = self.backlog.load(Relaxed);
        if waiting > FLOOD_BYTES {
            return Err(Flood(waiting));
        }
        if bytes <= SQUEEZED_WINDOW as usize && waiting > BACKLOG_BYTES_MAX {
            self.pings += 1;
            if self.pings > FREE_PINGS {
                tokio::time::sleep(BRAKE).await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_above_one_window_squeezes_and_a_smaller_one_does_not() {
        let mut squeeze = Squeeze::default();
        assert_eq!(squeeze.window(), WINDOW_BYTES);

        squeeze.backlog().store(BACKLOG_BYTES_MAX + 1, Relaxed);
        assert_eq!(squeeze.window(), SQUEEZED_WINDOW);

        squeeze.backlog().store(BACKLOG_BYTES_MAX, Relaxed);
        assert_eq!(squeeze.window(), WINDOW_BYTES);
    }

    #[tokio::test]
    async fn a_squeezed_client_is_braked_and_a_flood_ends_it() {
        let mut squeeze = Squeeze::default();
        squeeze.backlog().store(BACKLOG_BYTES_MAX + 1, Relaxed);

        let began = tokio::time::Instant::now();
        for _ in 0..FREE_PINGS + 10 {
            squeeze.arrived(2).await.unwrap();
        }
        assert!(began.elapsed() >= BRAKE * 10);

        squeeze.backlog().store(FLOOD_BYTES + 1, Relaxed);
        assert!(squeeze.arrived(2).await.is_err());
    }
}
