//! How many channels of a connection are open.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::Shared;

/// A channel that counts as open for as long as this lives.
pub struct Open(Arc<Shared>);

impl Open {
    /// One more.
    pub fn count(shared: &Arc<Shared>) -> Open {
        shared.channels.fetch_add(1, Relaxed);
        Open(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.channels.fetch_sub(1, Relaxed);
    }
}
