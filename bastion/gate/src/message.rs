//! What passes by a gate: messages heard, and steps answered.
//!
//! These are the SSH channel messages of RFC 4254 in words of our own, so that the gate need not name an SSH
//! library.

use std::{fmt, net::IpAddr, time::Duration};

use bytes::Bytes;
use recording::{Event, Exit};

use crate::{Grant, exit_code};

/// A terminal, as the client asked for it (`pty-req`, RFC 4254 section 6.2).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pty {
    /// Value of `TERM`.
    pub term: String,
    /// Columns, clamped; 0 is passed on as 0.
    pub cols: u16,
    /// Rows, clamped; 0 is passed on as 0.
    pub rows: u16,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// Terminal modes: opcode and argument, in the client's order.
    pub modes: Vec<(u8, u32)>,
}

/// What a client sent after its channel's opening request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// Bytes for the target's standard input.
    Data(Bytes),
    /// It will send nothing more.
    Eof,
    /// Its window has a new size (already clamped).
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
        /// Width in pixels.
        width_px: u32,
        /// Height in pixels.
        height_px: u32,
    },
    /// A signal for the remote program, named without `SIG`.
    Signal(String),
    /// It closed the channel, or is gone.
    Close,
}

/// What a target sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromTarget {
    /// It answers, and its channel is open.
    Dialled,
    /// It could not be reached, or did not let us in: one line, printable.
    Unreachable(String),
    /// What opens the target cannot be had: our own settings are wrong.
    Misconfigured,
    /// It refused the shell, the command, the subsystem or the terminal.
    Refused,
    /// Standard output.
    Data(Bytes),
    /// Standard error.
    ErrorData(Bytes),
    /// It will send nothing more.
    Eof,
    /// How the remote program ended.
    Exit(Exit),
    /// It closed the channel, or is gone.
    Close,
}

/// A message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToClient {
    /// Standard output.
    Data(Bytes),
    /// Standard error.
    ErrorData(Bytes),
    /// How the remote program ended, or our own code (sysexits).
    Exit(Exit),
    /// Nothing more will be sent.
    Eof,
}

/// A message for the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToTarget {
    /// Ask for a terminal.
    Pty(Pty),
    /// Set a variable.
    Env(String, String),
    /// Start a login shell.
    Shell,
    /// Run a command: these bytes exactly.
    Exec(Bytes),
    /// Start a subsystem.
    Subsystem(String),
    /// The window has a new size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
        /// Width in pixels.
        width_px: u32,
        /// Height in pixels.
        height_px: u32,
    },
    /// A signal.
    Signal(String),
    /// Standard input.
    Data(Bytes),
    /// Nothing more will be sent.
    Eof,
    /// Close the channel.
    Close,
}

/// Recording failed: what the recorder said, in words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrecorded(pub String);

/// A key that was bound to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Where the sign-in came from that bound it.
    pub source: IpAddr,
}

/// What a gate is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The session begins; said once, first.
    Begin,
    /// The client sent something.
    Client(FromClient),
    /// The target sent something.
    Target(FromTarget),
    /// The deadline that the gate asked for has come.
    Deadline,
    /// Recording failed.
    Unrecorded(Unrecorded),
    /// Recording works again.
    RecordedAgain,
    /// The client cannot be written to any more.
    ClientGone,
    /// The target cannot be written to any more.
    TargetGone,
    /// A key signs this session's person in from now on: she is told where she looks on.
    KeyBound(NewKey),
    /// Somebody outside ends the session: shutdown, administrator, a policy that was changed.
    End(Ending),
    /// Policy was asked anew about the session, and allows it: same target, same login.
    Regranted(Grant),
}

/// An end that comes from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why, for the user: one line, printable.
    pub why: String,
    /// [`Reason::Ended`], or [`Reason::Withdrawn`] if policy wants it, which may change its mind.
    pub reason: Reason,
    /// How long she has after she was told; 0 is at once.
    pub after: Duration,
}

/// How far the record must be before a step's bytes may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The kernel has it: survives `kill -9`.
    Written,
    /// The disk has it: survives a power cut.
    Synced,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The remote program ended, or the target closed.
    TargetDone,
    /// The client closed, or is gone.
    ClientDone,
    /// The target could not be reached, or refused what was asked.
    Unreachable,
    /// What opens the target could not be had.
    Misconfigured,
    /// Its time is over by policy.
    TimeOver,
    /// Nothing happened for too long, by policy.
    Idle,
    /// Recording failed.
    RecordingFailed,
    /// Policy does not allow it any more.
    Withdrawn,
    /// Ended from outside.
    Ended,
}

/// What a session does next. Steps are performed in order; nothing overtakes its record.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Record this. What follows waits for it.
    Record(Event, WaitsFor),
    /// Open the granted target.
    Dial(Grant),
    /// For the target, once all that was recorded so far is where it must be.
    ToTarget(ToTarget),
    /// For the client, once all that was recorded so far is where it must be.
    ToClient(ToClient),
    /// A sentence of ours for the client, past everything that waits: also while recording fails.
    Tell(Bytes),
    /// Close the client's channel after all that waits for it; the session is over.
    Close(Reason),
    /// Close at once; what waits is dropped unsent. Where it still can be, the client is told
    /// [`Reason::exit_code`] past everything that waits.
    Abandon(Reason),
}

/// In the words of a record.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::TargetDone => "the target closed",
            Reason::ClientDone => "the client closed",
            Reason::Unreachable => "the target could not be reached",
            Reason::Misconfigured => "the bastion's settings for the target are wrong",
            Reason::TimeOver => "its time was over by policy",
            Reason::Idle => "idle for too long by policy",
            Reason::RecordingFailed => "recording failed",
            Reason::Withdrawn => "policy does not allow it any more",
            Reason::Ended => "ended from outside",
        })
    }
}

impl Reason {
    /// The exit code that a session which ends so has from us; none where the remote program's own counts.
    pub fn exit_code(&self) -> Option<u32> {
        match self {
            Reason::TargetDone | Reason::ClientDone => None,
            Reason::Unreachable => Some(exit_code::UNREACHABLE),
            Reason::Misconfigured => Some(exit_code::MISCONFIGURED),
            Reason::TimeOver | Reason::Idle | Reason::Withdrawn => Some(exit_code::DENIED),
            Reason::RecordingFailed => Some(exit_code::UNRECORDED),
            Reason::Ended => Some(exit_code::TRY_AGAIN),
        }
    }
}

/// A terminal's size as it is passed on: at most [`COLS_MAX`] x [`ROWS_MAX`]; 0, for "not known", stays 0.
///
/// Emulators allocate a cell for each place: 65535 x 65535 of them would end the process.
pub fn clamp_size(cols: u32, rows: u32) -> (u16, u16) {
    let clamp = |size: u32, max: u16| u16::try_from(size).map_or(max, |size| size.min(max));
    (clamp(cols, COLS_MAX), clamp(rows, ROWS_MAX))
}

/// More columns no terminal has.
pub const COLS_MAX: u16 = 1000;
/// More rows no terminal has.
pub const ROWS_MAX: u16 = 500;
