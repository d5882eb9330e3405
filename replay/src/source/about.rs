//! Whose session a recording is of.

use chrono::DateTime;
use recording::{CastHeader, Facts, Header};

/// What the header line tells about a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// What it goes by: its file or its session id.
    pub name: String,
    /// Who was signed in.
    pub principal: Option<String>,
    /// Login on the target.
    pub login: Option<String>,
    /// Name of the target.
    pub target: Option<String>,
    /// When it began, in microseconds since 1970 (UTC).
    pub started_us: Option<u64>,
    /// What ran, if it was no shell.
    pub command: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Columns and rows at the beginning.
    pub size: (u16, u16),
}

impl About {
    /// What a cast of any program tells.
    pub fn of_cast(name: String, header: &CastHeader) -> Self {
        let about = About {
            name,
            started_us: header.timestamp.map(|seconds| seconds.saturating_mul(1_000_000)),
            command: header.command.clone(),
            title: header.title.clone(),
            size: (header.cols, header.rows),
            ..About::default()
        };
        match &header.facts {
            Some(facts) => about.with(facts),
            None => about,
        }
    }

    /// What a recording of ours tells.
    pub fn of_session(header: &Header) -> Self {
        let about = About {
            name: header.facts.id.to_string(),
            command: header.command.clone(),
            title: Some(header.title.clone()).filter(|title| !title.is_empty()),
            size: (header.cols, header.rows),
            ..About::default()
        };
        about.with(&header.facts)
    }

    fn with(self, facts: &Facts) -> Self {
        About {
            principal: Some(facts.person.name.clone()),
            login: Some(facts.login.clone()),
            target: Some(facts.target.clone()),
            started_us: Some(facts.started_us),
            ..self
        }
    }

    /// When it began, as people write it, in UTC.
    pub fn started(&self) -> Option<String> {
        let started = DateTime::from_timestamp_micros(i64::try_from(self.started_us?).ok()?)?;
        Some(started.format("%Y-%m-%d %H:%M:%SZ").to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_told_in_utc_and_one_beyond_the_calendar_is_not_told() {
        let about = |started_us| About { started_us: Some(started_us), ..About::default() };
        assert_eq!(about(1_700_000_000_000_000).started().as_deref(), Some("2023-11-14 22:13:20Z"));
        assert_eq!(about(u64::MAX).started(), None);
        assert_eq!(about(i64::MAX as u64).started(), None);
    }
}
