//! What a program has said so far.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Bytes that come in on a thread of their own. Clones hear the same.
#[derive(Clone, Default)]
pub struct Heard(Arc<Inner>);

#[derive(Default)]
struct Inner {
    so_far: Mutex<SoFar>,
    more: Condvar,
}

impl Inner {
    /// A test that fails while it looks must not silence the listener: others may have a clone.
    fn locked(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct SoFar {
    bytes: Vec<u8>,
    ended: bool,
}

impl Heard {
    /// What can never be heard.
    pub fn nothing() -> Heard {
        let heard = Heard::default();
        heard.0.locked().ended = true;
        heard
    }

    /// Listens to `from` until it ends. An error is an end: a terminal's reader gets one when the program is gone.
    pub fn listen(mut from: impl Read + Send + 'static) -> Heard {
        let heard = Heard::default();
        let inner = heard.0.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                inner.locked().bytes.extend_from_slice(&buffer[..n]);
                inner.more.notify_all();
            }
            inner.locked().ended = true;
            inner.more.notify_all();
        });
        heard
    }

    /// All bytes so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.locked().bytes.clone()
    }

    /// All text so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.locked().bytes).into_owned()
    }

    /// How many bytes so far.
    pub fn len(&self) -> usize {
        self.0.locked().bytes.len()
    }

    /// Nothing so far?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `pattern` stands in what came after byte `from`, and answers where it ends.
    ///
    /// # Panics
    /// If it has not come in time, or never can any more.
    #[track_caller]
    pub fn wait_from(&self, from: usize, pattern: &str, bound: Duration) -> usize {
        let until = Instant::now() + bound;
        let mut so_far = self.0.locked();
        loop {
            let tail = so_far.bytes.get(from..).unwrap_or_default();
            if let Some(at) = find(tail, pattern.as_bytes()) {
                return from + at + pattern.len();
            }
            let left = until.saturating_duration_since(Instant::now());
            let in_vain = so_far.ended || left.is_zero();
            assert!(!in_vain, "no {pattern:?} (ended: {}) in: {}", so_far.ended, shown(tail));
            so_far = self.0.more.wait_timeout(so_far, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// As [`Heard::wait_from`], from the beginning.
    #[track_caller]
    pub fn wait(&self, pattern: &str, bound: Duration) -> usize {
        self.wait_from(0, pattern, bound)
    }

    /// Waits until there are so many bytes.
    ///
    /// # Panics
    /// If they have not come in time.
    #[track_caller]
    pub fn wait_len(&self, len: usize, bound: Duration) {
        let until = Instant::now() + bound;
        let mut so_far = self.0.locked();
        while so_far.bytes.len() < len {
            let left = until.saturating_duration_since(Instant::now());
            let in_vain = so_far.ended || left.is_zero();
            assert!(!in_vain, "{} of {len} bytes (ended: {})", so_far.bytes.len(), so_far.ended);
            so_far = self.0.more.wait_timeout(so_far, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until there are more than so many bytes, or for this long.
    pub fn wait_more(&self, than: usize, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut so_far = self.0.locked();
        while so_far.bytes.len() <= than && !so_far.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            so_far = self.0.more.wait_timeout(so_far, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until nothing more can come.
    ///
    /// # Panics
    /// If it has not ended in time.
    #[track_caller]
    pub fn wait_end(&self, bound: Duration) {
        let until = Instant::now() + bound;
        let mut so_far = self.0.locked();
        while !so_far.ended {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not ended: {}", shown(&so_far.bytes));
            so_far = self.0.more.wait_timeout(so_far, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len().max(1)).position(|window| window == needle)
}

/// The end of it, printable.
fn shown(bytes: &[u8]) -> String {
    let tail = &bytes[bytes.len().saturating_sub(2000)..];
    String::from_utf8_lossy(tail).escape_debug().to_string().replace("\\n", "\n")
}
