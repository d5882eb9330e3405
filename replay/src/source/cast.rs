//! A cast of anybody's: a file, or what comes through a pipe.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, stdin},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, atomic::Ordering, mpsc::TryRecvError},
};

use recording::{AvtReplica, CastHeader, Ending, Event, Keyframe, Layout, Replica as _, Timeline, decode};

use super::{
    About, Flaw, Growth, Source, SourceFault, Wanted,
    indexer::{IndexFault, Indexer, News, Place, has_terminal},
};

/// The most bytes that a compressed piece of ours may become. A segment ends with the event that fills it, and no
/// event of a cast is longer than the pieces of it that are joined.
const PLAIN_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A cast, indexed while it is played.
pub struct CastSource {
    about: About,
    indexer: Indexer,
    /// Bytes of the whole, of a file.
    bytes: Option<u64>,
    timeline: Timeline,
    places: Vec<Place>,
    ending: Option<Result<Ending, io::Error>>,
}

impl CastSource {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, or is no asciicast.
    pub fn open(path: &Path, wanted: Wanted) -> Result<Self, IndexFault> {
        let file = File::open(path)?;
        let facts = file.metadata()?;
        if facts.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
        }
        let bytes = facts.is_file().then_some(facts.len());
        Self::of(file, bytes, path.display().to_string(), wanted)
    }

    /// Reads standard input.
    ///
    /// # Errors
    /// It cannot be read, or is no asciicast.
    pub fn stdin(wanted: Wanted) -> Result<Self, IndexFault> {
        if stdin().is_terminal() {
            return Err(io::Error::other("it is the terminal, and a cast is expected through a pipe").into());
        }
        Self::of(stdin(), None, "standard input".into(), wanted)
    }

    /// Reads whatever gives bytes; `name` is what it goes by.
    ///
    /// # Errors
    /// It cannot be read, or is no asciicast.
    pub fn of(
        input: impl Read + Send + 'static,
        bytes: Option<u64>,
        name: String,
        wanted: Wanted,
    ) -> Result<Self, IndexFault> {
        let indexer = Indexer::start(input, wanted)?;
        Ok(CastSource {
            about: About::of_cast(name, &indexer.header),
            indexer,
            bytes,
            timeline: Timeline::default(),
            places: Vec::new(),
            ending: None,
        })
    }

    fn take(&mut self, news: News) {
        match news {
            News::Segment(span, place) => {
                self.timeline.push(span);
                self.places.push(place);
            }
            News::Done(ending) => self.ending = Some(Ok(*ending)),
            News::Failed(fault) => self.ending = Some(Err(fault)),
        }
    }

    fn kept(&self, at: u64, bytes: usize) -> Result<Vec<u8>, SourceFault> {
        let mut packed = vec![0; bytes];
        self.indexer.kept.read_exact_at(&mut packed, at).map_err(SourceFault::Kept)?;
        zstd::bulk::decompress(&packed, PLAIN_BYTES_MAX).map_err(SourceFault::Kept)
    }
}

impl Source for CastSource {
    fn about(&self) -> &About {
        &self.about
    }

    fn header(&self) -> &CastHeader {
        &self.indexer.header
    }

    fn has_terminal(&self) -> bool {
        has_terminal(&self.indexer.header)
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    fn events(&mut self, segment: usize) -> Result<Arc<[Event]>, SourceFault> {
        let Some(place) = self.places.get(segment) else { return Ok(Arc::default()) };
        let plain = self.kept(place.at, place.events)?;
        Ok(decode(Layout::Chunks, &plain)?.into())
    }

    fn keyframe(&mut self, segment: usize) -> Result<Option<AvtReplica>, SourceFault> {
        let Some(place) = self.places.get(segment).filter(|place| place.keyframe > 0) else {
            return Ok(None);
        };
        let plain = self.kept(place.at + place.events as u64, place.keyframe)?;
        Ok(Keyframe::from_bytes(&plain).ok().map(|keyframe| AvtReplica::restore(&keyframe)))
    }

    fn refresh(&mut self) -> Result<bool, SourceFault> {
        if self.ending.is_some() {
            return Ok(false);
        }
        let mut grown = false;
        loop {
            match self.indexer.news.try_recv() {
                Ok(news) => self.take(news),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(grown),
            }
            grown = true;
        }
    }

    fn await_more(&mut self) {
        if self.ending.is_none() {
            match self.indexer.news.recv() {
                Ok(news) => self.take(news),
                Err(gone) => self.ending = Some(Err(io::Error::other(gone))),
            }
        }
    }

    fn growth(&self) -> Growth {
        if self.ending.is_some() {
            return Growth::Done;
        }
        let read = self.indexer.read.load(Ordering::Relaxed);
        Growth::Reading(
            self.bytes.map(|bytes| (u128::from(read) * 100 / u128::from(bytes.max(1))).min(100) as u8),
        )
    }

    fn flaw(&self) -> Option<Flaw> {
        match self.ending.as_ref()? {
            Err(fault) => Some(Flaw::Incomplete(format!("it cannot be read on: {fault}"))),
            Ok(ending) => flaw(ending),
        }
    }
}

/// What is wrong with a cast that was read to its end, in one line.
fn flaw(ending: &Ending) -> Option<Flaw> {
    let cut = ending.cut.map(|line| format!("line {line} is cut off"));
    let unreadable = ending.faults.first().map(|fault| match ending.unreadable {
        0 | 1 => fault.to_string(),
        more => format!("{fault}; {more} lines in all cannot be read"),
    });
    unreadable.map(Flaw::Broken).or(cut.map(Flaw::Incomplete))
}
