//! Everything that a data folder holds, decoded: for whoever must know that something is, or is not, in it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use recording::{
    SessionId, Source, What,
    piece::{self, Kind},
};

use crate::{Archive, ArchiveFault, OpenRecording, ReadFault, stored, tail};

/// Something that was found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file, value or stream.
    pub place: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why not everything could be decoded.
#[derive(Debug, thiserror::Error)]
pub enum EverythingFault {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    /// A recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadFault),
}

/// Every file below a data folder as it is; every tail frame, journal value and piece of a sealed file unpacked; and
/// of every recording what was typed, sent and shown, each joined, so that a word is found whose letters were recorded
/// one by one.
///
/// The folder must be nobody's at the time: of a server that is stopped, or a copy. It is not changed, but for what
/// opening the journal does.
///
/// # Errors
/// When anything in it cannot be read: then it is not known what is in it.
pub fn decode_everything(data: &Path) -> Result<Vec<Found>, EverythingFault> {
    let mut found = Vec::new();
    let archive = Archive::open_exclusive(data)?;
    files(data, &mut found)?;
    for (key, value) in archive.journal().everything().map_err(ArchiveFault::from)? {
        let place = format!("journal value {}", String::from_utf8_lossy(&key));
        found.push(Found { place, bytes: unwrapped(&value) });
    }
    let mut ids: Vec<SessionId> = archive.sessions(&Default::default())?.into_iter().map(|s| s.id).collect();
    let tails = tail::list(&archive.tails()).map_err(|fault| EverythingFault::Io(archive.tails(), fault))?;
    ids.extend(tails.into_keys());
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        streams(id, &mut archive.open_recording(id)?, &mut found)?;
    }
    Ok(found)
}

/// Every file, as it is, and every piece in it.
fn files(folder: &Path, found: &mut Vec<Found>) -> Result<(), EverythingFault> {
    let fault = |fault| EverythingFault::Io(folder.to_path_buf(), fault);
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.is_dir() {
            files(&path, found)?;
            continue;
        }
        if !path.is_file() {
            continue; // the control socket
        }
        let bytes = fs::read(&path).map_err(|fault| EverythingFault::Io(path.clone(), fault))?;
        let place = path.display().to_string();
        let mut rest = bytes.as_slice();
        while let Some((piece, after)) = next_piece(rest) {
            found.push(Found { place: format!("{place}, byte {}", bytes.len() - rest.len()), bytes: piece });
            rest = after;
        }
        found.push(Found { place, bytes });
    }
    Ok(())
}

fn next_piece(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let kinds =
        [Kind::Header, Kind::Frame, Kind::Segment, Kind::Keyframe, Kind::Index, Kind::Summary, Kind::Footer];
    kinds.iter().find_map(|kind| {
        let (payload, after) = piece::unwrap(*kind, bytes).ok()?;
        Some((unpacked(*kind, &payload), after))
    })
}

/// A value of the journal. A segment of several values is unpacked with its recording.
fn unwrapped(value: &[u8]) -> Vec<u8> {
    next_piece(value).map_or_else(|| value.to_vec(), |(payload, _)| payload)
}

fn unpacked(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let longest = piece::PAYLOAD_BYTES_MAX as u64;
    let plain = match kind {
        Kind::Segment => stored::plain(payload, longest).ok(),
        Kind::Keyframe => stored::read_keyframe(payload).map(|keyframe| keyframe.to_bytes()),
        _ => None,
    };
    plain.unwrap_or_else(|| payload.to_vec())
}

/// What was typed, sent and shown, each joined.
fn streams(
    id: SessionId,
    recording: &mut OpenRecording,
    found: &mut Vec<Found>,
) -> Result<(), EverythingFault> {
    let mut streams = BTreeMap::<&str, Vec<u8>>::new();
    for segment in 0..recording.timeline().spans().len() {
        let plain = recording.plain(segment)?;
        for event in recording.events(segment)?.iter() {
            if let Some((name, bytes)) = stream(&event.what) {
                streams.entry(name).or_default().extend_from_slice(bytes);
            }
        }
        found.push(Found { place: format!("{id}, segment {}", segment + 1), bytes: plain });
    }
    found.extend(streams.into_iter().map(|(name, bytes)| Found { place: format!("{id}, {name}"), bytes }));
    Ok(())
}

fn stream(what: &What) -> Option<(&'static str, &[u8])> {
    Some(match what {
        What::Opened(bytes) => ("opened", bytes),
        What::Output(bytes) => ("output", bytes),
        What::ErrorOutput(bytes) => ("error output", bytes),
        What::Input(bytes) | What::Shown { data: bytes, .. } => ("input", bytes),
        What::Injected(bytes) => ("injected", bytes),
        What::Notice(bytes) => ("notices", bytes),
        What::Act(bytes) => ("acts", bytes),
        What::Marker(text) => ("markers", text.as_bytes()),
        _ => return None,
    })
}
