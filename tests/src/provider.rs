//! A real OpenID Connect provider (npm's `oidc-provider`), and a hand on its browser page.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::npm;

/// Node needs a second or two on a quiet machine; a test machine is seldom quiet.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A loopback request that takes longer has met a bug.
const CONTROL_TIME_MAX: Duration = Duration::from_secs(20);

/// A provider on a free loopback port. Dropping it ends the program.
pub struct Provider {
    child: Mutex<Child>,
    issuer: String,
    control: String,
    /// What it knows, so that it knows it again after [`Provider::kill`].
    folder: TempDir,
}

/// How the provider behaves from now on.
#[derive(Clone, Copy, Debug)]
pub enum Sky {
    /// As it should.
    Clear,
    /// Every connection is cut.
    Down,
    /// Every request is answered with 503.
    Troubled,
    /// Requests are taken and never answered.
    Hanging,
    /// The same, and what they ask for is done: a code is used up, and its tokens are lost on the way.
    Mute,
}

/// Someone who signs in, as the provider knows her.
pub struct Person {
    /// Her lasting id.
    pub sub: &'static str,
    /// Her name (`preferred_username`).
    pub name: &'static str,
    /// Her groups.
    pub groups: &'static [&'static str],
}

/// The one whom most tests are about.
pub const ALICE: Person = Person { sub: "7f3a", name: "alice", groups: &["sre"] };

/// The other one.
pub const BEA: Person = Person { sub: "9c41", name: "bea", groups: &["reviewers"] };

/// What the provider has seen so far.
pub struct Seen {
    /// How often it was asked for anything, whatever the sky.
    pub requests: u64,
    /// When it was polled: milliseconds since it began.
    pub polls: Vec<u64>,
    /// How often its keys were fetched.
    pub key_sets: u64,
    /// How often a refresh token was used.
    pub refreshes: u64,
    /// Device codes, ID tokens, access and refresh tokens that it gave out.
    pub secrets: Vec<String>,
    /// Device codes that were given out and not used up.
    pub pending: u64,
}

impl Provider {
    /// Starts it; fetches what `tests/oidc/package-lock.json` names if that is not here yet.
    pub fn start() -> Provider {
        npm::install(&home());
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (child, told) = run(&folder, ["0", "0"]);
        let text = |field: &str| {
            told.get(field).and_then(Value::as_str).expect("the provider prints both addresses").to_owned()
        };
        Provider { issuer: text("issuer"), control: text("control"), child: Mutex::new(child), folder }
    }

    /// Kills it as a power cut would. Nothing listens at its port then.
    ///
    /// # Panics
    /// If it runs no more.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("no test has failed here");
        child.kill().expect("the provider runs");
        child.wait().expect("a killed program ends");
    }

    /// Starts it again after [`Provider::kill`], at the same address. Of what it has seen it knows nothing any more.
    pub fn start_again(&self) {
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let (issuer, control) = (port(&self.issuer), port(&self.control));
        *self.child.lock().expect("no test has failed here") = run(&self.folder, [&issuer, &control]).0;
    }

    /// Its issuer address. Its client is called `bastion` and has no secret.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `person` confirms `user_code`.
    pub fn approve(&self, user_code: &str, person: &Person) {
        let claims = json!({
            "sub": person.sub, "preferred_username": person.name, "groups": person.groups,
            "email": format!("{}@example.org", person.name), "email_verified": true,
        });
        self.approve_as(user_code, claims);
    }

    /// Somebody with these claims confirms `user_code`.
    pub fn approve_as(&self, user_code: &str, claims: Value) {
        self.order("approve", json!({ "user_code": user_code, "person": claims }));
    }

    /// She says no.
    pub fn deny(&self, user_code: &str) {
        self.order("deny", json!({ "user_code": user_code }));
    }

    /// Nobody came in time.
    pub fn expire(&self, user_code: &str) {
        self.order("expire", json!({ "user_code": user_code }));
    }

    /// From now on ID tokens are signed with a new key, and the old one is gone from the key set.
    pub fn rotate_keys(&self, algorithm: &str) {
        self.order("rotate", json!({ "alg": algorithm }));
    }

    /// She has left: the provider vouches for her no more.
    pub fn leaves(&self, subject: &str) {
        self.order("person", json!({ "sub": subject, "gone": true }));
    }

    /// The provider says this of her from now on, beside what it said before.
    pub fn changes(&self, subject: &str, mut claims: Value) {
        claims["sub"] = subject.into();
        self.order("person", claims);
    }

    /// Whether it takes the bastion for a client that it does not know.
    pub fn refuses_us(&self, refuses: bool) {
        self.order("weather", json!({ "refusing": refuses }));
    }

    /// The next polls are answered with `slow_down`.
    pub fn slow_down(&self, times: u32) {
        self.order("weather", json!({ "slowDown": times }));
    }

    /// What the provider says between two polls should lie: seconds.
    pub fn interval(&self, seconds: u64) {
        self.order("weather", json!({ "interval": seconds }));
    }

    /// How long new codes are good: seconds.
    pub fn lifetime(&self, seconds: u64) {
        self.order("weather", json!({ "lifetime": seconds }));
    }

    /// Whether it answers at all.
    pub fn sky(&self, sky: Sky) {
        self.order("weather", json!({ "sky": format!("{sky:?}").to_lowercase() }));
    }

    /// What it has seen.
    pub fn seen(&self) -> Seen {
        let seen = self.order("seen", json!({}));
        let list = |field: &str| seen.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let number = |field: &str| seen.get(field).and_then(Value::as_u64).unwrap_or_default();
        Seen {
            requests: number("requests"),
            polls: list("polls").iter().filter_map(Value::as_u64).collect(),
            key_sets: number("keySets"),
            refreshes: number("refreshes"),
            secrets: list("secrets").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            pending: number("pending"),
        }
    }

    fn order(&self, what: &str, order: Value) -> Value {
        let body = order.to_string();
        let mut line = TcpStream::connect(&self.control).expect("the control port is open");
        line.set_read_timeout(Some(CONTROL_TIME_MAX)).expect("a time-out can be set");
        write!(
            line,
            "POST /{what} HTTP/1.1\r\nHost: control\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("the control port reads");
        let mut answer = String::new();
        line.read_to_string(&mut answer).expect("the control port answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("the control port speaks HTTP");
        assert!(head.starts_with("HTTP/1.1 200"), "{what} {order}: {body}");
        // Node sends a short body in one chunk: its length, the text, an empty chunk.
        let json = body.lines().find(|line| line.starts_with('{')).unwrap_or("{}");
        serde_json::from_str(json).expect("the control port answers with JSON")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Already gone is as good as killed.
        child.kill().unwrap_or_default();
        child.wait().map(drop).unwrap_or_default();
    }
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc")
}

/// Starts the program at these ports; gives back what it tells once it listens.
fn run(folder: &TempDir, ports: [&str; 2]) -> (Child, Value) {
    let mut child = Command::new("node")
        .arg("provider.mjs")
        .arg(folder.path().join("known"))
        .args(ports)
        .current_dir(home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null()) // its warnings about plain http and node's age
        .spawn()
        .expect("node is installed");
    let out = child.stdout.take().expect("stdout is a pipe");
    let told =
        first_line(out).unwrap_or_else(|| panic!("the provider did not start within {START_TIME_MAX:?}"));
    (child, serde_json::from_str(&told).expect("the provider prints JSON"))
}

fn first_line(out: impl Read + Send + 'static) -> Option<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(out).read_line(&mut line);
        // Nobody listens any more once the time is up.
        tell.send(read.ok().filter(|n| *n > 0).map(|_| line)).unwrap_or_default();
    });
    told.recv_timeout(START_TIME_MAX).ok().flatten()
}
