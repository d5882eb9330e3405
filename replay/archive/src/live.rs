//! A recording that is being written now.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use recording::{Header, Outcome, What};

use crate::tail::End;

/// A recording that is being written now: its header, and how far it is.
#[derive(Debug)]
pub struct Live {
    header: Header,
    events: AtomicU64,
    bytes: AtomicU64,
    last_us: AtomicU64,
    ended: OnceLock<End>,
    outcome: Mutex<Outcome>,
}

impl Live {
    pub(crate) fn new(header: Header) -> Self {
        let (events, bytes, last_us) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Live { header, events, bytes, last_us, ended: OnceLock::new(), outcome: Mutex::default() }
    }

    /// Its header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// So much of it is written: events, their bytes as they are encoded, and when the last of them happened.
    pub fn reached(&self, events: u64, bytes: u64, last_us: u64) {
        self.events.store(events, Relaxed);
        self.bytes.store(bytes, Relaxed);
        self.last_us.store(last_us, Relaxed);
    }

    /// This is about to be written. Only ends are looked at.
    pub fn hear(&self, what: &What) {
        if matches!(what, What::Exit(_) | What::Ended(_)) {
            self.outcome.lock().unwrap_or_else(PoisonError::into_inner).hear(what);
        }
    }

    /// How the session ended, as far as its events tell.
    pub fn outcome(&self) -> Outcome {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It has ended, and the end is synced.
    pub fn end(&self, end: End) {
        self.ended.get_or_init(|| end);
    }

    /// How it ended.
    pub fn ended(&self) -> Option<End> {
        self.ended.get().copied()
    }

    /// Events written.
    pub fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// Bytes that they take, encoded.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// When the last of them happened, in microseconds since the recording began.
    pub fn last_us(&self) -> u64 {
        self.last_us.load(Relaxed)
    }
}
