//! Into sealed files, part by part.

use recording::SessionId;

use super::{BindFault, Binder};
use crate::{
    StoreFault,
    book::{Book, PartRef},
    journal::{self, Changes},
    part::{Part, PartBuilder, PartFault},
    store::Put,
};

impl Binder {
    /// Seals what the journal holds of a recording: one part of it, or, at its end, all that is left.
    pub(super) fn seal_lines(&mut self, book: &mut Book, is_end: bool) -> Result<(), BindFault> {
        let id = book.summary.id;
        // A part must never know more than the journal does after a power cut.
        self.archive.journal().sync()?;
        let entries = self.archive.journal().entries(id, book.first_unsealed)?;
        let line = self.archive.journal().header_line(id)?.ok_or(BindFault::NoHeader(id))?;
        let mut part = PartBuilder::new(id, book.parts + 1, &line, book.first_unsealed, book.sealed_link)?;
        let mut taken = 0;
        for entry in &entries {
            let is_full = part.len() as u64 >= self.limits.lines_part_bytes
                || part.plain_len() >= self.limits.part_plain_bytes;
            if is_full {
                break;
            }
            let stored = self.archive.journal().stored(id, entry)?;
            part.segment(entry.clone(), &stored.ok_or(BindFault::Lost(id, entry.segment.index))?)?;
            taken += 1;
        }
        let is_last = is_end && taken == entries.len();
        let next = book.first_unsealed + taken as u64;
        for segment in self.archive.journal().keyframes(id)? {
            if (is_last || segment < next)
                && let Some(keyframe) = self.archive.journal().keyframe(id, segment)?
            {
                part.keyframe(segment, &keyframe)?;
            }
        }
        let last = book.ended.filter(|_| is_last).map(|end| (end, &book.summary));
        let bytes = part.finish(last)?;
        self.seal(book, bytes).map(drop)
    }

    /// Puts the next part, reads it back, and only then lets go of what it holds. Answers whether it is ours: one
    /// that a killed server had put there is taken for what it is, if it follows from what is sealed.
    pub(super) fn seal(&mut self, book: &mut Book, bytes: Vec<u8>) -> Result<bool, BindFault> {
        let (id, number) = (book.summary.id, book.parts + 1);
        let is_ours = self.archive.store().put(id, number, bytes)? == Put::New;
        match self.archive.store().verify(id, number, false) {
            Ok(Some(part)) if follows(book, &part) => {
                self.standing.remove(&id);
                self.let_go(book, &part)?;
                Ok(is_ours)
            }
            Err(fault @ (StoreFault::Io(..) | StoreFault::Objects(..))) => Err(fault.into()),
            other => {
                let aside = self.archive.store().set_aside(id, number)?;
                let file = self.archive.store().file(id, number).display().to_string();
                let fault = "it does not follow from what is sealed".into();
                let stranger =
                    StoreFault::Damaged { file, faults: vec![PartFault { place: "footer".into(), fault }] };
                let fault = other.err().unwrap_or(stranger);
                tracing::error!(session = %id, kept_as = %aside.display(), "a part is not what was sealed");
                Err(fault.into())
            }
        }
    }

    /// A part is on the disk and has been read back: the journal lets go of what it holds.
    fn let_go(&mut self, book: &mut Book, part: &Part) -> Result<(), BindFault> {
        let id = book.summary.id;
        let mut changes = Changes::default();
        for entry in &part.entries {
            if entry.segment.index >= book.next_segment {
                book.add(entry);
            }
        }
        let next = part.footer.first_segment + part.footer.segments;
        for entry in self.archive.journal().entries(id, part.footer.first_segment)? {
            if entry.segment.index < next {
                changes.drop_segment(id, &entry);
                book.journal_bytes = book.journal_bytes.saturating_sub(journal::weight(&entry));
            }
        }
        for frame in &part.keyframes {
            if let Some(keyframe) = self.archive.journal().keyframe(id, frame.segment)? {
                changes.drop_keyframe(id, frame.segment, keyframe.len());
                book.journal_bytes = book.journal_bytes.saturating_sub(keyframe_weight(&keyframe));
            }
            book.framed = book.framed.max(frame.segment);
        }
        book.parts = part.footer.number;
        (book.first_unsealed, book.sealed_link) = (next, part.footer.link_after);
        changes.part(id, &PartRef::of(part));
        if let Some(end) = part.footer.ends {
            book.end(end);
            book.is_sealed = true;
            let header_len = self.archive.journal().header_line(id)?.map_or(0, |line| line.len());
            changes.close(id, header_len);
        }
        changes.book(book);
        self.archive.journal().make(changes)?;
        self.archive.journal().sync()?;
        if book.is_sealed {
            self.drop_tails(id, u32::MAX)?;
            self.forget(id);
        }
        Ok(())
    }
}

/// Bytes that a key frame takes in the journal.
pub(super) fn keyframe_weight(keyframe: &[u8]) -> u64 {
    keyframe.len() as u64 + 64
}

fn follows(book: &Book, part: &Part) -> bool {
    let id: SessionId = book.summary.id;
    let footer = &part.footer;
    footer.id == id
        && footer.number == book.parts + 1
        && footer.first_segment == book.first_unsealed
        && footer.link_before == book.sealed_link
}
