//! What an entry of the audit trail tells.

use std::{collections::BTreeSet, net::SocketAddr};

use gate::{Name, Principal};
use recording::{Certificate, Person};
use serde::Serialize;
use sha2::{Digest, Sha256};
use strum::VariantNames;

use crate::{settings::FileRead, times};

/// One thing that was decided or done. docs/audit.md lists them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, VariantNames)]
#[serde(tag = "act", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Act {
    /// A server starts.
    ServerStarted {
        /// Its version.
        version: String,
        /// Its process.
        process: u32,
    },
    /// It stops in order. Without this entry at its end, it was killed.
    ServerStopped {
        /// Who wanted it.
        by: By,
    },
    /// A piece of the text of a settings or policy file, which later entries name by its hash.
    FileText {
        /// SHA-256 of the whole file, in hex.
        sha256: String,
        /// Which piece, from 1.
        piece: usize,
        /// Of how many.
        of: usize,
        /// The piece.
        text: String,
    },
    /// From now on settings, targets and policy are these.
    RulesInForce {
        /// Who wanted it.
        by: By,
        /// The files that they were read from.
        files: Vec<FileSum>,
    },
    /// Settings, targets or policy were to be read again and are wrong; the old ones stay.
    RulesRefused {
        /// Who wanted it.
        by: By,
        /// What is wrong, and where.
        why: String,
    },
    /// Somebody signed in.
    SignedIn {
        /// Who.
        person: Person,
        /// From where.
        source: SocketAddr,
        /// The connection, as sessions name it.
        connection: String,
        /// The key that she proved, if any.
        key: Option<String>,
        /// When she did so at the provider: seconds since 1970 (UTC). Long ago if the key alone was enough now.
        #[serde(serialize_with = "times::serialize_s")]
        at_provider: i64,
        /// The certificate that let her in, if it was one.
        certificate: Option<Certificate>,
    },
    /// Somebody was not let in.
    SignInRefused {
        /// The user name that was given.
        user: String,
        /// From where.
        source: SocketAddr,
        /// The key that was proven, if any.
        key: Option<String>,
        /// Who she is as far as the provider or her authority says, if it was asked.
        person: Option<Person>,
        /// Why.
        why: String,
    },
    /// Too many proofs of an address failed: it is turned away until the minute is over.
    SourceTurnedAway {
        /// From where the last of them came.
        source: SocketAddr,
        /// How many failed.
        failed: usize,
    },
    /// A key signs its owner in from now on.
    KeyBound {
        /// Its owner.
        person: Person,
        /// The key.
        key: String,
        /// Where she signed in from.
        source: String,
        /// Until when: seconds since 1970 (UTC).
        #[serde(serialize_with = "times::serialize_s")]
        expires_at: i64,
    },
    /// A key signs nobody in any more.
    BindingRevoked {
        /// Its owner.
        person: Person,
        /// The key.
        key: String,
        /// Who wanted it.
        by: By,
    },
    /// The provider does not vouch for somebody any more: what she is in by ends.
    NotVouchedFor {
        /// Who.
        person: Person,
        /// The key that signed her in, if it was bound; it signs nobody in any more.
        key: Option<String>,
        /// What the provider said.
        why: String,
    },
    /// The provider, asked again, gives no answer about somebody that could be used. Said once until it does.
    NotAnsweredFor {
        /// Who. What she is in by goes on.
        person: Person,
        /// The key that signed her in, if it is bound.
        key: Option<String>,
        /// What is wrong with the answer.
        why: String,
    },
    /// Somebody is a member of other groups at the provider now. Keys that were bound before sign nobody in any more.
    GroupsChanged {
        /// Who, with her groups as they are now.
        person: Person,
        /// Those that she was in by.
        before: Vec<String>,
    },
    /// Connections and sessions are ended.
    ConnectionsEnded {
        /// Those of the person with this name.
        name: Option<String>,
        /// Those of the person with this id at the provider.
        subject: Option<String>,
        /// Those that this key opened. Without any of the three: all.
        key: Option<String>,
        /// Who wanted it.
        by: By,
    },
    /// A name belongs to a person from now on.
    NameTaken {
        /// Her.
        person: Person,
    },
    /// A name is anybody's again.
    NameReleased {
        /// The name.
        name: String,
        /// Who wanted it.
        by: By,
    },
    /// The policy said no.
    Denied {
        /// Who asked.
        person: Person,
        /// The connection.
        connection: String,
        /// For which target.
        target: String,
        /// As which login, if she said.
        login: Option<String>,
        /// What kind of channel.
        channel: String,
        /// Why: the rule, or that none allows it.
        why: String,
    },
    /// A certificate put its command in the place of what was asked for.
    CommandForced {
        /// Who asked.
        person: Person,
        /// The connection.
        connection: String,
        /// The command of the certificate.
        command: String,
        /// What was asked for: `shell`, `exec COMMAND` or `subsystem NAME`.
        asked: String,
    },
    /// So many refusals before this entry were counted only.
    LeftOut {
        /// How many.
        refusals: u64,
        /// Of those from there: an address, or a network of IPv6.
        source: Option<String>,
        /// Of hers. Without either, of several whom nothing was written about.
        person: Option<Person>,
    },
    /// A key was made in the vault.
    KeyMade {
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// By whom.
        by: By,
    },
    /// A key that was made elsewhere was taken into the vault.
    KeyImported {
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// By whom.
        by: By,
    },
    /// A key made way for its successor.
    KeyRetired {
        /// The name of both.
        name: String,
        /// The key that is gone.
        key: String,
        /// The key that has the name now.
        successor: String,
        /// By whom.
        by: By,
    },
    /// A key was taken out of the vault.
    KeyRemoved {
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// By whom.
        by: By,
    },
    /// A password for targets was kept in the vault.
    PasswordSet {
        /// Its name.
        name: String,
        /// By whom.
        by: By,
    },
    /// A password for targets was taken out of the vault.
    PasswordRemoved {
        /// Its name.
        name: String,
        /// By whom.
        by: By,
    },
    /// The vault was encrypted anew, under another master key.
    MasterKeyChanged {
        /// The file that holds the new one.
        file: String,
        /// How many keys are in the vault.
        keys: usize,
        /// How many secrets.
        secrets: usize,
        /// By whom.
        by: By,
    },
    /// A target's host keys were pinned.
    TargetPinned {
        /// The target.
        target: String,
        /// Its keys.
        keys: Vec<String>,
        /// By whom.
        by: By,
    },
}

/// Who wanted something done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A person, signed in.
    Person(Person),
    /// A user of the machine that the bastion runs on: by number, and by name if it is known.
    Local {
        /// The number.
        uid: u32,
        /// The name.
        user: Option<String>,
    },
    /// A signal, as from the service manager.
    Signal(String),
    /// The bastion by itself.
    Bastion,
}

impl By {
    /// A user of this machine.
    pub fn local(uid: u32) -> By {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        By::Local { uid, user: named }
    }

    /// Whoever runs this command.
    pub fn me() -> By {
        By::local(rustix::process::getuid().as_raw())
    }
}

/// A file by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSum {
    /// The file.
    pub file: String,
    /// SHA-256 of its text, in hex.
    pub sha256: String,
}

impl FileSum {
    /// The hash of what was read.
    pub fn of(read: &FileRead) -> FileSum {
        let sum = Sha256::digest(read.text.as_bytes());
        FileSum {
            file: read.file.display().to_string(),
            sha256: sum.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// An act, and when it was written.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    /// Microseconds since 1970 (UTC), by this machine's clock.
    pub(super) time_us: u64,
    #[serde(flatten)]
    pub(super) act: &'a Act,
}

/// Who a principal is, for an entry or a header.
pub fn person(principal: &Principal) -> Person {
    let Principal { issuer, subject, name, email, groups, .. } = principal;
    person_of(issuer, subject, name, email.as_deref(), groups)
}

/// The same of what a provider or a binding says of her.
pub fn person_of(
    issuer: &str,
    subject: &str,
    name: &Name,
    email: Option<&str>,
    groups: &BTreeSet<String>,
) -> Person {
    Person {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        name: name.to_string(),
        email: email.map(str::to_owned),
        groups: groups.iter().cloned().collect(),
    }
}

/// The certificate that let a principal in, for an entry or a header.
pub fn certificate(principal: &Principal) -> Option<Certificate> {
    principal.certificate.as_ref().map(|certificate| Certificate {
        authority: certificate.authority.clone(),
        serial: certificate.serial,
        key_id: certificate.key_id.clone(),
    })
}
