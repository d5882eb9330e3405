//! The refresh token: what asks the provider later whether it still vouches for somebody (RFC 6749, section 6).

use std::{
    fmt,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use openidconnect::{
    AsyncHttpClient, HttpRequest, HttpResponse, OAuth2TokenResponse, RefreshToken, RequestTokenError,
    core::CoreErrorResponseType,
};
use zeroize::Zeroizing;

use super::{
    super::{
        device::{request_fault, said_why},
        http::{Http, HttpFault},
    },
    Identity, Known, Provider, ProviderFault, Tokens,
};

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
    /// It answers nobody at the moment, and may have said how long it wants to be left alone.
    #[error("{0}")]
    Silent(ProviderFault, Option<Duration>),
    /// It fails with this question. Perhaps with every other one too.
    #[error("{0}")]
    Failed(ProviderFault),
    /// It answers this question, and the answer cannot be used.
    #[error("{0}")]
    Unusable(ProviderFault),
}

/// Asks for the tokens, and keeps whether that was answered with a success: the crate tells only that it cannot read the answer.
struct Asker<'p> {
    http: &'p Http,
    is_answered: AtomicBool,
}

impl<'c> AsyncHttpClient<'c> for Asker<'_> {
    type Error = HttpFault;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFault>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.http.call(request).await;
            let is_success = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
            self.is_answered.store(is_success, Ordering::Relaxed);
            answer
        })
    }
}

/// Whom an error code of the provider's is about.
enum About {
    /// The person, whom it vouches for no more.
    Her,
    /// The bastion as a client, or the provider's day.
    Everybody,
    /// Nobody knows.
    Somebody,
}

impl Provider {
    /// Asks whether the person with this lasting id is still one of the provider's, and what it says of her.
    ///
    /// # Errors
    /// If she is not, or if nobody can say.
    pub async fn refresh(&self, token: &Refresh, subject: &str) -> Result<Refreshed, RefreshFault> {
        let silent = |fault| RefreshFault::Silent(fault, None);
        let known = self.known().await.map_err(silent)?;
        let tokens = self.exchange(&known, token).await?;
        let token = Refresh::among(&tokens);
        if tokens.signed().is_none() {
            return Ok(Refreshed { identity: None, token });
        }
        let identity = match self.prove(known, &tokens).await {
            Ok(identity) if identity.subject == subject => identity,
            Ok(_) => return Err(RefreshFault::Refused("the provider answers for somebody else".into())),
            Err(ProviderFault::Unproven(what)) => {
                return Err(RefreshFault::Refused(format!("the ID token is refused: {what}")));
            }
            // The keys of everybody's tokens cannot be had.
            Err(fault) => return Err(silent(fault)),
        };
        Ok(Refreshed { identity: Some(identity), token })
    }

    async fn exchange(&self, known: &Known, token: &Refresh) -> Result<Tokens, RefreshFault> {
        let asker = Asker { http: &self.http, is_answered: AtomicBool::new(false) };
        let token = RefreshToken::new(token.0.as_str().to_owned());
        let error = match known.client.exchange_refresh_token(&token).request_async(&asker).await {
            Ok(tokens) => return Ok(tokens),
            Err(error) => error,
        };
        Err(match error {
            RequestTokenError::Request(fault) if fault.is_everybodys() => {
                let retry_after = match &fault {
                    HttpFault::Troubled { retry_after, .. } => *retry_after,
                    _ => None,
                };
                RefreshFault::Silent(fault.to_fault(), retry_after)
            }
            RequestTokenError::ServerResponse(said) => {
                let refused =
                    |what: &str| ProviderFault::Unfit(format!("the provider {what}{}", said_why(&said)));
                match about(said.error()) {
                    About::Her => RefreshFault::Refused("the provider refuses the refresh token".into()),
                    About::Everybody => {
                        RefreshFault::Silent(refused("refuses to answer this client, or is in trouble"), None)
                    }
                    About::Somebody => RefreshFault::Failed(refused("fails with the refresh token")),
                }
            }
            error => {
                let fault = request_fault(error);
                match asker.is_answered.load(Ordering::Relaxed) {
                    true => RefreshFault::Unusable(fault),
                    false => RefreshFault::Failed(fault),
                }
            }
        })
    }
}

/// Errors that a provider has made up are about her. Those about the bastion as a client or about the provider's day are no
/// reason to throw anybody out.
fn about(error: &CoreErrorResponseType) -> About {
    match error {
        CoreErrorResponseType::InvalidClient | CoreErrorResponseType::UnsupportedGrantType => {
            About::Everybody
        }
        CoreErrorResponseType::InvalidRequest | CoreErrorResponseType::InvalidScope => About::Somebody,
        CoreErrorResponseType::Extension(other) => match other.as_str() {
            "temporarily_unavailable" | "slow_down" => About::Everybody,
            "server_error" => About::Somebody,
            _ => About::Her,
        },
        _ => About::Her,
    }
}
