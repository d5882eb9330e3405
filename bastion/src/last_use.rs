//! When each person last opened which target, for lists that put what she uses first.
//!
//! A convenience and no evidence: it is written without waiting for the disk, and what cannot be read counts as never.
//! Who opened what is in the recordings and in the audit trail.

use std::collections::BTreeMap;

use gate::{Name, Principal};
use serde::{Deserialize, Serialize};

/// Targets that are remembered per person; of more, those that she used last. Nobody scrolls further back, and it
/// bounds what one person can make the store hold.
const TARGETS_MAX: usize = 1000;

/// What nobody opened for so long is forgotten: 400 days, a year and a holiday, in seconds.
const AGE_MAX: i64 = 400 * 24 * 3600;

/// A target was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUse {
    /// When: seconds since 1970 (UTC).
    pub at: i64,
    /// As whom.
    pub login: Name,
}

/// Who last opened which target.
#[derive(Clone)]
pub struct LastUses {
    tree: sled::Tree,
}

impl LastUses {
    /// Over the tree that keeps them.
    pub fn new(tree: sled::Tree) -> LastUses {
        LastUses { tree }
    }

    /// What this person opened, and when.
    pub fn of(&self, person: &Principal, now: i64) -> BTreeMap<Name, LastUse> {
        let prefix = prefix(person);
        let pairs = self.tree.scan_prefix(&prefix).filter_map(Result::ok);
        let read = pairs.filter_map(|(key, value)| read(key.get(prefix.len()..)?, &value));
        read.filter(|(_, used)| is_young(used, now)).collect()
    }

    /// Notes that she opens a target now. Nothing waits for it.
    pub fn note(&self, person: &Principal, target: &Name, used: LastUse) {
        let (this, prefix, target) = (self.clone(), prefix(person), target.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(fault) = this.write(&prefix, &target, &used) {
                tracing::warn!(%fault, "nobody can say later when {target} was last used");
            }
        });
    }

    fn write(&self, prefix: &[u8], target: &Name, used: &LastUse) -> sled::Result<()> {
        let value = serde_json::to_vec(used).map_err(std::io::Error::from)?;
        self.tree.insert([prefix, target.as_str().as_bytes()].concat(), value)?;
        self.forget(prefix, used.at)
    }

    /// Forgets what is old, what cannot be read, and what is more than [`TARGETS_MAX`] of this person.
    fn forget(&self, prefix: &[u8], now: i64) -> sled::Result<()> {
        let mut kept = Vec::new();
        for pair in self.tree.scan_prefix(prefix) {
            let (key, value) = pair?;
            let known = key.get(prefix.len()..).and_then(|name| read(name, &value));
            match known.filter(|(_, used)| is_young(used, now)) {
                Some((_, used)) => kept.push((used.at, key)),
                None => drop(self.tree.remove(key)?),
            }
        }
        kept.sort();
        let surplus = kept.len().saturating_sub(TARGETS_MAX);
        for (_, key) in kept.into_iter().take(surplus) {
            self.tree.remove(key)?;
        }
        Ok(())
    }

    /// Forgets what is old, whoever it was: also of those who never come again.
    pub fn forget_old(&self, now: i64) {
        for (key, value) in self.tree.iter().filter_map(Result::ok) {
            let is_kept = serde_json::from_slice(&value).is_ok_and(|used| is_young(&used, now));
            if !is_kept && let Err(fault) = self.tree.remove(key) {
                return tracing::warn!(%fault, "old notes of what was used when are not forgotten");
            }
        }
    }
}

fn is_young(used: &LastUse, now: i64) -> bool {
    now.saturating_sub(used.at) <= AGE_MAX
}

/// A subject may hold anything, NUL too: what follows a prefix must be a name, or it is somebody else's.
fn prefix(person: &Principal) -> Vec<u8> {
    format!("{}\0{}\0", person.issuer, person.subject).into_bytes()
}

fn read(target: &[u8], value: &[u8]) -> Option<(Name, LastUse)> {
    let target = std::str::from_utf8(target).ok()?.parse().ok()?;
    Some((target, serde_json::from_slice(value).ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DAY: i64 = 24 * 3600;

    fn uses() -> LastUses {
        LastUses::new(sled::Config::new().temporary(true).open().unwrap().open_tree("last_use").unwrap())
    }

    fn person(issuer: &str, subject: &str) -> Principal {
        Principal {
            issuer: issuer.into(),
            subject: subject.into(),
            name: "alice".parse().unwrap(),
            email: None,
            groups: BTreeSet::new(),
            source: "127.0.0.1".parse().unwrap(),
            key: None,
            signed_in_at: 0,
            amr: BTreeSet::new(),
            acr: None,
            certificate: None,
        }
    }

    fn opens(uses: &LastUses, person: &Principal, target: &str, login: &str, at: i64) {
        let used = LastUse { at, login: login.parse().unwrap() };
        uses.write(&prefix(person), &target.parse().unwrap(), &used).unwrap();
    }

    fn told(uses: &LastUses, person: &Principal, now: i64) -> Vec<(String, i64, String)> {
        let all = uses.of(person, now).into_iter();
        all.map(|(target, used)| (target.to_string(), used.at, used.login.to_string())).collect()
    }

    #[test]
    fn the_last_use_of_a_target_is_hers_alone() {
        let uses = uses();
        let alice = person("https://id.example", "1");
        opens(&uses, &alice, "web1", "root", 10);
        opens(&uses, &alice, "web1", "deploy", 20);
        opens(&uses, &person("https://id.example", "2"), "db1", "root", 30);
        opens(&uses, &person("https://partner.example", "1"), "db2", "root", 30);
        // Another's subject that begins as hers does.
        opens(&uses, &person("https://id.example", "1\0x"), "db3", "root", 30);

        assert_eq!(told(&uses, &alice, 40), [("web1".to_owned(), 20, "deploy".to_owned())]);
    }

    #[test]
    fn what_is_old_or_cannot_be_read_is_forgotten() {
        let uses = uses();
        let (alice, gone) = (person("https://id.example", "1"), person("https://id.example", "2"));
        opens(&uses, &alice, "old", "root", 0);
        opens(&uses, &gone, "old", "root", 0);
        uses.tree.insert([prefix(&alice), b"torn".to_vec()].concat(), &b"{\"at\":"[..]).unwrap();
        assert_eq!(told(&uses, &alice, AGE_MAX).len(), 1);
        assert_eq!(told(&uses, &alice, AGE_MAX + 1).len(), 0);

        opens(&uses, &alice, "web1", "root", AGE_MAX + DAY);
        assert_eq!(told(&uses, &alice, AGE_MAX + DAY).len(), 1);
        assert_eq!(
            uses.tree.len(),
            2,
            "what is old of hers is gone, and the other person's is not looked at"
        );
        uses.forget_old(AGE_MAX + DAY);
        assert_eq!(uses.tree.len(), 1);
    }

    #[test]
    fn one_person_fills_no_more_than_her_share_and_keeps_what_she_used_last() {
        let uses = uses();
        let alice = person("https://id.example", "1");
        for at in 0..1003 {
            opens(&uses, &alice, &format!("t{at}"), "root", at);
        }

        let kept = told(&uses, &alice, 1003);
        assert_eq!(kept.len(), TARGETS_MAX);
        assert!(kept.iter().all(|(_, at, _)| *at >= 3), "the oldest went");
    }
}
