//! Reading a recording out of the store: sealed parts, then the journal, then tails.

use std::collections::BTreeMap;

use recording::{Header, Layout, SessionId, Span, Timeline};

use crate::{
    Archive, Entry,
    opened::{Fetch, OpenRecording, ReadFault},
    part::{FramePlace, Part},
    salvage::Before,
    stored,
    tail::{self, Ends, Place, Scan, Standing, TailReader},
};

/// What lies here may move on while it is read: then it is looked for again, so often at most.
const LOOKS: usize = 8;

/// Where a segment lies.
enum Lies {
    Part(u32, Box<Entry>),
    Journal(Box<Entry>),
    /// In frames, behind a marker that tells of missing events, if some are.
    Tails {
        lead: Vec<u8>,
        places: Vec<(u32, Place)>,
        plain_len: u64,
    },
}

/// Where a key frame lies.
enum FrameLies {
    Part(u32, FramePlace),
    Journal,
}

/// One recording, as the store has it.
struct Local {
    archive: Archive,
    id: SessionId,
    layout: Layout,
    /// The sealed parts. They never change, so each is read once.
    parts: Vec<Part>,
    segments: Vec<Lies>,
    frames: BTreeMap<u64, FrameLies>,
    spans: Vec<Span>,
    /// How far the recording was packed when it was looked for.
    seen: Option<Packed>,
    /// Where the open segment begins in the tails, and whether the last of `segments` is that one.
    standing: Option<Standing>,
    is_last_open: bool,
    has_ended: bool,
}

/// How far a recording is packed: when this changes, its segments have moved.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed {
    parts: u32,
    first_unsealed: u64,
    next_event: u64,
    framed: u64,
    is_whole: bool,
}

impl Archive {
    /// Opens a recording for reading, also one that is being written: as far as it is written.
    ///
    /// # Errors
    /// When there is none of that id, or it cannot be read.
    pub fn open_recording(&self, id: SessionId) -> Result<OpenRecording, ReadFault> {
        let header_line = self.header_line_of(id)?;
        let layout = Header::from_line(&header_line).map_err(ReadFault::of)?.facts.layout;
        let mut local = Local {
            archive: self.clone(),
            id,
            layout,
            parts: Vec::new(),
            segments: Vec::new(),
            frames: BTreeMap::new(),
            spans: Vec::new(),
            seen: None,
            standing: None,
            is_last_open: false,
            has_ended: false,
        };
        local.look()?;
        OpenRecording::new(header_line, Box::new(local))
    }

    fn header_line_of(&self, id: SessionId) -> Result<Vec<u8>, ReadFault> {
        if let Some(line) = self.journal().header_line(id).map_err(ReadFault::of)? {
            return Ok(line);
        }
        if let Some(line) = self.store().header_line(id, 1).map_err(ReadFault::of)? {
            return Ok(line);
        }
        let scan = Scan::open(&self.tails(), id, 1, None).and_then(|mut scan| scan.any_header_line());
        if let Some(line) = scan.map_err(ReadFault::of)? {
            return Ok(line);
        }
        let live = self.live().get(&id).map(|live| live.header().to_line());
        live.ok_or_else(|| ReadFault(format!("{id}: no such session")))
    }
}

impl Local {
    /// Finds out where everything lies.
    fn look(&mut self) -> Result<(), ReadFault> {
        for _ in 0..LOOKS {
            let before = self.packed()?;
            let found = match self.seen == Some(before) {
                true => self.look_further(),
                false => self.look_anew(before),
            };
            if self.packed()? == before {
                self.seen = Some(before).filter(|_| found.is_ok());
                return found;
            }
            self.seen = None; // it moved while it was looked at
        }
        Err(ReadFault(format!("{}: moves faster than it can be read", self.id)))
    }

    fn packed(&self) -> Result<Packed, ReadFault> {
        let book = self.archive.journal().book(self.id).map_err(ReadFault::of)?;
        let none = Packed { parts: 0, first_unsealed: 1, next_event: 1, framed: 1, is_whole: false };
        Ok(book.map_or(none, |book| Packed {
            parts: book.parts,
            first_unsealed: book.first_unsealed,
            next_event: book.next_event,
            framed: book.framed,
            is_whole: book.is_whole(),
        }))
    }

    fn look_anew(&mut self, packed: Packed) -> Result<(), ReadFault> {
        let journal = self.archive.journal();
        let mut segments = Vec::new();
        let (mut spans, mut frames) = (Vec::new(), BTreeMap::new());
        for number in (1..=packed.parts).skip(self.parts.len()) {
            let before = self.parts.last().map_or_else(|| Before::all(self.id), Before::behind);
            let part = self.archive.store().part_or_rest(self.id, number, before, self.layout);
            let part = part.map_err(ReadFault::of)?;
            let file = self.archive.store().file(self.id, number);
            self.parts.push(part.ok_or_else(|| ReadFault(format!("{}: is gone", file.display())))?);
        }
        for part in &self.parts {
            let number = part.footer.number;
            frames
                .extend(part.keyframes.iter().map(|frame| (frame.segment, FrameLies::Part(number, *frame))));
            for entry in &part.entries {
                spans.push(entry.span.clone());
                segments.push(Lies::Part(number, Box::new(entry.clone())));
            }
        }
        for entry in journal.entries(self.id, packed.first_unsealed).map_err(ReadFault::of)? {
            spans.push(entry.span.clone());
            segments.push(Lies::Journal(Box::new(entry)));
        }
        for segment in journal.keyframes(self.id).map_err(ReadFault::of)? {
            frames.insert(segment, FrameLies::Journal);
        }
        for (index, span) in (1..).zip(&mut spans) {
            span.has_keyframe = frames.contains_key(&index);
        }
        (self.segments, self.frames, self.spans) = (segments, frames, spans);
        (self.standing, self.is_last_open, self.has_ended) = (None, false, packed.is_whole);
        if packed.is_whole { Ok(()) } else { self.look_at_tails(packed.next_event) }
    }

    /// Nothing has moved: only the tails have grown.
    fn look_further(&mut self) -> Result<(), ReadFault> {
        if self.has_ended {
            return Ok(());
        }
        if std::mem::take(&mut self.is_last_open) {
            self.segments.pop();
            self.spans.pop();
        }
        let next_event = self.standing.map_or(1, |standing| standing.next_event);
        self.look_at_tails(next_event)
    }

    /// Reads on in the tails, from where the open segment began.
    fn look_at_tails(&mut self, next_event: u64) -> Result<(), ReadFault> {
        let tails = self.archive.tails();
        let mut scan = Scan::open(&tails, self.id, next_event, self.standing).map_err(ReadFault::of)?;
        loop {
            self.standing = Some(scan.standing());
            let run = scan.next_run().map_err(ReadFault::of)?;
            let is_open = run.ends == Ends::Nothing;
            if run.events > 0 {
                self.spans.push(run.span(self.layout));
                let lead = run.plain.get(..run.lead_bytes).unwrap_or_default().to_vec();
                let (places, plain_len) = (run.places, run.plain.len() as u64);
                self.segments.push(Lies::Tails { lead, places, plain_len });
                self.is_last_open = is_open;
            }
            self.has_ended = matches!(run.ends, Ends::Recording(_));
            if is_open || self.has_ended {
                return Ok(());
            }
        }
    }

    /// The stored form of a segment, if it still lies where it did.
    fn fetch(&self, segment: usize) -> Result<Option<(Vec<u8>, u64)>, ReadFault> {
        let missing = || ReadFault(format!("{}: there is no segment {}", self.id, segment + 1));
        match self.segments.get(segment).ok_or_else(missing)? {
            Lies::Part(number, entry) => {
                let stored = self.archive.store().stored(self.id, *number, entry).map_err(ReadFault::of)?;
                Ok(stored.map(|stored| (stored, entry.segment.plain_len)))
            }
            Lies::Journal(entry) => {
                let stored = self.archive.journal().stored(self.id, entry).map_err(ReadFault::of)?;
                Ok(stored.map(|stored| (stored, entry.segment.plain_len)))
            }
            Lies::Tails { lead, places, plain_len } => {
                let plain = self.read_tails(lead, places);
                let plain = plain.filter(|plain| plain.len() as u64 == *plain_len);
                Ok(plain.map(|plain| (stored::as_it_is(&plain), *plain_len)))
            }
        }
    }

    fn read_tails(&self, lead: &[u8], places: &[(u32, Place)]) -> Option<Vec<u8>> {
        let mut plain = lead.to_vec();
        let mut open = None::<(u32, TailReader)>;
        for (number, place) in places {
            if open.as_ref().is_none_or(|(opened, _)| opened != number) {
                let path = tail::path(&self.archive.tails(), self.id, *number);
                open = Some((*number, TailReader::open(&path).ok()?));
            }
            let (_, tail) = open.as_mut()?;
            tail.seek(place.offset).ok()?;
            let (found, frame) = tail.next_frame().ok()??;
            if found != *place {
                return None; // what stood there is damaged by now
            }
            plain.extend_from_slice(&frame.events);
        }
        Some(plain)
    }
}

impl Fetch for Local {
    fn timeline(&mut self) -> Result<Timeline, ReadFault> {
        self.look()?;
        Ok(Timeline::new(self.spans.clone()))
    }

    fn stored(&mut self, segment: usize) -> Result<(Vec<u8>, u64), ReadFault> {
        for _ in 0..LOOKS {
            if let Some(found) = self.fetch(segment)? {
                return Ok(found);
            }
            self.seen = None; // it has moved on meanwhile
            self.look()?;
        }
        Err(ReadFault(format!("{}: segment {} is not where its index says", self.id, segment + 1)))
    }

    fn keyframe(&mut self, segment: usize) -> Result<Option<Vec<u8>>, ReadFault> {
        let index = segment as u64 + 1;
        for _ in 0..LOOKS {
            let found = match self.frames.get(&index) {
                None => return Ok(None),
                Some(FrameLies::Part(number, frame)) => {
                    let keyframe = self.archive.store().keyframe(self.id, *number, frame);
                    return Ok(keyframe.unwrap_or_default()); // a damaged one is none: an earlier one serves
                }
                Some(FrameLies::Journal) => self.archive.journal().keyframe(self.id, index),
            };
            match found {
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => {
                    self.seen = None;
                    self.look()?;
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn has_ended(&mut self) -> Result<bool, ReadFault> {
        Ok(self.has_ended)
    }
}
