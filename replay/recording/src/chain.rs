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

    /// The worked example of FORMAT.md; its digests were computed by another program.
    #[test]
    fn a_chain_is_what_format_md_says() {
        let id = "01JD7W8Z6K3Q9V5B2N4M8R1T0X".parse().unwrap();
        let header = b"{\"version\":2}\n";
        let plain = b"[0.0,\"o\",\"$ \"]\n";
        let span = (Elapsed::ZERO, Elapsed::from_micros(1_000_001));
        let segment = Segment::close(1, span, *b"0123456789abcdef", plain, plain);

        let first = link_0(&id, header);
        assert_eq!(first.to_string(), "1904247120c2a288a28a191d04beb7258207eee50eb23c0ae3ae88b174616c19");
        assert_eq!(
            segment.digest().to_string(),
            "df15630282d3c1344986f46395f7bf33a72a09a9d39e6dcaba87a8b372f33670"
        );
        assert_eq!(
            link(&first, &segment).to_string(),
            "bf650dbed3636b28c18d1a3fdc713acc752d8a7f568b679b5af5897ec28faf3c"
        );
    }

    #[test]
    fn segments_in_another_order_make_another_chain() {
        let id = "01JD7W8Z6K3Q9V5B2N4M8R1T0X".parse().unwrap();
        let segment = |index| Segment::close(index, (Elapsed::ZERO, Elapsed::ZERO), [0; 16], b"", b"");
        let chain = |order: &[u64]| order.iter().fold(link_0(&id, b""), |last, i| link(&last, &segment(*i)));

        assert_ne!(chain(&[1, 2]), chain(&[2, 1]));
        assert_ne!(chain(&[1, 2]), chain(&[1]));
    }
}
