//! The host keys that an administrator has confirmed: one file for each target, in the data folder.
//!
//! A pin is asked for at each dial, so a new one holds at once. It counts beside the host keys that settings name.

use std::path::{Path, PathBuf};

use gate::Name;
use keys::{KnownHosts, KnownHostsFault, SecretFileFault, secret_file};

/// Why the pins of a target cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PinsFault {
    /// Others could have written it, or it cannot be read or written.
    #[error(transparent)]
    File(#[from] SecretFileFault),
    /// Its text is none.
    #[error("{}: {fault}", file.display())]
    Line {
        /// The pin file.
        file: PathBuf,
        /// What is wrong in it.
        fault: KnownHostsFault,
    },
    /// It is not text.
    #[error("{} is no text", file.display())]
    NotText {
        /// The pin file.
        file: PathBuf,
    },
}

impl PinsFault {
    /// What to do about it.
    pub fn way_out(&self) -> String {
        match self {
            PinsFault::File(fault) => fault.way_out(),
            PinsFault::Line { file, .. } | PinsFault::NotText { file } => {
                format!("remove {}, then pin the target anew", file.display())
            }
        }
    }
}

/// The pins of `target`; none if it was never pinned.
///
/// # Errors
/// If the file is there and cannot be trusted or read.
pub fn read(folder: &Path, target: &Name) -> Result<KnownHosts, PinsFault> {
    let file = folder.join(target.as_str());
    // A pin that others could write would let them answer in the target's place: kept as strictly as a secret.
    let bytes = match secret_file::read(&file) {
        Ok(bytes) => bytes,
        Err(SecretFileFault::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
            return Ok(KnownHosts::default());
        }
        Err(fault) => return Err(fault.into()),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| PinsFault::NotText { file: file.clone() })?;
    KnownHosts::parse(text).map_err(|fault| PinsFault::Line { file, fault })
}

/// Writes `lines` as the only pins of `target`.
///
/// # Errors
/// If they cannot be written; the old ones are then still there.
pub fn write(folder: &Path, target: &Name, lines: &[String]) -> Result<(), PinsFault> {
    secret_file::make_folder(folder)?;
    let mut text = lines.join("\n");
    text.push('\n');
    Ok(secret_file::replace(&folder.join(target.as_str()), text.as_bytes())?)
}
