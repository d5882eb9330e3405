//! Encrypts what lies outside the vault, under a secret that lies in it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// AES-256.
const KEY_BYTES: usize = 32;

/// Encrypts texts with AES-256-GCM under one secret, and opens what it has encrypted. Wiped when dropped, never shown.
///
/// Each text is bound to what it is for: what was encrypted for one purpose opens for no other.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// From 32 secret bytes, as [`Vault::secret_or_new`](crate::Vault::secret_or_new) makes them; none from any other
    /// number of bytes.
    pub fn new(secret: &[u8]) -> Option<DataKey> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if secret.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(secret);
        Some(DataKey(key))
    }

    /// The nonce, the encrypted text and its tag; none if the system's cryptography fails.
    ///
    /// The nonce is random, 96 bits: good for four thousand million texts under one secret (NIST SP 800-38D, 8.3).
    pub fn encrypt(&self, bound: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = encrypt(self.0.as_slice(), bound, text)?;
        Some([nonce.as_slice(), &text].concat())
    }

    /// The text again; none if it was encrypted under another secret, for something else, or changed since.
    pub fn decrypt(&self, bound: &[u8], encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = encrypted.split_at_checked(NONCE_LEN)?;
        decrypt(self.0.as_slice(), bound, nonce, text.to_vec())
    }
}

/// A random nonce, and the text with its tag, encrypted.
pub(crate) fn encrypt(key: &[u8], bound: &[u8], plain: &[u8]) -> Option<([u8; NONCE_LEN], Vec<u8>)> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    // Reserved whole, tag included: a buffer that grows leaves a copy behind that nobody wipes.
    let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM.tag_len()));
    text.extend_from_slice(plain);
    let nonce = key.seal_in_place_append_tag(Aad::from(bound), &mut *text).ok()?;
    Some((*nonce.as_ref(), std::mem::take(&mut *text)))
}

/// The opposite; `text` is overwritten with what it says.
pub(crate) fn decrypt(key: &[u8], bound: &[u8], nonce: &[u8], text: Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text);
    let length = key.open_in_place(nonce, Aad::from(bound), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_opens_under_the_same_secret_for_the_same_purpose_alone() {
        let (key, other) = (DataKey::new(&[1; 32]).unwrap(), DataKey::new(&[2; 32]).unwrap());
        let encrypted = key.encrypt(b"token of alice", b"hush").unwrap();

        assert_eq!(key.decrypt(b"token of alice", &encrypted).unwrap().as_slice(), b"hush");
        assert!(key.decrypt(b"token of mallory", &encrypted).is_none());
        assert!(other.decrypt(b"token of alice", &encrypted).is_none());
        assert!(!encrypted.windows(4).any(|window| window == b"hush"));
    }

    #[test]
    fn what_was_changed_or_cut_does_not_open() {
        let key = DataKey::new(&[1; 32]).unwrap();
        let encrypted = key.encrypt(b"", b"hush").unwrap();

        for place in 0..encrypted.len() {
            let mut changed = encrypted.clone();
            changed[place] ^= 1;
            assert!(key.decrypt(b"", &changed).is_none(), "byte {place}");
            assert!(key.decrypt(b"", &encrypted[..place]).is_none(), "cut at {place}");
        }
        assert_eq!(key.decrypt(b"", &encrypted).unwrap().as_slice(), b"hush");
    }

    #[test]
    fn no_two_are_alike_and_nothing_may_be_encrypted_too() {
        let key = DataKey::new(&[1; 32]).unwrap();

        assert_ne!(key.encrypt(b"", b"hush"), key.encrypt(b"", b"hush"));
        assert!(key.decrypt(b"", &key.encrypt(b"", b"").unwrap()).unwrap().is_empty());
    }

    #[test]
    fn a_secret_of_another_length_makes_no_data_key() {
        for length in [0, 16, 31, 33, 64] {
            assert!(DataKey::new(&vec![1; length]).is_none(), "{length}");
        }
    }
}
