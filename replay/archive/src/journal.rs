//! The journal: what is closed and not yet sealed, and the index of everything.
//!
//! sled holds it, in one tree, in small values. Large ones become files of their own that ignore the cache and
//! the space of deleted ones is not given back, so bulk stays out of here and sealed recordings leave. `flush` alone
//! does not survive a power cut; [`Journal::sync`] does.
//!
//! | Key | Value |
//! |---|---|
//! | `b` id | the recording's [`Book`] |
//! | `h` id n | its header line, in values |
//! | `k` id segment n | the key frame before that segment, in values |
//! | `o` id | nothing: the recording is not wholly sealed |
//! | `p` id number | a sealed part: its [`PartRef`] |
//! | `v` number | a value of a segment; numbers go up with time |
//! | `x` id segment n | the segment's [`Entry`], in values |

use std::{
    any::Any,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use recording::{
    SessionId,
    piece::{self, Key, Kind, PieceFault},
};
use sled::{Batch, Db, IVec};
use ulid::Ulid;

use crate::{
    Entry,
    book::{Book, PartRef},
    disk::{private_folder, sync_folder},
    entry::EntryFault,
};

/// sled keeps no value above about 12 KB in its pages: this, its wrapping and its key stay under it.
const VALUE_BYTES_MAX: usize = 11 * 1024;
/// sled's cache. What is read from here is read once; the page cache holds the rest.
const CACHE_BYTES: u64 = 8 << 20;

/// Why the journal does not answer.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// sled says so.
    #[error("{0}: {1}")]
    Sled(String, #[source] sled::Error),
    /// The disk says so.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// sled cannot make sense of it.
    #[error("{0}: cannot be read: {1}")]
    Unreadable(String, String),
    /// It failed, and is opened again before it is asked again.
    #[error("{0}: closed after a failure")]
    Closed(String),
    /// A value is damaged.
    #[error("{journal}: value {value} of {id}: {fault}")]
    Damaged {
        /// The folder.
        journal: String,
        /// Whose value.
        id: String,
        /// Which value.
        value: String,
        /// What is wrong with it.
        fault: String,
    },
}

impl JournalFault {
    /// Whether it is what the journal holds that is at fault, and opening it again would find it so again.
    fn is_damage(&self) -> bool {
        use sled::Error::{Corruption, ReportableBug};
        matches!(
            self,
            JournalFault::Unreadable(..) | JournalFault::Sled(_, Corruption { .. } | ReportableBug(_))
        )
    }
}

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// Changes that are made together or not at all.
#[derive(Default)]
pub(crate) struct Changes {
    batch: Batch,
    is_any: bool,
}

pub(crate) struct Journal {
    folder: PathBuf,
    db: RwLock<Option<Db>>,
    next_value: AtomicU64,
}

impl Journal {
    pub(crate) fn open(folder: &Path) -> Result<Self, JournalFault> {
        let name = folder.display().to_string();
        private_folder(folder).map_err(|fault| JournalFault::Io(name, fault))?;
        let journal =
            Journal { folder: folder.to_path_buf(), db: RwLock::new(None), next_value: AtomicU64::new(0) };
        match journal.reopen() {
            Err(fault) if fault.is_damage() => {
                journal.set_aside(&fault)?;
                journal.reopen()?;
            }
            opened => opened?,
        }
        Ok(journal)
    }

    /// A journal that cannot be read makes room for a new one. It is kept.
    fn set_aside(&self, fault: &JournalFault) -> Result<(), JournalFault> {
        let io = |fault| JournalFault::Io(self.name(), fault);
        let aside = self.folder.with_extension(format!("damaged-{}", Ulid::new()));
        std::fs::rename(&self.folder, &aside).map_err(io)?;
        self.folder.parent().map_or(Ok(()), sync_folder).map_err(io)?;
        private_folder(&self.folder).map_err(io)?;
        let kept_as = aside.display();
        tracing::error!(%fault, %kept_as, "the journal is damaged, and a new one begun; what it alone held is missing");
        Ok(())
    }

    /// Opens it again. After a failed write nothing may be believed of the handle that failed.
    pub(crate) fn reopen(&self) -> Result<(), JournalFault> {
        let mut place = self.db.write().unwrap_or_else(PoisonError::into_inner);
        *place = None; // sled's lock goes with its last handle
        // sled panics where what it reads makes no sense.
        let opened = catch_unwind(AssertUnwindSafe(|| self.open_db()));
        let (db, next) = opened.unwrap_or_else(|panic| Err(self.unreadable(&*panic)))?;
        self.next_value.store(next, Relaxed);
        *place = Some(db);
        Ok(())
    }

    /// sled, and the number of the next value; it has then read what every start needs of it.
    fn open_db(&self) -> Result<(Db, u64), JournalFault> {
        let config = sled::Config::new().path(&self.folder).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = config.open().map_err(|fault| self.sled(fault))?;
        let last = db.scan_prefix(b"v").keys().next_back().transpose().map_err(|fault| self.sled(fault))?;
        let last = last.and_then(|key| Some(u64::from_be_bytes(*key.get(1..)?.first_chunk()?)));
        for prefix in [b"b", b"o"] {
            let read = db.scan_prefix(prefix).try_for_each(|pair| pair.map(drop));
            read.map_err(|fault| self.sled(fault))?;
        }
        Ok((db, last.map_or(0, |last| last + 1)))
    }

    fn db(&self) -> Result<Db, JournalFault> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner).clone();
        db.ok_or_else(|| JournalFault::Closed(self.name()))
    }

    /// Makes the changes, all or none. They survive a kill; a power cut only after [`Journal::sync`].
    pub(crate) fn make(&self, changes: Changes) -> Result<(), JournalFault> {
        if !changes.is_any {
            return Ok(());
        }
        self.db()?.apply_batch(changes.batch).map_err(|fault| self.sled(fault))
    }

    /// Brings all that was made where a power cut does not reach it.
    pub(crate) fn sync(&self) -> Result<(), JournalFault> {
        self.db()?.flush().map_err(|fault| self.sled(fault))?;
        self.sync_files().map_err(|fault| JournalFault::Io(self.name(), fault))
    }

    /// sled flushes with `sync_file_range`, which a power cut does not respect.
    fn sync_files(&self) -> io::Result<()> {
        File::open(self.folder.join("db"))?.sync_data()?;
        let blobs = self.folder.join("blobs");
        if blobs.is_dir() {
            for blob in std::fs::read_dir(&blobs)? {
                File::open(blob?.path())?.sync_data()?;
            }
            sync_folder(&blobs)?;
        }
        sync_folder(&self.folder)
    }

    /// How far a recording is; none if the journal does not know it.
    pub(crate) fn book(&self, id: SessionId) -> Result<Option<Book>, JournalFault> {
        let value = self.db()?.get(key(b'b', id)).map_err(|fault| self.sled(fault))?;
        value.map(|value| self.read_book(id, &value)).transpose()
    }

    /// All recordings, the newest first.
    pub(crate) fn books(&self) -> Result<impl Iterator<Item = Result<Book, JournalFault>>, JournalFault> {
        Ok(self.db()?.scan_prefix(b"b").rev().map(|pair| {
            let (key, value) = pair.map_err(|fault| self.sled(fault))?;
            match id_of(&key) {
                Some(id) => self.read_book(id, &value),
                None => Err(self.damaged(&"?", "b", "its key is no session")),
            }
        }))
    }

    /// All recordings, by their names alone.
    pub(crate) fn book_ids(&self) -> Result<Vec<SessionId>, JournalFault> {
        self.ids(b"b")
    }

    /// The recordings that are not wholly sealed.
    pub(crate) fn open_ids(&self) -> Result<Vec<SessionId>, JournalFault> {
        self.ids(b"o")
    }

    fn ids(&self, prefix: &[u8]) -> Result<Vec<SessionId>, JournalFault> {
        let keys = self.db()?.scan_prefix(prefix).keys();
        let ids = keys.map(|key| Ok(id_of(&key.map_err(|fault| self.sled(fault))?)));
        Ok(ids.collect::<Result<Vec<_>, JournalFault>>()?.into_iter().flatten().collect())
    }

    /// The sealed parts of a recording, in order.
    pub(crate) fn parts(&self, id: SessionId) -> Result<Vec<PartRef>, JournalFault> {
        let values = self.db()?.scan_prefix(key(b'p', id)).values();
        let parts = values.map(|value| {
            let json = self.unwrap(id, "p", Kind::Index, &value.map_err(|fault| self.sled(fault))?)?;
            serde_json::from_slice(&json).map_err(|fault| self.damaged(&id, "p", &fault.to_string()))
        });
        parts.collect()
    }

    /// The header line of a recording that is not wholly sealed.
    pub(crate) fn header_line(&self, id: SessionId) -> Result<Option<Vec<u8>>, JournalFault> {
        self.joined(&key(b'h', id), Kind::Header, id)
    }

    /// The key frame before a segment, as bytes.
    pub(crate) fn keyframe(&self, id: SessionId, segment: u64) -> Result<Option<Vec<u8>>, JournalFault> {
        self.joined(&segment_key(b'k', id, segment), Kind::Keyframe, id)
    }

    /// The segments that have a key frame here.
    pub(crate) fn keyframes(&self, id: SessionId) -> Result<Vec<u64>, JournalFault> {
        let mut found = Vec::new();
        for key in self.db()?.scan_prefix(key(b'k', id)).keys() {
            let key = key.map_err(|fault| self.sled(fault))?;
            found.extend(key.get(27..).and_then(<[u8]>::first_chunk).map(|n| u64::from_be_bytes(*n)));
        }
        found.dedup();
        Ok(found)
    }

    /// The entries of a recording's segments from this one on.
    pub(crate) fn entries(&self, id: SessionId, from: u64) -> Result<Vec<Entry>, JournalFault> {
        let (first, last) = (segment_key(b'x', id, from), segment_key(b'x', id, u64::MAX));
        let (mut entries, mut bytes, mut whose) = (Vec::new(), Vec::new(), None);
        for pair in self.db()?.range(first..last) {
            let (key, value) = pair.map_err(|fault| self.sled(fault))?;
            let segment = key.get(..35).map(<[u8]>::to_vec);
            if segment != whose && whose.is_some() {
                entries.push(self.entry(id, &bytes)?);
                bytes.clear();
            }
            whose = segment;
            bytes.extend_from_slice(&self.unwrap(id, "x", Kind::Index, &value)?);
        }
        if whose.is_some() {
            entries.push(self.entry(id, &bytes)?);
        }
        Ok(entries)
    }

    /// The entry of one segment that lies here; none if it has left.
    pub(crate) fn entry_of(&self, id: SessionId, segment: u64) -> Result<Option<Entry>, JournalFault> {
        let bytes = self.joined(&segment_key(b'x', id, segment), Kind::Index, id)?;
        bytes.map(|bytes| self.entry(id, &bytes)).transpose()
    }

    /// The stored form of a segment that lies here; none if it has left.
    pub(crate) fn stored(&self, id: SessionId, entry: &Entry) -> Result<Option<Vec<u8>>, JournalFault> {
        let db = self.db()?;
        let mut stored = Vec::new();
        for number in entry.place..entry.place.saturating_add(entry.pieces.into()) {
            let Some(value) = db.get(value_key(number)).map_err(|fault| self.sled(fault))? else {
                return Ok(None);
            };
            stored.extend_from_slice(&self.unwrap(id, &number.to_string(), Kind::Segment, &value)?);
        }
        if !entry.segment.binds_stored(&stored) {
            return Err(self.damaged(&id, &entry.place.to_string(), "it is not what its digest says"));
        }
        Ok(Some(stored))
    }

    /// Every value, unwrapped, for tests that search them all.
    pub(crate) fn everything(&self) -> Result<Vec<Pair>, JournalFault> {
        let pairs = self.db()?.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
        pairs.collect::<Result<_, _>>().map_err(|fault| self.sled(fault))
    }

    /// Numbers for so many values, in order of time.
    pub(crate) fn numbers(&self, count: u32) -> u64 {
        self.next_value.fetch_add(count.into(), Relaxed)
    }

    fn joined(&self, prefix: &[u8], kind: Kind, id: SessionId) -> Result<Option<Vec<u8>>, JournalFault> {
        let mut joined = None::<Vec<u8>>;
        for pair in self.db()?.scan_prefix(prefix) {
            let (_, value) = pair.map_err(|fault| self.sled(fault))?;
            let payload = self.unwrap(id, &format!("{kind:?}"), kind, &value)?;
            joined.get_or_insert_default().extend_from_slice(&payload);
        }
        Ok(joined)
    }

    fn read_book(&self, id: SessionId, value: &IVec) -> Result<Book, JournalFault> {
        let json = self.unwrap(id, "b", Kind::Summary, value)?;
        serde_json::from_slice(&json).map_err(|fault| self.damaged(&id, "b", &fault.to_string()))
    }

    fn entry(&self, id: SessionId, bytes: &[u8]) -> Result<Entry, JournalFault> {
        Entry::from_bytes(bytes).map_err(|fault: EntryFault| self.damaged(&id, "x", &fault.to_string()))
    }

    fn unwrap(&self, id: SessionId, name: &str, kind: Kind, value: &[u8]) -> Result<Vec<u8>, JournalFault> {
        let unwrapped = piece::unwrap_whole(kind, value);
        let fault = |fault: PieceFault| self.damaged(&id, name, &fault.to_string());
        Ok(unwrapped.map_err(fault)?.into_owned())
    }

    fn damaged(&self, id: &dyn std::fmt::Display, value: &str, fault: &str) -> JournalFault {
        let (journal, id) = (self.name(), id.to_string());
        JournalFault::Damaged { journal, id, value: value.to_owned(), fault: fault.to_owned() }
    }

    fn unreadable(&self, panic: &(dyn Any + Send)) -> JournalFault {
        let said =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        JournalFault::Unreadable(self.name(), said.unwrap_or("sled panicked").to_owned())
    }

    fn sled(&self, fault: sled::Error) -> JournalFault {
        JournalFault::Sled(self.name(), fault)
    }

    fn name(&self) -> String {
        self.folder.display().to_string()
    }
}

impl Changes {
    /// A recording begins, or is taken up.
    pub(crate) fn open(&mut self, id: SessionId, header_line: &[u8]) {
        self.put(key(b'o', id), &[]);
        self.put_joined(&key(b'h', id), Kind::Header, header_line);
    }

    /// A part is sealed.
    pub(crate) fn part(&mut self, id: SessionId, part: &PartRef) {
        let json = serde_json::to_vec(part).expect("a part of numbers always becomes JSON");
        let key = [&key(b'p', id), &part.number.to_be_bytes()[..]].concat();
        self.put(key, &wrapped(Kind::Index, &json));
    }

    /// How far it is now.
    pub(crate) fn book(&mut self, book: &Book) {
        let json = serde_json::to_vec(book).expect("a book of numbers and texts always becomes JSON");
        self.put(key(b'b', book.summary.id), &wrapped(Kind::Summary, &json));
    }

    /// A segment: its values at the numbers that its entry names, and the entry.
    pub(crate) fn segment(&mut self, id: SessionId, entry: &Entry, stored: &[u8]) {
        for (number, value) in (entry.place..).zip(stored.chunks(VALUE_BYTES_MAX)) {
            self.put(value_key(number), &wrapped(Kind::Segment, value));
        }
        self.put_joined(&segment_key(b'x', id, entry.segment.index), Kind::Index, &entry.to_bytes());
    }

    /// The key frame before a segment.
    pub(crate) fn keyframe(&mut self, id: SessionId, segment: u64, keyframe: &[u8]) {
        self.put_joined(&segment_key(b'k', id, segment), Kind::Keyframe, keyframe);
    }

    /// A segment has left for a sealed file.
    pub(crate) fn drop_segment(&mut self, id: SessionId, entry: &Entry) {
        for number in entry.place..entry.place.saturating_add(entry.pieces.into()) {
            self.remove(value_key(number));
        }
        self.remove_joined(&segment_key(b'x', id, entry.segment.index), entry.to_bytes().len());
    }

    /// A key frame, of so many bytes, has left for a sealed file.
    pub(crate) fn drop_keyframe(&mut self, id: SessionId, segment: u64, len: usize) {
        self.remove_joined(&segment_key(b'k', id, segment), len);
    }

    /// All of the recording has left for sealed files.
    pub(crate) fn close(&mut self, id: SessionId, header_len: usize) {
        self.remove(key(b'o', id));
        self.remove_joined(&key(b'h', id), header_len);
    }

    fn put(&mut self, key: Vec<u8>, value: &[u8]) {
        self.is_any = true;
        self.batch.insert(key, value);
    }

    fn put_joined(&mut self, prefix: &[u8], kind: Kind, bytes: &[u8]) {
        for (n, value) in (0_u16..).zip(bytes.chunks(VALUE_BYTES_MAX)) {
            self.put([prefix, &n.to_be_bytes()].concat(), &wrapped(kind, value));
        }
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.is_any = true;
        self.batch.remove(key);
    }

    fn remove_joined(&mut self, prefix: &[u8], len: usize) {
        for n in 0..u16::try_from(len.div_ceil(VALUE_BYTES_MAX)).unwrap_or(u16::MAX) {
            self.remove([prefix, &n.to_be_bytes()].concat());
        }
    }
}

/// How many values a stored form becomes.
pub(crate) fn values_of(stored: &[u8]) -> u32 {
    u32::try_from(stored.len().div_ceil(VALUE_BYTES_MAX)).unwrap_or(u32::MAX)
}

/// Bytes that a segment takes in the journal: its stored form and its entry, wrapped, with their keys.
pub(crate) fn weight(entry: &Entry) -> u64 {
    entry.segment.stored_len + entry.to_bytes().len() as u64 + 64 * u64::from(entry.pieces + 1)
}

fn wrapped(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    piece::wrap(kind, Key::None, payload, &mut bytes).expect("a value is far shorter than the longest piece");
    bytes
}

fn key(kind: u8, id: SessionId) -> Vec<u8> {
    [&[kind], id.as_str().as_bytes()].concat()
}

fn segment_key(kind: u8, id: SessionId, segment: u64) -> Vec<u8> {
    [&key(kind, id), &segment.to_be_bytes()[..]].concat()
}

fn value_key(number: u64) -> Vec<u8> {
    [b"v", &number.to_be_bytes()[..]].concat()
}

fn id_of(key: &[u8]) -> Option<SessionId> {
    std::str::from_utf8(key.get(1..27)?).ok()?.parse().ok()
}
