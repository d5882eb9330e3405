//! How SSH is spoken: `[ssh]`.

use std::{borrow::Cow, path::PathBuf};

use russh::{
    Preferred, cipher, compression, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
    mac,
};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::toml_file::nearest;

/// `[ssh]`: algorithms for both legs, towards clients and towards targets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ssh {
    /// Host keys in OpenSSH files; none is the key `host` of the vault.
    pub host_keys: Vec<PathBuf>,
    /// Ciphers, most wanted first.
    #[serde(deserialize_with = "ciphers")]
    pub ciphers: Vec<cipher::Name>,
    /// MACs for ciphers that need one, most wanted first.
    #[serde(deserialize_with = "macs")]
    pub macs: Vec<mac::Name>,
    /// Key exchanges, most wanted first.
    #[serde(deserialize_with = "kexes")]
    pub kex: Vec<kex::Name>,
    /// Shown to every client before it signs in.
    pub banner: Option<String>,
}

/// AES-GCM first, by measurement: half the CPU of chacha20-poly1305 and a quarter of AES-CTR. CTR is for clients
/// without GCM. chacha20-poly1305 is offered only if settings name it.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

const CIPHERS_KNOWN: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
    cipher::CHACHA20_POLY1305,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];

const MACS_KNOWN: &[mac::Name] =
    &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

const KEX: &[kex::Name] = &[kex::MLKEM768X25519_SHA256, kex::CURVE25519, kex::CURVE25519_PRE_RFC_8731];

const KEX_KNOWN: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G14_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
];

/// Strict key exchange is never a setting: without it a stranger on the wire can drop messages (CVE-2023-48795).
const KEX_ALWAYS: &[kex::Name] = &[
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// No ssh-rsa: it signs with SHA-1.
const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

impl Default for Ssh {
    fn default() -> Self {
        Ssh {
            host_keys: Vec::new(),
            ciphers: CIPHERS.to_vec(),
            macs: MACS.to_vec(),
            kex: KEX.to_vec(),
            banner: None,
        }
    }
}

impl Ssh {
    /// What is offered, in this order.
    pub fn preferred(&self) -> Preferred {
        Preferred {
            kex: self.kex.iter().chain(KEX_ALWAYS).copied().collect::<Vec<_>>().into(),
            key: Cow::Borrowed(HOST_KEYS),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: self.ciphers.clone().into(),
            mac: self.macs.clone().into(),
            compression: Cow::Borrowed(&[compression::NONE]),
        }
    }

    /// What is offered to a client that can do AES-GCM: of the ciphers in settings, those alone.
    ///
    /// The client's order decides which cipher is used, and OpenSSH before 10 puts AES-CTR before AES-GCM at four
    /// times the CPU. None if settings name no GCM cipher.
    pub fn preferred_with_gcm(&self) -> Option<Preferred> {
        let gcm: Vec<_> = self.ciphers.iter().copied().filter(is_gcm).collect();
        (!gcm.is_empty()).then(|| Preferred { cipher: gcm.into(), ..self.preferred() })
    }
}

/// Is this an AES-GCM cipher?
pub fn is_gcm(cipher: &cipher::Name) -> bool {
    [cipher::AES_128_GCM, cipher::AES_256_GCM].contains(cipher)
}

fn ciphers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<cipher::Name>, D::Error> {
    algorithms(from, "cipher", CIPHERS_KNOWN)
}

fn macs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<mac::Name>, D::Error> {
    algorithms(from, "MAC", MACS_KNOWN)
}

fn kexes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<kex::Name>, D::Error> {
    algorithms(from, "key exchange", KEX_KNOWN)
}

fn algorithms<'de, D: Deserializer<'de>, A: AsRef<str> + Copy>(
    from: D,
    kind: &str,
    known: &[A],
) -> Result<Vec<A>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    if names.is_empty() {
        return Err(D::Error::custom(format!("no {kind} at all: remove the key, or name one")));
    }
    let find = |name: &String| {
        known.iter().copied().find(|known| known.as_ref() == name).ok_or_else(|| {
            let try_this = nearest(name, known.iter().map(AsRef::as_ref)).unwrap_or_default();
            let all = known.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
            let meant =
                if try_this.is_empty() { String::new() } else { format!(", perhaps {try_this:?} is meant") };
            D::Error::custom(format!("{name:?} is no {kind} that is offered{meant}; there are {all}"))
        })
    };
    names.iter().map(find).collect()
}
