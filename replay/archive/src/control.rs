//! What is asked over the control socket, and answered.
//!
//! sled allows one process. While a server runs, everybody else asks it: over a Unix socket that only its own user and
//! root may open. A request is one line of JSON. An answer is one line of JSON, and behind it as many bytes as the line
//! says. Both are bounded. Segments travel as they are stored, and are unpacked by whoever asked.

mod client;

use std::{io, path::Path};

use recording::SessionId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use client::{Client, ControlFault};

use crate::Filter;

/// Name of the socket in the data folder.
pub const SOCKET: &str = "control.sock";
/// The longest request that is read.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// The longest line of an answer.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The most bytes behind an answer: the timeline of a long recording is the longest of them.
pub const BODY_BYTES_MAX: u64 = 256 << 20;
/// Sessions are listed so many at a time.
pub const SESSIONS_AT_ONCE: usize = 2_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How the server is. Behind the answer: a [`Status`].
    Status,
    /// Sessions that match, the newest first. Behind the answer: at most [`SESSIONS_AT_ONCE`] summaries.
    Sessions {
        /// Which.
        filter: Filter,
        /// Only those that began before this one: the last one of the answer before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<SessionId>,
    },
    /// One session. Behind the answer: its summary.
    Session {
        /// Which.
        id: SessionId,
    },
    /// The session that began last. Behind the answer: its summary.
    Last,
    /// The header line of a recording, behind the answer.
    Header {
        /// Which.
        id: SessionId,
    },
    /// The timeline of a recording, by now. Behind the answer: its spans.
    Timeline {
        /// Which.
        id: SessionId,
        /// Only from this span on, counted from 0: who has those before needs them no more.
        #[serde(default)]
        from: usize,
    },
    /// A segment of a recording. Behind the answer: its stored form.
    Segment {
        /// Which recording.
        id: SessionId,
        /// Which segment, counted from 0.
        segment: usize,
    },
    /// The key frame before a segment, behind the answer, as it is stored.
    Keyframe {
        /// Which recording.
        id: SessionId,
        /// Which segment, counted from 0.
        segment: usize,
    },
    /// Read a recording's sealed parts back, every byte, and check them.
    Verify {
        /// Which.
        id: SessionId,
    },
    /// End the open segments of all recordings, so that all that happened so far is packed: before a backup.
    EndSegments,
    /// Write an entry into the audit trail, for a command that changes something beside the server. Who asks is told
    /// by the socket.
    Record {
        /// What the command is about to do.
        act: Map<String, Value>,
    },
    /// The keys that sign somebody in. Behind the answer: a list.
    Bindings,
    /// Take the right to sign in from keys, and end what they opened: of a person, of a key, of both, or of all.
    Revoke {
        /// Of the person with this name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The key of this fingerprint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Whose the names are that somebody has signed in with. Behind the answer: a list.
    Names,
    /// Let a name be anybody's again.
    Release {
        /// The name.
        name: String,
    },
    /// Read policy and targets again.
    Reload,
    /// End all sessions, and stop.
    Shutdown,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done. One line for people, if there is something to say.
    Done {
        /// The line.
        said: String,
    },
    /// What was asked for follows.
    Body {
        /// So many bytes follow.
        bytes: u64,
        /// Of a segment: length of its plain form.
        #[serde(default)]
        plain_len: u64,
        /// Of a timeline: whether nothing more will come.
        #[serde(default)]
        has_ended: bool,
    },
    /// There is no such thing.
    None,
    /// It could not be done: one line, what was found and where.
    Fault {
        /// The line.
        fault: String,
    },
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub process: u32,
    /// Its version.
    pub version: String,
    /// Its data folder.
    pub data: String,
    /// When it started, in microseconds since 1970 (UTC).
    pub started_us: u64,
    /// Sessions that are being recorded.
    pub live_sessions: usize,
}

/// Does something with a path to a socket that may be longer than the 107 bytes that a socket address holds: then it
/// goes by the folder's descriptor.
///
/// # Errors
/// What the folder or `act` says.
pub fn with_short_path<T>(socket: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    const ADDRESS_BYTES_MAX: usize = 107;
    if socket.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return act(socket);
    }
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else { return act(socket) };
    let folder = std::fs::File::open(folder)?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&folder);
    act(&Path::new("/proc/self/fd").join(descriptor.to_string()).join(name))
}
