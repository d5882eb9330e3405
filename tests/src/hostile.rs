//! An OpenID Connect provider that lies, floods and hangs: one switch per fault, so that each can be met alone.
//!
//! It answers a poll at once, with the tokens of a person whom nobody asked; [`Hostile::waits`] makes it wait for
//! [`Hostile::approve`]. With [`Fault::Nothing`] it is a good provider, only faster than a real one.

mod fault;
mod keys;
mod lies;
mod wire;

use std::{
    collections::HashMap,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};

use crate::provider::{ALICE, Person};

pub use fault::{Fault, How, Place, Refresh, TAINT};
use keys::Keys;
use wire::{Answer, Asked};

/// A provider on a free loopback port, in threads of this process. Dropping it stops it.
pub struct Hostile(Arc<Shared>);

struct Shared {
    issuer: String,
    address: std::net::SocketAddr,
    is_over: AtomicBool,
    sent: AtomicU64,
    state: Mutex<State>,
}

struct State {
    issuer: String,
    fault: Fault,
    refresh: Refresh,
    /// The same for some people alone, by their lasting ids.
    refresh_of: HashMap<String, Refresh>,
    now: i64,
    waits: bool,
    keys: Arc<Keys>,
    claims: Value,
    codes: Vec<Code>,
    refreshers: Vec<Refresher>,
    asked: Vec<String>,
    refreshed_with: Vec<String>,
    secrets: Vec<String>,
    count: u64,
}

/// A sign-in that is pending.
struct Code {
    user: String,
    device: String,
    ruling: Option<Ruling>,
}

/// What a person says of a code.
enum Ruling {
    /// It is hers: her claims.
    Confirmed(Value),
    Denied,
}

/// A refresh token, and whose it is.
struct Refresher {
    token: String,
    claims: Value,
}

impl Hostile {
    /// Starts it; `now` is what its clock shows, in seconds since 1970 (UTC).
    ///
    /// # Panics
    /// If this machine has no loopback.
    pub fn start(fault: Fault, now: i64) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let issuer = format!("http://{address}");
        let state = State {
            issuer: issuer.clone(),
            fault,
            refresh: Refresh::Good,
            refresh_of: HashMap::new(),
            now,
            waits: false,
            keys: Keys::first(),
            claims: claims_of(&ALICE),
            codes: Vec::new(),
            refreshers: Vec::new(),
            asked: Vec::new(),
            refreshed_with: Vec::new(),
            secrets: Vec::new(),
            count: 0,
        };
        let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { issuer, address, is_over, sent, state: Mutex::new(state) });
        let serving = shared.clone();
        std::thread::spawn(move || serving.serve(&listener));
        Hostile(shared)
    }

    /// Its issuer address. It takes every client, and means `bastion`.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// What it does wrong from now on.
    pub fn turns(&self, fault: Fault) {
        self.0.state().fault = fault;
    }

    /// What it does with refresh tokens from now on.
    pub fn refreshes(&self, refresh: Refresh) {
        self.0.state().refresh = refresh;
    }

    /// The same for one person alone, by her lasting id.
    pub fn refreshes_of(&self, subject: &str, refresh: Refresh) {
        self.0.state().refresh_of.insert(subject.to_owned(), refresh);
    }

    /// What its clock shows from now on.
    pub fn clock(&self, now: i64) {
        self.0.state().now = now;
    }

    /// From now on a code is good for nothing until it is approved.
    pub fn waits(&self) {
        self.0.state().waits = true;
    }

    /// Who signs in from now on.
    pub fn person(&self, person: &Person) {
        self.claims(claims_of(person));
    }

    /// The same, with any claims.
    pub fn claims(&self, claims: Value) {
        self.0.state().claims = claims;
    }

    /// `person` confirms `user_code`.
    ///
    /// # Panics
    /// If there is no such code.
    pub fn approve(&self, user_code: &str, person: &Person) {
        self.rule(user_code, Ruling::Confirmed(claims_of(person)));
    }

    /// Somebody says no to `user_code`.
    ///
    /// # Panics
    /// If there is no such code.
    pub fn deny(&self, user_code: &str) {
        self.rule(user_code, Ruling::Denied);
    }

    fn rule(&self, user_code: &str, ruling: Ruling) {
        let mut state = self.0.state();
        let code = state.codes.iter_mut().find(|code| code.user == user_code);
        code.expect("a code that was given out").ruling = Some(ruling);
    }

    /// From now on it signs with new keys, and the old ones are gone from the set.
    pub fn rotate_keys(&self) {
        self.0.state().keys = Arc::new(Keys::new());
    }

    /// An ID token, as it would give one now.
    pub fn id_token(&self) -> String {
        let state = self.0.state();
        state.id_token(&state.claims)
    }

    /// How often `path` was asked for: `/keys`, `/token`.
    pub fn asked(&self, path: &str) -> usize {
        self.0.state().asked.iter().filter(|asked| *asked == path).count()
    }

    /// The refresh tokens that were sent here, in order.
    pub fn refreshed_with(&self) -> Vec<String> {
        self.0.state().refreshed_with.clone()
    }

    /// Device codes and tokens that it gave out.
    pub fn secrets(&self) -> Vec<String> {
        self.0.state().secrets.clone()
    }

    /// How many bytes of bodies were taken from it.
    pub fn bytes_sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
        // The listener wakes up for this last one. If it cannot, it is gone already.
        drop(TcpStream::connect(self.0.address));
    }
}

fn claims_of(person: &Person) -> Value {
    json!({
        "sub": person.sub, "preferred_username": person.name, "groups": person.groups,
        "email": format!("{}@example.org", person.name), "email_verified": true,
    })
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Shared>, listener: &TcpListener) {
        for line in listener.incoming().flatten() {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let this = self.clone();
            std::thread::spawn(move || this.meet(line));
        }
    }

    fn meet(&self, mut line: TcpStream) {
        let Some(asked) = wire::read(&mut line) else { return };
        let answer = self.state().answer(&asked);
        // Who does not stay for the end of an endless body does as he should.
        wire::write(&mut line, answer, &self.sent).unwrap_or_default();
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.asked.push(asked.path.clone());
        let place = match asked.path.as_str() {
            "/.well-known/openid-configuration" => Place::Discovery,
            "/keys" => Place::Keys,
            "/device" => Place::Device,
            "/token" => Place::Token,
            _ => return Answer::Wrong(How::Missing),
        };
        match (self.fault, place) {
            (Fault::At(there, how), _) if there == place => Answer::Wrong(how),
            (_, Place::Discovery) => Answer::Json(200, self.discovery()),
            (_, Place::Keys) => Answer::Json(200, self.key_set()),
            (_, Place::Device) => self.begin(),
            (_, Place::Token) => match asked.field("refresh_token") {
                Some(token) => self.refreshed(token),
                None => self.polled(asked.field("device_code").unwrap_or_default()),
            },
        }
    }

    fn begin(&mut self) -> Answer {
        self.count += 1;
        let code =
            Code { user: format!("WDJB-{:04}", self.count), device: self.secret("device"), ruling: None };
        let answer = self.invitation(&code);
        self.codes.push(code);
        answer
    }

    fn polled(&mut self, device: &str) -> Answer {
        let Some(at) = self.codes.iter().position(|code| code.device == device) else {
            return refusal("invalid_grant");
        };
        if let Some(refused) = self.refused_poll() {
            return refused;
        }
        if self.waits && self.codes[at].ruling.is_none() {
            return refusal("authorization_pending");
        }
        let claims = match self.codes.swap_remove(at).ruling {
            Some(Ruling::Denied) => return refusal("access_denied"),
            Some(Ruling::Confirmed(claims)) => claims,
            None => self.claims.clone(),
        };
        let mut tokens = self.tokens(&claims);
        if self.refresh != Refresh::NotGiven {
            let refresh = self.secret("refresh");
            tokens["refresh_token"] = json!(refresh);
            self.refreshers.push(Refresher { token: refresh, claims });
        }
        Answer::Json(200, tokens)
    }

    fn refreshed(&mut self, token: &str) -> Answer {
        self.refreshed_with.push(token.to_owned());
        let Some(at) = self.refreshers.iter().position(|known| known.token == token) else {
            return refusal("invalid_grant");
        };
        let mut claims = self.refreshers[at].claims.clone();
        let hers = claims["sub"].as_str().and_then(|subject| self.refresh_of.get(subject));
        let refresh = hers.copied().unwrap_or(self.refresh);
        match refresh {
            Refresh::Refused => return refusal("invalid_grant"),
            Refresh::Error(code) => return refusal(code),
            Refresh::Troubled => return Answer::Wrong(How::Troubled),
            Refresh::Busy(seconds) => return Answer::Later(seconds),
            Refresh::Broken => return Answer::Json(500, json!({ "error": TAINT })),
            Refresh::Unreadable => return Answer::Wrong(How::Html),
            Refresh::Missing => return Answer::Wrong(How::Missing),
            Refresh::Cut => return Answer::Wrong(How::Cut),
            Refresh::Silence => return Answer::Wrong(How::Silence),
            Refresh::OtherSubject => claims["sub"] = json!(TAINT),
            Refresh::NoGroups => claims["groups"] = json!([]),
            Refresh::Good | Refresh::WithoutIdToken | Refresh::Rotated | Refresh::NotGiven => {}
        }
        let mut tokens = self.tokens(&claims);
        match (refresh, tokens.as_object_mut()) {
            (Refresh::WithoutIdToken, Some(fields)) => drop(fields.remove("id_token")),
            (Refresh::Rotated, Some(fields)) => {
                let new = self.secret("refresh");
                self.refreshers[at].token.clone_from(&new);
                fields.insert("refresh_token".into(), json!(new));
            }
            _ => {}
        }
        Answer::Json(200, tokens)
    }

    /// A text that must never be seen outside of the exchange.
    fn secret(&mut self, kind: &str) -> String {
        self.count += 1;
        let secret = format!("{kind}-secret-{}", self.count);
        self.secrets.push(secret.clone());
        secret
    }
}

fn refusal(code: &str) -> Answer {
    Answer::Json(400, json!({ "error": code, "error_description": format!("{TAINT}\u{1b}[2J") }))
}

#[cfg(test)]
mod tests;
