//! What a client of ours is made of, as the settings have it.

use std::path::Path;

use openidconnect::{
    AuthType, ClientSecret,
    core::{CoreClientAuthMethod, CoreJwsSigningAlgorithm},
};

use crate::settings::Algorithm;

use super::{Metadata, ProviderFault};

pub(super) fn as_jws(algorithm: &Algorithm) -> CoreJwsSigningAlgorithm {
    match algorithm {
        Algorithm::RS256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
        Algorithm::ES256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        Algorithm::EdDSA => CoreJwsSigningAlgorithm::EdDsa,
    }
}

/// HTTP Basic is what RFC 6749 wants; a provider that offers only the form gets the form.
pub(super) fn auth_type(found: &Metadata) -> AuthType {
    let offered = found.token_endpoint_auth_methods_supported();
    match offered {
        Some(all) if !all.contains(&CoreClientAuthMethod::ClientSecretBasic) => AuthType::RequestBody,
        _ => AuthType::BasicAuth,
    }
}

pub(super) fn read_secret(path: &Path) -> Result<ClientSecret, ProviderFault> {
    use std::os::unix::fs::PermissionsExt;
    let unfit = |what: String| ProviderFault::Unfit(format!("client_secret_file {}: {what}", path.display()));
    let mode = std::fs::metadata(path).map_err(|e| unfit(e.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(unfit(format!("mode {:o} lets others read it, it must be 600", mode & 0o777)));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unfit(e.to_string()))?;
    match text.trim() {
        "" => Err(unfit("is empty".into())),
        secret => Ok(ClientSecret::new(secret.to_owned())),
    }
}
