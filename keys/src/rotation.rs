//! A key and its successor: for a while both are offered, so that no target has to change at the same moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    HOST_KEY, PrivateKey, PublicKey,
    vault::{Vault, VaultFault},
};

/// What a key's successor is called until it takes the key's name.
pub const SUCCESSOR: &str = ".next";

impl Vault {
    /// Makes the successor of a key.
    ///
    /// # Errors
    /// If there is no such key, it has a successor already or is one, or it is the host key: those who know the bastion by
    /// that would be asked about another.
    pub fn rotate(&mut self, name: &str) -> Result<PublicKey, VaultFault> {
        self.rotate_to(name, &Vault::fresh_key(name)?)
    }

    /// Whether a key of this name may have a successor: for who must say so before one is made.
    ///
    /// # Errors
    /// If it is the host key, or a successor itself.
    pub fn may_be_rotated(name: &str) -> Result<(), VaultFault> {
        match name == HOST_KEY || name.ends_with(SUCCESSOR) {
            true => Err(VaultFault::NotRotated { name: name.into() }),
            false => Vault::may_be_called(&successor(name)),
        }
    }

    /// Takes this key as the successor of a key.
    ///
    /// # Errors
    /// As [`Vault::rotate`].
    pub fn rotate_to(&mut self, name: &str, next: &PrivateKey) -> Result<PublicKey, VaultFault> {
        self.public(name)?;
        Vault::may_be_rotated(name)?;
        self.put(&successor(name), next)
    }

    /// Gives a key's name to its successor; the key itself is gone for good.
    ///
    /// # Errors
    /// If one of the two is not there, or the vault cannot be written.
    pub fn retire(&mut self, name: &str) -> Result<PublicKey, VaultFault> {
        self.rename_over(&successor(name), name)
    }

    /// The key's successor, and when it was made; none if it has none.
    pub fn successor_of(&self, name: &str) -> Option<(PublicKey, SystemTime)> {
        let keys = self.keys().unwrap_or_default();
        let next = keys.into_iter().find(|key| key.name == successor(name))?;
        Some((next.public, UNIX_EPOCH + Duration::from_secs(next.made_at)))
    }

    /// The name of the key that is offered to a target, and of one to offer if that is refused: a successor comes first,
    /// and until `overlap` has passed since it was made, the key itself comes next.
    pub fn offered(&self, name: &str, overlap: Duration, now: SystemTime) -> (String, Option<String>) {
        let Some((_, made_at)) = self.successor_of(name) else { return (name.into(), None) };
        // A clock that was set back makes the successor younger, never the overlap shorter.
        let age = now.duration_since(made_at).unwrap_or_default();
        (successor(name), (age < overlap).then(|| name.to_owned()))
    }
}

/// What the successor of this key is called.
pub fn successor(name: &str) -> String {
    format!("{name}{SUCCESSOR}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MasterKey;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn vault() -> (tempfile::TempDir, MasterKey, Vault) {
        let (folder, master) = (tempfile::tempdir().unwrap(), MasterKey::generate().unwrap());
        let mut vault = Vault::create(&folder.path().join("keys"), master.clone()).unwrap();
        vault.generate("a").unwrap();
        (folder, master, vault)
    }

    #[test]
    fn a_key_and_its_successor_are_offered_until_the_overlap_is_over() {
        let (_folder, _, mut vault) = vault();
        let now = SystemTime::now();
        assert_eq!(vault.offered("a", DAY, now), ("a".into(), None));

        vault.rotate("a").unwrap();

        let both = ("a.next".to_owned(), Some("a".to_owned()));
        assert_eq!(vault.offered("a", DAY, now), both);
        assert_eq!(vault.offered("a", DAY, now - 2 * DAY), both);
        assert_eq!(vault.offered("a", DAY, now + 2 * DAY), ("a.next".into(), None));
        assert_eq!(vault.offered("lost", DAY, now), ("lost".into(), None));
    }

    #[test]
    fn a_successor_takes_the_name_and_the_old_key_is_gone() {
        let (folder, master, mut vault) = vault();
        let old = vault.public("a").unwrap();
        let next = vault.rotate("a").unwrap();

        assert_eq!(vault.retire("a").unwrap().key_data(), next.key_data());

        let opened = Vault::open(&folder.path().join("keys"), master).unwrap();
        assert_ne!(opened.load("a").unwrap().public_key().key_data(), old.key_data());
        assert_eq!(opened.load("a").unwrap().public_key().key_data(), next.key_data());
        assert!(!opened.has("a.next"));
        assert!(matches!(vault.retire("a"), Err(VaultFault::Unknown { .. })));
    }

    #[test]
    fn what_cannot_be_rotated_is_named() {
        let (_folder, _, mut vault) = vault();
        vault.generate(HOST_KEY).unwrap();
        vault.rotate("a").unwrap();

        assert!(matches!(vault.rotate("a"), Err(VaultFault::NameTaken { .. })));
        assert!(matches!(vault.rotate("a.next"), Err(VaultFault::NotRotated { .. })));
        assert!(matches!(vault.rotate(HOST_KEY), Err(VaultFault::NotRotated { .. })));
        assert!(matches!(vault.rotate("lost"), Err(VaultFault::Unknown { .. })));
    }
}
