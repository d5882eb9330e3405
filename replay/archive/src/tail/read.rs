//! Reading tails, also those that a kill or a power cut has torn.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use recording::{
    Header, Layout, SessionId,
    piece::{self, Key, Kind, PieceFault, PieceTooLong},
};

use super::{
    Damage, End, Ends, FRAME_HEAD_BYTES,
    damage::{Behind, Search},
};
use crate::pieces::{PieceReader, ReadFault};

/// Read at once: what a frame has at most, as a rule.
const READ_BYTES: usize = 64 * 1024;

/// What a frame says of the events in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Number of its first event, from 1; of the next one, if it holds none.
    pub first: u64,
    /// How many events it holds.
    pub events: u32,
    /// What ends with it.
    pub ends: Ends,
    /// When its first event happened.
    pub first_us: u64,
    /// When its last event happened.
    pub last_us: u64,
}

/// Some events of one segment, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it says of them.
    pub head: FrameHead,
    /// The events, as [`recording::Encoder`] wrote them.
    pub events: Vec<u8>,
}

/// Where a frame stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// The byte after its last.
    pub end: u64,
}

/// Why a tail cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TailFault {
    /// It cannot be opened or read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It ends inside its head: it never held an event.
    #[error("{0}: ends inside its head, at byte {1}")]
    Headless(PathBuf, u64),
    /// Its head is not one that we know.
    #[error("{0}: no tail of a version that is known here: {1}")]
    Unknown(PathBuf, String),
}

impl FrameHead {
    /// Number of the event after its last.
    pub fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.events))
    }

    pub(crate) fn to_bytes(self) -> [u8; FRAME_HEAD_BYTES] {
        let mut bytes = [0; FRAME_HEAD_BYTES];
        let ends = match self.ends {
            Ends::Nothing => 0,
            Ends::Segment => 1,
            Ends::Recording(End::Finished) => 2,
            Ends::Recording(End::Interrupted) => 3,
        };
        let parts = [&self.first.to_be_bytes()[..], &self.events.to_be_bytes(), &[ends]];
        let parts = parts.into_iter().flatten();
        let times = [self.first_us.to_be_bytes(), self.last_us.to_be_bytes()];
        for (to, from) in bytes.iter_mut().zip(parts.chain(times.iter().flatten())) {
            *to = *from;
        }
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (first, rest) = bytes.split_first_chunk()?;
        let (events, rest) = rest.split_first_chunk()?;
        let (ends, rest) = rest.split_first()?;
        let (first_us, rest) = rest.split_first_chunk()?;
        let (last_us, rest) = rest.split_first_chunk()?;
        let ends = match ends {
            0 => Ends::Nothing,
            1 => Ends::Segment,
            2 => Ends::Recording(End::Finished),
            3 => Ends::Recording(End::Interrupted),
            _ => return None,
        };
        let head = FrameHead {
            first: u64::from_be_bytes(*first),
            events: u32::from_be_bytes(*events),
            ends,
            first_us: u64::from_be_bytes(*first_us),
            last_us: u64::from_be_bytes(*last_us),
        };
        Some((head, rest))
    }
}

impl Frame {
    /// Writes it as it stands in a tail.
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), PieceTooLong> {
        let begun = piece::begin(out);
        out.extend_from_slice(&self.head.to_bytes());
        out.extend_from_slice(&self.events);
        piece::finish(Kind::Frame, Key::None, begun, out)
    }
}

/// Reads one tail from its beginning, or from a frame in it.
pub struct TailReader {
    path: PathBuf,
    pieces: PieceReader<BufReader<File>>,
    header_line: Vec<u8>,
    header: Header,
    /// Number of the event behind the last frame that was read.
    next_event: Option<u64>,
    damage: Option<Damage>,
}

/// What was met where a frame should be.
enum Met {
    Frame(Place, Frame),
    /// The end of the file.
    End,
    /// Something else: a frame that is cut off, or not even that.
    Fault {
        is_cut: bool,
    },
}

impl TailReader {
    /// Opens a tail at its first frame.
    ///
    /// # Errors
    /// When it cannot be read, or its head is not one that is known.
    pub fn open(path: &Path) -> Result<Self, TailFault> {
        let unreadable = |fault| TailFault::Unreadable(path.to_path_buf(), fault);
        let unknown = |why: String| TailFault::Unknown(path.to_path_buf(), why);
        let file = File::open(path).map_err(unreadable)?;
        let mut pieces = PieceReader::new(BufReader::with_capacity(READ_BYTES, file));
        let line = match pieces.next(Kind::Header) {
            Ok(Some(line)) => line,
            Ok(None) => return Err(TailFault::Headless(path.to_path_buf(), 0)),
            Err(ReadFault::Piece(_, fault @ PieceFault::Cut { here, .. })) => {
                let has_frames =
                    search(&pieces, Layout::Lines, None).and_then(|search| search.has_frame_behind(0));
                return Err(match has_frames.map_err(unreadable)? {
                    true => unknown(fault.to_string()), // frames are written only behind a whole head
                    false => TailFault::Headless(path.to_path_buf(), here as u64),
                });
            }
            Err(ReadFault::Piece(_, fault)) => return Err(unknown(fault.to_string())),
            Err(ReadFault::Io(fault)) => return Err(unreadable(fault)),
        };
        let header = Header::from_line(&line).map_err(|fault| unknown(fault.to_string()))?;
        let path = path.to_path_buf();
        Ok(TailReader { path, pieces, header_line: line, header, next_event: None, damage: None })
    }

    /// The header of its recording.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The header, byte for byte as it was written.
    pub fn header_line(&self) -> &[u8] {
        &self.header_line
    }

    /// Where the next frame begins.
    pub(crate) fn at(&self) -> u64 {
        self.pieces.at()
    }

    /// Goes to where a frame begins or ends.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn seek(&mut self, offset: u64) -> Result<(), TailFault> {
        self.next_event = None;
        self.go_to(offset)
    }

    /// The next frame that can be read, and where it stands. None at the end, and where the last frame is torn: what
    /// it held was never answered for.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<(Place, Frame)>, TailFault> {
        let offset = self.pieces.at();
        match self.meet()? {
            Met::Frame(place, frame) => Ok(Some((place, frame))),
            Met::End => Ok(None),
            Met::Fault { is_cut } => self.next_behind(offset, is_cut),
        }
    }

    /// The damage that the last [`TailReader::next_frame`] passed over, or ended at.
    pub(crate) fn take_damage(&mut self) -> Option<Damage> {
        self.damage.take()
    }

    /// The next frame behind one that cannot be read.
    fn next_behind(&mut self, offset: u64, is_cut: bool) -> Result<Option<(Place, Frame)>, TailFault> {
        let search = search(&self.pieces, self.header.facts.layout, self.next_event);
        let behind = search.and_then(|search| search.behind(offset, is_cut));
        let behind = behind.map_err(|fault| TailFault::Unreadable(self.path.clone(), fault))?;
        self.go_to(offset)?;
        let resumed = match behind {
            Behind::Torn => return Ok(None),
            Behind::Lost => None,
            Behind::Frame(at) => Some(at),
        };
        // It may only have been under way, and been finished while we looked behind it.
        if let Met::Frame(place, frame) = self.meet()? {
            return Ok(Some((place, frame)));
        }
        self.go_to(resumed.unwrap_or(offset))?;
        self.damage = Some(Damage { path: self.path.clone(), at: offset, resumed });
        match resumed.map(|_| self.meet()).transpose()? {
            Some(Met::Frame(place, frame)) => Ok(Some((place, frame))),
            _ => Ok(None),
        }
    }

    /// What stands here.
    fn meet(&mut self) -> Result<Met, TailFault> {
        let offset = self.pieces.at();
        let body = match self.pieces.next(Kind::Frame) {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(Met::End),
            Err(ReadFault::Piece(_, fault)) => {
                return Ok(Met::Fault { is_cut: matches!(fault, PieceFault::Cut { .. }) });
            }
            Err(ReadFault::Io(fault)) => return Err(TailFault::Unreadable(self.path.clone(), fault)),
        };
        let place = Place { offset, end: self.pieces.at() };
        let Some((head, events)) = FrameHead::read(&body) else { return Ok(Met::Fault { is_cut: false }) };
        self.next_event = Some(head.next());
        Ok(Met::Frame(place, Frame { head, events: events.to_vec() }))
    }

    fn go_to(&mut self, offset: u64) -> Result<(), TailFault> {
        self.pieces.seek(offset).map_err(|fault| TailFault::Unreadable(self.path.clone(), fault))
    }
}

fn search(
    pieces: &PieceReader<BufReader<File>>,
    layout: Layout,
    next_event: Option<u64>,
) -> io::Result<Search<'_>> {
    let file = pieces.source().get_ref();
    Ok(Search { file, len: file.metadata()?.len(), layout, next_event })
}

/// The tails of all sessions, each session's in order.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> io::Result<BTreeMap<SessionId, Vec<(u32, PathBuf)>>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let parts = name.and_then(|name| name.strip_suffix(".tail")).and_then(|name| name.split_once('.'));
        let Some((id, number)) =
            parts.and_then(|(id, number)| Some((id.parse().ok()?, number.parse().ok()?)))
        else {
            continue;
        };
        found.entry(id).or_default().push((number, path));
    }
    found.values_mut().for_each(|tails| tails.sort());
    Ok(found)
}
