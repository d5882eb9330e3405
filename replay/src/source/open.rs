//! Finds what a name on the command line means.

use std::path::{Path, PathBuf};

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
    let places = places(shelf);
    if places.is_empty() {
        let folders =
            shelf.data.map_or(STORES.map(String::from).into(), |data| vec![data.display().to_string()]);
        return Err(OpenFault::NoStore { name: name(), folders });
    }
    // An id is nowhere twice: who runs a demo beside a server of his means the one that has it.
    let mut first_fault = None;
    for (data, socket) in &places {
        let found = Library::open(data.as_deref(), socket.as_deref()).and_then(|library| {
            let known = id.map_or_else(|| library.last(), |id| library.session(id))?;
            known.map(|session| library.open_recording(session.id)).transpose()
        });
        match found {
            Ok(Some(recording)) => {
                let source = SessionSource::new(recording).map_err(|read| fault(LibraryFault::Read(read)))?;
                return Ok(Box::new(source));
            }
            Ok(None) => {}
            Err(found) => drop(first_fault.get_or_insert(found)),
        }
    }
    Err(match (first_fault, id) {
        (Some(found), _) => fault(found),
        (None, Some(_)) => OpenFault::Unknown { name: name() },
        (None, None) => OpenFault::NoSession { name: name() },
    })
}

/// What to ask, in order: data folders and sockets.
fn places(shelf: Shelf<'_>) -> Vec<(Option<PathBuf>, Option<PathBuf>)> {
    // A folder without a journal is no store, and is not to become one.
    let store = |folder: PathBuf| archive::may_be_a_store(&folder).then_some((Some(folder), None));
    match shelf {
        Shelf { socket: Some(socket), .. } => vec![(None, Some(socket.to_owned()))],
        Shelf { data: Some(data), .. } => store(data.to_owned()).into_iter().collect(),
        _ => {
            let servers = archive::find_sockets().map(|socket| (None, Some(socket)));
            servers.chain(STORES.iter().filter_map(|folder| store(folder.into()))).collect()
        }
    }
}
