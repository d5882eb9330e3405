//! Every sentence that a client is told.
//!
//! A closed list. No byte of a peer stands in them, save names that passed [`Name`] and text that passed
//! [`Printable`], so that they may be told even while nothing can be recorded.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{Denial, Kind, Name, NewKey, Printable, Unmet, Why};

/// The bastion's own exit codes on a channel, where 0 to 127 belong to the remote command: those of sysexits.h.
pub mod exit_code {
    /// Nobody can tell what was wanted (`EX_USAGE`).
    pub const USAGE: u32 = 64;
    /// The target could not be reached, or refused what was asked (`EX_UNAVAILABLE`).
    pub const UNREACHABLE: u32 = 69;
    /// A mistake of the bastion's own ended the session (`EX_SOFTWARE`).
    pub const BROKEN: u32 = 70;
    /// Recording failed, so nothing more may pass (`EX_IOERR`).
    pub const UNRECORDED: u32 = 74;
    /// Not now: no room, or the bastion goes down (`EX_TEMPFAIL`).
    pub const TRY_AGAIN: u32 = 75;
    /// Policy denies it, or does so by now (`EX_NOPERM`).
    pub const DENIED: u32 = 77;
    /// The bastion's own settings are wrong (`EX_CONFIG`).
    pub const MISCONFIGURED: u32 = 78;
}

/// One sentence for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The request was denied.
    Denied {
        /// The name that was asked for.
        target: Name,
        /// Why.
        denial: Denial,
    },
    /// The target could not be reached: the whole sentence, in our own words.
    Unreachable {
        /// Which target, and why.
        why: String,
    },
    /// The target refused the shell, the command, the subsystem or the terminal.
    Refused {
        /// The target.
        target: Name,
        /// What it refused.
        kind: Kind,
    },
    /// The target closed the channel and did not say how the remote program ended.
    TargetLost {
        /// The target.
        target: Name,
    },
    /// A forwarding was asked for.
    Forwarding(Forwarding),
    /// A shell without a terminal, and nothing comes in.
    NoTerminal,
    /// The session's time is nearly over: so much is left.
    TimeSoon(Duration),
    /// The session's time is over: so much it was.
    TimeOver(Duration),
    /// Nothing happens: so much is left.
    IdleSoon(Duration),
    /// Nothing happened for so long.
    IdleOver(Duration),
    /// Recording failed; nothing passes until it works again.
    Paused,
    /// Recording works again.
    RecordedAgain,
    /// Recording failed for too long.
    RecordingFailed,
    /// Somebody outside will end the session.
    EndsSoon {
        /// Why, in our own words.
        why: String,
        /// So much is left.
        left: Duration,
    },
    /// Somebody outside ended the session: why, in our own words.
    Ended(String),
    /// Policy ended it: why, in our own words.
    Withdrawn(String),
    /// Policy was about to end the session, and is not any more.
    AllowedAgain,
    /// The bastion's settings for this target are wrong.
    Misconfigured {
        /// The target.
        target: Name,
    },
    /// A key was bound to the person who looks on.
    KeyBound(NewKey),
    /// The bastion has no room for one more session.
    Full,
}

/// What can be forwarded on an SSH connection beside sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// To a host behind us: `-L`, `-D`, `-W`, `-J`.
    Local,
    /// From a port of ours: `-R`.
    Remote,
    /// The agent: `-A`.
    Agent,
    /// X11: `-X`, `-Y`.
    X11,
}

impl Forwarding {
    /// The rule of ours that refuses it. It is built in: no line of policy.toml opens these yet.
    pub const RULE: &'static str = "no-forwarding";
}

impl Notice {
    /// The sentence as a line for stderr. On a terminal it stands on a line of its own, whatever is on the screen.
    pub fn line(&self, on_terminal: bool) -> Bytes {
        let line = match (on_terminal, self.interrupts()) {
            (true, true) => format!("\r\nbastion: {self}\r\n"),
            (true, false) => format!("bastion: {self}\r\n"),
            (false, _) => format!("bastion: {self}\n"),
        };
        Bytes::from(line)
    }

    /// The exit code that belongs to it, if it ends a session.
    pub fn exit_code(&self) -> Option<u32> {
        match self {
            Notice::Denied { .. } | Notice::TimeOver(_) | Notice::IdleOver(_) | Notice::Withdrawn(_) => {
                Some(exit_code::DENIED)
            }
            Notice::Unreachable { .. } | Notice::Refused { .. } => Some(exit_code::UNREACHABLE),
            Notice::RecordingFailed => Some(exit_code::UNRECORDED),
            Notice::Ended(_) | Notice::Full => Some(exit_code::TRY_AGAIN),
            Notice::Misconfigured { .. } => Some(exit_code::MISCONFIGURED),
            Notice::TargetLost { .. }
            | Notice::Forwarding(_)
            | Notice::NoTerminal
            | Notice::TimeSoon(_)
            | Notice::IdleSoon(_)
            | Notice::EndsSoon { .. }
            | Notice::AllowedAgain
            | Notice::Paused
            | Notice::KeyBound(_)
            | Notice::RecordedAgain => None,
        }
    }

    /// Whether it can come while something else stands on the screen.
    fn interrupts(&self) -> bool {
        !matches!(
            self,
            Notice::Denied { .. }
                | Notice::Unreachable { .. }
                | Notice::Misconfigured { .. }
                | Notice::Full
                | Notice::Forwarding(_)
        )
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Denied { target, denial } => denied(f, target, denial),
            Notice::Unreachable { why } => {
                write!(f, "{}", Printable::sentence(why))
            }
            Notice::Refused { target, kind: Kind::Terminal | Kind::Shell } => {
                write!(f, "target {target} refused to start a shell")
            }
            Notice::Refused { target, kind: Kind::Exec } => {
                write!(f, "target {target} refused to run the command")
            }
            Notice::Refused { target, kind: Kind::Subsystem(name) } => {
                write!(f, "target {target} has no subsystem {}", Printable::of(name))
            }
            Notice::TargetLost { target } => {
                write!(f, "target {target} closed the session without saying how it ended")
            }
            Notice::Forwarding(what) => {
                write!(f, "{what} is refused by the built-in rule \"{}\"", Forwarding::RULE)
            }
            Notice::NoTerminal => f.write_str(
                "no terminal: the target's shell reads commands from your standard input; for a prompt use ssh -t",
            ),
            Notice::TimeSoon(left) => write!(f, "this session ends in {} by policy", Spoken(*left)),
            Notice::TimeOver(longest) => {
                write!(f, "this session has lasted {}, the longest that policy allows; it ends here", Spoken(*longest))
            }
            Notice::IdleSoon(left) => write!(f, "nothing happens here; this session ends in {}", Spoken(*left)),
            Notice::IdleOver(idle) => {
                write!(f, "nothing happened for {}, the longest that policy allows; this session ends here", Spoken(*idle))
            }
            Notice::Paused => f.write_str(
                "recording fails, so this session is paused; what you type is kept and sent once recording works again",
            ),
            Notice::RecordedAgain => f.write_str("recording works again, the session goes on"),
            Notice::RecordingFailed => f.write_str("recording failed, so this session ends here"),
            Notice::EndsSoon { why, left } => {
                write!(f, "this session ends in {}: {}", Spoken(*left), Printable::sentence(why))
            }
            Notice::AllowedAgain => f.write_str("policy allows this session again, it goes on"),
            Notice::Ended(why) | Notice::Withdrawn(why) => write!(f, "this session was ended: {}", Printable::sentence(why)),
            Notice::Misconfigured { target } => {
                write!(f, "the bastion's settings for target {target} are wrong; its administrator should run `bastion check`")
            }
            Notice::KeyBound(NewKey { fingerprint, source }) => write!(
                f,
                "the key {fingerprint} signs you in from now on, by a sign-in from {source}; if that was not you: \
                 ssh BASTION :revoke {fingerprint}"
            ),
            Notice::Full => f.write_str("the bastion has no room for one more session; try again later"),
        }
    }
}

const SEE: &str = "`:targets` lists what you may reach";

/// Without a reason, a target that is forbidden and one that does not exist read the same.
fn denied(f: &mut fmt::Formatter<'_>, target: &Name, denial: &Denial) -> fmt::Result {
    match denial.may_be_told() {
        Some(Why::Denied(rule)) => write!(f, "denied: rule \"{rule}\" denies this on {target}; {SEE}"),
        Some(Why::UnknownLogin(login) | Why::Login(login)) => {
            write!(f, "denied: no rule lets you in as {login} on {target}; {SEE}")
        }
        Some(Why::NoLogin) => write!(f, "denied: say as whom on {target}, as in LOGIN@{target}; {SEE}"),
        Some(Why::Channel(kind)) => {
            write!(f, "denied: no rule lets you open a {kind} channel on {target}; {SEE}")
        }
        Some(Why::Unmet { unmet, .. }) => unmet_on(f, target, unmet),
        Some(Why::UnknownTarget | Why::NoRule) | None => {
            write!(f, "denied: there is no target {target} that you may reach; {SEE}")
        }
    }
}

/// What is in the way, and no more of the rule than that: not its hours, its networks or what it trusts.
fn unmet_on(f: &mut fmt::Formatter<'_>, target: &Name, unmet: &Unmet) -> fmt::Result {
    let but = match unmet {
        Unmet::Time(_) => "at this time".to_owned(),
        Unmet::Source { found, .. } => format!("from {}", found.to_canonical()),
        Unmet::Amr { .. } | Unmet::Acr { .. } => "after this kind of sign-in".to_owned(),
        // A key that is bound skips the sign-in, and a shared connection was let in by an old one.
        Unmet::Age { most, .. } => {
            return write!(
                f,
                "denied: no rule lets you in on {target} with a sign-in older than {}; sign in again: \
                 ssh -o PubkeyAuthentication=no -o ControlPath=none ...",
                Spoken(*most)
            );
        }
        Unmet::Exception { .. } => "in this way".to_owned(),
    };
    write!(f, "denied: no rule lets you in on {target} {but}; {SEE}")
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Forwarding::Local => "port forwarding (-L, -D, -W, -J)",
            Forwarding::Remote => "port forwarding (-R)",
            Forwarding::Agent => "agent forwarding (-A)",
            Forwarding::X11 => "X11 forwarding (-X, -Y)",
        })
    }
}

/// A length of time in the largest unit that leaves nothing over.
pub(crate) struct Spoken(pub(crate) Duration);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            s if s >= 3600 && s.is_multiple_of(3600) => (s / 3600, "hour"),
            s if s >= 60 && s.is_multiple_of(60) => (s / 60, "minute"),
            s => (s, "second"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_and_a_forbidden_one_are_answered_with_the_same_bytes() {
        let target: Name = "web1".parse().unwrap();
        let line = Notice::Denied { target, denial: Denial::unknown_target() }.line(false);
        assert_eq!(
            line,
            "bastion: denied: there is no target web1 that you may reach; `:targets` lists what you may reach\n"
        );
    }

    #[test]
    fn a_notice_has_a_line_of_its_own_on_a_terminal() {
        assert_eq!(
            Notice::TimeSoon(Duration::from_secs(60)).line(true),
            "\r\nbastion: this session ends in 1 minute by policy\r\n"
        );
        assert_eq!(
            Notice::IdleSoon(Duration::from_secs(90)).line(false),
            "bastion: nothing happens here; this session ends in 90 seconds\n"
        );
    }

    #[test]
    fn what_a_dialler_says_cannot_touch_a_terminal() {
        let line = Notice::Unreachable { why: "no\r\n\x1b[2Jroute".to_owned() }.line(true);
        assert_eq!(line, "bastion: no\\u{d}\\u{a}\\u{1b}[2Jroute\r\n");
    }
}
