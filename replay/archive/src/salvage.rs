//! A part of which the index or the footer is damaged, as far as its other pieces tell.
//!
//! They are read one behind the other and never searched for: what a client has sent may look like pieces. What is made
//! of them serves reading alone. It proves nothing, and `verify` goes on naming what is damaged.

use std::borrow::Cow;

use recording::{
    Elapsed, Layout, Link, Segment, SessionId, Span, decode, link_0,
    piece::{self, Kind, WRAPPING_BYTES},
};

use crate::{
    Entry, State, Summary,
    part::{FOOTER_PIECE_BYTES, Footer, Part, read_index},
    stored,
    tail::End,
};

/// How far a recording is before a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    /// Index of the part's first segment.
    pub(crate) segment: u64,
    /// Number of its first event.
    pub(crate) event: u64,
    /// The chain so far.
    pub(crate) link: Link,
}

impl Before {
    /// Before the first part, for a reader, who needs no chain.
    pub(crate) fn all(id: SessionId) -> Self {
        Before { segment: 1, event: 1, link: link_0(&id, &[]) }
    }

    /// Before the part behind this one.
    pub(crate) fn behind(part: &Part) -> Self {
        let segment = part.footer.first_segment + part.footer.segments;
        let event = part.entries.last().map_or(1, Entry::next_event);
        Before { segment, event, link: part.footer.link_after }
    }
}

const KINDS: [Kind; 6] =
    [Kind::Segment, Kind::Keyframe, Kind::Header, Kind::Index, Kind::Summary, Kind::Footer];

/// What the bytes of a damaged part tell; none if they hold neither an index nor a segment that can be read.
pub(crate) fn salvage(
    id: SessionId,
    number: u32,
    before: Before,
    layout: Layout,
    bytes: &[u8],
) -> Option<Part> {
    let (mut entries, mut index, mut ends) = (Vec::new(), None, None);
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = (bytes.len() - rest.len()) as u64;
        let Some(Piece { kind, payload, after }) = next_piece(rest) else {
            let Some(after) = behind(rest) else { break };
            rest = after;
            continue;
        };
        match kind {
            Kind::Segment => entries.extend(entry(&entries, before, layout, at, &payload)),
            Kind::Index => index = read_index(&payload).ok().map(|read| (at, read)),
            Kind::Summary => ends = serde_json::from_slice(&payload).ok().and_then(end),
            _ => {}
        }
        rest = after;
    }
    let (index_at, (entries, keyframes)) = index.unwrap_or((bytes.len() as u64, (entries, Vec::new())));
    let link_after = entries.last().map_or(before.link, |entry| entry.link);
    let read = Footer::read(bytes).ok().filter(|footer| footer.id == id && footer.number == number);
    let made = || Footer {
        id,
        number,
        ends,
        first_segment: before.segment,
        segments: entries.len() as u64,
        link_before: before.link,
        link_after,
        index_at,
        summary_at: index_at,
        footer_at: (bytes.len() as u64).saturating_sub(FOOTER_PIECE_BYTES as u64),
        digest: recording::Digest::of(&[]),
    };
    let footer = read.unwrap_or_else(made);
    (!entries.is_empty()).then_some(Part { footer, entries, keyframes })
}

struct Piece<'a> {
    kind: Kind,
    payload: Cow<'a, [u8]>,
    after: &'a [u8],
}

/// The piece that these bytes begin with, and what follows it.
fn next_piece(bytes: &[u8]) -> Option<Piece<'_>> {
    KINDS.into_iter().find_map(|kind| {
        let (payload, after) = piece::unwrap(kind, bytes).ok()?;
        Some(Piece { kind, payload, after })
    })
}

/// What follows a piece that cannot be read, if it ends by its own word where another begins.
fn behind(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(*bytes.get(10..14)?.first_chunk()?);
    let after = bytes.get(WRAPPING_BYTES.checked_add(usize::try_from(length).ok()?)?..)?;
    next_piece(after).map(|_| after)
}

/// What an index would say of a segment, but for its nonce and its link.
fn entry(entries: &[Entry], before: Before, layout: Layout, place: u64, stored: &[u8]) -> Option<Entry> {
    let plain = stored::whole(stored).ok()?;
    let events = decode(layout, &plain).ok()?;
    let span = Span::of(&events, plain.len())?;
    let times: (Elapsed, Elapsed) = (span.first, span.last);
    let segment = Segment::close(before.segment + entries.len() as u64, times, [0; 16], &plain, stored);
    let first_event = entries.last().map_or(before.event, Entry::next_event);
    Some(Entry { segment, link: before.link, first_event, place, pieces: 1, span })
}

fn end(summary: Summary) -> Option<End> {
    match summary.state {
        State::Finished => Some(End::Finished),
        State::Interrupted => Some(End::Interrupted),
        State::Live => None,
    }
}
