//! Who wants what, and where: the thing that is decided.

use std::fmt;

use bytes::Bytes;

use crate::{Forwarding, Name, Principal, Printable, Pty, Target};

/// What a channel is for, told by its SSH request type alone, never by what a command looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opens {
    /// A login shell (`shell` request).
    Shell,
    /// A command: these bytes exactly (`exec` request).
    Exec(Bytes),
    /// A subsystem, by name.
    Subsystem(String),
}

/// What a client asked for before its channel began: kept until the target is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The terminal, if it asked for one.
    pub pty: Option<Pty>,
    /// Variables that may be passed on.
    pub env: Vec<(String, String)>,
    /// Forwardings that were asked for on this channel and refused.
    pub refused: Vec<Forwarding>,
    /// Shell, command or subsystem.
    pub opens: Opens,
}

/// What rules call the kinds of channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A shell with a terminal.
    Terminal,
    /// A shell without one: it reads what is sent to it.
    Shell,
    /// A command, with a terminal or without.
    Exec,
    /// A subsystem, by name.
    Subsystem(String),
}

impl Opening {
    /// What rules call this.
    pub fn kind(&self) -> Kind {
        match (&self.opens, &self.pty) {
            (Opens::Shell, Some(_)) => Kind::Terminal,
            (Opens::Shell, None) => Kind::Shell,
            (Opens::Exec(_), _) => Kind::Exec,
            (Opens::Subsystem(name), _) => Kind::Subsystem(name.clone()),
        }
    }
}

/// `terminal`, `shell`, `exec`, or the name of the subsystem, made printable.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Terminal => f.write_str("terminal"),
            Kind::Shell => f.write_str("shell"),
            Kind::Exec => f.write_str("exec"),
            Kind::Subsystem(name) => Printable::of(name.as_bytes()).fmt(f),
        }
    }
}

/// Who wants what, and where.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who.
    pub principal: Principal,
    /// Where.
    pub target: Target,
    /// As which login; none means the target's default.
    pub login: Option<Name>,
    /// What.
    pub opening: Opening,
    /// When: seconds since 1970 (UTC).
    pub now: i64,
}
