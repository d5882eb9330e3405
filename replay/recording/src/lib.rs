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
mod cost;
mod digest;
mod emulator;
mod event;
mod header;
mod keyframe;
mod memory;
pub mod piece;
mod replica;
mod seek;
mod segment;
mod size;
mod timeline;
mod utf8;

pub use event::{Elapsed, Event, Exit, Outcome, What};
pub use header::{AUDIT, Certificate, Facts, Header, Layout, Person, SessionId, SessionIdFault};
pub use size::{COLS_MAX, ROWS_MAX, clamped};

pub use cast::{
    COMMAND_BYTES_MAX, CastFault, CastHeader, CastReader, ENV_MAX, Ending, FORMAT, HeaderFault, LATEST,
    LINE_BYTES_MAX, LineFault, LineProblem, LineWriter, PIECE_BYTES_MAX, TEXT_BYTES_MAX,
};
pub use chunks::{ChunkFault, ChunkProblem};
pub use codec::{DecodeFault, Encoder, decode};

pub use chain::{Link, link, link_0};
pub use digest::{Digest, DigestFault};
pub use segment::{SEGMENT_BYTES, Segment};

pub use cost::{Fill, SEGMENT_BYTES_MAX, SEGMENT_COST_MAX, cost};
pub use emulator::Emulator;
pub use keyframe::{Keyframe, KeyframeFault};
pub use memory::MemorySource;
pub use replica::{AvtReplica, Cell, Color, Cursor, Replica, Style};
pub use seek::{Playback, Position, Source, seek};
pub use timeline::{Span, Timeline};
