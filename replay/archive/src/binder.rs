//! Behind the marks: packs what is closed, and seals what has ended.
//!
//! A terminal's segments go from the tail into the journal, and from there, part by part, into sealed files. Without
//! a terminal they stay in the tail until it is full, and go straight into a sealed file; the journal gets the index.
//! Nothing leaves a place before the next one has it, synced, and has been read back: so this may be stopped, or
//! killed, between any two steps, and goes on from the books of the journal.

mod budget;
mod frames;
mod pack;
mod seal;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use recording::{Layout, SessionId};

use crate::{
    Archive, JournalFault, StoreFault,
    stored::Compressor,
    tail::{Standing, TailFault},
};

use budget::Budget;
pub use budget::KEYFRAME_SHARE;

/// How soon a step that failed is tried again, at first and at last.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Why something could not be packed or sealed. All that there was still is where it was.
#[derive(Debug, thiserror::Error)]
pub enum BindFault {
    /// A tail cannot be read.
    #[error(transparent)]
    Tail(#[from] TailFault),
    /// The journal does not answer.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// A sealed file cannot be written, or is not what was written.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// There is nothing that tells what the recording is.
    #[error("{0}: neither a tail nor the journal has its header")]
    NoHeader(SessionId),
    /// Something is longer than anything that is stored.
    #[error(transparent)]
    TooLong(#[from] recording::piece::PieceTooLong),
    /// A tail could not be removed, or written.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// The journal misses a segment that its index names.
    #[error("{0}: segment {1} is not in the journal")]
    Lost(SessionId, u64),
}

/// When there is something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// Then, if nothing comes before.
    At(Instant),
    /// When something comes.
    WhenAsked,
}

/// Packs and seals. There is one for a store.
pub struct Binder {
    archive: Archive,
    compressor: Compressor,
    /// Recordings with closed segments that are not packed: terminals first, bulk when there is time.
    lines: BTreeSet<SessionId>,
    chunks: BTreeSet<SessionId>,
    /// Recordings that want key frames, each in its turn.
    frames: VecDeque<SessionId>,
    budget: Budget,
    /// Where each recording's tails have been read up to.
    standing: BTreeMap<SessionId, Standing>,
    /// The last damage that was logged of each recording: tails in order of their names, and the byte.
    told: BTreeMap<SessionId, (PathBuf, u64)>,
    screen: Option<frames::Screen>,
    /// Recordings whose step failed: when it is tried again, and after how long then.
    failed: BTreeMap<SessionId, (Instant, Duration)>,
    /// When those that have ended and want key frames stop waiting for them.
    patience: BTreeMap<SessionId, Instant>,
    limits: BindLimits,
}

/// How much is bound at once.
#[derive(Clone, Copy, Debug)]
pub struct BindLimits {
    /// A terminal's segments leave the journal for a part once they take this. With what is packed meanwhile, the
    /// journal holds no more than 8 MiB of one session.
    pub lines_part_bytes: u64,
    /// A part of bulk data ends beyond this; it is put together in memory.
    pub chunks_part_bytes: u64,
    /// And any part beyond this many plain bytes, so that its index stays small.
    pub part_plain_bytes: u64,
    /// Bulk waits in tails until there is so much of it, or its session ends.
    pub chunks_file_bytes: u64,
    /// A recording that has ended waits so long for its key frames before it is sealed without the rest.
    pub frames_wait: Duration,
}

impl Default for BindLimits {
    fn default() -> Self {
        BindLimits {
            lines_part_bytes: 4 << 20,
            chunks_part_bytes: 16 << 20,
            part_plain_bytes: 256 << 20,
            chunks_file_bytes: 64 << 20,
            frames_wait: Duration::from_secs(600),
        }
    }
}

impl Binder {
    /// Takes up everything that is not sealed yet.
    ///
    /// # Errors
    /// When the journal or the folder of the tails cannot be read.
    pub fn new(archive: Archive, limits: BindLimits) -> Result<Self, BindFault> {
        let compressor = Compressor::new().map_err(|fault| BindFault::Io("zstd".into(), fault))?;
        let mut open: BTreeSet<SessionId> = archive.journal().open_ids()?.into_iter().collect();
        let tails = archive.tails();
        let fault = |fault| BindFault::Io(tails.display().to_string(), fault);
        open.extend(crate::tail::list(&tails).map_err(fault)?.into_keys());
        let mut binder = Binder {
            archive,
            compressor,
            lines: BTreeSet::new(),
            chunks: BTreeSet::new(),
            frames: VecDeque::new(),
            budget: Budget::new(Instant::now()),
            standing: BTreeMap::new(),
            told: BTreeMap::new(),
            screen: None,
            failed: BTreeMap::new(),
            patience: BTreeMap::new(),
            limits,
        };
        open.into_iter().for_each(|id| binder.segments_ended(id));
        Ok(binder)
    }

    /// Segments of a recording have ended, or all of it has.
    pub fn segments_ended(&mut self, id: SessionId) {
        match self.archive.layout_of(id) {
            Some(Layout::Chunks) => self.chunks.insert(id),
            _ => self.lines.insert(id),
        };
    }

    /// Does one thing, and says when there is the next one. Terminals come first, bulk when there is time.
    pub fn step(&mut self) -> Next {
        let now = Instant::now();
        let late = self.patience.iter().find(|(_, until)| **until <= now).map(|(id, _)| *id);
        if let Some(id) = self.first(&self.lines, now) {
            let bound = self.bind_lines(id, now);
            self.settle(id, bound, now);
        } else if !self.frames.is_empty() && self.budget.is_open(now) {
            self.frame_next(now);
        } else if let Some(id) = self.first(&self.chunks, now) {
            let bound = self.bind_chunks(id);
            self.settle(id, bound, now);
        } else if let Some(id) = late {
            self.lines.insert(id);
        } else {
            return self.idle(now);
        }
        Next::Now
    }

    /// Does all that can be done without waiting.
    pub fn run_dry(&mut self) {
        while self.step() == Next::Now {}
    }

    /// The time of one core that key frames have taken so far.
    pub fn keyframe_time(&self) -> Duration {
        self.budget.spent()
    }

    fn first(&self, of: &BTreeSet<SessionId>, now: Instant) -> Option<SessionId> {
        of.iter().find(|id| self.failed.get(*id).is_none_or(|(at, _)| *at <= now)).copied()
    }

    /// Nothing can be done now; something may be later.
    fn idle(&self, now: Instant) -> Next {
        let frames = (!self.frames.is_empty()).then(|| self.budget.opens_at(now));
        let retries = self.failed.values().map(|(at, _)| *at);
        let patience = self.patience.values().copied();
        retries.chain(patience).chain(frames).min().map_or(Next::WhenAsked, Next::At)
    }

    /// What a step came to: more to do, nothing more, or a failure that is tried again.
    fn settle(&mut self, id: SessionId, bound: Result<bool, BindFault>, now: Instant) {
        let fault = match bound {
            Ok(has_more) => {
                self.failed.remove(&id);
                if !has_more {
                    self.lines.remove(&id);
                    self.chunks.remove(&id);
                }
                return;
            }
            Err(fault) => fault,
        };
        self.standing.remove(&id);
        self.screen = None;
        if matches!(fault, BindFault::Tail(TailFault::Unknown(..)) | BindFault::NoHeader(_)) {
            tracing::error!(session = %id, %fault, "left alone");
            self.lines.remove(&id);
            self.chunks.remove(&id);
            return;
        }
        let wait = self.failed.get(&id).map_or(RETRY.0, |(_, wait)| (*wait * 2).min(RETRY.1));
        tracing::error!(session = %id, %fault, again_in = ?wait, "cannot pack or seal; nothing is lost");
        self.failed.insert(id, (now + wait, wait));
        if matches!(fault, BindFault::Journal(_))
            && let Err(fault) = self.archive.journal().reopen()
        {
            tracing::error!(%fault, "the journal cannot be opened again");
        }
    }

    /// Nothing more of this recording will be bound.
    fn forget(&mut self, id: SessionId) {
        self.standing.remove(&id);
        self.told.remove(&id);
        self.patience.remove(&id);
        self.frames.retain(|framed| *framed != id);
        self.screen = self.screen.take().filter(|screen| screen.id != id);
        self.archive.forget_live(id);
    }
}
