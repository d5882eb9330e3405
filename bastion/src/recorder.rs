//! Appends events to disk, and says how far it is.
//!
//! Nothing leaves the bastion before the recorder has reached its event. A thread of the recorder's takes all that
//! waits, writes every session's share with one append, and moves *written*; terminals have one, and channels without
//! a terminal another, so that a key need not wait for a copied file. A third thread syncs in groups and moves
//! *synced*. Behind both, on a thread of lower priority, closed segments are packed and finished recordings
//! are sealed. The recorder calls nobody: a session asks its [`Tape`].

mod behind;
mod sync;
mod tape;
mod writer;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use archive::{Archive, BindFault, BindLimits, Binder, Limits};
use recording::{Header, Layout};
use tokio::sync::watch;

pub use tape::Tape;

use behind::Note;
use sync::Syncs;
use tape::{Begun, Told};
use writer::{Entry, Writer};

/// A thread that has been told to end has so much more to do so.
const JOIN_AFTER: Duration = Duration::from_secs(1);

/// How far a session's record is, in numbers of events: 1 is its first event, 0 is nothing yet. The header comes
/// before event 1, so whoever has reached 1 has reached the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// The kernel has it: survives `kill -9`.
    pub written: u64,
    /// The disk has it: survives a power cut.
    pub synced: u64,
}

/// What every event is made to reach, without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Synced in groups, at most [`RecorderSettings::sync_within`] late.
    #[default]
    Written,
    /// Synced at once, each of them.
    Synced,
}

/// How to record.
#[derive(Clone, Copy, Debug)]
pub struct RecorderSettings {
    /// What every event is made to reach.
    pub durability: Durability,
    /// The longest that a written event waits for its sync.
    pub sync_within: Duration,
    /// A disk that has not answered for so long counts as failed: sessions are told, and wait.
    pub silent_at_most: Duration,
    /// How long each of the threads is waited for at a shutdown: a disk may never answer.
    pub shutdown_within: Duration,
    /// How soon a failed write is tried again.
    pub retry_after: Duration,
    /// How large tails grow.
    pub limits: Limits,
    /// How much is packed and sealed at once.
    pub bind: BindLimits,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        RecorderSettings {
            durability: Durability::Written,
            sync_within: Duration::from_millis(200),
            silent_at_most: Duration::from_secs(5),
            shutdown_within: Duration::from_secs(5),
            retry_after: Duration::from_millis(250),
            limits: Limits::default(),
            bind: BindLimits::default(),
        }
    }
}

/// Why recording could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RecorderFault {
    /// The system gave no thread.
    #[error("cannot start the recorder's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// What an earlier run left could not be taken up.
    #[error(transparent)]
    Archive(#[from] archive::ArchiveFault),
    /// What is to be packed could not be found out.
    #[error(transparent)]
    Bind(#[from] BindFault),
}

/// Writes all sessions' events. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    archive: Archive,
    settings: RecorderSettings,
    slots: AtomicU64,
    terminals: mpsc::Sender<Entry>,
    others: mpsc::Sender<Entry>,
    syncs: Arc<Syncs>,
    behind: mpsc::Sender<Note>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Recorder {
    /// Takes up what an earlier run left open, and starts the threads.
    ///
    /// # Errors
    /// When the journal cannot be read, or the system gives no threads. A tail that cannot be read is logged by
    /// name, left where it is, and is no error.
    pub fn start(archive: Archive, settings: RecorderSettings) -> Result<Recorder, RecorderFault> {
        archive.recover()?;
        let (behind, notes) = mpsc::channel();
        let syncs = Arc::new(Syncs::new(settings.sync_within));
        let syncing = syncs.clone();
        let binder = Binder::new(archive.clone(), settings.bind)?;
        let writer = |name| {
            let (inbox, entries) = mpsc::channel();
            let writer = Writer::new(settings, &archive, syncs.clone(), inbox.clone(), behind.clone());
            spawn(name, move || writer.run(&entries)).map(|thread| (inbox, thread))
        };
        let (terminals, recorder) = writer("recorder")?;
        let (others, bulk_recorder) = writer("recorder-bulk")?;
        let threads = vec![
            recorder,
            bulk_recorder,
            spawn("syncer", move || syncing.run())?,
            spawn("behind", move || behind::run(binder, &notes))?,
        ];
        let (slots, threads) = (AtomicU64::new(0), Mutex::new(threads));
        let inner = Inner { archive, settings, slots, terminals, others, syncs, behind, threads };
        Ok(Recorder { inner: Arc::new(inner) })
    }

    /// Begins a recording. Its header is written before its first event.
    pub fn begin(&self, header: Header) -> Tape {
        let inner = &self.inner;
        let (id, slot) = (header.facts.id, inner.slots.fetch_add(1, Relaxed));
        let (teller, told) = watch::channel(Told::default());
        let live = inner.archive.begin(&header);
        let recorder = match header.facts.layout {
            Layout::Lines => inner.terminals.clone(),
            Layout::Chunks => inner.others.clone(),
        };
        let entry = Entry::Begin { slot, header: Box::new(header), told: teller, live };
        drop(recorder.send(entry)); // a recorder that has stopped is told by the tape
        Tape::new(Begun {
            id,
            slot,
            recorder,
            told,
            sync_all: inner.settings.durability == Durability::Synced,
            silent_at_most: inner.settings.silent_at_most,
        })
    }

    /// Ends the open segments of all recordings, so that all that has happened so far is packed.
    pub fn end_segments(&self) {
        for recorder in [&self.inner.terminals, &self.inner.others] {
            drop(recorder.send(Entry::EndSegments)); // a recorder that has stopped has none
        }
    }

    /// Writes and syncs what still waits, ends what is still open as interrupted, and ends the threads. What is not
    /// sealed by then, the next start takes up.
    pub fn shutdown(self) {
        let inner = &self.inner;
        let mut threads = std::mem::take(&mut *inner.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = |thread: Option<JoinHandle<()>>| {
            let Some(thread) = thread else { return };
            let until = Instant::now() + inner.settings.shutdown_within + JOIN_AFTER;
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            if !thread.is_finished() {
                tracing::error!(
                    "the disk does not answer: what is written so far is taken up at the next start"
                );
            } else if thread.join().is_err() {
                tracing::error!("a thread of the recorder has panicked");
            }
        };
        let (behind, syncer) = (threads.pop(), threads.pop());
        for recorder in [&inner.terminals, &inner.others] {
            drop(recorder.send(Entry::Shutdown)); // one that has stopped has nothing more to write
        }
        threads.drain(..).for_each(|writer| join(Some(writer)));
        inner.syncs.end();
        join(syncer);
        drop(inner.behind.send(Note::Over)); // the same
        join(behind);
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, RecorderFault> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(RecorderFault::Thread)
}

#[cfg(test)]
pub(crate) mod tests;
