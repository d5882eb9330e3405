//! A recording that is being written now.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use recording::Header;

/// A recording that is being written now: its header, and how far it is.
#[derive(Debug)]
pub struct Live {
    header: Header,
    events: AtomicU64,
    bytes: AtomicU64,
    last_us: AtomicU64,
}

impl Live {
    pub(crate) fn new(header: Header) -> Self {
        Live { header, events: AtomicU64::new(0), bytes: AtomicU64::new(0), last_us: AtomicU64::new(0) }
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
