//! Whose certificates let their holders in: `[login.certificates]`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use russh::keys::{Algorithm, PublicKey, ssh_key::public::KeyData};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::toml_file::{FileRead, Place, Problem, SettingsFault, Source, some_time};

/// An RSA key that is shorter than this is no authority.
const RSA_BITS_MIN: u32 = 2048;

/// So much of what is no key is shown.
const SHOWN_CHARS_MAX: usize = 40;

/// `[login.certificates]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Certificates {
    /// The authorities: whoever shows a certificate of theirs that is made out to her name is in. Without any, certificates
    /// are worth nothing.
    #[serde(deserialize_with = "authorities")]
    pub authorities: Vec<PublicKey>,
    /// A file with more of them.
    pub authorities_file: Option<PathBuf>,
    /// For how long a certificate may be valid in all, from its first moment to its last.
    #[serde(deserialize_with = "some_time")]
    pub length_max: Duration,
}

/// A day: what must be renewed that often is not forgotten on an old disk.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Certificates {
    fn default() -> Self {
        Certificates { authorities: Vec::new(), authorities_file: None, length_max: LENGTH_MAX }
    }
}

impl Certificates {
    /// These, with the authorities of the file that they name, and the file as it was read.
    ///
    /// # Errors
    /// If the file cannot be read, or has a line that is no plain public key.
    pub(super) fn with_file(mut self, source: &Source) -> Result<(Self, Option<FileRead>), SettingsFault> {
        let Some(named) = &self.authorities_file else { return Ok((self, None)) };
        let path = source.beside(named);
        let file = Source::read(&path).map_err(|fault| SettingsFault {
            place: source.place_of(&["login", "certificates", "authorities_file"]),
            problem: Problem::Wrong {
                key: "login.certificates.authorities_file".into(),
                value: path.display().to_string(),
                why: fault.problem.to_string(),
                way_out: "name a file that is there and may be read".into(),
            },
        })?;
        self.authorities.extend(read(&path, file.as_str())?);
        self.authorities_file = Some(path);
        Ok((self, Some(file.as_read())))
    }
}

/// One key a line; empty lines and those that begin with `#` are left out.
fn read(file: &Path, text: &str) -> Result<Vec<PublicKey>, SettingsFault> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    keys.map(|(number, line)| {
        authority(line).map_err(|why| SettingsFault {
            place: Place { file: file.to_owned(), line: Some(number) },
            problem: Problem::Wrong {
                key: "authority".into(),
                value: shown(line),
                why,
                way_out: WAY_OUT.into(),
            },
        })
    })
    .collect()
}

const WAY_OUT: &str =
    "the line of the authority's .pub file, as `ssh-keygen` writes it: \"ssh-ed25519 AAAA... name\"";

fn authorities<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PublicKey>, D::Error> {
    let lines = Vec::<String>::deserialize(from)?;
    let read = |line: &String| {
        authority(line.trim()).map_err(|why| {
            D::Error::custom(format!("{:?} is no authority: {why}; write {WAY_OUT}", shown(line)))
        })
    };
    lines.iter().map(read).collect()
}

/// A plain public key that may vouch for people; or why it may not.
fn authority(line: &str) -> Result<PublicKey, String> {
    let kind = line.split_whitespace().next().unwrap_or_default();
    if kind.contains("-cert-v01@") {
        return Err("it is a certificate, and what a certificate signs counts for nothing".into());
    }
    if line.contains("PRIVATE KEY") {
        return Err("it is a private key, which has no place here".into());
    }
    if kind == "cert-authority" || kind == "@cert-authority" {
        return Err("all keys here are authorities, so the key stands alone".into());
    }
    let key = PublicKey::from_openssh(line).map_err(|fault| format!("it is no public key ({fault})"))?;
    match key.key_data() {
        KeyData::Rsa(rsa) if rsa.key_size() < RSA_BITS_MIN => {
            Err(format!("an RSA key of {} bits can be forged: {RSA_BITS_MIN} is the least", rsa.key_size()))
        }
        KeyData::Rsa(_)
        | KeyData::Ed25519(_)
        | KeyData::Ecdsa(_)
        | KeyData::SkEd25519(_)
        | KeyData::SkEcdsaSha2NistP256(_) => Ok(key),
        _ => Err(format!("a key of kind {} cannot sign certificates here", named(&key.algorithm()))),
    }
}

fn named(algorithm: &Algorithm) -> &str {
    algorithm.as_str()
}

/// Enough to find it by. Of a private key that somebody has put here, nothing.
fn shown(line: &str) -> String {
    match line.contains("PRIVATE KEY") {
        true => "-----BEGIN...".to_owned(),
        false => line.chars().take(SHOWN_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::settings::Settings;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ people";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK6xQ8lHFVpOXqTPnHYxUCCL1sqA8hRWGsxzyZhIgkL1";

    /// Settings with these lines in the table, and this file beside them.
    fn load(lines: &str, file: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let login = "[login]\nissuer = \"https://id.example\"\nclient_id = \"bastion\"\n";
        fs::write(folder.path().join("bastion.toml"), format!("{login}[login.certificates]\n{lines}\n"))
            .unwrap();
        fs::write(folder.path().join("authorities"), file).unwrap();
        let beside = format!("{}/", folder.path().display());
        Settings::load(&folder.path().join("bastion.toml"))
            .map_err(|fault| format!("{fault}; try: {}", fault.way_out()).replace(&beside, ""))
    }

    #[test]
    fn authorities_of_settings_and_file_count_and_the_file_is_among_what_was_read() {
        let lines =
            format!("authorities = [{KEY:?}]\nauthorities_file = \"authorities\"\nlength_max = \"8h\"");
        let settings = load(&lines, &format!("# ours\n\n  {OTHER}\r\n")).unwrap();

        let certificates = &settings.login.certificates;
        let known: Vec<String> =
            certificates.authorities.iter().map(|key| key.to_openssh().unwrap()).collect();
        assert_eq!(known, [KEY, OTHER]);
        assert_eq!(certificates.length_max.as_secs(), 8 * 3600);
        assert_eq!(settings.read.iter().filter(|read| read.text.contains(OTHER)).count(), 1);
        assert_eq!(Certificates::default().authorities, []);
    }

    #[test]
    fn what_is_no_plain_strong_key_is_refused_by_name_with_its_place() {
        let certificate = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQ";
        let dsa = "ssh-dss AAAAB3NzaC1kc3MAAAAC";
        let rsa_of_1024_bits = include_str!("certificates/rsa_1024.pub").trim();
        for (line, why) in [
            (certificate, "it is a certificate"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "it is a private key"),
            ("cert-authority ssh-ed25519 AAAA", "so the key stands alone"),
            (rsa_of_1024_bits, "an RSA key of 1024 bits can be forged: 2048 is the least"),
            (dsa, "it is no public key"),
            ("people", "it is no public key"),
        ] {
            let fault = load("authorities_file = \"authorities\"", &format!("{KEY}\n{line}\n")).unwrap_err();
            assert!(fault.starts_with("authorities:2: authority = ") && fault.contains(why), "{fault}");
            let fault = load(&format!("authorities = [{line:?}]"), "").unwrap_err();
            assert!(fault.starts_with("bastion.toml:5: ") && fault.contains(why), "{fault}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_and_a_length_of_nothing_are_refused() {
        let fault = load("authorities_file = \"nowhere\"", "").unwrap_err();
        assert!(
            fault.contains(
                "bastion.toml:5: login.certificates.authorities_file = \"nowhere\": cannot be read"
            ),
            "{fault}"
        );
        assert!(load("length_max = \"0s\"", "").unwrap_err().contains("would let nobody in"));
        assert!(load("length = \"1h\"", "").unwrap_err().contains("length_max"));
    }

    #[test]
    fn nothing_of_a_private_key_is_told() {
        let secret = "b3BlbnNzaC1rZXktdjEA";
        let one_line = format!("-----BEGIN OPENSSH PRIVATE KEY----- {secret}");
        let fault = load("authorities_file = \"authorities\"", &one_line).unwrap_err();
        assert!(!fault.contains(secret), "{fault}");
        let fault = load(&format!("authorities = [{one_line:?}]"), "").unwrap_err();
        assert!(!fault.contains(secret), "{fault}");
    }
}
