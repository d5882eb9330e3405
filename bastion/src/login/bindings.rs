//! Keys that have signed in: which key belongs to whom, and until when.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::IpAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use gate::{Name, NewKey, Principal};
use recording::Person;
use serde::{Deserialize, Serialize};
use sled::transaction::{ConflictableTransactionError, TransactionError};

use crate::{audit, strangers::network};

/// The shape of a stored binding. A value of another shape counts as absent: its owner signs in again.
const VERSION: u32 = 1;

/// A few thousand bindings of a few hundred bytes; more than this in memory helps nobody.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// A key, and the person who proved both the key and herself on one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    version: u32,
    /// Fingerprint of the key (`SHA256:...`): one key has one owner.
    pub fingerprint: String,
    /// The provider that vouched for her.
    pub issuer: String,
    /// Her lasting id at that provider.
    pub subject: String,
    /// The name she signs in with.
    pub name: Name,
    /// Her e-mail address, if the provider confirmed one.
    pub email: Option<String>,
    /// Her groups at that sign-in.
    pub groups: BTreeSet<String>,
    /// How she signed in, in the provider's words. A binding of before this was kept has none, and no rule that asks
    /// for one takes it.
    #[serde(default)]
    pub amr: BTreeSet<String>,
    /// How far the provider trusted that sign-in; none in a binding of before this was kept.
    #[serde(default)]
    pub acr: Option<String>,
    /// When she signed in: seconds since 1970 (UTC).
    pub created_at: i64,
    /// From when on the key alone is not enough any more: seconds since 1970 (UTC).
    pub expires_at: i64,
    /// When the key was last used alone: seconds since 1970 (UTC).
    pub last_used_at: i64,
    /// Where it was last used from.
    pub source: IpAddr,
    /// The other keys on whose terminals it was told that this one was bound.
    #[serde(default)]
    pub told_to: BTreeSet<String>,
    /// The networks that it was bound from, the latest last. Not those that it was used from: whoever has it uses it from
    /// wherever he likes.
    #[serde(default)]
    pub bound_from: Vec<IpAddr>,
}

/// Why a binding could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindFault {
    /// The key belongs to somebody else, for as long as her binding lives.
    #[error("the key {0} is bound to another person")]
    Anothers(String),
    /// The store failed.
    #[error("the store of bindings fails: {0}")]
    Store(#[from] StoreFault),
}

/// Why the store of bindings fails.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// sled, with its own words.
    #[error("{0}")]
    Sled(#[from] sled::Error),
    /// The folder or a file in it.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A binding that JSON cannot hold.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The thread that writes died.
    #[error("the writing thread died")]
    Thread,
}

impl Binding {
    /// What a sign-in just now leaves behind for `fingerprint`, good for `length`.
    pub fn new(fingerprint: String, principal: &Principal, length: Duration) -> Binding {
        let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
        Binding {
            version: VERSION,
            fingerprint,
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
            name: principal.name.clone(),
            email: principal.email.clone(),
            groups: principal.groups.clone(),
            amr: principal.amr.clone(),
            acr: principal.acr.clone(),
            created_at: principal.signed_in_at,
            expires_at: principal.signed_in_at.saturating_add(seconds),
            last_used_at: principal.signed_in_at,
            source: principal.source,
            told_to: BTreeSet::new(),
            bound_from: vec![network(principal.source)],
        }
    }

    /// Its owner.
    pub fn person(&self) -> Person {
        audit::person_of(&self.issuer, &self.subject, &self.name, self.email.as_deref(), &self.groups)
    }

    // A binding from the future is no binding: a clock that was set back must not lengthen one.
    fn is_live(&self, now: i64) -> bool {
        self.created_at <= now.saturating_add(CLOCK_SLACK_SECONDS) && now < self.expires_at
    }

    /// Nobody signs in at an issuer that is not among these any more, so what was bound there is nobody's.
    fn is_anothers(&self, issuer: &str, subject: &str, issuers: &BTreeSet<&str>) -> bool {
        issuers.contains(self.issuer.as_str())
            && (self.issuer.as_str(), self.subject.as_str()) != (issuer, subject)
    }
}

/// Keys on whose terminals it is remembered that another was told. With more it is told again and again, which harms nobody.
const TOLD_MAX: usize = 64;

/// Networks that a key was bound from that are remembered. From the one before these it is news again.
const BOUND_FROM_MAX: usize = 16;

/// A binding that has run out signs nobody in. So long it is remembered that there was one, and from where: whoever signs in
/// each morning is no news.
const REMEMBERED_SECONDS: i64 = 30 * 24 * 3600;

/// Two readings of one clock may lie this far apart while it is being set.
const CLOCK_SLACK_SECONDS: i64 = 60;

/// The store of bindings: a sled of its own, so that a full journal cannot touch it.
#[derive(Clone)]
pub struct Bindings {
    tree: sled::Tree,
    /// Whose names are: see names.rs.
    pub(super) names: sled::Tree,
    /// What the provider is asked with again: see recheck.rs.
    pub(super) refresh: sled::Tree,
    last_use: sled::Tree,
    folder: PathBuf,
}

impl Bindings {
    /// Opens the store in `folder` and makes the folder (0700) if it is missing.
    pub fn open(folder: &Path) -> Result<Bindings, StoreFault> {
        let file = |cause| StoreFault::File { path: folder.to_owned(), cause };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(file)?;
        let store = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).open()?;
        let open = |name: &str| store.open_tree(name);
        let (tree, names, refresh) = (open("binding")?, open("name")?, open("refresh")?);
        let last_use = open("last_use")?;
        Ok(Bindings { tree, names, refresh, last_use, folder: folder.to_owned() })
    }

    /// Where it is kept who last opened which target: in the same store, and nothing of a sign-in's.
    pub fn last_use(&self) -> sled::Tree {
        self.last_use.clone()
    }

    /// Forgets the bindings that have run out long ago. One that cannot be read goes too: it counts as none.
    fn forget_old(&self, now: i64) -> Result<(), StoreFault> {
        for pair in &self.tree {
            let (fingerprint, value) = pair?;
            if read(&value).is_none_or(|b| b.expires_at.saturating_add(REMEMBERED_SECONDS) <= now) {
                // Only this very value: a sign-in may bind the key anew meanwhile.
                drop(self.tree.compare_and_swap(fingerprint, Some(value), None::<&[u8]>)?);
            }
        }
        Ok(())
    }

    /// The live binding of a key, if it has one.
    pub fn find(&self, fingerprint: &str, now: i64) -> Result<Option<Binding>, StoreFault> {
        let value = self.tree.get(fingerprint)?;
        Ok(value.and_then(|bytes| read(&bytes)).filter(|b| b.is_live(now) && b.fingerprint == fingerprint))
    }

    /// Whether a key is bound to somebody else than this person, for whom one of these issuers vouches.
    pub fn is_anothers(
        &self,
        fingerprint: &str,
        (issuer, subject): (&str, &str),
        issuers: &BTreeSet<&str>,
        now: i64,
    ) -> Result<bool, StoreFault> {
        Ok(self.find(fingerprint, now)?.is_some_and(|binding| binding.is_anothers(issuer, subject, issuers)))
    }

    /// Binds a key to its owner, and returns once a power cut cannot take it back.
    ///
    /// Somebody else's live binding stays, and refuses, if her issuer is among these; one that has run out gives way.
    /// Answers whether that is news: the key was not hers until now, or was never bound to her from this network. Else who
    /// has got hold of a key that was hers once could have it bound again, and nobody would hear of it.
    pub async fn bind(&self, binding: Binding, issuers: BTreeSet<&str>, now: i64) -> Result<bool, BindFault> {
        let this = self.clone();
        let issuers: BTreeSet<String> = issuers.into_iter().map(str::to_owned).collect();
        let bind = move || this.bind_blocking(&binding, &issuers.iter().map(String::as_str).collect(), now);
        match tokio::task::spawn_blocking(bind).await {
            Ok(done) => done,
            Err(_) => Err(StoreFault::Thread.into()),
        }
    }

    fn bind_blocking(
        &self,
        binding: &Binding,
        issuers: &BTreeSet<&str>,
        now: i64,
    ) -> Result<bool, BindFault> {
        let done = self.tree.transaction(|tree| {
            let before = tree.get(&binding.fingerprint)?.and_then(|bytes| read(&bytes));
            let is_anothers = |b: &Binding| b.is_anothers(&binding.issuer, &binding.subject, issuers);
            if before.as_ref().is_some_and(|b| b.is_live(now) && is_anothers(b)) {
                return Err(ConflictableTransactionError::Abort(None));
            }
            let was_hers = |b: &Binding| (&b.issuer, &b.subject) == (&binding.issuer, &binding.subject);
            let before = before.filter(was_hers);
            let (bound_from, is_news) = joined(before.as_ref(), binding);
            let told_to = before.filter(|_| !is_news).map(|b| b.told_to).unwrap_or_default();
            let value = serde_json::to_vec(&Binding { told_to, bound_from, ..binding.clone() });
            let value = value.map_err(|fault| ConflictableTransactionError::Abort(Some(fault)))?;
            tree.insert(binding.fingerprint.as_bytes(), value)?;
            Ok(is_news)
        });
        match done {
            Ok(is_news) => {
                self.sync()?;
                // The new binding stands; what has run out lets nobody in, forgotten or not.
                if let Err(fault) = self.forget_old(now) {
                    tracing::warn!(%fault, "bindings that have run out are not forgotten");
                }
                Ok(is_news)
            }
            Err(TransactionError::Abort(None)) => Err(BindFault::Anothers(binding.fingerprint.clone())),
            Err(TransactionError::Abort(Some(fault))) => Err(StoreFault::Json(fault).into()),
            Err(TransactionError::Storage(fault)) => Err(StoreFault::Sled(fault).into()),
        }
    }

    /// The bindings that live, in no order that means anything.
    pub fn all(&self, now: i64) -> Result<Vec<Binding>, StoreFault> {
        let mut all = Vec::new();
        for pair in &self.tree {
            all.extend(read(&pair?.1).filter(|binding| binding.is_live(now)));
        }
        Ok(all)
    }

    /// The keys that were bound to this person and that have not been told on a terminal that `with` opened; from now on
    /// they have. That key is none of them.
    ///
    /// Each key hears of every other: a stranger who bound two of his to her must not be able to hear the news of the one
    /// by the other, and so keep it from her. Without a key nothing counts as told. Not worth a sync: a power cut tells twice.
    pub fn news_for(
        &self,
        issuer: &str,
        subject: &str,
        with: Option<&str>,
        now: i64,
    ) -> Result<Vec<NewKey>, StoreFault> {
        let is_hers = |b: &Binding| (b.issuer.as_str(), b.subject.as_str()) == (issuer, subject);
        let is_news = |b: &Binding| {
            with.is_none_or(|with| b.fingerprint != with && !b.told_to.contains(with)) && is_hers(b)
        };
        let mut news = Vec::new();
        for binding in self.all(now)?.into_iter().filter(is_news) {
            let told = NewKey { fingerprint: binding.fingerprint.clone(), source: binding.source };
            if let Some(with) = with
                && binding.told_to.len() < TOLD_MAX
            {
                self.note_told(binding, with)?;
            }
            news.push(told);
        }
        Ok(news)
    }

    /// Only of this very binding: what was bound anew meanwhile, or noted as used, is told once more.
    fn note_told(&self, mut binding: Binding, with: &str) -> Result<(), StoreFault> {
        let key = binding.fingerprint.clone();
        let before = self.tree.get(&key)?.filter(|bytes| read(bytes).as_ref() == Some(&binding));
        if before.is_some() {
            binding.told_to.insert(with.to_owned());
            drop(self.tree.compare_and_swap(key, before, Some(serde_json::to_vec(&binding)?))?);
        }
        Ok(())
    }

    /// Forgets bindings, and returns once a power cut cannot bring them back. One that was made anew meanwhile goes
    /// too: who is to be locked out is not to slip in so. What the provider is asked with stays, for as long as something
    /// that the key opened does.
    pub fn revoke(&self, fingerprints: &[String]) -> Result<(), StoreFault> {
        for fingerprint in fingerprints {
            self.tree.remove(fingerprint)?;
        }
        self.sync()
    }

    /// Notes that a key was used alone. Not worth a sync: a power cut loses a time, no right.
    pub fn used(&self, binding: &Binding, now: i64, source: IpAddr) -> Result<(), StoreFault> {
        let noted = Binding { last_used_at: now, source, ..binding.clone() };
        let before = self.tree.get(&binding.fingerprint)?;
        // Compared and swapped, or a slow note would bring back what was bound anew meanwhile.
        if before.as_deref().and_then(read).as_ref() == Some(binding) {
            let value = serde_json::to_vec(&noted)?;
            let swapped = self.tree.compare_and_swap(&binding.fingerprint, before, Some(value.as_slice()))?;
            // Lost the race: somebody else's note, or a new binding, is newer than this one.
            drop(swapped);
        }
        Ok(())
    }

    /// sled's flush alone does not survive a power cut: measured, it calls `sync_file_range`.
    pub(super) fn sync(&self) -> Result<(), StoreFault> {
        self.tree.flush()?;
        sync_file(&self.folder.join("db"))?;
        let blobs = self.folder.join("blobs");
        let Ok(entries) = fs::read_dir(&blobs) else { return Ok(()) };
        for entry in entries.flatten() {
            sync_file(&entry.path())?;
        }
        sync_file(&blobs)
    }
}

/// From where a key was bound to her by now, and whether it was never before from one of these.
fn joined(before: Option<&Binding>, new: &Binding) -> (Vec<IpAddr>, bool) {
    let mut all = before.map(|binding| binding.bound_from.clone()).unwrap_or_default();
    let count = all.len();
    all.retain(|known| !new.bound_from.contains(known));
    let is_news = all.len() + new.bound_from.len() > count;
    all.extend(&new.bound_from);
    all.drain(..all.len().saturating_sub(BOUND_FROM_MAX));
    (all, is_news)
}

fn sync_file(path: &Path) -> Result<(), StoreFault> {
    File::open(path)
        .and_then(|file| file.sync_data())
        .map_err(|cause| StoreFault::File { path: path.to_owned(), cause })
}

fn read(bytes: &[u8]) -> Option<Binding> {
    // A fingerprint is told on terminals, whatever the disk has made of it.
    let is_plain = |b: &Binding| b.fingerprint.bytes().all(|byte| byte.is_ascii_graphic());
    serde_json::from_slice(bytes).ok().filter(|b: &Binding| b.version == VERSION && is_plain(b))
}

#[cfg(test)]
mod tests;
