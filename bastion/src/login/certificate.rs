//! Whether an OpenSSH certificate lets its holder in.
//!
//! The SSH library has verified two signatures, the authority's and the holder's, and looked at the dates. Who the
//! authority is, whom the certificate is made out to and what it restricts is asked here, of the whole certificate and
//! in one place. The format is OpenSSH's (PROTOCOL.certkeys); where that leaves a choice, the stricter one is taken.

use std::{net::IpAddr, time::Duration};

use gate::{Name, Network, Printable};
use russh::keys::{
    Algorithm, Certificate, HashAlg, PublicKey,
    ssh_key::{Fingerprint, certificate::CertType},
};

use crate::settings::Certificates;

/// Authorities date their certificates back, for machines whose clocks are behind: `ssh-keygen` by up to two minutes. So
/// much is not counted as length.
const DATED_BACK_MAX: Duration = Duration::from_secs(5 * 60);

const FORCE_COMMAND: &str = "force-command";
const SOURCE_ADDRESS: &str = "source-address";
const PERMIT_PTY: &str = "permit-pty";

/// Why a certificate lets nobody in. Each is for the log and the trail: the caller hears none of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Signed by somebody whom the settings do not name.
    #[error("its authority {0} is not among login.certificates.authorities")]
    Foreign(String),
    /// The signature is made with what can be forged.
    #[error("it is signed with {0}, which can be forged")]
    Weak(String),
    /// The signature is not the authority's.
    #[error("its signature is not its authority's")]
    Forged,
    /// It certifies a machine.
    #[error("it is a host's, not a user's")]
    Host,
    /// It is made out to nobody in particular, which OpenSSH takes for everybody.
    #[error("it is made out to nobody")]
    Anyone,
    /// It is made out to others.
    #[error("it is made out to {0}")]
    Another(String),
    /// Not yet.
    #[error("it is not valid yet")]
    Early,
    /// No more.
    #[error("it is not valid any more")]
    Late,
    /// Valid for longer than the settings allow.
    #[error("it is valid for {found} s in all, and login.certificates.length_max is {} s", .most.as_secs())]
    Long {
        /// For how many seconds.
        found: u64,
        /// How long it may be.
        most: Duration,
    },
    /// It has an option that must be understood, and is not.
    #[error("its critical option {0} is unknown here")]
    Option(String),
    /// It has an option that cannot be read.
    #[error("its {0} cannot be read: {1}")]
    Unreadable(&'static str, String),
    /// It may not be shown from there.
    #[error("it may be shown from {0} alone")]
    Elsewhere(String),
}

/// What a certificate that holds says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The principal, as the certificate spells it.
    pub principal: Name,
    /// Fingerprint of the key that it is about.
    pub key: String,
    /// From when on it is valid: seconds since 1970 (UTC).
    pub begins_at: i64,
    /// The rest.
    pub certificate: gate::Certificate,
}

/// What `certificate` says, if it lets `name` in from `source` at `now` (seconds since 1970, UTC).
///
/// # Errors
/// With the first thing that stands against it.
pub fn check(
    certificate: &Certificate,
    trusted: &Certificates,
    name: &Name,
    source: IpAddr,
    now: i64,
) -> Result<Certified, CertificateFault> {
    let authority = authority_of(certificate, &trusted.authorities)?;
    if certificate.cert_type() != CertType::User {
        return Err(CertificateFault::Host);
    }
    let (begins_at, ends_at) = valid(certificate, trusted.length_max, now)?;
    // The SSH library has looked at the signature too. What everything else rests on is not left to a caller's care.
    certificate.validate_at(begins_at.cast_unsigned(), [&authority]).map_err(|_| CertificateFault::Forged)?;
    let principal = made_out_to(certificate, name)?;
    let command = restricted(certificate, source)?;
    let key_id = Printable::of(certificate.key_id()).to_string();
    let permits_terminal = certificate.extensions().contains_key(PERMIT_PTY);
    let (authority, serial) = (authority.to_string(), certificate.serial());
    let key = certificate.public_key().fingerprint(HashAlg::Sha256).to_string();
    let certificate = gate::Certificate { authority, serial, key_id, ends_at, command, permits_terminal };
    Ok(Certified { principal, key, begins_at, certificate })
}

/// The authority's fingerprint, if it is one of ours and signs with nothing that can be forged.
fn authority_of(certificate: &Certificate, ours: &[PublicKey]) -> Result<Fingerprint, CertificateFault> {
    // The keys themselves are compared. One of ours is a plain key, so an authority that is itself certified is none.
    let signer = certificate.signature_key();
    let fingerprint = signer.fingerprint(HashAlg::Sha256);
    if !ours.iter().any(|authority| authority.key_data() == signer) {
        return Err(CertificateFault::Foreign(fingerprint.to_string()));
    }
    let algorithm = certificate.signature().algorithm();
    if matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err(CertificateFault::Weak(algorithm.to_string()));
    }
    Ok(fingerprint)
}

/// From when until when, if now is between them and they are not too far apart.
fn valid(certificate: &Certificate, length_max: Duration, now: i64) -> Result<(i64, i64), CertificateFault> {
    let (begins, ends) = (certificate.valid_after(), certificate.valid_before());
    let now = u64::try_from(now).unwrap_or_default();
    if now < begins {
        return Err(CertificateFault::Early);
    }
    if now >= ends {
        return Err(CertificateFault::Late);
    }
    let found = ends - begins;
    let too_long = || CertificateFault::Long { found, most: length_max };
    // "Always" is the largest number that there is: too long, whatever the settings say.
    let ends_at = i64::try_from(ends).map_err(|_| too_long())?;
    match found > length_max.saturating_add(DATED_BACK_MAX).as_secs() {
        true => Err(too_long()),
        false => Ok((i64::try_from(begins).map_err(|_| too_long())?, ends_at)),
    }
}

/// The one principal that is this name. A principal is a name and nothing else: a star, a comma or a space in it is one that
/// nobody has.
fn made_out_to(certificate: &Certificate, name: &Name) -> Result<Name, CertificateFault> {
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(CertificateFault::Anyone);
    }
    let names = principals.iter().filter_map(|principal| principal.parse::<Name>().ok());
    // In small letters from here on, as policy compares names.
    let found = names.map(|principal| principal.folded()).find(|principal| *principal == name.folded());
    found.ok_or_else(|| CertificateFault::Another(Printable::of(&principals.join(", ")).to_string()))
}

/// The command that it forces, if its options are all understood and `source` is one that it may be shown from.
fn restricted(certificate: &Certificate, source: IpAddr) -> Result<Option<String>, CertificateFault> {
    let mut command = None;
    for (option, value) in certificate.critical_options().iter() {
        match option.as_str() {
            FORCE_COMMAND => command = Some(forced(value)?),
            SOURCE_ADDRESS => shown_from(value, source)?,
            _ => return Err(CertificateFault::Option(Printable::of(option).to_string())),
        }
    }
    Ok(command)
}

fn forced(command: &str) -> Result<String, CertificateFault> {
    match command.trim().is_empty() || command.contains('\0') {
        true => Err(CertificateFault::Unreadable(FORCE_COMMAND, Printable::of(command).to_string())),
        false => Ok(command.to_owned()),
    }
}

/// A list of networks with commas between them, all of which must be readable.
fn shown_from(list: &str, source: IpAddr) -> Result<(), CertificateFault> {
    let networks: Result<Vec<Network>, _> = list.split(',').map(Network::parse).collect();
    let shown = || Printable::of(list).to_string();
    let networks = networks.map_err(|_| CertificateFault::Unreadable(SOURCE_ADDRESS, shown()))?;
    match networks.iter().any(|network| network.has(source)) {
        true => Ok(()),
        false => Err(CertificateFault::Elsewhere(shown())),
    }
}

#[cfg(test)]
pub(super) mod tests;
