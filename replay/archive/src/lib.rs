//! Where recordings lie: the tails of open segments, the journal of closed ones, the sealed files of finished
//! sessions, and the one way to read all three.
//!
//! `recording/FORMAT.md` describes every byte; `docs/storage.md` says what lies where, and which failure can lose what.

mod archive;
mod binder;
mod book;
pub mod control;
mod disk;
mod entry;
mod everything;
mod journal;
mod library;
mod live;
mod local;
mod opened;
mod part;
mod pieces;
mod recover;
mod reindex;
mod salvage;
mod store;
mod stored;
mod summary;
mod tail;
pub mod twin;

pub use archive::{Archive, ArchiveFault};
pub use binder::{BindFault, BindLimits, Binder, KEYFRAME_SHARE, Next};
pub use disk::{Disk, Growing, RealDisk};
pub use entry::{Entry, EntryFault};
pub use everything::{EverythingFault, Found, decode_everything};
pub use journal::JournalFault;
pub use library::{Announcement, Library, LibraryFault, Match, announce, find_sockets, may_be_a_store};
pub use live::Live;
pub use opened::{Fetch, OpenRecording, ReadFault};
pub use part::PartFault;
pub use recover::INTERRUPTED;
pub use store::StoreFault;
pub use stored::StoredFault;
pub use summary::{Filter, State, Summary};
pub use tail::{
    End, Ends, Frame, FrameHead, Limits, Place, TailFault, TailReader, TailWriter, WriteFault, list,
};

use std::sync::{Mutex, PoisonError};

use recording::SessionId;
use ulid::{Generator, Ulid};

/// Where a part of a sealed recording lies, below the folder `recordings`.
pub fn sealed_name(id: SessionId, part: u32) -> String {
    store::Store::name(id, part)
}

/// A new session id: unique everywhere, and later in order than those made before it.
pub fn new_id() -> SessionId {
    static GENERATOR: Mutex<Generator> = Mutex::new(Generator::new());
    let next = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner).generate();
    // Two to the 80 ids in one millisecond are not made.
    let id = next.unwrap_or_else(|_| Ulid::new()).to_string();
    id.parse().expect("a ULID is a session id")
}
