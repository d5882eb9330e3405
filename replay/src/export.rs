//! Recordings for other programs: as an asciicast, or as text.
//!
//! A file is written beside its place and renamed when it is whole, so nothing partial is ever left there.

mod cast;
mod transcript;

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use recording::{CastHeader, Event};
use tempfile::NamedTempFile;

use crate::{
    cli::Format,
    source::{Growth, Source, SourceFault},
};
use transcript::Transcript;

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportFault {
    /// The recording cannot be read.
    #[error("{0}")]
    Read(#[from] SourceFault),
    /// The file cannot be written.
    #[error("{place}: {fault}")]
    Write {
        /// Where it was to be.
        place: String,
        /// Why not.
        fault: io::Error,
    },
}

/// Writes all of the recording.
///
/// # Errors
/// It cannot be read or written. A reader of standard output that goes away is no error.
pub fn export(source: &mut dyn Source, format: Format, to: &Path) -> Result<(), ExportFault> {
    let at = |place: &Path| {
        let place = place.display().to_string();
        move |fault| ExportFault::Write { place, fault }
    };
    if to == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        return match write(source, format, &mut out) {
            Err(Broken::Write(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => {
                // What is still buffered has nobody to go to.
                drop(out.into_parts());
                Ok(())
            }
            Err(Broken::Write(fault)) => Err(at(Path::new("standard output"))(fault)),
            Err(Broken::Read(fault)) => Err(fault.into()),
            Ok(()) => Ok(()),
        };
    }
    // A device or a pipe is written as it is: there is nothing to rename.
    if fs::metadata(to).is_ok_and(|facts| !facts.is_file() && !facts.is_dir()) {
        let mut out = BufWriter::new(fs::OpenOptions::new().write(true).open(to).map_err(at(to))?);
        return write(source, format, &mut out).map_err(|broken| broken.at(to));
    }
    let folder =
        to.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(PathBuf::from("."), PathBuf::from);
    let mut file = NamedTempFile::new_in(&folder).map_err(at(to))?;
    let mut out = BufWriter::new(file.as_file_mut());
    write(source, format, &mut out).map_err(|broken| broken.at(to))?;
    drop(out);
    file.as_file().sync_all().map_err(at(to))?;
    file.persist(to).map_err(|fault| at(to)(fault.error))?;
    Ok(())
}

/// Which side broke off.
enum Broken {
    Read(SourceFault),
    Write(io::Error),
}

impl From<SourceFault> for Broken {
    fn from(fault: SourceFault) -> Self {
        Broken::Read(fault)
    }
}

impl From<io::Error> for Broken {
    fn from(fault: io::Error) -> Self {
        Broken::Write(fault)
    }
}

impl Broken {
    fn at(self, place: &Path) -> ExportFault {
        match self {
            Broken::Read(fault) => fault.into(),
            Broken::Write(fault) => ExportFault::Write { place: place.display().to_string(), fault },
        }
    }
}

fn write(source: &mut dyn Source, format: Format, out: &mut impl Write) -> Result<(), Broken> {
    match format {
        Format::Cast => {
            out.write_all(&cast::header_line(source.header()))?;
            let mut lines = cast::Lines::new(source.has_terminal());
            each_event(source, |event| out.write_all(lines.of(event)))?;
        }
        Format::Txt => {
            let CastHeader { cols, rows, .. } = *source.header();
            let mut transcript = Transcript::new(cols, rows, source.has_terminal());
            each_event(source, |event| transcript.take(event, out))?;
            transcript.finish(out)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Every event of the recording as far as it goes, one segment in memory at a time.
fn each_event(source: &mut dyn Source, mut take: impl FnMut(&Event) -> io::Result<()>) -> Result<(), Broken> {
    let mut progress = Progress::new();
    let mut segment = 0;
    loop {
        let is_all = !matches!(source.growth(), Growth::Reading(_));
        source.refresh()?;
        let known = source.timeline().spans().len();
        while segment < known {
            for event in source.events(segment)?.iter() {
                take(event)?;
            }
            segment += 1;
            progress.tell(segment, source.growth());
        }
        if is_all {
            progress.clear();
            return Ok(());
        }
        source.await_more();
    }
}

/// Tells a person how far it is, if one looks on and it takes long.
struct Progress {
    told: Instant,
    is_told: bool,
    is_watched: bool,
}

impl Progress {
    fn new() -> Self {
        Progress { told: Instant::now(), is_told: false, is_watched: io::stderr().is_terminal() }
    }

    fn tell(&mut self, segments: usize, growth: Growth) {
        if !self.is_watched || self.told.elapsed() < TOLD_EVERY {
            return;
        }
        (self.told, self.is_told) = (Instant::now(), true);
        let read = match growth {
            Growth::Reading(Some(percent)) => format!(", {percent} % read"),
            _ => String::new(),
        };
        // Who cannot be told goes without.
        let _told = write!(io::stderr(), "\r{segments} segments written{read} ");
    }

    fn clear(&self) {
        if self.is_told {
            let _told = write!(io::stderr(), "\r{:60}\r", "");
        }
    }
}
