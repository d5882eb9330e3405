//! The store of one data folder.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use recording::{AUDIT, Header, Keyframe, Layout, SessionId};
use rustix::fs::{FlockOperation, flock};

use crate::{
    BindFault, Filter, JournalFault, Live, State, StoreFault, Summary,
    book::{Book, PartRef},
    disk::{Disk, RealDisk, private_folder},
    journal::{Changes, Journal},
    part::{Part, PartFault},
    store::Store,
    stored,
    tail::Scan,
};

/// Why a store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// Another process has it.
    #[error("{data}: in use by {owner}")]
    InUse {
        /// The data folder.
        data: String,
        /// Who has it.
        owner: String,
    },
    /// The system did not do what was asked.
    #[error("{place}: {fault}")]
    Io {
        /// Which file or folder.
        place: String,
        /// What it said.
        #[source]
        fault: io::Error,
    },
    /// The journal does not answer.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The sealed files do not.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ArchiveFault {
    pub(crate) fn io(place: &Path) -> impl FnOnce(io::Error) -> Self {
        move |fault| ArchiveFault::Io { place: place.display().to_string(), fault }
    }
}

/// The store of one data folder, for the one process that may write it. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

struct Inner {
    data: PathBuf,
    disk: Arc<dyn Disk>,
    journal: Journal,
    store: Store,
    live: Mutex<BTreeMap<SessionId, Arc<Live>>>,
    /// The part whose index was last read, because it is as a rule read again.
    part: Mutex<Option<(SessionId, u32, Arc<Part>)>>,
    /// Locked as long as this lives.
    _lock: File,
}

impl Archive {
    /// Opens the store, for this process alone.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be used.
    pub fn open_exclusive(data: &Path) -> Result<Archive, ArchiveFault> {
        Archive::open_on(data, Arc::new(RealDisk))
    }

    /// The same, with tails on a disk of one's own.
    ///
    /// # Errors
    /// As [`Archive::open_exclusive`].
    pub fn open_on(data: &Path, disk: Arc<dyn Disk>) -> Result<Archive, ArchiveFault> {
        for folder in [data.to_path_buf(), data.join("tails")] {
            private_folder(&folder).map_err(ArchiveFault::io(&folder))?;
        }
        let lock = lock(data)?;
        let inner = Inner {
            data: data.to_path_buf(),
            disk,
            journal: Journal::open(&data.join("journal"))?,
            store: Store::open(&data.join("recordings"))?,
            live: Mutex::default(),
            part: Mutex::default(),
            _lock: lock,
        };
        Ok(Archive { inner: Arc::new(inner) })
    }

    /// The disk that tails are written to.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.inner.disk.clone()
    }

    /// The folder of the tails.
    pub fn tails(&self) -> PathBuf {
        self.inner.data.join("tails")
    }

    /// The folder of the sealed files.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.inner.data.join("recordings")
    }

    /// A recording begins: from now on it is listed, and can be read as far as it is written.
    pub fn begin(&self, header: &Header) -> Arc<Live> {
        let live = Arc::new(Live::new(header.clone()));
        self.live().insert(header.facts.id, live.clone());
        live
    }

    /// The sessions that match, the newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn sessions(&self, filter: &Filter) -> Result<Vec<Summary>, ArchiveFault> {
        let mut found = BTreeMap::new();
        for book in self.inner.journal.books()? {
            match book {
                Ok(book) => drop(found.insert(book.summary.id, book.summary)),
                Err(fault) => tracing::error!(%fault, "a session is missing from the list"),
            }
        }
        for (id, live) in self.live().iter() {
            let summary = Summary::of_live(live);
            let is_further = found.get(id).is_none_or(|known| known.state == State::Live);
            if is_further {
                found.insert(*id, summary);
            }
        }
        Ok(found.into_values().rev().filter(|summary| filter.matches(summary)).collect())
    }

    /// One session; none if there is none of that id.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn session(&self, id: SessionId) -> Result<Option<Summary>, ArchiveFault> {
        let book = self.inner.journal.book(id)?.map(|book| book.summary);
        let live = self.live().get(&id).map(|live| Summary::of_live(live));
        Ok(book.filter(|book| live.is_none() || book.state != State::Live).or(live))
    }

    /// How many sessions are being recorded.
    pub fn live_sessions(&self) -> usize {
        let is_session = |live: &&Arc<Live>| live.header().facts.channel != AUDIT && live.ended().is_none();
        self.live().values().filter(is_session).count()
    }

    /// The session that began last.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn last(&self) -> Result<Option<Summary>, ArchiveFault> {
        let is_session = |live: &&Arc<Live>| live.header().facts.channel != AUDIT;
        let live = self.live().values().rev().find(is_session).map(|live| live.header().facts.id);
        let mut books = self.inner.journal.books()?.filter_map(Result::ok).map(|book| book.summary);
        let book = books.find(|summary| !summary.is_audit()).map(|summary| summary.id);
        live.max(book).map_or(Ok(None), |id| self.session(id))
    }

    /// Reads all sealed parts of a recording back, every byte, and checks them: each segment in both of its forms,
    /// and the chain through all of them.
    ///
    /// # Errors
    /// With the first part that is not what was sealed, and everything that is wrong with it.
    pub fn verify(&self, id: SessionId) -> Result<(), ArchiveFault> {
        let mut before = None;
        for part in self.inner.journal.parts(id)? {
            let file = self.inner.store.file(id, part.number).display().to_string();
            let damaged = |place: &str, fault: &str| {
                let faults = vec![PartFault { place: place.into(), fault: fault.into() }];
                StoreFault::Damaged { file: file.clone(), faults }
            };
            let part = self.inner.store.verify(id, part.number, true)?;
            let part = part.ok_or_else(|| damaged("file", "is gone"))?;
            if before.is_some_and(|before| before != part.footer.link_before) {
                return Err(damaged("footer", "it does not follow from the part before").into());
            }
            before = Some(part.footer.link_after);
        }
        Ok(())
    }

    /// Bytes of all keys and values that the journal holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn journal_bytes(&self) -> Result<u64, ArchiveFault> {
        let all = self.inner.journal.everything()?;
        Ok(all.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// How a recording's segments hold their events, if anything is known of it.
    pub(crate) fn layout_of(&self, id: SessionId) -> Option<Layout> {
        if let Some(live) = self.live().get(&id) {
            return Some(live.header().facts.layout);
        }
        let line = self.inner.journal.header_line(id).ok().flatten()?;
        Header::from_line(&line).ok().map(|header| header.facts.layout)
    }

    /// Bytes written of a recording that is being written.
    pub(crate) fn live_bytes(&self, id: SessionId) -> Option<u64> {
        self.live().get(&id).map(|live| live.bytes())
    }

    /// Whether nothing more will be written of it.
    pub(crate) fn has_ended(&self, id: SessionId) -> bool {
        self.live().get(&id).is_none_or(|live| live.ended().is_some())
    }

    /// It is sealed.
    pub(crate) fn forget_live(&self, id: SessionId) {
        self.live().remove(&id);
    }

    /// Begins a book for a recording that has none, out of its tails.
    pub(crate) fn open_book(&self, id: SessionId) -> Result<Book, BindFault> {
        let line = Scan::open(&self.tails(), id, 1, None)?.any_header_line()?;
        let line = line.ok_or(BindFault::NoHeader(id))?;
        let header = Header::from_line(&line).map_err(|_| BindFault::NoHeader(id))?;
        let book = Book::new(id, &header, &line);
        let mut changes = Changes::default();
        changes.open(id, &line);
        changes.book(&book);
        self.inner.journal.make(changes)?;
        Ok(book)
    }

    /// The index of a part.
    pub(crate) fn part(&self, id: SessionId, number: u32) -> Result<Option<Arc<Part>>, StoreFault> {
        let mut kept = self.inner.part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((whose, which, part)) = &*kept
            && (*whose, *which) == (id, number)
        {
            return Ok(Some(part.clone()));
        }
        let part = self.inner.store.part(id, number)?.map(Arc::new);
        *kept = part.clone().map(|part| (id, number, part));
        Ok(part)
    }

    /// The key frame before a segment, wherever it lies; none if there is none, or it is damaged.
    pub(crate) fn keyframe(&self, id: SessionId, segment: u64) -> Result<Option<Keyframe>, BindFault> {
        if let Some(bytes) = self.inner.journal.keyframe(id, segment)? {
            return Ok(stored::read_keyframe(&bytes));
        }
        for part in self.inner.journal.parts(id)?.into_iter().rev() {
            let Some(part) = self.part(id, part.number)? else { continue };
            if let Some(frame) = part.keyframes.iter().find(|frame| frame.segment == segment) {
                let bytes = self.inner.store.keyframe(id, part.footer.number, frame)?;
                return Ok(bytes.and_then(|bytes| stored::read_keyframe(&bytes)));
            }
        }
        Ok(None)
    }

    /// The plain form of a packed segment, wherever it lies.
    pub(crate) fn plain_of(&self, id: SessionId, segment: u64) -> Result<Vec<u8>, BindFault> {
        let lost = BindFault::Lost(id, segment);
        let (entry, bytes) = match self.inner.journal.entry_of(id, segment)? {
            Some(entry) => {
                let bytes = self.inner.journal.stored(id, &entry)?;
                (entry, bytes)
            }
            None => {
                let parts = self.inner.journal.parts(id)?;
                let holds = |part: &&PartRef| {
                    (part.first_segment..part.first_segment + part.segments).contains(&segment)
                };
                let Some(part) = parts.iter().find(holds) else { return Err(lost) };
                let Some(part) = self.part(id, part.number)? else { return Err(lost) };
                let found = part.entries.iter().find(|entry| entry.segment.index == segment);
                let Some(entry) = found.cloned() else { return Err(lost) };
                let bytes = self.inner.store.stored(id, part.footer.number, &entry)?;
                (entry, bytes)
            }
        };
        let plain = stored::plain(&bytes.ok_or(lost)?, entry.segment.plain_len);
        plain.map_err(|fault| BindFault::Io(id.to_string(), io::Error::other(fault)))
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Live>>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks the folder for this process, and leaves its id there for whoever comes too late.
fn lock(data: &Path) -> Result<File, ArchiveFault> {
    let path = data.join("lock");
    let io = |fault| ArchiveFault::Io { place: path.display().to_string(), fault };
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let mut file = options.open(&path).map_err(io)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        let process =
            Read::by_ref(&mut file).take(32).read_to_string(&mut owner).map(|_| owner.trim().to_owned());
        let owner = process.ok().filter(|id| !id.is_empty());
        let owner = owner.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"));
        return Err(ArchiveFault::InUse { data: data.display().to_string(), owner });
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}
