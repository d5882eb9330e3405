//! One device sign-in (RFC 8628): asked for here, polled here until its connection goes.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use openidconnect::{
    AsyncHttpClient, DeviceCodeErrorResponseType, EmptyExtraDeviceAuthorizationFields, HttpRequest,
    HttpResponse, RequestTokenError, core::CoreDeviceAuthorizationResponse, url::Url,
};
use serde::Serialize;
use tokio::{sync::watch, time::Instant};

use super::{
    codes::Code,
    http::{Http, HttpFault, is_safe},
    oidc::{Identity, Known, Provider, ProviderFault, Refresh, place_of},
};

/// RFC 8628 lets a provider say 0; no provider is asked more often than this.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// An interval beyond this would outlive the sign-in itself.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// A code that is good for longer is a gift to whoever tricks a person into confirming it.
const VALID_MAX: Duration = Duration::from_secs(5 * 60);

/// What a terminal shows of a provider's address or code is never longer.
const TEXT_BYTES_MAX: usize = 512;
const USER_CODE_BYTES_MAX: usize = 64;

/// The longest error code that RFC 6749 and RFC 8628 know has 25 characters.
const ERROR_CODE_BYTES_MAX: usize = 64;

/// A silent provider is asked at growing intervals, up to this one.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What a person needs to sign in. Holds no device code: that never leaves the polling task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Where to go.
    pub address: String,
    /// What to type there.
    pub user_code: String,
    /// The address with the code in it, if the provider makes one.
    pub complete: Option<String>,
    /// How long the code is good.
    pub valid: Duration,
}

/// How far a sign-in has come.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The provider has been asked for a code.
    Starting,
    /// It is the person's turn.
    Waiting {
        /// What she needs.
        invitation: Invitation,
        /// How often the provider was asked so far.
        asked: u64,
        /// How often it has said "not yet" (or nothing at all).
        answers: u64,
    },
    /// It is over.
    Decided(Outcome),
}

/// How a sign-in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider vouches for this person, and gives a token to ask with whether it still does, if it gives any.
    SignedIn(Identity, Option<Refresh>),
    /// She, or the provider, said no.
    Denied,
    /// Nobody said anything in time.
    Expired,
    /// The provider does not answer, or answers nonsense; its ID token does not hold.
    Failed(ProviderFault),
}

/// A running sign-in. Dropping it stops the polling: the connection that asked is gone.
pub struct Flow {
    /// How far it has come.
    pub progress: watch::Receiver<Progress>,
}

impl Flow {
    /// Asks `provider` for a code and polls until it decides. The code's place is given back when the provider has
    /// forgotten it.
    pub(super) fn begin(provider: Arc<Provider>, mut code: Code) -> Flow {
        let (tell, progress) = watch::channel(Progress::Starting);
        tokio::spawn(async move {
            let Some(outcome) = run(&provider, &tell, &mut code).await else { return };
            if let Outcome::Failed(fault) = &outcome {
                tracing::warn!(%fault, "a sign-in fails at the provider");
            }
            tell.send_replace(Progress::Decided(outcome));
        });
        Flow { progress }
    }

    /// How often the provider was asked so far whether it is confirmed.
    pub fn asked(&self) -> u64 {
        match *self.progress.borrow() {
            Progress::Waiting { asked, .. } => asked,
            Progress::Starting | Progress::Decided(_) => 0,
        }
    }

    /// How far it has come, now.
    pub fn now(&self) -> Progress {
        // A task that died without a word (a panic) must not leave anybody waiting.
        match self.progress.has_changed() {
            Err(_) => match self.progress.borrow().clone() {
                decided @ Progress::Decided(_) => decided,
                _ => Progress::Decided(Outcome::Failed(ProviderFault::Unfit("the sign-in broke off".into()))),
            },
            Ok(_) => self.progress.borrow().clone(),
        }
    }
}

/// None once nobody waits for it any more. The one thing that is not left then is the question for a code: the provider
/// may have made it, and would hold it where nobody counts it.
async fn run(provider: &Provider, tell: &watch::Sender<Progress>, code: &mut Code) -> Option<Outcome> {
    let known = tokio::select! {
        known = provider.known() => known,
        () = tell.closed() => return None,
    };
    let known = match known {
        Ok(known) => known,
        Err(fault) => return Some(Outcome::Failed(fault)),
    };
    let details = match ask(provider, &known).await {
        Ok(details) => details,
        Err(outcome) => return Some(outcome),
    };
    code.is_good_for(details.expires_in());
    let polled = tokio::select! {
        polled = poll(provider, &known, &details, tell, code) => polled,
        () = tell.closed() => return None,
    };
    Some(polled.map_or_else(|outcome| outcome, |(identity, refresh)| Outcome::SignedIn(identity, refresh)))
}

async fn poll(
    provider: &Provider,
    known: &Known,
    details: &CoreDeviceAuthorizationResponse,
    tell: &watch::Sender<Progress>,
    code: &mut Code,
) -> Result<(Identity, Option<Refresh>), Outcome> {
    let invitation = invitation(details).map_err(Outcome::Failed)?;
    if details.interval() > INTERVAL_MAX {
        let unfit = format!("it wants {} s between two polls", details.interval().as_secs());
        return Err(Outcome::Failed(ProviderFault::Unfit(unfit)));
    }
    let end = Instant::now() + invitation.valid;
    tell.send_replace(Progress::Waiting { invitation: invitation.clone(), asked: 0, answers: 0 });

    let pause = |interval: Duration| {
        tell.send_modify(|progress| {
            if let Progress::Waiting { answers, .. } = progress {
                *answers += 1;
            }
        });
        tokio::time::sleep(interval.max(INTERVAL_MIN))
    };
    // Nobody has read the code yet: the first poll has an interval to wait like every other.
    let first = tokio::time::sleep(details.interval().max(INTERVAL_MIN));
    let asker = Asker { http: &provider.http, last: Mutex::new(None), tell };
    let polling = known
        .client
        .exchange_device_access_token(details)
        .set_max_backoff_interval(BACKOFF_MAX)
        .request_async(&asker, pause, Some(VALID_MAX));
    // The crate looks at the time before each poll only; a pause must not carry a flow past its end.
    match tokio::time::timeout_at(end, first.then(|()| polling)).await {
        Err(_) => Err(asker.last().map_or(Outcome::Expired, Outcome::Failed)),
        Ok(Err(error)) => {
            let outcome = poll_outcome(error);
            if matches!(outcome, Outcome::Denied | Outcome::Expired) {
                code.is_over();
            }
            Err(outcome)
        }
        Ok(Ok(tokens)) => {
            code.is_over();
            let identity = provider.prove(known.clone(), &tokens).await.map_err(Outcome::Failed)?;
            Ok((identity, Refresh::among(&tokens)))
        }
    }
}

/// Asks for the tokens, counts how often, and keeps why it was not answered: the crate polls on after such a failure, and
/// forgets it.
struct Asker<'p> {
    http: &'p Http,
    last: Mutex<Option<ProviderFault>>,
    tell: &'p watch::Sender<Progress>,
}

impl Asker<'_> {
    fn last(&self) -> Option<ProviderFault> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<'c> AsyncHttpClient<'c> for Asker<'_> {
    type Error = HttpFault;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpFault>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            self.tell.send_modify(|progress| {
                if let Progress::Waiting { asked, .. } = progress {
                    *asked += 1;
                }
            });
            let answer = self.http.call(request).await;
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
                answer.as_ref().err().map(HttpFault::to_fault);
            answer
        })
    }
}

async fn ask(provider: &Provider, known: &Known) -> Result<CoreDeviceAuthorizationResponse, Outcome> {
    let asked = known.client.exchange_device_code().add_scopes(known.scopes.iter().cloned());
    asked
        .request_async::<_, EmptyExtraDeviceAuthorizationFields>(&provider.http)
        .await
        .map_err(|error| Outcome::Failed(request_fault(error)))
}

fn poll_outcome(error: RequestTokenError<HttpFault, openidconnect::DeviceCodeErrorResponse>) -> Outcome {
    match error {
        RequestTokenError::ServerResponse(said) => match said.error() {
            DeviceCodeErrorResponseType::AccessDenied => Outcome::Denied,
            DeviceCodeErrorResponseType::ExpiredToken => Outcome::Expired,
            _ => {
                let unfit = format!("the token endpoint refuses the poll{}", said_why(&said));
                Outcome::Failed(ProviderFault::Unfit(unfit))
            }
        },
        other => Outcome::Failed(request_fault(other)),
    }
}

/// The error in words that quote nothing of a body, where codes and tokens are.
pub(super) fn request_fault<E: openidconnect::ErrorResponse>(
    error: RequestTokenError<HttpFault, E>,
) -> ProviderFault {
    match error {
        RequestTokenError::Request(fault) => fault.to_fault(),
        RequestTokenError::ServerResponse(said) => ProviderFault::Unfit(format!(
            "the provider refuses to begin a device sign-in for this client{}",
            said_why(&said)
        )),
        RequestTokenError::Parse(error, _) => ProviderFault::Unfit(format!(
            "the provider's answer cannot be read{}",
            place_of(&error.path().to_string())
        )),
        RequestTokenError::Other(_) => {
            ProviderFault::Unfit("the provider's answer is none of the protocol's".into())
        }
    }
}

/// The error code of an OAuth refusal (`: invalid_client`), for the log. Its description is free text, and stays out.
pub(super) fn said_why(said: &impl Serialize) -> String {
    let said = serde_json::to_value(said).unwrap_or_default();
    let code = said.get("error").and_then(serde_json::Value::as_str).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    match !code.is_empty() && code.len() <= ERROR_CODE_BYTES_MAX && code.bytes().all(plain) {
        true => format!(": {code}"),
        false => ", with an error code that is no plain word".into(),
    }
}

/// What may be shown of the provider's answer. Its texts go to a terminal, so each is checked whole.
fn invitation(details: &CoreDeviceAuthorizationResponse) -> Result<Invitation, ProviderFault> {
    let unfit = |what: &str| ProviderFault::Unfit(format!("the provider sends {what}"));
    let code = details.user_code().secret();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    if code.is_empty() || code.len() > USER_CODE_BYTES_MAX || !code.as_bytes().iter().all(plain) {
        return Err(unfit("a user code that is more than letters, digits and dashes"));
    }
    let complete = details.verification_uri_complete().map(|c| c.secret().as_str());
    if !is_showable(details.verification_uri()) || !complete.is_none_or(is_showable) {
        return Err(unfit("an address that is not https, or no plain address"));
    }
    Ok(Invitation {
        address: details.verification_uri().as_str().to_owned(),
        user_code: code.clone(),
        complete: complete.map(str::to_owned),
        valid: details.expires_in().min(VALID_MAX),
    })
}

/// Characters of RFC 3986 alone: no space, no quote, nothing that a terminal or a shell would take amiss.
fn is_showable(address: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&()*+,;=%".contains(&b);
    address.len() <= TEXT_BYTES_MAX
        && address.bytes().all(plain)
        && Url::parse(address).is_ok_and(|url| is_safe(&url) && url.username().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(changes: serde_json::Value) -> Result<Invitation, ProviderFault> {
        let mut answer = json!({
            "device_code": "d", "user_code": "ABCD-2345", "verification_uri": "https://id.example/device",
            "verification_uri_complete": "https://id.example/device?user_code=ABCD-2345", "expires_in": 600,
        });
        for (field, value) in changes.as_object().unwrap() {
            answer[field] = value.clone();
        }
        match serde_json::from_value(answer) {
            Ok(details) => invitation(&details),
            Err(_) => Err(ProviderFault::Unfit("unreadable".into())),
        }
    }

    #[test]
    fn a_plain_invitation_is_shown_and_is_good_for_five_minutes_at_most() {
        let invitation = shown(json!({})).unwrap();
        assert_eq!(invitation.user_code, "ABCD-2345");
        assert_eq!(invitation.valid, Duration::from_secs(300));
        assert_eq!(shown(json!({ "expires_in": 90 })).unwrap().valid, Duration::from_secs(90));
        assert!(shown(json!({ "verification_uri": "http://127.0.0.1:80/d" })).is_ok());
    }

    #[test]
    fn nothing_of_an_invitation_that_is_more_than_plain_text_is_shown() {
        let long = format!("https://id.example/{}", "a".repeat(512));
        let refused = [
            json!({ "user_code": "" }),
            json!({ "user_code": "\u{1b}]52;c;aGk=\u{7}" }),
            json!({ "user_code": "AB\nCD" }),
            json!({ "user_code": "A".repeat(65) }),
            json!({ "verification_uri": "http://id.example/" }),
            json!({ "verification_uri": "file:///etc/passwd" }),
            json!({ "verification_uri": "https://id.example/\n" }),
            json!({ "verification_uri": "https://id.example/\u{1b}[2J" }),
            json!({ "verification_uri": "https://good@evil.example/" }),
            json!({ "verification_uri": long }),
            json!({ "verification_uri_complete": "javascript:alert(1)" }),
            json!({ "verification_uri_complete": "https://id.example/ x" }),
            json!({ "verification_uri_complete": "https://id.example/é" }),
        ];
        for change in refused {
            assert!(shown(change.clone()).is_err(), "{change} is shown");
        }
    }
}
