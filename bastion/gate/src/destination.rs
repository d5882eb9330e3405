//! What a caller names: herself, a target, a login there, or a word of the bastion's own.
//!
//! | said by | form |
//! |---|---|
//! | user name | `alice`, `alice%web1`, `alice%deploy%web1`; `/` separates as well as `%`, which newer OpenSSH expands |
//! | command | `web1`, `deploy@web1`, then one space and the command, byte for byte; or `:word` and its arguments |
//! | subsystem | `sftp` where the user name says where, else `web1 sftp` |

use bytes::Bytes;

use crate::{Name, NameFault, Printable};

/// What separates the parts of a user name.
const SEPARATORS: [char; 2] = ['%', '/'];
/// A first word longer than this is no name, and is not searched for its end.
const WORD_BYTES_MAX: usize = 256;

/// A target, and a login there if one was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The login; none means the usual one.
    pub login: Option<Name>,
    /// The target.
    pub target: Name,
}

/// What an SSH user name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who calls.
    pub name: Name,
    /// Where to, if it says so.
    pub destination: Option<Destination>,
}

/// What a command says that came without a destination in the user name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A target, and what is to run there; none for a shell.
    Target(Destination, Option<Bytes>),
    /// A word of the bastion's own, without its colon, and its arguments.
    Word(String, Vec<String>),
    /// Nothing at all.
    Nothing,
}

/// Why a destination cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationFault {
    /// A part of a user name is no name.
    #[error("user name: {0}")]
    User(#[source] NameFault),
    /// A user name has too many parts.
    #[error("user name: {0} parts, and at most three fit: name%login%target")]
    Parts(usize),
    /// The first word of a command is no target.
    #[error("first word of the command: {0}")]
    Word(#[source] NameFault),
    /// The arguments of a word of the bastion's own are no text.
    #[error("the arguments of {word} are not UTF-8: {text}")]
    Arguments {
        /// The word.
        word: String,
        /// What was found, printable.
        text: String,
    },
}

impl Caller {
    /// Reads an SSH user name.
    pub fn parse(user: &str) -> Result<Caller, DestinationFault> {
        let name = |text: &str| text.parse::<Name>().map_err(DestinationFault::User);
        let parts: Vec<&str> = user.splitn(5, SEPARATORS).collect();
        let (caller, destination) = match *parts.as_slice() {
            [caller] => (caller, None),
            [caller, target] => (caller, Some(Destination { login: None, target: name(target)? })),
            [caller, login, target] => {
                (caller, Some(Destination { login: Some(name(login)?), target: name(target)? }))
            }
            _ => return Err(DestinationFault::Parts(parts.len())),
        };
        Ok(Caller { name: name(caller)?, destination })
    }
}

impl Said {
    /// Reads a command that came without a destination in the user name.
    pub fn parse(command: &Bytes) -> Result<Said, DestinationFault> {
        let begin = command.iter().position(|byte| !byte.is_ascii_whitespace());
        let Some(begin) = begin else { return Ok(Said::Nothing) };
        let rest = command.slice(begin..);
        let end = rest.iter().take(WORD_BYTES_MAX).position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let word = rest.slice(..end);
        if word.first() == Some(&b':') {
            return Said::own_word(&rest);
        }
        // One space ends the word; whatever stands behind it is the command, byte for byte.
        let command = rest.get(end + 1..).map(|_| rest.slice(end + 1..)).filter(|rest| !rest.is_empty());
        Ok(Said::Target(Destination::parse(&word)?, command))
    }

    fn own_word(command: &Bytes) -> Result<Said, DestinationFault> {
        let Ok(text) = std::str::from_utf8(command) else {
            let word = command.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            let (word, text) = (Printable::of(word).to_string(), Printable::of(command).to_string());
            return Err(DestinationFault::Arguments { word, text });
        };
        let mut words = text.split_ascii_whitespace();
        let word = words.next().unwrap_or_default().trim_start_matches(':').to_owned();
        Ok(Said::Word(word, words.map(str::to_owned).collect()))
    }
}

impl Destination {
    /// Reads `target` or `login@target`.
    pub fn parse(word: &[u8]) -> Result<Destination, DestinationFault> {
        let fault = || DestinationFault::Word(NameFault(Printable::of(word).to_string()));
        let text = std::str::from_utf8(word).map_err(|_| fault())?;
        let name = |text: &str| text.parse::<Name>().map_err(|_| fault());
        Ok(match text.split_once('@') {
            Some((login, target)) => Destination { login: Some(name(login)?), target: name(target)? },
            None => Destination { login: None, target: name(text)? },
        })
    }

    /// Reads the name of a subsystem that came without a destination in the user name: `target subsystem`.
    pub fn of_subsystem(name: &str) -> Option<Result<(Destination, String), DestinationFault>> {
        let (word, subsystem) = name.split_once(' ')?;
        Some(Destination::parse(word.as_bytes()).map(|destination| (destination, subsystem.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(login: Option<&str>, target: &str) -> Destination {
        Destination { login: login.map(|l| l.parse().unwrap()), target: target.parse().unwrap() }
    }

    fn said(command: &str) -> Result<Said, DestinationFault> {
        Said::parse(&Bytes::copy_from_slice(command.as_bytes()))
    }

    #[test]
    fn a_user_name_may_say_where_to_and_as_whom() {
        let caller = |user: &str| Caller::parse(user).unwrap().destination;
        assert_eq!(caller("alice"), None);
        assert_eq!(caller("alice%web1"), Some(to(None, "web1")));
        assert_eq!(caller("alice/web1"), Some(to(None, "web1")));
        assert_eq!(caller("alice%deploy%web1"), Some(to(Some("deploy"), "web1")));
        assert_eq!(caller("alice/deploy/web1"), Some(to(Some("deploy"), "web1")));
    }

    #[test]
    fn a_user_name_that_is_none_is_refused() {
        for user in [
            "",
            "%",
            "alice%",
            "%web1",
            "a%b%c%d",
            "a/../b",
            "alice%-oProxyCommand=x",
            "alice\n",
            "alice%web1\0",
        ] {
            assert!(Caller::parse(user).is_err(), "{user:?}");
        }
    }

    #[test]
    fn the_first_word_is_the_target_and_the_rest_is_the_command_byte_for_byte() {
        assert_eq!(said("web1"), Ok(Said::Target(to(None, "web1"), None)));
        assert_eq!(said("web1 "), Ok(Said::Target(to(None, "web1"), None)));
        assert_eq!(said("deploy@web1 id"), Ok(Said::Target(to(Some("deploy"), "web1"), Some("id".into()))));
        let spaced = Said::Target(to(None, "web1"), Some(" echo  'a  b'\t\n".into()));
        assert_eq!(said("web1  echo  'a  b'\t\n"), Ok(spaced));
        let raw = Bytes::from_static(b"web1 printf \xff\x00");
        assert_eq!(Said::parse(&raw), Ok(Said::Target(to(None, "web1"), Some(raw.slice(5..)))));
    }

    #[test]
    fn a_word_that_begins_with_a_colon_is_the_bastions_own() {
        assert_eq!(said(":help"), Ok(Said::Word("help".into(), vec![])));
        assert_eq!(said(":targets --json"), Ok(Said::Word("targets".into(), vec!["--json".into()])));
        assert_eq!(said("  "), Ok(Said::Nothing));
    }

    #[test]
    fn what_is_no_target_is_named_in_print_and_refused() {
        for command in [
            "../etc id",
            "-oProxyCommand=x",
            "$(id) x",
            "a@b@c",
            "@web1",
            "web1@",
            "\u{ff57}eb1",
            "we\x1b]0;b1",
        ] {
            let Err(DestinationFault::Word(fault)) = said(command) else { panic!("{command:?}") };
            assert!(fault.to_string().bytes().all(|b| (0x20..0x7f).contains(&b)), "{fault}");
        }
        assert!(said(&"x".repeat(1 << 20)).is_err());
    }

    #[test]
    fn a_subsystem_may_name_its_target() {
        assert_eq!(Destination::of_subsystem("sftp"), None);
        assert_eq!(Destination::of_subsystem("web1 sftp"), Some(Ok((to(None, "web1"), "sftp".into()))));
    }
}
