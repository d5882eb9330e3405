//! What can be wrong with a policy file.

use std::fmt;

/// What is wrong with a policy file, where, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What was found there.
    pub problem: PolicyProblem,
    /// What to do about it, for the line that begins with `try:`.
    pub way_out: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.problem)
    }
}

impl std::error::Error for PolicyFault {}

/// What can be wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the variant means, and its fields stand in it")]
pub enum PolicyProblem {
    #[error("the file has {0} bytes, and at most {FILE_BYTES_MAX} are read")]
    TooLarge(usize),
    #[error("{0}")]
    Toml(String),
    #[error("unknown key {0:?}")]
    UnknownKey(String),
    #[error("{0:?} is no name for a rule")]
    RuleName(String),
    #[error("two rules are called {0:?}, the other one in line {1}")]
    RuleTwice(String, usize),
    #[error("{0:?} is no name for a group")]
    GroupName(String),
    #[error("group {0:?} has neither members nor a group of the provider")]
    EmptyGroup(String),
    #[error("group {group:?} has {value:?} as member, which is no name of a person")]
    Member { group: String, value: String },
    #[error("rule {rule:?} is about group {group:?}, and no group has that name")]
    NoGroup { rule: String, group: String },
    #[error("rule {rule:?} does not say who it is about")]
    NobodyNamed { rule: String },
    #[error("rule {rule:?} does not say which targets it is about")]
    NoTargetNamed { rule: String },
    #[error("rule {rule:?} has an empty list of {key}, and would never match")]
    EmptyList { rule: String, key: &'static str },
    #[error("rule {rule:?} has {value:?} among its {key}, which can match no name")]
    Pattern { rule: String, key: &'static str, value: String },
    #[error("rule {rule:?} has {value:?} as its login, which is no login's name")]
    LoginName { rule: String, value: String },
    #[error("rule {rule:?} has {value:?} as its login, and its own logins do not admit that")]
    LoginNotAdmitted { rule: String, value: String },
    #[error("rule {rule:?} is about channels of kind {value:?}, and there is no such kind")]
    Kind { rule: String, value: String },
    #[error("rule {rule:?} has {value:?} as its action")]
    Action { rule: String, value: String },
    #[error("rule {rule:?} has {value:?} as {key}, which is no length of time")]
    Duration { rule: String, key: &'static str, value: String },
    #[error("rule {rule:?} denies, so its {key} means nothing")]
    MeansNothing { rule: String, key: &'static str },
    #[error("rule {rule:?} has {value:?} among its days")]
    Days { rule: String, value: String },
    #[error("rule {rule:?} has {value:?} among its hours")]
    Hours { rule: String, value: String },
    #[error("rule {rule:?} has {value:?} among its from, which is no network")]
    Network { rule: String, value: String },
    #[error("rule {rule:?} has {value:?} among its from, and bits of it are set beyond its prefix")]
    BitsBeyond { rule: String, value: String },
    #[error("rule {rule:?} has {value:?} among its {key}, which no provider says")]
    Claim { rule: String, key: &'static str, value: String },
    #[error("rule {rule:?} says nothing about how people sign in")]
    SignInSaysNothing { rule: String },
    #[error("{value:?} is no person's name, to register keys for")]
    KeyOwner { value: String },
    #[error("{value:?} is no key's fingerprint")]
    Fingerprint { value: String },
    #[error("rule {rule:?} makes an exception of everything, and would never match")]
    ExceptsAll { rule: String },
    #[error("rule {rule:?} has {value:?} as time zone, and no time zone is called so")]
    Zone { rule: String, value: String },
}

/// A policy of five thousand rules has about this size.
pub(super) const FILE_BYTES_MAX: usize = 1024 * 1024;
