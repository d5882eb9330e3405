//! A thread that writes: takes all that waits, and appends once for each session.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Instant,
};

use archive::{Archive, Disk, End, Live, TailWriter};
use recording::{Event, Header};
use tokio::sync::watch;

use super::{
    Durability, RecorderSettings,
    behind::Note,
    sync::{Job, Syncs},
    tape::Told,
};

/// So many entries are taken at most before what they hold is written: a flood must not hold up a key for long.
const BATCH_ENTRIES_MAX: usize = 4096;
/// And so many bytes.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Buffers kept for the next batch, and the largest that is kept. A session without anything to write has none.
const BUFFERS_MAX: usize = 8;
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// What reaches the writer.
pub(super) enum Entry {
    Begin { slot: u64, header: Box<Header>, told: watch::Sender<Told>, live: Arc<Live> },
    Event { slot: u64, event: Event, sync: bool },
    EndSegments,
    Close { slot: u64, end: End },
    SyncFailed { slot: u64, fault: io::Error },
    LastSynced { slot: u64 },
    Shutdown,
}

/// One session, on its way to disk.
struct Open {
    tail: TailWriter,
    told: Arc<watch::Sender<Told>>,
    live: Arc<Live>,
    sync_asked: bool,
    ended: Option<End>,
    trouble: Option<Trouble>,
    segments_noted: u64,
    faults: u64,
    is_dirty: bool,
}

/// A disk that did not take what it was given.
struct Trouble {
    /// All that is not synced must be written again, elsewhere.
    again: bool,
    retry_at: Instant,
}

pub(super) struct Writer {
    settings: RecorderSettings,
    disk: Arc<dyn Disk>,
    tails: PathBuf,
    syncs: Arc<Syncs>,
    own: mpsc::Sender<Entry>,
    behind: mpsc::Sender<Note>,
    open: HashMap<u64, Open>,
    dirty: Vec<u64>,
    /// Sessions whose last write failed, or whose file could not be synced.
    troubled: BTreeSet<u64>,
    buffers: Vec<Vec<u8>>,
    /// Shutting down: until then what is open may still be written and synced.
    over_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        settings: RecorderSettings,
        archive: &Archive,
        syncs: Arc<Syncs>,
        own: mpsc::Sender<Entry>,
        behind: mpsc::Sender<Note>,
    ) -> Self {
        Writer {
            settings,
            disk: archive.disk(),
            tails: archive.tails(),
            syncs,
            own,
            behind,
            open: HashMap::new(),
            dirty: Vec::new(),
            troubled: BTreeSet::new(),
            buffers: Vec::new(),
            over_at: None,
        }
    }

    /// The thread.
    pub(super) fn run(mut self, inbox: &mpsc::Receiver<Entry>) {
        while let Some(first) = self.next(inbox) {
            let mut bytes = 0;
            for entry in first.into_iter().chain(inbox.try_iter().take(BATCH_ENTRIES_MAX)) {
                bytes += self.take(entry);
                if bytes >= BATCH_BYTES_MAX {
                    break;
                }
            }
            self.write_dirty();
        }
    }

    /// Waits for something to do: an entry, or nothing but a write that may be tried again.
    fn next(&self, inbox: &mpsc::Receiver<Entry>) -> Option<Option<Entry>> {
        let troubles = self.troubled.iter().filter_map(|slot| self.open.get(slot)?.trouble.as_ref());
        let retry_at = troubles.map(|trouble| trouble.retry_at).min();
        let until = match (self.over_at, retry_at) {
            (Some(over), _) if self.open.is_empty() || over <= Instant::now() => return None,
            (Some(over), retry) => Some(retry.map_or(over, |retry| retry.min(over))),
            (None, retry) => retry,
        };
        let Some(until) = until else { return inbox.recv().ok().map(Some) };
        match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(entry) => Some(Some(entry)),
            Err(mpsc::RecvTimeoutError::Timeout) => Some(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Takes one entry, and answers roughly how many bytes it brought.
    fn take(&mut self, entry: Entry) -> usize {
        match entry {
            Entry::Begin { slot, header, told, live } => self.begin(slot, &header, told, live),
            Entry::Event { slot, event, sync } => return self.event(slot, &event, sync),
            Entry::EndSegments => {
                let open: Vec<u64> = self.open.keys().copied().collect();
                open.into_iter().for_each(|slot| self.with(slot, |open| open.tail.end_segment()));
            }
            Entry::Close { slot, end } => self.with(slot, |open| {
                open.tail.end(end);
                (open.ended, open.sync_asked) = (Some(end), true);
            }),
            Entry::SyncFailed { slot, fault } => self.sync_failed(slot, &fault),
            Entry::LastSynced { slot } => self.ended(slot),
            Entry::Shutdown => self.shut_down(),
        }
        0
    }

    fn begin(&mut self, slot: u64, header: &Header, told: watch::Sender<Told>, live: Arc<Live>) {
        let tail = TailWriter::new(self.disk.clone(), &self.tails, header, self.settings.limits);
        let open = Open {
            tail,
            told: Arc::new(told),
            live,
            sync_asked: false,
            ended: None,
            trouble: None,
            segments_noted: 0,
            faults: 0,
            is_dirty: false,
        };
        self.open.insert(slot, open);
        self.with(slot, |_| ());
    }

    fn event(&mut self, slot: u64, event: &Event, sync: bool) -> usize {
        let buffer = &mut self.buffers;
        let Some(open) = self.open.get_mut(&slot).filter(|open| open.ended.is_none()) else { return 0 };
        if open.tail.fresh_bytes() == 0 {
            open.tail.lend(buffer.pop().unwrap_or_default());
        }
        let before = open.tail.fresh_bytes();
        open.tail.push(event);
        open.live.hear(&event.what);
        open.sync_asked |= sync;
        if !std::mem::replace(&mut open.is_dirty, true) {
            self.dirty.push(slot);
        }
        open.tail.fresh_bytes() - before
    }

    /// Does something to a session, and writes it with this batch.
    fn with(&mut self, slot: u64, act: impl FnOnce(&mut Open)) {
        let Some(open) = self.open.get_mut(&slot).filter(|open| open.ended.is_none()) else { return };
        act(open);
        if !std::mem::replace(&mut open.is_dirty, true) {
            self.dirty.push(slot);
        }
    }

    fn shut_down(&mut self) {
        self.over_at = Some(Instant::now() + self.settings.shutdown_within);
        let open: Vec<u64> = self.open.keys().copied().collect();
        for slot in open {
            self.take(Entry::Close { slot, end: End::Interrupted });
        }
    }

    fn sync_failed(&mut self, slot: u64, fault: &io::Error) {
        let Some(open) = self.open.get_mut(&slot) else { return };
        // The second in a row is no news, and is not tried again at once.
        let is_news = !open.told.borrow().unsynced;
        let mut retry_at = Instant::now();
        if is_news {
            open.told.send_modify(|told| told.unsynced = true);
            open.tell_fault(&format!("{}: sync: {fault}", open.tail.id()));
        } else {
            retry_at += self.settings.retry_after;
        }
        open.trouble = Some(Trouble { again: true, retry_at });
        self.troubled.insert(slot);
    }

    fn ended(&mut self, slot: u64) {
        let Some(open) = self.open.remove(&slot) else { return };
        self.troubled.remove(&slot);
        if let Some(end) = open.ended {
            open.live.end(end);
        }
        self.note(Note::Ended(open.tail.id()));
    }

    fn write_dirty(&mut self) {
        let now = Instant::now();
        let mut slots = std::mem::take(&mut self.dirty);
        slots.extend(&self.troubled);
        for slot in slots.drain(..) {
            self.write(slot, now);
        }
        self.dirty = slots;
    }

    fn write(&mut self, slot: u64, now: Instant) {
        let Some(open) = self.open.get_mut(&slot) else { return };
        open.is_dirty = false;
        if open.trouble.as_ref().is_some_and(|trouble| trouble.retry_at > now) {
            return; // its turn comes
        }
        let was_troubled = open.trouble.as_ref().map(|trouble| trouble.again);
        if let Err(fault) = open.write(slot, &self.syncs) {
            open.told.send_if_modified(|told| !std::mem::replace(&mut told.unwritten, true));
            if was_troubled.is_none() {
                open.tell_fault(&fault.to_string());
            }
            let again = open.trouble.as_ref().is_some_and(|trouble| trouble.again);
            open.trouble = Some(Trouble { again, retry_at: now + self.settings.retry_after });
            self.troubled.insert(slot);
            return;
        }
        self.troubled.remove(&slot);
        open.told.send_if_modified(|told| {
            let is_mended = std::mem::take(&mut told.unwritten);
            told.mended += u64::from(is_mended);
            is_mended
        });
        let sync_all = self.settings.durability == Durability::Synced;
        open.reached(slot, sync_all, &self.syncs, &self.own);
        let buffer = open.tail.take_back();
        let segments = open.tail.ended_segments();
        let id = open.tail.id();
        if std::mem::replace(&mut open.segments_noted, segments) != segments {
            self.note(Note::Segments(id));
        }
        if (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) && self.buffers.len() < BUFFERS_MAX {
            self.buffers.push(buffer);
        }
    }

    /// Without the thread behind, tails are kept, and the next start goes on with them.
    fn note(&self, note: Note) {
        drop(self.behind.send(note));
    }
}

impl Open {
    fn write(&mut self, slot: u64, syncs: &Syncs) -> Result<(), archive::WriteFault> {
        if self.trouble.as_ref().is_some_and(|trouble| trouble.again) {
            self.tail.write_again(self.told.borrow().positions.synced)?;
            syncs.trust_again(slot);
            self.trouble = None;
        }
        self.tail.write()?;
        self.trouble = None;
        Ok(())
    }

    /// All that was put in is written: moves *written*, and has it synced.
    fn reached(&mut self, slot: u64, sync_all: bool, syncs: &Syncs, own: &mpsc::Sender<Entry>) {
        let upto = self.tail.events();
        self.live.reached(upto, self.tail.bytes(), self.tail.last_us());
        self.told.send_if_modified(|told| {
            let moves = told.positions.written != upto;
            told.positions.written = upto;
            moves
        });
        let Some(file) = self.tail.current() else { return };
        let urgent = std::mem::take(&mut self.sync_asked) || sync_all;
        let (told, writer) = (self.told.clone(), own.clone());
        let job = Job { files: vec![file], upto, told, writer, last: self.ended.is_some() };
        syncs.push(slot, job, urgent);
    }

    fn tell_fault(&mut self, fault: &str) {
        tracing::error!(session = %self.tail.id(), fault, "recording fails; what waits for it is held back");
        self.faults += 1;
        let fault = (self.faults, fault.into());
        self.told.send_modify(|told| told.fault = Some(fault));
    }
}
