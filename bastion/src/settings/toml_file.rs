//! Reads a TOML file into types, and says of every fault in which file and line it stands.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use toml::de::DeTable;

/// A settings file of 10,000 targets has about 4 MB. What is far beyond was not written by an operator.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// So much of a wrong value is shown.
const SHOWN_CHARS_MAX: usize = 80;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1, if one is to blame.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// Why settings are refused, and where.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsFault {
    /// The file and line.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at a place.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// The file is too large to be meant.
    #[error("has {0} bytes, and settings have at most {FILE_BYTES_MAX}")]
    TooLarge(u64),
    /// It is no TOML, or not what is wanted there.
    #[error("{message}")]
    Toml {
        /// What was found, and what was expected.
        message: String,
        /// What was probably meant: the known key that is most like the unknown one, or the value in its right kind.
        meant: Option<String>,
    },
    /// A value that cannot be.
    #[error("{key} = {value:?}: {why}")]
    Wrong {
        /// The key, with its tables.
        key: String,
        /// What was found.
        value: String,
        /// Why it cannot be.
        why: String,
        /// What to do.
        way_out: String,
    },
    /// Two targets of one name.
    #[error("target {name:?} is already there in {first}")]
    TargetTwice {
        /// The name.
        name: String,
        /// Where it stood first.
        first: Place,
    },
}

impl SettingsFault {
    /// What to do about it.
    pub fn way_out(&self) -> String {
        match &self.problem {
            Problem::Unreadable(cause) if cause.kind() == io::ErrorKind::NotFound => {
                "`bastion init` writes settings; --config FILE names others".into()
            }
            Problem::Unreadable(_) => {
                format!("let the user who runs bastion read {}", self.place.file.display())
            }
            Problem::TooLarge(_) => "split the targets into files in targets.d/".into(),
            Problem::Toml { meant: Some(meant), .. } => meant.clone(),
            Problem::Toml { .. } => "docs/settings.md lists every key, its default and an example".into(),
            Problem::Wrong { way_out, .. } => way_out.clone(),
            Problem::TargetTwice { first, .. } => format!("rename one of them, or remove the one in {first}"),
        }
    }
}

/// A file, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// Which.
    pub file: PathBuf,
    /// Its text.
    pub text: Arc<str>,
}

impl FileRead {
    /// Where a key stands, by its tables and its name; none if it is not there.
    pub fn place(&self, path: &[&str]) -> Option<Place> {
        let parsed = DeTable::parse(&self.text).ok()?;
        let (last, tables) = path.split_last()?;
        let inner =
            tables.iter().try_fold(parsed.get_ref(), |table, name| table.get(*name)?.get_ref().as_table())?;
        let (key, _) = inner.get_key_value(*last)?;
        let before = self.text.get(..key.span().start)?;
        Some(Place { file: self.file.clone(), line: Some(1 + before.matches('\n').count()) })
    }
}

/// A file that was read: turns spans into places.
pub struct Source {
    file: PathBuf,
    text: String,
    /// Where its lines end: ten thousand targets ask for their places.
    line_ends: Vec<usize>,
}

impl Source {
    /// Reads `file`.
    ///
    /// # Errors
    /// If it cannot be read, or is larger than any settings.
    pub fn read(file: &Path) -> Result<Self, SettingsFault> {
        let fault = |problem| SettingsFault { place: Place { file: file.to_owned(), line: None }, problem };
        let bytes = std::fs::metadata(file).map_err(|cause| fault(Problem::Unreadable(cause)))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(fault(Problem::TooLarge(bytes)));
        }
        let text = std::fs::read_to_string(file).map_err(|cause| fault(Problem::Unreadable(cause)))?;
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Ok(Source { file: file.to_owned(), text, line_ends })
    }

    /// The text as `T`.
    ///
    /// # Errors
    /// If it is no TOML, has a key that nobody knows, or a value of another type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsFault> {
        toml::from_str(&self.text).map_err(|fault| {
            let message = fault.message().replace('\n', "; ");
            let found = fault.span().and_then(|span| self.text.get(span)).unwrap_or_default();
            let meant = nearest_known(&message).map(|key| format!("{key:?}"));
            let meant = meant.or_else(|| gate::retyped(&message, found));
            // A key that is missing has the span of its whole table, or of nothing: the first line helps nobody.
            let span = fault.span().filter(|span| !span.is_empty() || span.start > 0);
            SettingsFault { place: self.place(span), problem: Problem::Toml { message, meant } }
        })
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What was read, and where.
    pub fn as_read(&self) -> FileRead {
        FileRead { file: self.file.clone(), text: self.text.as_str().into() }
    }

    /// A path that the file names: what is relative begins where the file lies.
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Where `span` begins.
    pub fn place(&self, span: Option<Range<usize>>) -> Place {
        let line = span.map(|span| 1 + self.line_ends.partition_point(|end| *end < span.start));
        Place { file: self.file.clone(), line }
    }

    /// Where a key stands, by its tables and its name; the file alone if it is not there.
    pub fn place_of(&self, path: &[&str]) -> Place {
        self.as_read().place(path).unwrap_or_else(|| self.place(None))
    }

    /// A value at `span` that cannot be.
    pub fn wrong(
        &self,
        span: Range<usize>,
        key: &str,
        value: &str,
        why: &str,
        way_out: &str,
    ) -> SettingsFault {
        let problem = Problem::Wrong {
            key: key.into(),
            value: value.chars().take(SHOWN_CHARS_MAX).collect(),
            why: why.into(),
            way_out: way_out.into(),
        };
        SettingsFault { place: self.place(Some(span)), problem }
    }
}

/// A length of time, as people write it: `"30s"`, `"15m"`, `"8h"`, `"1h 30m"`.
///
/// # Errors
/// If it is none, or is negative.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()).ok_or_else(|| {
        D::Error::custom(format!(
            "{:?} is no length of time: write numbers with h, m or s, as in \"8h\", \"15m\" or \"1h 30m\"",
            text.chars().take(SHOWN_CHARS_MAX).collect::<String>()
        ))
    })
}

/// The same, where none at all would let nobody in.
///
/// # Errors
/// As [`duration`], and if it is zero.
pub fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    match duration(from)? {
        Duration::ZERO => Err(D::Error::custom("\"0s\" would let nobody in: write \"30s\", for example")),
        time => Ok(time),
    }
}

/// The same, where nothing means "as usual".
///
/// # Errors
/// As [`duration`].
pub fn some_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    some_time(from).map(Some)
}

/// serde tells an unknown key and the known ones between backticks, in this order.
fn nearest_known(message: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (found, known) = quoted.split_first()?;
    if !message.starts_with("unknown") {
        return None;
    }
    nearest(found, known.iter().copied()).map(str::to_owned)
}

/// The one of `known` that `found` was probably meant to be: the one it is the beginning of, or the most alike.
pub fn nearest<'a>(found: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let begun = known.clone().find(|name| found.len() > 2 && name.starts_with(found));
    begun.or_else(|| gate::nearest(found, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_found_and_a_far_one_is_not() {
        let known = ["address", "port", "labels", "host_keys"];

        assert_eq!(nearest("adress", known.into_iter()), Some("address"));
        assert_eq!(nearest("hostkeys", known.into_iter()), Some("host_keys"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest("addr", known.into_iter()), Some("address"));
    }
}
