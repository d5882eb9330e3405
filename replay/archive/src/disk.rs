//! Files that only grow, and what may go wrong with them.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Makes the files that sessions are written to.
pub trait Disk: Send + Sync {
    /// Makes a new file; one of that name must not be there yet.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Growing>>;
}

/// A file that only grows.
pub trait Growing: Send + Sync {
    /// Adds these bytes at the end: once this answers, they survive `kill -9`. When it fails, some of them may
    /// stand there.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Puts all that was appended, and the file's name, where a power cut does not reach it. After a failure
    /// nothing may be believed of this handle any more: the kernel may have dropped what it could not write, and
    /// answers well the next time.
    fn sync(&self) -> io::Result<()>;

    /// How many bytes it holds.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Takes back what a failed append left behind `len` bytes.
    fn cut(&self, len: u64) -> io::Result<()>;
}

/// The machine's own disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile {
    file: File,
    folder: PathBuf,
    /// The folder must be synced once, or the name is lost with the power.
    named: AtomicBool,
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Growing>> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        Ok(Arc::new(RealFile { file, folder, named: AtomicBool::new(false) }))
    }
}

impl Growing for RealFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.named.load(Relaxed) {
            sync_folder(&self.folder)?;
            self.named.store(true, Relaxed);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// Syncs a folder, so that names in it survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder that only we may enter, and those above it that are missing; says so to the disk.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        private_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(fault) if fault.kind() != io::ErrorKind::AlreadyExists => return Err(fault),
        _ => {}
    }
    folder.parent().filter(|above| !above.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
}
