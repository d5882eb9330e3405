//! Alone touches private keys.
//!
//! A [`MasterKey`] is found in the environment, as a systemd credential or in a file; it opens the [`Vault`], where the
//! gateway's keys lie encrypted: its host key, and those that open targets, beside other secrets. A [`DataKey`] encrypts what lies
//! elsewhere under one of those. A private half leaves the vault as the SSH
//! library's own type, which wipes itself, and nothing here shows one. As an authority a key signs certificates that open
//! a target for one session each ([`Vault::certify`]). [`secret_file`] reads what must stay secret only
//! if nobody else can read or swap it. [`KnownHosts`] says by which keys, and by whose certificates, others are known.

mod authority;
mod data_key;
mod import;
mod known_hosts;
mod master_key;
mod rotation;
pub mod secret_file;
mod vault;

pub use authority::Errand;
pub use data_key::DataKey;
pub use known_hosts::{HostCertificateFault, HostKeyVerdict, KnownHosts, KnownHostsFault, fingerprint};
pub use master_key::{
    MASTER_KEY_CREDENTIAL, MASTER_KEY_VARIABLE, MasterKey, MasterKeyFault, MasterKeySource,
};
pub use rotation::{SUCCESSOR, successor};
/// An SSH certificate, private key and public key: the types of the SSH library itself, so that there is one copy.
pub use russh_keys::keys::{Certificate, PrivateKey, PublicKey};
pub use secret_file::SecretFileFault;
pub use vault::{HOST_KEY, KeyInfo, Kind, NotAKey, Vault, VaultFault};
