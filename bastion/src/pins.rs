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
    KnownHosts::parse(&text(folder, target)?).map_err(|fault| PinsFault::Line { file, fault })
}

/// The text of a target's pins; empty if it was never pinned.
fn text(folder: &Path, target: &Name) -> Result<String, PinsFault> {
    let file = folder.join(target.as_str());
    // A pin that others could write would let them answer in the target's place: kept as strictly as a secret.
    let bytes = match secret_file::read(&file) {
        Ok(bytes) => bytes,
        Err(SecretFileFault::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
            return Ok(String::new());
        }
        Err(fault) => return Err(fault.into()),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| PinsFault::NotText { file })?;
    Ok(text.to_owned())
}

/// Writes `pin` as the only pinned key of `target`. Lines that begin with `@` or `#` stay: an administrator has written
/// them, and a `@revoked` that is lost lets a stolen key back in.
///
/// # Errors
/// If they cannot be written, or what is there cannot be read; the old ones are then still there.
pub fn write(folder: &Path, target: &Name, pin: &str) -> Result<(), PinsFault> {
    secret_file::make_folder(folder)?;
    let before = text(folder, target)?;
    let kept = before.lines().filter(|line| line.trim_start().starts_with(['@', '#']));
    let text: String = kept.chain([pin]).flat_map(|line| [line, "\n"]).collect();
    Ok(secret_file::replace(&folder.join(target.as_str()), text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    #[test]
    fn a_new_pin_takes_the_place_of_the_old_one_and_of_nothing_that_an_administrator_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let (pins, web1) = (folder.path().join("pins"), "web1".parse().unwrap());
        write(&pins, &web1, &format!("web1 {A}")).unwrap();
        let by_hand = format!("# stolen in May\n@revoked * {A}\n @cert-authority *.example {B}\n");
        secret_file::replace(&pins.join("web1"), format!("{by_hand}web1 {A}\n").as_bytes()).unwrap();

        write(&pins, &web1, &format!("web1 {B}")).unwrap();
        assert_eq!(text(&pins, &web1).unwrap(), format!("{by_hand}web1 {B}\n"));
        assert_eq!(read(&pins, &web1).unwrap().len(), 3);
    }
}
