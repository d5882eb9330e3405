//! The wrapping of everything that is stored.
//!
//! Tail frames, journal values, parts, key frames, indexes and headers all pass through [`wrap`] and [`unwrap`], so
//! that encrypting all of them is one change in one place. A wrapping names its key, says how long it is, and tells
//! whether its bytes are those that were written.
//!
//! ```text
//! magic     4 bytes   "BSTN"
//! version   1 byte    1
//! kind      1 byte    what is inside: see Kind
//! key       4 bytes   big-endian; 0: not encrypted
//! length    4 bytes   big-endian, bytes of payload
//! check     4 bytes   big-endian, CRC-32 (IEEE) of the 14 bytes above and of the payload
//! payload   `length` bytes
//! ```
//!
//! The check finds accidents: a torn write, a bad sector. That nobody changed a piece on purpose is for the chain to
//! show.

use std::borrow::Cow;

/// Bytes that a wrapping adds to its payload.
pub const WRAPPING_BYTES: usize = 18;

/// The longest payload that is wrapped, or believed.
///
/// A segment holds 64 KiB of events or one larger event, and an event is at most what a channel window lets through,
/// 2 MiB; an index of a long part is the largest thing stored. A greater length is damage, and not waited for.
pub const PAYLOAD_BYTES_MAX: usize = 32 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"BSTN";
const VERSION: u8 = 1;
/// Magic, version, kind, key, length: what the check covers before the payload.
const HEAD_BYTES: usize = 14;

/// What is inside a wrapping. Opening one as something else is a fault, so no piece can stand for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A recording's header line.
    Header = 1,
    /// Events in a tail file, on their way into a segment.
    Frame = 2,
    /// A closed segment, or one value of it.
    Segment = 3,
    /// A screen to start from.
    Keyframe = 4,
    /// What is known about segments: their links, spans and places.
    Index = 5,
    /// What is known about a whole recording.
    Summary = 6,
    /// How a sealed file, or a part of it, ends.
    Footer = 7,
}

/// The key that a payload is encrypted with. So far there is none; the field is in every wrapping so that there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key {
    /// Not encrypted.
    #[default]
    None,
}

impl Key {
    fn id(self) -> u32 {
        match self {
            Key::None => 0,
        }
    }
}

/// A payload too long to be wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a piece of {0} bytes is more than the {PAYLOAD_BYTES_MAX} that a wrapping holds")]
pub struct PieceTooLong(pub usize);

/// Why bytes are no whole piece. Each is something that a disk can do, so each is a value that a reader acts upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PieceFault {
    /// It begins as a piece does, and more bytes are needed: a torn write, or one still under way.
    #[error("a piece is cut off: {here} bytes of {needed}")]
    Cut {
        /// Bytes that are there.
        here: usize,
        /// Bytes that it has, or its head has, when whole.
        needed: usize,
    },
    /// It does not begin as a piece does.
    #[error("no piece begins with {0:02x?}")]
    Magic([u8; 4]),
    /// A newer program wrote it.
    #[error("a piece of version {0} is newer than {VERSION}, the newest known here")]
    Version(u8),
    /// It holds something else than it should.
    #[error("a piece of kind {found} stands where {wanted:?} should")]
    Kind {
        /// What it holds.
        found: u8,
        /// What was looked for.
        wanted: Kind,
    },
    /// It is encrypted with a key that is not known here.
    #[error("a piece is encrypted with key {0}, which is not known")]
    UnknownKey(u32),
    /// It claims a length that no piece has.
    #[error("a piece claims {0} bytes, more than the {PAYLOAD_BYTES_MAX} that a wrapping holds")]
    Length(u32),
    /// Its bytes are not those that were written.
    #[error("a piece is corrupt: its check is {found:08x}, and was {written:08x} when written")]
    Corrupt {
        /// The check of the bytes that are there.
        found: u32,
        /// The check that was written.
        written: u32,
    },
    /// More stands there than the piece.
    #[error("{0} bytes follow a piece that should be all there is")]
    Stray(usize),
}

/// Appends the payload in its wrapping.
///
/// # Errors
/// When it is longer than [`PAYLOAD_BYTES_MAX`]; then nothing is appended.
pub fn wrap(kind: Kind, key: Key, payload: &[u8], out: &mut Vec<u8>) -> Result<(), PieceTooLong> {
    out.reserve(WRAPPING_BYTES + payload.len());
    let begun = begin(out);
    out.extend_from_slice(payload);
    finish(kind, key, begun, out)
}

/// How every piece of this kind begins: what a reader looks for behind bytes that it cannot read.
pub fn beginning(kind: Kind) -> [u8; 6] {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, VERSION, kind as u8]
}

/// Leaves room for a wrapping, and answers where: what is appended next is the payload, until [`finish`] wraps it
/// where it stands. The recorder encodes straight into what it writes.
pub fn begin(out: &mut Vec<u8>) -> usize {
    let begun = out.len();
    out.resize(begun + WRAPPING_BYTES, 0);
    begun
}

/// Wraps all that was appended since [`begin`] answered `begun`.
///
/// # Errors
/// When it is longer than [`PAYLOAD_BYTES_MAX`]; then it is taken away again.
pub fn finish(kind: Kind, key: Key, begun: usize, out: &mut Vec<u8>) -> Result<(), PieceTooLong> {
    let Some((wrapping, payload)) =
        out.get_mut(begun..).and_then(<[u8]>::split_first_chunk_mut::<WRAPPING_BYTES>)
    else {
        return Ok(()); // nothing was begun
    };
    let too_long = PieceTooLong(payload.len());
    let Some(length) = u32::try_from(payload.len()).ok().filter(|_| too_long.0 <= PAYLOAD_BYTES_MAX) else {
        out.truncate(begun);
        return Err(too_long);
    };
    let fields = [&MAGIC[..], &[VERSION, kind as u8], &key.id().to_be_bytes(), &length.to_be_bytes()];
    wrapping.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    let check = check(wrapping.get(..HEAD_BYTES).unwrap_or_default(), payload).to_be_bytes();
    wrapping.iter_mut().skip(HEAD_BYTES).zip(check).for_each(|(to, from)| *to = from);
    Ok(())
}

/// The payload of the piece that `bytes` begin with, and the bytes after it.
///
/// # Errors
/// When no whole piece of this kind stands there. Of a piece that is only [cut off](PieceFault::Cut) nothing can be
/// told but that.
pub fn unwrap(kind: Kind, bytes: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), PieceFault> {
    let magic = bytes.get(..MAGIC.len().min(bytes.len())).unwrap_or_default();
    if !MAGIC.starts_with(magic) {
        let mut found = [0; 4];
        found.iter_mut().zip(magic).for_each(|(to, from)| *to = *from);
        return Err(PieceFault::Magic(found));
    }
    let head = bytes.first_chunk::<WRAPPING_BYTES>();
    let head = head.ok_or(PieceFault::Cut { here: bytes.len(), needed: WRAPPING_BYTES })?;
    let [_, _, _, _, version, found, k0, k1, k2, k3, l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    if version != VERSION {
        return Err(PieceFault::Version(version));
    }
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let bytes_long = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes_long > PAYLOAD_BYTES_MAX {
        return Err(PieceFault::Length(length));
    }
    let needed = WRAPPING_BYTES + bytes_long;
    let (piece, after) =
        bytes.split_at_checked(needed).ok_or(PieceFault::Cut { here: bytes.len(), needed })?;
    let payload = piece.get(WRAPPING_BYTES..).unwrap_or_default();

    let written = u32::from_be_bytes([c0, c1, c2, c3]);
    let check = check(piece.get(..HEAD_BYTES).unwrap_or_default(), payload);
    if check != written {
        return Err(PieceFault::Corrupt { found: check, written });
    }
    if found != kind as u8 {
        return Err(PieceFault::Kind { found, wanted: kind });
    }
    match u32::from_be_bytes([k0, k1, k2, k3]) {
        0 => Ok((Cow::Borrowed(payload), after)),
        unknown => Err(PieceFault::UnknownKey(unknown)),
    }
}

/// The payload, when the piece is all there is.
///
/// # Errors
/// As [`unwrap`]; and when anything follows.
pub fn unwrap_whole(kind: Kind, bytes: &[u8]) -> Result<Cow<'_, [u8]>, PieceFault> {
    match unwrap(kind, bytes)? {
        (payload, []) => Ok(payload),
        (_, stray) => Err(PieceFault::Stray(stray.len())),
    }
}

fn check(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrapped(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        wrap(kind, Key::None, payload, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn pieces_lie_one_behind_the_other() {
        let mut bytes = wrapped(Kind::Frame, b"one");
        wrap(Kind::Frame, Key::None, b"", &mut bytes).unwrap();
        bytes.extend(b"BST");

        let (one, after) = unwrap(Kind::Frame, &bytes).unwrap();
        let (none, after) = unwrap(Kind::Frame, after).unwrap();
        assert_eq!((&*one, &*none), (&b"one"[..], &b""[..]));
        assert_eq!(unwrap(Kind::Frame, after), Err(PieceFault::Cut { here: 3, needed: WRAPPING_BYTES }));
    }

    #[test]
    fn a_piece_does_not_stand_for_one_of_another_kind() {
        let fault = unwrap(Kind::Index, &wrapped(Kind::Header, b"x")).unwrap_err();

        assert_eq!(fault.to_string(), "a piece of kind 1 stands where Index should");
    }

    #[test]
    fn a_key_that_is_not_known_is_named() {
        let mut bytes = b"BSTN\x01\x02\0\0\0\x07\0\0\0\x01".to_vec();
        bytes.extend(check(&bytes, b"?").to_be_bytes());
        bytes.push(b'?');

        let fault = unwrap(Kind::Frame, &bytes).unwrap_err();
        assert_eq!(fault.to_string(), "a piece is encrypted with key 7, which is not known");
    }

    #[test]
    fn a_newer_piece_is_named_as_such() {
        let mut bytes = wrapped(Kind::Frame, b"x");
        bytes[4] = 9;

        assert_eq!(unwrap(Kind::Frame, &bytes), Err(PieceFault::Version(9)));
    }

    #[test]
    fn a_length_that_no_piece_has_is_not_waited_for() {
        let mut bytes = wrapped(Kind::Frame, b"x");
        bytes[10..14].fill(0xff);
        assert_eq!(unwrap(Kind::Frame, &bytes), Err(PieceFault::Length(u32::MAX)));

        let mut out = vec![1];
        let long = vec![0; PAYLOAD_BYTES_MAX + 1];
        assert_eq!(wrap(Kind::Segment, Key::None, &long, &mut out), Err(PieceTooLong(long.len())));
        assert_eq!(out, [1]);
    }

    #[test]
    fn a_piece_that_should_be_alone_is() {
        let mut bytes = wrapped(Kind::Header, b"x");
        assert_eq!(&*unwrap_whole(Kind::Header, &bytes).unwrap(), b"x");

        bytes.push(0);
        assert_eq!(unwrap_whole(Kind::Header, &bytes), Err(PieceFault::Stray(1)));
    }

    proptest! {
        #[test]
        fn a_piece_cut_anywhere_says_that_it_is_cut(payload in any::<Vec<u8>>(), place in any::<prop::sample::Index>()) {
            let bytes = wrapped(Kind::Segment, &payload);
            let here = place.index(bytes.len());

            let fault = unwrap(Kind::Segment, &bytes[..here]).unwrap_err();
            let is_cut = matches!(fault, PieceFault::Cut { here: told, .. } if told == here);
            prop_assert!(is_cut, "{}", fault);
        }

        #[test]
        fn a_flipped_bit_is_always_seen(payload in any::<Vec<u8>>(), bit in any::<prop::sample::Index>()) {
            let mut bytes = wrapped(Kind::Segment, &payload);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);

            prop_assert!(unwrap(Kind::Segment, &bytes).is_err());
        }

        #[test]
        fn no_bytes_whatever_make_unwrapping_panic(bytes in any::<Vec<u8>>(), has_magic in any::<bool>()) {
            let bytes = if has_magic { [&MAGIC[..], &[VERSION], &bytes].concat() } else { bytes };
            prop_assert!(unwrap(Kind::Frame, &bytes).is_err());
        }
    }
}
