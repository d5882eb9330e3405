//! A closed run of events.

use crate::{Digest, Elapsed};

/// Bytes of a segment's fields, as they are hashed and stored.
pub const SEGMENT_BYTES: usize = 120;

/// The events of one stretch of time, closed under one hash.
///
/// A closed segment never changes: what is learnt later goes, as a [`Marker`](crate::What::Marker), into a later one.
/// It is bound in two forms, so that each can be checked without the other: *plain*, the encoded events, which an
/// export shows; and *stored*, what lies on disk: compressed, and encrypted once there is a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its place in the recording, from 1.
    pub index: u64,
    /// When its first event happened.
    pub first: Elapsed,
    /// When its last event happened.
    pub last: Elapsed,
    /// Random, so that the digest of a segment which is withheld tells nothing about what may be in it.
    pub nonce: [u8; 16],
    /// Bytes of the plain form.
    pub plain_len: u64,
    /// SHA-256 of the nonce and the plain form.
    pub plain_digest: Digest,
    /// Bytes of the stored form.
    pub stored_len: u64,
    /// SHA-256 of the stored form.
    pub stored_digest: Digest,
}

impl Segment {
    /// Closes a segment over its two forms.
    pub fn close(
        index: u64,
        span: (Elapsed, Elapsed),
        nonce: [u8; 16],
        plain: &[u8],
        stored: &[u8],
    ) -> Segment {
        Segment {
            index,
            first: span.0,
            last: span.1,
            nonce,
            plain_len: plain.len() as u64,
            plain_digest: Digest::of(&[&nonce, plain]),
            stored_len: stored.len() as u64,
            stored_digest: Digest::of(&[stored]),
        }
    }

    /// Whether these are the events that it was closed over.
    pub fn binds_plain(&self, plain: &[u8]) -> bool {
        self.plain_len == plain.len() as u64 && self.plain_digest == Digest::of(&[&self.nonce, plain])
    }

    /// Whether this is what was stored when it was closed.
    pub fn binds_stored(&self, stored: &[u8]) -> bool {
        self.stored_len == stored.len() as u64 && self.stored_digest == Digest::of(&[stored])
    }

    /// `seg_i`: the digest that stands for it in the chain.
    pub fn digest(&self) -> Digest {
        Digest::of(&[b"bastion/segment/v1\n", &self.to_bytes()])
    }

    /// Its fields in the order of the struct; numbers are big-endian u64.
    pub fn to_bytes(&self) -> [u8; SEGMENT_BYTES] {
        let mut bytes = [0; SEGMENT_BYTES];
        let fields: [&[u8]; 8] = [
            &self.index.to_be_bytes(),
            &self.first.as_micros().to_be_bytes(),
            &self.last.as_micros().to_be_bytes(),
            &self.nonce,
            &self.plain_len.to_be_bytes(),
            self.plain_digest.as_bytes(),
            &self.stored_len.to_be_bytes(),
            self.stored_digest.as_bytes(),
        ];
        bytes.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The fields that these bytes tell; every 120 bytes tell some.
    pub fn from_bytes(bytes: &[u8; SEGMENT_BYTES]) -> Segment {
        let mut rest = bytes.as_slice();
        Segment {
            index: u64::from_be_bytes(take(&mut rest)),
            first: Elapsed::from_micros(u64::from_be_bytes(take(&mut rest))),
            last: Elapsed::from_micros(u64::from_be_bytes(take(&mut rest))),
            nonce: take(&mut rest),
            plain_len: u64::from_be_bytes(take(&mut rest)),
            plain_digest: Digest::from_bytes(take(&mut rest)),
            stored_len: u64::from_be_bytes(take(&mut rest)),
            stored_digest: Digest::from_bytes(take(&mut rest)),
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (field, after) = rest.split_first_chunk().expect("the fields of a segment are 120 bytes in all");
    *rest = after;
    *field
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_segment_binds_both_of_its_forms() {
        let segment = Segment::close(1, (Elapsed::ZERO, Elapsed::ZERO), [7; 16], b"plain", b"stored");

        assert!(segment.binds_plain(b"plain") && segment.binds_stored(b"stored"));
        assert!(!segment.binds_plain(b"plaim") && !segment.binds_stored(b"store"));
    }

    proptest! {
        #[test]
        fn fields_come_back_from_their_bytes(bytes in any::<[u8; 32]>(), part in any::<[u8; 24]>()) {
            let bytes: [u8; SEGMENT_BYTES] = [&bytes[..], &bytes, &part, &bytes].concat().try_into().unwrap();
            prop_assert_eq!(Segment::from_bytes(&bytes).to_bytes(), bytes);
        }

        #[test]
        fn any_changed_bit_changes_the_digest(bit in 0..SEGMENT_BYTES * 8) {
            let segment = Segment::close(3, (Elapsed::ZERO, Elapsed::ZERO), [7; 16], b"plain", b"stored");
            let mut bytes = segment.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(Segment::from_bytes(&bytes).digest(), segment.digest());
        }
    }
}
