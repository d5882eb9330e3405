//! One thing that happened in a session, and when.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Time since the session began, in whole microseconds: the only time below the shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Elapsed(u64);

impl Elapsed {
    /// The instant at which the session began.
    pub const ZERO: Elapsed = Elapsed(0);

    /// So many microseconds after the beginning.
    pub const fn from_micros(micros: u64) -> Self {
        Elapsed(micros)
    }

    /// Microseconds since the beginning.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Seconds since the beginning, as asciicast writes them.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The instant `by` later; stays at the end of time instead of wrapping.
    pub fn after(self, by: Duration) -> Self {
        Elapsed(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Elapsed) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl From<Duration> for Elapsed {
    fn from(since_begin: Duration) -> Self {
        Elapsed::ZERO.after(since_begin)
    }
}

/// One thing that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Elapsed,
    /// What.
    pub what: What,
}

/// What can happen in a session.
///
/// Bytes that a client sends have a position: the count of such bytes before them. [`What::Input`] and
/// [`What::Typed`] move it on, in the order in which the bytes reached the target; [`What::Shown`] looks back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// What the channel was opened for, exactly: the bytes of a command, the name of a subsystem, nothing for a
    /// shell (the header's `channel` says which). Every recording's first event, and synced before the target is
    /// dialled.
    Opened(Bytes),
    /// The target's output, on its way to the client.
    Output(Bytes),
    /// The target's error output (SSH extended data 1).
    ErrorOutput(Bytes),
    /// Bytes from the client, with their content: all of them without a terminal; control keys and escape
    /// sequences on a terminal.
    Input(Bytes),
    /// So many bytes were typed on a terminal. Whether they may be kept is not known yet, so only their count is.
    Typed(u32),
    /// The content of bytes that were `Typed`, once the screen has shown them: `first` is the position of the
    /// first of them.
    Shown {
        /// Position of the first byte in what the client sent.
        first: u64,
        /// The bytes themselves.
        data: Bytes,
    },
    /// What the gateway itself sent to the target. Never the user's input.
    Injected(Bytes),
    /// What the gateway itself told the client.
    Notice(Bytes),
    /// The terminal has a new size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// The client will send nothing more.
    InputEnd,
    /// The target will send nothing more.
    OutputEnd,
    /// A signal for the remote program, by its SSH name without `SIG`.
    Signal(String),
    /// How the remote program ended.
    Exit(Exit),
    /// Why the session ended, in the gateway's words. What the target still says after that is recorded too.
    Ended(String),
    /// Something worth pointing out, in words.
    Marker(String),
    /// What was decided or done, as JSON: an entry of the audit trail, whose recordings hold nothing else.
    Act(Bytes),
}

/// How a remote program ended (RFC 4254, section 6.10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// With this status.
    Status(u32),
    /// By this signal, named without `SIG`.
    Signal(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(status) => write!(f, "exit {status}"),
            Exit::Signal(name) => write!(f, "signal {name}"),
        }
    }
}

/// How a session ended, as far as its events tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How the remote program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why the session ended, in the gateway's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Outcome {
    /// Takes in one more event.
    pub fn hear(&mut self, what: &What) {
        match what {
            What::Exit(exit) => self.exit = Some(exit.clone()),
            What::Ended(reason) => self.reason = Some(reason.clone()),
            _ => {}
        }
    }

    /// Takes in what came later.
    pub fn then(&mut self, later: &Outcome) {
        self.exit = later.exit.clone().or(self.exit.take());
        self.reason = later.reason.clone().or(self.reason.take());
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Outcome::default()
    }
}

/// `exit 0`, `idle for too long`, or both.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.exit, &self.reason) {
            (Some(exit), Some(reason)) => write!(f, "{exit}, {reason}"),
            (Some(exit), None) => write!(f, "{exit}"),
            (None, Some(reason)) => f.write_str(reason),
            (None, None) => Ok(()),
        }
    }
}
