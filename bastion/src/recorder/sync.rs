//! The thread that syncs, in groups, so that a slow disk holds up no write.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use archive::Growing;
use tokio::sync::watch;

use super::{tape::Told, writer::Entry};

/// What waits to be synced. A later job of a session takes the place of its earlier one, so there are never more
/// jobs than sessions.
pub(super) struct Syncs {
    waiting: Mutex<Waiting>,
    awake: Condvar,
    within: Duration,
}

#[derive(Default)]
struct Waiting {
    jobs: HashMap<u64, Job>,
    /// Sessions with a file that could not be synced. The next sync of it would answer well and mean nothing.
    distrusted: HashSet<u64>,
    since: Option<Instant>,
    urgent: bool,
    over: bool,
}

/// One session's: once these files are synced, it has reached `upto`.
pub(super) struct Job {
    pub(super) files: Vec<Arc<dyn Growing>>,
    pub(super) upto: u64,
    pub(super) told: Arc<watch::Sender<Told>>,
    /// Its writer.
    pub(super) writer: mpsc::Sender<Entry>,
    /// Its recording ends here: the writer wants to hear when it is synced.
    pub(super) last: bool,
}

impl Syncs {
    pub(super) fn new(within: Duration) -> Self {
        Syncs { waiting: Mutex::default(), awake: Condvar::new(), within }
    }

    /// Adds a session's written events to what is synced next.
    pub(super) fn push(&self, slot: u64, job: Job, urgent: bool) {
        let mut waiting = self.lock();
        if waiting.distrusted.contains(&slot) {
            return;
        }
        waiting.since.get_or_insert_with(Instant::now);
        waiting.urgent |= urgent;
        let is_new = match waiting.jobs.get_mut(&slot) {
            Some(before) => {
                for file in job.files {
                    if !before.files.last().is_some_and(|last| Arc::ptr_eq(last, &file)) {
                        before.files.push(file);
                    }
                }
                (before.upto, before.last) = (job.upto, job.last);
                false
            }
            None => {
                waiting.jobs.insert(slot, job);
                true
            }
        };
        let wakes = urgent || is_new && waiting.jobs.len() == 1;
        drop(waiting);
        if wakes {
            self.awake.notify_one();
        }
    }

    /// What the session has not synced yet is written again, elsewhere.
    pub(super) fn trust_again(&self, slot: u64) {
        self.lock().distrusted.remove(&slot);
    }

    /// Syncs what still waits, and ends the thread.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.awake.notify_one();
    }

    /// The thread: takes a group, syncs it, moves *synced*.
    pub(super) fn run(&self) {
        while let Some(jobs) = self.next_group() {
            for (slot, job) in jobs {
                let done = match job.files.iter().try_for_each(|file| file.sync()) {
                    Ok(()) => {
                        job.told.send_modify(|told| {
                            told.positions.synced = told.positions.synced.max(job.upto);
                            told.mended += u64::from(std::mem::take(&mut told.unsynced));
                        });
                        if !job.last {
                            continue;
                        }
                        Entry::LastSynced { slot }
                    }
                    Err(fault) => {
                        self.distrust(slot);
                        Entry::SyncFailed { slot, fault }
                    }
                };
                drop(job.writer.send(done)); // a writer that has stopped has no session open
            }
        }
    }

    fn distrust(&self, slot: u64) {
        let mut waiting = self.lock();
        waiting.jobs.remove(&slot);
        waiting.distrusted.insert(slot);
    }

    fn next_group(&self) -> Option<HashMap<u64, Job>> {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            let due = waiting.since.map(|since| since + self.within);
            if waiting.urgent || waiting.over || due.is_some_and(|due| due <= now) {
                waiting.urgent = false;
                waiting.since = None;
                let jobs = std::mem::take(&mut waiting.jobs);
                return if jobs.is_empty() && waiting.over { None } else { Some(jobs) };
            }
            let wait = due.map_or(Duration::MAX, |due| due - now);
            waiting = match due {
                Some(_) => self.awake.wait_timeout(waiting, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.awake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
