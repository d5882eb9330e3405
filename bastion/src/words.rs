//! The bastion's own words, which begin with a colon where a target would stand.

mod bindings;

use std::collections::BTreeSet;

use gate::{Certificate, Principal, Printable, exit_code, nearest};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    menu::{self, Item},
    times::{local_s, rfc3339_s},
};

pub use bindings::{Asks, answer as answer_keys};

use Answers::{Keys, Tells};

/// What may be told to a caller.
pub struct Knows {
    /// Who she is.
    pub principal: Principal,
    /// What she may reach.
    pub items: Vec<Item>,
    /// Until when her key signs her in alone: seconds since 1970 (UTC).
    pub alone_until: Option<i64>,
}

/// One word, and what it is for.
struct Word {
    name: &'static str,
    says: &'static str,
    answers: Answers,
}

/// How a word is answered.
enum Answers {
    /// By what is known.
    Tells(fn(&Knows) -> (String, Value)),
    /// By looking at her keys, or doing something with them.
    Keys,
}

/// What a word asks for.
pub enum Said {
    /// An answer that is there already.
    Answer(Answer),
    /// Something with her keys; as JSON or not.
    Keys(Asks, bool),
}

/// All of them; `:help` prints this table.
const WORDS: [Word; 7] = [
    Word { name: "help", says: "what you can say here", answers: Tells(help) },
    Word { name: "whoami", says: "who you are, and how that was proven", answers: Tells(whoami) },
    Word { name: "targets", says: "what you may reach, and as whom", answers: Tells(targets) },
    Word { name: "login", says: "sign in, so that the next call needs no prompt", answers: Tells(login) },
    Word { name: "keys", says: "the keys that sign you in, and since when", answers: Keys },
    Word {
        name: "revoke",
        says: "SHA256:... or --all: a key signs you in no more, and what it opened ends",
        answers: Keys,
    },
    Word { name: "logout", says: "the same for the key of this connection", answers: Keys },
];

/// Whether the answer to this word names targets.
pub fn lists_targets(word: &str) -> bool {
    word == "targets"
}

/// Hears a word of the bastion's own, and answers it as far as nothing must be done. Every word takes `--json`.
pub fn hear(word: &str, arguments: &[String], knows: &Knows) -> Said {
    match understood(word, arguments, knows) {
        Ok(said) => said,
        Err(line) => Said::Answer(Answer::refusal(line, exit_code::USAGE)),
    }
}

fn understood(word: &str, arguments: &[String], knows: &Knows) -> Result<Said, String> {
    let Some(known) = WORDS.iter().find(|known| known.name == word) else {
        let names: Vec<&str> = WORDS.iter().map(|known| known.name).collect();
        let try_this = nearest(word, names.iter().copied()).unwrap_or("help");
        return Err(format!("bastion: no word is called \":{}\"; try: :{try_this}", Printable::of(word)));
    };
    let json = arguments.iter().any(|argument| argument == "--json");
    let others: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| *argument != "--json").collect();
    match (&known.answers, others.first()) {
        (Keys, _) => Ok(Said::Keys(Asks::parse(word, &others)?, json)),
        (Tells(_), Some(wrong)) => {
            Err(format!("bastion: :{word} takes --json and nothing else, found \"{}\"", Printable::of(wrong)))
        }
        (Tells(tell), None) => {
            let (text, value) = tell(knows);
            Ok(Said::Answer(Answer::out(if json { format!("{value}\n") } else { text })))
        }
    }
}

/// No target was named, and there is no terminal to ask on: the list, and the code for wrong usage.
pub fn no_target(knows: &Knows) -> Answer {
    let err = if knows.items.is_empty() {
        "bastion: no target is open to you now; ask whoever keeps the policy of this bastion\n".to_owned()
    } else {
        format!("bastion: name a target: ssh {}@BASTION TARGET [COMMAND]\n", knows.principal.name)
    };
    Answer { out: menu::list(&knows.items), err, code: exit_code::USAGE }
}

/// The same for scp and sftp, which name no target in a command.
pub fn no_target_for_a_program(knows: &Knows) -> Answer {
    let user = &knows.principal.name;
    let line = format!(
        "bastion: name a target in the user name: scp FILE {user}%TARGET@BASTION:, sftp {user}%TARGET@BASTION; \
         ssh {user}@BASTION :targets lists them"
    );
    Answer::refusal(line, exit_code::USAGE)
}

fn help(knows: &Knows) -> (String, Value) {
    let user = &knows.principal.name;
    let mut text = format!(
        "ssh -t {user}@BASTION TARGET            a shell on TARGET\n\
         ssh {user}@BASTION TARGET COMMAND       run COMMAND there\n\
         ssh {user}@BASTION LOGIN@TARGET ...     as another login\n\
         ssh {user}%TARGET@BASTION ...           the same, for clients that cannot pass a command (scp, sftp)\n\
         \n\
         ssh {user}@BASTION :WORD [--json]\n"
    );
    for word in &WORDS {
        text.push_str(&format!("  :{:<9} {}\n", word.name, word.says));
    }
    let words = WORDS.iter().map(|word| json!({ "word": format!(":{}", word.name), "says": word.says }));
    (text, Value::Array(words.collect()))
}

fn whoami(knows: &Knows) -> (String, Value) {
    let Principal { issuer, subject, name, email, groups, source, key, signed_in_at, amr, acr, certificate } =
        &knows.principal;
    let list = |texts: &BTreeSet<String>| match texts.is_empty() {
        true => "-".to_owned(),
        false => texts.iter().cloned().collect::<Vec<_>>().join(" "),
    };
    let shown = |c: &Certificate| format!("cert     {}, serial {}\n", c.key_id, c.serial);
    let certificate_line = certificate.as_ref().map(shown).unwrap_or_default();
    let text = format!(
        "name     {name}\nissuer   {issuer}\nsubject  {}\ne-mail   {}\ngroups   {}\nfrom     {source}\nkey      {}\n{certificate_line}amr      {}\nacr      {}\n",
        Printable::of(subject),
        Printable::of(email.as_deref().unwrap_or("-")),
        Printable::of(&list(groups)),
        key.as_deref().unwrap_or("-"),
        Printable::of(&list(amr)),
        Printable::of(acr.as_deref().unwrap_or("-")),
    );
    let value = json!({
        "name": name.as_str(), "issuer": issuer, "subject": subject, "email": email, "groups": groups,
        "source": source, "key": key, "signed_in_at": rfc3339_s(*signed_in_at), "amr": amr, "acr": acr,
        "certificate": certificate.as_ref().map(|c| json!({ "serial": c.serial, "key_id": c.key_id, "ends_at": rfc3339_s(c.ends_at) })),
    });
    (text, value)
}

fn targets(knows: &Knows) -> (String, Value) {
    let value =
        |item: &Item| json!({ "name": item.name.as_str(), "logins": item.logins, "labels": item.labels });
    let text = match menu::list(&knows.items) {
        none if none.is_empty() => "No target is open to you now.\n".to_owned(),
        list => list,
    };
    (text, Value::Array(knows.items.iter().map(value).collect()))
}

fn login(knows: &Knows) -> (String, Value) {
    let Principal { name, key, certificate, .. } = &knows.principal;
    let text = match (certificate, key, knows.alone_until) {
        (Some(certificate), ..) => format!(
            "Signed in as {name}. The certificate \"{}\" needs no prompt until {}.\n",
            certificate.key_id,
            local_s(certificate.ends_at)
        ),
        (None, Some(key), Some(until)) => {
            format!("Signed in as {name}. The key {key} needs no prompt until {}.\n", local_s(until))
        }
        (None, Some(key), None) => {
            format!(
                "Signed in as {name}, for this connection: the key {key} is not bound, so the next one signs in anew.\n"
            )
        }
        (None, None, _) => format!(
            "Signed in as {name}, for this connection: it has no key that a sign-in could be bound to.\n\
             With one (ssh-keygen -t ed25519) the next sign-in is enough for hours.\n"
        ),
    };
    (text, json!({ "name": name.as_str(), "key": key, "alone_until": knows.alone_until.map(rfc3339_s) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(word: &str, arguments: &[String], knows: &Knows) -> Answer {
        match hear(word, arguments, knows) {
            Said::Answer(answer) => answer,
            Said::Keys(asks, _) => panic!("{asks:?}"),
        }
    }

    fn knows() -> Knows {
        let principal = Principal {
            issuer: "https://id.example".into(),
            subject: "7".into(),
            name: "alice".parse().unwrap(),
            email: None,
            groups: ["sre".to_owned()].into(),
            source: "127.0.0.1".parse().unwrap(),
            key: Some("SHA256:x".into()),
            signed_in_at: 0,
            amr: ["hwk".to_owned(), "mfa".to_owned()].into(),
            acr: Some("urn:example:strong".into()),
            certificate: None,
        };
        let web1 =
            Item { name: "web1".parse().unwrap(), logins: vec!["root".parse().unwrap()], labels: vec![] };
        Knows { principal, items: vec![web1], alone_until: None }
    }

    #[test]
    fn every_word_answers_in_text_and_in_one_line_of_json() {
        for word in WORDS.iter().filter(|word| matches!(word.answers, Tells(_))) {
            assert!(!answer(word.name, &[], &knows()).out.is_empty());

            let json = answer(word.name, &["--json".into()], &knows());
            assert_eq!((json.code, json.out.lines().count()), (0, 1));
            serde_json::from_str::<Value>(&json.out).unwrap();
        }
    }

    #[test]
    fn who_am_i_tells_how_the_sign_in_was_made() {
        let text = answer("whoami", &[], &knows()).out;
        assert!(text.ends_with("\namr      hwk mfa\nacr      urn:example:strong\n"), "{text}");

        let json: Value = serde_json::from_str(&answer("whoami", &["--json".into()], &knows()).out).unwrap();
        assert_eq!((&json["amr"], &json["acr"]), (&json!(["hwk", "mfa"]), &json!("urn:example:strong")));
        assert_eq!(json["signed_in_at"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_key_is_said_to_need_no_prompt_only_if_it_does_not() {
        let unbound = answer("login", &[], &knows()).out;
        assert!(unbound.contains("is not bound, so the next one signs in anew"), "{unbound}");
        let bound = answer("login", &[], &Knows { alone_until: Some(10 * 86_400), ..knows() }).out;
        assert!(bound.contains("needs no prompt until 1970-01-1"), "{bound}");
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_nearest_one_and_no_control_byte() {
        let refused = answer("targest", &[], &knows());
        assert_eq!(
            (refused.code, refused.err.contains("try: :targets")),
            (exit_code::USAGE, true),
            "{}",
            refused.err
        );

        let hostile = answer("\x1b]0;x\x07", &[], &knows());
        assert!(hostile.err.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    }

    #[test]
    fn who_names_no_target_gets_the_list_and_the_code_for_wrong_usage() {
        let said = no_target(&knows());
        assert_eq!((said.code, said.out.contains("web1")), (exit_code::USAGE, true));
    }
}
