//! Where sealed files lie: a folder by default, through an interface that object stores offer too.

use std::{
    fmt, io,
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use object_store::{
    GetOptions, GetRange, ObjectStore, PutMode, PutOptions, PutPayload, local::LocalFileSystem,
    path::Path as Name,
};
use recording::{
    Layout, SessionId,
    piece::{self, Kind, PieceFault, WRAPPING_BYTES},
};
use ulid::Ulid;

use crate::{
    Entry,
    disk::private_folder,
    part::{FOOTER_PIECE_BYTES, Footer, FramePlace, Part, PartFault},
    salvage::{Before, salvage},
};

/// Why a sealed file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The disk, or the store behind it.
    #[error("{0}: {1}")]
    Objects(String, #[source] object_store::Error),
    /// The disk.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// It is not what was sealed.
    #[error("{file}: {}", .faults.iter().map(PartFault::to_string).collect::<Vec<_>>().join("; "))]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it, and where.
        faults: Vec<PartFault>,
    },
}

/// Sealed files.
pub(crate) struct Store {
    folder: PathBuf,
    objects: Arc<dyn ObjectStore>,
}

/// What came of putting a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is there now, and synced.
    New,
    /// One of that name was there before, and still is.
    Already,
}

impl Store {
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreFault> {
        let fault = |fault| StoreFault::Io(folder.display().to_string(), fault);
        private_folder(folder).map_err(fault)?;
        let objects = LocalFileSystem::new_with_prefix(folder);
        let objects = objects.map_err(|fault| StoreFault::Objects(folder.display().to_string(), fault))?;
        Ok(Store { folder: folder.to_path_buf(), objects: Arc::new(objects.with_fsync(true)) })
    }

    /// Where a part lies, below the folder.
    pub(crate) fn name(id: SessionId, number: u32) -> String {
        let day = Ulid::from_string(id.as_str()).map_or(0, |ulid| ulid.timestamp_ms() / 86_400_000);
        let (year, month, day) = civil(day);
        format!("{year:04}/{month:02}/{day:02}/{id}.{number:06}.rec")
    }

    /// Where a part lies, for people.
    pub(crate) fn file(&self, id: SessionId, number: u32) -> PathBuf {
        self.folder.join(Store::name(id, number))
    }

    /// Puts a part: after this answers, it is on the disk under its name, and may only be read.
    pub(crate) fn put(&self, id: SessionId, number: u32, bytes: Vec<u8>) -> Result<Put, StoreFault> {
        let file = self.file(id, number);
        let io = |fault| StoreFault::Io(file.display().to_string(), fault);
        if let Some(folder) = file.parent() {
            private_folder(folder).map_err(io)?;
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let name = Name::from(Store::name(id, number));
        match wait_for(self.objects.put_opts(&name, PutPayload::from(bytes), options)) {
            Ok(_) => {
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).map_err(io)?;
                Ok(Put::New)
            }
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Already),
            Err(fault) => Err(StoreFault::Objects(file.display().to_string(), fault)),
        }
    }

    /// All of a part; none if there is no such part.
    pub(crate) fn read(&self, id: SessionId, number: u32) -> Result<Option<Bytes>, StoreFault> {
        self.get(id, number, None)
    }

    /// Some bytes of a part; none if there is no such part.
    pub(crate) fn range(
        &self,
        id: SessionId,
        number: u32,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, StoreFault> {
        self.get(id, number, Some(GetRange::Bounded(range)))
    }

    /// The header line that a part repeats; none if there is no such part.
    pub(crate) fn header_line(&self, id: SessionId, number: u32) -> Result<Option<Vec<u8>>, StoreFault> {
        let Some(head) = self.range(id, number, 0..WRAPPING_BYTES as u64)? else { return Ok(None) };
        let Err(PieceFault::Cut { needed, .. }) = piece::unwrap(Kind::Header, &head) else {
            return self.unwrap(id, number, "header", Kind::Header, &head).map(Some);
        };
        let Some(bytes) = self.range(id, number, 0..needed as u64)? else { return Ok(None) };
        self.unwrap(id, number, "header", Kind::Header, &bytes).map(Some)
    }

    /// The stored form of a segment; none if there is no such part.
    pub(crate) fn stored(
        &self,
        id: SessionId,
        number: u32,
        entry: &Entry,
    ) -> Result<Option<Vec<u8>>, StoreFault> {
        let len = WRAPPING_BYTES as u64 + entry.segment.stored_len;
        let Some(bytes) = self.range(id, number, entry.place..entry.place + len)? else { return Ok(None) };
        let place = format!("segment {}", entry.segment.index);
        let stored = self.unwrap(id, number, &place, Kind::Segment, &bytes)?;
        if !entry.segment.binds_stored(&stored) {
            let fault = PartFault { place, fault: "it is not what its digest says".into() };
            return Err(StoreFault::Damaged { file: self.name_of(id, number), faults: vec![fault] });
        }
        Ok(Some(stored))
    }

    /// A key frame, packed; none if there is no such part.
    pub(crate) fn keyframe(
        &self,
        id: SessionId,
        number: u32,
        frame: &FramePlace,
    ) -> Result<Option<Vec<u8>>, StoreFault> {
        let range = frame.offset..frame.offset + u64::from(frame.len);
        let Some(bytes) = self.range(id, number, range)? else { return Ok(None) };
        let place = format!("key frame before segment {}", frame.segment);
        self.unwrap(id, number, &place, Kind::Keyframe, &bytes).map(Some)
    }

    fn unwrap(
        &self,
        id: SessionId,
        number: u32,
        place: &str,
        kind: Kind,
        bytes: &[u8],
    ) -> Result<Vec<u8>, StoreFault> {
        let fault = |fault: PieceFault| {
            let faults = vec![PartFault { place: place.to_owned(), fault: fault.to_string() }];
            StoreFault::Damaged { file: self.name_of(id, number), faults }
        };
        Ok(piece::unwrap_whole(kind, bytes).map_err(fault)?.into_owned())
    }

    /// The index of a part; none if there is no such part.
    pub(crate) fn part(&self, id: SessionId, number: u32) -> Result<Option<Part>, StoreFault> {
        let damaged = |fault| StoreFault::Damaged { file: self.name_of(id, number), faults: vec![fault] };
        let end = self.get(id, number, Some(GetRange::Suffix(FOOTER_PIECE_BYTES as u64)))?;
        let Some(end) = end else { return Ok(None) };
        let footer = Footer::read(&end).map_err(damaged)?;
        let index = self.range(id, number, footer.index_at..footer.summary_at)?;
        Part::read(footer, &index.unwrap_or_default()).map(Some).map_err(damaged)
    }

    /// The index of a part; of one whose index or footer is damaged, what its other pieces tell. None if there is no such
    /// part.
    pub(crate) fn part_or_rest(
        &self,
        id: SessionId,
        number: u32,
        before: Before,
        layout: Layout,
    ) -> Result<Option<Part>, StoreFault> {
        let fault = match self.part(id, number) {
            Err(fault @ StoreFault::Damaged { .. }) => fault,
            read => return read,
        };
        let Some(bytes) = self.read(id, number)? else { return Ok(None) };
        tracing::error!(session = %id, %fault, "a sealed file is damaged; its other pieces are read");
        salvage(id, number, before, layout, &bytes).map(Some).ok_or(fault)
    }

    /// Reads a part back, every byte of it, and checks it; none if there is no such part.
    pub(crate) fn verify(
        &self,
        id: SessionId,
        number: u32,
        is_deep: bool,
    ) -> Result<Option<Part>, StoreFault> {
        let Some(bytes) = self.read(id, number)? else { return Ok(None) };
        let verified = Part::verify(&bytes, is_deep);
        verified.map(Some).map_err(|faults| StoreFault::Damaged { file: self.name_of(id, number), faults })
    }

    /// A part that cannot be what it should be makes room for one that is. It is kept.
    pub(crate) fn set_aside(&self, id: SessionId, number: u32) -> Result<PathBuf, StoreFault> {
        let file = self.file(id, number);
        let aside = file.with_extension(format!("rec.damaged-{}", Ulid::new()));
        let moved = std::fs::rename(&file, &aside);
        moved.map_err(|fault| StoreFault::Io(file.display().to_string(), fault))?;
        Ok(aside)
    }

    fn get(&self, id: SessionId, number: u32, range: Option<GetRange>) -> Result<Option<Bytes>, StoreFault> {
        let name = Name::from(Store::name(id, number));
        let options = GetOptions { range, ..GetOptions::default() };
        let got = wait_for(async { self.objects.get_opts(&name, options).await?.bytes().await });
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(fault) => Err(StoreFault::Objects(self.name_of(id, number), fault)),
        }
    }

    fn name_of(&self, id: SessionId, number: u32) -> String {
        self.file(id, number).display().to_string()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sealed files in {}", self.folder.display())
    }
}

/// Waits for the objects, also inside a task of tokio.
///
/// Unconstrained: a task has so many polls until it must yield, and one that waits here never yields. When they are used
/// up whatever it waits for would never be ready.
fn wait_for<F: Future>(objects: F) -> F::Output {
    futures::executor::block_on(tokio::task::coop::unconstrained(objects))
}

/// Year, month and day of the day so many days after 1 January 1970, in the calendar of everybody.
///
/// Years are counted from March, so that the leap day is a year's last, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 1 March of the year 0
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let january_on = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + january_on.1, january_on.0, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_lies_under_the_day_that_it_began_on() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_778), (2026, 11, 21));
        assert_eq!(civil(47_540), (2100, 2, 28));
        assert_eq!(civil(47_541), (2100, 3, 1));

        let id = Ulid::from_parts(1_795_260_000_000, 7).to_string().parse().unwrap();
        assert_eq!(Store::name(id, 3), format!("2026/11/21/{id}.000003.rec"));
    }
}
