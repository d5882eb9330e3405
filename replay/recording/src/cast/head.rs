//! The header line: asciinema's keys, and the session's facts under one of ours.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::LINE_BYTES_MAX;
use crate::{Facts, Header, size};

/// The version of the recording format that this crate writes, and the newest that it reads; see `FORMAT.md`.
pub const FORMAT: u32 = 1;

/// The longest command, in bytes, that a header shows. All of it is in the recording's first event.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;

/// The longest title, name or value of the environment, in bytes, that a header shows.
pub const TEXT_BYTES_MAX: usize = 1024;

/// How many variables of the environment a header shows. A client may send a megabyte of them; a line that no reader
/// takes would lose the recording.
pub const ENV_MAX: usize = 64;

/// What any asciicast tells before its first event: version 2 or 3, of whatever program.
#[derive(Clone, Debug, PartialEq)]
pub struct CastHeader {
    /// 2 or 3.
    pub version: u8,
    /// Columns of the terminal, within what can be drawn.
    pub cols: u16,
    /// Rows of the terminal, within what can be drawn.
    pub rows: u16,
    /// When it was recorded, in seconds since 1970 (UTC).
    pub timestamp: Option<u64>,
    /// Longest pause that its author wants played, in seconds.
    pub idle_time_limit: Option<f64>,
    /// What ran.
    pub command: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The environment, as far as it is text.
    pub env: BTreeMap<String, String>,
    /// The session's facts: only in a recording of ours. Without them capital codes are not ours to read.
    pub facts: Option<Facts>,
}

/// Why a line is no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// It never ends.
    #[error("the header is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JSON object.
    #[error("the header is no JSON object: {0}")]
    NotAnObject(String),
    /// It is another format, or another version of it.
    #[error("asciicast versions 2 and 3 are read, found {0}")]
    Version(String),
    /// It has no facts, so it is no recording of ours.
    #[error("the header has no key \"bastion\"")]
    NoFacts,
    /// Its facts are not what they should be.
    #[error("the key \"bastion\" of the header: {0}")]
    Facts(String),
    /// A newer program wrote it.
    #[error("recording format {0} is newer than {FORMAT}, the newest known here")]
    Format(u32),
}

/// What the asciicast crate does not know goes behind what it does; `env` too, so that its order is always the same.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    standard: asciicast::Header,
    env: &'a BTreeMap<String, String>,
    bastion: &'a Facts,
}

impl Header {
    /// The header line, with its newline. Always the same bytes for the same header: the chain begins with them.
    ///
    /// What the client chose is clipped to what a header shows, with an ellipsis; the facts are written as they are.
    pub fn to_line(&self) -> Vec<u8> {
        let (cols, rows) = size::clamped(self.cols, self.rows);
        let seconds = i64::try_from(self.facts.started_us / 1_000_000).unwrap_or(i64::MAX);
        let standard = asciicast::Header {
            version: 2,
            width: cols.into(),
            height: rows.into(),
            timestamp: chrono::DateTime::from_timestamp(seconds, 0),
            duration: None,
            idle_time_limit: None,
            command: self.command.as_deref().map(|command| clipped(command, COMMAND_BYTES_MAX)),
            title: Some(clipped(&self.title, TEXT_BYTES_MAX)),
            env: None,
        };
        let shown = |text: &String| clipped(text, TEXT_BYTES_MAX);
        let env = self.env.iter().take(ENV_MAX).map(|(name, value)| (shown(name), shown(value))).collect();
        let line = Line { standard, env: &env, bastion: &self.facts };
        let mut bytes = serde_json::to_vec(&line).expect("a header of texts and numbers always becomes JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a header line of ours, with or without its newline.
    ///
    /// # Errors
    /// When it is no header, not ours, or of a newer format.
    pub fn from_line(line: &[u8]) -> Result<Header, HeaderFault> {
        let value = object(line)?;
        let bastion = value.get("bastion").cloned().ok_or(HeaderFault::NoFacts)?;
        let format = bastion.get("format").and_then(Value::as_u64).unwrap_or_default();
        match u32::try_from(format) {
            Ok(known) if known <= FORMAT => {}
            newer => return Err(HeaderFault::Format(newer.unwrap_or(u32::MAX))),
        }
        let facts = serde_json::from_value(bastion).map_err(|fault| HeaderFault::Facts(fault.to_string()))?;
        let cast = CastHeader::from_value(&value)?;
        Ok(Header {
            cols: cast.cols,
            rows: cast.rows,
            command: cast.command,
            title: cast.title.unwrap_or_default(),
            env: cast.env,
            facts,
        })
    }
}

impl CastHeader {
    /// Reads the header line of any asciicast of version 2 or 3; what is missing or senseless in it is left out.
    ///
    /// # Errors
    /// When it is no JSON object, or has no version that is read here.
    pub fn from_line(line: &[u8]) -> Result<CastHeader, HeaderFault> {
        Self::from_value(&object(line)?)
    }

    fn from_value(value: &Value) -> Result<CastHeader, HeaderFault> {
        let version = match value.get("version").map(|version| (version.as_u64(), version)) {
            Some((Some(2), _)) => 2,
            Some((Some(3), _)) => 3,
            Some((_, other)) => return Err(HeaderFault::Version(excerpt(&other.to_string()))),
            None => return Err(HeaderFault::Version("none".into())),
        };
        let term = value.get("term");
        let at = |v2: &str, v3: &str| {
            if version == 2 { value.get(v2) } else { term.and_then(|term| term.get(v3)) }
        };
        let side = |found: Option<&Value>, usual| {
            found.and_then(Value::as_u64).map_or(usual, |n| u16::try_from(n).unwrap_or(u16::MAX))
        };
        let (cols, rows) = size::clamped(side(at("width", "cols"), 80), side(at("height", "rows"), 24));
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let env = value.get("env").and_then(Value::as_object).into_iter().flatten();
        Ok(CastHeader {
            version,
            cols,
            rows,
            timestamp: value.get("timestamp").and_then(|t| t.as_u64().or(t.as_f64().map(|t| t as u64))),
            idle_time_limit: value
                .get("idle_time_limit")
                .and_then(Value::as_f64)
                .filter(|limit| *limit > 0.0),
            command: text("command"),
            title: text("title"),
            env: env.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
            facts: value.get("bastion").and_then(|facts| serde_json::from_value(facts.clone()).ok()),
        })
    }
}

impl From<&Header> for CastHeader {
    fn from(header: &Header) -> Self {
        let (cols, rows) = size::clamped(header.cols, header.rows);
        CastHeader {
            version: 2,
            cols,
            rows,
            timestamp: Some(header.facts.started_us / 1_000_000),
            idle_time_limit: None,
            command: header.command.clone(),
            title: Some(header.title.clone()),
            env: header.env.clone(),
            facts: Some(header.facts.clone()),
        }
    }
}

fn object(line: &[u8]) -> Result<Value, HeaderFault> {
    if line.len() > LINE_BYTES_MAX {
        return Err(HeaderFault::TooLong);
    }
    // serde_json goes 128 levels deep and no further, so a hostile line cannot exhaust the stack.
    match serde_json::from_slice(line) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(other) => Err(HeaderFault::NotAnObject(format!("found {}", excerpt(&other.to_string())))),
        Err(fault) => Err(HeaderFault::NotAnObject(fault.to_string())),
    }
}

/// The text, or so much of it as fits before an ellipsis.
fn clipped(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max - '\u{2026}'.len_utf8());
    let shown = text.get(..end).unwrap_or_default();
    format!("{shown}\u{2026}")
}

/// So much of a found value as a message may show.
pub(super) fn excerpt(found: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut shown: String = found.chars().take(CHARS_MAX).collect();
    if shown.len() < found.len() {
        shown.push_str("...");
    }
    shown
}
