//! A recording that stands at an instant, and can be wound to any other.
//!
//! Whichever way it is wound, it never starts over: it takes the nearest key frame at or before the instant and
//! plays the rest of that stretch. A recording is asked for one segment at a time, so its size does not matter.

use std::{sync::Arc, time::Duration};

use recording::{AvtReplica, CastHeader, Elapsed, Event, Replica as _, Span, What};

use crate::source::{About, Flaw, Growth, Source, SourceFault, await_all, show};

/// How many decoded segments are kept: the one being played and its neighbours.
const SEGMENTS_KEPT: usize = 3;

/// How far the replica was played: so many events of this segment, and all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    segment: usize,
    fed: usize,
}

/// A recording at an instant.
pub struct Reel {
    source: Box<dyn Source>,
    replica: AvtReplica,
    place: Place,
    kept: Vec<(usize, Arc<[Event]>)>,
}

impl Reel {
    /// The recording, at its beginning.
    pub fn new(source: Box<dyn Source>) -> Self {
        let replica = blank(source.as_ref());
        Reel { source, replica, place: Place::default(), kept: Vec::new() }
    }

    /// Winds to an instant: everything that happened until then is on the screen, and nothing that came later.
    ///
    /// # Errors
    /// The recording cannot be read there; the screen is somewhere between.
    pub fn go(&mut self, to: Elapsed) -> Result<(), SourceFault> {
        let place = match self.segment_at(to) {
            None => Place::default(),
            Some(segment) => {
                Place { segment, fed: self.events(segment)?.partition_point(|event| event.at <= to) }
            }
        };
        self.wind(place)
    }

    /// Shows one more output, and answers when it came.
    ///
    /// # Errors
    /// As [`Reel::go`].
    pub fn step_forward(&mut self) -> Result<Elapsed, SourceFault> {
        let mut place = self.place;
        while place.segment < self.spans().len() {
            let events = self.events(place.segment)?;
            let after = events.iter().enumerate().skip(place.fed).find(|(_, event)| is_seen(event));
            if let Some((index, event)) = after {
                self.wind(Place { fed: index + 1, ..place })?;
                return Ok(event.at);
            }
            place = Place { segment: place.segment + 1, fed: 0 };
        }
        self.go(self.end())?;
        Ok(self.end())
    }

    /// Takes the last output back, and answers when the one before it came.
    ///
    /// # Errors
    /// As [`Reel::go`].
    pub fn step_back(&mut self) -> Result<Elapsed, SourceFault> {
        let last = self.seen_before(self.place)?;
        let before = last.map(|(place, _)| self.seen_before(place)).transpose()?.flatten();
        let (place, at) = match before {
            Some((place, at)) => (Place { fed: place.fed + 1, ..place }, at),
            None => (Place::default(), Elapsed::ZERO),
        };
        self.wind(place)?;
        Ok(at)
    }

    /// The last event before `place` that changed the screen: its own place, and when it happened.
    fn seen_before(&mut self, place: Place) -> Result<Option<(Place, Elapsed)>, SourceFault> {
        let mut fed = Some(place.fed);
        for segment in (0..=place.segment.min(self.spans().len().saturating_sub(1))).rev() {
            let events = self.events(segment)?;
            let before = events.iter().enumerate().take(fed.take().unwrap_or(usize::MAX));
            if let Some((index, event)) = before.rev().find(|(_, event)| is_seen(event)) {
                return Ok(Some((Place { segment, fed: index }, event.at)));
            }
        }
        Ok(None)
    }

    fn wind(&mut self, to: Place) -> Result<(), SourceFault> {
        let nearest = self.nearest_keyframe(to.segment);
        let passes_one = nearest.is_some_and(|segment| self.place < Place { segment, fed: 0 });
        if to < self.place || passes_one {
            self.restart(nearest)?;
        }
        while self.place != to {
            let events = self.events(self.place.segment)?;
            let until = if self.place.segment == to.segment { to.fed } else { events.len() };
            for event in events.get(self.place.fed..until).unwrap_or_default() {
                show(&mut self.replica, event, self.source.has_terminal());
            }
            self.place.fed = until;
            if self.place.segment < to.segment {
                self.place = Place { segment: self.place.segment + 1, fed: 0 };
            }
        }
        Ok(())
    }

    /// Begins anew at the nearest key frame that can be read; without any, at the beginning.
    fn restart(&mut self, mut nearest: Option<usize>) -> Result<(), SourceFault> {
        while let Some(segment) = nearest {
            if let Some(replica) = self.source.keyframe(segment)? {
                self.replica = replica;
                self.place = Place { segment, fed: 0 };
                return Ok(());
            }
            nearest = segment.checked_sub(1).and_then(|before| self.nearest_keyframe(before));
        }
        self.replica = blank(self.source.as_ref());
        self.place = Place::default();
        Ok(())
    }

    fn nearest_keyframe(&self, until: usize) -> Option<usize> {
        let spans = self.spans();
        spans.iter().take(until + 1).rposition(|span| span.has_keyframe)
    }

    /// Where playing for `by` leads from `from`, if no idle stretch is played for longer than `limit`.
    ///
    /// # Errors
    /// As [`Reel::go`].
    pub fn later(
        &mut self,
        from: Elapsed,
        by: Duration,
        limit: Option<Duration>,
    ) -> Result<Elapsed, SourceFault> {
        let Some(limit) = limit else { return Ok(from.after(by).min(self.end())) };
        let (mut at, mut left) = (from, by);
        loop {
            let stretch = match self.stretch_after(at, limit)? {
                Some(stretch) => stretch,
                None => return Ok(self.end()),
            };
            let free = stretch.until.since(at);
            if left < free {
                return Ok(at.after(left));
            }
            left -= free;
            at = stretch.next;
        }
    }

    /// Where the same way back leads: `earlier` undoes `later`.
    ///
    /// # Errors
    /// As [`Reel::go`].
    pub fn earlier(
        &mut self,
        from: Elapsed,
        by: Duration,
        limit: Option<Duration>,
    ) -> Result<Elapsed, SourceFault> {
        let Some(limit) = limit else { return Ok(before(from, by)) };
        let (mut at, mut left) = (from, by);
        while at > Elapsed::ZERO {
            let (since, until) = self.stretch_before(at, limit)?;
            at = at.min(until);
            let free = at.since(since);
            if left <= free {
                return Ok(before(at, left));
            }
            left -= free;
            at = since;
        }
        Ok(Elapsed::ZERO)
    }

    /// What is played next from `at`: a stretch without long idle, then a leap to the next event.
    fn stretch_after(&mut self, at: Elapsed, limit: Duration) -> Result<Option<Stretch>, SourceFault> {
        let segment = self.segment_at(at);
        if let Some(span) = segment.and_then(|segment| self.span(segment))
            && at < span.last
        {
            if span.last.since(span.first) <= limit {
                return Ok(Some(Stretch { until: span.last, next: span.last }));
            }
            let events = self.events(segment.unwrap_or_default())?;
            let place = events.partition_point(|event| event.at <= at);
            let last =
                place.checked_sub(1).and_then(|place| events.get(place)).map_or(span.first, |event| event.at);
            let next = events.get(place).map_or(span.last, |event| event.at);
            return Ok(Some(Stretch { until: next.min(last.after(limit)), next }));
        }
        let last = segment.and_then(|segment| self.span(segment)).map_or(Elapsed::ZERO, |span| span.last);
        let next = self.span(segment.map_or(0, |segment| segment + 1)).map(|span| span.first);
        Ok(next.map(|next| Stretch { until: next.min(last.after(limit)), next }))
    }

    /// What was played last before `at`: since when, and until when before the leap.
    fn stretch_before(&mut self, at: Elapsed, limit: Duration) -> Result<(Elapsed, Elapsed), SourceFault> {
        let Some(segment) = self.spans().partition_point(|span| span.first < at).checked_sub(1) else {
            return Ok((Elapsed::ZERO, Elapsed::ZERO.after(limit)));
        };
        let Some(span) = self.span(segment) else { return Ok((Elapsed::ZERO, at)) };
        if at > span.last {
            return Ok((span.last, span.last.after(limit)));
        }
        if span.last.since(span.first) <= limit {
            return Ok((span.first, at));
        }
        let events = self.events(segment)?;
        let place = events.partition_point(|event| event.at < at);
        let last =
            place.checked_sub(1).and_then(|place| events.get(place)).map_or(span.first, |event| event.at);
        Ok((last, last.after(limit)))
    }

    /// The last segment that begins at or before this instant.
    fn segment_at(&self, at: Elapsed) -> Option<usize> {
        self.spans().partition_point(|span| span.first <= at).checked_sub(1)
    }

    fn spans(&self) -> &[Span] {
        self.source.timeline().spans()
    }

    fn span(&self, segment: usize) -> Option<Reach> {
        self.spans().get(segment).map(|span| Reach { first: span.first, last: span.last })
    }

    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, SourceFault> {
        if let Some(at) = self.kept.iter().position(|(kept, _)| *kept == segment) {
            let found = self.kept.remove(at);
            self.kept.push(found);
        } else {
            let events = self.source.events(segment)?;
            if self.kept.len() == SEGMENTS_KEPT {
                self.kept.remove(0);
            }
            self.kept.push((segment, events));
        }
        Ok(self.kept.last().map(|(_, events)| Arc::clone(events)).unwrap_or_default())
    }

    /// Looks whether there is more of the recording by now. True if something changed.
    ///
    /// # Errors
    /// The recording cannot be read any more.
    pub fn refresh(&mut self) -> Result<bool, SourceFault> {
        let last = self.spans().len().saturating_sub(1);
        let grown = self.source.refresh()?;
        if grown {
            // The last segment was still open: what is kept of it may lack its end.
            self.kept.retain(|(segment, _)| *segment < last);
        }
        Ok(grown)
    }

    /// Waits until all of the recording that exists can be read.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn await_all(&mut self) -> Result<(), SourceFault> {
        await_all(self.source.as_mut());
        self.refresh().map(drop)
    }

    /// Bytes of all that was recorded so far, encoded.
    pub fn plain_bytes(&self) -> u64 {
        self.spans().iter().map(|span| span.plain_bytes).sum()
    }

    /// The recorded screen.
    pub fn replica(&self) -> &AvtReplica {
        &self.replica
    }

    /// When the last event happened.
    pub fn end(&self) -> Elapsed {
        self.source.timeline().end()
    }

    /// The markers, in order.
    pub fn markers(&self) -> impl DoubleEndedIterator<Item = (Elapsed, &str)> {
        self.source.timeline().markers()
    }

    /// Whose session it was.
    pub fn about(&self) -> &About {
        self.source.about()
    }

    /// Whether there may be more of it later.
    pub fn growth(&self) -> Growth {
        self.source.growth()
    }

    /// What is known to be wrong with the recording.
    pub fn flaw(&self) -> Option<Flaw> {
        self.source.flaw()
    }
}

/// When a segment begins and ends.
#[derive(Clone, Copy)]
struct Reach {
    first: Elapsed,
    last: Elapsed,
}

struct Stretch {
    until: Elapsed,
    next: Elapsed,
}

fn blank(source: &dyn Source) -> AvtReplica {
    let CastHeader { cols, rows, .. } = source.header();
    AvtReplica::blank(*cols, *rows)
}

fn before(at: Elapsed, by: Duration) -> Elapsed {
    Elapsed::from(at.since(Elapsed::ZERO).saturating_sub(by))
}

/// Whether the viewer sees a difference.
fn is_seen(event: &Event) -> bool {
    matches!(event.what, What::Output(_) | What::ErrorOutput(_) | What::Notice(_) | What::Resize { .. })
}
