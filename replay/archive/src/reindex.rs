//! The index of sealed recordings, made again out of their files.

use std::{collections::BTreeMap, fs, path::Path};

use recording::{Header, SessionId};

use crate::{
    Archive, BindFault,
    book::{Book, PartRef},
    journal::{Changes, JournalFault},
    salvage::Before,
};

impl Archive {
    /// Lists every sealed recording that the journal does not know: all of them if it is new or was lost, some if it lost
    /// its end, or if this was stopped before. What is sealed tells all that the index needs. Recordings of which the last
    /// part is missing are listed as far as they are sealed, and go on from there if their tails are still here.
    pub(crate) fn reindex(&self) -> Result<(), JournalFault> {
        let mut parts = BTreeMap::<SessionId, u32>::new();
        sealed_below(&self.recordings(), &mut parts);
        for id in self.journal().book_ids()? {
            parts.remove(&id);
        }
        if parts.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            sealed = parts.len(),
            "sealed recordings are missing from the list: they are listed again"
        );
        for (id, last) in parts {
            match self.reindex_one(id, last) {
                Ok(()) => {}
                Err(fault) => tracing::error!(session = %id, %fault, "a sealed recording cannot be listed"),
            }
        }
        Ok(())
    }

    fn reindex_one(&self, id: SessionId, last: u32) -> Result<(), BindFault> {
        let line = self.store().header_line(id, 1)?.ok_or(BindFault::NoHeader(id))?;
        let header = Header::from_line(&line).map_err(|_| BindFault::NoHeader(id))?;
        let mut book = Book::new(id, &header, &line);
        let mut changes = Changes::default();
        for number in 1..=last {
            let before = Before { segment: book.next_segment, event: book.next_event, link: book.link };
            let part = self.store().part_or_rest(id, number, before, header.facts.layout)?;
            let Some(part) = part else { break };
            if part.footer.id != id || part.footer.link_before != book.link {
                tracing::error!(session = %id, part = number, "does not follow from the part before");
                break;
            }
            part.entries.iter().for_each(|entry| book.add(entry));
            book.link = part.footer.link_after; // its entries may have been salvaged without
            book.framed = part.keyframes.iter().map(|frame| frame.segment).fold(book.framed, u64::max);
            book.parts = number;
            (book.first_unsealed, book.sealed_link) = (book.next_segment, book.link);
            changes.part(id, &PartRef::of(&part));
            if let Some(end) = part.footer.ends {
                book.end(end);
                book.is_sealed = true;
            }
        }
        if !book.is_sealed {
            changes.open(id, &line);
        }
        changes.book(&book);
        Ok(self.journal().make(changes)?)
    }
}

/// The last part of each recording below this folder.
fn sealed_below(folder: &Path, parts: &mut BTreeMap<SessionId, u32>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sealed_below(&path, parts);
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".rec"));
        let named = name.and_then(|name| name.split_once('.'));
        if let Some((Ok(id), Ok(number))) = named.map(|(id, number)| (id.parse(), number.parse())) {
            let last = parts.entry(id).or_insert(number);
            *last = number.max(*last);
        }
    }
}
