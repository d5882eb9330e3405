//! Why the vault did not do what was asked.

use std::{fmt, path::PathBuf};

use super::{FILE, secrets::SECRET_BYTES_MAX, stored::VERSION};
use crate::secret_file::SecretFileFault;

/// As in the names of targets: no path, no option.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// What the vault holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A private key, with its public half.
    Key,
    /// Bytes that nobody else may know.
    Secret,
}

impl Kind {
    /// Whoever keeps secrets for things that have such names puts a word of his own before them.
    pub(super) fn name_bytes_max(self) -> usize {
        match self {
            Kind::Key => NAME_BYTES_MAX,
            Kind::Secret => NAME_BYTES_MAX + 32,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Key => "key",
            Kind::Secret => "secret",
        })
    }
}

/// Why the vault did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultFault {
    /// Its file is not fit for secrets, or cannot be read or written.
    #[error(transparent)]
    File(#[from] SecretFileFault),
    /// Its file is no vault: cut, or damaged.
    #[error("{} is no vault that can be read: {why}", file.display())]
    Damaged {
        /// The vault's file.
        file: PathBuf,
        /// What the reader met; never a byte of a secret.
        why: String,
    },
    /// A newer program wrote it.
    #[error("{} has format version {version}, and this program reads {VERSION}", file.display())]
    Version {
        /// The vault's file.
        file: PathBuf,
        /// What it says.
        version: u32,
    },
    /// The master key is another one than it was made with.
    #[error("{} was made with another master key", file.display())]
    WrongMasterKey {
        /// The vault's file.
        file: PathBuf,
    },
    /// One entry was changed since it was written.
    #[error("{kind} {name:?} in {} was changed since it was written", file.display())]
    EntryDamaged {
        /// The vault's file.
        file: PathBuf,
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Nothing of that name.
    #[error("there is no {kind} {name:?} in {}", file.display())]
    Unknown {
        /// The vault's file.
        file: PathBuf,
        /// What was looked for.
        kind: Kind,
        /// What was asked for.
        name: String,
    },
    /// There is one of that name.
    #[error("there is a key {name:?} already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// It is the host key, or a successor itself.
    #[error("key {name:?} is not one that is rotated")]
    NotRotated {
        /// The name.
        name: String,
    },
    /// No name for a key or a secret.
    #[error(
        "{name:?} is no name for a {kind}: 1 to {} letters, digits, '.', '_' or '-', and a letter or digit first",
        kind.name_bytes_max()
    )]
    NotAName {
        /// What was to be named.
        kind: Kind,
        /// What was given, cut.
        name: String,
    },
    /// What was to be imported is no private key that we take.
    #[error("that is no private key that can be imported: {0}")]
    NotAKey(NotAKey),
    /// A secret of no bytes, or of too many.
    #[error("a secret has 1 to {SECRET_BYTES_MAX} bytes, and {name:?} would have {bytes}")]
    SecretSize {
        /// Its name.
        name: String,
        /// What was given.
        bytes: usize,
    },
    /// The system has no random bytes, or its cryptography failed.
    #[error("the system's cryptography failed while it worked on {name:?}")]
    Crypto {
        /// The key or secret.
        name: String,
    },
}

/// Why a text is no private key that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// Something else.
    #[error("it is not in OpenSSH's format")]
    Format,
    /// It asks for a passphrase.
    #[error("it is encrypted with a passphrase")]
    Passphrase,
    /// RSA, DSA, or a key that lives in a token.
    #[error("only Ed25519 and ECDSA keys are taken")]
    Kind,
}

impl VaultFault {
    /// What to do about it.
    pub fn way_out(&self) -> String {
        match self {
            VaultFault::File(SecretFileFault::Io { file, cause })
                if cause.kind() == std::io::ErrorKind::NotFound && file.ends_with(FILE) =>
            {
                "`bastion init` makes a vault".into()
            }
            VaultFault::File(fault) => fault.way_out(),
            VaultFault::Damaged { .. } | VaultFault::EntryDamaged { .. } => {
                "restore vault.json from your backup; docs/master-key.md says how to begin anew without one".into()
            }
            VaultFault::Version { .. } => "run the newer bastion that wrote it".into(),
            VaultFault::WrongMasterKey { .. } => {
                "give the master key that belongs to this vault; docs/master-key.md says what to do if it is lost"
                    .into()
            }
            VaultFault::Unknown { kind: Kind::Key, name, .. } => format!("bastion key new {name}"),
            VaultFault::Unknown { kind: Kind::Secret, .. } => "give it anew".into(),
            VaultFault::SecretSize { .. } => "give another one".into(),
            VaultFault::NameTaken { .. } => "take another name; `bastion key list` shows those in use".into(),
            VaultFault::NotRotated { .. } => {
                "rotate a key that opens targets, or signs certificates that do: bastion key list".into()
            }
            VaultFault::NotAName { .. } => "gateway-2026".into(),
            VaultFault::NotAKey(NotAKey::Format) => "ssh-keygen -p -f FILE writes OpenSSH's format".into(),
            VaultFault::NotAKey(NotAKey::Passphrase) => {
                "ssh-keygen -p -N '' -f FILE on a copy that you destroy afterwards".into()
            }
            VaultFault::NotAKey(NotAKey::Kind) => "ssh-keygen -t ed25519 makes a key that is taken".into(),
            VaultFault::Crypto { .. } => "look at the system's log".into(),
        }
    }
}
