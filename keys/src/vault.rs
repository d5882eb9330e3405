//! The encrypted private keys.
//!
//! One JSON file: for each key its public half in plain words, and its private half encrypted with AES-256-GCM under
//! the master key. Format version, name and public half are bound into each encryption, so nobody can give one key
//! the name of another.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use russh_keys::keys::{
    PrivateKey, PublicKey,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    master_key::MasterKey,
    secret_file::{self, SecretFileFault},
};

/// The name of the key by which clients know the bastion.
pub const HOST_KEY: &str = "host";

const FILE: &str = "vault.json";
const LOCK: &str = "vault.lock";

/// What the file says it is.
const FORMAT: &str = "bastion vault";

/// Raised with each change that an older program would misread.
const VERSION: u32 = 1;

/// Encrypted beside the keys: what tells a wrong master key from a damaged entry.
const PROBE: &[u8] = b"the master key is right";

/// As in the names of targets: no path, no option.
const NAME_BYTES_MAX: usize = 64;

/// Why the vault did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultFault {
    /// Its file is not fit for secrets, or cannot be read or written.
    #[error(transparent)]
    File(#[from] SecretFileFault),
    /// Its file is no vault: cut, or damaged.
    #[error("{} is no vault that can be read: {why}", file.display())]
    Damaged {
        /// The vault's file.
        file: PathBuf,
        /// What the reader met; never a byte of a secret.
        why: String,
    },
    /// A newer program wrote it.
    #[error("{} has format version {version}, and this program reads {VERSION}", file.display())]
    Version {
        /// The vault's file.
        file: PathBuf,
        /// What it says.
        version: u32,
    },
    /// The master key is another one than it was made with.
    #[error("{} was made with another master key", file.display())]
    WrongMasterKey {
        /// The vault's file.
        file: PathBuf,
    },
    /// One entry was changed since it was written.
    #[error("key {name:?} in {} was changed since it was written", file.display())]
    EntryDamaged {
        /// The vault's file.
        file: PathBuf,
        /// The key.
        name: String,
    },
    /// No key of that name.
    #[error("there is no key {name:?} in {}", file.display())]
    Unknown {
        /// The vault's file.
        file: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// There is one of that name.
    #[error("there is a key {name:?} already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// It is the host key, or a successor itself.
    #[error("key {name:?} is not one that is rotated")]
    NotRotated {
        /// The name.
        name: String,
    },
    /// No name for a key.
    #[error(
        "{name:?} is no name for a key: 1 to 64 letters, digits, '.', '_' or '-', and a letter or digit first"
    )]
    NotAName {
        /// What was given, cut.
        name: String,
    },
    /// What was to be imported is no private key that we take.
    #[error("that is no private key that can be imported: {0}")]
    NotAKey(NotAKey),
    /// The system has no random bytes, or its cryptography failed.
    #[error("the system's cryptography failed while it worked on key {name:?}")]
    Crypto {
        /// The key.
        name: String,
    },
}

/// Why a text is no private key that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// Something else.
    #[error("it is not in OpenSSH's format")]
    Format,
    /// It asks for a passphrase.
    #[error("it is encrypted with a passphrase")]
    Passphrase,
    /// RSA, DSA, or a key that lives in a token.
    #[error("only Ed25519 and ECDSA keys are taken")]
    Kind,
}

impl VaultFault {
    /// What to do about it.
    pub fn way_out(&self) -> String {
        match self {
            VaultFault::File(SecretFileFault::Io { file, cause })
                if cause.kind() == std::io::ErrorKind::NotFound && file.ends_with(FILE) =>
            {
                "`bastion init` makes a vault".into()
            }
            VaultFault::File(fault) => fault.way_out(),
            VaultFault::Damaged { .. } | VaultFault::EntryDamaged { .. } => {
                "restore vault.json from your backup; docs/keys.md says how to begin anew without one".into()
            }
            VaultFault::Version { .. } => "run the newer bastion that wrote it".into(),
            VaultFault::WrongMasterKey { .. } => {
                "give the master key that belongs to this vault; docs/keys.md says what to do if it is lost"
                    .into()
            }
            VaultFault::Unknown { name, .. } => format!("bastion key new {name}"),
            VaultFault::NameTaken { .. } => "take another name; `bastion key list` shows those in use".into(),
            VaultFault::NotRotated { .. } => {
                "rotate a key that opens targets, or signs certificates that do: bastion key list".into()
            }
            VaultFault::NotAName { .. } => "gateway-2026".into(),
            VaultFault::NotAKey(NotAKey::Format) => "ssh-keygen -p -f FILE writes OpenSSH's format".into(),
            VaultFault::NotAKey(NotAKey::Passphrase) => {
                "ssh-keygen -p -N '' -f FILE on a copy that you destroy afterwards".into()
            }
            VaultFault::NotAKey(NotAKey::Kind) => "ssh-keygen -t ed25519 makes a key that is taken".into(),
            VaultFault::Crypto { .. } => "look at the system's log".into(),
        }
    }
}

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

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: String,
    version: u32,
    probe: Encrypted,
    keys: BTreeMap<String, Entry>,
}

/// The two fields that every version has: read first, so that a newer vault is not called damaged.
#[derive(Deserialize)]
struct Stamp {
    format: String,
    version: u32,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    public: String,
    made_at: u64,
    private: Encrypted,
}

/// Both base64.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encrypted {
    nonce: String,
    text: String,
}

impl Vault {
    /// Makes an empty vault in `folder`, which is made too if it is not there.
    ///
    /// # Errors
    /// If there is one, or it cannot be written.
    pub fn create(folder: &Path, master: MasterKey) -> Result<Self, VaultFault> {
        secret_file::make_folder(folder)?;
        let file = folder.join(FILE);
        let probe = encrypt(&master, &probe_bound(), PROBE)
            .ok_or_else(|| VaultFault::Crypto { name: String::new() })?;
        let stored = Stored { format: FORMAT.into(), version: VERSION, probe, keys: BTreeMap::new() };
        secret_file::write_new(&file, &encode(&stored))?;
        Ok(Vault { file, master, stored })
    }

    /// Opens the vault in `folder`.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, newer than this program, or was made with another master key.
    pub fn open(folder: &Path, master: MasterKey) -> Result<Self, VaultFault> {
        let file = folder.join(FILE);
        let stored = read(&file)?;
        let vault = Vault { file, master, stored };
        let probe = decrypt(&vault.master, &probe_bound(), &vault.stored.probe);
        if probe.is_none_or(|probe| probe.as_slice() != PROBE) {
            return Err(VaultFault::WrongMasterKey { file: vault.file });
        }
        Ok(vault)
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
        let damaged = || VaultFault::EntryDamaged { file: self.file.clone(), name: name.into() };
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
        let unknown = || VaultFault::Unknown { file: self.file.clone(), name: cut(name) };
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
        check_name(name)?;
        let crypto = || VaultFault::Crypto { name: name.into() };
        let public = PublicKey::new(key.public_key().key_data().clone(), name);
        let shown = public.to_openssh().map_err(|_| crypto())?;
        let text = key.to_openssh(LineEnding::LF).map_err(|_| crypto())?;
        let private = encrypt(&self.master, &bound(name, &shown), text.as_bytes()).ok_or_else(crypto)?;
        Ok((public, Entry { public: shown, made_at, private }))
    }

    /// The caller holds the lock.
    fn replace(&mut self, stored: Stored) -> Result<(), VaultFault> {
        secret_file::replace(&self.file, &encode(&stored))?;
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

fn read(file: &Path) -> Result<Stored, VaultFault> {
    let bytes = secret_file::read(file)?;
    let damaged = |why: String| VaultFault::Damaged { file: file.to_owned(), why };
    // serde_json tells line and column, never what stands there, but for unknown keys: those are names.
    let stamp: Stamp = serde_json::from_slice(&bytes).map_err(|fault| damaged(fault.to_string()))?;
    if stamp.format != FORMAT {
        return Err(damaged(format!("its format is {:?}", cut(&stamp.format))));
    }
    if stamp.version != VERSION {
        return Err(VaultFault::Version { file: file.to_owned(), version: stamp.version });
    }
    serde_json::from_slice(&bytes).map_err(|fault| damaged(fault.to_string()))
}

fn encode(stored: &Stored) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(stored).expect("maps with text keys and text always encode");
    text.push(b'\n');
    text
}

fn info(file: &Path, name: &str, entry: &Entry) -> Result<KeyInfo, VaultFault> {
    let public = entry
        .public
        .parse()
        .map_err(|_| VaultFault::EntryDamaged { file: file.to_owned(), name: name.into() })?;
    Ok(KeyInfo { name: name.into(), public, made_at: entry.made_at })
}

fn check_name(name: &str) -> Result<(), VaultFault> {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let right = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.len() <= NAME_BYTES_MAX
        && bytes.iter().all(plain);
    if right { Ok(()) } else { Err(VaultFault::NotAName { name: cut(name) }) }
}

fn cut(text: &str) -> String {
    text.chars().take(NAME_BYTES_MAX).collect()
}

/// What an entry's encryption is bound to. A name has no zero byte, so no two entries are bound alike.
fn bound(name: &str, public: &str) -> Vec<u8> {
    format!("{FORMAT} {VERSION} key\0{name}\0{public}").into_bytes()
}

fn probe_bound() -> Vec<u8> {
    format!("{FORMAT} {VERSION} probe").into_bytes()
}

/// The nonce is random: with a few thousand encryptions in a vault's life, two alike are not to be met.
fn encrypt(master: &MasterKey, bound: &[u8], plain: &[u8]) -> Option<Encrypted> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, master.bytes()).ok()?;
    // Reserved whole, tag included: a buffer that grows leaves a copy behind that nobody wipes.
    let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM.tag_len()));
    text.extend_from_slice(plain);
    let nonce = key.seal_in_place_append_tag(Aad::from(bound), &mut *text).ok()?;
    Some(Encrypted { nonce: BASE64_STANDARD.encode(nonce.as_ref()), text: BASE64_STANDARD.encode(&*text) })
}

fn decrypt(master: &MasterKey, bound: &[u8], encrypted: &Encrypted) -> Option<Zeroizing<Vec<u8>>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, master.bytes()).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(&BASE64_STANDARD.decode(&encrypted.nonce).ok()?).ok()?;
    let mut text = Zeroizing::new(BASE64_STANDARD.decode(&encrypted.text).ok()?);
    let length = key.open_in_place(nonce, Aad::from(bound), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

#[cfg(test)]
mod tests;
