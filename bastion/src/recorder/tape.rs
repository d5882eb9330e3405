//! A session's end of the recorder.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use archive::End;
use gate::Unrecorded;
use recording::{Event, SessionId};
use tokio::{sync::watch, time::Instant};

use super::{Positions, writer::Entry};
use crate::alarm::Alarm;

/// What the recorder tells a tape.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) positions: Positions,
    /// The latest fault, and its number: a number that was not seen before is a fault that was not said before.
    pub(super) fault: Option<(u64, Arc<str>)>,
    /// A sync failed, and none has worked since: a disk that takes writes and syncs none is no disk that works again.
    pub(super) unsynced: bool,
    /// How often writing has worked again after a fault.
    pub(super) mended: u64,
}

/// One session's recording, as its session writes it.
///
/// Dropped without [`Tape::close`], as a panic does, the recording ends as interrupted.
pub struct Tape {
    id: SessionId,
    slot: u64,
    recorder: mpsc::Sender<Entry>,
    told: watch::Receiver<Told>,
    /// What `reached` last answered.
    said: Positions,
    fault_said: u64,
    mended_said: u64,
    silence_said: bool,
    appended: u64,
    sync_asked: u64,
    sync_all: bool,
    /// When the recorder last came further, or was first asked to, while something waits for it.
    waits_since: Option<Instant>,
    silent_at_most: Duration,
    alarm: Alarm,
    end: End,
}

/// What a tape needs to begin.
pub(super) struct Begun {
    pub(super) id: SessionId,
    pub(super) slot: u64,
    pub(super) recorder: mpsc::Sender<Entry>,
    pub(super) told: watch::Receiver<Told>,
    pub(super) sync_all: bool,
    pub(super) silent_at_most: Duration,
}

impl Tape {
    pub(super) fn new(begun: Begun) -> Self {
        let Begun { id, slot, recorder, told, sync_all, silent_at_most } = begun;
        Tape {
            id,
            slot,
            recorder,
            told,
            said: Positions::default(),
            fault_said: 0,
            mended_said: 0,
            silence_said: false,
            appended: 0,
            sync_asked: 0,
            sync_all,
            waits_since: None,
            silent_at_most,
            alarm: Alarm::default(),
            end: End::Interrupted,
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Hands an event to the recorder, and answers its number. It never waits and never fails: what goes wrong comes
    /// out of [`Tape::reached`].
    pub fn append(&mut self, event: Event) -> u64 {
        self.put(event, false)
    }

    /// The same, and asks for a sync at once instead of with the next group.
    pub fn append_synced(&mut self, event: Event) -> u64 {
        self.put(event, true)
    }

    /// Events that are not known to be written.
    pub fn behind(&self) -> u64 {
        self.appended.saturating_sub(self.said.written)
    }

    /// How far the recorder is by now.
    #[cfg(test)]
    pub fn positions(&self) -> Positions {
        self.told.borrow().positions
    }

    /// Waits until the recorder is further than it last said, or in trouble. Pending while there is nothing new;
    /// may be dropped at any time and asked again.
    ///
    /// # Errors
    /// Each fault is said once. After it the recorder tries again by itself; positions that come later mean that
    /// recording works again: after a failed sync, that one has worked.
    pub async fn reached(&mut self) -> Result<Positions, Unrecorded> {
        loop {
            let told = self.told.borrow_and_update().clone();
            // The fault first: what mended it came after it, and would else be taken for what went before.
            if let Some((number, fault)) = told.fault.filter(|(number, _)| *number > self.fault_said) {
                self.fault_said = number;
                return Err(Unrecorded(fault.to_string()));
            }
            let is_further =
                !told.unsynced && (told.positions != self.said || told.mended != self.mended_said);
            if is_further {
                self.mended_said = told.mended;
                self.came_further(told.positions);
                return Ok(told.positions);
            }
            let silent_at_most = self.silent_at_most;
            let waits_since = self.waits_since.filter(|_| !self.silence_said);
            tokio::select! {
                changed = self.told.changed() => if changed.is_err() {
                    return self.stopped().await;
                },
                () = self.alarm.reached(waits_since.map(|since| since + silent_at_most)) => {
                    self.silence_said = true;
                    let seconds = silent_at_most.as_secs_f32();
                    return Err(Unrecorded(format!("the disk has not answered for {seconds:.1} s")));
                }
            }
        }
    }

    /// Ends the recording: its last segment is closed, the close is synced, and the whole is sealed behind.
    pub fn close(mut self) {
        self.end = End::Finished;
    }

    fn put(&mut self, event: Event, sync: bool) -> u64 {
        self.appended += 1;
        if sync || self.sync_all {
            self.sync_asked = self.appended;
        }
        self.waits_since.get_or_insert_with(Instant::now);
        // A recorder that has stopped cannot take it; `reached` says so, and nothing leaves.
        drop(self.recorder.send(Entry::Event { slot: self.slot, event, sync }));
        self.appended
    }

    fn came_further(&mut self, positions: Positions) {
        self.said = positions;
        self.silence_said = false;
        let waits = positions.written < self.appended || positions.synced < self.sync_asked;
        self.waits_since = waits.then(Instant::now);
    }

    async fn stopped(&mut self) -> Result<Positions, Unrecorded> {
        if std::mem::replace(&mut self.fault_said, u64::MAX) == u64::MAX {
            return std::future::pending().await;
        }
        Err(Unrecorded("the recorder has stopped".to_owned()))
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        // A recorder that has stopped is closed by the next start's recovery.
        drop(self.recorder.send(Entry::Close { slot: self.slot, end: self.end }));
    }
}
