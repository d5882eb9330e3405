//! A key of the vault as an authority: it signs certificates that open a target for one session each.
//!
//! The format is OpenSSH's (PROTOCOL.certkeys). A target that trusts the authority needs no key of ours in
//! `authorized_keys`, and its own log names whoever came.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use russh_keys::keys::{
    PrivateKey,
    ssh_key::{
        Certificate,
        certificate::{Builder, CertType},
    },
};
use zeroize::Zeroizing;

use crate::vault::{Vault, VaultFault, fresh_key};

/// A target whose clock is behind ours by no more than this lets us in.
const CLOCK_BEHIND: Duration = Duration::from_secs(60);

/// A dial takes seconds; the rest is for a target whose clock is ahead. A session outlives its certificate.
const VALID_ON: Duration = Duration::from_secs(240);

/// What a target writes into its log is bounded: a name, a provider's host and a session's id are shorter.
const KEY_ID_CHARS_MAX: usize = 350;

/// As long as OpenSSH makes it.
const NONCE_BYTES: usize = 32;

/// What a certificate is good for.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// The one login that it opens.
    pub login: &'a str,
    /// What the target's log calls it: who comes, and in which session.
    pub key_id: &'a str,
    /// The one address that it may be shown from.
    pub source: IpAddr,
    /// When it is made.
    pub now: SystemTime,
}

impl Vault {
    /// Makes a new Ed25519 key, and has `authority` sign a certificate over it for this errand alone.
    ///
    /// The key is known to nobody but the caller: it is in no file, and wipes itself when it is dropped.
    ///
    /// # Errors
    /// If there is no such authority, its entry was changed, or there are no random bytes.
    pub fn certify(
        &self,
        authority: &str,
        errand: &Errand<'_>,
    ) -> Result<(PrivateKey, Certificate), VaultFault> {
        let crypto = || VaultFault::Crypto { name: authority.into() };
        let signer = self.load(authority)?;
        let key = fresh_key().ok_or_else(crypto)?;
        let certificate = sign(&signer, &key, errand).ok_or_else(crypto)?;
        Ok((key, certificate))
    }
}

fn sign(signer: &PrivateKey, key: &PrivateKey, errand: &Errand<'_>) -> Option<Certificate> {
    let mut random = Zeroizing::new([0; NONCE_BYTES + size_of::<u64>()]);
    getrandom::fill(random.as_mut_slice()).ok()?;
    let (nonce, serial) = random.split_at_checked(NONCE_BYTES)?;
    let at = |time: Option<SystemTime>| Some(time?.duration_since(UNIX_EPOCH).ok()?.as_secs());
    let from = at(errand.now.checked_sub(CLOCK_BEHIND))?;
    let until = at(errand.now.checked_add(VALID_ON))?;

    let mut builder = Builder::new(nonce, key.public_key(), from, until).ok()?;
    builder.cert_type(CertType::User).ok()?;
    builder.serial(u64::from_be_bytes(serial.try_into().ok()?)).ok()?;
    builder.key_id(printable(errand.key_id)).ok()?;
    builder.valid_principal(errand.login).ok()?;
    builder.critical_option("source-address", alone(errand.source)).ok()?;
    // All else that OpenSSH grants by extensions stays shut: forwarding, agent, X11, ~/.ssh/rc.
    builder.extension("permit-pty", "").ok()?;
    builder.sign(signer).ok()
}

/// The network that has this address and no other.
fn alone(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("{address}/32"),
        IpAddr::V6(address) => format!("{address}/128"),
    }
}

fn printable(text: &str) -> String {
    let shown = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.chars().map(shown).take(KEY_ID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
