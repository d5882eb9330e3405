//! A session of ours, from the store or from the server that has it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use archive::{Library, LibraryFault, OpenRecording, ReadFault, control::ControlFault};
use recording::{AvtReplica, CastHeader, Event, Layout, Replica as _, Source as _, Timeline};

use super::{About, Flaw, Growth, Source, SourceFault, show};

/// A live session is asked no more often than this whether it has grown.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A session of ours.
pub struct SessionSource {
    recording: OpenRecording,
    about: About,
    timeline: Timeline,
    growth: Growth,
    looked: Instant,
    library: Option<Library>,
}

impl SessionSource {
    /// Plays this recording.
    ///
    /// # Errors
    /// It cannot be found out whether the session goes on.
    pub fn new(mut recording: OpenRecording) -> Result<Self, ReadFault> {
        let growth = if recording.has_ended()? { Growth::Done } else { Growth::Live };
        let about = About::of_session(recording.session());
        let (timeline, looked) = (Timeline::default(), Instant::now());
        let mut source = SessionSource { recording, about, timeline, growth, looked, library: None };
        source.index();
        Ok(source)
    }

    /// With the library that it is from, which can check what is sealed of it.
    #[must_use]
    pub fn with_library(mut self, library: Library) -> Self {
        self.library = Some(library);
        self
    }

    /// Takes over the index. A channel without a terminal has no key frames; see [`SessionSource::keyframe`].
    fn index(&mut self) {
        let mut spans = self.recording.timeline().spans().to_vec();
        if !self.has_terminal() {
            spans.iter_mut().for_each(|span| span.has_keyframe = true);
        }
        self.timeline = Timeline::new(spans);
    }
}

impl Source for SessionSource {
    fn about(&self) -> &About {
        &self.about
    }

    fn header(&self) -> &CastHeader {
        self.recording.header()
    }

    fn has_terminal(&self) -> bool {
        self.recording.session().facts.layout == Layout::Lines
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, SourceFault> {
        Ok(self.recording.events(segment)?)
    }

    /// Without a terminal nothing was on a screen, and what is shown is the end of the text so far: it begins with the
    /// segment before. So a gigabyte of bulk is wound through as fast as a page.
    fn keyframe(&mut self, segment: usize) -> Result<Option<AvtReplica>, SourceFault> {
        if self.has_terminal() {
            let keyframe = self.recording.keyframe(segment)?;
            return Ok(keyframe.map(|keyframe| AvtReplica::restore(&keyframe)));
        }
        let CastHeader { cols, rows, .. } = *self.recording.header();
        let mut replica = AvtReplica::blank(cols, rows);
        if let Some(before) = segment.checked_sub(1) {
            self.recording.events(before)?.iter().for_each(|event| show(&mut replica, event, false));
        }
        Ok(Some(replica))
    }

    fn refresh(&mut self) -> Result<bool, SourceFault> {
        if self.growth == Growth::Done || self.looked.elapsed() < LOOK_EVERY {
            return Ok(false);
        }
        self.looked = Instant::now();
        // First whether it is over, then how far it is: the other way round its last events could be missed.
        let has_ended = self.recording.has_ended()?;
        let grown = self.recording.refresh()?;
        if grown {
            self.index();
        }
        if has_ended && !grown {
            self.growth = Growth::Done;
        }
        Ok(grown || has_ended)
    }

    fn await_more(&mut self) {}

    fn growth(&self) -> Growth {
        self.growth
    }

    fn flaw(&self) -> Option<Flaw> {
        let missing = self.timeline.missing();
        (missing > 0)
            .then(|| Flaw::Broken(format!("damaged: {missing} of its events cannot be read any more")))
    }

    /// Checks every byte of what is sealed, and reads what is not.
    fn check(&mut self) -> Option<Flaw> {
        let id = self.recording.session().facts.id;
        let sealed = self.library.as_ref().map_or(Ok(()), |library| library.verify(id));
        let mut segments = 0..self.timeline.spans().len();
        let unsealed = segments.try_for_each(|segment| self.recording.events(segment).map(drop));
        let flaw = sealed.map_err(flaw_of).and(unsealed.map_err(|fault| Flaw::Broken(fault.to_string())));
        flaw.err().or_else(|| self.flaw())
    }

    fn keyframes(&self) -> usize {
        self.recording.timeline().spans().iter().filter(|span| span.has_keyframe).count()
    }
}

/// What a fault of a check tells of the recording.
fn flaw_of(fault: LibraryFault) -> Flaw {
    match fault {
        LibraryFault::Archive(_) | LibraryFault::Control(ControlFault::Refused(_)) => {
            Flaw::Broken(fault.to_string())
        }
        _ => Flaw::Incomplete(format!("it cannot be checked: {fault}")),
    }
}
