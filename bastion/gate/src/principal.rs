//! Who is calling, and how that was proven.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

/// A name that people type: of a principal, a login, a target, a group.
///
/// 1 to 64 characters of letters, digits, `.`, `_`, `-`, and it begins with a letter or a digit. So it can be no
/// option, no path, no word of the bastion (those begin with a colon), and none of the separators `%`, `/`, `@`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter or digit; found {0:?}")]
pub struct NameFault(pub String);

/// More is no name, and what is shown of it is cut here.
const NAME_BYTES_MAX: usize = 64;

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which names of people are compared: small letters. Names are ASCII, so nothing else can look alike.
    pub fn folded(&self) -> Name {
        Name(self.0.to_ascii_lowercase())
    }
}

impl FromStr for Name {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let bytes = text.as_bytes();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        let right = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.len() <= NAME_BYTES_MAX
            && bytes.iter().all(plain);
        if right {
            Ok(Name(text.to_owned()))
        } else {
            Err(NameFault(text.chars().take(NAME_BYTES_MAX).collect()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// Who is calling. She *is* `(issuer, subject)`; everything else is what is known about her.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The provider that vouches for her.
    pub issuer: String,
    /// Her lasting id at that provider.
    pub subject: String,
    /// The name she signs in with.
    pub name: Name,
    /// Her e-mail address, if the provider told one.
    pub email: Option<String>,
    /// Her groups at her last sign-in.
    pub groups: BTreeSet<String>,
    /// Where she calls from.
    pub source: IpAddr,
    /// Fingerprint (`SHA256:...`) of the key that she proved, if any.
    pub key: Option<String>,
    /// When she last signed in at her provider: seconds since 1970 (UTC).
    pub signed_in_at: i64,
    /// How she signed in there, in the provider's words (the claim `amr`): `pwd`, `mfa`, `hwk`.
    pub amr: BTreeSet<String>,
    /// How far the provider trusts that sign-in, in its own words (the claim `acr`), if it told.
    pub acr: Option<String>,
    /// The certificate that let her in, if it was one and no sign-in at a provider.
    pub certificate: Option<Certificate>,
}

impl Principal {
    /// Whether a channel of hers may have a terminal.
    pub fn may_have_terminal(&self) -> bool {
        self.certificate.as_ref().is_none_or(|certificate| certificate.permits_terminal)
    }
}

/// A certificate of OpenSSH's that let its holder in. What it restricts holds for all that she opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Fingerprint (`SHA256:...`) of the authority that signed it.
    pub authority: String,
    /// Its number at that authority.
    pub serial: u64,
    /// What its authority calls it, as [`crate::Printable`] shows it.
    pub key_id: String,
    /// From when on it lets nobody in and nothing be opened: seconds since 1970 (UTC).
    pub ends_at: i64,
    /// The command that is run whatever she asks for (`force-command`).
    pub command: Option<String>,
    /// Whether it has the extension `permit-pty`.
    pub permits_terminal: bool,
}
