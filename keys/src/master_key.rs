//! The key that all other keys are encrypted under, and where it comes from.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use crate::secret_file::{self, SecretFileFault};

/// The variable that may hold the master key.
pub const MASTER_KEY_VARIABLE: &str = "BASTION_MASTER_KEY";

/// The name of the systemd credential that may hold it.
pub const MASTER_KEY_CREDENTIAL: &str = "master-key";

/// AES-256.
const BYTES: usize = 32;

/// 32 random bytes, written as base64. Wiped when dropped; never shown.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; BYTES]>);

/// Where a master key was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /// The variable [`MASTER_KEY_VARIABLE`].
    Environment,
    /// The systemd credential [`MASTER_KEY_CREDENTIAL`].
    Credential(PathBuf),
    /// The file that settings name.
    File(PathBuf),
}

impl fmt::Display for MasterKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MasterKeySource::Environment => write!(f, "the variable {MASTER_KEY_VARIABLE}"),
            MasterKeySource::Credential(file) => write!(f, "the systemd credential {}", file.display()),
            MasterKeySource::File(file) => write!(f, "{}", file.display()),
        }
    }
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyFault {
    /// Nobody said where it is.
    #[error(
        "there is no master key: no {MASTER_KEY_VARIABLE}, no systemd credential {MASTER_KEY_CREDENTIAL}, no file"
    )]
    Nowhere,
    /// What was found is none.
    #[error("{0} holds no master key: 32 bytes as base64 are 44 characters")]
    NotAKey(MasterKeySource),
    /// Its file is not fit for a secret.
    #[error(transparent)]
    File(#[from] SecretFileFault),
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl MasterKeyFault {
    /// What to do about it.
    pub fn way_out(&self) -> String {
        match self {
            MasterKeyFault::Nowhere => "set keys.master_key_file; `bastion init` makes one".into(),
            MasterKeyFault::NotAKey(_) => {
                "restore it from your backup; a new one (`openssl rand -base64 32`) opens no old vault".into()
            }
            MasterKeyFault::File(fault) => fault.way_out(),
            MasterKeyFault::Random(_) => "look at the system's log".into(),
        }
    }
}

impl MasterKey {
    /// Finds it: in the environment, else as a systemd credential, else in `file`.
    ///
    /// # Errors
    /// If it is nowhere, or what is found first is none. A wrong one is never passed over for the next.
    pub fn find(file: Option<&Path>) -> Result<(Self, MasterKeySource), MasterKeyFault> {
        let variable = env::var_os(MASTER_KEY_VARIABLE).map(|text| Zeroizing::new(text.into_encoded_bytes()));
        let folder = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        MasterKey::find_in(variable, folder.as_deref(), file)
    }

    fn find_in(
        variable: Option<Zeroizing<Vec<u8>>>,
        credentials: Option<&Path>,
        file: Option<&Path>,
    ) -> Result<(Self, MasterKeySource), MasterKeyFault> {
        let credential =
            credentials.map(|folder| folder.join(MASTER_KEY_CREDENTIAL)).filter(|file| file.exists());
        let (text, source) = match (variable, credential, file) {
            (Some(text), _, _) => (text, MasterKeySource::Environment),
            (None, Some(file), _) => {
                (secret_file::read_credential(&file)?, MasterKeySource::Credential(file))
            }
            (None, None, Some(file)) => (secret_file::read(file)?, MasterKeySource::File(file.to_owned())),
            (None, None, None) => return Err(MasterKeyFault::Nowhere),
        };
        match MasterKey::decode(&text) {
            Some(key) => Ok((key, source)),
            None => Err(MasterKeyFault::NotAKey(source)),
        }
    }

    /// Reads it from this file.
    ///
    /// # Errors
    /// If the file is not fit for a secret, or holds no master key.
    pub fn read(file: &Path) -> Result<Self, MasterKeyFault> {
        let text = secret_file::read(file)?;
        let none = || MasterKeyFault::NotAKey(MasterKeySource::File(file.to_owned()));
        MasterKey::decode(&text).ok_or_else(none)
    }

    /// A new one.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn generate() -> Result<Self, MasterKeyFault> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(MasterKeyFault::Random)?;
        Ok(MasterKey(bytes))
    }

    /// Writes it into a file that is not there yet, with mode 0600.
    ///
    /// # Errors
    /// If the file is there, or cannot be written.
    pub fn write_new(&self, file: &Path) -> Result<(), MasterKeyFault> {
        let mut text = Zeroizing::new(BASE64_STANDARD.encode(self.0.as_slice()));
        text.push('\n');
        Ok(secret_file::write_new(file, text.as_bytes())?)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        // One byte more than a key has, so that a longer text is seen and not cut.
        let mut decoded = Zeroizing::new([0; BYTES + 4]);
        let length = BASE64_STANDARD.decode_slice(text.trim_ascii(), decoded.as_mut_slice()).ok()?;
        bytes.copy_from_slice(decoded.get(..length).filter(|decoded| decoded.len() == BYTES)?);
        Some(MasterKey(bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const TEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn variable(text: &str) -> Option<Zeroizing<Vec<u8>>> {
        Some(Zeroizing::new(text.as_bytes().to_vec()))
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        folder
    }

    #[test]
    fn a_master_key_is_found_in_the_environment_then_with_systemd_then_in_its_file() {
        let folder = folder();
        let file = folder.path().join("master.key");
        MasterKey::generate().unwrap().write_new(&file).unwrap();
        let found = |text, credentials| MasterKey::find_in(text, credentials, Some(&file)).unwrap();

        assert_eq!(found(None, None).1, MasterKeySource::File(file.clone()));
        assert_eq!(found(None, Some(folder.path())).1, MasterKeySource::File(file.clone()));

        let credential = folder.path().join(MASTER_KEY_CREDENTIAL);
        fs::copy(&file, &credential).unwrap();
        assert_eq!(found(None, Some(folder.path())).1, MasterKeySource::Credential(credential));

        let (key, source) = found(variable(TEXT), Some(folder.path()));
        assert_eq!(source, MasterKeySource::Environment);
        assert_eq!(key.bytes(), (0..32).collect::<Vec<u8>>());
    }

    #[test]
    fn what_is_no_master_key_is_refused_and_never_passed_over_for_the_next() {
        let folder = folder();
        let file = folder.path().join("master.key");
        MasterKey::generate().unwrap().write_new(&file).unwrap();

        for text in ["", "short", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", &TEXT.repeat(2), "\u{0}"] {
            let fault = MasterKey::find_in(variable(text), None, Some(&file)).err().unwrap();
            assert!(matches!(fault, MasterKeyFault::NotAKey(MasterKeySource::Environment)), "{text:?}");
            assert!(text.len() < 6 || !fault.to_string().contains(text), "a wrong key is not shown either");
        }
        assert!(matches!(MasterKey::find_in(None, None, None), Err(MasterKeyFault::Nowhere)));
    }

    #[test]
    fn a_master_key_file_that_others_can_read_is_refused() {
        let folder = folder();
        let file = folder.path().join("master.key");
        MasterKey::generate().unwrap().write_new(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();

        let fault = MasterKey::find_in(None, None, Some(&file)).err().unwrap();
        assert!(matches!(fault, MasterKeyFault::File(SecretFileFault::Mode { .. })));
        assert_eq!(fault.way_out(), format!("chmod 600 {}", file.display()));
    }
}
