//! Reading one piece after another.

use std::io::{self, Read, Seek, SeekFrom};

use recording::piece::{self, Kind, PieceFault, WRAPPING_BYTES};

/// Why the next piece cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    /// The disk did not give it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not whole, or not what should stand there.
    #[error("at byte {0}: {1}")]
    Piece(u64, #[source] PieceFault),
}

/// Reads one piece after another, without holding more than one.
pub(crate) struct PieceReader<R> {
    from: R,
    at: u64,
}

impl<R: Read> PieceReader<R> {
    pub(crate) fn new(from: R) -> Self {
        PieceReader { from, at: 0 }
    }

    /// What it reads from.
    pub(crate) fn source(&self) -> &R {
        &self.from
    }

    /// Where the next piece begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The payload of the next piece; none at the end.
    pub(crate) fn next(&mut self, kind: Kind) -> Result<Option<Vec<u8>>, ReadFault> {
        let mut bytes = Vec::new();
        self.fill(&mut bytes, WRAPPING_BYTES)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        // The wrapping alone is a piece that is cut off, and tells how long the whole is.
        if let Err(PieceFault::Cut { needed, .. }) = piece::unwrap(kind, &bytes) {
            self.fill(&mut bytes, needed)?;
        }
        let whole = piece::unwrap_whole(kind, &bytes).map_err(|fault| ReadFault::Piece(self.at, fault))?;
        self.at += bytes.len() as u64;
        Ok(Some(whole.into_owned()))
    }

    /// Reads until there are `len` bytes, or no more.
    fn fill(&mut self, bytes: &mut Vec<u8>, len: usize) -> io::Result<()> {
        let missing = len.saturating_sub(bytes.len()) as u64;
        self.from.by_ref().take(missing).read_to_end(bytes).map(drop)
    }
}

impl<R: Read + Seek> PieceReader<R> {
    /// Goes to where a piece begins.
    pub(crate) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.at = self.from.seek(SeekFrom::Start(offset))?;
        Ok(())
    }
}
