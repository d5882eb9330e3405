//! Where things are: the project, what was built of it, the machine's own programs.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The folder with the workspace's Cargo.toml.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// A program of the workspace, of the same build as the one that asks.
///
/// # Panics
/// If it was not built: cargo builds the programs of a package for that package's own tests alone.
pub fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program has a path");
    let folder = own.parent().expect("a program lies in a folder");
    // Tests lie in <profile>/deps, programs in <profile>.
    let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    let program = profile.expect("deps lies in a profile's folder").join(name);
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build --workspace`, or tests/run",
        program.display()
    );
    program
}

/// Is this program on the machine?
pub fn have(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v -- \"$1\" >/dev/null", "sh", program]).status();
    found.is_ok_and(|status| status.success())
}

/// One of the machine's programs, which need not be on the PATH of an ordinary user.
///
/// # Panics
/// If it is in none of `places`.
pub(super) fn machine(name: &str, places: &[&str]) -> PathBuf {
    let found = places.iter().map(Path::new).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {name} in {places:?}: tests/run installs it")).to_owned()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has free ports");
    listener.local_addr().expect("a listener has an address").port()
}

/// A folder that goes with the value. Its path is short: sockets in it must fit into 108 bytes.
pub fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("bastion-").tempdir().expect("a temporary folder can be made")
}

/// So many bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&word());
    }
    bytes.truncate(len);
    bytes
}

/// The SHA-256 of a file, as `sha256sum` prints it.
///
/// # Panics
/// If the file cannot be read.
pub fn digest(file: &Path) -> String {
    let told = Command::new("sha256sum").arg(file).output().expect("sha256sum runs");
    assert!(told.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&told.stderr));
    String::from_utf8_lossy(&told.stdout).chars().take(64).collect()
}
