//! Signing in with a certificate: one proof that is enough, and what it restricts whatever comes after it.
//!
//! From the moment at which a certificate of an authority of ours is proven on a connection, that connection is what
//! the certificate allows, or nothing: if it does not hold, no other key and no sign-in opens it any more. Others have
//! checked an option on one way in and forgot it on the next. A certificate of an authority that is not ours says
//! nothing, like a key that nobody knows: clients show what they find, and go on with the next.

use std::net::IpAddr;

use gate::Principal;
use russh::keys::{Certificate, HashAlg, PublicKey, ssh_key::public::KeyData};

use super::{
    KeyAnswer, Login, Proof, SignIn, State,
    certificate::{CertificateFault, Certified, check},
    notice,
};
use crate::{
    audit::{self, Act},
    settings::Certificates,
};

/// What stands before an authority's fingerprint where a provider's address would stand.
const ISSUER: &str = "ssh-ca:";

/// Whether this issuer is an authority, whose people come with certificates, and no provider.
pub fn is_authority(issuer: &str) -> bool {
    issuer.starts_with(ISSUER)
}

impl Certified {
    /// Who has signed in with it. Nobody but the authority knows her: no groups, no e-mail address.
    pub(super) fn principal(&self, source: IpAddr) -> Principal {
        Principal {
            issuer: format!("{ISSUER}{}", self.certificate.authority),
            subject: self.principal.to_string(),
            name: self.principal.clone(),
            email: None,
            groups: Default::default(),
            source,
            key: Some(self.key.clone()),
            signed_in_at: self.begins_at,
            amr: Default::default(),
            acr: None,
            certificate: Some(self.certificate.clone()),
        }
    }
}

/// What the certificates that a connection has shown mean for all else that it tries.
#[derive(Default)]
pub(super) struct Shown {
    /// One of ours did not hold: nothing opens this connection any more.
    pub(super) is_barred: bool,
    /// One was passed by, and why.
    passed_by: Option<String>,
    /// Why a bound key did not sign in alone.
    pub(super) not_alone: Option<String>,
    /// How many keys were proven that are half the way.
    keys: usize,
    /// One would have counted here.
    are_wanted: bool,
}

/// Keys that are tried again beside what might be a certificate; each costs its owner a second, and one of her attempts.
const KEYS_MAX: usize = 4;

impl Shown {
    /// Why nobody was let in here, with what is to be said of certificates.
    pub(super) fn with(&self, why: &str) -> String {
        let mut why = why.to_owned();
        if let Some(rule) = &self.not_alone {
            why += &format!("; {rule}");
        }
        match &self.passed_by {
            Some(fault) => why += &format!("; a certificate was passed by: {fault}"),
            // russh 0.65.1 refuses those before it tells us of anything.
            None if self.are_wanted => {
                why += "; if a certificate was shown with it, that has run out or is not valid yet";
            }
            None => {}
        }
        why
    }
}

impl SignIn {
    /// As [`SignIn::key_proven`], where a certificate may come after it.
    ///
    /// Stock OpenSSH shows a certificate that lies beside its key, or with it in an agent, after the key itself. A key that
    /// is half the way must not end its search: it is told so once, tries the key again, is refused, and goes on to the
    /// certificate. The sign-in that may follow belongs to the first key, as it does without certificates.
    pub async fn key_shown(&mut self, user: &str, key: &PublicKey, trusted: &Certificates) -> KeyAnswer {
        let before = match &self.state {
            State::KeyProven(proof) if user == self.user => Some(proof.clone()),
            _ => None,
        };
        let answer = self.key_proven(user, key).await;
        if answer != KeyAnswer::PartialSuccess || trusted.authorities.is_empty() {
            return answer;
        }
        self.certificates.are_wanted = true;
        self.certificates.keys = if before.is_some() { self.certificates.keys + 1 } else { 1 };
        if let Some(first) = before {
            self.state = State::KeyProven(first);
        }
        match self.certificates.keys {
            1 => KeyAnswer::PartialSuccessOrCertificate,
            2..=KEYS_MAX => KeyAnswer::Failure,
            _ => KeyAnswer::PartialSuccess,
        }
    }

    /// Hears that the client proved the key of `certificate` as `user`. To be called once both signatures, the authority's
    /// and the client's, are verified.
    pub async fn certificate_proven(
        &mut self,
        user: &str,
        certificate: &Certificate,
        trusted: &Certificates,
    ) -> KeyAnswer {
        if !self.turn_to(user) {
            return KeyAnswer::Failure;
        }
        let Some(name) = self.name.clone() else { return KeyAnswer::Failure };
        let (now, source) = (self.login.clock.now(), self.source.ip().to_canonical());
        let fault = match check(certificate, trusted, &name, source, now) {
            Ok(certified) => match self.admit_certified(certified, now).await {
                Ok(principal) => return KeyAnswer::Success(principal),
                Err(sentence) => sentence.to_owned(),
            },
            Err(fault @ CertificateFault::Foreign(_)) => {
                tracing::info!(source = %self.source, user = audit::shown(user), "a certificate is passed by: {fault}");
                self.certificates.passed_by = Some(fault.to_string());
                return KeyAnswer::Failure;
            }
            Err(fault) => fault.to_string(),
        };
        self.bar(certificate, &fault);
        KeyAnswer::Failure
    }

    /// Why nothing more is opened on this connection, if it was a certificate that opened it and that lets nobody in by now.
    pub fn lapsed(&self, trusted: &Certificates) -> Option<&'static str> {
        self.login.lapsed(self.principal()?, trusted)
    }

    async fn admit_certified(
        &mut self,
        certified: Certified,
        now: i64,
    ) -> Result<Box<Principal>, &'static str> {
        let gate::Certificate { serial, key_id, authority, .. } = certified.certificate.clone();
        let proof = Proof::Certified(certified);
        let principal = proof.principal(self.source, now);
        let hers = self.take_name(&principal, now).await;
        self.claimant = hers.is_err().then(|| audit::person(&principal));
        hers.map_err(|sentence| match sentence {
            notice::NOT_HER_NAME => {
                "its principal's name belongs to another person (`bastion names list`), who keeps it while she needs it: \
                 certify another name"
            }
            other => other,
        })?;
        tracing::info!(source = %self.source, serial, key_id, authority, "a certificate holds");
        Ok(self.enter(proof, now))
    }

    /// Shuts the connection's other ways in, and tells log and trail why. The caller is told nothing.
    fn bar(&mut self, certificate: &Certificate, fault: &str) {
        self.certificates.is_barred = true;
        self.failed += 1;
        self.state = State::Over { prompts: None };
        self.is_refusal_written = true;
        let fingerprint = |key: &KeyData| key.fingerprint(HashAlg::Sha256).to_string();
        let key = fingerprint(certificate.public_key());
        let (key_id, authority) =
            (audit::shown(certificate.key_id()), fingerprint(certificate.signature_key()));
        let serial = certificate.serial();
        let (user, source) = (audit::shown(&self.user), self.source);
        tracing::warn!(%source, user, key, serial, key_id, authority, "a certificate does not hold: {fault}");
        let why = format!("certificate {serial} ({key_id}) of {authority}: {fault}");
        let person = self.claimant.take();
        self.login.audit.refused(Act::SignInRefused { user, source, key: Some(key), person, why });
    }
}

impl Login {
    /// Why nothing more is opened for her, if it was a certificate that let her in and that lets nobody in by now.
    pub fn lapsed(&self, principal: &Principal, trusted: &Certificates) -> Option<&'static str> {
        let certificate = principal.certificate.as_ref()?;
        let fingerprint = |authority: &PublicKey| authority.fingerprint(HashAlg::Sha256).to_string();
        if self.clock.now() >= certificate.ends_at {
            return Some("the certificate that opened this connection is not valid any more");
        }
        let is_trusted = trusted.authorities.iter().any(|known| fingerprint(known) == certificate.authority);
        (!is_trusted).then_some("the authority of this connection's certificate is not trusted any more")
    }
}
