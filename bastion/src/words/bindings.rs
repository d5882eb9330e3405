//! `:keys`, `:revoke` and `:logout`: what a person may do with the keys that sign her in.

use gate::{Certificate, Name, Principal, exit_code};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    audit::{By, person},
    house::House,
    login::{Binding, ListedBinding},
    revoke::Which,
    times::{local_s, rfc3339_s},
};

/// What she asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Which keys are there?
    Keys,
    /// Forget this one, or all.
    Revoke(Option<String>),
    /// Forget the one that she came with.
    Logout,
}

impl Asks {
    /// What the word and its arguments ask for, `--json` left out.
    ///
    /// # Errors
    /// A sentence for whoever asks wrongly.
    pub fn parse(word: &str, arguments: &[&str]) -> Result<Asks, String> {
        match (word, arguments) {
            ("keys", []) => Ok(Asks::Keys),
            ("logout", []) => Ok(Asks::Logout),
            ("revoke", ["--all"]) => Ok(Asks::Revoke(None)),
            ("revoke", [key]) if key.starts_with("SHA256:") => Ok(Asks::Revoke(Some((*key).to_owned()))),
            ("revoke", _) => {
                Err("bastion: :revoke takes a key's fingerprint (SHA256:..., :keys lists yours) or --all"
                    .into())
            }
            _ => Err(format!("bastion: :{word} takes --json and nothing else")),
        }
    }
}

/// Does it, for her own keys alone.
pub async fn answer(house: &House, principal: &Principal, asks: Asks, json: bool) -> Answer {
    let own =
        |binding: &Binding| (&binding.issuer, &binding.subject) == (&principal.issuer, &principal.subject);
    let all = match house.login.bindings().all(house.login.now()) {
        Ok(all) => all.into_iter().filter(own).collect::<Vec<_>>(),
        Err(fault) => return failed(&fault),
    };
    let key = match asks {
        Asks::Keys => {
            let known = all.into_iter().map(|binding| house.login.listed_for(binding, principal));
            return Answer::out(listed(&known.collect::<Vec<_>>(), principal, json));
        }
        Asks::Revoke(None) => None,
        Asks::Revoke(Some(key)) => Some(key),
        Asks::Logout => match (&principal.certificate, &principal.key) {
            (Some(certificate), _) => return Answer::out(certified_until_the_end(certificate, json)),
            (None, Some(key)) => Some(key.clone()),
            (None, None) => return Answer::out("This connection has no key; closing it signs you out.\n"),
        },
    };
    if let Some(key) = key.as_ref().filter(|key| !all.iter().any(|binding| binding.fingerprint == **key)) {
        let line = format!("bastion: no key {key} signs you in; :keys lists those that do");
        return Answer::refusal(line, exit_code::USAGE);
    }
    let (issuer, subject) = (principal.issuer.clone(), principal.subject.clone());
    let which = Which { user: None::<Name>, person: Some((issuer, subject)), key };
    match house.revoke(By::Person(person(principal)), which).await {
        Ok(revoked) if json => Answer::out(format!("{}\n", json!(revoked))),
        Ok(revoked) => Answer::out(said(&revoked.keys)),
        Err(fault) => failed(&fault),
    }
}

fn said(keys: &[String]) -> String {
    let mut text: String = keys.iter().map(|key| format!("{key} signs nobody in any more.\n")).collect();
    text.push_str("What it opened is ended.\n");
    text
}

/// What signs her in that no word here can take away.
fn by_certificate(certificate: &Certificate) -> String {
    let Certificate { key_id, serial, ends_at, .. } = certificate;
    let until = local_s(*ends_at);
    format!(
        "The certificate \"{key_id}\", serial {serial}, signs you in until {until}; no key is bound by it.\n"
    )
}

fn certified_until_the_end(certificate: &Certificate, json: bool) -> String {
    match json {
        true => format!("{}\n", json!({ "keys": [], "connections": 0 })),
        false => {
            by_certificate(certificate)
                + "Closing this connection signs you out; to shut the certificate out before its time, ask an administrator.\n"
        }
    }
}

fn listed(bindings: &[ListedBinding], principal: &Principal, json: bool) -> String {
    // The key in a certificate may be another person's binding; it is none of hers.
    let current = principal.key.as_deref().filter(|_| principal.certificate.is_none());
    if json {
        let told = bindings.iter().map(|binding| told(binding, current)).collect();
        return format!("{}\n", Value::Array(told));
    }
    if let (true, Some(certificate)) = (bindings.is_empty(), &principal.certificate) {
        return by_certificate(certificate);
    }
    if bindings.is_empty() {
        return "No key signs you in; a sign-in with a key binds it.\n".to_owned();
    }
    let line = |ListedBinding { binding, alone_until, .. }: &ListedBinding| {
        let Binding { fingerprint, created_at, last_used_at, source, .. } = binding;
        let here = if current == Some(fingerprint) { "  (this connection's)" } else { "" };
        let [since, used] = [created_at, last_used_at].map(|at| local_s(*at));
        // Which rule it is stays with the administrators.
        let until = match alone_until {
            Some(until) => format!("until {}", local_s(*until)),
            None => "not alone: from here you sign in anew, as policy has it".to_owned(),
        };
        format!("{fingerprint}  since {since}  {until}  last used {used} from {source}{here}\n")
    };
    bindings.iter().map(line).collect()
}

/// A binding as JSON tells it to its owner.
fn told(ListedBinding { binding, alone_until, .. }: &ListedBinding, current: Option<&str>) -> Value {
    json!({
        "key": binding.fingerprint,
        "since": rfc3339_s(binding.created_at),
        "until": rfc3339_s(binding.expires_at),
        "alone_until": alone_until.map(rfc3339_s),
        "last_used": rfc3339_s(binding.last_used_at),
        "source": binding.source,
        "current": current == Some(&binding.fingerprint),
    })
}

fn failed(fault: &dyn std::fmt::Display) -> Answer {
    tracing::error!(%fault, "a word about keys was not carried out");
    let line = "bastion: that cannot be done now; the server's log says why";
    Answer::refusal(line, exit_code::UNRECORDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice(key: Option<&str>) -> Principal {
        Principal {
            issuer: "https://id.example".into(),
            subject: "7".into(),
            name: "alice".parse().unwrap(),
            email: None,
            groups: [].into(),
            source: "127.0.0.1".parse().unwrap(),
            key: key.map(str::to_owned),
            signed_in_at: 0,
            amr: [].into(),
            acr: None,
            certificate: None,
        }
    }

    /// A key that was bound for a day, of which policy leaves this.
    fn listed_key(alone_until: Option<i64>) -> ListedBinding {
        let binding = Binding::new("SHA256:x".into(), &alice(None), std::time::Duration::from_secs(86_400));
        ListedBinding { binding, alone_until, why: alone_until.is_none().then(|| "rule r".to_owned()) }
    }

    #[test]
    fn her_keys_are_listed_with_the_end_that_policy_sets_and_without_its_rule() {
        let [short, over] = [Some(3600), None].map(|until| listed(&[listed_key(until)], &alice(None), false));
        assert!(short.contains(&format!("until {}", local_s(3600))), "{short}");
        assert!(over.contains("not alone: from here you sign in anew") && !over.contains("rule r"), "{over}");

        let told = |until| -> Value {
            serde_json::from_str(&listed(&[listed_key(until)], &alice(Some("SHA256:x")), true)).unwrap()
        };
        assert_eq!(told(Some(3600))[0]["alone_until"], rfc3339_s(3600));
        assert_eq!((&told(None)[0]["alone_until"], &told(None)[0]["current"]), (&Value::Null, &json!(true)));
        assert_eq!(told(None)[0]["until"], rfc3339_s(86_400));
    }

    #[test]
    fn a_key_is_named_by_its_fingerprint_and_nothing_is_revoked_by_mistake() {
        assert_eq!(Asks::parse("revoke", &["SHA256:x"]), Ok(Asks::Revoke(Some("SHA256:x".into()))));
        assert_eq!(Asks::parse("revoke", &["--all"]), Ok(Asks::Revoke(None)));
        for wrong in [&[][..], &["all"], &["SHA256:x", "SHA256:y"], &["--all", "SHA256:x"]] {
            assert!(Asks::parse("revoke", wrong).unwrap_err().contains("--all"), "{wrong:?}");
        }
        assert!(Asks::parse("logout", &["now"]).is_err());
    }
}
