//! The thread behind the marks, of lower priority: what is written and closed is packed and sealed.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use archive::{Binder, Next};
use recording::SessionId;

/// Its nice value: it takes what the relay leaves.
const NICE: i32 = 10;
/// How long a shutdown waits for it. What it has not done by then, the next start does.
const SHUTDOWN_AT_MOST: Duration = Duration::from_secs(3);

/// What the writer tells the thread behind it.
pub(super) enum Note {
    /// Segments of a recording have ended, and are written.
    Segments(SessionId),
    /// It has ended, and the end is synced.
    Ended(SessionId),
    /// The server shuts down.
    Over,
}

/// The thread.
pub(super) fn run(mut binder: Binder, notes: &mpsc::Receiver<Note>) {
    // On Linux this is the thread's own priority, not the process's.
    if let Err(fault) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%fault, "packing runs at the relay's own priority");
    }
    let mut over_at = None;
    while over_at.is_none_or(|over| Instant::now() < over) {
        let next = match (binder.step(), over_at) {
            (Next::Now, _) => notes.try_recv().ok(),
            (_, Some(_)) => return,
            (Next::WhenAsked, _) => match notes.recv() {
                Ok(note) => Some(note),
                Err(mpsc::RecvError) => return,
            },
            (Next::At(at), _) => match notes.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Ok(note) => Some(note),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            },
        };
        for note in next.into_iter().chain(notes.try_iter()) {
            match note {
                Note::Segments(id) | Note::Ended(id) => binder.segments_ended(id),
                Note::Over => over_at = Some(Instant::now() + SHUTDOWN_AT_MOST),
            }
        }
    }
}
