//! The keys that a hostile provider signs with, and what it passes off as signed.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// What stands before the modulus in the DER of a 2048-bit RSA key (RFC 8017, A.1.1): two heads and a zero byte.
const RSA_HEAD_BYTES: usize = 9;
const RSA_MODULUS_BYTES: usize = 256;

/// Made once: an RSA key takes a while, and most providers of a test live for one sign-in.
static FIRST: LazyLock<Arc<Keys>> = LazyLock::new(|| Arc::new(Keys::new()));

/// One key of each kind.
pub struct Keys {
    nth: u64,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Keys {
    pub fn first() -> Arc<Keys> {
        FIRST.clone()
    }

    pub fn new() -> Keys {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Keys {
            nth: COUNT.fetch_add(1, Ordering::Relaxed),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key can be made"),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("an EC key can be made"),
            ed: Ed25519KeyPair::generate().expect("an Ed25519 key can be made"),
        }
    }

    /// The id of the key for `alg`.
    pub fn kid(&self, alg: &str) -> String {
        format!("{alg}-{}", self.nth)
    }

    /// The public keys, as a key set lists them.
    pub fn public(&self) -> Vec<Value> {
        ["RS256", "ES256", "EdDSA"].map(|alg| self.public_for(alg)).to_vec()
    }

    /// The public key for `alg`.
    pub fn public_for(&self, alg: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match alg {
            "ES256" => {
                // Uncompressed: 4, x, y.
                let point = self.ec.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            "EdDSA" => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(self.ed.public_key().as_ref()) }),
            _ => {
                let modulus = &self.rsa.public_key().as_ref()[RSA_HEAD_BYTES..][..RSA_MODULUS_BYTES];
                json!({ "kty": "RSA", "n": text(modulus), "e": "AQAB" })
            }
        };
        key["use"] = json!("sig");
        key["kid"] = json!(self.kid(alg));
        key
    }

    /// A token over `claims`, signed as `alg` wants it, whatever the header says.
    pub fn sign(&self, alg: &str, header: &Value, claims: &str) -> String {
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let random = SystemRandom::new();
        let bytes = text.as_bytes();
        let signature = match alg {
            "none" => Vec::new(),
            "HS256" => {
                let public = hmac::Key::new(hmac::HMAC_SHA256, self.rsa.public_key().as_ref());
                hmac::sign(&public, bytes).as_ref().to_vec()
            }
            "ES256" => self.ec.sign(&random, bytes).expect("an EC key signs").as_ref().to_vec(),
            "EdDSA" => self.ed.sign(bytes).as_ref().to_vec(),
            _ => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).expect("an RSA key signs");
                signature
            }
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
