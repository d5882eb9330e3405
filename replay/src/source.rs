//! Where a recording comes from: a cast file, a pipe, a session of the local server or of its store.

mod about;
mod cast;
mod indexer;
mod open;
mod session;

use std::{io, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use recording::{AvtReplica, CastHeader, DecodeFault, Event, Replica as _, Timeline, What};

pub use about::About;
pub use cast::CastSource;
pub use indexer::IndexFault;
pub use open::{OpenFault, Shelf, open};
pub use session::SessionSource;

/// What a recording is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Its screen at any instant.
    Screens,
    /// Its events alone. A cast is then read without being drawn, however much it draws.
    Events,
}

/// A recording that can be read in any order, one segment at a time.
pub trait Source {
    /// Whose session it was.
    fn about(&self) -> &About;

    /// What its first line says.
    fn header(&self) -> &CastHeader;

    /// Whether it was on a terminal; otherwise a line feed returns to the first column by itself.
    fn has_terminal(&self) -> bool;

    /// Its index, as far as it is known.
    fn timeline(&self) -> &Timeline;

    /// The events of a segment; none if there is no such segment.
    ///
    /// # Errors
    /// It cannot be read.
    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, SourceFault>;

    /// The screen before the first event of a segment, if one was kept.
    ///
    /// # Errors
    /// It cannot be read.
    fn keyframe(&mut self, segment: usize) -> Result<Option<AvtReplica>, SourceFault>;

    /// Looks whether there is more by now; true if something changed. Segments are only added, and only the last
    /// one grows.
    ///
    /// # Errors
    /// It cannot be read any more.
    fn refresh(&mut self) -> Result<bool, SourceFault>;

    /// Waits until more is known, of a recording that is still being read; returns at once of any other.
    fn await_more(&mut self);

    /// Whether there may be more of it later.
    fn growth(&self) -> Growth;

    /// What is known to be wrong with it.
    fn flaw(&self) -> Option<Flaw>;

    /// Reads all of it that was not read before, and tells what is wrong with it.
    fn check(&mut self) -> Option<Flaw> {
        self.flaw()
    }

    /// How many key frames are kept.
    fn keyframes(&self) -> usize {
        self.timeline().spans().iter().filter(|span| span.has_keyframe).count()
    }
}

/// Waits until all of it that exists can be read.
pub fn await_all(source: &mut dyn Source) {
    while matches!(source.growth(), Growth::Reading(_)) {
        source.await_more();
    }
}

/// What is wrong with a recording of which the rest can be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Its end is missing.
    #[error("{0}")]
    Incomplete(String),
    /// Something in it is not as it was recorded.
    #[error("{0}")]
    Broken(String),
}

/// Whether there may be more of a recording later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It is being read, so many hundredths of it so far if its length is known.
    Reading(Option<u8>),
    /// The session goes on.
    Live,
    /// This is all.
    Done,
}

/// Why a recording cannot be read where it should be.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// A segment does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeFault),
    /// The store, or the server that has it, does not give it.
    #[error(transparent)]
    Store(#[from] archive::ReadFault),
    /// What was kept of a cast cannot be read back.
    #[error("the temporary file cannot be read back: {0}")]
    Kept(io::Error),
}

/// Shows an event. Where there was no terminal, nobody turned a line feed into a new line, and it is done here.
pub fn show(replica: &mut AvtReplica, event: &Event, has_terminal: bool) {
    let what = match &event.what {
        What::Output(data) if !has_terminal => What::Output(with_returns(data)),
        What::ErrorOutput(data) if !has_terminal => What::ErrorOutput(with_returns(data)),
        What::Notice(data) if !has_terminal => What::Notice(with_returns(data)),
        _ => return replica.apply(event),
    };
    replica.apply(&Event { at: event.at, what });
}

/// The text with a carriage return before each line feed.
pub fn with_returns(data: &Bytes) -> Bytes {
    if !data.contains(&b'\n') {
        return data.clone();
    }
    let mut text = BytesMut::with_capacity(data.len() + data.len() / 32);
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                text.put_slice(line);
                text.put_slice(b"\r\n");
            }
            None => text.put_slice(line),
        }
    }
    text.freeze()
}
