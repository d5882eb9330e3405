//! The `[login]` table of bastion.toml.

use std::path::PathBuf;

use openidconnect::core::CoreJwsSigningAlgorithm;
use serde::Deserialize;

/// Longer than this no key signs in alone, whatever the settings say: whoever leaves is out by the next day.
const BINDING_MINUTES_MAX: u32 = 12 * 60;

/// The `[login]` table: which provider vouches for people, and what is taken from its word.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The provider's issuer address: https, or http towards loopback.
    pub issuer: String,
    /// What the provider calls this bastion.
    pub client_id: String,
    /// File (mode 600) with the client's secret, for providers that want one.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// PEM file with further certificate authorities to trust for the provider.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Scopes to ask for; `openid` is always among them.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim that holds the person's name.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// The claim that holds her e-mail address; it counts only with `email_verified`.
    #[serde(default = "email_claim")]
    pub email_claim: String,
    /// The claim that lists her groups.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// Signature algorithms an ID token may have. Never taken from the token.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// How long a key signs in alone after its owner's sign-in: minutes, at most 12 hours; 0 means never.
    #[serde(default = "binding_minutes")]
    pub binding_minutes: u32,
    /// How the person is shown where to go.
    #[serde(default)]
    pub prompt: Prompt,
}

/// How the person is shown where to go.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Prompt {
    /// In a prompt that Enter answers: seen with `-q` and `LogLevel=ERROR` too.
    #[default]
    Enter,
    /// In an instruction without a prompt: no key to press, but hidden by `-q` and `LogLevel=ERROR`.
    None,
}

/// A signature algorithm for ID tokens that is known to be good.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what every provider can.
    RS256,
    /// ECDSA on P-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    pub(super) fn as_jws(self) -> CoreJwsSigningAlgorithm {
        match self {
            Algorithm::RS256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            Algorithm::ES256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
            Algorithm::EdDSA => CoreJwsSigningAlgorithm::EdDsa,
        }
    }
}

impl Settings {
    /// All defaults, for this provider.
    pub fn new(issuer: impl Into<String>, client_id: impl Into<String>) -> Settings {
        Settings {
            issuer: issuer.into(),
            client_id: client_id.into(),
            client_secret_file: None,
            ca_file: None,
            scopes: scopes(),
            name_claim: name_claim(),
            email_claim: email_claim(),
            groups_claim: groups_claim(),
            algorithms: algorithms(),
            binding_minutes: binding_minutes(),
            prompt: Prompt::default(),
        }
    }

    pub(super) fn binding_seconds(&self) -> i64 {
        i64::from(self.binding_minutes.min(BINDING_MINUTES_MAX)) * 60
    }
}

fn scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).to_vec()
}

fn name_claim() -> String {
    "preferred_username".to_owned()
}

fn email_claim() -> String {
    "email".to_owned()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
}

fn binding_minutes() -> u32 {
    8 * 60
}
