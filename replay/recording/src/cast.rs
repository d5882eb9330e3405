//! Terminal sessions as asciicast v2 lines, both ways.
//!
//! Every player reads what we write: `o`, `i`, `m`, `r` and `x` lines mean what asciinema means by them, and what
//! is ours alone has a capital letter and a string, which foreign players skip. A line of ours may *announce* the
//! next content line of the same event:
//!
//! | Code | Announces |
//! |---|---|
//! | `B` | its exact bytes, in base64, because its text is not all there is |
//! | `E` | it is the target's error output, not its output |
//! | `N` | it is what the gateway told the client |
//! | `S` | it shows what was typed at the position given |
//! | `C` | it is not the last: the event goes on in another content line |
//!
//! and says by itself:
//!
//! | Code | Means | String |
//! |---|---|---|
//! | `O` | [`What::Opened`] | text |
//! | `o` | [`What::Output`]; after `E` [`What::ErrorOutput`]; after `N` [`What::Notice`] | text |
//! | `i` | [`What::Input`]; after `S` [`What::Shown`] | text |
//! | `A` | [`What::Act`] | JSON |
//! | `G` | [`What::Injected`]: never `i`, because the user did not type it | text |
//! | `T` | [`What::Typed`] | count |
//! | `r` | [`What::Resize`] | `COLSxROWS` |
//! | `m` | [`What::Marker`] | label |
//! | `x` | [`What::Exit`] with a status up to 2147483647, which is all that asciinema reads | status |
//! | `X` | [`What::Exit`] otherwise | `status N` or `signal NAME` |
//! | `Q` | [`What::Ended`] | words |
//! | `K` | [`What::Signal`] | name |
//! | `Z` | [`What::InputEnd`] or [`What::OutputEnd`] | `i` or `o` |
//!
//! Error output and notices stay `o` lines because the client's terminal showed them: so does a foreign player.
//! An announcement and its content line are written by one call, so they lie in one segment.

mod head;
mod line;
mod read;

use std::borrow::Cow;

use asciicast::{Entry, EventType};
use base64::{Engine, engine::general_purpose::STANDARD};

pub use head::{COMMAND_BYTES_MAX, CastHeader, ENV_MAX, FORMAT, HeaderFault, TEXT_BYTES_MAX};
pub use line::{LineFault, LineProblem};
pub(crate) use read::segment;
pub use read::{CastFault, CastReader, Ending};

use crate::utf8::{Carries, Stream};
use crate::{Elapsed, Event, Exit, What, size};

/// The longest line that is read, its newline not counted.
///
/// A line of ours has at most [`PIECE_BYTES_MAX`] characters, each at most six bytes (`\u001b`).
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of an event that one line holds; a longer event is several lines, joined again when read.
pub const PIECE_BYTES_MAX: usize = 128 * 1024;

/// The latest instant that a line can tell to the microsecond, 68 years after the beginning: its time is a
/// floating point number. What is later is written, and read, as this.
pub const LATEST: Elapsed = Elapsed::from_micros((1 << 31) * 1_000_000);

/// Writes events as lines.
///
/// One writer serves a session from its first event to its last: a character whose first half came with one
/// event is shown with the next one of the same stream.
#[derive(Clone, Debug, Default)]
pub struct LineWriter {
    carries: Carries,
}

impl LineWriter {
    /// A writer for a session that begins.
    pub fn new() -> Self {
        LineWriter::default()
    }

    /// Appends the event's lines, each with its newline. Its exact bytes are among them: nothing is held back but
    /// what they look like.
    pub fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let at = event.at.min(LATEST);
        match &event.what {
            What::Opened(data) => self.content(at, None, "O", Stream::Opened, data, out),
            What::Output(data) => self.content(at, None, "o", Stream::Output, data, out),
            What::ErrorOutput(data) => self.content(at, Some(("E", "")), "o", Stream::ErrorOutput, data, out),
            What::Notice(data) => self.content(at, Some(("N", "")), "o", Stream::Notice, data, out),
            What::Input(data) => self.content(at, None, "i", Stream::Input, data, out),
            What::Shown { first, data } => {
                self.content(at, Some(("S", &first.to_string())), "i", Stream::Shown, data, out);
            }
            What::Injected(data) => self.content(at, None, "G", Stream::Injected, data, out),
            What::Act(data) => self.content(at, None, "A", Stream::Act, data, out),
            What::Typed(count) => line(at, "T", &count.to_string(), out),
            What::Resize { cols, rows } => {
                let (cols, rows) = size::clamped(*cols, *rows);
                line(at, "r", &format!("{cols}x{rows}"), out);
            }
            What::Marker(label) => text(at, "m", label, out),
            What::Signal(name) => text(at, "K", name, out),
            What::Exit(Exit::Status(status)) if i32::try_from(*status).is_ok() => {
                line(at, "x", &status.to_string(), out);
            }
            What::Exit(Exit::Status(status)) => line(at, "X", &format!("status {status}"), out),
            What::Exit(Exit::Signal(name)) => text(at, "X", &format!("signal {name}"), out),
            What::Ended(reason) => text(at, "Q", reason, out),
            What::InputEnd => line(at, "Z", "i", out),
            What::OutputEnd => line(at, "Z", "o", out),
        }
    }

    fn content(
        &mut self,
        at: Elapsed,
        kind: Option<(&str, &str)>,
        code: &'static str,
        stream: Stream,
        data: &[u8],
        out: &mut Vec<u8>,
    ) {
        if let Some((announced, of)) = kind {
            line(at, announced, of, out);
        }
        for (piece, is_last) in pieces(data) {
            if !is_last {
                line(at, "C", "", out);
            }
            let carry = self.carries.of(stream);
            if carry.clean(piece).is_none() {
                line(at, "B", &STANDARD.encode(piece), out);
            }
            shown(at, code, carry.text(piece), out);
        }
    }
}

/// A content line. What asciinema knows goes through its own type.
fn shown(at: Elapsed, code: &'static str, text: Cow<'_, str>, out: &mut Vec<u8>) {
    let event_type = match code {
        "o" => EventType::Output,
        "i" => EventType::Input,
        _ => return line(at, code, &text, out),
    };
    put(&Entry { time: at.as_secs_f64(), event_type, event_data: text.into_owned() }, out);
}

/// Text of any length under one code.
fn text(at: Elapsed, code: &str, text: &str, out: &mut Vec<u8>) {
    for (piece, is_last) in pieces(text.as_bytes()) {
        if !is_last {
            line(at, "C", "", out);
        }
        line(at, code, &String::from_utf8_lossy(piece), out);
    }
}

fn line(at: Elapsed, code: &str, data: &str, out: &mut Vec<u8>) {
    put(&(at.as_secs_f64(), code, data), out);
}

fn put<T: serde::Serialize>(entry: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, entry).expect("a number and two strings always become JSON");
    out.push(b'\n');
}

/// The payload in pieces that fit a line, cut between characters where it is text; one empty piece if it is empty.
fn pieces(data: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest.take()?;
        if data.len() <= PIECE_BYTES_MAX {
            return Some((data, true));
        }
        let is_inside = |place: &usize| data.get(*place).is_some_and(|byte| byte & 0xc0 == 0x80);
        let back = (0..4).find(|back| !is_inside(&(PIECE_BYTES_MAX - back))).unwrap_or(0);
        let (piece, after) = data.split_at(PIECE_BYTES_MAX - back);
        rest = Some(after);
        Some((piece, false))
    })
}
