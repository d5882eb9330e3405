//! From tails: a terminal's segments into the journal, bulk straight into parts.

use std::time::Instant;

use recording::{Elapsed, Layout, Segment, SessionId, link};

use super::{BindFault, Binder};
use crate::{
    Entry,
    book::Book,
    journal::{self, Changes},
    part::PartBuilder,
    tail::{self, Ends, Run, Scan},
};

/// So many plain bytes are packed before anything else is looked at.
const PACKED_AT_ONCE: u64 = 1 << 20;

impl Binder {
    /// One step for a recording of a terminal. Answers whether there is more to do.
    pub(super) fn bind_lines(&mut self, id: SessionId, now: Instant) -> Result<bool, BindFault> {
        let Some(mut book) = self.book(id)? else { return Ok(false) };
        if book.journal_bytes >= self.limits.lines_part_bytes {
            return self.seal_lines(&mut book, false).map(|()| true);
        }
        if !book.is_whole() && self.pack(&mut book)? {
            return Ok(true);
        }
        if !book.is_whole() {
            return Ok(false);
        }
        let until = *self.patience.entry(id).or_insert(now + self.limits.frames_wait);
        if self.frames.contains(&id) && now < until {
            return Ok(false); // sealed once its key frames are there
        }
        self.seal_lines(&mut book, true)?;
        Ok(!book.is_sealed)
    }

    /// Packs some segments into the journal. Answers whether there were any.
    fn pack(&mut self, book: &mut Book) -> Result<bool, BindFault> {
        let id = book.summary.id;
        let mut scan = self.scan(book)?;
        let mut changes = Changes::default();
        let mut packed = 0;
        let before = scan.standing();
        while packed < PACKED_AT_ONCE && book.ended.is_none() {
            let run = scan.next_run()?;
            if run.ends == Ends::Nothing {
                break;
            }
            if run.events > 0 {
                let (mut entry, stored) = self.close(book, Layout::Lines, &run)?;
                entry.pieces = journal::values_of(&stored);
                entry.place = self.archive.journal().numbers(entry.pieces);
                changes.segment(id, &entry, &stored);
                book.add(&entry);
                book.journal_bytes += journal::weight(&entry);
                packed += entry.segment.plain_len;
            }
            if let Ends::Recording(end) = run.ends {
                book.end(end);
            }
        }
        self.tell_damage(id, &mut scan);
        let standing = scan.standing();
        let has_moved = packed > 0 || book.ended.is_some();
        if has_moved {
            changes.book(book);
            self.archive.journal().make(changes)?;
        }
        self.standing.insert(id, standing);
        if standing.number != before.number || book.ended.is_some() {
            self.archive.journal().sync()?;
            self.drop_tails(id, standing.number)?;
        }
        if book.wants_frames() && !self.frames.contains(&id) {
            self.frames.push_back(id);
        }
        Ok(has_moved)
    }

    /// One step for a channel without a terminal. Answers whether there is more to do.
    pub(super) fn bind_chunks(&mut self, id: SessionId) -> Result<bool, BindFault> {
        let Some(mut book) = self.book(id)? else { return Ok(false) };
        let written = self.archive.live_bytes(id);
        let waits = written.is_some_and(|bytes| bytes < book.summary.bytes + self.limits.chunks_file_bytes);
        if waits && !self.archive.has_ended(id) {
            return Ok(false);
        }
        let mut scan = self.scan(&book)?;
        let header_line = self.header_line(&book, &mut scan)?;
        let (first, link) = (book.next_segment, book.link);
        let mut part = PartBuilder::new(id, book.parts + 1, &header_line, first, link)?;
        let mut so_far = book.clone();
        while (part.len() as u64) < self.limits.chunks_part_bytes
            && part.plain_len() < self.limits.part_plain_bytes
            && so_far.ended.is_none()
        {
            let run = scan.next_run()?;
            if run.ends == Ends::Nothing {
                break;
            }
            if run.events > 0 {
                let (entry, stored) = self.close(&so_far, Layout::Chunks, &run)?;
                so_far.add(&entry);
                part.segment(entry, &stored)?;
            }
            if let Ends::Recording(end) = run.ends {
                so_far.end(end);
            }
        }
        self.tell_damage(id, &mut scan);
        if part.entries().is_empty() && so_far.ended.is_none() {
            return Ok(false);
        }
        let bytes = part.finish(so_far.ended.map(|end| (end, &so_far.summary)))?;
        let is_ours = self.seal(&mut book, bytes)?;
        if is_ours {
            self.standing.insert(id, scan.standing());
            self.drop_tails(id, scan.standing().number)?;
        }
        Ok(!book.is_sealed)
    }

    /// A run becomes a segment: its fields, its link, and its stored form.
    fn close(&mut self, book: &Book, layout: Layout, run: &Run) -> Result<(Entry, Vec<u8>), BindFault> {
        let id = book.summary.id;
        if run.missing > 0 {
            tracing::error!(session = %id, from = book.next_event, events = run.missing, "events are missing");
        }
        let stored = self.compressor.store(&run.plain);
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|fault| BindFault::Io("random bytes".into(), fault.into()))?;
        let times = (Elapsed::from_micros(run.span_us.0), Elapsed::from_micros(run.span_us.1));
        let segment = Segment::close(book.next_segment, times, nonce, &run.plain, &stored);
        let link = link(&book.link, &segment);
        let span = run.span(layout);
        Ok((Entry { segment, link, first_event: run.first_event, place: 0, pieces: 0, span }, stored))
    }

    /// The recording's book; made now if it has none. None if all of it is sealed.
    fn book(&mut self, id: SessionId) -> Result<Option<Book>, BindFault> {
        if let Some(book) = self.archive.journal().book(id)? {
            if book.is_sealed {
                self.drop_tails(id, u32::MAX)?;
                self.forget(id);
                return Ok(None);
            }
            return Ok(Some(book));
        }
        self.archive.open_book(id).map(Some)
    }

    fn scan(&self, book: &Book) -> Result<Scan, BindFault> {
        let (id, next_event) = (book.summary.id, book.next_event);
        Ok(Scan::open(&self.archive.tails(), id, next_event, self.standing.get(&id).copied())?)
    }

    fn header_line(&self, book: &Book, scan: &mut Scan) -> Result<Vec<u8>, BindFault> {
        let id = book.summary.id;
        if let Some(line) = self.archive.journal().header_line(id)? {
            return Ok(line);
        }
        let line = scan.any_header_line()?;
        line.ok_or(BindFault::NoHeader(id))
    }

    /// Logs what a tail has damaged, once.
    fn tell_damage(&mut self, id: SessionId, scan: &mut Scan) {
        for damage in scan.take_damage() {
            if self.told.get(&id).is_none_or(|told| *told < (damage.path.clone(), damage.at)) {
                tracing::error!(session = %id, %damage, "a tail is damaged");
                self.told.insert(id, (damage.path, damage.at));
            }
        }
    }

    /// Removes the tails before this one: what they hold is elsewhere, and synced. A damaged one is kept aside.
    pub(super) fn drop_tails(&self, id: SessionId, before: u32) -> Result<(), BindFault> {
        let folder = self.archive.tails();
        for number in tail::numbers(&folder, id)?.into_iter().filter(|number| *number < before) {
            let path = tail::path(&folder, id, number);
            tail::discard(&path).map_err(|fault| BindFault::Io(path.display().to_string(), fault))?;
        }
        Ok(())
    }
}
