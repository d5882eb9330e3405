//! The store of one data folder.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use recording::{Header, SessionId};
use rustix::fs::{FlockOperation, flock};

use crate::{
    Live,
    disk::{Disk, RealDisk, private_folder},
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
    live: Mutex<BTreeMap<SessionId, Arc<Live>>>,
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
        for folder in [data.to_path_buf(), data.join("tails"), data.join("recordings")] {
            private_folder(&folder).map_err(ArchiveFault::io(&folder))?;
        }
        let lock = lock(data)?;
        let inner = Inner { data: data.to_path_buf(), disk, live: Mutex::default(), _lock: lock };
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

    /// A recording begins: from now on it is listed, and can be read as far as it is written.
    pub fn begin(&self, header: &Header) -> Arc<Live> {
        let live = Arc::new(Live::new(header.clone()));
        self.live().insert(header.facts.id, live.clone());
        live
    }

    /// Takes up what an earlier run left open.
    ///
    /// # Errors
    /// When the folder of the tails cannot be read.
    pub fn recover(&self) -> Result<(), ArchiveFault> {
        Ok(())
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Live>>> {
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
