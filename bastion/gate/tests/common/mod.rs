//! People, targets and requests that the tests of this crate share.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::panic)]

pub mod any;
pub mod bench;

use bytes::Bytes;
use gate::{Decision, Denial, Grant, Name, Opening, Opens, Policy, Principal, Pty, Request, Target};

/// Noon of a Friday, UTC.
pub const FRIDAY_NOON: i64 = 1_795_176_000;

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn policy(text: &str) -> Policy {
    Policy::parse(text, "policy.toml").unwrap()
}

pub fn person(who: &str, groups: &[&str]) -> Principal {
    Principal {
        issuer: "https://id.example".to_owned(),
        subject: format!("sub-{who}"),
        name: name(who),
        email: None,
        groups: groups.iter().map(|group| group.to_string()).collect(),
        source: "127.0.0.1".parse().unwrap(),
        key: None,
        signed_in_at: FRIDAY_NOON,
        amr: Default::default(),
        acr: None,
        certificate: None,
    }
}

pub fn target(called: &str, labels: &[(&str, &str)], logins: &[&str]) -> Target {
    Target {
        name: name(called),
        address: "127.0.0.1".to_owned(),
        port: 22,
        labels: labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        logins: logins.iter().map(|login| name(login)).collect(),
        default_login: logins.first().map(|login| name(login)),
        key: name("default"),
    }
}

pub fn terminal() -> Opening {
    let pty = Pty { term: "xterm-256color".to_owned(), cols: 80, rows: 24, ..Pty::default() };
    Opening { pty: Some(pty), env: vec![], refused: vec![], opens: Opens::Shell }
}

pub fn shell() -> Opening {
    Opening { pty: None, env: vec![], refused: vec![], opens: Opens::Shell }
}

pub fn exec(command: &str) -> Opening {
    Opening {
        pty: None,
        env: vec![],
        refused: vec![],
        opens: Opens::Exec(Bytes::copy_from_slice(command.as_bytes())),
    }
}

pub fn subsystem(called: &str) -> Opening {
    Opening { pty: None, env: vec![], refused: vec![], opens: Opens::Subsystem(called.to_owned()) }
}

pub fn request(principal: Principal, target: Target, opening: Opening) -> Request {
    Request { principal, target, login: None, opening, now: FRIDAY_NOON }
}

pub fn granted(policy: &Policy, request: &Request) -> Grant {
    match policy.decide(request) {
        Decision::Allow(grant) => grant,
        Decision::Deny(denial) => panic!("denied: {denial}"),
    }
}

pub fn denied(policy: &Policy, request: &Request) -> Denial {
    match policy.decide(request) {
        Decision::Allow(grant) => panic!("allowed by {}", grant.rule()),
        Decision::Deny(denial) => denial,
    }
}

pub fn as_login(mut request: Request, login: &str) -> Request {
    request.login = Some(name(login));
    request
}
