//! What a list of sessions tells of each.

use recording::{AUDIT, Header, Outcome, SessionId};
use serde::{Deserialize, Serialize};

use crate::{Live, tail::End};

/// The longest text that a list tells of a command or a title; the recording has all of it.
const TEXT_CHARS_MAX: usize = 256;

/// Whether a recording has ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being written.
    Live,
    /// The session ended, and all of it is here.
    Finished,
    /// The server was killed or lost power in mid-session: all that was relayed is here.
    Interrupted,
}

impl From<End> for State {
    fn from(end: End) -> Self {
        match end {
            End::Finished => State::Finished,
            End::Interrupted => State::Interrupted,
        }
    }
}

/// One session, as a list tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The session.
    pub id: SessionId,
    /// The name that its person goes by.
    pub person: String,
    /// Who she is: the provider that vouches for her, and her lasting id there.
    pub issuer: String,
    /// See `issuer`.
    pub subject: String,
    /// Name of the target.
    pub target: String,
    /// Login on the target.
    pub login: String,
    /// `shell`, `exec` or `subsystem`.
    pub channel: String,
    /// Command or subsystem; the beginning, if it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Title; the beginning, if it is long.
    pub title: String,
    /// Where she called from.
    pub source: String,
    /// When it began, in microseconds since 1970 (UTC).
    pub started_us: u64,
    /// When it ended; none while it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_us: Option<u64>,
    /// From its beginning to its last event so far, in microseconds.
    pub duration_us: u64,
    /// How many events.
    pub events: u64,
    /// How many bytes they take, encoded and not compressed.
    pub bytes: u64,
    /// How it stands.
    pub state: State,
    /// How it ended, as far as its events tell.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Summary {
    /// What is known when the recording begins.
    pub fn of(header: &Header) -> Self {
        let facts = &header.facts;
        Summary {
            id: facts.id,
            person: short(&facts.person.name),
            issuer: short(&facts.person.issuer),
            subject: short(&facts.person.subject),
            target: short(&facts.target),
            login: short(&facts.login),
            channel: short(&facts.channel),
            command: header.command.as_deref().map(short),
            title: short(&header.title),
            source: short(&facts.source),
            started_us: facts.started_us,
            ended_us: None,
            duration_us: 0,
            events: 0,
            bytes: 0,
            state: State::Live,
            outcome: Outcome::default(),
        }
    }

    /// Whether it is no session but a piece of the audit trail.
    pub fn is_audit(&self) -> bool {
        self.channel == AUDIT
    }

    /// What is known of one that is being written, or was until just now.
    pub fn of_live(live: &Live) -> Self {
        let (duration_us, events, bytes) = (live.last_us(), live.events(), live.bytes());
        let summary = Summary { duration_us, events, bytes, ..Summary::of(live.header()) };
        let Some(end) = live.ended() else { return summary };
        let ended_us = Some(summary.started_us.saturating_add(duration_us));
        Summary { ended_us, state: end.into(), outcome: live.outcome(), ..summary }
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Which sessions a list is asked for. What is not asked about does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Of the person with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// To the target with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Still going on at this instant or later: microseconds since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_us: Option<u64>,
    /// Begun before this instant: microseconds since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<u64>,
    /// Pieces of the audit trail, instead of sessions.
    #[serde(default)]
    pub audit: bool,
}

impl Filter {
    /// Whether the list tells of this session.
    pub fn matches(&self, summary: &Summary) -> bool {
        self.audit == summary.is_audit()
            && self.user.as_ref().is_none_or(|user| *user == summary.person)
            && self.target.as_ref().is_none_or(|target| *target == summary.target)
            && self.until_us.is_none_or(|until| summary.started_us < until)
            && self.since_us.is_none_or(|since| summary.ended_us.is_none_or(|ended| since <= ended))
    }
}
