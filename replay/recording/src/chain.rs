//! Each segment's hash covers the last.
//!
//! Who knows the head of a chain knows that nothing before it was changed, taken out, put in or moved; what a chain
//! cannot show is that nothing was cut off behind the head that one was shown.

use crate::{Digest, Segment, SessionId};

/// A place in a recording's chain; the last one is its head.
pub type Link = Digest;

/// `link_0`, with which the chain begins: the session and its header line, newline included, byte for byte as stored.
/// The header holds a random salt, so that the link does not betray the names in it.
pub fn link_0(id: &SessionId, header: &[u8]) -> Link {
    let length = (header.len() as u64).to_be_bytes();
    Digest::of(&[b"bastion/chain/v1\n", id.as_str().as_bytes(), &length, header])
}

/// `link_i`: what came before, and segment `i`.
pub fn link(previous: &Link, segment: &Segment) -> Link {
    Digest::of(&[b"bastion/link/v1\n", previous.as_bytes(), segment.digest().as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Elapsed;

    #[test]
    fn segments_in_another_order_make_another_chain() {
        let id = "01JD7W8Z6K3Q9V5B2N4M8R1T0X".parse().unwrap();
        let segment = |index| Segment::close(index, (Elapsed::ZERO, Elapsed::ZERO), [0; 16], b"", b"");
        let chain = |order: &[u64]| order.iter().fold(link_0(&id, b""), |last, i| link(&last, &segment(*i)));

        assert_ne!(chain(&[1, 2]), chain(&[2, 1]));
        assert_ne!(chain(&[1, 2]), chain(&[1]));
    }
}
