//! Who may write what the bastion obeys.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Report;
use crate::settings::Settings;

/// Write permission of the group and of everybody.
const OTHERS_WRITE: u32 = 0o022;

/// In such a folder (as /tmp) nobody removes what is another's.
const STICKY: u32 = 0o1000;

impl Report {
    /// Whoever writes settings or policy decides who may reach what.
    pub(super) fn look_at_modes(&mut self, settings: &Settings) {
        let read = settings.read.iter().map(|read| read.file.clone());
        let files: BTreeSet<PathBuf> = read.chain([settings.policy.clone()]).collect();
        let folder = |file: &PathBuf| match file.parent() {
            Some(folder) if folder == Path::new("") => Some(PathBuf::from(".")),
            folder => folder.map(Path::to_owned),
        };
        let folders: BTreeSet<PathBuf> = files.iter().filter_map(folder).collect();
        for path in files.iter().chain(&folders) {
            // What is not there, or cannot be looked at, is told where it is read.
            let Ok(about) = fs::metadata(path) else { continue };
            let is_safe_folder = about.is_dir() && about.mode() & STICKY != 0;
            if about.mode() & OTHERS_WRITE != 0 && !is_safe_folder {
                let shown = path.display();
                let what = if about.is_dir() { "put other settings there" } else { "change what it says" };
                self.warn(
                    format!(
                        "{shown} has mode {:04o}: others than its owner can {what}",
                        about.mode() & 0o7777
                    ),
                    format!("chmod go-w {shown}"),
                );
            }
        }
    }
}
