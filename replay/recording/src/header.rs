//! The facts of a session, written before its first event.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Names one session, everywhere and for ever: 26 characters of Crockford base 32 (a ULID), which sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 26]);

/// Why a text is no session id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 26 characters of 0-9 A-Z without I L O U, found {0:?}")]
pub struct SessionIdFault(pub String);

impl SessionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for SessionId {
    type Err = SessionIdFault;

    fn from_str(text: &str) -> Result<Self, SessionIdFault> {
        let fault = || SessionIdFault(text.chars().take(64).collect());
        let bytes: [u8; 26] = text.as_bytes().try_into().map_err(|_| fault())?;
        let crockford = |b: &u8| b.is_ascii_digit() || b.is_ascii_uppercase() && !b"ILOU".contains(b);
        if bytes.iter().all(crockford) && bytes[0] <= b'7' { Ok(SessionId(bytes)) } else { Err(fault()) }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The `channel` of a recording that is no session but a piece of the audit trail: what one run of the server, or one
/// command beside it, decided and did.
pub const AUDIT: &str = "audit";

/// How a recording's segments hold their events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// asciicast v2 lines: sessions with a terminal.
    Lines,
    /// Raw chunks with time and direction: channels without one.
    Chunks,
}

/// Who the session belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The provider that vouches for her. With `subject`, this is who she is.
    pub issuer: String,
    /// Her lasting id at that provider.
    pub subject: String,
    /// The name she goes by.
    pub name: String,
    /// Her e-mail address, if the provider told one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Her groups, when the session began.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The certificate that let somebody in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Fingerprint of the authority that signed it.
    pub authority: String,
    /// Its number at that authority.
    pub serial: u64,
    /// What its authority calls it, in printable ASCII.
    pub key_id: String,
}

/// What a session was: kept under the key `bastion` of its asciicast header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Version of the recording format; see `FORMAT.md`.
    pub format: u32,
    /// The session.
    pub id: SessionId,
    /// 16 random bytes in hex, so that the header's hash tells nothing about the names in it.
    pub salt: String,
    /// When it began, in microseconds since 1970 (UTC).
    pub started_us: u64,
    /// How its segments hold their events.
    pub layout: Layout,
    /// Who.
    pub person: Person,
    /// Where she called from: address and port.
    pub source: String,
    /// Fingerprint of the key that she proved, if she has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The certificate that let her in, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// What she had asked for, if her certificate put its own command in the place of that: `shell`, `exec COMMAND` or
    /// `subsystem NAME`, in printable ASCII.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// The SSH connection that the session belongs to; several sessions may share one.
    pub connection: String,
    /// Name of the target.
    pub target: String,
    /// Its address: host and port.
    pub address: String,
    /// Login on the target.
    pub login: String,
    /// `shell`, `exec` or `subsystem`: what was asked for; or [`AUDIT`].
    pub channel: String,
    /// The rule that let it through.
    pub rule: String,
}

/// The first line of a recording: an asciicast v2 header, with [`Facts`] under a key of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Columns of the terminal when the session began; 80 without a terminal.
    pub cols: u16,
    /// Rows of the terminal when the session began; 24 without a terminal.
    pub rows: u16,
    /// The command or subsystem, if the session is not a shell. Bytes that are not UTF-8 are shown as U+FFFD here;
    /// the exact bytes are an event of their own.
    pub command: Option<String>,
    /// For lists and window titles.
    pub title: String,
    /// Environment: `TERM` and what the client was allowed to pass on.
    pub env: BTreeMap<String, String>,
    /// What the session was.
    pub facts: Facts,
}
