//! Packages of npm's that tests run or show.

use std::{fs::File, path::Path, process::Command};

/// `npm ci` in a folder, once: tests run side by side, so the first to hold the lock does it.
///
/// # Panics
/// If it fails, or npm is not there.
pub fn install(home: &Path) {
    let lock = File::create(home.join(".install.lock")).expect("the folder can be written");
    lock.lock().expect("a file can be locked");
    let wanted = std::fs::read(home.join("package-lock.json")).expect("package-lock.json is there");
    let mark = home.join("node_modules/.installed");
    if std::fs::read(&mark).is_ok_and(|have| have == wanted) {
        return;
    }
    let done = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(home)
        .output()
        .expect("npm is installed");
    assert!(done.status.success(), "npm ci fails: {}", String::from_utf8_lossy(&done.stderr));
    std::fs::write(&mark, wanted).expect("node_modules can be written");
}
