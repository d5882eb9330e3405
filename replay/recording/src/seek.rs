//! Any instant of a recording, at once.
//!
//! The nearest key frame at or before the instant is restored, and the few events after it are shown: that is what
//! playing from the beginning would have come to, and it costs the same in a long recording as in a short one.

use std::sync::Arc;

use crate::{CastHeader, Elapsed, Event, Keyframe, Replica, Timeline};

/// Where a recording comes from: a file, a journal, a session that still goes on.
pub trait Source {
    /// Why it could not be read.
    type Error;

    /// What the recording says of itself.
    fn header(&self) -> &CastHeader;

    /// Its index. It may grow between two calls.
    fn timeline(&self) -> &Timeline;

    /// The events of one segment, counted from 0. Asked for again and again by who plays event by event: worth keeping.
    ///
    /// # Errors
    /// When the segment cannot be read.
    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, Self::Error>;

    /// The screen before the first event of a segment, if it was kept.
    ///
    /// # Errors
    /// When it cannot be read. A key frame that is damaged is better told as none: an earlier one serves.
    fn keyframe(&mut self, segment: usize) -> Result<Option<Keyframe>, Self::Error>;
}

/// How far one has come: the next event to show. No event between two positions is ever passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The segment, counted from 0.
    pub segment: usize,
    /// The event in it, counted from 0; equal to the number of events when the segment has been shown.
    pub event: usize,
}

/// A replica at a position of a recording.
pub struct Playback<R> {
    replica: R,
    position: Position,
}

/// The screen at this instant: everything up to and including it has been shown.
///
/// # Errors
/// When the source fails.
pub fn seek<R: Replica, S: Source>(source: &mut S, at: Elapsed) -> Result<Playback<R>, S::Error> {
    let mut playback = Playback::before(source, source.timeline().locate(at))?;
    playback.play_until(source, at)?;
    Ok(playback)
}

impl<R: Replica> Playback<R> {
    /// At the very beginning.
    pub fn start<S: Source>(source: &S) -> Self {
        let CastHeader { cols, rows, .. } = *source.header();
        Playback { replica: R::blank(cols, rows), position: Position::default() }
    }

    /// At the nearest key frame before the segment's first event.
    fn before<S: Source>(source: &mut S, segment: usize) -> Result<Self, S::Error> {
        for segment in (1..=segment).rev() {
            let is_there = source.timeline().spans().get(segment).is_some_and(|span| span.has_keyframe);
            if is_there && let Some(keyframe) = source.keyframe(segment)? {
                return Ok(Playback {
                    replica: R::restore(&keyframe),
                    position: Position { segment, event: 0 },
                });
            }
        }
        Ok(Self::start(source))
    }

    /// What the client's terminal shows.
    pub fn replica(&self) -> &R {
        &self.replica
    }

    /// How far it has come.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Shows what happened up to and including this instant. An instant that has passed changes nothing: seek.
    ///
    /// # Errors
    /// When the source fails; what was shown before stays shown.
    pub fn play_until<S: Source>(&mut self, source: &mut S, at: Elapsed) -> Result<(), S::Error> {
        while let Some(span) = source.timeline().spans().get(self.position.segment)
            && span.first <= at
        {
            let events = source.events(self.position.segment)?;
            for event in events.get(self.position.event..).unwrap_or_default() {
                if event.at > at {
                    return Ok(());
                }
                self.replica.apply(event);
                self.position.event += 1;
            }
            if !self.leave_segment(source) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next event, without showing it; `None` at the end.
    ///
    /// # Errors
    /// When the source fails.
    pub fn next<S: Source>(&mut self, source: &mut S) -> Result<Option<Event>, S::Error> {
        while self.position.segment < source.timeline().spans().len() {
            let events = source.events(self.position.segment)?;
            if let Some(event) = events.get(self.position.event) {
                return Ok(Some(event.clone()));
            }
            if !self.leave_segment(source) {
                break;
            }
        }
        Ok(None)
    }

    /// Shows the next event, and answers with it; `None` at the end.
    ///
    /// # Errors
    /// When the source fails.
    pub fn step<S: Source>(&mut self, source: &mut S) -> Result<Option<Event>, S::Error> {
        let next = self.next(source)?;
        if let Some(event) = &next {
            self.replica.apply(event);
            self.position.event += 1;
        }
        Ok(next)
    }

    /// Goes on to the next segment if there is one. The last segment is never left: it may still grow.
    fn leave_segment<S: Source>(&mut self, source: &S) -> bool {
        let has_next = self.position.segment + 1 < source.timeline().spans().len();
        if has_next {
            self.position = Position { segment: self.position.segment + 1, event: 0 };
        }
        has_next
    }
}
