//! What an index says of one segment.

use recording::{Digest, Link, SEGMENT_BYTES, Segment, Span};

/// One segment: its fields, its link, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The fields that the chain is made of.
    pub segment: Segment,
    /// The chain up to and with it.
    pub link: Link,
    /// Number of its first event, from 1.
    pub first_event: u64,
    /// In the journal, the number of its first value; in a sealed file, the byte that its piece begins at.
    pub place: u64,
    /// How many pieces it is.
    pub pieces: u32,
    /// What a player must know of it.
    pub span: Span,
}

/// Why bytes are no entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryFault {
    /// They end too early.
    #[error("an index entry is cut off after {0} bytes")]
    Cut(usize),
    /// Its span cannot be read.
    #[error("the span of an index entry: {0}")]
    Span(#[source] serde_json::Error),
}

impl Entry {
    /// Its bytes: the segment's fields, the link, the numbers in the order of the struct, and the span as JSON.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_BYTES + 52 + 128);
        bytes.extend_from_slice(&self.segment.to_bytes());
        bytes.extend_from_slice(self.link.as_bytes());
        bytes.extend_from_slice(&self.first_event.to_be_bytes());
        bytes.extend_from_slice(&self.place.to_be_bytes());
        bytes.extend_from_slice(&self.pieces.to_be_bytes());
        serde_json::to_writer(&mut bytes, &self.span)
            .expect("a span of numbers and texts always becomes JSON");
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Entry, EntryFault> {
        let cut = || EntryFault::Cut(bytes.len());
        let (segment, rest) = bytes.split_first_chunk::<SEGMENT_BYTES>().ok_or_else(cut)?;
        let (link, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (first_event, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (place, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (pieces, span) = rest.split_first_chunk().ok_or_else(cut)?;
        Ok(Entry {
            segment: Segment::from_bytes(segment),
            link: Digest::from_bytes(*link),
            first_event: u64::from_be_bytes(*first_event),
            place: u64::from_be_bytes(*place),
            pieces: u32::from_be_bytes(*pieces),
            span: serde_json::from_slice(span).map_err(EntryFault::Span)?,
        })
    }

    /// Number of the event after its last.
    pub fn next_event(&self) -> u64 {
        self.first_event.saturating_add(self.span.events)
    }
}
