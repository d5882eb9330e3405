//! Finds what a name on the command line means.

use std::path::{Path, PathBuf};

use archive::{Archive, ArchiveFault, ReadFault};
use recording::SessionId;

use super::{CastSource, IndexFault, SessionSource, Source};

/// Where a store is looked for if nobody says where: beside one, and where the package puts it.
const STORES: [&str; 2] = ["data", "/var/lib/bastion"];

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
    #[error("{name:?}: no server and no store is found in {}", folders.join(" or "))]
    NoStore {
        /// What was asked for.
        name: String,
        /// Where.
        folders: Vec<String>,
    },
    /// The store cannot be opened.
    #[error("{name:?}: {fault}")]
    Store {
        /// What was asked for.
        name: String,
        /// Why not.
        fault: ArchiveFault,
    },
    /// The store holds no session at all.
    #[error("{name:?}: no session is recorded in {data}")]
    NoSession {
        /// What was asked for.
        name: String,
        /// The data folder.
        data: String,
    },
    /// The store has no such session.
    #[error("{name:?}: no such session in {data}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The data folder.
        data: String,
    },
    /// The session cannot be read.
    #[error("{name:?}: {fault}")]
    Session {
        /// What was asked for.
        name: String,
        /// Why not.
        fault: ReadFault,
    },
}

/// Opens a `.cast` file, `-` for standard input, a session id, or `last`. A file of that name goes before a session.
///
/// # Errors
/// There is no such thing, or it cannot be read.
pub fn open(name: &str, data: Option<&Path>) -> Result<Box<dyn Source>, OpenFault> {
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
    let data = store(data).map_err(|folders| OpenFault::NoStore { name: name(), folders })?;
    let archive = Archive::open_exclusive(&data).map_err(|fault| OpenFault::Store { name: name(), fault })?;
    let shown = data.display().to_string();
    let fault = |fault| OpenFault::Store { name: name(), fault };
    let found = match id {
        Some(id) => {
            archive.session(id).map_err(fault)?.ok_or(OpenFault::Unknown { name: name(), data: shown })?
        }
        None => archive.last().map_err(fault)?.ok_or(OpenFault::NoSession { name: name(), data: shown })?,
    };
    let recording =
        archive.open_recording(found.id).and_then(|recording| SessionSource::new(recording, false));
    Ok(Box::new(recording.map_err(|fault| OpenFault::Session { name: name(), fault })?))
}

/// The data folder to read; else the folders that were looked at.
fn store(data: Option<&Path>) -> Result<PathBuf, Vec<String>> {
    let named = data.map(|data| vec![data.to_owned()]);
    let looked = named.unwrap_or_else(|| STORES.iter().map(PathBuf::from).collect());
    // A folder without a journal is no store, and is not to become one.
    match looked.iter().find(|folder| folder.join("journal").is_dir()) {
        Some(folder) => Ok(folder.clone()),
        None => Err(looked.iter().map(|folder| folder.display().to_string()).collect()),
    }
}
