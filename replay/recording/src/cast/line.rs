//! Lines become events.

use std::{borrow::Cow, fmt, mem};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::{LATEST, LINE_BYTES_MAX, head::excerpt};
use crate::{Elapsed, Event, Exit, What, size};

/// The most bytes that announced pieces are joined to. No event of ours is a tenth of it; a forged file cannot
/// have us collect more.
const JOINED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A line that cannot be read, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineFault {
    /// Counted from 1, the header included if there is one.
    pub line: u64,
    /// What is wrong with it.
    pub problem: LineProblem,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// It is no `[time, code, text]`.
    #[error("no event: {fault}, found {found:?}")]
    NotAnEvent {
        /// What the JSON parser says.
        fault: String,
        /// How the line begins.
        found: String,
    },
    /// It does not end where it must.
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// Its string is not what its code demands.
    #[error("code {code:?} with the value {value:?}")]
    Value {
        /// The code.
        code: String,
        /// How the value begins.
        value: String,
    },
    /// An announcement, and then a line that it cannot announce.
    #[error("code {code:?} after an announcement that does not fit it")]
    Announced {
        /// The code.
        code: String,
    },
    /// The last line was announced, and is not there; or has no newline.
    #[error("cut off")]
    Cut,
}

/// What an announcement has said about the next content line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Plain,
    ErrorOutput,
    Notice,
    Shown(u64),
}

/// Puts lines together to events: remembers the time, and what was announced.
#[derive(Debug)]
pub(super) struct Assembler {
    is_ours: bool,
    has_intervals: bool,
    clock_us: u64,
    kind: Kind,
    exact: Option<Bytes>,
    goes_on: bool,
    joined: Option<(String, Vec<u8>)>,
    skipped: u64,
}

impl Assembler {
    /// For lines of ours, with our own codes, or of others; with times since the beginning (version 2) or since the
    /// line before (version 3).
    pub(super) fn new(is_ours: bool, has_intervals: bool) -> Self {
        Assembler {
            is_ours,
            has_intervals,
            clock_us: 0,
            kind: Kind::Plain,
            exact: None,
            goes_on: false,
            joined: None,
            skipped: 0,
        }
    }

    /// How many lines had a code that is not known here.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether the next content line has been announced, and its event is therefore not complete.
    pub(super) fn is_waiting(&self) -> bool {
        self.kind != Kind::Plain || self.exact.is_some() || self.goes_on || self.joined.is_some()
    }

    /// Reads one line without its newline; answers with the event that it completes, if it does.
    ///
    /// # Errors
    /// When it cannot be read. What was announced before it is forgotten.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<Event>, LineProblem> {
        let answer = self.entry(line);
        if answer.is_err() {
            self.forget();
        }
        answer
    }

    fn forget(&mut self) {
        (self.kind, self.exact, self.goes_on, self.joined) = (Kind::Plain, None, false, None);
    }

    fn entry(&mut self, line: &[u8]) -> Result<Option<Event>, LineProblem> {
        if line.len() > LINE_BYTES_MAX {
            return Err(LineProblem::TooLong);
        }
        match serde_json::from_slice::<Entry<'_>>(line) {
            Ok(entry) => self.understand(entry),
            Err(_) if !self.is_ours && std::str::from_utf8(line).is_err() => {
                let text = String::from_utf8_lossy(line);
                let entry = serde_json::from_str(&text).map_err(|fault| no_event(line, &fault))?;
                self.understand(entry)
            }
            Err(fault) => Err(no_event(line, &fault)),
        }
    }

    fn understand(&mut self, entry: Entry<'_>) -> Result<Option<Event>, LineProblem> {
        self.tell_time(entry.seconds);
        let code = entry.code.as_ref();
        let is_known = match code {
            "o" | "i" | "r" | "m" | "x" => true,
            "B" | "E" | "N" | "S" | "C" | "O" | "A" | "G" | "T" | "X" | "K" | "Q" | "Z" => self.is_ours,
            _ => false,
        };
        let Some(text) = entry.text.filter(|_| is_known) else {
            self.skipped += 1;
            return Ok(None);
        };
        if matches!(code, "B" | "E" | "N" | "S" | "C") {
            return self.announce(code, &text).map(|()| None);
        }

        let piece = self.exact.take().unwrap_or_else(|| Bytes::copy_from_slice(text.as_bytes()));
        let goes_on = mem::take(&mut self.goes_on);
        let Some(whole) = self.join(code, piece, goes_on)? else { return Ok(None) };
        let what = content(code, mem::take(&mut self.kind), whole)?;
        Ok(Some(Event { at: Elapsed::from_micros(self.clock_us), what }))
    }

    /// Time never goes back, is never negative, and ends.
    fn tell_time(&mut self, seconds: f64) {
        // A cast from float to integer saturates, and takes what is no number for 0.
        let told_us = (seconds * 1e6).round() as u64;
        let us = if self.has_intervals { self.clock_us.saturating_add(told_us) } else { told_us };
        self.clock_us = us.clamp(self.clock_us, LATEST.as_micros());
    }

    fn announce(&mut self, code: &str, text: &str) -> Result<(), LineProblem> {
        let twice = || LineProblem::Announced { code: code.into() };
        match code {
            "C" if !self.goes_on => self.goes_on = true,
            "B" if self.exact.is_none() => {
                self.exact = Some(STANDARD.decode(text).map_err(|_| senseless(code, text))?.into());
            }
            "E" | "N" | "S" if self.kind == Kind::Plain => {
                self.kind = match code {
                    "E" => Kind::ErrorOutput,
                    "N" => Kind::Notice,
                    _ => Kind::Shown(text.parse().map_err(|_| senseless(code, text))?),
                }
            }
            _ => return Err(twice()),
        }
        Ok(())
    }

    /// The pieces of one event, once the last is there.
    fn join(&mut self, code: &str, piece: Bytes, goes_on: bool) -> Result<Option<Bytes>, LineProblem> {
        let (of, mut bytes) = match self.joined.take() {
            None if !goes_on => return Ok(Some(piece)),
            None => (code.to_owned(), Vec::new()),
            Some(begun) => begun,
        };
        if of != code {
            return Err(LineProblem::Announced { code: code.into() });
        }
        bytes.extend_from_slice(&piece);
        if goes_on && bytes.len() < JOINED_BYTES_MAX {
            self.joined = Some((of, bytes));
            return Ok(None);
        }
        Ok(Some(bytes.into()))
    }
}

/// What a content line says.
fn content(code: &str, kind: Kind, data: Bytes) -> Result<What, LineProblem> {
    let text = || String::from_utf8_lossy(&data).into_owned();
    let value = || senseless(code, &text());
    let number = |digits: &str| digits.parse::<u32>().map_err(|_| value());
    Ok(match (code, kind) {
        ("o", Kind::Plain) => What::Output(data),
        ("o", Kind::ErrorOutput) => What::ErrorOutput(data),
        ("o", Kind::Notice) => What::Notice(data),
        ("i", Kind::Plain) => What::Input(data),
        ("i", Kind::Shown(first)) => What::Shown { first, data },
        ("O", Kind::Plain) => What::Opened(data),
        ("G", Kind::Plain) => What::Injected(data),
        ("A", Kind::Plain) => What::Act(data),
        ("m", Kind::Plain) => What::Marker(text()),
        ("K", Kind::Plain) => What::Signal(text()),
        ("Q", Kind::Plain) => What::Ended(text()),
        ("T", Kind::Plain) => What::Typed(number(&text())?),
        ("x", Kind::Plain) => What::Exit(Exit::Status(exit_status(&text()).ok_or_else(value)?)),
        ("X", Kind::Plain) => match text().split_once(' ') {
            Some(("status", digits)) => What::Exit(Exit::Status(number(digits)?)),
            Some(("signal", name)) => What::Exit(Exit::Signal(name.to_owned())),
            _ => return Err(value()),
        },
        ("r", Kind::Plain) => {
            let text = text();
            let side = |digits: &str| digits.parse::<u32>().map(|n| u16::try_from(n).unwrap_or(u16::MAX));
            let (cols, rows) = text.split_once('x').ok_or_else(value)?;
            let (cols, rows) = (side(cols).map_err(|_| value())?, side(rows).map_err(|_| value())?);
            let (cols, rows) = size::clamped(cols, rows);
            What::Resize { cols, rows }
        }
        ("Z", Kind::Plain) if *data == *b"i" => What::InputEnd,
        ("Z", Kind::Plain) if *data == *b"o" => What::OutputEnd,
        ("Z", Kind::Plain) => return Err(value()),
        _ => return Err(LineProblem::Announced { code: code.into() }),
    })
}

/// asciinema writes a status as a signed number.
fn exit_status(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().or_else(|| text.parse::<i32>().ok().map(|status| status as u32))
}

fn senseless(code: &str, value: &str) -> LineProblem {
    LineProblem::Value { code: code.into(), value: excerpt(value) }
}

fn no_event(line: &[u8], fault: &serde_json::Error) -> LineProblem {
    LineProblem::NotAnEvent { fault: fault.to_string(), found: excerpt(&String::from_utf8_lossy(line)) }
}

/// `[time, code, text]` as any program may have written it: a value that is no text is taken for none, and what
/// follows it is ignored.
struct Entry<'a> {
    seconds: f64,
    code: Cow<'a, str>,
    text: Option<Cow<'a, str>>,
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[time, code, text]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let missing = |place| serde::de::Error::invalid_length(place, &self);
        let seconds = seq.next_element()?.ok_or_else(|| missing(0))?;
        let Text(code) = seq.next_element()?.ok_or_else(|| missing(1))?;
        let Text(text) = seq.next_element()?.ok_or_else(|| missing(2))?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entry { seconds, code: code.unwrap_or_default(), text })
    }
}

/// A string, borrowed where it can be; or none, whatever stands there.
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de> serde::Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}
