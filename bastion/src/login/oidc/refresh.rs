//! The refresh token: what asks the provider later whether it still vouches for somebody (RFC 6749, section 6).

use std::fmt;

use openidconnect::{
    OAuth2TokenResponse, RefreshToken, RequestTokenError, TokenResponse, core::CoreErrorResponseType,
};
use zeroize::Zeroizing;

use super::{Identity, Provider, ProviderFault, Tokens};

/// Longer ones nobody makes; a store of them must not grow.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A refresh token. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Refresh(Zeroizing<String>);

impl Refresh {
    /// From what was stored of one.
    pub fn read(bytes: &[u8]) -> Option<Refresh> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())?;
        Some(Refresh(Zeroizing::new(text.to_owned())))
    }

    /// What is stored of it: encrypted, please.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The one that came with these tokens, if any did.
    pub(in crate::login) fn among(tokens: &Tokens) -> Option<Refresh> {
        let token = tokens.refresh_token()?.secret();
        Refresh::read(token.as_bytes()).filter(|_| token.len() <= TOKEN_BYTES_MAX)
    }
}

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refresh(..)")
    }
}

/// The provider still vouches for her.
#[derive(Debug)]
pub struct Refreshed {
    /// What it says of her now, if it says anything.
    pub identity: Option<Identity>,
    /// The token for the next time, if it is another one.
    pub token: Option<Refresh>,
}

/// Why nobody knows, or that the provider vouches no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshFault {
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// It could not be asked, or answers nonsense.
    #[error("{0}")]
    Unknown(ProviderFault),
}

impl Provider {
    /// Asks whether the person with this lasting id is still one of the provider's, and what it says of her.
    ///
    /// # Errors
    /// If she is not, or if nobody can say.
    pub async fn refresh(&self, token: &Refresh, subject: &str) -> Result<Refreshed, RefreshFault> {
        let known = self.known().await.map_err(RefreshFault::Unknown)?;
        let asked = RefreshToken::new(token.0.as_str().to_owned());
        let answered = known.client.exchange_refresh_token(&asked).request_async(&self.http).await;
        let tokens: Tokens = match answered {
            Ok(tokens) => tokens,
            Err(RequestTokenError::ServerResponse(said)) if is_no(said.error()) => {
                return Err(RefreshFault::Refused("the provider refuses the refresh token".into()));
            }
            Err(RequestTokenError::ServerResponse(_)) => {
                let unfit = "the provider refuses to answer this client, or is in trouble".to_owned();
                return Err(RefreshFault::Unknown(ProviderFault::Unfit(unfit)));
            }
            Err(error) => return Err(RefreshFault::Unknown(super::super::device::request_fault(error))),
        };
        let token = Refresh::among(&tokens);
        if tokens.id_token().is_none() {
            return Ok(Refreshed { identity: None, token });
        }
        let identity = match self.prove(known.clone(), &tokens).await {
            Ok(identity) if identity.subject == subject => identity,
            Ok(_) => return Err(RefreshFault::Refused("the provider answers for somebody else".into())),
            Err(ProviderFault::Unproven(what)) => {
                return Err(RefreshFault::Refused(format!("the ID token is refused: {what}")));
            }
            Err(fault) => return Err(RefreshFault::Unknown(fault)),
        };
        Ok(Refreshed { identity: Some(identity), token })
    }
}

/// Whether the error is about her: all are, also those that a provider has made up, but for those that are about the bastion
/// as a client or about the provider's day. They are no reason to throw everybody out.
fn is_no(error: &CoreErrorResponseType) -> bool {
    match error {
        CoreErrorResponseType::InvalidClient
        | CoreErrorResponseType::InvalidRequest
        | CoreErrorResponseType::InvalidScope
        | CoreErrorResponseType::UnsupportedGrantType => false,
        CoreErrorResponseType::Extension(other) => {
            !["temporarily_unavailable", "server_error", "slow_down"].contains(&other.as_str())
        }
        _ => true,
    }
}
