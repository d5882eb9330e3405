//! What one target alone is offered beside the algorithms of `[ssh]`.

use russh::{
    Preferred, cipher, kex,
    keys::{Algorithm, EcdsaCurve},
    mac,
};
use serde::Deserialize;

/// SHA-1, and what no default offers.
const KEX: &[kex::Name] = &[
    kex::DH_G14_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_GEX_SHA256,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G14_SHA1,
    kex::DH_GEX_SHA1,
    kex::DH_G1_SHA1,
];

/// `ssh-rsa` signs with SHA-1.
const KEYS: &[Algorithm] = &[
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: None },
];

/// CBC tells some of what it encrypts to whoever can change it on the way (CVE-2008-5161).
const CIPHERS: &[cipher::Name] =
    &[cipher::CHACHA20_POLY1305, cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256, mac::HMAC_SHA512, mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];

const ETM: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA1_ETM];

/// Algorithms that a target is offered because its settings name them: last, after all that any target is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct OldAlgorithms {
    kex: Vec<kex::Name>,
    keys: Vec<Algorithm>,
    ciphers: Vec<cipher::Name>,
    macs: Vec<mac::Name>,
}

impl TryFrom<Vec<String>> for OldAlgorithms {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        let mut old = OldAlgorithms::default();
        for name in names {
            let name = name.as_str();
            if let Some(found) = find(KEX, name) {
                old.kex.push(found);
            } else if let Some(found) = KEYS.iter().find(|key| key.as_str() == name) {
                old.keys.push(found.clone());
            } else if let Some(found) = find(CIPHERS, name) {
                old.ciphers.push(found);
            } else if let Some(found) = find(MACS, name) {
                old.macs.push(found);
            } else {
                let shown: String = name.chars().take(64).collect();
                return Err(format!(
                    "{shown:?} is no algorithm that a target can be offered by its own settings; there are {}",
                    OldAlgorithms::all().names().join(", ")
                ));
            }
        }
        Ok(old)
    }
}

fn find<A: AsRef<str> + Copy>(known: &[A], name: &str) -> Option<A> {
    known.iter().copied().find(|known| known.as_ref() == name)
}

impl OldAlgorithms {
    fn all() -> OldAlgorithms {
        OldAlgorithms { kex: KEX.into(), keys: KEYS.into(), ciphers: CIPHERS.into(), macs: MACS.into() }
    }

    /// Those of these names, as a peer lists its own, that settings could name.
    pub fn among(names: &[String]) -> Vec<&str> {
        let all = OldAlgorithms::all();
        let known = all.names();
        names.iter().map(String::as_str).filter(|name| known.contains(name)).collect()
    }

    /// Does a target get nothing but what all get?
    pub fn is_empty(&self) -> bool {
        *self == OldAlgorithms::default()
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        let kex = self.kex.iter().map(AsRef::as_ref);
        let keys = self.keys.iter().map(Algorithm::as_str);
        let ciphers = self.ciphers.iter().map(AsRef::as_ref);
        kex.chain(keys).chain(ciphers).chain(self.macs.iter().map(AsRef::as_ref)).collect()
    }

    /// What is offered to everybody, and these after it.
    pub fn beside(&self, ours: &Preferred) -> Preferred {
        Preferred {
            kex: joined(&ours.kex, &self.kex).into(),
            key: joined(&ours.key, &self.keys).into(),
            cipher: joined(&ours.cipher, &self.ciphers).into(),
            mac: joined(&ours.mac, &self.macs).into(),
            ..ours.clone()
        }
    }
}

fn joined<A: Clone + PartialEq>(ours: &[A], more: &[A]) -> Vec<A> {
    ours.iter().cloned().chain(more.iter().filter(|one| !ours.contains(one)).cloned()).collect()
}

/// Would a message that somebody took away be missed without strict key exchange?
///
/// What makes CVE-2023-48795 work is a MAC over what is encrypted, or chacha20-poly1305. CTR and CBC go on from the
/// last message, so with a MAC over the plain text all that comes after the gap is garbage, and the MAC says so.
pub fn misses_no_message(names: &russh::Names) -> bool {
    let is_etm = |mac| ETM.contains(mac);
    names.cipher != cipher::CHACHA20_POLY1305 && !is_etm(&names.client_mac) && !is_etm(&names.server_mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Ssh;

    fn read(names: &[&str]) -> Result<OldAlgorithms, String> {
        OldAlgorithms::try_from(names.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// The most wanted stays what it was: a target that can do better is asked to.
    #[test]
    fn old_algorithms_stand_last_and_none_twice() {
        let ours = Ssh::default().preferred();
        let names = ["ssh-rsa", "aes128-cbc", "hmac-sha1", "diffie-hellman-group14-sha1"];
        let old = read(&names).unwrap();
        let offered = old.beside(&ours);

        assert!(offered.kex.starts_with(&ours.kex) && offered.kex.ends_with(&[kex::DH_G14_SHA1]));
        assert!(
            offered.key.starts_with(&ours.key) && offered.key.ends_with(&[Algorithm::Rsa { hash: None }])
        );
        assert!(offered.cipher.starts_with(&ours.cipher) && offered.cipher.ends_with(&[cipher::AES_128_CBC]));
        assert!(offered.mac.starts_with(&ours.mac) && offered.mac.ends_with(&[mac::HMAC_SHA1]));
        assert_eq!(old.beside(&offered).kex, offered.kex);
        assert_eq!(OldAlgorithms::default().beside(&ours).cipher, ours.cipher);
    }

    #[test]
    fn a_name_that_is_none_of_them_is_refused_with_those_there_are() {
        for name in ["3des-cbc", "ssh-dss", "none", "clear", "arcfour", "", "kex-strict-c-v00@openssh.com"] {
            let fault = read(&["aes128-cbc", name]).unwrap_err();
            assert!(fault.contains(&format!("{name:?} is no algorithm")), "{fault}");
            assert!(fault.contains("diffie-hellman-group14-sha1") && fault.contains("ssh-rsa"), "{fault}");
        }
    }

    /// Each name that is listed is taken, and none of them is offered unasked.
    #[test]
    fn no_default_offers_any_of_them() {
        let (all, ours) = (OldAlgorithms::all(), Ssh::default().preferred());
        assert_eq!(read(&all.names()).unwrap(), all);

        assert!(!all.kex.iter().any(|name| ours.kex.contains(name)));
        assert!(!all.keys.iter().any(|name| ours.key.contains(name)));
        assert!(!all.ciphers.iter().any(|name| ours.cipher.contains(name)));
        assert!(!all.macs.iter().any(|name| ours.mac.contains(name)));
    }
}
