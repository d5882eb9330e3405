//! With what a target proves that its host key is its own.

use russh::{Preferred, keys::agent::AgentSessionBinding};

use super::{DialProblem, Stage, fault::printable};

/// Refuses a proof that is made with what was not offered.
///
/// russh 0.65.1 verifies the signature by the key that is shown, which check_server_key has found among the trusted ones: no
/// other type of key can pass for it. But an RSA key may sign with SHA-1 where it was asked for SHA-2. Nobody is known to be
/// able to use that, since both sides' hashes of the exchange would have to collide; it is refused as all that is weak and
/// that settings do not name.
pub(super) fn check(proof: Option<&AgentSessionBinding>, offered: &Preferred) -> Result<(), DialProblem> {
    let algorithm = proof.and_then(|proof| algorithm_of(proof.signature()));
    let Some(algorithm) = algorithm else {
        let cause = "it proves its host key with nothing that can be read".into();
        return Err(DialProblem::Lost { stage: Stage::Greeting, cause });
    };
    let mut ours = offered.key.iter().chain(offered.host_key_certificates.iter());
    match ours.any(|ours| ours.as_str() == algorithm) {
        true => Ok(()),
        false => Err(DialProblem::SignsOtherwise { algorithm: printable(algorithm) }),
    }
}

/// A signature begins with its algorithm's name (RFC 4253, section 6.6).
fn algorithm_of(signature: &[u8]) -> Option<&str> {
    let (length, rest) = signature.split_first_chunk()?;
    let name = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_signatures_algorithm_is_read_or_there_is_none() {
        assert_eq!(algorithm_of(b"\0\0\0\x07ssh-rsa\0\0\0\x01s"), Some("ssh-rsa"));
        for broken in
            [&b""[..], b"\0\0\0", b"\0\0\0\x08ssh-rsa", b"\xff\xff\xff\xffssh-rsa", b"\0\0\0\x01\xff"]
        {
            assert_eq!(algorithm_of(broken), None, "{broken:?}");
        }
    }
}
