//! The list of targets, to be typed in: a program on a terminal, and how a channel runs it.
//!
//! The program is `bastion pick`: it reads an [`Offer`] on standard input and answers with a [`Pick`] on standard
//! error. Over a channel it runs as a child (see [`crate::child`]), at home as itself.

mod draw;
mod keys;
mod list;
mod terminal;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Read},
    time::Duration,
};

use gate::{Destination, Name, Principal, Pty};
use russh::{Channel, server};
use serde::{Deserialize, Serialize};

use crate::{
    child::{self, ChildFault, Confined, Interface, Told},
    failure::Failure,
    last_use::LastUse,
    menu::{Chosen, Item},
};

/// The smallest terminal that the list is drawn on.
const SIZE_MIN: (u16, u16) = (20, 5);
/// An offer of 10,000 targets has about 2 MB. More than this is none of ours.
const OFFER_BYTES_MAX: u64 = 64 << 20;

/// What is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// What time it is: seconds since 1970 (UTC).
    pub now: i64,
    /// The targets, in any order.
    pub entries: Vec<Entry>,
}

/// A target that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Logins that may be used there, the default one first.
    pub logins: Vec<Name>,
    /// Labels, as `key=value`.
    pub labels: Vec<String>,
    /// When it was last opened by who is asked, and as whom.
    pub last: Option<LastUse>,
}

/// What was picked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// The target, and the login if there is one to name; none if she left.
    pub chosen: Option<(Name, Option<Name>)>,
    /// How many bytes of what was typed were for the list, the one that chose included. What comes behind is not.
    pub used: usize,
}

/// Can the list be drawn on such a terminal?
pub fn fits(pty: &Pty) -> bool {
    pty.term != "dumb" && pty.cols >= SIZE_MIN.0 && pty.rows >= SIZE_MIN.1
}

/// Lets the caller pick one of these, on her terminal; for nothing typed in `idle` it is closed.
///
/// # Errors
/// There is no answer, or one that was not offered.
pub async fn ask(
    channel: &mut Channel<server::Msg>,
    pty: &mut Pty,
    env: &[(String, String)],
    whose: &Principal,
    offer: &Offer,
    idle: Duration,
) -> Result<Chosen, ChildFault> {
    let data = serde_json::to_vec(offer).map_err(|fault| ChildFault::NotStarted(fault.into()))?;
    let told = child::run(channel, pty, env, whose, Interface { command: "pick", data, idle }).await?;
    understood(offer, told)
}

/// What a child answered, if that was offered: it has drawn foreign text, and is not believed.
fn understood(offer: &Offer, told: Told) -> Result<Chosen, ChildFault> {
    let read = serde_json::from_slice::<Pick>(&told.answer);
    let Pick { chosen, used } = read.map_err(|_| ChildFault::Senseless)?;
    let Some((target, login)) = chosen else { return Ok(Chosen::Nothing) };
    let is_offered = |entry: &Entry| {
        entry.name == target && login.as_ref().is_none_or(|login| entry.logins.contains(login))
    };
    if !offer.entries.iter().any(is_offered) {
        return Err(ChildFault::Senseless);
    }
    let typed_ahead = told.typed.behind(used).ok_or(ChildFault::Senseless)?;
    Ok(Chosen::Target(Destination { login, target }, typed_ahead))
}

/// What these items and last uses make.
pub fn offer(items: &[Item], mut last: BTreeMap<Name, LastUse>, now: i64) -> Offer {
    let entry = |item: &Item| Entry {
        name: item.name.clone(),
        logins: item.logins.clone(),
        labels: item.labels.clone(),
        last: last.remove(&item.name),
    };
    Offer { now, entries: items.iter().map(entry).collect() }
}

/// `bastion pick`: confines itself, reads an offer, lets somebody pick, and answers.
///
/// # Errors
/// There is no terminal, or the offer is none.
pub fn run() -> Result<u8, Failure> {
    let failed = |fault: &dyn std::fmt::Display| Failure { code: 1, what: fault.to_string(), way_out: None };
    if io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let what = "a list is picked from on a terminal, and comes on standard input, which is none";
        return Err(Failure::usage(what, "ssh -t NAME@BASTION"));
    }
    // The last file that is opened.
    let tty = terminal::open().map_err(|fault| failed(&format_args!("/dev/tty: {fault}")))?;
    let confined = child::confine().map_err(|fault| failed(&fault))?;
    eprintln!("{}{confined}", Confined::SAYS);
    let mut offer = Vec::new();
    io::stdin().lock().take(OFFER_BYTES_MAX).read_to_end(&mut offer).map_err(|fault| failed(&fault))?;
    let offer: Offer = serde_json::from_slice(&offer).map_err(|fault| failed(&fault))?;
    let pick = terminal::pick(tty, offer).map_err(|fault| failed(&fault))?;
    eprintln!("{}", serde_json::to_string(&pick).map_err(|fault| failed(&fault))?);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::Typed;

    /// Four targets, two of them used before.
    pub fn offer() -> Offer {
        const DAY: i64 = 24 * 3600;
        let now = 10 * DAY;
        let entry = |name: &str, logins: &[&str], labels: &[&str], ago: Option<i64>| Entry {
            name: name.parse().unwrap(),
            logins: logins.iter().map(|login| login.parse().unwrap()).collect(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            last: ago.map(|ago| LastUse { at: now - ago, login: "root".parse().unwrap() }),
        };
        let entries = vec![
            entry("web1", &["root"], &["env=prod"], None),
            entry("web2", &["root"], &["env=test"], Some(200)),
            entry("db1", &["root", "postgres"], &["env=prod", "role=db"], Some(2 * DAY)),
            entry("app1", &["root"], &[], None),
        ];
        Offer { now, entries }
    }

    fn told(answer: &str) -> Result<Chosen, ChildFault> {
        let mut typed = Typed::default();
        typed.add(b"db\rhello\r").unwrap();
        typed.gave(6);
        understood(&offer(), Told { answer: answer.into(), typed })
    }

    #[test]
    fn what_was_picked_and_what_was_typed_behind_it_is_understood() {
        let chosen = told(r#"{"chosen":["db1","postgres"],"used":3}"#).unwrap();
        let to = Destination { login: Some("postgres".parse().unwrap()), target: "db1".parse().unwrap() };
        assert_eq!(chosen, Chosen::Target(to, b"hello\r".to_vec()));
        assert_eq!(told(r#"{"chosen":null,"used":0}"#).unwrap(), Chosen::Nothing);
    }

    #[test]
    fn a_child_that_answers_what_was_not_offered_is_not_believed() {
        for answer in [
            r#"{"chosen":["db2","root"],"used":3}"#,
            r#"{"chosen":["web1","postgres"],"used":3}"#,
            r#"{"chosen":["-oProxyCommand=x",null],"used":3}"#,
            r#"{"chosen":["web1",null]}"#,
            r#"{"chosen":null,"used":3,"more":1}"#,
            r#"{"chosen":["web1",null],"used":7}"#,
            r#"{"chosen":["web1",null],"used":-1}"#,
            r#"{"chosen":["web1",null],"used":3,"typed_ahead":[114,109]}"#,
            "",
        ] {
            assert!(matches!(told(answer), Err(ChildFault::Senseless)), "{answer}");
        }
    }

    #[test]
    fn a_terminal_that_cannot_show_it_gets_the_numbered_list() {
        let pty = |term: &str, cols, rows| Pty {
            term: term.into(),
            cols,
            rows,
            width_px: 0,
            height_px: 0,
            modes: vec![],
        };
        assert!(fits(&pty("xterm", 20, 5)) && fits(&pty("vt100", 80, 24)));
        for (term, cols, rows) in [("dumb", 80, 24), ("xterm", 19, 24), ("xterm", 80, 4), ("xterm", 0, 0)] {
            assert!(!fits(&pty(term, cols, rows)), "{term} {cols}x{rows}");
        }
    }
}
