//! What a recording is.
//!
//! A recording begins with a [`Header`], goes on with [`Event`]s in the order in which they happened,
//! and is stored as [`Segment`]s, each linked to the one before. Terminal sessions are kept as asciicast v2
//! lines, channels without a terminal as raw chunks; both decode to the same events. This crate opens no
//! file and reads no clock: it turns events into bytes, bytes into events, and events into screens.
//!
//! `FORMAT.md` beside this crate describes every byte.

mod cast;
mod chain;
mod chunks;
mod codec;
mod digest;
mod event;
mod header;
pub mod piece;
mod segment;
mod size;
mod utf8;

pub use event::{Elapsed, Event, Exit, What};
pub use header::{Facts, Header, Layout, Person, SessionId, SessionIdFault};
pub use size::{COLS_MAX, ROWS_MAX, clamped};

pub use cast::{
    CastFault, CastHeader, CastReader, Ending, FORMAT, HeaderFault, LATEST, LINE_BYTES_MAX, LineFault,
    LineProblem, LineWriter, PIECE_BYTES_MAX,
};
pub use chunks::{ChunkFault, ChunkProblem};
pub use codec::{DecodeFault, Encoder, decode};

pub use chain::{Link, link, link_0};
pub use digest::{Digest, DigestFault};
pub use segment::{SEGMENT_BYTES, Segment};
