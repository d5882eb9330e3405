//! Writing tails.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use recording::{
    Encoder, Event, Fill, Header, Layout, SessionId,
    piece::{self, Key, Kind, PieceTooLong, WRAPPING_BYTES},
};

use super::{End, Ends, FRAME_HEAD_BYTES, FrameHead, TailReader, path};
use crate::disk::{Disk, Growing};

/// How large tails grow. Segments end as [`recording::Fill`] says.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A file of a terminal session ends with the first segment that ends beyond this.
    pub lines_file_bytes: u64,
    /// The same without a terminal.
    pub chunks_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { lines_file_bytes: 4 << 20, chunks_file_bytes: 64 << 20 }
    }
}

/// The writing end of one recording's tails.
pub struct TailWriter {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    id: SessionId,
    head: Arc<[u8]>,
    layout: Layout,
    limits: Limits,
    encoder: Encoder,
    fill: Fill,
    file: Option<Open>,
    /// What the last write went to: kept when the file is full, because it is not synced yet.
    current: Option<Arc<dyn Growing>>,
    number: u32,
    /// Encoded and not written yet: whole frames, then the one that is being filled.
    fresh: Vec<u8>,
    filling: Option<(usize, FrameHead)>,
    /// Events encoded so far.
    events: u64,
    bytes: u64,
    /// Whether anything was put in since the last segment ended.
    in_segment: bool,
    last_us: u64,
    /// An event too long for any frame: it cannot be recorded, so nothing behind it may be.
    too_long: Option<PieceTooLong>,
    ended_segments: u64,
}

struct Open {
    file: Arc<dyn Growing>,
    path: PathBuf,
    /// How much of it was answered for.
    len: u64,
    /// An append failed: what stands behind `len` must go first.
    torn: bool,
}

impl Open {
    fn append(&mut self, head: &[u8], fresh: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.cut(self.len)?;
            self.torn = false;
        }
        for bytes in [if self.len == 0 { head } else { &[] }, fresh] {
            if bytes.is_empty() {
                continue;
            }
            self.torn = true;
            self.file.append(bytes)?;
            self.torn = false;
            self.len += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Why a tail could not be written. What was to be written is kept, and may be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct WriteFault {
    /// The file.
    pub path: String,
    /// What the disk said.
    #[source]
    pub fault: io::Error,
}

impl TailWriter {
    /// A writer for a recording that begins. It touches no file before the first [`TailWriter::write`].
    pub fn new(disk: Arc<dyn Disk>, folder: &Path, header: &Header, limits: Limits) -> Self {
        let layout = header.facts.layout;
        TailWriter {
            disk,
            folder: folder.to_path_buf(),
            id: header.facts.id,
            head: head_of(header).into(),
            layout,
            limits,
            encoder: Encoder::new(layout),
            fill: Fill::new(layout, header.cols, header.rows),
            file: None,
            current: None,
            number: 0,
            fresh: Vec::new(),
            filling: None,
            events: 0,
            bytes: 0,
            in_segment: false,
            last_us: 0,
            too_long: None,
            ended_segments: 0,
        }
    }

    /// The session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Events put in so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Bytes that they take, encoded.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the last of them happened, in microseconds since the recording began.
    pub fn last_us(&self) -> u64 {
        self.last_us
    }

    /// Segments that have ended so far, not all of them written.
    pub fn ended_segments(&self) -> u64 {
        self.ended_segments
    }

    /// Bytes that wait to be written.
    pub fn fresh_bytes(&self) -> usize {
        self.fresh.len()
    }

    /// Gives it memory to encode into, so that a writer that has nothing to write need not keep any.
    pub fn lend(&mut self, mut buffer: Vec<u8>) {
        if self.fresh.capacity() == 0 {
            buffer.clear();
            self.fresh = buffer;
        }
    }

    /// Takes the memory back, if nothing waits in it.
    pub fn take_back(&mut self) -> Vec<u8> {
        if self.fresh.is_empty() { std::mem::take(&mut self.fresh) } else { Vec::new() }
    }

    /// Encodes one event behind those before it, and answers its number.
    pub fn push(&mut self, event: &Event) -> u64 {
        let at = event.at.as_micros();
        if self.filling.is_none() {
            self.begin_frame(at);
        }
        self.events += 1;
        if let Some((_, head)) = &mut self.filling {
            (head.events, head.last_us) = (head.events + 1, at.max(head.last_us));
        }
        let before = self.fresh.len();
        self.encoder.write(event, &mut self.fresh);
        let bytes = self.fresh.len() - before;
        self.bytes += bytes as u64;
        self.fill.add(event, bytes);
        if self.fill.is_full() {
            self.end_frame(Ends::Segment);
        }
        self.events
    }

    /// Ends the segment that is open, if it holds anything.
    pub fn end_segment(&mut self) {
        if self.in_segment || self.filling.is_some() {
            self.end_frame(Ends::Segment);
        }
    }

    /// Ends the recording.
    pub fn end(&mut self, end: End) {
        self.end_frame(Ends::Recording(end));
    }

    /// Writes all that waits, in one append. After a failure it all still waits.
    pub fn write(&mut self) -> Result<(), WriteFault> {
        if self.filling.is_some() {
            self.end_frame(Ends::Nothing);
        }
        if let Some(too_long) = self.too_long {
            return Err(self.no_frame(too_long));
        }
        if self.fresh.is_empty() && self.number > 0 {
            return Ok(());
        }
        let mut open = match self.file.take() {
            Some(open) => open,
            None => self.next_file()?,
        };
        let wrote = open.append(&self.head, &self.fresh);
        let path = open.path.clone();
        let file_bytes_max = match self.layout {
            Layout::Lines => self.limits.lines_file_bytes,
            Layout::Chunks => self.limits.chunks_file_bytes,
        };
        let is_full = open.len >= file_bytes_max && !self.in_segment;
        self.current = Some(open.file.clone());
        self.file = Some(open).filter(|_| !is_full);
        wrote.map_err(|fault| WriteFault { path: path.display().to_string(), fault })?;
        self.fresh.clear();
        Ok(())
    }

    /// The file that the last write went to.
    pub fn current(&self) -> Option<Arc<dyn Growing>> {
        self.current.clone()
    }

    /// After a failed sync nothing may be believed of the file that it failed on: writes all events after number
    /// `synced` again, into a new file. They are read back from where they were written.
    pub fn write_again(&mut self, synced: u64) -> Result<(), WriteFault> {
        let mut again = Vec::new();
        let mut next = synced + 1;
        for number in 0..self.number {
            let Ok(mut tail) = TailReader::open(&path(&self.folder, self.id, number)) else { continue };
            while let Ok(Some((_, frame))) = tail.next_frame() {
                let ends_something = frame.head.ends != Ends::Nothing;
                if frame.head.next() > next || ends_something && frame.head.next() == next {
                    next = frame.head.next();
                    frame.put(&mut again).map_err(|fault| self.no_frame(fault))?;
                }
            }
        }
        (self.file, self.current) = (None, None);
        let mut open = self.next_file()?;
        let path = open.path.display().to_string();
        open.append(&self.head, &again).map_err(|fault| WriteFault { path, fault })?;
        self.current = Some(open.file.clone());
        self.file = Some(open);
        Ok(())
    }

    fn no_frame(&self, too_long: PieceTooLong) -> WriteFault {
        let path = path(&self.folder, self.id, self.number).display().to_string();
        WriteFault { path, fault: io::Error::new(io::ErrorKind::InvalidInput, too_long) }
    }

    fn next_file(&mut self) -> Result<Open, WriteFault> {
        let path = path(&self.folder, self.id, self.number);
        let made = self.disk.create(&path);
        let file = made.map_err(|fault| WriteFault { path: path.display().to_string(), fault })?;
        self.number += 1;
        Ok(Open { file, path, len: 0, torn: false })
    }

    fn begin_frame(&mut self, at_us: u64) {
        let begun = piece::begin(&mut self.fresh);
        self.fresh.resize(self.fresh.len() + FRAME_HEAD_BYTES, 0);
        let (first, ends) = (self.events + 1, Ends::Nothing);
        self.filling = Some((begun, FrameHead { first, events: 0, ends, first_us: at_us, last_us: at_us }));
    }

    fn end_frame(&mut self, ends: Ends) {
        if self.filling.is_none() {
            self.begin_frame(self.last_us);
        }
        let Some((begun, mut head)) = self.filling.take() else { return };
        head.ends = ends;
        self.last_us = head.last_us;
        let place = begun + WRAPPING_BYTES;
        if let Some(room) = self.fresh.get_mut(place..place + FRAME_HEAD_BYTES) {
            room.copy_from_slice(&head.to_bytes());
        }
        if let Err(too_long) = piece::finish(Kind::Frame, Key::None, begun, &mut self.fresh) {
            self.too_long = Some(too_long);
        }
        self.in_segment = ends == Ends::Nothing;
        if !self.in_segment {
            self.fill.empty();
            self.ended_segments += 1;
        }
    }
}

fn head_of(header: &Header) -> Vec<u8> {
    let mut head = Vec::new();
    let wrapped = piece::wrap(Kind::Header, Key::None, &header.to_line(), &mut head);
    wrapped.expect("a header is no longer than what SSH allows a channel request to be");
    head
}
