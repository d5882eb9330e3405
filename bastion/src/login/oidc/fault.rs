//! What is wrong with a provider's word, for the log: the library's errors, in words that hold nothing of a body.

use openidconnect::DiscoveryError;

use super::{super::http::HttpFault, ProviderFault};

/// The protocol's longest names have about 50 characters.
const PATH_BYTES_MAX: usize = 100;

/// Why the claims of an ID token are not believed.
pub(super) enum ClaimsFault {
    /// Its key is not known: perhaps it is new.
    UnknownKey,
    /// What is wrong with it.
    Wrong(String),
}

impl ClaimsFault {
    pub(super) fn into_fault(self) -> ProviderFault {
        match self {
            ClaimsFault::UnknownKey => ProviderFault::Unproven("its key is not among the provider's".into()),
            ClaimsFault::Wrong(what) => ProviderFault::Unproven(what),
        }
    }
}

/// The same address with a slash at its end, or without. Providers differ in it, and to OpenID Connect it is another.
fn other_slash(issuer: &str) -> String {
    issuer.strip_suffix('/').map_or_else(|| format!("{issuer}/"), str::to_owned)
}

/// What is wrong with the discovery of `issuer`, in words that quote nothing of it.
pub(super) fn discovery_fault(issuer: &str, error: DiscoveryError<HttpFault>) -> ProviderFault {
    match error {
        DiscoveryError::Request(fault) => fault.to_fault(),
        DiscoveryError::Response(status, ..) if status.is_success() => {
            ProviderFault::Unfit("discovery, or the key set, is no JSON".into())
        }
        DiscoveryError::Response(status, ..) => ProviderFault::Unfit(format!(
            "discovery, or the key set, answers with HTTP status {}",
            status.as_u16()
        )),
        DiscoveryError::Validation(said) => ProviderFault::Unfit(match other_slash(issuer) {
            other if said.contains(&format!("`{other}`")) => {
                format!("discovery names the issuer {other}: write it exactly so in the settings")
            }
            _ => "discovery names another issuer".into(),
        }),
        DiscoveryError::Parse(error) => {
            ProviderFault::Unfit(format!("discovery cannot be read{}", place_of(&error.path().to_string())))
        }
        _ => ProviderFault::Unfit("discovery fails".into()),
    }
}

/// Where an answer cannot be read, for the log. The names in a path are the provider's, so only plain and short ones count.
pub(in super::super) fn place_of(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.[]?".contains(&b);
    match path.len() <= PATH_BYTES_MAX && path.bytes().all(plain) {
        true => format!(" at {path:?}"),
        false => ", under a name that is none of the protocol's".into(),
    }
}
