//! policy.toml -> Policy; Policy and Request -> Decision.

use std::time::Duration;

use crate::{Name, Target};

/// How long a session may last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// From its beginning; none is for ever.
    pub longest: Option<Duration>,
    /// Without a byte from the client.
    pub idle: Option<Duration>,
}

/// Proof of a yes. Nobody outside this crate can make one, and only a grant opens a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub(crate) target: Target,
    pub(crate) login: Name,
    pub(crate) rule: String,
    pub(crate) limits: Limits,
}

impl Grant {
    /// The target that may be opened.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The login there.
    pub fn login(&self) -> &Name {
        &self.login
    }

    /// The rule that said yes.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// How long the session may last.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}
