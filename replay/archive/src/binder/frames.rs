//! Key frames, within a budget.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use recording::{AvtReplica, Event, Header, Layout, Replica, SessionId, decode};

use super::{BindFault, Binder, budget::thread_time, seal::keyframe_weight};
use crate::{book::Book, journal::Changes, stored};

/// So many segments of one recording in a row; then it is another's turn.
const IN_A_ROW: u64 = 64;

/// A terminal, replayed up to a segment. Only one is kept: a key frame brings back any other.
pub(super) struct Screen {
    pub(super) id: SessionId,
    /// It stands before this segment.
    before: u64,
    since: u64,
    replica: AvtReplica,
}

impl Binder {
    /// Makes one key frame.
    pub(super) fn frame_next(&mut self, now: Instant) {
        let Some(id) = self.frames.front().copied() else { return };
        let begun = thread_time();
        let framed = self.frame(id);
        self.budget.spend(now, thread_time().saturating_sub(begun));
        match framed {
            Ok(true) => {}
            Ok(false) => {
                self.frames.pop_front();
                self.lines.insert(id); // it may have waited for this
            }
            Err(fault) => {
                self.frames.pop_front();
                self.screen = None;
                self.settle(id, Err(fault), now);
                self.lines.insert(id);
            }
        }
    }

    /// Makes the key frame after the last one. Answers whether there is another to make.
    fn frame(&mut self, id: SessionId) -> Result<bool, BindFault> {
        let Some(mut book) = self.archive.journal().book(id)? else { return Ok(false) };
        if !book.wants_frames() {
            return Ok(false);
        }
        let mut screen = self.screen_before(&book)?;
        let events = self.events_of(&book)?;
        let shown = catch_unwind(AssertUnwindSafe(move || {
            events.iter().for_each(|event| screen.replica.apply(event));
            screen
        }));
        let mut changes = Changes::default();
        if let Ok(mut screen) = shown {
            screen.before += 1;
            let plain = screen.replica.keyframe().to_bytes();
            let keyframe = stored::keyframe(&plain, &self.compressor.store(&plain));
            changes.keyframe(id, screen.before, &keyframe);
            book.framed = screen.before;
            book.journal_bytes += keyframe_weight(&keyframe);
            if book.journal_bytes >= self.limits.lines_part_bytes {
                self.lines.insert(id); // also key frames leave the journal for a part
            }
            self.take_turns(id, screen);
        } else {
            tracing::error!(session = %id, segment = book.framed, "the terminal cannot be replayed from here on");
            book.is_unframed = true;
        }
        changes.book(&book);
        self.archive.journal().make(changes)?;
        Ok(book.wants_frames())
    }

    fn take_turns(&mut self, id: SessionId, screen: Screen) {
        let is_turn_over = screen.before - screen.since >= IN_A_ROW && self.frames.len() > 1;
        self.screen = Some(screen).filter(|_| !is_turn_over);
        if is_turn_over && let Some(id) = self.frames.pop_front().or(Some(id)) {
            self.frames.push_back(id);
        }
    }

    fn screen_before(&mut self, book: &Book) -> Result<Screen, BindFault> {
        let (id, before) = (book.summary.id, book.framed);
        if let Some(screen) = self.screen.take().filter(|screen| screen.id == id && screen.before == before) {
            return Ok(screen);
        }
        let replica = match self.archive.keyframe(id, before)? {
            Some(keyframe) => AvtReplica::restore(&keyframe),
            None => {
                let line = self.archive.journal().header_line(id)?.ok_or(BindFault::NoHeader(id))?;
                let header = Header::from_line(&line).map_err(|_| BindFault::NoHeader(id))?;
                AvtReplica::blank(header.cols, header.rows)
            }
        };
        Ok(Screen { id, before, since: before, replica })
    }

    fn events_of(&self, book: &Book) -> Result<Vec<Event>, BindFault> {
        let plain = self.archive.plain_of(book.summary.id, book.framed)?;
        // What does not decode shows nothing; a reader meets it as a fault.
        Ok(decode(Layout::Lines, &plain).unwrap_or_default())
    }
}
