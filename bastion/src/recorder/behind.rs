//! The thread behind the marks, of lower priority: what is written and closed is packed and sealed.

use std::sync::{Arc, mpsc};

use archive::{Archive, Live};
use recording::SessionId;

/// What the writer tells the thread behind it.
pub(super) enum Note {
    /// A recording began.
    Began(Arc<Live>),
    /// Segments of it have ended, and are written.
    Segments(SessionId),
    /// It has ended, and the end is synced.
    Ended(SessionId),
    /// The server shuts down.
    Over,
}

/// The thread.
pub(super) fn run(_archive: &Archive, notes: &mpsc::Receiver<Note>) {
    while let Ok(note) = notes.recv() {
        if matches!(note, Note::Over) {
            return;
        }
    }
}
