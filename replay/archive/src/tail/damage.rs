//! What stands behind a frame that cannot be read.
//!
//! A frame that a crash has torn is the last of its file, and ends before its length says. Any other is damaged, and
//! what stands behind it was written whole: it is looked for first where the frame says that it ends, then where its
//! events end, and only then byte by byte. What a client has sent may look like frames, so bytes that a torn frame
//! may hold are never searched: a search through them would make evidence of what somebody typed.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use recording::{
    Layout, decode,
    piece::{self, Kind, PieceFault, WRAPPING_BYTES},
};

use super::{FRAME_HEAD_BYTES, FrameHead, TailFault, TailReader};

/// Searched at once.
const WINDOW_BYTES: usize = 64 * 1024;

/// A search reads no more than so many times what it searches. Bytes that only begin as long frames do could cost the
/// square of their length otherwise.
const READINGS_MAX: u64 = 4;

/// A kind, and two numbers in their shortest form: more than the head of a chunk ever has.
const CHUNK_HEAD_BYTES_MAX: usize = 21;

/// A place of a tail where something stood that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: damaged at byte {at}; {}", path.display(), self.rest())]
pub(crate) struct Damage {
    /// The tail.
    pub(crate) path: PathBuf,
    /// Its first byte that cannot be read.
    pub(crate) at: u64,
    /// The next byte that can.
    pub(crate) resumed: Option<u64>,
}

impl Damage {
    fn rest(&self) -> String {
        match self.resumed {
            Some(at) => format!("the rest is read from byte {at} on"),
            None => "nothing behind it can be read".into(),
        }
    }
}

/// What stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Nothing: it is the last write, torn.
    Torn,
    /// Nothing that can be read, and it is not merely torn.
    Lost,
    /// A whole frame, from this byte on.
    Frame(u64),
}

/// A tail that is searched.
pub(super) struct Search<'a> {
    pub(super) file: &'a File,
    pub(super) len: u64,
    pub(super) layout: Layout,
    /// Number of the event behind the last frame that was read, if one was.
    pub(super) next_event: Option<u64>,
}

impl Search<'_> {
    /// What stands behind the frame that should begin here.
    pub(super) fn behind(&self, at: u64, is_cut: bool) -> io::Result<Behind> {
        if let Some(end) = self.told_end(at)?.filter(|end| *end <= self.len) {
            if self.is_frame(at, end)? {
                return Ok(Behind::Frame(end));
            }
            if end == self.len {
                return Ok(Behind::Lost);
            }
        }
        let mut from = at + 1;
        if self.layout == Layout::Chunks {
            match self.end_of_chunks(at)? {
                Some(end) => from = end,
                None if is_cut => return Ok(Behind::Torn),
                None => {}
            }
        }
        if let Some(found) = self.first_frame(at, from)? {
            return Ok(Behind::Frame(found));
        }
        let is_torn = is_cut && self.layout == Layout::Lines && !self.are_lines_whole(at)?;
        Ok(if is_torn { Behind::Torn } else { Behind::Lost })
    }

    /// Whether a frame stands anywhere behind this byte.
    pub(super) fn has_frame_behind(&self, at: u64) -> io::Result<bool> {
        Ok(self.first_frame(at, at)?.is_some())
    }

    /// Where a frame ends by its own word.
    fn told_end(&self, at: u64) -> io::Result<Option<u64>> {
        let wrapping = self.bytes(at..at + WRAPPING_BYTES as u64)?;
        let length = wrapping.get(10..14).and_then(|length| length.first_chunk());
        Ok(length.map(|length| at + WRAPPING_BYTES as u64 + u64::from(u32::from_be_bytes(*length))))
    }

    /// Where the events of a frame end, if all of them are here: with its length damaged they still tell.
    fn end_of_chunks(&self, at: u64) -> io::Result<Option<u64>> {
        let body = at + WRAPPING_BYTES as u64;
        let mut at = body + FRAME_HEAD_BYTES as u64;
        let head = self.bytes(body..at)?;
        let Some((head, _)) = FrameHead::read(&head) else { return Ok(None) };
        for _ in 0..head.events {
            let bytes = self.bytes(at..at + CHUNK_HEAD_BYTES_MAX as u64)?;
            let mut rest = bytes.get(1..).unwrap_or_default();
            let Some(length) = varint(&mut rest).and_then(|_| varint(&mut rest)) else { return Ok(None) };
            at = (at + (bytes.len() - rest.len()) as u64).saturating_add(length);
            if at > self.len {
                return Ok(None);
            }
        }
        Ok(Some(at).filter(|at| *at <= self.len))
    }

    /// Whether all lines of the last frame are here, so that only its length is damaged. A frame that is cut is no
    /// longer than what a piece may hold, so neither is this.
    fn are_lines_whole(&self, at: u64) -> io::Result<bool> {
        let body = self.bytes(at + WRAPPING_BYTES as u64..self.len)?;
        let Some((head, lines)) = FrameHead::read(&body) else { return Ok(false) };
        Ok(decode(Layout::Lines, lines).is_ok_and(|events| events.len() as u64 == u64::from(head.events)))
    }

    /// The first whole frame from this byte on, behind the damage that begins at `damaged`.
    fn first_frame(&self, damaged: u64, from: u64) -> io::Result<Option<u64>> {
        let begins = piece::beginning(Kind::Frame);
        let mut readable = READINGS_MAX * self.len.saturating_sub(from);
        let mut at = from;
        while at < self.len {
            let window = self.bytes(at..at + (WINDOW_BYTES + begins.len() - 1) as u64)?;
            for place in window.windows(begins.len()).enumerate().filter(|(_, found)| *found == begins) {
                let place = at + place.0 as u64;
                let cost = self.told_end(place)?.map_or(0, |end| end - place);
                if cost > readable {
                    continue;
                }
                readable -= cost;
                if self.is_frame(damaged, place)? {
                    return Ok(Some(place));
                }
            }
            at += WINDOW_BYTES as u64;
        }
        Ok(None)
    }

    /// Whether a whole frame begins here, and its number can follow: an event takes more than one byte, so no more can
    /// be missing than there are bytes in between.
    fn is_frame(&self, damaged: u64, at: u64) -> io::Result<bool> {
        let wrapping = self.bytes(at..at + WRAPPING_BYTES as u64)?;
        let Err(PieceFault::Cut { needed, .. }) = piece::unwrap(Kind::Frame, &wrapping) else {
            return Ok(false);
        };
        if at + needed as u64 > self.len {
            return Ok(false);
        }
        let bytes = self.bytes(at..at + needed as u64)?;
        let Ok(body) = piece::unwrap_whole(Kind::Frame, &bytes) else { return Ok(false) };
        let follows = |head: FrameHead| {
            let missing = self.next_event.map_or(Some(0), |next| head.first.checked_sub(next));
            head.first > 0 && missing.is_some_and(|missing| missing < at - damaged)
        };
        Ok(FrameHead::read(&body).is_some_and(|(head, _)| follows(head)))
    }

    /// These bytes, as far as they are here.
    fn bytes(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let end = range.end.min(self.len);
        let len = usize::try_from(end.saturating_sub(range.start)).unwrap_or(0);
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Removes a tail whose events lie elsewhere. A damaged one is evidence, and is kept beside under a name that is not
/// read again.
///
/// # Errors
/// When it can be neither removed nor renamed.
pub(crate) fn discard(path: &Path) -> io::Result<()> {
    let Some(why) = why_kept(path) else { return std::fs::remove_file(path) };
    let aside = path.with_extension(format!("tail.damaged-{}", ulid::Ulid::new()));
    std::fs::rename(path, &aside)?;
    tracing::error!(tail = %path.display(), kept_as = %aside.display(), %why, "a damaged tail is kept");
    Ok(())
}

/// Why a tail is not to be removed, if it is not.
fn why_kept(path: &Path) -> Option<String> {
    let mut tail = match TailReader::open(path) {
        Ok(tail) => tail,
        Err(TailFault::Headless(..)) => return None,
        Err(TailFault::Unreadable(_, fault)) if fault.kind() == io::ErrorKind::NotFound => return None,
        Err(fault) => return Some(fault.to_string()),
    };
    loop {
        let read = tail.next_frame();
        if let Some(damage) = tail.take_damage() {
            return Some(damage.to_string());
        }
        match read {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(fault) => return Some(fault.to_string()),
        }
    }
}
