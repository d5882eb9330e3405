//! A disk for tests: it fails when told to, and forgets what was not synced.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::disk::{Disk, Growing, RealDisk};

/// A disk whose n-th append or sync fails, that can hang, and whose power can be cut.
///
/// Its files are real ones, so that whatever reads them reads them as ever.
#[derive(Clone, Default)]
pub struct Twin(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    awake: Condvar,
}

#[derive(Default)]
struct State {
    appends: u64,
    syncs: u64,
    failing_appends: Option<(u64, u64)>,
    failing_syncs: Option<(u64, u64)>,
    torn: usize,
    hangs: bool,
    /// What each file is sure to hold; none until its name is synced.
    sure: BTreeMap<PathBuf, Option<u64>>,
}

struct TwinFile {
    path: PathBuf,
    file: Arc<dyn Growing>,
    disk: Twin,
}

impl Twin {
    /// A disk on which all goes well.
    pub fn new() -> Self {
        Twin::default()
    }

    /// `count` appends fail, from the `nth` on (counted from 1), each after `torn` of its bytes were written.
    pub fn fail_appends(&self, nth: u64, count: u64, torn: usize) {
        let mut state = self.state();
        (state.failing_appends, state.torn) = (Some((nth, nth.saturating_add(count))), torn);
    }

    /// `count` syncs fail, from the `nth` on (counted from 1).
    pub fn fail_syncs(&self, nth: u64, count: u64) {
        self.state().failing_syncs = Some((nth, nth.saturating_add(count)));
    }

    /// From now on all goes well again.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.failing_appends, state.failing_syncs, state.hangs) = (None, None, false);
        self.0.awake.notify_all();
    }

    /// Appends and syncs wait until it is healed.
    pub fn hang(&self) {
        self.state().hangs = true;
    }

    /// How many appends and syncs there were.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.appends, state.syncs)
    }

    /// The power fails: every file is cut to what was synced, and one whose name never was is gone.
    pub fn cut_power(&self) -> io::Result<()> {
        for (path, sure) in &self.state().sure {
            match sure {
                _ if !path.exists() => {}
                Some(len) => OpenOptions::new().write(true).open(path)?.set_len(*len)?,
                None => std::fs::remove_file(path)?,
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn awake(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        self.0.awake.wait_while(state, |state| state.hangs).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Twin {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Growing>> {
        drop(self.awake());
        let file = RealDisk.create(path)?;
        self.state().sure.insert(path.to_path_buf(), None);
        Ok(Arc::new(TwinFile { path: path.to_path_buf(), file, disk: self.clone() }))
    }
}

impl Growing for TwinFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let (fails, torn) = {
            let mut state = self.disk.awake();
            state.appends += 1;
            let nth = state.appends;
            (state.failing_appends.is_some_and(|(from, to)| (from..to).contains(&nth)), state.torn)
        };
        if fails {
            self.file.append(bytes.get(..torn.min(bytes.len())).unwrap_or(bytes))?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.file.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let len = self.file.len()?;
        let mut state = self.disk.awake();
        state.syncs += 1;
        let nth = state.syncs;
        if state.failing_syncs.is_some_and(|(from, to)| (from..to).contains(&nth)) {
            return Err(io::Error::other("the disk could not write"));
        }
        state.sure.insert(self.path.clone(), Some(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.file.cut(len)
    }
}
