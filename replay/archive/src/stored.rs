//! The stored form of a segment, and back.
//!
//! One byte says how the rest is to be read: 0, as it is; 1, a zstd frame.

use std::io;

use recording::{Keyframe, piece::PAYLOAD_BYTES_MAX};

const AS_IT_IS: u8 = 0;
const ZSTD: u8 = 1;

/// zstd's own default. 1 and 3 differ little on 64 KiB of terminal output, in time; 3 makes less of it.
const LEVEL: i32 = 3;

/// Why a stored form cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredFault {
    /// It is empty, or made in a way that is not known here.
    #[error("stored in a way that is not known here: {0:?}")]
    Unknown(Option<u8>),
    /// zstd does not take it.
    #[error("zstd: {0}")]
    Zstd(#[source] io::Error),
    /// It is longer than anything that is stored.
    #[error("claims {0} plain bytes, more than a segment ever has")]
    TooLong(u64),
}

/// Makes stored forms. Keeps its memory: one serves for all sessions.
pub(crate) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(crate) fn new() -> io::Result<Self> {
        zstd::bulk::Compressor::new(LEVEL).map(Compressor)
    }

    /// The stored form: compressed, if that makes it shorter.
    pub(crate) fn store(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut stored = vec![0; 1 + zstd::zstd_safe::compress_bound(plain.len())];
        let (kind, room) = stored.split_first_mut().expect("a vector of one byte and more has a first");
        *kind = ZSTD;
        match self.0.compress_to_buffer(plain, room) {
            Ok(len) if len < plain.len() => stored.truncate(1 + len),
            _ => {
                stored.clear();
                stored.push(AS_IT_IS);
                stored.extend_from_slice(plain);
            }
        }
        stored
    }
}

/// The plain form of a stored one.
///
/// # Errors
/// When it is not as it was made, or longer than `plain_len` says.
pub fn plain(stored: &[u8], plain_len: u64) -> Result<Vec<u8>, StoredFault> {
    let too_long = StoredFault::TooLong(plain_len);
    let room = usize::try_from(plain_len).ok().filter(|len| *len <= PAYLOAD_BYTES_MAX).ok_or(too_long)?;
    match stored.split_first() {
        Some((&AS_IT_IS, plain)) => Ok(plain.to_vec()),
        Some((&ZSTD, frame)) => zstd::bulk::decompress(frame, room).map_err(StoredFault::Zstd),
        other => Err(StoredFault::Unknown(other.map(|(kind, _)| *kind))),
    }
}

/// The plain form of a stored one, as long as that says itself.
pub(crate) fn whole(stored: &[u8]) -> Result<Vec<u8>, StoredFault> {
    let told = |frame| zstd::zstd_safe::get_frame_content_size(frame).ok().flatten();
    let len = match stored.split_first() {
        Some((&ZSTD, frame)) => told(frame).unwrap_or(PAYLOAD_BYTES_MAX as u64),
        _ => stored.len() as u64,
    };
    plain(stored, len)
}

/// The stored form of bytes that are not worth compressing: those of a segment that is still open.
pub(crate) fn as_it_is(plain: &[u8]) -> Vec<u8> {
    [&[AS_IT_IS], plain].concat()
}

/// A key frame as it is stored: the length of its bytes (u64), and their stored form.
pub(crate) fn keyframe(plain: &[u8], stored: &[u8]) -> Vec<u8> {
    [&(plain.len() as u64).to_be_bytes(), stored].concat()
}

/// A key frame from what was stored of it; none if it is damaged, because an earlier one serves.
pub fn read_keyframe(bytes: &[u8]) -> Option<Keyframe> {
    let (len, stored) = bytes.split_first_chunk()?;
    Keyframe::from_bytes(&plain(stored, u64::from_be_bytes(*len)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_stored_comes_back(bytes in any::<Vec<u8>>(), repeated in 1..200_usize) {
            let bytes = bytes.repeat(repeated);
            let stored = Compressor::new().unwrap().store(&bytes);

            prop_assert!(stored.len() <= bytes.len() + 1);
            prop_assert_eq!(plain(&stored, bytes.len() as u64).unwrap(), bytes);
        }

        #[test]
        fn no_stored_bytes_whatever_make_reading_panic(bytes in any::<Vec<u8>>(), len in 0..100_000_u64) {
            if let Ok(plain) = plain(&bytes, len) {
                prop_assert!(plain.len() as u64 <= len.max(bytes.len() as u64));
            }
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = Compressor::new().unwrap().store(&vec![0; 10 << 20]);

        assert!(bomb.len() < 10_000);
        assert!(matches!(plain(&bomb, 1000), Err(StoredFault::Zstd(_))));
        assert!(matches!(plain(&bomb, u64::MAX), Err(StoredFault::TooLong(_))));
    }
}
