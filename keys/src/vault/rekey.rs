//! Another master key for a vault.

use super::{
    Kind, Vault, VaultFault,
    stored::{Encrypted, Entry, Stored, bound, decrypt, encrypt, secret_bound},
};
use crate::MasterKey;

impl Vault {
    /// Is this the master key that it was made with, or changed to?
    pub fn is_under(&self, master: &MasterKey) -> bool {
        self.stored.is_under(master)
    }

    /// Encrypts everything in it anew, under another master key. One file takes the other's place in one step: whenever
    /// the program or the machine dies, the vault opens with exactly one of the two keys.
    ///
    /// # Errors
    /// If an entry was changed since it was written, or the vault cannot be written: then the old master key still opens it.
    pub fn rekey(&mut self, new: MasterKey) -> Result<(), VaultFault> {
        let _lock = self.lock()?;
        self.reload()?;
        let mut stored = Stored::empty(&new).ok_or_else(|| VaultFault::Crypto { name: String::new() })?;
        for (name, Entry { public, made_at, private }) in &self.stored.keys {
            let private = self.encrypted_again(&new, Kind::Key, name, &bound(name, public), private)?;
            stored.keys.insert(name.clone(), Entry { public: public.clone(), made_at: *made_at, private });
        }
        for (name, secret) in &self.stored.secrets {
            let secret = self.encrypted_again(&new, Kind::Secret, name, &secret_bound(name), secret)?;
            stored.secrets.insert(name.clone(), secret);
        }
        self.replace(stored)?;
        self.master = new;
        Ok(())
    }

    fn encrypted_again(
        &self,
        new: &MasterKey,
        kind: Kind,
        name: &str,
        bound: &[u8],
        old: &Encrypted,
    ) -> Result<Encrypted, VaultFault> {
        let damaged = || VaultFault::EntryDamaged { file: self.file.clone(), kind, name: name.into() };
        let text = decrypt(&self.master, bound, old).ok_or_else(damaged)?;
        encrypt(new, bound, &text).ok_or_else(|| VaultFault::Crypto { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::{super::tests::filled, *};
    use crate::secret_file;

    /// A vault with keys and a secret, its folder, and its master key.
    fn bench() -> (tempfile::TempDir, PathBuf, MasterKey, Vault) {
        let (temporary, folder, master, mut vault) = filled();
        vault.put_secret("web1", b"hush").unwrap();
        (temporary, folder, master, vault)
    }

    #[test]
    fn under_another_master_key_everything_is_there_and_the_old_one_opens_nothing() {
        let (_temporary, folder, old, mut vault) = bench();
        let (before, new) = (vault.keys().unwrap(), MasterKey::generate().unwrap());
        let key = vault.load("gateway").unwrap();

        vault.rekey(new.clone()).unwrap();

        let refused = Vault::open(&folder, old.clone()).err().unwrap();
        assert!(matches!(refused, VaultFault::WrongMasterKey { .. }), "{refused}");
        for vault in [vault, Vault::open(&folder, new.clone()).unwrap()] {
            assert!(vault.is_under(&new) && !vault.is_under(&old));
            assert_eq!(vault.keys().unwrap(), before);
            assert_eq!(vault.load("gateway").unwrap().key_data(), key.key_data());
            vault.load("host").unwrap();
            assert_eq!(vault.secret("web1").unwrap().as_slice(), b"hush");
        }
    }

    /// No entry keeps its old encryption: the probe would open with the new key, and that entry with none of both.
    #[test]
    fn nothing_in_the_file_stays_as_it_was_encrypted() {
        let (_temporary, folder, _, mut vault) = bench();
        let texts = |folder: &PathBuf| -> Vec<String> {
            let text = fs::read_to_string(folder.join("vault.json")).unwrap();
            text.lines().filter(|line| line.contains("\"text\"")).map(str::to_owned).collect()
        };
        let before = texts(&folder);

        vault.rekey(MasterKey::generate().unwrap()).unwrap();

        let after = texts(&folder);
        assert_eq!((before.len(), after.len()), (4, 4), "the probe, two keys and a secret");
        assert!(after.iter().all(|text| !before.contains(text)));
    }

    /// A server that runs goes on with what it holds, and neither reads nor writes what it cannot open.
    #[test]
    fn who_has_the_old_master_key_keeps_what_it_read_and_changes_nothing() {
        let (_temporary, folder, old, mut vault) = bench();
        let mut server = Vault::open(&folder, old).unwrap();
        let new = MasterKey::generate().unwrap();
        vault.rekey(new.clone()).unwrap();

        for fault in [
            server.reload().unwrap_err(),
            server.generate("late").unwrap_err(),
            server.put_secret("late", b"hush").unwrap_err(),
            server.remove("gateway").unwrap_err(),
            server.rekey(MasterKey::generate().unwrap()).unwrap_err(),
        ] {
            assert!(matches!(fault, VaultFault::WrongMasterKey { .. }), "{fault}");
        }
        server.load("gateway").unwrap();
        assert_eq!(server.secret("web1").unwrap().as_slice(), b"hush");
        Vault::open(&folder, new).unwrap().load("gateway").unwrap();
    }

    #[test]
    fn a_damaged_entry_stops_the_change_before_anything_is_written() {
        let (_temporary, folder, old, mut vault) = bench();
        let file = folder.join("vault.json");
        let renamed = fs::read_to_string(&file).unwrap().replace("\"web1\"", "\"web2\"");
        secret_file::replace(&file, renamed.as_bytes()).unwrap();

        let fault = vault.rekey(MasterKey::generate().unwrap()).unwrap_err();

        assert_eq!(
            fault.to_string(),
            format!("secret \"web2\" in {} was changed since it was written", file.display())
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), renamed);
        Vault::open(&folder, old).unwrap().load("gateway").unwrap();
    }
}
