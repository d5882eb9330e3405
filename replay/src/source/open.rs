//! Finds what a name on the command line means.

use std::path::{Path, PathBuf};

use archive::{Library, LibraryFault, Match};
use recording::SessionId;

use super::{CastSource, IndexFault, SessionSource, Source, Wanted};

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
    /// The beginning of an id that several have.
    #[error("{name:?}: begins the ids {one}, {other} and perhaps more")]
    Several {
        /// What was asked for.
        name: String,
        /// One of them.
        one: SessionId,
        /// Another.
        other: SessionId,
    },
    /// There is no such session.
    #[error("{name:?}: no such session")]
    Unknown {
        /// What was asked for.
        name: String,
    },
}

/// The fewest characters of an id that may stand for it: so many tell when it began, to nine hours.
const ID_BEGINNING_MIN: usize = 5;

/// Opens a `.cast` file, `-` for standard input, a session id or the beginning of one, or `last`. A file of that name goes
/// before a session.
///
/// # Errors
/// There is no such thing, or it cannot be read.
pub fn open(name: &str, shelf: Shelf<'_>, wanted: Wanted) -> Result<Box<dyn Source>, OpenFault> {
    let cast = |fault| OpenFault::Cast { name: name.into(), fault };
    if name == "-" {
        return Ok(Box::new(CastSource::stdin(wanted).map_err(cast)?));
    }
    let is_id = name == "last" || name.parse::<SessionId>().is_ok();
    let begins_an_id =
        name.len() >= ID_BEGINNING_MIN && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_id && !begins_an_id || name != "last" && Path::new(name).exists() {
        return Ok(Box::new(CastSource::open(Path::new(name), wanted).map_err(cast)?));
    }
    match open_session(name, shelf) {
        // A word that begins no id was meant for a file.
        Err(OpenFault::Unknown { .. } | OpenFault::NoStore { .. }) if !is_id => {
            Ok(Box::new(CastSource::open(Path::new(name), wanted).map_err(cast)?))
        }
        opened => opened,
    }
}

fn open_session(name: &str, shelf: Shelf<'_>) -> Result<Box<dyn Source>, OpenFault> {
    let of = || name.to_owned();
    let fault = |fault| OpenFault::Library { name: of(), fault };
    let places = places(shelf);
    if places.is_empty() {
        let folders =
            shelf.data.map_or(STORES.map(String::from).into(), |data| vec![data.display().to_string()]);
        return Err(OpenFault::NoStore { name: of(), folders });
    }
    // An id is nowhere twice: who runs a demo beside a server of his means the one that has it.
    let mut first_fault = None;
    for (data, socket) in &places {
        let found = Library::open(data.as_deref(), socket.as_deref()).and_then(|library| {
            let session = match name {
                "last" => library.last()?.map_or(Match::None, |last| Match::One(last.into())),
                id => library.find(id)?,
            };
            Ok((library, session))
        });
        match found {
            Ok((library, Match::One(session))) => {
                let recording = library.open_recording(session.id).map_err(fault)?;
                let source = SessionSource::new(recording).map_err(|read| fault(LibraryFault::Read(read)))?;
                return Ok(Box::new(source.with_library(library)));
            }
            Ok((_, Match::Several(one, other))) => return Err(OpenFault::Several { name: of(), one, other }),
            Ok((_, Match::None)) => {}
            Err(found) => drop(first_fault.get_or_insert(found)),
        }
    }
    Err(match first_fault {
        Some(found) => fault(found),
        None if name == "last" => OpenFault::NoSession { name: of() },
        None => OpenFault::Unknown { name: of() },
    })
}

/// What to ask, in order: data folders and sockets.
fn places(shelf: Shelf<'_>) -> Vec<(Option<PathBuf>, Option<PathBuf>)> {
    // A folder in which there is nothing of a store is none, and is not to become one.
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
