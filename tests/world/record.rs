//! What a recording has, and what lies in a data folder, looked through byte by byte.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
};

use recording::{CastReader, Event, What};
use serde_json::Value;

use super::{LONG, Program, TestBastion};

/// The bytes of a recording, kind by kind, each joined.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// What the client sent, as far as its content was kept.
    pub input: Vec<u8>,
    /// What the target's standard output said.
    pub output: Vec<u8>,
    /// What its standard error said.
    pub errors: Vec<u8>,
}

/// All events of a recording, as `replay export` tells them.
///
/// # Panics
/// If the recording cannot be read to its end.
#[track_caller]
pub fn events_of(bastion: &TestBastion, session: &Value) -> Vec<Event> {
    let id = session["id"].as_str().expect("a session has an id");
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let output = file.reopen().expect("it can be opened twice");
    let mut export = bastion.program("replay", &["export", id]);
    Program::start_to(&mut export, Stdio::null(), output).done(LONG * 4).expect_ok("replay export");
    let (mut reader, mut events) = (CastReader::new(), Vec::new());
    let mut lines = file.reopen().expect("it can be opened twice");
    let mut buffer = vec![0; 1 << 20];
    while let n @ 1.. = lines.read(&mut buffer).expect("it can be read") {
        reader.feed(&buffer[..n], &mut events).expect("it is an asciicast");
    }
    let ending = reader.finish(&mut events).expect("it is an asciicast");
    assert_eq!((ending.cut, ending.unreadable), (None, 0), "{ending:?}");
    events
}

/// The bytes of a recording.
///
/// # Panics
/// If it cannot be read to its end.
#[track_caller]
pub fn bytes_of(bastion: &TestBastion, session: &Value) -> Bytes {
    let mut bytes = Bytes::default();
    for event in events_of(bastion, session) {
        match event.what {
            What::Input(data) | What::Shown { data, .. } => bytes.input.extend_from_slice(&data),
            What::Output(data) => bytes.output.extend_from_slice(&data),
            What::ErrorOutput(data) => bytes.errors.extend_from_slice(&data),
            _ => {}
        }
    }
    bytes
}

/// Where `needle` stands: in any file under the data folder, as it lies there or decompressed, or in any recording,
/// as its reader tells it.
///
/// Files are decompressed without the code that wrote them: whatever begins as a zstd frame does is tried.
pub fn found_in(bastion: &TestBastion, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in files_below(&bastion.data()) {
        // A live gateway may take a file away meanwhile; what was in it lies elsewhere then, and is read there.
        let Ok(bytes) = fs::read(&file) else { continue };
        if has(&bytes, needle) {
            found.push(format!("{} (raw)", file.display()));
        }
        for at in begins(&bytes) {
            if has(&unpacked(&bytes[at..]), needle) {
                found.push(format!("{} (zstd frame at {at})", file.display()));
            }
        }
    }
    for session in bastion.sessions() {
        let bytes = bytes_of(bastion, &session);
        for (kind, data) in [("input", bytes.input), ("output", bytes.output), ("errors", bytes.errors)] {
            if has(&data, needle) {
                found.push(format!("{} of {}", kind, session["id"]));
            }
        }
        let (header, lines) = bastion.cast(session["id"].as_str().expect("a session has an id"));
        if lines.iter().chain([&header, &session]).any(|line| line.to_string().contains(needle)) {
            found.push(format!("a line of {}", session["id"]));
        }
    }
    found
}

fn has(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// The first four bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

fn begins(bytes: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(ZSTD_MAGIC.len()).enumerate();
    windows.filter(|(_, window)| *window == ZSTD_MAGIC).map(|(at, _)| at).collect()
}

/// As much of a frame as can be decompressed: it may be cut, or go on elsewhere.
fn unpacked(frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut decoder) = zstd::Decoder::new(frame) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = decoder.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..n]);
        }
    }
    bytes
}

/// All files below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut todo) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { todo.push(path) } else { files.push(path) }
        }
    }
    files
}
