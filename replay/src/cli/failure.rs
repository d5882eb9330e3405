//! Every failure: what is said, how to go on, and the exit code.

use std::io;

use archive::{ArchiveFault, LibraryFault};

use crate::{
    export::ExportFault,
    source::{Flaw, IndexFault, OpenFault},
    terminal::TerminalFault,
};

/// All was done.
pub const DONE: u8 = 0;
/// It failed.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// A recording is not as it was recorded.
pub const BROKEN: u8 = 3;
/// A recording lacks its end.
pub const INCOMPLETE: u8 = 6;

/// Why a command was not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is nothing to play.
    #[error("nothing to play: no source is given")]
    NoSource,
    /// The source cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// It was read, and something about it is wrong.
    #[error("{name:?}: {flaw}")]
    Flawed {
        /// What was asked for.
        name: String,
        /// What is wrong.
        flaw: Flaw,
    },
    /// There is no terminal to play on.
    #[error(transparent)]
    Terminal(#[from] TerminalFault),
    /// It cannot be written.
    #[error(transparent)]
    Export(#[from] ExportFault),
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// Nothing could be measured.
    #[error("the measurement failed: {0}")]
    Bench(String),
}

impl Failure {
    /// The one line on standard error.
    pub fn line(&self) -> String {
        // Some causes are several lines; what a person reads is one.
        let what = self.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = what.chars().map(crate::printable::printable).collect();
        format!("error: {shown}; try: {}", self.way_out())
    }

    fn way_out(&self) -> &'static str {
        match self {
            Failure::NoSource => "replay FILE.cast, or replay --help",
            Failure::Open(fault) => open_way_out(fault),
            Failure::Flawed { flaw: Flaw::Incomplete(_), .. } => {
                "the original, if there is one; all before it is sound"
            }
            Failure::Flawed { .. } => "the original, if there is one; all else was read",
            Failure::Terminal(TerminalFault::NotATerminal) => {
                "replay export, which writes to files and pipes"
            }
            Failure::Terminal(_) => "another terminal, or replay export",
            Failure::Export(ExportFault::Read(_)) => "replay info, which tells what is wrong with it",
            Failure::Export(_) | Failure::Output(_) => "another place with -o FILE",
            Failure::Bench(_) => "a smaller --size, or TMPDIR=/a/folder/with/room",
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::NoSource => USAGE,
            Failure::Flawed { flaw: Flaw::Incomplete(_), .. } => INCOMPLETE,
            Failure::Flawed { flaw: Flaw::Broken(_), .. } | Failure::Export(ExportFault::Read(_)) => BROKEN,
            Failure::Open(OpenFault::Library { fault: LibraryFault::Read(_), .. }) => BROKEN,
            _ => FAILED,
        }
    }
}

fn open_way_out(fault: &OpenFault) -> &'static str {
    match fault {
        OpenFault::Cast { fault: IndexFault::Cast(_), .. } => {
            "an asciicast of version 2 or 3, as asciinema rec writes it"
        }
        OpenFault::Cast { fault: IndexFault::NoRoom { .. }, .. } => "TMPDIR=/a/folder/with/room replay FILE",
        OpenFault::Cast { .. } => {
            "a .cast file, - for standard input, a session id or its first 5 characters, or last"
        }
        OpenFault::NoStore { .. } => {
            "replay --data DIR with the data folder of the bastion, or --socket PATH"
        }
        OpenFault::NoSession { .. } => "a session first: ssh through the bastion",
        OpenFault::Several { .. } => "more characters of the id",
        OpenFault::Unknown { .. } => "bastion sessions, which lists their ids",
        OpenFault::Library { fault, .. } => match fault {
            LibraryFault::Archive(ArchiveFault::InUse { .. }) => "again once that process has ended",
            LibraryFault::NotOurs { .. } | LibraryFault::Io(..) => "as the user that the bastion runs as",
            LibraryFault::Nowhere | LibraryFault::NoStore(_) | LibraryFault::Control(_) => {
                "replay --data DIR with the data folder of the bastion, or --socket PATH"
            }
            LibraryFault::Archive(_) | LibraryFault::Read(_) => "the log of the bastion, which may say more",
        },
    }
}
