//! A screen to start from.

use crate::utf8::{Carries, Carry, Stream};

/// Everything that a terminal's future depends on, at one instant.
///
/// It belongs to the segment that begins there: restored, and fed that segment's events, the terminal shows what it
/// would have shown had it been fed everything. What has scrolled away is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyframe {
    pub(crate) cols: u16,
    pub(crate) rows: u16,
    /// Escape sequences that draw it, hidden screens, modes and a half-read sequence included.
    pub(crate) dump: String,
    /// Characters whose second half is still to come.
    pub(crate) carries: Carries,
}

/// Why bytes are no key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyframeFault {
    /// They end too early.
    #[error("a key frame is cut off after {0} bytes")]
    Cut(usize),
    /// Its dump is no text.
    #[error("a key frame's dump is no UTF-8 from byte {0}")]
    NotText(usize),
}

/// The streams that are shown, in the order in which their carried bytes are written.
const SHOWN: [Stream; 3] = [Stream::Output, Stream::ErrorOutput, Stream::Notice];

impl Keyframe {
    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        (self.cols, self.rows)
    }

    /// Escape sequences that draw this screen on a blank terminal of its size.
    pub fn dump(&self) -> &str {
        &self.dump
    }

    /// Its bytes: columns and rows (big-endian u16); for output, error output and notices a length (one byte) and so
    /// many carried bytes; then the dump, to the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut carries = self.carries.clone();
        let mut bytes = Vec::with_capacity(self.dump.len() + 16);
        bytes.extend(self.cols.to_be_bytes());
        bytes.extend(self.rows.to_be_bytes());
        for stream in SHOWN {
            let held = carries.of(stream).held();
            bytes.push(held.len() as u8);
            bytes.extend(held);
        }
        bytes.extend(self.dump.as_bytes());
        bytes
    }

    /// The key frame that these bytes tell.
    ///
    /// # Errors
    /// When they tell none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Keyframe, KeyframeFault> {
        let cut = KeyframeFault::Cut(bytes.len());
        let ([a, b, c, d], mut rest) = bytes.split_first_chunk().map(|(n, rest)| (*n, rest)).ok_or(cut)?;
        let mut carries = Carries::default();
        for stream in SHOWN {
            let (length, after) = rest.split_first().ok_or(cut)?;
            let (held, after) = after.split_at_checked((*length).into()).ok_or(cut)?;
            *carries.of(stream) = Carry::holding(held);
            rest = after;
        }
        let dump = std::str::from_utf8(rest)
            .map_err(|fault| KeyframeFault::NotText(bytes.len() - rest.len() + fault.valid_up_to()))?;
        let (cols, rows) = crate::clamped(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Ok(Keyframe { cols, rows, dump: dump.to_owned(), carries })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_frame_that_is_none_is_refused_by_name() {
        assert_eq!(Keyframe::from_bytes(b"\0\x50\0\x18\x02"), Err(KeyframeFault::Cut(5)));
        assert_eq!(Keyframe::from_bytes(b"\0\x50\0\x18\0\0\0a\xff"), Err(KeyframeFault::NotText(8)));
    }

    proptest! {
        #[test]
        fn no_bytes_whatever_make_reading_a_key_frame_panic(bytes in any::<Vec<u8>>()) {
            let _ignored = Keyframe::from_bytes(&bytes).is_ok();
        }
    }
}
