//! Events to bytes and back, in either layout.

use crate::{
    Event, Layout,
    cast::{self, LineFault, LineWriter},
    chunks::{self, ChunkFault},
};

/// Turns the events of one session into the bytes of its segments.
///
/// One encoder serves a session from its first event to its last. Segments may be cut between any two calls of
/// [`write`](Encoder::write): each decodes by itself.
#[derive(Clone, Debug)]
pub enum Encoder {
    /// asciicast lines.
    Lines(LineWriter),
    /// Raw chunks.
    Chunks,
}

impl Encoder {
    /// An encoder for a session that begins.
    pub fn new(layout: Layout) -> Self {
        match layout {
            Layout::Lines => Encoder::Lines(LineWriter::new()),
            Layout::Chunks => Encoder::Chunks,
        }
    }

    /// Appends the event. All of its bytes are there when this returns.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Encoder::Lines(lines) => lines.write(event, out),
            Encoder::Chunks => chunks::write(event, out),
        }
    }
}

/// Why a segment of ours does not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// A line of it.
    #[error(transparent)]
    Line(#[from] LineFault),
    /// A chunk of it.
    #[error(transparent)]
    Chunk(#[from] ChunkFault),
}

/// The events of one segment, or of several in a row.
///
/// For events in order of time this undoes [`Encoder::write`] exactly, neighbouring pieces of a kind not joined; sizes
/// come back within what can be drawn ([`crate::clamped`]), and lines tell no time after [`crate::LATEST`].
///
/// # Errors
/// At the first line or chunk that is not as we write them; codes of a later program are skipped.
pub fn decode(layout: Layout, plain: &[u8]) -> Result<Vec<Event>, DecodeFault> {
    Ok(match layout {
        Layout::Lines => cast::segment(plain)?,
        Layout::Chunks => chunks::read(plain)?,
    })
}
