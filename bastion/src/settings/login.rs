//! Who vouches for people: `[login]`.

use std::{path::PathBuf, time::Duration};

use openidconnect::url::{Host, Url};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{certificates::Certificates, toml_file::duration};

/// `[login]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The provider's issuer URL, exactly as its discovery document names it.
    #[serde(deserialize_with = "issuer")]
    pub issuer: String,
    /// Our name at the provider.
    #[serde(deserialize_with = "client_id")]
    pub client_id: String,
    /// The file with our secret there, for a confidential client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for.
    #[serde(default = "Login::scopes")]
    pub scopes: Vec<String>,
    /// The claim that is a person's name here.
    #[serde(default = "Login::name_claim")]
    pub name_claim: String,
    /// The claim that is her e-mail address.
    #[serde(default = "Login::email_claim")]
    pub email_claim: String,
    /// The claim that lists her groups.
    #[serde(default = "Login::groups_claim")]
    pub groups_claim: String,
    /// The signature algorithms an ID token may have; never taken from the token.
    #[serde(default = "Login::algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// How long a key signs in without a browser after its owner did; 0 is never.
    #[serde(default = "Login::binding", deserialize_with = "duration")]
    pub binding: Duration,
    /// How a person is asked.
    #[serde(default)]
    pub prompt: Prompt,
    /// How she signs in.
    #[serde(default)]
    pub flow: Flow,
    /// Certificates (PEM) of a private authority that the provider's own is signed by.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whose certificates let their holders in, without the provider.
    #[serde(default)]
    pub certificates: Certificates,
}

/// How a person is asked to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prompt {
    /// The prompt carries the address and asks for Enter: every client shows it, `ssh -q` too.
    #[default]
    Enter,
    /// Rounds without a prompt: no key to press, and clients that hide instructions show nothing.
    None,
}

/// How a person signs in at the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// RFC 8628.
    #[default]
    Device,
}

/// A signature algorithm for ID tokens that is known to be good. No `none`, and nothing with a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what every provider can.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Login {
    /// The usual ways with this provider.
    pub fn new(issuer: String, client_id: String) -> Self {
        Login {
            issuer,
            client_id,
            client_secret_file: None,
            scopes: Login::scopes(),
            name_claim: Login::name_claim(),
            email_claim: Login::email_claim(),
            groups_claim: Login::groups_claim(),
            algorithms: Login::algorithms(),
            binding: Login::binding(),
            prompt: Prompt::default(),
            flow: Flow::default(),
            ca_file: None,
            certificates: Certificates::default(),
        }
    }

    /// What is asked for unless the settings say otherwise. `groups` is no standard scope: it is left out where the
    /// provider does not list it.
    pub fn scopes() -> Vec<String> {
        ["openid", "profile", "email", "groups"].map(str::to_owned).to_vec()
    }

    fn name_claim() -> String {
        "preferred_username".into()
    }

    fn email_claim() -> String {
        "email".into()
    }

    fn groups_claim() -> String {
        "groups".into()
    }

    fn algorithms() -> Vec<Algorithm> {
        vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
    }

    /// A working day.
    fn binding() -> Duration {
        Duration::from_secs(8 * 60 * 60)
    }
}

fn client_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match text.trim().is_empty() {
        true => {
            Err(D::Error::custom("client_id is empty: write the name that the provider knows the bastion by"))
        }
        false => Ok(text),
    }
}

/// https, or http towards this very machine.
fn issuer<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let fault = |why: &str| D::Error::custom(format!("issuer {text:?} {why}"));
    let url = Url::parse(&text).map_err(|cause| fault(&format!("is no URL: {cause}")))?;
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.host().is_none() {
        return Err(fault("names no host: write \"https://id.example\""));
    }
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err(fault("has more than host and path: write \"https://id.example/realm\""));
    }
    match url.scheme() {
        "https" => Ok(text),
        "http" if here => Ok(text),
        _ => Err(fault("can be listened to on its way: write https (http is for a loopback issuer alone)")),
    }
}
