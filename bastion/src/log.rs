//! What is logged, and how it looks.

use std::io::{self, Write};

use serde::{Deserialize, Deserializer, de::Error as _};
use tracing::subscriber::set_global_default;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

use crate::{
    settings::{Log, LogFormat},
    wrong_signatures,
};

/// Why nothing can be logged as asked.
#[derive(Debug, thiserror::Error)]
#[error("log filter \"{filter}\": {fault}; try: \"info\" or \"bastion=debug\"")]
pub struct LogFault {
    filter: String,
    fault: tracing_subscriber::filter::ParseError,
}

/// A filter as a setting.
///
/// # Errors
/// If it is none.
pub fn filter<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    checked(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// A filter as somebody wrote it. A word that is no level is one thing to `EnvFilter`, a module's name, and silences all
/// else.
///
/// # Errors
/// If it is none.
pub fn checked(filter: &str) -> Result<String, String> {
    let way_out = "write a level (off, error, warn, info, debug, trace), or bastion=debug";
    EnvFilter::try_new(filter).map_err(|fault| format!("{filter:?}: {fault}; {way_out}"))?;
    let is_bare = |part: &&str| !part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err();
    match filter.split(',').map(str::trim).find(is_bare) {
        Some(word) => Err(format!("{word:?} is no level; {way_out}")),
        None => Ok(filter.to_owned()),
    }
}

/// Logs to stderr from now on. Foreign text stands escaped: a line stays a line.
pub fn begin(log: &Log) -> Result<(), LogFault> {
    let filter =
        EnvFilter::try_new(&log.filter).map_err(|fault| LogFault { filter: log.filter.clone(), fault })?;
    let lines = fmt().with_env_filter(filter).with_writer(|| OneLine(io::stderr()));
    let begun = match log.format {
        LogFormat::Text => set_global_default(lines.with_ansi(false).with_target(false).finish()),
        LogFormat::Json => set_global_default(lines.json().flatten_event(true).finish()),
    };
    begun.expect("a program begins its log once");
    wrong_signatures::begin().expect("a program begins its log once");
    Ok(())
}

/// Writes each event, which comes in one piece, as one line: a library's text may hold a peer's line ends.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = match event.strip_suffix(b"\n") {
            Some(text) => (text, &b"\n"[..]),
            None => (event, &b""[..]),
        };
        if text.iter().any(u8::is_ascii_control) {
            let line: String = String::from_utf8_lossy(text).chars().map(harmless).collect();
            self.0.write_all(&[line.as_bytes(), end].concat())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn harmless(ch: char) -> char {
    if ch.is_control() { '\u{fffd}' } else { ch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_a_peer_sent() {
        let mut out = Vec::new();
        let mut lines = OneLine(&mut out);
        lines.write_all(b"INFO peer says \"a\nERROR forged\x1b[2J\"\n").unwrap();
        lines.write_all("INFO été\n".as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "INFO peer says \"a\u{fffd}ERROR forged\u{fffd}[2J\"\nINFO été\n"
        );
    }

    #[test]
    fn a_word_that_is_no_level_is_no_filter() {
        for wrong in ["verbose", "info,loud", "bastion=loud"] {
            assert!(checked(wrong).unwrap_err().contains("write a level"), "{wrong}");
        }
        for right in ["info", "bastion=debug", "warn,bastion::login=trace"] {
            assert_eq!(checked(right).as_deref(), Ok(right));
        }
    }
}
