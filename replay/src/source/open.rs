//! Finds what a name on the command line means.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use archive::{Library, LibraryFault};
use recording::SessionId;

use super::{CastSource, IndexFault, SessionSource, Source};

/// Where a store is looked for if nobody says where and no server answers: here, and where the package puts it.
const STORES: [&str; 2] = ["data", "/var/lib/bastion"];

/// Where sessions are read from, as far as the command line says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shelf<'a> {
    /// The control socket of a server.
    pub socket: Option<&'a Path>,
    /// The data folder of a store, or of the server that has it.
    pub data: Option<&'a Path>,
}

/// Why a name cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// A cast cannot be read.
    #[error("{name:?}: {fault}")]
    Cast {
        /// What was asked for.
        name: String,
        /// Why not.
        fault: IndexFault,
    },
    /// Sessions are looked for in a store, and there is none.
    #[error("{name:?}: no server answers here, and there is no store in {}", folders.join(" or "))]
    NoStore {
        /// What was asked for.
        name: String,
        /// Where.
        folders: Vec<String>,
    },
    /// Server or store cannot be read.
    #[error("{name:?}: {fault}")]
    Library {
        /// What was asked for.
        name: String,
        /// Why not.
        fault: LibraryFault,
    },
    /// There is no session at all.
    #[error("{name:?}: no session is recorded yet")]
    NoSession {
        /// What was asked for.
        name: String,
    },
    /// There is no such session.
    #[error("{name:?}: no such session")]
    Unknown {
        /// What was asked for.
        name: String,
    },
}

/// Opens a `.cast` file, `-` for standard input, a session id, or `last`. A file of that name goes before a session.
///
/// # Errors
/// There is no such thing, or it cannot be read.
pub fn open(name: &str, shelf: Shelf<'_>) -> Result<Box<dyn Source>, OpenFault> {
    let cast = |fault| OpenFault::Cast { name: name.into(), fault };
    if name == "-" {
        return Ok(Box::new(CastSource::stdin().map_err(cast)?));
    }
    let id = name.parse::<SessionId>().ok();
    let names_a_session = name == "last" || id.is_some();
    if !names_a_session || id.is_some() && Path::new(name).exists() {
        return Ok(Box::new(CastSource::open(Path::new(name)).map_err(cast)?));
    }
    let name = || name.to_owned();
    let fault = |fault| OpenFault::Library { name: name(), fault };
    let library = match library(shelf).map_err(fault)? {
        Ok(library) => library,
        Err(folders) => return Err(OpenFault::NoStore { name: name(), folders }),
    };
    let found = match id {
        Some(id) => library.session(id).map_err(fault)?.ok_or(OpenFault::Unknown { name: name() })?,
        None => library.last().map_err(fault)?.ok_or(OpenFault::NoSession { name: name() })?,
    };
    let recording = library.open_recording(found.id).map_err(fault)?;
    let source = SessionSource::new(recording).map_err(|read| fault(LibraryFault::Read(read)))?;
    Ok(Box::new(source))
}

/// The server or store to ask; else the folders that were looked at.
fn library(shelf: Shelf<'_>) -> Result<Result<Library, Vec<String>>, LibraryFault> {
    let looked = match shelf {
        Shelf { socket: Some(socket), .. } => return Library::open(None, Some(socket)).map(Ok),
        Shelf { data: Some(data), .. } => vec![data.to_owned()],
        _ => match Library::open(None, None) {
            Err(LibraryFault::Nowhere) => STORES.iter().map(PathBuf::from).collect(),
            found => return found.map(Ok),
        },
    };
    // A folder without a journal is no store, and is not to become one.
    match looked.iter().find(|folder| may_be_a_store(folder)) {
        Some(folder) => Library::open(Some(folder), None).map(Ok),
        None => Ok(Err(looked.iter().map(|folder| folder.display().to_string()).collect())),
    }
}

/// Whether a store lies there, or something that we may not see: then opening it says why not.
fn may_be_a_store(folder: &Path) -> bool {
    match fs::metadata(folder.join("journal")) {
        Err(fault) => !matches!(fault.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        Ok(_) => true,
    }
}
