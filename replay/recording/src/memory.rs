//! A recording that lies in memory: a `.cast` file of any program, or what comes in on a pipe.

use std::{convert::Infallible, sync::Arc};

use crate::{AvtReplica, CastHeader, Event, Fill, Keyframe, Layout, Replica, Source, Span, Timeline, What};

/// Events as they come in, cut into segments with a key frame each, so that one can seek in them.
///
/// The segment that is still open can be seeked in too: [`close`](MemorySource::close) it whenever a screen is to be
/// drawn, or at the end.
pub struct MemorySource {
    header: CastHeader,
    timeline: Timeline,
    segments: Vec<(Arc<[Event]>, Keyframe)>,
    /// The screen before the open segment's first event.
    begin: Keyframe,
    open: Vec<Event>,
    fill: Fill,
    replica: AvtReplica,
}

impl MemorySource {
    /// A recording that begins.
    pub fn new(header: CastHeader) -> Self {
        let replica = AvtReplica::blank(header.cols, header.rows);
        MemorySource {
            timeline: Timeline::default(),
            segments: Vec::new(),
            begin: replica.keyframe(),
            open: Vec::new(),
            fill: Fill::new(Layout::Lines, header.cols, header.rows),
            replica,
            header,
        }
    }

    /// Adds what happened next.
    pub fn push(&mut self, event: Event) {
        self.replica.apply(&event);
        self.fill.add(&event, payload_bytes(&event.what));
        self.open.push(event);
        if self.fill.is_full() {
            self.close();
        }
    }

    /// Closes the open segment, so that all that has been pushed can be seen.
    pub fn close(&mut self) {
        let plain_bytes = self.open.iter().map(|event| payload_bytes(&event.what)).sum();
        let Some(mut span) = Span::of(&self.open, plain_bytes) else { return };
        span.has_keyframe = true;
        self.timeline.push(span);
        let begin = std::mem::replace(&mut self.begin, self.replica.keyframe());
        self.segments.push((std::mem::take(&mut self.open).into(), begin));
        self.fill.empty();
    }
}

/// What stands for the plain form here, which is never made.
fn payload_bytes(what: &What) -> usize {
    match what {
        What::Opened(data)
        | What::Output(data)
        | What::ErrorOutput(data)
        | What::Input(data)
        | What::Shown { data, .. }
        | What::Injected(data)
        | What::Notice(data)
        | What::Act(data) => data.len(),
        What::Signal(text) | What::Marker(text) | What::Ended(text) => text.len(),
        What::Typed(_) | What::Resize { .. } | What::InputEnd | What::OutputEnd | What::Exit(_) => 0,
    }
}

impl Source for MemorySource {
    type Error = Infallible;

    fn header(&self) -> &CastHeader {
        &self.header
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, Infallible> {
        Ok(self.segments.get(segment).map(|(events, _)| events.clone()).unwrap_or_default())
    }

    fn keyframe(&mut self, segment: usize) -> Result<Option<Keyframe>, Infallible> {
        Ok(self.segments.get(segment).map(|(_, keyframe)| keyframe.clone()))
    }
}
