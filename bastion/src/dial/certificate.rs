//! Signing in to a target with a certificate that is made for one session.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use gate::{Grant, Principal};
use keys::{Errand, Vault, fingerprint};
use recording::SessionId;
use russh::client;

use super::{DialProblem, TargetHandler, fault::methods, log_in::Step};

/// What a target's own log calls the caller: who she is, at which provider, and in which session.
///
/// `alice@id.example 01JD...`: a name alone is one person's only at one provider.
pub fn key_id(principal: &Principal, session: SessionId) -> String {
    // An issuer that is no address is the authority of a certificate, whose fingerprint may have a slash in it.
    let issuer = principal.issuer.as_str();
    let host = issuer
        .split_once("://")
        .map_or(issuer, |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    format!("{}@{host} {session}", principal.name)
}

/// Signs in with a new key and a certificate of `authority`, which `ours` alone may show.
pub(super) async fn log_in(
    handle: &mut client::Handle<TargetHandler>,
    grant: &Grant,
    vault: &Vault,
    authority: &str,
    key_id: &str,
    ours: IpAddr,
) -> Result<Step, DialProblem> {
    let login = grant.login();
    let errand = Errand { login: login.as_str(), key_id, source: ours, now: SystemTime::now() };
    let (key, certificate) = vault.certify(authority, &errand)?;
    let (signed_by, serial) = (vault.public(authority)?, certificate.serial());
    tracing::info!(key_id, serial, authority, "signed a certificate");
    let answer = handle.authenticate_openssh_cert(login.as_str(), Arc::new(key), certificate).await?;
    Step::of(answer).map_err(|remaining| DialProblem::CertificateRefused {
        login: login.clone(),
        authority: authority.to_owned(),
        fingerprint: fingerprint(&signed_by),
        serial,
        ours,
        wants: methods(&remaining),
    })
}
