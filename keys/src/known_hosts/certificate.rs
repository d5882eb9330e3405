//! Host certificates: an authority that a `@cert-authority` line names vouches for a host's key.

use std::time::{SystemTime, UNIX_EPOCH};

use russh_keys::keys::ssh_key::{
    Algorithm, Certificate, Fingerprint, HashAlg, PublicKey, certificate::CertType, known_hosts::Marker,
};

use super::{KnownHosts, fingerprint};

/// So much is shown of a text that a host chose.
const SHOWN_CHARS_MAX: usize = 120;

/// Why a host certificate does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostCertificateFault {
    /// A `@revoked` line names its key, or the authority that signed it.
    #[error("{fingerprint} in it is revoked")]
    Revoked {
        /// Of that key.
        fingerprint: String,
    },
    /// No `@cert-authority` line for this host names who signed it.
    #[error("its authority is not one that is trusted for this host")]
    UnknownAuthority,
    /// Its signature does not hold, or is made with SHA-1.
    #[error("its signature does not hold")]
    Signature,
    /// It is for logins.
    #[error("it is a certificate for a user, not for a host")]
    NotForAHost,
    /// Its time has not come, or is over.
    #[error("it is not valid at this time")]
    NotNow,
    /// It is for other hosts, or for whichever.
    #[error("it is not made out to the address by which this host is known, but to {}", shown(principals))]
    NotForThisHost {
        /// For which it is.
        principals: Vec<String>,
    },
    /// It has a condition that we do not know, and so cannot keep.
    #[error("it has the unknown critical option {}", shown(std::slice::from_ref(option)))]
    CriticalOption {
        /// The first one.
        option: String,
    },
}

impl KnownHosts {
    /// The authorities that may vouch for `host` at `port`.
    pub fn authorities(&self, host: &str, port: u16) -> Vec<PublicKey> {
        let entries = self.of(host, port, Some(Marker::CertAuthority));
        entries.map(|entry| entry.public_key().clone()).collect()
    }

    /// Does this certificate, shown by `host` at `port`, prove that its key is the host's?
    ///
    /// That the host has the key's private half is not asked here: the key exchange has shown it.
    ///
    /// # Errors
    /// If anything about it is not as it must be.
    pub fn check_certificate(
        &self,
        host: &str,
        port: u16,
        certificate: &Certificate,
        now: SystemTime,
    ) -> Result<(), HostCertificateFault> {
        let authority = PublicKey::from(certificate.signature_key().clone());
        for key in [&certificate.public_key().clone().into(), &authority] {
            if self.is_revoked(host, port, key) {
                return Err(HostCertificateFault::Revoked { fingerprint: fingerprint(key) });
            }
        }
        if !self.authorities(host, port).iter().any(|known| known.key_data() == authority.key_data()) {
            return Err(HostCertificateFault::UnknownAuthority);
        }
        check_terms(host, certificate)?;
        check_signature(certificate, &authority.fingerprint(HashAlg::Sha256), now)
    }
}

/// What it says of itself, before anybody knows whether that is true.
fn check_terms(host: &str, certificate: &Certificate) -> Result<(), HostCertificateFault> {
    if certificate.cert_type() != CertType::Host {
        return Err(HostCertificateFault::NotForAHost);
    }
    // A name is a name: no pattern, and no list inside one. An empty list would be for every host there is.
    let host = host.to_ascii_lowercase();
    let principals = certificate.valid_principals();
    if !principals.contains(&host) {
        return Err(HostCertificateFault::NotForThisHost { principals: principals.to_vec() });
    }
    match certificate.critical_options().keys().next() {
        Some(option) => Err(HostCertificateFault::CriticalOption { option: option.clone() }),
        None => Ok(()),
    }
}

fn check_signature(
    certificate: &Certificate,
    authority: &Fingerprint,
    now: SystemTime,
) -> Result<(), HostCertificateFault> {
    if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
        return Err(HostCertificateFault::Signature);
    }
    // A clock before 1970 is a clock that was never set.
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if !(certificate.valid_after()..certificate.valid_before()).contains(&now) {
        return Err(HostCertificateFault::NotNow);
    }
    certificate.validate_at(now, [authority]).map_err(|_| HostCertificateFault::Signature)
}

fn shown(texts: &[String]) -> String {
    if texts.is_empty() {
        return "nobody by name".into();
    }
    let joined = texts.join(", ");
    joined.chars().map(|c| if c.is_control() { '?' } else { c }).take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
