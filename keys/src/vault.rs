//! The encrypted private keys, and secrets.
//!
//! One JSON file: for each key its public half in plain words, and its private half encrypted with AES-256-GCM under
//! the master key; secrets likewise. Format version, name and public half are bound into each encryption, so nobody can
//! give one key the name of another.

mod fault;
mod rekey;
mod secrets;
mod stored;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

pub use fault::{Kind, NotAKey, VaultFault};
use russh_keys::keys::{
    PrivateKey, PublicKey,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};
use rustix::fs::FlockOperation;
use stored::{Entry, Stored, bound, check_name, cut, decrypt, encode, encrypt, info, read};
use zeroize::Zeroizing;

use crate::{
    master_key::MasterKey,
    secret_file::{self, SecretFileFault},
};

/// The name of the key by which clients know the bastion.
pub const HOST_KEY: &str = "host";

const FILE: &str = "vault.json";
const LOCK: &str = "vault.lock";

/// The keys of one bastion. Cheap to ask; private halves are decrypted one by one, when they are needed.
pub struct Vault {
    file: PathBuf,
    master: MasterKey,
    stored: Stored,
}

/// What is known of a key without the master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// Its public half.
    pub public: PublicKey,
    /// When it came into the vault: seconds since 1970 (UTC).
    pub made_at: u64,
}

impl Vault {
    /// Makes an empty vault in `folder`, which is made too if it is not there.
    ///
    /// # Errors
    /// If there is one, or it cannot be written.
    pub fn create(folder: &Path, master: MasterKey) -> Result<Self, VaultFault> {
        secret_file::make_folder(folder)?;
        let file = folder.join(FILE);
        let mut stored = Stored::empty(&master).ok_or_else(|| VaultFault::Crypto { name: String::new() })?;
        secret_file::write_new(&file, &encode(&mut stored))?;
        Ok(Vault { file, master, stored })
    }

    /// Opens the vault in `folder`.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, newer than this program, or was made with another master key.
    pub fn open(folder: &Path, master: MasterKey) -> Result<Self, VaultFault> {
        let file = folder.join(FILE);
        let stored = read(&file)?;
        match stored.is_under(&master) {
            true => Ok(Vault { file, master, stored }),
            false => Err(VaultFault::WrongMasterKey { file }),
        }
    }

    /// What is known of all keys, by name. The master key is not needed for it.
    ///
    /// # Errors
    /// As [`Vault::open`], but for the master key.
    pub fn list(folder: &Path) -> Result<Vec<KeyInfo>, VaultFault> {
        let file = folder.join(FILE);
        let stored = read(&file)?;
        stored.keys.iter().map(|(name, entry)| info(&file, name, entry)).collect()
    }

    /// Makes a new Ed25519 key.
    ///
    /// # Errors
    /// If the name is taken or none, or the vault cannot be written.
    pub fn generate(&mut self, name: &str) -> Result<PublicKey, VaultFault> {
        self.put(name, &Vault::fresh_key(name)?)
    }

    /// Whether a key may be called so: for who must say so before it is made.
    ///
    /// # Errors
    /// If it is no name of a key.
    pub fn may_be_called(name: &str) -> Result<(), VaultFault> {
        check_name(Kind::Key, name)
    }

    /// A new Ed25519 key, which is in no vault yet: for who must say which one it is before it is kept.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn fresh_key(name: &str) -> Result<PrivateKey, VaultFault> {
        fresh_key().ok_or_else(|| VaultFault::Crypto { name: name.into() })
    }

    /// Takes a key out, for good.
    ///
    /// # Errors
    /// If there is no such key, or the vault cannot be written: then it is still there.
    pub fn remove(&mut self, name: &str) -> Result<(), VaultFault> {
        let _lock = self.lock()?;
        self.reload()?;
        self.entry(name)?;
        let mut stored = self.stored.clone();
        stored.keys.remove(name);
        self.replace(stored)
    }

    /// What is known of all keys, by name.
    ///
    /// # Errors
    /// If a public half cannot be read.
    pub fn keys(&self) -> Result<Vec<KeyInfo>, VaultFault> {
        self.stored.keys.iter().map(|(name, entry)| info(&self.file, name, entry)).collect()
    }

    /// Is there a key of this name?
    pub fn has(&self, name: &str) -> bool {
        self.stored.keys.contains_key(name)
    }

    /// The public half of a key.
    ///
    /// # Errors
    /// If there is no such key, or its entry cannot be read.
    pub fn public(&self, name: &str) -> Result<PublicKey, VaultFault> {
        Ok(info(&self.file, name, self.entry(name)?)?.public)
    }

    /// The private half of a key. It wipes itself when it is dropped.
    ///
    /// # Errors
    /// If there is no such key, or its entry was changed since it was written.
    pub fn load(&self, name: &str) -> Result<PrivateKey, VaultFault> {
        let entry = self.entry(name)?;
        let damaged =
            || VaultFault::EntryDamaged { file: self.file.clone(), kind: Kind::Key, name: name.into() };
        let text = decrypt(&self.master, &bound(name, &entry.public), &entry.private).ok_or_else(damaged)?;
        let key = PrivateKey::from_openssh(text.as_slice()).map_err(|_| damaged())?;
        let public = info(&self.file, name, entry)?.public;
        if key.public_key().key_data() != public.key_data() {
            return Err(damaged());
        }
        Ok(key)
    }

    /// Reads the file again: keys that another process made since are then there too.
    ///
    /// # Errors
    /// As [`Vault::open`]; what was known before stays in force.
    pub fn reload(&mut self) -> Result<(), VaultFault> {
        let folder = self.file.parent().unwrap_or(Path::new("")).to_owned();
        *self = Vault::open(&folder, self.master.clone())?;
        Ok(())
    }

    fn entry(&self, name: &str) -> Result<&Entry, VaultFault> {
        let unknown = || VaultFault::Unknown { file: self.file.clone(), kind: Kind::Key, name: cut(name) };
        self.stored.keys.get(name).ok_or_else(unknown)
    }

    /// Gives the key of one name another, in the place of the key that has it.
    pub(crate) fn rename_over(&mut self, from: &str, to: &str) -> Result<PublicKey, VaultFault> {
        let _lock = self.lock()?;
        self.reload()?;
        let (made_at, key) = (self.entry(from)?.made_at, self.load(from)?);
        self.entry(to)?;
        let (public, entry) = self.encrypted(to, &key, made_at)?;
        let mut stored = self.stored.clone();
        stored.keys.remove(from);
        stored.keys.insert(to.into(), entry);
        self.replace(stored)?;
        Ok(public)
    }

    /// Keeps a key that was made by [`Vault::fresh_key`].
    ///
    /// # Errors
    /// If the name is taken or none, or the vault cannot be written.
    pub fn put(&mut self, name: &str, key: &PrivateKey) -> Result<PublicKey, VaultFault> {
        let made_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (public, entry) = self.encrypted(name, key, made_at)?;
        // Two processes that each read, add a key and write would lose one of the two.
        let _lock = self.lock()?;
        self.reload()?;
        if self.has(name) {
            return Err(VaultFault::NameTaken { name: name.into() });
        }
        let mut stored = self.stored.clone();
        stored.keys.insert(name.into(), entry);
        self.replace(stored)?;
        Ok(public)
    }

    fn encrypted(
        &self,
        name: &str,
        key: &PrivateKey,
        made_at: u64,
    ) -> Result<(PublicKey, Entry), VaultFault> {
        check_name(Kind::Key, name)?;
        let crypto = || VaultFault::Crypto { name: name.into() };
        let public = PublicKey::new(key.public_key().key_data().clone(), name);
        let shown = public.to_openssh().map_err(|_| crypto())?;
        let text = key.to_openssh(LineEnding::LF).map_err(|_| crypto())?;
        let private = encrypt(&self.master, &bound(name, &shown), text.as_bytes()).ok_or_else(crypto)?;
        Ok((public, Entry { public: shown, made_at, private }))
    }

    /// The caller holds the lock.
    fn replace(&mut self, mut stored: Stored) -> Result<(), VaultFault> {
        secret_file::replace(&self.file, &encode(&mut stored))?;
        self.stored = stored;
        Ok(())
    }

    /// Held until the file is dropped.
    fn lock(&self) -> Result<File, VaultFault> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = self.file.with_file_name(LOCK);
        let io = |cause| SecretFileFault::Io { file: file.clone(), cause };
        let open =
            File::options().write(true).create(true).truncate(false).mode(0o600).open(&file).map_err(io)?;
        rustix::fs::flock(&open, FlockOperation::LockExclusive).map_err(|cause| io(cause.into()))?;
        Ok(open)
    }
}

/// A new Ed25519 key; none if the system has no random bytes.
pub(crate) fn fresh_key() -> Option<PrivateKey> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).ok()?;
    Some(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
}

#[cfg(test)]
mod tests;
