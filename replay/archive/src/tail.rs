//! The open segment's file: the first place that an event reaches.
//!
//! A tail begins with a head, which repeats the recording's header, and goes on with frames. A frame holds some
//! events of one segment, and says when a segment, or the recording, ends with it. A frame that is torn at the end
//! of a file was never answered for, so nobody saw what it held. A frame that is damaged otherwise is passed over, and
//! the numbers of the events behind it tell how many are missing.

mod damage;
mod read;
mod scan;
mod write;

use std::path::{Path, PathBuf};

use recording::SessionId;
use serde::{Deserialize, Serialize};

pub(crate) use damage::{Damage, discard};
pub use read::{Frame, FrameHead, Place, TailFault, TailReader, list};
pub(crate) use scan::{Run, Scan, Standing, numbers};
pub use write::{Limits, TailWriter, WriteFault};

/// Bytes of a frame before its events.
pub(crate) const FRAME_HEAD_BYTES: usize = 29;

/// How a recording came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The session ended, and all of it is here.
    Finished,
    /// The server was killed, or the task that recorded it panicked: all that was relayed is here, and no more.
    Interrupted,
}

/// What a frame ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ends {
    /// Nothing: its segment goes on.
    #[default]
    Nothing,
    /// Its segment.
    Segment,
    /// Its segment, and the recording.
    Recording(End),
}

/// Where the n-th tail of a session lies.
pub fn path(folder: &Path, id: SessionId, number: u32) -> PathBuf {
    folder.join(format!("{id}.{number:06}.tail"))
}
