//! How far a recording is packed and sealed: one value of the journal.

use recording::{Header, Link, SessionId, link_0};
use serde::{Deserialize, Serialize};

use crate::{
    Entry, Summary,
    part::{FOOTER_PIECE_BYTES, Part},
    tail::End,
};

/// How far a recording is packed and sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) summary: Summary,
    /// How it ended, once the end has been read from its tail.
    #[serde(default)]
    pub(crate) ended: Option<End>,
    /// All of it lies in sealed files.
    #[serde(default)]
    pub(crate) is_sealed: bool,
    /// Number of the first event that is not packed.
    pub(crate) next_event: u64,
    /// Index of the next segment.
    pub(crate) next_segment: u64,
    /// The chain so far.
    #[serde(with = "as_text")]
    pub(crate) link: Link,
    /// How many parts are sealed.
    pub(crate) parts: u32,
    /// The first segment that lies in the journal, or in tails, and in no part.
    pub(crate) first_unsealed: u64,
    /// The chain before that segment.
    #[serde(with = "as_text")]
    pub(crate) sealed_link: Link,
    /// Bytes of all values of this recording that the journal holds, but for this one.
    pub(crate) journal_bytes: u64,
    /// The last segment that has a key frame; the first one needs none.
    pub(crate) framed: u64,
    /// Its terminal could not be replayed any further.
    #[serde(default)]
    pub(crate) is_unframed: bool,
}

impl Book {
    pub(crate) fn new(id: SessionId, header: &Header, line: &[u8]) -> Self {
        let link = link_0(&id, line);
        Book {
            summary: Summary::of(header),
            ended: None,
            is_sealed: false,
            next_event: 1,
            next_segment: 1,
            link,
            parts: 0,
            first_unsealed: 1,
            sealed_link: link,
            journal_bytes: 0,
            framed: 1,
            is_unframed: false,
        }
    }

    /// A segment is packed.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.next_event = entry.next_event();
        self.next_segment = entry.segment.index + 1;
        self.link = entry.link;
        self.summary.events += entry.span.events;
        self.summary.bytes += entry.segment.plain_len;
        self.summary.outcome.then(&entry.span.outcome);
        self.summary.duration_us = self.summary.duration_us.max(entry.span.last.as_micros());
    }

    /// Its end has been read.
    pub(crate) fn end(&mut self, end: End) {
        self.ended = Some(end);
        self.summary.state = end.into();
        self.summary.ended_us = Some(self.summary.started_us.saturating_add(self.summary.duration_us));
    }

    /// Whether all of it is packed that ever will be.
    pub(crate) fn is_whole(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether key frames may still come.
    pub(crate) fn wants_frames(&self) -> bool {
        !self.is_unframed && self.framed + 1 < self.next_segment
    }
}

/// A sealed part, as the journal's index tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartRef {
    /// Its number, from 1.
    pub(crate) number: u32,
    /// Its first segment.
    pub(crate) first_segment: u64,
    /// How many segments it holds.
    pub(crate) segments: u64,
    /// When its first event happened, in microseconds; none without events.
    pub(crate) first_us: Option<u64>,
    /// When its last event happened.
    pub(crate) last_us: Option<u64>,
    /// How large the file is.
    pub(crate) bytes: u64,
    /// Where its index stands.
    pub(crate) index_at: u64,
}

impl PartRef {
    pub(crate) fn of(part: &Part) -> Self {
        let footer = &part.footer;
        PartRef {
            number: footer.number,
            first_segment: footer.first_segment,
            segments: footer.segments,
            first_us: part.entries.first().map(|entry| entry.span.first.as_micros()),
            last_us: part.entries.last().map(|entry| entry.span.last.as_micros()),
            bytes: footer.footer_at + FOOTER_PIECE_BYTES as u64,
            index_at: footer.index_at,
        }
    }
}

mod as_text {
    use recording::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
