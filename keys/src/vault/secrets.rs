//! Secrets that are no keys: bytes by name, encrypted as keys are.

use zeroize::Zeroizing;

use super::{
    Kind, Vault, VaultFault,
    stored::{Encrypted, check_name, cut, decrypt, encrypt, read, secret_bound},
};

/// What a secret may have at most: a password, a token, a key for a [`DataKey`](crate::DataKey).
pub(super) const SECRET_BYTES_MAX: usize = 4096;

impl Vault {
    /// The secret of this name. It wipes itself when it is dropped.
    ///
    /// # Errors
    /// If there is no such secret, or its entry was changed since it was written.
    pub fn secret(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        let encrypted = self.stored.secrets.get(name).ok_or_else(|| self.no_secret(name))?;
        let damaged =
            || VaultFault::EntryDamaged { file: self.file.clone(), kind: Kind::Secret, name: cut(name) };
        decrypt(&self.master, &secret_bound(name), encrypted).ok_or_else(damaged)
    }

    /// Is there a secret of this name?
    pub fn has_secret(&self, name: &str) -> bool {
        self.stored.secrets.contains_key(name)
    }

    /// Keeps 1 to 4096 bytes under this name, in the place of what had it.
    ///
    /// # Errors
    /// If it is no name, or too few or too many bytes, or the vault cannot be written.
    pub fn put_secret(&mut self, name: &str, secret: &[u8]) -> Result<(), VaultFault> {
        let encrypted = self.encrypted_secret(name, secret)?;
        let _lock = self.lock()?;
        self.reload()?;
        self.keep_secret(name, encrypted)
    }

    /// Takes a secret out, for good.
    ///
    /// # Errors
    /// If there is no such secret, or the vault cannot be written: then it is still there.
    pub fn remove_secret(&mut self, name: &str) -> Result<(), VaultFault> {
        let _lock = self.lock()?;
        self.reload()?;
        let mut stored = self.stored.clone();
        stored.secrets.remove(name).ok_or_else(|| self.no_secret(name))?;
        self.replace(stored)
    }

    /// The names of all secrets, in order.
    pub fn secret_names(&self) -> Vec<String> {
        self.stored.secrets.keys().cloned().collect()
    }

    /// The names of all secrets, in order. The master key is not needed for it.
    ///
    /// # Errors
    /// As [`Vault::list`].
    pub fn list_secrets(folder: &std::path::Path) -> Result<Vec<String>, VaultFault> {
        Ok(read(&folder.join(super::FILE))?.secrets.into_keys().collect())
    }

    /// The secret of this name, whatever its length; if there is none, `length` random bytes that have it from now on.
    /// Whoever asks at the same moment, in this process or another, gets the same.
    ///
    /// # Errors
    /// As [`Vault::secret`] and [`Vault::put_secret`], or if the system has no random bytes.
    pub fn secret_or_new(&mut self, name: &str, length: usize) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        if self.has_secret(name) {
            return self.secret(name);
        }
        let _lock = self.lock()?;
        self.reload()?;
        if self.has_secret(name) {
            return self.secret(name);
        }
        // The size is looked at before so much is asked for.
        check_size(name, length)?;
        let mut secret = Zeroizing::new(vec![0; length]);
        getrandom::fill(secret.as_mut_slice()).map_err(|_| VaultFault::Crypto { name: name.into() })?;
        let encrypted = self.encrypted_secret(name, &secret)?;
        self.keep_secret(name, encrypted)?;
        Ok(secret)
    }

    fn no_secret(&self, name: &str) -> VaultFault {
        VaultFault::Unknown { file: self.file.clone(), kind: Kind::Secret, name: cut(name) }
    }

    fn encrypted_secret(&self, name: &str, secret: &[u8]) -> Result<Encrypted, VaultFault> {
        check_name(Kind::Secret, name)?;
        check_size(name, secret.len())?;
        encrypt(&self.master, &secret_bound(name), secret)
            .ok_or_else(|| VaultFault::Crypto { name: name.into() })
    }

    /// The caller holds the lock, and has read the file under it.
    fn keep_secret(&mut self, name: &str, encrypted: Encrypted) -> Result<(), VaultFault> {
        let mut stored = self.stored.clone();
        stored.secrets.insert(name.into(), encrypted);
        self.replace(stored)
    }
}

fn check_size(name: &str, bytes: usize) -> Result<(), VaultFault> {
    match bytes {
        1..=SECRET_BYTES_MAX => Ok(()),
        _ => Err(VaultFault::SecretSize { name: cut(name), bytes }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::tests::filled, *};
    use crate::secret_file;

    fn text(folder: &std::path::Path) -> String {
        fs::read_to_string(folder.join("vault.json")).unwrap()
    }

    #[test]
    fn a_secret_kept_is_the_secret_told_after_the_vault_was_closed() {
        let (_temporary, folder, master, mut vault) = filled();
        vault.put_secret("web1", b"hush").unwrap();
        vault.put_secret("web1", b"hush hush").unwrap();
        vault.put_secret("gateway", &[0xff; 4096]).unwrap();
        vault.put_secret(&"z".repeat(96), b"1").unwrap();

        let vault = Vault::open(&folder, master).unwrap();
        assert_eq!(vault.secret("web1").unwrap().as_slice(), b"hush hush");
        assert_eq!(vault.secret("gateway").unwrap().as_slice(), [0xff; 4096]);
        assert_eq!(vault.secret_names(), ["gateway", "web1", &"z".repeat(96)]);
        assert_eq!(Vault::list_secrets(&folder).unwrap(), vault.secret_names());
        assert!(matches!(vault.secret("other"), Err(VaultFault::Unknown { kind: Kind::Secret, .. })));
        vault.load("gateway").unwrap();
    }

    #[test]
    fn a_secret_does_not_lie_in_the_vault_in_plain() {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let (_temporary, folder, _, mut vault) = filled();
        vault.put_secret("web1", b"correct horse").unwrap();

        let text = text(&folder);
        assert!(text.contains("web1") && !text.contains("correct horse"));
        assert!(!text.contains(&BASE64_STANDARD.encode("correct horse")));
    }

    #[test]
    fn no_secret_can_be_given_the_name_of_another() {
        let (_temporary, folder, master, mut vault) = filled();
        vault.put_secret("weak", b"1").unwrap();
        vault.put_secret("root", b"2").unwrap();
        let swapped = text(&folder)
            .replace("\"weak\"", "\"x\"")
            .replace("\"root\"", "\"weak\"")
            .replace("\"x\"", "\"root\"");
        secret_file::replace(&folder.join("vault.json"), swapped.as_bytes()).unwrap();

        let vault = Vault::open(&folder, master).unwrap();
        for name in ["weak", "root"] {
            let fault = vault.secret(name).unwrap_err();
            assert!(matches!(fault, VaultFault::EntryDamaged { kind: Kind::Secret, .. }), "{fault}");
            assert!(fault.to_string().starts_with("secret \""), "{fault}");
        }
    }

    /// A vault without secrets stays one that older programs read; one with secrets they refuse by its version.
    #[test]
    fn only_secrets_raise_the_version() {
        let (_temporary, folder, _, mut vault) = filled();
        assert!(text(&folder).contains("\"version\": 1,") && !text(&folder).contains("secrets"));

        vault.put_secret("web1", b"hush").unwrap();
        assert!(text(&folder).contains("\"version\": 2,"));

        vault.remove_secret("web1").unwrap();
        assert!(text(&folder).contains("\"version\": 1,") && !text(&folder).contains("secrets"));
    }

    #[test]
    fn a_secret_removed_is_gone_and_the_others_are_not() {
        let (_temporary, folder, master, mut vault) = filled();
        let mut other = Vault::open(&folder, master).unwrap();
        vault.put_secret("a", b"1").unwrap();
        vault.put_secret("b", b"2").unwrap();

        other.remove_secret("a").unwrap();
        assert!(matches!(other.remove_secret("a"), Err(VaultFault::Unknown { .. })));
        assert_eq!(Vault::list_secrets(&folder).unwrap(), ["b"]);
        assert_eq!(other.secret("b").unwrap().as_slice(), b"2");
    }

    #[test]
    fn a_secret_made_at_the_first_ask_is_the_same_for_all() {
        let (_temporary, folder, master, mut vault) = filled();
        let mut other = Vault::open(&folder, master.clone()).unwrap();

        let first = vault.secret_or_new("token-key", 32).unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(other.secret_or_new("token-key", 32).unwrap(), first);
        assert_eq!(vault.secret_or_new("token-key", 32).unwrap(), first);
        assert_eq!(Vault::open(&folder, master).unwrap().secret("token-key").unwrap(), first);
        assert_ne!(vault.secret_or_new("other", 32).unwrap(), first);
    }

    #[test]
    fn many_that_ask_for_a_new_secret_at_once_get_the_same() {
        let (_temporary, folder, master, _) = filled();
        let asked: Vec<_> = std::thread::scope(|scope| {
            let ask =
                || Vault::open(&folder, master.clone()).unwrap().secret_or_new("token-key", 32).unwrap();
            let asks: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asks.into_iter().map(|ask| ask.join().unwrap()).collect()
        });

        assert!(asked.iter().all(|secret| *secret == asked[0]), "not all the same");
    }

    #[test]
    fn what_is_no_secret_or_no_name_is_refused_and_nothing_is_written() {
        let (_temporary, folder, _, mut vault) = filled();
        let before = text(&folder);

        for secret in [&[][..], &[1; 4097]] {
            assert!(matches!(vault.put_secret("web1", secret), Err(VaultFault::SecretSize { .. })));
        }
        for length in [0, 4097, usize::MAX] {
            assert!(matches!(vault.secret_or_new("token-key", length), Err(VaultFault::SecretSize { .. })));
        }
        for name in ["", "../x", "-x", "a\0b", &"a".repeat(97)] {
            let fault = vault.put_secret(name, b"hush").unwrap_err();
            assert!(matches!(fault, VaultFault::NotAName { kind: Kind::Secret, .. }), "{fault}");
            vault.secret_or_new(name, 32).unwrap_err();
        }
        assert_eq!(text(&folder), before);
    }
}
