//! A small OpenID Connect issuer for `bastion demo`. For development: it asks nobody for a password.
//!
//! It knows two people and the device sign-in (RFC 8628), listens on loopback alone, and lets a browser confirm a
//! code only with a word that is printed in the terminal of whoever started the demo. So neither another user of
//! this machine nor a page in the same browser can sign in as anybody.

mod codes;
mod page;
mod signer;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    Form, Json, Router,
    extract::{DefaultBodyLimit, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
};

use codes::{Codes, Poll, Verdict};
use signer::Signer;

/// What the demo's bastion is called at the demo's issuer.
const CLIENT_ID: &str = "bastion-demo";

/// Our forms have four short fields.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// The device sign-in's grant type (RFC 8628, section 3.4).
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Somebody whom the demo knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Person {
    /// Her name, and what she types before the `@`.
    pub name: &'static str,
    /// Her lasting id.
    pub subject: &'static str,
    /// Her one group.
    pub group: &'static str,
}

/// The two people of the demo, in two groups.
pub const PEOPLE: [Person; 2] = [
    Person { name: "alice", subject: "demo-7f3a", group: "sre" },
    Person { name: "bea", subject: "demo-9c41", group: "reviewers" },
];

/// A running issuer. Dropping it stops it.
pub struct DemoIssuer {
    /// Its issuer address, on loopback.
    pub issuer_url: String,
    /// What the bastion is called there.
    pub client_id: &'static str,
    words: watch::Receiver<String>,
    _stop: oneshot::Sender<()>,
}

struct Desk {
    issuer_url: String,
    address: SocketAddr,
    signer: Signer,
    codes: Mutex<Codes>,
    words: watch::Sender<String>,
}

impl DemoIssuer {
    /// Starts it on a free port of 127.0.0.1.
    pub async fn start() -> io::Result<DemoIssuer> {
        DemoIssuer::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts it on `address`, which must be loopback: it believes whoever has the word.
    pub async fn start_on(address: SocketAddr) -> io::Result<DemoIssuer> {
        if !address.ip().is_loopback() {
            let refusal = format!("the demo's issuer listens on loopback alone, not on {}", address.ip());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, refusal));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let issuer_url = format!("http://{address}");
        let codes = Codes::new()?;
        let (tell, words) = watch::channel(codes.word().to_owned());
        let desk = Arc::new(Desk {
            issuer_url: issuer_url.clone(),
            address,
            signer: Signer::new(&issuer_url)?,
            codes: Mutex::new(codes),
            words: tell,
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let served = axum::serve(listener, routes(desk)).with_graceful_shutdown(async move {
            // Nothing is ever sent: the sender's end, at drop, is the signal.
            stopped.await.unwrap_or_default();
        });
        tokio::spawn(async move {
            if let Err(fault) = served.await {
                tracing::error!(%fault, "the demo's issuer stops");
            }
        });
        Ok(DemoIssuer { issuer_url, client_id: CLIENT_ID, words, _stop: stop })
    }

    /// The word that the page asks for. Good for one sign-in; then there is another.
    pub fn word(&self) -> String {
        self.words.borrow().clone()
    }

    /// Tells each new word, once the last is used up or was guessed at too often.
    pub fn words(&self) -> watch::Receiver<String> {
        self.words.clone()
    }
}

fn routes(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(configuration))
        .route("/keys", get(keys))
        .route("/device_authorization", post(begin))
        .route("/token", post(token))
        .route("/device", get(show_page).post(confirm))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
        .with_state(desk)
}

/// Lets in only who calls us by a loopback name, and from our own page: a page that made its own name point to this
/// machine (DNS rebinding), or posts a form across, is turned away before anything is looked at.
async fn guard(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let own_host = text(headers, header::HOST.as_str()).is_some_and(|host| desk.is_own(host));
    let own_origin = match text(headers, header::ORIGIN.as_str()) {
        None => !headers.contains_key(header::ORIGIN),
        Some(origin) => origin.strip_prefix("http://").is_some_and(|host| desk.is_own(host)),
    };
    let own_site = !matches!(text(headers, "sec-fetch-site"), Some("cross-site" | "same-site"))
        || request.method() == "GET";
    if !own_host || !own_origin || !own_site {
        return (StatusCode::MISDIRECTED_REQUEST, "this issuer serves its own loopback address alone\n")
            .into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in page::HEADERS {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().ok(),
        _ => None,
    }
}

impl Desk {
    fn is_own(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        let ip = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name).parse::<IpAddr>();
        port.parse() == Ok(self.address.port())
            && (name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback()))
    }

    fn codes(&self) -> MutexGuard<'_, Codes> {
        // A panic elsewhere leaves whole codes behind: each change is one assignment.
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn configuration(State(desk): State<Arc<Desk>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", desk.issuer_url);
    Json(json!({
        "issuer": desk.issuer_url,
        "authorization_endpoint": at("/device"),
        "device_authorization_endpoint": at("/device_authorization"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"),
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "grant_types_supported": [DEVICE_GRANT],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "token_endpoint_auth_methods_supported": ["none"],
        "scopes_supported": ["openid", "profile", "email"],
        "claims_supported": ["sub", "preferred_username", "groups", "email", "email_verified"],
    }))
}

async fn keys(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.signer.public_keys()).into_response()
}

#[derive(Deserialize)]
struct Begin {
    client_id: String,
}

async fn begin(State(desk): State<Arc<Desk>>, Form(asked): Form<Begin>) -> Response {
    if asked.client_id != CLIENT_ID {
        return refusal("invalid_client");
    }
    match desk.codes().begin(Instant::now()) {
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "").into_response(),
        Ok(begun) => {
            let page = format!("{}/device", desk.issuer_url);
            Json(json!({
                "device_code": begun.device_code,
                "user_code": begun.user_code,
                "verification_uri": page,
                "verification_uri_complete": format!("{page}?user_code={}", begun.user_code),
                "expires_in": codes::VALID.as_secs(),
                "interval": codes::INTERVAL.as_secs(),
            }))
            .into_response()
        }
    }
}

#[derive(Deserialize)]
struct Token {
    grant_type: String,
    client_id: String,
    device_code: String,
}

async fn token(State(desk): State<Arc<Desk>>, Form(asked): Form<Token>) -> Response {
    if asked.client_id != CLIENT_ID {
        return refusal("invalid_client");
    }
    if asked.grant_type != DEVICE_GRANT {
        return refusal("unsupported_grant_type");
    }
    let polled = desk.codes().poll(&asked.device_code, Instant::now());
    let person = match polled {
        Poll::Pending => return refusal("authorization_pending"),
        Poll::TooSoon => return refusal("slow_down"),
        Poll::Denied => return refusal("access_denied"),
        Poll::Expired => return refusal("expired_token"),
        Poll::Unknown => return refusal("invalid_grant"),
        Poll::Confirmed(person) => person,
    };
    match (desk.signer.id_token(person), codes::random_text()) {
        (Ok(id_token), Ok(access_token)) => Json(json!({
            // RFC 6749 wants one; here it opens nothing.
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": signer::VALID.as_secs(),
            "id_token": id_token,
        }))
        .into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refusal(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    user_code: String,
}

async fn show_page(Query(shown): Query<Shown>) -> Html<String> {
    Html(page::form(&codes::plain(&shown.user_code), None))
}

#[derive(Deserialize)]
struct Confirmation {
    user_code: String,
    person: String,
    word: String,
    answer: String,
}

async fn confirm(State(desk): State<Arc<Desk>>, Form(given): Form<Confirmation>) -> Response {
    let user_code = codes::plain(&given.user_code);
    let person = PEOPLE.iter().find(|p| p.name == given.person);
    let person = match (given.answer.as_str(), person) {
        ("confirm", Some(person)) => Some(person),
        ("deny", _) => None,
        _ => {
            return (StatusCode::BAD_REQUEST, Html(page::form(&user_code, Some("Choose a person."))))
                .into_response();
        }
    };
    let verdict = {
        let mut codes = desk.codes();
        let verdict = codes.rule(&user_code, &given.word, person, Instant::now());
        desk.words.send_if_modified(|word| {
            let changed = word != codes.word();
            codes.word().clone_into(word);
            changed
        });
        verdict
    };
    match verdict {
        Verdict::Done => Html(page::done(person)).into_response(),
        Verdict::WrongWord => refused_page(&user_code, "This is not the word that the terminal shows."),
        Verdict::WordReplaced => {
            refused_page(&user_code, "Too many wrong words: the terminal shows a new one.")
        }
        Verdict::NoSuchCode => refused_page("", "No sign-in waits for this code. It may have run out."),
    }
}

fn refused_page(user_code: &str, why: &str) -> Response {
    (StatusCode::FORBIDDEN, Html(page::form(user_code, Some(why)))).into_response()
}

#[cfg(test)]
mod tests;
