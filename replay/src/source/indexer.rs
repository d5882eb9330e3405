//! Reads a cast once, and makes of it what a recording of ours is: segments that can be read in any order, and
//! screens to start from.
//!
//! The events go, compressed, to a temporary file without a name; what stays in memory is an index of a few dozen
//! bytes a segment. So a pipe can be wound back as well as a file, and a gigabyte takes no more memory than a page.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SendError, Sender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use recording::{
    AvtReplica, CastFault, CastHeader, CastReader, Encoder, Ending, Event, Fill, Layout, Replica as _,
    SEGMENT_COST_MAX, Span, What, cost,
};

use super::{Wanted, show};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// How many such blocks may wait.
const BLOCKS_AHEAD: usize = 4;
/// A pipe that is silent for so long has its last events shown.
const SILENCE: Duration = Duration::from_millis(100);
/// Key frames take at most so many times the bytes of the events, whatever the recording does to its screen.
const KEYFRAME_SHARE: usize = 4;
/// The most markers that are kept; a recording with more is not made for people.
const MARKERS_MAX: usize = 10_000;
/// The most new sizes that are kept of one segment.
const RESIZES_MAX: usize = 16;
/// The most characters that are kept of a marker.
const LABEL_CHARS_MAX: usize = 200;
/// An event is cut if it costs as much to show as so many segments may: 48 ms, which a viewer begins to feel.
const SEGMENTS_TO_CUT: usize = 16;
/// And never into smaller pieces: one sequence alone may cost more than a segment.
const CUT_BYTES_MIN: usize = 64;
/// How hard to compress what is kept only while the player runs.
const ZSTD_LEVEL: i32 = 1;

/// Where a segment lies in the temporary file.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// First byte.
    pub at: u64,
    /// Bytes of the compressed events.
    pub events: usize,
    /// Bytes of the compressed key frame behind them; 0 without one.
    pub keyframe: usize,
}

/// What the indexer tells while it reads.
pub enum News {
    /// Another segment can be read.
    Segment(Span, Place),
    /// All was read.
    Done(Box<Ending>),
    /// It cannot be read on.
    Failed(io::Error),
}

/// A cast that is being read.
pub struct Indexer {
    /// What its first line said.
    pub header: CastHeader,
    /// What is found.
    pub news: Receiver<News>,
    /// Where it is kept.
    pub kept: File,
    /// How many bytes of the input were read so far.
    pub read: Arc<AtomicU64>,
}

/// Why a cast cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum IndexFault {
    /// The input cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// There is no place to keep what is read.
    #[error("no temporary file in {dir}: {fault}")]
    NoRoom {
        /// Where one was to be made.
        dir: String,
        /// Why there is none.
        fault: io::Error,
    },
    /// It is no asciicast.
    #[error("{0}")]
    Cast(#[from] CastFault),
}

impl Indexer {
    /// Reads `input` up to its header, and then on in threads of its own.
    ///
    /// # Errors
    /// The input does not begin with a header, cannot be read, or there is no room for a temporary file.
    pub fn start(input: impl Read + Send + 'static, wanted: Wanted) -> Result<Indexer, IndexFault> {
        let no_room = |fault| IndexFault::NoRoom { dir: std::env::temp_dir().display().to_string(), fault };
        let kept = tempfile::tempfile().map_err(no_room)?;
        let read = Arc::new(AtomicU64::new(0));
        let blocks = read_blocks(input, Arc::clone(&read));
        let (news, told) = channel();
        let (mut reader, mut events) = (CastReader::new(), Vec::new());
        while reader.header().is_none() {
            let Ok(block) = blocks.recv() else {
                // A header without a newline is all there is.
                let ending = reader.finish(&mut events)?;
                let header = ending.header.clone();
                news.send(News::Done(Box::new(ending))).expect("its receiver stands in this function");
                return Ok(Indexer { header, news: told, kept, read });
            };
            reader.feed(&block?, &mut events)?;
        }
        let header = reader.header().cloned().ok_or(CastFault::Empty)?;
        let work = Work {
            replica: (wanted == Wanted::Screens).then(|| AvtReplica::blank(header.cols, header.rows)),
            has_terminal: has_terminal(&header),
            fill: Fill::new(Layout::Lines, header.cols, header.rows),
            kept: kept.try_clone().map_err(no_room)?,
            kept_bytes: 0,
            open: None,
            markers: 0,
            since_keyframe: usize::MAX,
            keyframe_bytes: 0,
            news,
        };
        thread::Builder::new().name("index".into()).spawn(move || work.run(reader, events, &blocks))?;
        Ok(Indexer { header, news: told, kept, read })
    }
}

/// Reads in a thread of its own, because a pipe may be silent and its last events are to be seen all the same.
fn read_blocks(mut input: impl Read + Send + 'static, read: Arc<AtomicU64>) -> Receiver<io::Result<Vec<u8>>> {
    let (blocks, taken) = sync_channel(BLOCKS_AHEAD);
    thread::spawn(move || {
        loop {
            let mut block = vec![0; READ_BYTES];
            let answer = match input.read(&mut block) {
                Ok(0) => return,
                Ok(n) => {
                    read.fetch_add(n as u64, Ordering::Relaxed);
                    block.truncate(n);
                    Ok(block)
                }
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                Err(fault) => Err(fault),
            };
            let is_last = answer.is_err();
            if blocks.send(answer).is_err() || is_last {
                return;
            }
        }
    });
    taken
}

/// The segment that is being filled.
#[derive(Default)]
struct Open {
    events: Vec<Event>,
    plain: Vec<u8>,
    keyframe: Vec<u8>,
}

struct Work {
    /// What key frames are made of, if screens are wanted.
    replica: Option<AvtReplica>,
    has_terminal: bool,
    fill: Fill,
    kept: File,
    kept_bytes: u64,
    open: Option<Open>,
    markers: usize,
    /// Bytes of events since the last key frame.
    since_keyframe: usize,
    /// Bytes of the last key frame.
    keyframe_bytes: usize,
    news: Sender<News>,
}

/// Why the indexer stops early.
enum Stop {
    /// The viewer has quit.
    Unheard,
    /// The input breaks off, or the disk is full.
    Broken(io::Error),
}

impl From<SendError<News>> for Stop {
    fn from(_: SendError<News>) -> Self {
        Stop::Unheard
    }
}

impl From<io::Error> for Stop {
    fn from(fault: io::Error) -> Self {
        Stop::Broken(fault)
    }
}

impl Work {
    fn run(mut self, reader: CastReader, events: Vec<Event>, blocks: &Receiver<io::Result<Vec<u8>>>) {
        let told = match self.index(reader, events, blocks) {
            Ok(ending) => self.news.send(News::Done(Box::new(ending))),
            Err(Stop::Broken(fault)) => self.news.send(News::Failed(fault)),
            Err(Stop::Unheard) => return,
        };
        drop(told); // who is not there need not be told
    }

    fn index(
        &mut self,
        mut reader: CastReader,
        mut events: Vec<Event>,
        blocks: &Receiver<io::Result<Vec<u8>>>,
    ) -> Result<Ending, Stop> {
        loop {
            self.take(&mut events)?;
            match blocks.recv_timeout(SILENCE) {
                Ok(block) => reader.feed(&block?, &mut events).map_err(io::Error::other)?,
                Err(RecvTimeoutError::Timeout) => self.close()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let ending = reader.finish(&mut events).map_err(io::Error::other)?;
        self.take(&mut events)?;
        self.close()?;
        Ok(ending)
    }

    fn take(&mut self, events: &mut Vec<Event>) -> Result<(), Stop> {
        for event in events.drain(..) {
            match self.replica.as_ref().and_then(|replica| pieces(&event, replica.size())) {
                Some(pieces) => pieces.into_iter().try_for_each(|piece| self.add(piece))?,
                None => self.add(event)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, event: Event) -> Result<(), Stop> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let before = open.plain.len();
        Encoder::Chunks.write(&event, &mut open.plain);
        let bytes = open.plain.len() - before;
        self.since_keyframe = self.since_keyframe.saturating_add(bytes);
        self.fill.add(&event, bytes);
        if let Some(replica) = &mut self.replica {
            show(replica, &event, self.has_terminal);
        }
        open.events.push(event);
        self.open = Some(open);
        if self.fill.is_full() {
            self.close()?;
        }
        Ok(())
    }

    /// A segment begins, with the screen as it is now if one is wanted and the last key frame is far enough for its size.
    fn begin(&mut self) -> io::Result<Open> {
        let mut keyframe = Vec::new();
        if let Some(replica) = &self.replica
            && self.since_keyframe.saturating_mul(KEYFRAME_SHARE) >= self.keyframe_bytes
        {
            let plain = replica.keyframe().to_bytes();
            (self.since_keyframe, self.keyframe_bytes) = (0, plain.len());
            keyframe = zstd::bulk::compress(&plain, ZSTD_LEVEL)?;
        }
        Ok(Open { keyframe, ..Open::default() })
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(open) = self.open.take() else { return Ok(()) };
        self.fill.empty();
        let Some(mut span) = Span::of(&open.events, open.plain.len()) else { return Ok(()) };
        let events = zstd::bulk::compress(&open.plain, ZSTD_LEVEL)?;
        let place = Place { at: self.kept_bytes, events: events.len(), keyframe: open.keyframe.len() };
        self.kept.write_all_at(&events, place.at)?;
        self.kept.write_all_at(&open.keyframe, place.at + events.len() as u64)?;
        self.kept_bytes = place.at + (events.len() + open.keyframe.len()) as u64;
        span.has_keyframe = place.keyframe > 0;
        self.bound(&mut span);
        self.news.send(News::Segment(span, place))?;
        Ok(())
    }

    /// An index is small: a recording that is all markers does not change that.
    fn bound(&mut self, span: &mut Span) {
        span.resizes.truncate(RESIZES_MAX);
        span.markers.truncate(MARKERS_MAX - self.markers);
        self.markers += span.markers.len();
        for (_, label) in &mut span.markers {
            *label = label.chars().take(LABEL_CHARS_MAX).collect();
        }
    }
}

/// An event that takes long to show, in pieces of the same instant that do not; none if it takes no longer than usual. One
/// line of a cast may ask for a minute's work, and without a key frame in it nobody could look at what it leaves before
/// all of that was done.
fn pieces(event: &Event, (cols, rows): (u16, u16)) -> Option<Vec<Event>> {
    let (make, data): (fn(Bytes) -> What, _) = match &event.what {
        What::Output(data) => (What::Output, data),
        What::ErrorOutput(data) => (What::ErrorOutput, data),
        What::Notice(data) => (What::Notice, data),
        _ => return None,
    };
    let segments = cost(data, cols, rows).as_micros() / SEGMENT_COST_MAX.as_micros();
    let segments = usize::try_from(segments).unwrap_or(usize::MAX);
    if segments < SEGMENTS_TO_CUT {
        return None;
    }
    let bytes = (data.len() / segments).max(CUT_BYTES_MIN);
    let piece = |from| make(data.slice(from..data.len().min(from + bytes)));
    Some((0..data.len()).step_by(bytes).map(|from| Event { at: event.at, what: piece(from) }).collect())
}

/// Whether these lines were on a terminal: all are, but those of our own recordings of channels without one.
pub fn has_terminal(header: &CastHeader) -> bool {
    header.facts.as_ref().is_none_or(|facts| facts.layout == Layout::Lines)
}
