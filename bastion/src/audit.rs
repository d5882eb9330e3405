//! The audit trail: what the bastion decided and did, written before it takes effect.
//!
//! One run of the server, or one command beside it, makes one recording, in the format of sessions and by the same
//! recorder; its events are [`Act`]s as JSON. Whoever waits for [`Audit::write`] goes on once the disk has the entry,
//! or not at all.

mod act;
mod brake;
mod command;

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use gate::Printable;
use recording::{AUDIT, Elapsed, Event, FORMAT, Facts, Header, Layout, Person, What};
use serde_json::{Map, Value};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    house,
    recorder::{Recorder, Tape},
    settings::FileRead,
};

pub use act::{Act, By, FileSum, certificate, person, person_of};
pub use command::{AuditArgs, run, write_as_command, write_into_store};

use act::Entry;
use brake::{Brake, IN_ALL_A_MINUTE, SHARE_A_MINUTE, TURNED_AWAY_IN_ALL, TURNED_AWAY_OF_A_SITE, Whose};

/// Entries that wait for the task that writes them; who comes then waits too.
const INBOX_MAX: usize = 256;
/// A disk that has not taken an entry by then counts as failed for whoever waits.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);
/// A file's text is written in pieces of so many characters.
const TEXT_CHARS_MAX: usize = 128 * 1024;

/// The audit trail cannot be written, so what was to happen does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail cannot be written: {0}")]
pub struct Unwritten(String);

/// Writes the audit trail of one run. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    inbox: mpsc::Sender<Asked>,
    inner: Arc<Inner>,
}

struct Inner {
    task: Mutex<Option<JoinHandle<()>>>,
    strangers: Mutex<Brake>,
    people: Mutex<Brake>,
    turned_away: Mutex<Brake>,
    /// SHA-256 of the files whose text this run's recording has.
    known_files: Mutex<HashSet<String>>,
}

struct Asked {
    entries: Vec<Bytes>,
    /// Told what became of them; nobody waits for a refusal.
    done: Option<oneshot::Sender<Result<(), Unwritten>>>,
}

impl Audit {
    /// Begins the recording of this run.
    pub fn begin(recorder: &Recorder) -> Audit {
        let header = header();
        let (began, tape) = (Instant::now(), recorder.begin(header));
        let (inbox, asked) = mpsc::channel(INBOX_MAX);
        Audit::with(inbox, Some(tokio::spawn(keep(tape, began, asked))))
    }

    fn with(inbox: mpsc::Sender<Asked>, task: Option<JoinHandle<()>>) -> Audit {
        let brake = |each, in_all| Mutex::new(Brake::new(each, in_all));
        let inner = Inner {
            task: Mutex::new(task),
            strangers: brake(SHARE_A_MINUTE, IN_ALL_A_MINUTE),
            people: brake(SHARE_A_MINUTE, IN_ALL_A_MINUTE),
            turned_away: brake(TURNED_AWAY_OF_A_SITE, TURNED_AWAY_IN_ALL),
            known_files: Mutex::default(),
        };
        Audit { inbox, inner: Arc::new(inner) }
    }

    /// Writes an entry, and returns once a power cut cannot take it back.
    ///
    /// # Errors
    /// When it cannot be written: what it tells of must not happen then.
    pub async fn write(&self, act: Act) -> Result<(), Unwritten> {
        self.write_all(&[act]).await
    }

    /// Writes entries that belong together.
    ///
    /// # Errors
    /// As [`Audit::write`].
    pub async fn write_all(&self, acts: &[Act]) -> Result<(), Unwritten> {
        self.write_encoded(acts.iter().map(encoded).collect()).await
    }

    async fn write_encoded(&self, entries: Vec<Bytes>) -> Result<(), Unwritten> {
        if entries.is_empty() {
            return Ok(());
        }
        let (tell, told) = oneshot::channel();
        let asked = Asked { entries, done: Some(tell) };
        let written = async {
            let over = |_| Unwritten("it has ended".into());
            self.inbox.send(asked).await.map_err(|_| Unwritten("it has ended".into()))?;
            told.await.map_err(over)?
        };
        let late = |_| Unwritten(format!("the disk has not answered for {} s", WRITTEN_WITHIN.as_secs()));
        timeout(WRITTEN_WITHIN, written).await.map_err(late)?
    }

    /// Writes an entry that a command has made, in its own words.
    ///
    /// # Errors
    /// As [`Audit::write`].
    pub async fn write_as_told(&self, mut act: Map<String, Value>) -> Result<(), Unwritten> {
        act.insert("time_us".into(), house::now_us().into());
        self.write_encoded(vec![Value::Object(act).to_string().into()]).await
    }

    /// Writes the files that rules were read from: each text once a run, and what they were by their hashes.
    ///
    /// # Errors
    /// As [`Audit::write`].
    pub async fn write_rules(&self, by: By, files: &[FileRead]) -> Result<(), Unwritten> {
        let mut acts = Vec::new();
        for file in files {
            let sum = FileSum::of(file);
            if self.known_files().insert(sum.sha256.clone()) {
                acts.extend(text_of(file, &sum));
            }
        }
        acts.push(Act::RulesInForce { by, files: files.iter().map(FileSum::of).collect() });
        let written = self.write_all(&acts).await;
        if written.is_err() {
            self.known_files().clear(); // nobody knows which of them are there
        }
        written
    }

    /// Writes that somebody was refused or denied something. Not waited for: that has no effect that could come too early.
    /// More than a source or a person has a share of are counted instead, and told when the minute is over.
    pub fn refused(&self, act: Act) {
        let brake = match act {
            Act::Denied { .. } => &self.inner.people,
            Act::SourceTurnedAway { .. } => &self.inner.turned_away,
            _ => &self.inner.strangers,
        };
        let whose = Whose::of(&act);
        let (left_out, passes, is_first) = {
            let mut brake = lock(brake);
            let left_out = brake.turn(Instant::now());
            let had_left_out = brake.has_left_out();
            let passes = brake.passes(whose.as_ref());
            (left_out, passes, !passes && !had_left_out)
        };
        if is_first {
            self.tell_later(lock(brake).over_at());
        }
        let told: Vec<Act> = left_out.iter().cloned().map(brake::told).collect();
        let entries: Vec<Bytes> = told.iter().chain(passes.then_some(&act)).map(encoded).collect();
        if entries.is_empty() {
            return;
        }
        match self.inbox.try_send(Asked { entries, done: None }) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => {
                tracing::warn!(
                    "a refusal is missing from the audit trail, which has ended: the bastion stops"
                );
            }
            Err(TrySendError::Full(_)) => {
                tracing::warn!("a refusal is left out of the audit trail: more wait than can be written");
                let mut brake = lock(brake);
                left_out.iter().for_each(|(whose, refusals)| brake.leaves_out(whose.as_ref(), *refusals));
                brake.leaves_out(whose.as_ref(), u64::from(passes));
                self.tell_later(brake.over_at());
            }
        }
    }

    /// Tells what was left out once the minute is over, also if nobody is refused any more by then.
    fn tell_later(&self, at: Instant) {
        // Without a runtime it is told with the next refusal, or at the end.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (inbox, inner) = (self.inbox.downgrade(), Arc::downgrade(&self.inner));
        runtime.spawn(async move {
            tokio::time::sleep_until(at).await;
            if let (Some(inbox), Some(inner)) = (inbox.upgrade(), inner.upgrade()) {
                Audit { inbox, inner }.tell(|brake| brake.turn(Instant::now())).await;
            }
        });
    }

    /// Tells what was left out so far, whether or not the minute is over.
    pub async fn tell_what_is_left_out(&self) {
        self.tell(|brake| brake.begin_anew(Instant::now())).await;
    }

    async fn tell(&self, of: impl Fn(&mut Brake) -> Vec<(Option<Whose>, u64)>) {
        let Inner { strangers, people, turned_away, .. } = &*self.inner;
        let left_out = [strangers, people, turned_away].into_iter().flat_map(|brake| of(&mut lock(brake)));
        let acts: Vec<Act> = left_out.map(brake::told).collect();
        if let Err(fault) = self.write_all(&acts).await {
            tracing::error!(count = acts.len(), "what was left out of the audit trail is not told: {fault}");
        }
    }

    /// Writes what still waits, and ends the recording.
    pub async fn end(&self) {
        self.tell_what_is_left_out().await;
        let nothing = Asked { entries: Vec::new(), done: None };
        drop(self.inbox.send(nothing).await); // a task that has ended needs no word
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && timeout(WRITTEN_WITHIN, task).await.is_err()
        {
            tracing::error!("the audit trail did not end in time");
        }
    }

    fn known_files(&self) -> MutexGuard<'_, HashSet<String>> {
        self.inner.known_files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(brake: &Mutex<Brake>) -> MutexGuard<'_, Brake> {
    brake.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task: owns the tape. Ends when it is asked nothing.
async fn keep(mut tape: Tape, began: Instant, mut inbox: mpsc::Receiver<Asked>) {
    let mut waiting: VecDeque<(u64, oneshot::Sender<Result<(), Unwritten>>)> = VecDeque::new();
    let mut failing: Option<Unwritten> = None;
    let mut is_over = false;
    while !is_over || !waiting.is_empty() {
        tokio::select! {
            asked = inbox.recv(), if !is_over => match (asked, &failing) {
                (None, _) => is_over = true,
                // What is refused from now on hears so; what waits behind is still written.
                (Some(Asked { entries, done: None }), _) if entries.is_empty() => inbox.close(),
                (Some(Asked { done, .. }), Some(fault)) => drop(done.map(|done| done.send(Err(fault.clone())))),
                (Some(Asked { entries, done }), None) => {
                    let at = Elapsed::from(began.elapsed());
                    let last = entries.into_iter().fold(0, |_, entry| {
                        tape.append_synced(Event { at, what: What::Act(entry) })
                    });
                    waiting.extend(done.map(|done| (last, done)));
                }
            },
            reached = tape.reached() => match reached {
                Ok(positions) => {
                    failing = None;
                    while let Some((_, done)) = waiting.pop_front_if(|(number, _)| *number <= positions.synced) {
                        drop(done.send(Ok(()))); // who has gone meanwhile does nothing either
                    }
                }
                Err(fault) => {
                    tracing::error!("the audit trail cannot be written, so nobody signs in: {}", fault.0);
                    let fault = Unwritten(fault.0);
                    waiting.drain(..).for_each(|(_, done)| drop(done.send(Err(fault.clone()))));
                    failing = Some(fault);
                }
            },
        }
    }
    tape.close();
}

fn encoded(act: &Act) -> Bytes {
    let entry = Entry { time_us: house::now_us(), act };
    // Only a map with keys that are no text cannot be written, and there is none.
    serde_json::to_vec(&entry).unwrap_or_default().into()
}

fn text_of(file: &FileRead, sum: &FileSum) -> Vec<Act> {
    let all: Vec<char> = file.text.chars().collect();
    let pieces = all.chunks(TEXT_CHARS_MAX);
    let of = pieces.len();
    let piece = |(number, text): (usize, &[char])| Act::FileText {
        sha256: sum.sha256.clone(),
        piece: number + 1,
        of,
        text: text.iter().collect(),
    };
    pieces.enumerate().map(piece).collect()
}

/// The header of a recording that is a piece of the audit trail.
fn header() -> Header {
    let facts = Facts {
        format: FORMAT,
        id: archive::new_id(),
        salt: house::salt(),
        started_us: house::now_us(),
        layout: Layout::Chunks,
        person: Person::default(),
        source: String::new(),
        key: None,
        certificate: None,
        asked: None,
        connection: String::new(),
        target: String::new(),
        address: String::new(),
        login: String::new(),
        channel: AUDIT.into(),
        rule: String::new(),
    };
    let title = format!("audit trail of process {}", std::process::id());
    Header { cols: 80, rows: 24, command: None, title, env: Default::default(), facts }
}

/// A text of a stranger's, for an entry: printable, and short.
pub fn shown(text: &str) -> String {
    Printable::of(text).to_string()
}

#[cfg(test)]
pub mod tests;
