//! With which key each target was last opened while that key is being replaced: what tells an operator when the old one may go.
//!
//! One small file for each login of a target, in the data folder, written by the server and read by `bastion key`. A
//! convenience and no evidence: what cannot be read counts as never.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gate::Name;
use keys::{SecretFileFault, secret_file};
use serde::{Deserialize, Serialize};

/// What is known already is written again after so many seconds: a playbook opens a target a thousand times.
const AGAIN_AFTER: i64 = 60;

/// A target was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Fingerprint of the key, or of the authority that signed.
    pub key: String,
    /// When: seconds since 1970 (UTC).
    pub at: i64,
}

/// When this login of this target was last opened in a rotation, and with what.
pub fn last(folder: &Path, target: &Name, login: &Name) -> Option<Opened> {
    serde_json::from_slice(&fs::read(file(folder, target, login)).ok()?).ok()
}

/// Notes it.
///
/// # Errors
/// When it cannot be written.
pub fn note(folder: &Path, target: &Name, login: &Name, now: Opened) -> Result<(), SecretFileFault> {
    let is_known = |known: &Opened| known.key == now.key && (0..AGAIN_AFTER).contains(&(now.at - known.at));
    if last(folder, target, login).as_ref().is_some_and(is_known) {
        return Ok(());
    }
    let file = file(folder, target, login);
    let fault = |cause| SecretFileFault::Io { file: file.clone(), cause };
    let text = serde_json::to_vec(&now).map_err(|cause| fault(cause.into()))?;
    secret_file::make_folder(&folder.join(target.as_str()))?;
    secret_file::replace(&file, &text)
}

fn file(folder: &Path, target: &Name, login: &Name) -> PathBuf {
    folder.join(target.as_str()).join(login.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_key_of_each_login_is_known_and_what_cannot_be_read_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let opened = folder.path().join("opened");
        let [web1, root, ana] = ["web1", "root", "ana"].map(|name| name.parse::<Name>().unwrap());
        let noted = |key: &str, at| {
            note(&opened, &web1, &root, Opened { key: key.into(), at }).unwrap();
            last(&opened, &web1, &root).map(|opened| (opened.key, opened.at))
        };
        assert_eq!(last(&opened, &web1, &root), None);
        assert_eq!(noted("old", 1000), Some(("old".into(), 1000)));
        assert_eq!(noted("old", 1059), Some(("old".into(), 1000)), "it is known");
        assert_eq!(noted("old", 1060), Some(("old".into(), 1060)));
        assert_eq!(noted("new", 1061), Some(("new".into(), 1061)));
        assert_eq!(noted("new", 10), Some(("new".into(), 10)), "a clock that was set back");
        assert_eq!(last(&opened, &web1, &ana), None);

        fs::write(opened.join("web1/root"), "{").unwrap();
        assert_eq!(last(&opened, &web1, &root), None);
        assert_eq!(noted("new", 11), Some(("new".into(), 11)));
    }
}
