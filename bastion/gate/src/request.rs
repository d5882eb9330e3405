//! Who wants what, and where: the thing that is decided.

use bytes::Bytes;

use crate::{Name, Principal, Pty, Target};

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
    /// Shell, command or subsystem.
    pub opens: Opens,
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
