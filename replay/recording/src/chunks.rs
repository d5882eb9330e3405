//! Channels without a terminal, as raw chunks with time and direction.
//!
//! A chunk is
//!
//! ```text
//! kind      1 byte, the letter of the line code that says the same (see cast.rs)
//! time      varint, microseconds since the session began
//! length    varint, bytes that follow
//! payload   `length` bytes
//! ```
//!
//! and a varint has seven bits a byte, the lowest first, the eighth set while more follow (LEB128). Every chunk tells
//! its whole time, so that any run of chunks can be read by itself. Data is copied, never looked at.

use bytes::Bytes;

use crate::{Elapsed, Event, Exit, What, size};

/// A varint of 64 bits has at most so many bytes.
const VARINT_BYTES_MAX: usize = 10;

/// A chunk that cannot be read, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chunk at byte {at}: {problem}")]
pub struct ChunkFault {
    /// Bytes before the chunk.
    pub at: usize,
    /// What is wrong with it.
    pub problem: ChunkProblem,
}

/// What can be wrong with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkProblem {
    /// It ends before its end.
    #[error("cut off")]
    Cut,
    /// A number is too long, or longer than it need be.
    #[error("a number in it is not in its shortest form")]
    Number,
    /// Its payload is not what its kind demands.
    #[error("kind {kind:?} with a payload of {bytes} bytes that is none of it")]
    Payload {
        /// The kind.
        kind: char,
        /// Length of the payload.
        bytes: usize,
    },
}

/// Appends the event as one chunk.
pub(crate) fn write(event: &Event, out: &mut Vec<u8>) {
    let head = |kind: u8, length: usize, out: &mut Vec<u8>| {
        out.push(kind);
        varint(event.at.as_micros(), out);
        varint(length as u64, out);
    };
    let mut chunk = |kind: u8, payload: &[u8]| {
        out.reserve(payload.len() + 1 + 2 * VARINT_BYTES_MAX);
        head(kind, payload.len(), out);
        out.extend_from_slice(payload);
    };
    match &event.what {
        What::Opened(data) => chunk(b'O', data),
        What::Output(data) => chunk(b'o', data),
        What::ErrorOutput(data) => chunk(b'E', data),
        What::Input(data) => chunk(b'i', data),
        What::Injected(data) => chunk(b'G', data),
        What::Notice(data) => chunk(b'N', data),
        What::Act(data) => chunk(b'A', data),
        What::Typed(count) => chunk(b'T', &count.to_be_bytes()),
        What::Marker(label) => chunk(b'm', label.as_bytes()),
        What::Signal(name) => chunk(b'K', name.as_bytes()),
        What::Exit(Exit::Status(status)) => chunk(b'x', &status.to_be_bytes()),
        What::Exit(Exit::Signal(name)) => chunk(b'X', name.as_bytes()),
        What::Ended(reason) => chunk(b'Q', reason.as_bytes()),
        What::InputEnd => chunk(b'Z', b"i"),
        What::OutputEnd => chunk(b'Z', b"o"),
        What::Resize { cols, rows } => {
            let (cols, rows) = size::clamped(*cols, *rows);
            let ([a, b], [c, d]) = (cols.to_be_bytes(), rows.to_be_bytes());
            chunk(b'r', &[a, b, c, d]);
        }
        What::Shown { first, data } => {
            head(b'S', 8 + data.len(), out);
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(data);
        }
    }
}

/// The events of a run of chunks. A kind that is not known is skipped: its length says where the next begins.
///
/// # Errors
/// At the first chunk that is not as we write them.
pub(crate) fn read(plain: &[u8]) -> Result<Vec<Event>, ChunkFault> {
    let mut events = Vec::new();
    let mut rest = plain;
    let mut clock = Elapsed::ZERO;
    while !rest.is_empty() {
        let at = plain.len() - rest.len();
        let (told, what) = chunk(&mut rest).map_err(|problem| ChunkFault { at, problem })?;
        clock = clock.max(told);
        events.extend(what.map(|what| Event { at: clock, what }));
    }
    Ok(events)
}

fn chunk(rest: &mut &[u8]) -> Result<(Elapsed, Option<What>), ChunkProblem> {
    let (kind, after) = rest.split_first().ok_or(ChunkProblem::Cut)?;
    *rest = after;
    let at = Elapsed::from_micros(read_varint(rest)?);
    let length = usize::try_from(read_varint(rest)?).map_err(|_| ChunkProblem::Cut)?;
    let (payload, after) = rest.split_at_checked(length).ok_or(ChunkProblem::Cut)?;
    *rest = after;
    Ok((at, what(*kind, payload)?))
}

fn what(kind: u8, payload: &[u8]) -> Result<Option<What>, ChunkProblem> {
    let senseless = || ChunkProblem::Payload { kind: kind.into(), bytes: payload.len() };
    let data = || Bytes::copy_from_slice(payload);
    let number = || payload.try_into().map(u32::from_be_bytes).map_err(|_| senseless());
    let text = || String::from_utf8(payload.to_vec()).map_err(|_| senseless());
    Ok(Some(match kind {
        b'O' => What::Opened(data()),
        b'o' => What::Output(data()),
        b'E' => What::ErrorOutput(data()),
        b'i' => What::Input(data()),
        b'G' => What::Injected(data()),
        b'N' => What::Notice(data()),
        b'A' => What::Act(data()),
        b'T' => What::Typed(number()?),
        b'm' => What::Marker(text()?),
        b'K' => What::Signal(text()?),
        b'Q' => What::Ended(text()?),
        b'x' => What::Exit(Exit::Status(number()?)),
        b'X' => What::Exit(Exit::Signal(text()?)),
        b'Z' if payload == b"i" => What::InputEnd,
        b'Z' if payload == b"o" => What::OutputEnd,
        b'Z' => return Err(senseless()),
        b'r' => {
            let [a, b, c, d] = number()?.to_be_bytes();
            let (cols, rows) = size::clamped(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            What::Resize { cols, rows }
        }
        b'S' => {
            let (first, data) = payload.split_first_chunk().ok_or_else(senseless)?;
            What::Shown { first: u64::from_be_bytes(*first), data: Bytes::copy_from_slice(data) }
        }
        _ => return Ok(None),
    }))
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_varint(rest: &mut &[u8]) -> Result<u64, ChunkProblem> {
    let mut number = 0u64;
    for place in 0..VARINT_BYTES_MAX {
        let (byte, after) = rest.split_first().ok_or(ChunkProblem::Cut)?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * place as u32;
        number |= bits << shift;
        // One number has one form, or a changed byte could go unseen.
        if (bits << shift) >> shift != bits || place > 0 && *byte == 0 {
            return Err(ChunkProblem::Number);
        }
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ChunkProblem::Number)
}
