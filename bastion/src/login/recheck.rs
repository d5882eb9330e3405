//! Whether the provider still vouches for who is in: asked again and again with the refresh token that it gave.
//!
//! The token lies encrypted beside the binding, or for a sign-in that bound no key in the memory of its connection. Each is
//! used once at a time: providers that hand out a new one each time take a second use of the old one for theft.

mod tries;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use keys::DataKey;
use recording::Person;
use serde::{Deserialize, Serialize};

use tokio::sync::mpsc;

use super::{
    Login, Refresh,
    audit::Act,
    bindings::{Binding, Bindings, StoreFault},
    oidc::RefreshFault,
};
use tries::{Remembered, Tries};

/// The shape of a stored token. One of another shape cannot be asked with, and its key signs in anew.
const VERSION: u32 = 1;

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// As ever, as far as anybody can say: also where there is nothing to ask with, or nobody answers.
    Still,
    /// Not any more: why, for the log.
    NoMore(String),
    /// Still, but for a member of these groups now.
    Changed(BTreeSet<String>),
}

/// What is kept of a key cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the provider is asked with cannot be read: {0}")]
pub struct Unreadable(String);

/// What was learnt of somebody whom the provider was asked about.
#[derive(Clone, Debug)]
pub struct Learnt {
    /// Whom.
    pub person: Person,
    /// The key that she had signed in for, if it is bound.
    pub key: Option<String>,
    /// What was said.
    pub vouched: Vouched,
}

/// What the provider said of somebody, and what it is asked with again.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Whom it vouches for.
    pub person: Person,
    token: Refresh,
    /// When it last vouched for her: seconds since 1970 (UTC).
    checked_at: i64,
    /// How asking went since.
    tries: Tries,
}

/// The same, as it is stored under the fingerprint of a key.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    person: Person,
    encrypted: String,
    checked_at: i64,
}

/// What re-checks share.
pub(super) struct Rechecks {
    data_key: Option<DataKey>,
    /// Who asks for which key now.
    turns: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    /// What brought no answer.
    remembered: Remembered,
}

impl Kept {
    /// What a sign-in just now leaves behind.
    pub fn new(person: Person, token: Refresh, now: i64) -> Kept {
        Kept { person, token, checked_at: now, tries: Tries::default() }
    }

    /// When she was asked about last, whatever came of it: seconds since 1970 (UTC).
    pub fn asked_at(&self) -> i64 {
        self.checked_at.max(self.tries.asked_at())
    }
}

impl Rechecks {
    /// Without a key no token is kept on the disk, and no binding re-checked. Where nobody asks, what was kept before goes.
    pub fn new(data_key: Option<DataKey>, bindings: &Bindings, is_on: bool) -> Result<Rechecks, StoreFault> {
        if !is_on {
            bindings.refresh.clear()?;
        }
        Ok(Rechecks { data_key, turns: Mutex::default(), remembered: Remembered::default() })
    }

    fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        turns.insert(key.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// Keeps the token of a key that was bound to its owner. Without one, what was kept of her before stays: some providers
    /// give it at the first sign-in alone, and what that opened may be open still. What was kept of another is forgotten.
    pub fn keep(
        &self,
        bindings: &Bindings,
        key: &str,
        owner: &Person,
        kept: Option<&Kept>,
    ) -> Result<(), StoreFault> {
        match kept.and_then(|kept| self.stored(key, kept)) {
            Some(stored) => drop(bindings.refresh.insert(key, serde_json::to_vec(&stored)?)?),
            None => {
                let is_hers = |stored: &Stored| {
                    (&stored.person.issuer, &stored.person.subject) == (&owner.issuer, &owner.subject)
                };
                let before = bindings.refresh.get(key)?;
                let stays =
                    before.is_some_and(|bytes| serde_json::from_slice(&bytes).is_ok_and(|s| is_hers(&s)));
                if !stays {
                    bindings.refresh.remove(key)?;
                }
            }
        }
        bindings.sync()
    }

    fn stored(&self, key: &str, kept: &Kept) -> Option<Stored> {
        let encrypted = self.data_key.as_ref()?.encrypt(&bound(key, &kept.person), kept.token.as_bytes())?;
        let encrypted = BASE64_STANDARD.encode(encrypted);
        Some(Stored { version: VERSION, person: kept.person.clone(), encrypted, checked_at: kept.checked_at })
    }

    fn open(&self, key: &str, stored: &Stored) -> Option<Refresh> {
        let encrypted = BASE64_STANDARD.decode(&stored.encrypted).ok()?;
        let text = self.data_key.as_ref()?.decrypt(&bound(key, &stored.person), &encrypted)?;
        Refresh::read(&text).filter(|_| stored.version == VERSION)
    }
}

/// A token is good for its key and its person alone.
fn bound(key: &str, person: &Person) -> Vec<u8> {
    ["refresh", key, &person.issuer, &person.subject].join("\n").into_bytes()
}

impl Login {
    /// How often the provider is asked; zero is never.
    pub fn recheck_every(&self) -> std::time::Duration {
        self.settings.recheck
    }

    /// The providers that can be asked, by their issuers.
    pub fn issuers(&self) -> Vec<String> {
        self.providers.issuers().into_iter().map(str::to_owned).collect()
    }

    /// The same, if this is one of them.
    pub fn provider_of(&self, issuer: &str) -> Option<String> {
        self.providers.of_issuer(issuer).map(|provider| provider.issuer().to_owned())
    }

    /// Which of them is asked about a bound key, and when it was last: seconds since 1970 (UTC). None if there is nothing to
    /// ask with, or if it cannot be read.
    pub fn provider_of_key(&self, key: &str) -> Option<(String, i64)> {
        let stored: Stored = serde_json::from_slice(&self.bindings.refresh.get(key).ok()??).ok()?;
        let asked_at = stored.checked_at.max(self.rechecks.remembered.of_key(key).asked_at());
        Some((self.provider_of(&stored.person.issuer)?, asked_at))
    }

    /// Asks whether the owner of a bound key is still vouched for, if it is time to; none if there is nothing to ask with.
    /// The binding itself is left as it is.
    ///
    /// # Errors
    /// If what is kept of it cannot be read: then nobody can say, and it must let nobody in.
    pub async fn recheck_key(&self, key: &str) -> Result<Option<(Person, Vouched)>, Unreadable> {
        if self.settings.recheck.is_zero() {
            return Ok(None);
        }
        let turn = self.rechecks.turn(key);
        let _turn = turn.lock().await;
        let Some(before) = self.bindings.refresh.get(key).map_err(|fault| Unreadable(fault.to_string()))?
        else {
            return Ok(None);
        };
        let stored: Stored =
            serde_json::from_slice(&before).map_err(|fault| Unreadable(fault.to_string()))?;
        if !self.is_due(stored.checked_at) {
            return Ok(Some((stored.person, Vouched::Still)));
        }
        let Some(token) = self.rechecks.open(key, &stored) else {
            let why = "its refresh token was encrypted under another vault, or changed since".to_owned();
            return Ok(Some((stored.person, Vouched::NoMore(why))));
        };
        let tries = self.rechecks.remembered.of_key(key);
        let mut kept = Kept { person: stored.person, token, checked_at: stored.checked_at, tries };
        let vouched = self.ask(&mut kept, Some(key)).await;
        self.rechecks.remembered.note(key, kept.tries);
        let was = kept.person.clone();
        if kept.checked_at == stored.checked_at && vouched == Vouched::Still {
            return Ok(Some((was, vouched))); // nothing was learnt
        }
        match &vouched {
            Vouched::Still => {}
            // Her binding ends, but what she has open by it goes on, and is asked about as long as it does.
            Vouched::Changed(groups) => kept.person.groups = groups.iter().cloned().collect(),
            Vouched::NoMore(_) => return Ok(Some((was, vouched))),
        }
        if let Some(now) = self.rechecks.stored(key, &kept) {
            self.replace(key, &before, &now);
        }
        Ok(Some((was, vouched)))
    }

    /// Whether a binding still lets its owner in, after asking if it is time to. If not, it is gone.
    pub(super) async fn is_vouched_for(&self, binding: &Binding) -> bool {
        let key = &binding.fingerprint;
        let (person, vouched) = match self.recheck_key(key).await {
            Ok(None) => return true,
            Ok(Some(said)) => said,
            Err(fault) => {
                tracing::error!(%fault, key, "nobody can ask whether she is vouched for; she signs in anew");
                return false;
            }
        };
        if vouched == Vouched::Still {
            return true;
        }
        let learnt = Learnt { person, key: Some(key.clone()), vouched };
        self.withdraw(&learnt).await;
        drop(self.learnt.send(learnt)); // nobody listens where nobody is in
        false
    }

    /// Takes their right from the keys of somebody who is not vouched for any more, or whose groups are others now; written
    /// down first. It happens all the same if it cannot be: nobody keeps a right because the trail is broken.
    pub async fn withdraw(&self, learnt: &Learnt) {
        let Learnt { person, key, vouched } = learnt;
        let act = match vouched {
            Vouched::Still => return,
            Vouched::NoMore(why) => {
                tracing::warn!(name = person.name, key, why, "the provider does not vouch for her any more");
                Act::NotVouchedFor { person: person.clone(), key: key.clone(), why: why.clone() }
            }
            Vouched::Changed(groups) => {
                tracing::info!(name = person.name, key, ?groups, "her groups at the provider have changed");
                let now = Person { groups: groups.iter().cloned().collect(), ..person.clone() };
                Act::GroupsChanged { person: now, before: person.groups.clone() }
            }
        };
        if let Err(fault) = self.audit.write(act).await {
            tracing::error!("{fault}");
        }
        if let Err(fault) = self.forget(learnt).await {
            tracing::error!(%fault, "bindings that are withdrawn are still there");
        }
    }

    async fn forget(&self, learnt: &Learnt) -> Result<(), StoreFault> {
        let Learnt { person, key, vouched } = learnt;
        let is_hers = |b: &Binding| (&b.issuer, &b.subject) == (&person.issuer, &person.subject);
        let mut keys: Vec<String> = key.iter().cloned().collect();
        if let Vouched::Changed(groups) = vouched {
            let all = self.bindings.all(self.now())?.into_iter();
            keys.extend(all.filter(|b| is_hers(b) && b.groups != *groups).map(|b| b.fingerprint));
        }
        if let (Vouched::NoMore(_), Some(key)) = (vouched, key) {
            self.bindings.refresh.remove(key)?;
        }
        let bindings = self.bindings.clone();
        let forget = move || bindings.revoke(&keys);
        tokio::task::spawn_blocking(forget).await.map_err(|_| StoreFault::Thread)?
    }

    /// What sign-ins learn of people who are in already; for the first who asks.
    pub fn to_learn(&self) -> Option<mpsc::UnboundedReceiver<Learnt>> {
        self.to_learn.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The same for a sign-in that bound no key.
    pub async fn recheck_kept(&self, kept: &mut Kept) -> Vouched {
        if self.settings.recheck.is_zero() || !self.is_due(kept.checked_at) {
            return Vouched::Still;
        }
        self.ask(kept, None).await
    }

    /// Forgets the tokens that belong to no binding any more, and to no key of these.
    pub fn forget_refreshes(&self, in_use: &BTreeSet<String>) -> Result<(), StoreFault> {
        for pair in &self.bindings.refresh {
            let (key, _) = pair?;
            let text = String::from_utf8_lossy(&key);
            if !in_use.contains(text.as_ref()) && self.bindings.find(&text, self.now())?.is_none() {
                self.bindings.refresh.remove(&key)?;
            }
        }
        let is_stored = |key: &str| self.bindings.refresh.contains_key(key).unwrap_or(true);
        self.rechecks.remembered.retain(is_stored);
        Ok(())
    }

    // Both ways round: a clock that was set back must not put anything off for hours.
    fn is_due(&self, checked_at: i64) -> bool {
        self.now().abs_diff(checked_at) >= self.settings.recheck.as_secs()
    }

    async fn ask(&self, kept: &mut Kept, key: Option<&str>) -> Vouched {
        let Person { issuer, subject, name, .. } = &kept.person;
        let (now, remembered) = (self.now(), &self.rechecks.remembered);
        let Some(provider) = self.providers.of_issuer(issuer) else {
            return Vouched::NoMore("the settings do not name its provider any more".into());
        };
        if remembered.is_quiet(issuer, now) || kept.tries.is_too_early(now, self.settings.recheck) {
            return Vouched::Still;
        }
        let refreshed = match provider.refresh(&kept.token, subject).await {
            Ok(refreshed) => refreshed,
            Err(RefreshFault::Refused(why)) => {
                (kept.tries, _) = (Tries::default(), remembered.answered(issuer, self.now()));
                return Vouched::NoMore(why);
            }
            Err(fault) => return self.unanswered(kept, key, fault).await,
        };
        remembered.answered(issuer, self.now());
        (kept.checked_at, kept.tries) = (now, Tries::default());
        kept.token = refreshed.token.unwrap_or_else(|| kept.token.clone());
        match refreshed.identity {
            Some(her) if !kept.person.groups.iter().eq(&her.groups) => Vouched::Changed(her.groups),
            Some(her) if her.name.as_str() != name => {
                Vouched::NoMore(format!("her name is {} now", her.name))
            }
            _ => Vouched::Still,
        }
    }

    /// Nothing that can be used was said of her. What is no silence of the provider's is about her alone: it must keep nobody
    /// else from being asked about, and her not for ever from losing what she has lost there.
    async fn unanswered(&self, kept: &mut Kept, key: Option<&str>, fault: RefreshFault) -> Vouched {
        let (now, recheck) = (self.now(), self.settings.recheck);
        let Kept { person, checked_at, tries, .. } = kept;
        let Person { issuer, subject, name, .. } = &*person;
        tries.failed(now);
        let is_answer = matches!(fault, RefreshFault::Unusable(_));
        if let RefreshFault::Silent(fault, wish) = fault {
            tracing::warn!(%fault, issuer, name, key, "the provider answers nobody; all stays as it is");
            self.rechecks.remembered.is_silent(issuer, now, wish, recheck);
            return Vouched::Still;
        }
        let is_first = tries.doubted(now, is_answer, self.rechecks.remembered.answered_at(issuer));
        tracing::warn!(%fault, issuer, subject, name, key, "nobody can say whether the provider still vouches for her");
        if tries.is_enough(now.abs_diff(*checked_at), recheck) {
            *tries = Tries::default();
            return Vouched::NoMore(format!(
                "its answers about her cannot be used, time after time: {fault}"
            ));
        }
        if is_first {
            let (key, why) = (key.map(str::to_owned), fault.to_string());
            let act = Act::NotAnsweredFor { person: person.clone(), key, why };
            if let Err(fault) = self.audit.write(act).await {
                tracing::error!("{fault}");
            }
        }
        Vouched::Still
    }

    /// Only in the place of what was there: a sign-in may have bound the key anew meanwhile, or somebody revoked it.
    fn replace(&self, key: &str, before: &[u8], now: &Stored) {
        let stored = serde_json::to_vec(now).map_err(StoreFault::from).and_then(|value| {
            let swapped = self.bindings.refresh.compare_and_swap(key, Some(before), Some(value))?;
            drop(swapped); // whoever was faster knows better
            self.bindings.sync()
        });
        if let Err(fault) = stored {
            tracing::error!(%fault, "a refresh token is not stored; its key signs in anew when it is asked with next");
        }
    }
}
