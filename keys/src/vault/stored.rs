//! The vault's file: what stands in it, and under what it is encrypted.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KeyInfo, Kind, VaultFault, fault::NAME_BYTES_MAX};
use crate::{MasterKey, data_key, secret_file};

/// What the file says it is.
const FORMAT: &str = "bastion vault";

/// Raised with each change that an older program would misread.
pub(super) const VERSION: u32 = 2;

/// Written while there are no secrets, so that programs from before there were any go on reading it.
const VERSION_WITHOUT_SECRETS: u32 = 1;

/// Encrypted beside the keys: what tells a wrong master key from a damaged entry.
const PROBE: &[u8] = b"the master key is right";

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    format: String,
    version: u32,
    probe: Encrypted,
    pub(super) keys: BTreeMap<String, Entry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) secrets: BTreeMap<String, Encrypted>,
}

impl Stored {
    /// Nothing yet, under this master key; none if the system's cryptography fails.
    pub(super) fn empty(master: &MasterKey) -> Option<Stored> {
        let probe = encrypt(master, &probe_bound(), PROBE)?;
        let (keys, secrets) = (BTreeMap::new(), BTreeMap::new());
        Some(Stored { format: FORMAT.into(), version: VERSION_WITHOUT_SECRETS, probe, keys, secrets })
    }

    /// Was it made with this master key?
    pub(super) fn is_under(&self, master: &MasterKey) -> bool {
        decrypt(master, &probe_bound(), &self.probe).is_some_and(|probe| probe.as_slice() == PROBE)
    }
}

/// The two fields that every version has: read first, so that a newer vault is not called damaged.
#[derive(Deserialize)]
struct Stamp {
    format: String,
    version: u32,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) public: String,
    pub(super) made_at: u64,
    pub(super) private: Encrypted,
}

/// Both base64.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Encrypted {
    nonce: String,
    text: String,
}

pub(super) fn read(file: &Path) -> Result<Stored, VaultFault> {
    let bytes = secret_file::read(file)?;
    let damaged = |why: String| VaultFault::Damaged { file: file.to_owned(), why };
    // serde_json tells line and column, never what stands there, but for unknown keys: those are names.
    let stamp: Stamp = serde_json::from_slice(&bytes).map_err(|fault| damaged(fault.to_string()))?;
    if stamp.format != FORMAT {
        return Err(damaged(format!("its format is {:?}", cut(&stamp.format))));
    }
    if !(VERSION_WITHOUT_SECRETS..=VERSION).contains(&stamp.version) {
        return Err(VaultFault::Version { file: file.to_owned(), version: stamp.version });
    }
    serde_json::from_slice(&bytes).map_err(|fault| damaged(fault.to_string()))
}

/// With the lowest version that a program must have to read it.
pub(super) fn encode(stored: &mut Stored) -> Vec<u8> {
    stored.version = if stored.secrets.is_empty() { VERSION_WITHOUT_SECRETS } else { VERSION };
    let mut text = serde_json::to_vec_pretty(stored).expect("maps with text keys and text always encode");
    text.push(b'\n');
    text
}

pub(super) fn info(file: &Path, name: &str, entry: &Entry) -> Result<KeyInfo, VaultFault> {
    let public = entry.public.parse().map_err(|_| VaultFault::EntryDamaged {
        file: file.to_owned(),
        kind: Kind::Key,
        name: name.into(),
    })?;
    Ok(KeyInfo { name: name.into(), public, made_at: entry.made_at })
}

pub(super) fn check_name(kind: Kind, name: &str) -> Result<(), VaultFault> {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let right = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.len() <= kind.name_bytes_max()
        && bytes.iter().all(plain);
    if right { Ok(()) } else { Err(VaultFault::NotAName { kind, name: cut(name) }) }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(NAME_BYTES_MAX).collect()
}

/// What an entry's encryption is bound to. A name has no zero byte, so no two entries are bound alike.
pub(super) fn bound(name: &str, public: &str) -> Vec<u8> {
    format!("{FORMAT} {VERSION_WITHOUT_SECRETS} key\0{name}\0{public}").into_bytes()
}

pub(super) fn secret_bound(name: &str) -> Vec<u8> {
    format!("{FORMAT} {VERSION} secret\0{name}").into_bytes()
}

fn probe_bound() -> Vec<u8> {
    format!("{FORMAT} {VERSION_WITHOUT_SECRETS} probe").into_bytes()
}

/// The nonce is random: with a few thousand encryptions in a vault's life, two alike are not to be met.
pub(super) fn encrypt(master: &MasterKey, bound: &[u8], plain: &[u8]) -> Option<Encrypted> {
    let (nonce, text) = data_key::encrypt(master.bytes(), bound, plain)?;
    Some(Encrypted { nonce: BASE64_STANDARD.encode(nonce), text: BASE64_STANDARD.encode(text) })
}

pub(super) fn decrypt(master: &MasterKey, bound: &[u8], encrypted: &Encrypted) -> Option<Zeroizing<Vec<u8>>> {
    let nonce = BASE64_STANDARD.decode(&encrypted.nonce).ok()?;
    data_key::decrypt(master.bytes(), bound, &nonce, BASE64_STANDARD.decode(&encrypted.text).ok()?)
}
