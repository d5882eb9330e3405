//! Recordings, for whoever reads them: from the server that runs, or out of the store when none does.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use recording::SessionId;

use crate::{
    Archive, ArchiveFault, Filter, OpenRecording, ReadFault, Summary,
    control::{Client, ControlFault, Request, SOCKET},
};

/// Why there are no recordings to read.
#[derive(Debug, thiserror::Error)]
pub enum LibraryFault {
    /// Nobody said where they are, and no server was found.
    #[error("no server runs here that this user may ask, and no data folder was named")]
    Nowhere,
    /// The data folder is another user's: opening its store would leave files there that its server cannot use.
    #[error("{data}: belongs to user {owner}, and this is user {user}; no server answers there")]
    NotOurs {
        /// The folder.
        data: String,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// The folder holds no recordings, and is not to become a store by being asked.
    #[error("there is no store in {}", .0.display())]
    NoStore(PathBuf),
    /// The folder cannot be looked at.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The server does not answer.
    #[error(transparent)]
    Control(#[from] ControlFault),
    /// The store cannot be opened or read.
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    /// A recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadFault),
}

/// What an id, or the beginning of one, means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// This session.
    One(Box<Summary>),
    /// None.
    None,
    /// Several; these two are among them.
    Several(SessionId, SessionId),
}

/// Recordings, for whoever reads them.
pub struct Library {
    place: Place,
}

enum Place {
    /// A server that answers there.
    Server(PathBuf),
    Store(Archive),
}

impl Library {
    /// Finds the recordings: of the server at `socket`; of the server of the folder `data`, or the folder itself if
    /// none runs; with neither named, of a server that is found.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub fn open(data: Option<&Path>, socket: Option<&Path>) -> Result<Library, LibraryFault> {
        if let Some(socket) = socket {
            Client::connect(socket)?;
            return Ok(Library { place: Place::Server(socket.to_path_buf()) });
        }
        let Some(data) = data else {
            let socket = find_sockets().next().ok_or(LibraryFault::Nowhere)?;
            return Ok(Library { place: Place::Server(socket) });
        };
        let socket = data.join(SOCKET);
        if Client::connect(&socket).is_ok() {
            return Ok(Library { place: Place::Server(socket) });
        }
        if !may_be_a_store(data) {
            return Err(LibraryFault::NoStore(data.to_path_buf()));
        }
        let owner = fs::metadata(data).map_err(|fault| LibraryFault::Io(data.to_path_buf(), fault))?.uid();
        let user = rustix::process::geteuid().as_raw();
        if owner != user {
            return Err(LibraryFault::NotOurs { data: data.display().to_string(), owner, user });
        }
        let archive = Archive::open_exclusive(data)?;
        archive.recover()?;
        Ok(Library { place: Place::Store(archive) })
    }

    /// The sessions that match, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sessions(&self, filter: &Filter) -> Result<Vec<Summary>, LibraryFault> {
        match &self.place {
            Place::Server(socket) => Ok(Client::connect(socket)?.sessions(filter)?),
            Place::Store(archive) => Ok(archive.sessions(filter)?),
        }
    }

    /// One session; none if there is none of that id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn session(&self, id: SessionId) -> Result<Option<Summary>, LibraryFault> {
        match &self.place {
            Place::Server(socket) => Ok(Client::connect(socket)?.session(id)?),
            Place::Store(archive) => Ok(archive.session(id)?),
        }
    }

    /// The session of this id, or the only one whose id begins so, in letters of either case.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn find(&self, wanted: &str) -> Result<Match, LibraryFault> {
        let wanted = wanted.to_ascii_uppercase();
        if let Ok(id) = wanted.parse::<SessionId>() {
            return Ok(self.session(id)?.map_or(Match::None, |found| Match::One(found.into())));
        }
        let all = self.sessions(&Filter::default())?;
        let mut fitting = all.into_iter().filter(|summary| summary.id.as_str().starts_with(&wanted));
        Ok(match (fitting.next(), fitting.next()) {
            (None, _) => Match::None,
            (Some(only), None) => Match::One(only.into()),
            (Some(one), Some(other)) => Match::Several(one.id, other.id),
        })
    }

    /// The session that began last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last(&self) -> Result<Option<Summary>, LibraryFault> {
        match &self.place {
            Place::Server(socket) => Ok(Client::connect(socket)?.last()?),
            Place::Store(archive) => Ok(archive.last()?),
        }
    }

    /// Opens a recording for reading.
    ///
    /// # Errors
    /// When there is none of that id, or it cannot be read.
    pub fn open_recording(&self, id: SessionId) -> Result<OpenRecording, LibraryFault> {
        match &self.place {
            Place::Server(socket) => Ok(Client::connect(socket)?.open_recording(id)?),
            Place::Store(archive) => Ok(archive.open_recording(id)?),
        }
    }

    /// Reads a recording's sealed parts back, every byte, and checks them.
    ///
    /// # Errors
    /// With what is wrong, and where.
    pub fn verify(&self, id: SessionId) -> Result<(), LibraryFault> {
        match &self.place {
            Place::Server(socket) => Ok(Client::connect(socket)?.order(&Request::Verify { id }).map(drop)?),
            Place::Store(archive) => Ok(archive.verify(id)?),
        }
    }
}

/// Whether a store lies there, or something that we may not see: then opening it says why not. Sealed recordings alone are
/// one, as in a backup: the rest is made of them.
pub fn may_be_a_store(folder: &Path) -> bool {
    ["journal", "recordings"].iter().any(|part| match fs::metadata(folder.join(part)) {
        Err(fault) => !matches!(fault.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        Ok(_) => true,
    })
}

/// The sockets of servers that answer, in `$XDG_RUNTIME_DIR/bastion` and in `/tmp/bastion-UID`, if nobody but us can have
/// put them there; the newest of a folder first.
pub fn find_sockets() -> impl Iterator<Item = PathBuf> {
    let found = announce_folders().into_iter().flat_map(|folder| sockets_in(&folder));
    found.filter(|socket| Client::connect(socket).is_ok())
}

/// Where servers of this user are announced: `$XDG_RUNTIME_DIR/bastion`, if there is such a folder to use, and
/// `/tmp/bastion-UID`.
fn announce_folders() -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("bastion"));
    let shared = PathBuf::from(format!("/tmp/bastion-{user}"));
    [runtime.unwrap_or_else(|| shared.clone()), shared].into()
}

/// The sockets in a folder that is ours alone, the newest first.
fn sockets_in(folder: &Path) -> Vec<PathBuf> {
    if !is_ours_alone(folder) {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sockets =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "sock"));
    let mut sockets: Vec<_> =
        sockets.map(|path| (fs::symlink_metadata(&path).map_or(0, |m| m.mtime()), path)).collect();
    sockets.sort();
    sockets.into_iter().rev().map(|(_, path)| path).collect()
}

/// Whether a folder is one, no link to one, belongs to us, and nobody else may enter it.
fn is_ours_alone(folder: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(folder)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == user && meta.mode() & 0o077 == 0)
}

/// A server's socket under a name where [`find_sockets`] looks; gone when dropped.
#[derive(Debug)]
pub struct Announcement {
    name: PathBuf,
}

/// Announces a server whose data folder nobody would look for, as that of a demo.
///
/// # Errors
/// When no folder of ours can be made for it.
pub fn announce(socket: &Path) -> io::Result<Announcement> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in announce_folders() {
        if let Err(fault) = crate::disk::private_folder(&folder) {
            last = fault;
            continue;
        }
        if !is_ours_alone(&folder) {
            last = io::Error::other(format!("{}: not ours alone", folder.display()));
            continue;
        }
        let name = folder.join(format!("{}.sock", std::process::id()));
        match fs::remove_file(&name) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => last = fault,
            _ => {
                std::os::unix::fs::symlink(socket, &name)?;
                return Ok(Announcement { name });
            }
        }
    }
    Err(last)
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // A name that stays behind leads nowhere, and whoever searches passes it by.
        drop(fs::remove_file(&self.name));
    }
}
