//! Taking up what a killed server left.

use std::path::PathBuf;

use recording::{
    Elapsed, Encoder, Event, Header, SessionId, What,
    piece::{self, Key, Kind},
};

use crate::{
    Archive, ArchiveFault,
    disk::private_folder,
    tail::{self, End, Ends, Frame, FrameHead, TailFault, TailReader},
};

/// What a recording says at its end when nobody ended it.
pub const INTERRUPTED: &str = "interrupted: the server stopped in mid-session";

/// What the tails of one recording tell of its end.
struct LastSeen {
    header: Header,
    header_line: Vec<u8>,
    /// Number for a tail behind all that there are.
    next_number: u32,
    next_event: u64,
    bytes: u64,
    last_us: u64,
    ends: Ends,
}

impl Archive {
    /// Takes up what an earlier run left open: every recording without an end gets one, as interrupted. Whatever
    /// was written of it stays. Sealed recordings that the journal does not know are listed. May be stopped anywhere, and
    /// begun again.
    ///
    /// A tail that cannot be read is logged by name and left where it is, with all of its recording; so is what no
    /// header tells anything about.
    ///
    /// # Errors
    /// When the journal or the folder of the tails cannot be read, or the disk does not take an end.
    pub fn recover(&self) -> Result<(), ArchiveFault> {
        private_folder(&self.tails()).map_err(ArchiveFault::io(&self.tails()))?;
        // What is read now may lie in memory alone, and tails go by what it says.
        self.journal().sync()?;
        self.reindex()?;
        let mut tails = tail::list(&self.tails()).map_err(ArchiveFault::io(&self.tails()))?;
        for id in self.journal().open_ids()? {
            tails.entry(id).or_default();
        }
        for (id, files) in tails {
            match self.recover_one(id, &files) {
                Ok(()) => {}
                Err(Unrecovered::Left(fault)) => tracing::error!(session = %id, %fault, "left alone"),
                Err(Unrecovered::Archive(fault)) => return Err(fault),
            }
        }
        Ok(())
    }

    fn recover_one(&self, id: SessionId, files: &[(u32, PathBuf)]) -> Result<(), Unrecovered> {
        let book = self.journal().book(id)?;
        if book.as_ref().is_some_and(|book| book.is_sealed) {
            for (_, path) in files {
                tail::discard(path).map_err(ArchiveFault::io(path))?; // killed while it removed them
            }
            return Ok(());
        }
        if book.as_ref().is_some_and(|book| book.ended.is_some()) {
            return Ok(());
        }
        let seen = self.last_seen(id, files)?;
        let Some(seen) = seen else { return Ok(()) };
        let mut events = seen.next_event - 1;
        let end = match seen.ends {
            Ends::Recording(end) => end,
            _ => {
                self.write_end(id, &seen)?;
                events += 1;
                End::Interrupted
            }
        };
        if book.is_none() {
            self.open_book(id).map_err(|fault| Unrecovered::Left(fault.to_string()))?;
        }
        // Until it is packed the journal takes it for one that goes on.
        let left = self.begin(&seen.header);
        left.reached(events, seen.bytes, seen.last_us);
        left.end(end);
        Ok(())
    }

    /// The last frame of a recording. None if there never was one, and nothing tells of the recording.
    fn last_seen(&self, id: SessionId, files: &[(u32, PathBuf)]) -> Result<Option<LastSeen>, Unrecovered> {
        let book = self.journal().book(id)?;
        let mut header_line = self.journal().header_line(id)?;
        let (mut next_event, mut bytes, mut last_us) = (1, 0, 0);
        if let Some(book) = &book {
            (next_event, bytes, last_us) = (book.next_event, book.summary.bytes, book.summary.duration_us);
        }
        let (mut ends, mut is_end_lost, mut read_next) = (Ends::Nothing, false, None);
        for (_, path) in files {
            let mut tail = match TailReader::open(path) {
                Ok(tail) => tail,
                Err(fault @ TailFault::Headless(..)) => {
                    tracing::warn!(session = %id, %fault, "removed: it never held an event");
                    std::fs::remove_file(path).map_err(ArchiveFault::io(path))?;
                    continue;
                }
                Err(fault) => return Err(Unrecovered::Left(fault.to_string())),
            };
            header_line.get_or_insert_with(|| tail.header_line().to_vec());
            loop {
                let read = tail.next_frame().map_err(|fault| Unrecovered::Left(fault.to_string()))?;
                if let Some(damage) = tail.take_damage() {
                    tracing::error!(session = %id, %damage, "a tail is damaged");
                    // What is packed was read when it was whole.
                    is_end_lost |= damage.resumed.is_none()
                        && !matches!(ends, Ends::Recording(_))
                        && read_next.is_none_or(|next| next >= next_event);
                }
                let Some((_, frame)) = read else { break };
                read_next = read_next.max(Some(frame.head.next()));
                if frame.head.next() > next_event {
                    (next_event, bytes) = (frame.head.next(), bytes + frame.events.len() as u64);
                    is_end_lost = false; // the number of the frame tells what is missing
                }
                last_us = frame.head.last_us.max(last_us);
                if matches!(frame.head.ends, Ends::Recording(_)) {
                    (ends, is_end_lost) = (frame.head.ends, false);
                }
            }
        }
        // Nobody can tell how many events stood in a damaged end. One number left out says that something did.
        next_event += u64::from(is_end_lost);
        let Some(header_line) = header_line else { return Ok(None) };
        let header = Header::from_line(&header_line).map_err(|f| Unrecovered::Left(f.to_string()))?;
        let next_number = files.last().map_or(0, |(number, _)| number + 1);
        Ok(Some(LastSeen { header, header_line, next_number, next_event, bytes, last_us, ends }))
    }

    /// Ends a recording in a tail of its own, so that all that follows is as if its session had ended.
    fn write_end(&self, id: SessionId, seen: &LastSeen) -> Result<(), Unrecovered> {
        let path = tail::path(&self.tails(), id, seen.next_number);
        let event =
            Event { at: Elapsed::from_micros(seen.last_us), what: What::Marker(INTERRUPTED.to_owned()) };
        let mut events = Vec::new();
        Encoder::new(seen.header.facts.layout).write(&event, &mut events);
        let head = FrameHead {
            first: seen.next_event,
            events: 1,
            ends: Ends::Recording(End::Interrupted),
            first_us: seen.last_us,
            last_us: seen.last_us,
        };
        let mut bytes = Vec::new();
        let wrapped = piece::wrap(Kind::Header, Key::None, &seen.header_line, &mut bytes);
        wrapped
            .and_then(|()| Frame { head, events }.put(&mut bytes))
            .map_err(|f| Unrecovered::Left(f.to_string()))?;
        let file = self.disk().create(&path).map_err(ArchiveFault::io(&path))?;
        file.append(&bytes).and_then(|()| file.sync()).map_err(ArchiveFault::io(&path))?;
        Ok(())
    }
}

/// Why a recording was not taken up.
enum Unrecovered {
    /// It cannot be understood: it is left alone, and the others are served.
    Left(String),
    /// Nothing can be taken up.
    Archive(ArchiveFault),
}

impl<F: Into<ArchiveFault>> From<F> for Unrecovered {
    fn from(fault: F) -> Self {
        Unrecovered::Archive(fault.into())
    }
}
