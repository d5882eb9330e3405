//! Keys that were made elsewhere.

use russh_keys::keys::ssh_key::Algorithm;

use crate::{
    PrivateKey, PublicKey,
    vault::{NotAKey, Vault, VaultFault},
};

impl Vault {
    /// Takes a key in OpenSSH's format, as [`Vault::read_key`] reads it.
    ///
    /// # Errors
    /// If it is no such key, the name is taken or none, or the vault cannot be written.
    pub fn import(&mut self, name: &str, openssh: &[u8]) -> Result<PublicKey, VaultFault> {
        self.put(name, &Vault::read_key(openssh)?)
    }

    /// Reads a key in OpenSSH's format, without a passphrase.
    ///
    /// RSA is not taken: timing of its private operations can tell the key (RUSTSEC-2023-0071).
    ///
    /// # Errors
    /// If it is no such key.
    pub fn read_key(openssh: &[u8]) -> Result<PrivateKey, VaultFault> {
        let key = PrivateKey::from_openssh(openssh).map_err(|_| VaultFault::NotAKey(NotAKey::Format))?;
        if key.is_encrypted() {
            return Err(VaultFault::NotAKey(NotAKey::Passphrase));
        }
        if !matches!(key.algorithm(), Algorithm::Ed25519 | Algorithm::Ecdsa { .. }) {
            return Err(VaultFault::NotAKey(NotAKey::Kind));
        }
        Ok(key)
    }
}
