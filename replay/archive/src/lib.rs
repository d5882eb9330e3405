//! Where recordings lie: the tails of open segments, the journal of closed ones, the sealed files of finished
//! sessions, and the one way to read all three.
//!
//! `recording/FORMAT.md` describes every byte; `docs/storage.md` says what lies where, and which failure can lose what.

mod archive;
mod disk;
mod live;
mod pieces;
mod summary;
mod tail;
pub mod twin;

pub use archive::{Archive, ArchiveFault};
pub use disk::{Disk, Growing, RealDisk};
pub use live::Live;
pub use summary::{Filter, State, Summary};
pub use tail::{
    End, Ends, Frame, FrameHead, Limits, Place, TailFault, TailReader, TailWriter, WriteFault, list,
};

use std::sync::{Mutex, PoisonError};

use recording::SessionId;
use ulid::{Generator, Ulid};

/// A new session id: unique everywhere, and later in order than those made before it.
pub fn new_id() -> SessionId {
    static GENERATOR: Mutex<Generator> = Mutex::new(Generator::new());
    let next = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner).generate();
    // Two to the 80 ids in one millisecond are not made.
    let id = next.unwrap_or_else(|_| Ulid::new()).to_string();
    id.parse().expect("a ULID is a session id")
}
