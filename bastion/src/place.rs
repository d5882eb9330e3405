//! What a command reads: of a server that runs, or of a data folder.
//!
//! All commands about what was recorded, decided or bound look in the same order, so that they tell of the same bastion:
//! what was named, then the folder that the settings name, then a server that is found, as that of a demo.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use archive::{
    ArchiveFault, Filter, Library, LibraryFault, Summary,
    control::{Client, ControlFault, SOCKET},
    find_sockets,
};

use crate::{
    failure::Failure,
    settings::{DEFAULT_FILE, Settings, SettingsArgs},
};

/// Where a command reads.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The control socket of a running server, if not the one in the data folder
    #[arg(long, global = true, value_name = "SOCKET", env = "BASTION_SOCKET")]
    socket: Option<PathBuf>,
}

/// Where a command was found to read.
#[derive(Debug)]
pub struct Place<'a> {
    args: &'a PlaceArgs,
    /// The data folder, as it was named or as a server tells it.
    data: PathBuf,
    /// The socket of a server that was named or found without its folder.
    socket: Option<PathBuf>,
}

impl PlaceArgs {
    /// Looks for it.
    ///
    /// # Errors
    /// When a server that was named does not answer, a folder that was named is not there, or nothing was named and nothing
    /// is found.
    pub fn find(&self) -> Result<Place<'_>, Failure> {
        if let (Some(data), None) = (&self.settings.data, &self.socket) {
            return match data.is_dir() {
                true => Ok(self.folder(data)),
                false => Err(Failure::new(
                    format!("there is no folder {}", data.display()),
                    "--data FOLDER or --config FILE, or start a server",
                )),
            };
        }
        if let Some(socket) = &self.socket {
            return self.server(socket.clone());
        }
        let file = &self.settings.settings;
        if file.exists() || file != Path::new(DEFAULT_FILE) {
            return Ok(self.folder(&self.settings.load()?.data));
        }
        let Some(socket) = find_sockets().next() else {
            let what = format!("there is no {DEFAULT_FILE} here, and no server runs that this user may ask");
            return Err(Failure::new(what, "--config FILE or --data FOLDER, or start a server"));
        };
        let found = self.server(socket)?;
        eprintln!(
            "note: there is no {DEFAULT_FILE} here; this is of the server that runs on {}",
            found.data.display()
        );
        Ok(found)
    }

    fn folder(&self, data: &Path) -> Place<'_> {
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        Place { args: self, data, socket: None }
    }

    fn server(&self, socket: PathBuf) -> Result<Place<'_>, Failure> {
        let data = Client::connect(&socket)?.status()?.data.into();
        Ok(Place { args: self, data, socket: Some(socket) })
    }
}

impl Place<'_> {
    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The server that runs there, if one does.
    ///
    /// # Errors
    /// When one was named, and does not answer.
    pub fn client(&self) -> Result<Option<Client>, Failure> {
        match &self.socket {
            Some(socket) => Ok(Some(Client::connect(socket)?)),
            None => Ok(Client::connect(&self.data.join(SOCKET)).ok()),
        }
    }

    /// The settings, for what a server would tell by them.
    ///
    /// # Errors
    /// As [`SettingsArgs::load`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        Ok(self.args.settings.load()?)
    }

    /// The recordings; none if nothing was recorded yet.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn library(&self) -> Result<Option<Library>, Failure> {
        match Library::open(Some(&self.data), self.socket.as_deref()) {
            Ok(library) => Ok(Some(library)),
            Err(LibraryFault::NoStore(_)) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// The sessions that match, the newest first.
    ///
    /// # Errors
    /// As [`Place::library`].
    pub fn sessions(&self, filter: &Filter) -> Result<Vec<Summary>, Failure> {
        Ok(self.library()?.map(|library| library.sessions(filter)).transpose()?.unwrap_or_default())
    }

    /// The folder in it with what is known of people; none if nobody has signed in yet.
    ///
    /// # Errors
    /// When it is another user's: opening its store would leave files there that its server cannot use.
    pub fn state(&self) -> Result<Option<PathBuf>, Failure> {
        let state = self.data.join("state");
        let Ok(about) = fs::metadata(&state) else { return Ok(None) };
        let user = rustix::process::geteuid().as_raw();
        if about.uid() != user {
            let (data, owner) = (self.data.display().to_string(), about.uid());
            return Err(LibraryFault::NotOurs { data, owner, user }.into());
        }
        Ok(Some(state))
    }
}

impl From<LibraryFault> for Failure {
    fn from(fault: LibraryFault) -> Self {
        let way_out = match &fault {
            LibraryFault::Nowhere | LibraryFault::NoStore(_) => {
                "--data FOLDER or --config FILE, or start a server"
            }
            LibraryFault::NotOurs { .. } => "start the server, or run this as the folder's owner",
            LibraryFault::Archive(ArchiveFault::InUse { .. }) => {
                "ask again: a server that starts or stops does not answer yet"
            }
            LibraryFault::Control(_) => "see whether the server runs, and name its socket with --socket",
            LibraryFault::Io(..) | LibraryFault::Archive(_) | LibraryFault::Read(_) => {
                "look at the file that is named"
            }
        };
        Failure::new(&fault, way_out)
    }
}

impl From<ControlFault> for Failure {
    fn from(fault: ControlFault) -> Self {
        Failure::new(fault, "see whether the server runs, and look at its log")
    }
}
