//! A recording that is open for reading, wherever it lies.

use std::{collections::VecDeque, sync::Arc};

use recording::{CastHeader, Event, Header, Keyframe, Source, Timeline, decode};

use crate::stored;

/// So many decoded segments are kept: a player goes back and forth in few.
const KEPT_SEGMENTS: usize = 4;

/// Why a recording cannot be read: what was found, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadFault(pub String);

impl ReadFault {
    pub(crate) fn of(fault: impl ToString) -> Self {
        ReadFault(fault.to_string())
    }
}

/// Fetches the pieces of one recording: from the store, or from the server that has it.
pub trait Fetch: Send {
    /// Its index by now.
    ///
    /// # Errors
    /// When it cannot be read.
    fn timeline(&mut self) -> Result<Timeline, ReadFault>;

    /// The stored form of a segment, counted from 0, and the length of its plain form.
    ///
    /// # Errors
    /// When it cannot be read, or is not what its digest says.
    fn stored(&mut self, segment: usize) -> Result<(Vec<u8>, u64), ReadFault>;

    /// The key frame before a segment, counted from 0, as it is stored.
    ///
    /// # Errors
    /// When it cannot be read.
    fn keyframe(&mut self, segment: usize) -> Result<Option<Vec<u8>>, ReadFault>;

    /// Whether nothing more will come.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn has_ended(&mut self) -> Result<bool, ReadFault>;
}

/// A recording that is open for reading: the same from tails, journal, sealed files and a server.
pub struct OpenRecording {
    header_line: Vec<u8>,
    header: Header,
    cast: CastHeader,
    timeline: Timeline,
    fetch: Box<dyn Fetch>,
    kept: VecDeque<(usize, Arc<[Event]>)>,
}

impl OpenRecording {
    /// Opens what `fetch` fetches.
    ///
    /// # Errors
    /// When its header or its index cannot be read.
    pub fn new(header_line: Vec<u8>, mut fetch: Box<dyn Fetch>) -> Result<Self, ReadFault> {
        let header = Header::from_line(&header_line).map_err(ReadFault::of)?;
        let cast = CastHeader::from_line(&header_line).map_err(ReadFault::of)?;
        let timeline = fetch.timeline()?;
        Ok(OpenRecording { header_line, header, cast, timeline, fetch, kept: VecDeque::new() })
    }

    /// The header line, byte for byte.
    pub fn header_line(&self) -> &[u8] {
        &self.header_line
    }

    /// What the session was.
    pub fn session(&self) -> &Header {
        &self.header
    }

    /// Reads how far it is by now. Answers whether it has grown.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn refresh(&mut self) -> Result<bool, ReadFault> {
        let timeline = self.fetch.timeline()?;
        let has_grown = timeline != self.timeline;
        if has_grown {
            // The last segment may have been open; all before it never change.
            let last = self.timeline.spans().len().saturating_sub(1);
            self.kept.retain(|(segment, _)| *segment < last);
            self.timeline = timeline;
        }
        Ok(has_grown)
    }

    /// Whether the session is over, and nothing more will come.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn has_ended(&mut self) -> Result<bool, ReadFault> {
        self.fetch.has_ended()
    }

    /// The plain form of a segment, counted from 0: of a terminal session, its part of the `.cast` file.
    ///
    /// # Errors
    /// When it cannot be read, or is not what its digest says.
    pub fn plain(&mut self, segment: usize) -> Result<Vec<u8>, ReadFault> {
        let (stored, plain_len) = self.fetch.stored(segment)?;
        stored::plain(&stored, plain_len).map_err(|fault| self.at(segment, fault))
    }

    /// The stored form of a segment, counted from 0, and the length of its plain form.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stored(&mut self, segment: usize) -> Result<(Vec<u8>, u64), ReadFault> {
        self.fetch.stored(segment)
    }

    /// The key frame before a segment, counted from 0, as it is stored.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stored_keyframe(&mut self, segment: usize) -> Result<Option<Vec<u8>>, ReadFault> {
        self.fetch.keyframe(segment)
    }

    fn at(&self, segment: usize, fault: impl std::fmt::Display) -> ReadFault {
        ReadFault(format!("{}: segment {}: {fault}", self.header.facts.id, segment + 1))
    }
}

impl Source for OpenRecording {
    type Error = ReadFault;

    fn header(&self) -> &CastHeader {
        &self.cast
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, ReadFault> {
        if let Some((_, events)) = self.kept.iter().find(|(kept, _)| *kept == segment) {
            return Ok(events.clone());
        }
        let plain = self.plain(segment)?;
        let events = decode(self.header.facts.layout, &plain).map_err(|fault| self.at(segment, fault))?;
        let events: Arc<[Event]> = events.into();
        self.kept.truncate(KEPT_SEGMENTS - 1);
        self.kept.push_front((segment, events.clone()));
        Ok(events)
    }

    fn keyframe(&mut self, segment: usize) -> Result<Option<Keyframe>, ReadFault> {
        Ok(self.fetch.keyframe(segment)?.and_then(|bytes| stored::read_keyframe(&bytes)))
    }
}
