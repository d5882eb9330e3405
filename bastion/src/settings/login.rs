//! Who vouches for people: `[login]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use gate::{Name, Pattern};
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
    /// How often the provider is asked whether it still vouches for who is in; 0 is never.
    #[serde(default = "Login::recheck", deserialize_with = "duration")]
    pub recheck: Duration,
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
    /// Further providers, each for the people whose names it may vouch for.
    #[serde(default)]
    pub more: BTreeMap<Name, Issuer>,
}

impl Login {
    /// The keys that are not as in `old`, but for the certificates, which are asked about anew each time.
    pub fn changed(&self, old: &Login) -> Vec<String> {
        // All by name, so that none is forgotten.
        let Login {
            issuer,
            client_id,
            client_secret_file,
            scopes,
            name_claim,
            email_claim,
            groups_claim,
            algorithms,
            binding,
            recheck,
            prompt,
            flow,
            ca_file,
            certificates: _,
            more,
        } = self;
        let keys = [
            ("issuer", *issuer != old.issuer),
            ("client_id", *client_id != old.client_id),
            ("client_secret_file", *client_secret_file != old.client_secret_file),
            ("scopes", *scopes != old.scopes),
            ("name_claim", *name_claim != old.name_claim),
            ("email_claim", *email_claim != old.email_claim),
            ("groups_claim", *groups_claim != old.groups_claim),
            ("algorithms", *algorithms != old.algorithms),
            ("binding", *binding != old.binding),
            ("recheck", *recheck != old.recheck),
            ("prompt", *prompt != old.prompt),
            ("flow", *flow != old.flow),
            ("ca_file", *ca_file != old.ca_file),
        ];
        let keys = keys.iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| format!("login.{key}"));
        let names: BTreeSet<&Name> = more.keys().chain(old.more.keys()).collect();
        let others = names.into_iter().filter(|name| more.get(*name) != old.more.get(*name));
        keys.chain(others.map(|name| format!("login.more.{name}"))).collect()
    }
}

/// `[login.more.NAME]`: one provider. What `[login]` itself says of its own is read into one of these too.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// As [`Login::issuer`].
    #[serde(deserialize_with = "issuer")]
    pub issuer: String,
    /// As [`Login::client_id`].
    #[serde(deserialize_with = "client_id")]
    pub client_id: String,
    /// As [`Login::client_secret_file`].
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// As [`Login::scopes`].
    #[serde(default = "Login::scopes")]
    pub scopes: Vec<String>,
    /// As [`Login::name_claim`].
    #[serde(default = "Login::name_claim")]
    pub name_claim: String,
    /// As [`Login::email_claim`].
    #[serde(default = "Login::email_claim")]
    pub email_claim: String,
    /// As [`Login::groups_claim`].
    #[serde(default = "Login::groups_claim")]
    pub groups_claim: String,
    /// As [`Login::algorithms`].
    #[serde(default = "Login::algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// As [`Login::ca_file`].
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The names of people whom it may vouch for; nobody of another name is sent to it.
    #[serde(deserialize_with = "users")]
    pub users: Vec<Pattern>,
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
            recheck: Login::recheck(),
            prompt: Prompt::default(),
            flow: Flow::default(),
            ca_file: None,
            more: BTreeMap::new(),
            certificates: Certificates::default(),
        }
    }

    /// The provider that `[login]` itself names: it vouches for everybody whom no other one is for.
    pub fn main(&self) -> Issuer {
        Issuer {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret_file: self.client_secret_file.clone(),
            scopes: self.scopes.clone(),
            name_claim: self.name_claim.clone(),
            email_claim: self.email_claim.clone(),
            groups_claim: self.groups_claim.clone(),
            algorithms: self.algorithms.clone(),
            ca_file: self.ca_file.clone(),
            users: Vec::new(),
        }
    }

    /// The same, with the paths of files as they are from the folder of the settings file.
    pub fn beside(mut self, path: impl Fn(&Path) -> PathBuf) -> Login {
        for file in [&mut self.client_secret_file, &mut self.ca_file] {
            *file = file.as_deref().map(&path);
        }
        for Issuer { client_secret_file, ca_file, .. } in self.more.values_mut() {
            *client_secret_file = client_secret_file.as_deref().map(&path);
            *ca_file = ca_file.as_deref().map(&path);
        }
        self
    }

    /// What is asked for unless the settings say otherwise, each where the provider lists it: `groups` is no standard scope,
    /// and `offline_access` (a refresh token, for the re-check) is not everywhere to be had.
    pub fn scopes() -> Vec<String> {
        ["openid", "profile", "email", "groups", "offline_access"].map(str::to_owned).to_vec()
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

    /// What a person loses at the provider is lost here within minutes.
    fn recheck() -> Duration {
        Duration::from_secs(15 * 60)
    }

    /// A working day.
    fn binding() -> Duration {
        Duration::from_secs(8 * 60 * 60)
    }
}

/// The table, and that no two providers in it are one.
///
/// # Errors
/// If two are: the same person would be two.
pub fn login<'de, D: Deserializer<'de>>(from: D) -> Result<Login, D::Error> {
    let login = Login::deserialize(from)?;
    let mut issuers = BTreeSet::from([login.issuer.as_str()]);
    for (name, more) in &login.more {
        if !issuers.insert(&more.issuer) {
            return Err(D::Error::custom(format!(
                "login.more.{name}: the issuer {:?} stands here already: each provider is named once",
                more.issuer
            )));
        }
    }
    Ok(login)
}

fn users<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Pattern>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    if texts.is_empty() {
        return Err(D::Error::custom("users is empty: name the people of this provider, as in [\"ext-*\"]"));
    }
    let read = |text: String| {
        Pattern::for_names(&text).map(|pattern| pattern.folded()).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            let what = "letters, digits, '.', '_' and '-', and * and ? for any of them";
            D::Error::custom(format!("{shown:?} can be nobody's name: {what}"))
        })
    };
    texts.into_iter().map(read).collect()
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
