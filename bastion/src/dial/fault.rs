//! What can go wrong on the way to a target: for the log, and for the caller.

use std::{io, net::IpAddr, time::Duration};

use gate::{FromTarget, Name};
use keys::{HostCertificateFault, VaultFault};
use russh::MethodSet;

use crate::{pins::PinsFault, settings::OldAlgorithms};

/// Why a target could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{target} at {address}: {problem}")]
pub struct DialFault {
    /// The target.
    pub target: Name,
    /// Its address and port: for the log.
    pub address: String,
    /// What happened.
    pub problem: DialProblem,
}

/// What happened on the way to a target. Displayed, it is for the log.
#[derive(Debug, thiserror::Error)]
pub enum DialProblem {
    /// Its name has no address.
    #[error("its name cannot be resolved: {0}")]
    NoSuchHost(io::Error),
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// It did not answer in time.
    #[error("no answer within {within:?} while {stage}")]
    TimedOut {
        /// What was waited for.
        stage: Stage,
        /// For how long.
        within: Duration,
    },
    /// No network leads there.
    #[error("no route: {0}")]
    NoRoute(io::Error),
    /// This process has no free file handle.
    #[error("no free file handle: raise LimitNOFILE")]
    NoHandles,
    /// Anything else that the system said about the connection.
    #[error("connection failed: {0}")]
    Network(io::Error),
    /// No pin and no setting names its host key.
    #[error("unknown host key {shown}")]
    UnknownHostKey {
        /// What it showed.
        shown: String,
    },
    /// Its host key is another one than it was.
    #[error("host key changed: it shows {shown}, known is {}", known.join(" and "))]
    ChangedHostKey {
        /// What it showed.
        shown: String,
        /// What is known.
        known: Vec<String>,
    },
    /// Its host key was revoked.
    #[error("revoked host key {shown}")]
    RevokedHostKey {
        /// What it showed.
        shown: String,
    },
    /// It showed a host certificate that does not count.
    #[error("host certificate refused: {why}; its key is {shown}, signed by {authority}")]
    HostCertificate {
        /// The key in it.
        shown: String,
        /// Who signed it, by its own word.
        authority: String,
        /// What is wrong with it.
        why: HostCertificateFault,
    },
    /// Neither strict key exchange nor AES-GCM: messages could be dropped unseen (CVE-2023-48795).
    #[error("it has neither strict key exchange nor AES-GCM (CVE-2023-48795): update its sshd")]
    Terrapin,
    /// It proves its host key with an algorithm that it was not offered.
    #[error(
        "it proves its host key with {algorithm}, which it was not offered; weak_algorithms in its settings can offer it more"
    )]
    SignsOtherwise {
        /// With which.
        algorithm: String,
    },
    /// It opens a channel to us.
    #[error("it opens channels to the bastion, which no target has to; the connection was ended")]
    OpensChannels,
    /// It and we have no algorithm of some kind in common.
    #[error("no algorithm in common: {0}")]
    NoCommonAlgorithm(String),
    /// Its pins cannot be read.
    #[error(transparent)]
    Pins(#[from] PinsFault),
    /// The key that opens it cannot be had.
    #[error(transparent)]
    Key(#[from] VaultFault),
    /// It does not let our key in.
    #[error("login {login} with key {key} ({fingerprint}) refused; it wants {wants}")]
    LoginRefused {
        /// The login.
        login: Name,
        /// The key's name in the vault.
        key: String,
        /// The key's fingerprint.
        fingerprint: String,
        /// What it would go on with.
        wants: String,
    },
    /// It does not let us in with a certificate.
    #[error(
        "login {login} with certificate {serial} for {ours}, signed by {authority} ({fingerprint}), refused; it wants {wants}"
    )]
    CertificateRefused {
        /// The login.
        login: Name,
        /// The authority's name in the vault.
        authority: String,
        /// The authority's fingerprint.
        fingerprint: String,
        /// The certificate's number.
        serial: u64,
        /// The address that it is bound to.
        ours: IpAddr,
        /// What it would go on with.
        wants: String,
    },
    /// The password for it cannot be had.
    #[error("there is no password {0} in the vault: bastion key password set {0}")]
    NoPassword(Name),
    /// It takes the key, and does not let us in by it alone.
    #[error(
        "login {login}: the key is taken, and it wants {wants} besides; `auth` in its settings can say so"
    )]
    WantsMore {
        /// The login.
        login: Name,
        /// What it would go on with.
        wants: String,
    },
    /// It does not take the password.
    #[error("login {login} with password {:?} refused; it wants {wants}", password.as_str())]
    PasswordRefused {
        /// The login.
        login: Name,
        /// The password's name in the vault.
        password: Name,
        /// What it would go on with.
        wants: String,
    },
    /// It asks for something that is not a password alone.
    #[error("login {login}: {what}; only one question for a password is answered")]
    Questions {
        /// The login.
        login: Name,
        /// What it asks.
        what: String,
    },
    /// It opens no session.
    #[error("session refused: {0}")]
    ChannelRefused(String),
    /// It ended the connection, or broke the protocol.
    #[error("connection lost while {stage}: {cause}")]
    Lost {
        /// What was under way.
        stage: Stage,
        /// What the SSH library said.
        cause: String,
    },
}

/// What is under way while a target is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP.
    Connecting,
    /// SSH's key exchange.
    Greeting,
    /// Our login there.
    LoggingIn,
    /// The session channel.
    Opening,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Connecting => "connecting",
            Stage::Greeting => "exchanging keys",
            Stage::LoggingIn => "logging in",
            Stage::Opening => "opening a session",
        })
    }
}

impl DialFault {
    /// What the caller's session hears of it.
    pub fn heard(&self) -> FromTarget {
        match &self.problem {
            DialProblem::Pins(_) | DialProblem::Key(_) | DialProblem::NoPassword(_) => {
                FromTarget::Misconfigured
            }
            _ => FromTarget::Unreachable(self.told()),
        }
    }

    /// One line for the caller: enough to know whom to ask and for what, without addresses or names of keys.
    pub fn told(&self) -> String {
        let target = &self.target;
        let unreachable = |why: &str| format!("{target} cannot be reached: {why}");
        match &self.problem {
            DialProblem::NoSuchHost(_) => unreachable("its address cannot be resolved"),
            DialProblem::Refused => unreachable("connection refused"),
            DialProblem::TimedOut { within, .. } => unreachable(&format!("no answer within {within:?}")),
            DialProblem::NoRoute(_) => unreachable("no route to it"),
            DialProblem::Network(_) => unreachable("the connection failed"),
            DialProblem::NoHandles
            | DialProblem::Pins(_)
            | DialProblem::Key(_)
            | DialProblem::NoPassword(_) => unreachable("the bastion cannot open it now; its log says why"),
            DialProblem::UnknownHostKey { shown } => format!(
                "{target} shows a host key that nobody has confirmed yet: {shown}. \
                 An administrator compares it, then runs: bastion target pin {target}"
            ),
            DialProblem::ChangedHostKey { shown, known } => format!(
                "{target} shows another host key than before: {shown} instead of {}. Somebody may stand in between. \
                 If the change is meant, an administrator runs: bastion target pin {target}",
                known.join(" or ")
            ),
            DialProblem::RevokedHostKey { shown } => {
                format!("{target} shows a host key that was revoked: {shown}. Somebody may stand in between")
            }
            DialProblem::HostCertificate { shown, authority, .. } => format!(
                "{target} shows a host certificate that does not count: {shown}, signed by {authority}. The bastion's \
                 log says why; an administrator looks at the target's HostCertificate and at the @cert-authority line"
            ),
            DialProblem::Terrapin
            | DialProblem::SignsOtherwise { .. }
            | DialProblem::OpensChannels
            | DialProblem::NoCommonAlgorithm(_) => unreachable(
                "its SSH server is not one that the bastion may trust; the bastion's log says why",
            ),
            DialProblem::LoginRefused { login, .. } | DialProblem::CertificateRefused { login, .. } => {
                format!(
                    "{target} does not let the bastion in as {login}. \
                 `bastion target setup {target}` prints what its administrator needs"
                )
            }
            DialProblem::WantsMore { login, .. }
            | DialProblem::PasswordRefused { login, .. }
            | DialProblem::Questions { login, .. } => {
                format!("{target} does not let the bastion in as {login}. The bastion's log says why")
            }
            DialProblem::ChannelRefused(_) => unreachable("it opens no session"),
            DialProblem::Lost { .. } => unreachable("it ended the connection"),
        }
    }
}

/// The type that the SSH library asks for; a fault in it is given its stage by `dial`.
impl From<russh::Error> for DialProblem {
    fn from(fault: russh::Error) -> Self {
        match fault {
            russh::Error::NoCommonAlgo { kind, theirs, .. } => {
                let weak = match OldAlgorithms::among(&theirs).as_slice() {
                    [] => String::new(),
                    weak => {
                        format!("; weak_algorithms = {weak:?} in its settings would offer it what it has")
                    }
                };
                let theirs: String = theirs.join(",").chars().filter(|c| !c.is_control()).take(200).collect();
                DialProblem::NoCommonAlgorithm(format!("{kind:?}, it has {theirs}{weak}"))
            }
            other => DialProblem::Lost { stage: Stage::Greeting, cause: printable(&other.to_string()) },
        }
    }
}

/// The ways to sign in that a target goes on with.
pub(super) fn methods(methods: &MethodSet) -> String {
    methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", ")
}

/// One line of what a library or a peer said.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}
