//! A part of a sealed recording, as bytes: self-describing, and never changed again.
//!
//! Header, segments and key frames in any order, index, in the last part the summary, and the footer, all of them
//! pieces. The last four bytes of a part say how long its footer is.

use recording::{
    Header, Link, SessionId, link, link_0,
    piece::{self, Key, Kind, PieceFault, PieceTooLong, WRAPPING_BYTES},
};

use crate::{Entry, Summary, stored, tail::End};

/// Bytes of a footer before its wrapping.
const FOOTER_BYTES: usize = 26 + 4 + 1 + 8 + 8 + 32 + 32 + 8 + 8 + 8 + 32 + 4;
/// A whole footer.
pub(crate) const FOOTER_PIECE_BYTES: usize = WRAPPING_BYTES + FOOTER_BYTES;

/// Where a key frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePlace {
    /// The segment that begins with it, from 1.
    pub(crate) segment: u64,
    /// The first byte of its piece.
    pub(crate) offset: u64,
    /// The piece's length.
    pub(crate) len: u32,
}

/// What a part says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) id: SessionId,
    pub(crate) number: u32,
    /// Set in the last part.
    pub(crate) ends: Option<End>,
    pub(crate) first_segment: u64,
    pub(crate) segments: u64,
    pub(crate) link_before: Link,
    pub(crate) link_after: Link,
    pub(crate) index_at: u64,
    pub(crate) summary_at: u64,
    pub(crate) footer_at: u64,
    /// SHA-256 of the header piece, and of all bytes from the index to the footer. The index has the digests of the
    /// segments between; key frames prove nothing.
    pub(crate) digest: recording::Digest,
}

/// The index of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) footer: Footer,
    pub(crate) entries: Vec<Entry>,
    pub(crate) keyframes: Vec<FramePlace>,
}

/// What is wrong with a part, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct PartFault {
    /// `header`, `segment 7`, `key frame before segment 7`, `index`, `summary`, `footer`.
    pub place: String,
    /// What is wrong there.
    pub fault: String,
}

/// Puts a part together.
pub(crate) struct PartBuilder {
    id: SessionId,
    number: u32,
    first_segment: u64,
    link_before: Link,
    bytes: Vec<u8>,
    header_len: usize,
    plain_bytes: u64,
    entries: Vec<Entry>,
    keyframes: Vec<FramePlace>,
}

impl PartBuilder {
    pub(crate) fn new(
        id: SessionId,
        number: u32,
        header_line: &[u8],
        first_segment: u64,
        link_before: Link,
    ) -> Result<Self, PieceTooLong> {
        let mut bytes = Vec::new();
        piece::wrap(Kind::Header, Key::None, header_line, &mut bytes)?;
        let (header_len, plain_bytes) = (bytes.len(), 0);
        let (entries, keyframes) = (Vec::new(), Vec::new());
        Ok(PartBuilder {
            id,
            number,
            first_segment,
            link_before,
            bytes,
            header_len,
            plain_bytes,
            entries,
            keyframes,
        })
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Plain bytes of its segments so far.
    pub(crate) fn plain_len(&self) -> u64 {
        self.plain_bytes
    }

    /// The chain so far.
    pub(crate) fn link(&self) -> Link {
        self.entries.last().map_or(self.link_before, |entry| entry.link)
    }

    /// What it holds so far.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds the next segment, and answers what its entry is here.
    pub(crate) fn segment(&mut self, mut entry: Entry, stored: &[u8]) -> Result<(), PieceTooLong> {
        (entry.place, entry.pieces) = (self.bytes.len() as u64, 1);
        self.plain_bytes += entry.segment.plain_len;
        piece::wrap(Kind::Segment, Key::None, stored, &mut self.bytes)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Adds the key frame before a segment, of this part or of an earlier one.
    pub(crate) fn keyframe(&mut self, segment: u64, keyframe: &[u8]) -> Result<(), PieceTooLong> {
        let offset = self.bytes.len() as u64;
        piece::wrap(Kind::Keyframe, Key::None, keyframe, &mut self.bytes)?;
        let len =
            u32::try_from(self.bytes.len() as u64 - offset).map_err(|_| PieceTooLong(keyframe.len()))?;
        self.keyframes.push(FramePlace { segment, offset, len });
        Ok(())
    }

    /// The part, whole.
    pub(crate) fn finish(self, last: Option<(End, &Summary)>) -> Result<Vec<u8>, PieceTooLong> {
        let link_after = self.link();
        let mut bytes = self.bytes;
        let index_at = bytes.len() as u64;
        let index = index_bytes(&self.entries, &self.keyframes);
        piece::wrap(Kind::Index, Key::None, &index, &mut bytes)?;
        let summary_at = bytes.len() as u64;
        if let Some((_, summary)) = last {
            let json =
                serde_json::to_vec(summary).expect("a summary of numbers and texts always becomes JSON");
            piece::wrap(Kind::Summary, Key::None, &json, &mut bytes)?;
        }
        let footer = Footer {
            id: self.id,
            number: self.number,
            ends: last.map(|(end, _)| end),
            first_segment: self.first_segment,
            segments: self.entries.len() as u64,
            link_before: self.link_before,
            link_after,
            index_at,
            summary_at,
            footer_at: bytes.len() as u64,
            digest: digest_of(&bytes, self.header_len, index_at),
        };
        piece::wrap(Kind::Footer, Key::None, &footer.to_bytes(), &mut bytes)?;
        Ok(bytes)
    }
}

/// What a footer binds: the header piece, and all from the index on.
fn digest_of(bytes: &[u8], header_len: usize, index_at: u64) -> recording::Digest {
    let index = usize::try_from(index_at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    recording::Digest::of(&[bytes.get(..header_len).unwrap_or_default(), index])
}

/// Count and entries, each behind its length; count and places of the key frames.
fn index_bytes(entries: &[Entry], keyframes: &[FramePlace]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(entries.len() as u64).to_be_bytes());
    for entry in entries {
        let entry = entry.to_bytes();
        bytes.extend_from_slice(&(entry.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&entry);
    }
    bytes.extend_from_slice(&(keyframes.len() as u64).to_be_bytes());
    for FramePlace { segment, offset, len } in keyframes {
        bytes.extend_from_slice(&segment.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&len.to_be_bytes());
    }
    bytes
}

pub(crate) fn read_index(bytes: &[u8]) -> Result<(Vec<Entry>, Vec<FramePlace>), String> {
    let mut rest = bytes;
    let cut = || format!("cut off after {} bytes", bytes.len());
    let (mut entries, mut keyframes) = (Vec::new(), Vec::new());
    for _ in 0..number(&mut rest).ok_or_else(cut)? {
        let len = number(&mut rest).and_then(|len| usize::try_from(len).ok()).ok_or_else(cut)?;
        let (entry, after) = rest.split_at_checked(len).ok_or_else(cut)?;
        rest = after;
        entries.push(Entry::from_bytes(entry).map_err(|fault| fault.to_string())?);
    }
    for _ in 0..number(&mut rest).ok_or_else(cut)? {
        let (segment, offset) = (number(&mut rest), number(&mut rest));
        let (len, after) = rest.split_first_chunk().ok_or_else(cut)?;
        rest = after;
        let place = segment.zip(offset).ok_or_else(cut)?;
        keyframes.push(FramePlace { segment: place.0, offset: place.1, len: u32::from_be_bytes(*len) });
    }
    if rest.is_empty() { Ok((entries, keyframes)) } else { Err(format!("{} stray bytes", rest.len())) }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_be_bytes(*number))
}

impl Footer {
    fn to_bytes(&self) -> Vec<u8> {
        let ends = match self.ends {
            None => 0,
            Some(End::Finished) => 2,
            Some(End::Interrupted) => 3,
        };
        let fields: [&[u8]; 12] = [
            self.id.as_str().as_bytes(),
            &self.number.to_be_bytes(),
            &[ends],
            &self.first_segment.to_be_bytes(),
            &self.segments.to_be_bytes(),
            self.link_before.as_bytes(),
            self.link_after.as_bytes(),
            &self.index_at.to_be_bytes(),
            &self.summary_at.to_be_bytes(),
            &self.footer_at.to_be_bytes(),
            self.digest.as_bytes(),
            &(FOOTER_PIECE_BYTES as u32).to_be_bytes(),
        ];
        fields.concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Footer> {
        let (id, rest) = bytes.split_at_checked(26)?;
        let (part, rest) = rest.split_first_chunk()?;
        let (ends, mut rest) = rest.split_first()?;
        let (first_segment, segments) = (number(&mut rest)?, number(&mut rest)?);
        let (link_before, rest) = rest.split_first_chunk()?;
        let (link_after, mut rest) = rest.split_first_chunk()?;
        let (index_at, summary_at, footer_at) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
        let (digest, rest) = rest.split_first_chunk()?;
        let ends = match ends {
            0 => None,
            2 => Some(End::Finished),
            3 => Some(End::Interrupted),
            _ => return None,
        };
        (rest == (FOOTER_PIECE_BYTES as u32).to_be_bytes()).then_some(Footer {
            id: std::str::from_utf8(id).ok()?.parse().ok()?,
            number: u32::from_be_bytes(*part),
            ends,
            first_segment,
            segments,
            link_before: recording::Digest::from_bytes(*link_before),
            link_after: recording::Digest::from_bytes(*link_after),
            index_at,
            summary_at,
            footer_at,
            digest: recording::Digest::from_bytes(*digest),
        })
    }

    /// The footer that ends these bytes.
    pub(crate) fn read(end: &[u8]) -> Result<Footer, PartFault> {
        let fault = |fault: &dyn ToString| PartFault { place: "footer".into(), fault: fault.to_string() };
        let from = end.len().checked_sub(FOOTER_PIECE_BYTES).ok_or_else(|| fault(&"cut off"))?;
        let piece = end.get(from..).unwrap_or_default();
        let bytes = piece::unwrap_whole(Kind::Footer, piece).map_err(|piece| fault(&piece))?;
        Footer::from_bytes(&bytes).ok_or_else(|| fault(&"not one that is known here"))
    }
}

impl Part {
    /// The index, from its piece.
    pub(crate) fn read(footer: Footer, index: &[u8]) -> Result<Part, PartFault> {
        let fault = |fault: String| PartFault { place: "index".into(), fault };
        let bytes = piece::unwrap(Kind::Index, index).map_err(|piece| fault(piece.to_string()))?.0;
        let (entries, keyframes) = read_index(&bytes).map_err(fault)?;
        Ok(Part { footer, entries, keyframes })
    }

    /// Reads a whole part, and checks every byte of it: all that is wrong is named.
    ///
    /// # Errors
    /// With everything that was found, the first place first.
    pub(crate) fn verify(bytes: &[u8], is_deep: bool) -> Result<Part, Vec<PartFault>> {
        let footer = Footer::read(bytes).map_err(|fault| vec![fault])?;
        let index = from(bytes, footer.index_at);
        let part = Part::read(footer, index).map_err(|fault| vec![fault])?;
        let mut found = Vec::new();
        let mut find = |place: String, checked: Result<u64, String>| match checked {
            Ok(len) => len,
            Err(fault) => {
                found.push(PartFault { place, fault });
                0
            }
        };
        let footer = &part.footer;
        let header_len = find("header".into(), check_header(footer, bytes));
        let mut pieces = vec![(0, header_len)];
        let mut before = footer.link_before;
        for (index, entry) in (footer.first_segment..).zip(&part.entries) {
            let checked = check_segment(entry, index, &before, from(bytes, entry.place), is_deep);
            pieces.push((entry.place, find(format!("segment {index}"), checked)));
            before = entry.link;
        }
        for frame in &part.keyframes {
            let checked = piece_len(Kind::Keyframe, from(bytes, frame.offset));
            let place = format!("key frame before segment {}", frame.segment);
            pieces.push((frame.offset, find(place, checked)));
        }
        if footer.ends.is_some() {
            find("summary".into(), read_summary(from(bytes, footer.summary_at)).map(|_| 0));
        }
        if found.is_empty() && !footer.closes(bytes, header_len, &pieces, part.entries.len(), &before) {
            let fault = "it is not the footer of these bytes".into();
            found.push(PartFault { place: "footer".into(), fault });
        }
        if found.is_empty() { Ok(part) } else { Err(found) }
    }
}

impl Footer {
    /// Whether it belongs to these bytes: its pieces lie side by side, from the first byte to the index, and it binds
    /// header, index and summary.
    fn closes(
        &self,
        bytes: &[u8],
        header_len: u64,
        pieces: &[(u64, u64)],
        segments: usize,
        last: &Link,
    ) -> bool {
        let mut pieces = pieces.to_vec();
        pieces.sort_unstable();
        let end = pieces.iter().try_fold(0, |end, (at, len)| (*at == end).then_some(end + len));
        let covered = bytes.len().saturating_sub(FOOTER_PIECE_BYTES);
        let header_len = usize::try_from(header_len).unwrap_or(usize::MAX);
        end == Some(self.index_at)
            && self.footer_at == covered as u64
            && self.segments == segments as u64
            && self.link_after == *last
            && self.digest == digest_of(bytes.get(..covered).unwrap_or_default(), header_len, self.index_at)
    }
}

/// The bytes from this one on.
fn from(bytes: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default()
}

/// How long the piece is that these bytes begin with.
fn piece_len(kind: Kind, bytes: &[u8]) -> Result<u64, String> {
    let (_, after) = piece::unwrap(kind, bytes).map_err(|fault| fault.to_string())?;
    Ok((bytes.len() - after.len()) as u64)
}

fn check_header(footer: &Footer, bytes: &[u8]) -> Result<u64, String> {
    let line = piece::unwrap(Kind::Header, bytes).map_err(|fault| fault.to_string())?.0;
    Header::from_line(&line).map_err(|fault| fault.to_string())?;
    if footer.first_segment == 1 && footer.number == 1 && footer.link_before != link_0(&footer.id, &line) {
        return Err("it is not the one that the chain begins with".into());
    }
    piece_len(Kind::Header, bytes)
}

/// The summary of the last part.
pub(crate) fn read_summary(bytes: &[u8]) -> Result<Summary, String> {
    let json = piece::unwrap(Kind::Summary, bytes).map_err(|fault| fault.to_string())?.0;
    serde_json::from_slice(&json).map_err(|fault| fault.to_string())
}

fn check_segment(
    entry: &Entry,
    index: u64,
    before: &Link,
    bytes: &[u8],
    is_deep: bool,
) -> Result<u64, String> {
    let (stored, after) =
        piece::unwrap(Kind::Segment, bytes).map_err(|fault: PieceFault| fault.to_string())?;
    if entry.segment.index != index {
        return Err(format!("its index is {}", entry.segment.index));
    }
    if !entry.segment.binds_stored(&stored) {
        return Err("it is not what its digest says".into());
    }
    if entry.link != link(before, &entry.segment) {
        return Err("its link does not follow from the one before".into());
    }
    if is_deep {
        let plain = stored::plain(&stored, entry.segment.plain_len).map_err(|fault| fault.to_string())?;
        if !entry.segment.binds_plain(&plain) {
            return Err("unpacked it is not what its digest says".into());
        }
    }
    Ok((bytes.len() - after.len()) as u64)
}
