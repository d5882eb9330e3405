//! How fast output passes a gate, on its own: `cargo run --release -p gate --example throughput`.
//!
//! Plain text in pieces of 32 KiB through a terminal's gate, with nobody typing, with a key typed every piece, and
//! without a terminal. The clock is read here: the gate itself is told the time.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use gate::{
    Decision, FromClient, FromTarget, Gate, Heard, Opening, Opens, Policy, Principal, Pty, Request, Target,
};
use recording::Elapsed;

const PIECE_BYTES: usize = 32 * 1024;
const PIECES: usize = 16 * 1024;

fn main() {
    let coloured =
        "\x1b[0m\x1b[01;34mdirectory\x1b[0m  some-file.txt  \x1b[01;32mprogram\x1b[0m 4096 Jan  1 12:00\r\n";
    let plain = "a line of a log, as programs print them by the million, 2026-11-21 12:00:00\r\n";
    let one_line = "no newline at all, ";
    for (what, text, on_terminal, keys) in [
        ("plain text, terminal, nobody types", plain, true, false),
        ("plain text, no terminal", plain, false, false),
        ("plain text, terminal, a key each 32 KiB", plain, true, true),
        ("coloured text, terminal, a key each 32 KiB", coloured, true, true),
        ("one endless line, terminal, a key each 32 KiB", one_line, true, true),
    ] {
        println!("{what}: {:.0} MB/s", megabytes_per_second(text, on_terminal, keys));
    }
    println!("a key and its echo: {:.1} us", micros_per_key(b"x"));
    println!("a key, and 32 KiB of text until the next one: {:.1} us", micros_per_key(&piece_of(plain)));
    println!(
        "a key, and 32 KiB of coloured text until the next one: {:.1} us",
        micros_per_key(&piece_of(coloured))
    );
}

fn piece_of(text: &str) -> Bytes {
    Bytes::from(text.repeat(PIECE_BYTES / text.len() + 1).into_bytes()).slice(..PIECE_BYTES)
}

/// What a key and the output after it cost, when keys are so rare that the budget for parsing is never spent.
fn micros_per_key(output: &[u8]) -> f64 {
    const KEYS: u64 = 2_000;
    let output = Bytes::copy_from_slice(output);
    let mut gate = gate(true);
    let mut steps = gate.hear(Heard::Begin, Elapsed::ZERO).len();
    let begun = Instant::now();
    for second in 0..KEYS {
        let now = Elapsed::from(Duration::from_secs(second));
        steps += gate.hear(Heard::Client(FromClient::Data(Bytes::from_static(b"x"))), now).len();
        steps += gate.hear(Heard::Target(FromTarget::Data(output.clone())), now).len();
    }
    std::hint::black_box(steps);
    begun.elapsed().as_secs_f64() * 1e6 / KEYS as f64
}

fn megabytes_per_second(text: &str, on_terminal: bool, keys: bool) -> f64 {
    let piece = piece_of(text);
    let mut gate = gate(on_terminal);
    let begun = Instant::now();
    let mut steps = gate.hear(Heard::Begin, Elapsed::ZERO).len();
    for _ in 0..PIECES {
        let now = Elapsed::from(begun.elapsed());
        if keys {
            steps += gate.hear(Heard::Client(FromClient::Data(Bytes::from_static(b"x"))), now).len();
        }
        steps += gate.hear(Heard::Target(FromTarget::Data(piece.clone())), now).len();
    }
    std::hint::black_box(steps);
    let seconds = begun.elapsed().max(Duration::from_micros(1)).as_secs_f64();
    (PIECES * PIECE_BYTES) as f64 / 1e6 / seconds
}

fn gate(on_terminal: bool) -> Gate {
    let rule = "[[rule]]\nname = 'all'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n";
    let policy = Policy::parse(rule, "policy.toml").expect("a policy of one rule");
    let name = |text: &str| text.parse().expect("a name");
    let pty = Pty { term: "xterm".to_owned(), cols: 80, rows: 24, ..Pty::default() };
    let opening =
        Opening { pty: on_terminal.then_some(pty), env: vec![], refused: vec![], opens: Opens::Shell };
    let request = Request {
        principal: Principal {
            issuer: "https://id.example".to_owned(),
            subject: "1".to_owned(),
            name: name("alice"),
            email: None,
            groups: Default::default(),
            source: [127, 0, 0, 1].into(),
            key: None,
            signed_in_at: 0,
            amr: Default::default(),
            acr: None,
            certificate: None,
        },
        target: Target {
            name: name("web1"),
            address: "127.0.0.1".to_owned(),
            port: 22,
            labels: Default::default(),
            logins: vec![name("deploy")],
            default_login: Some(name("deploy")),
            key: name("default"),
        },
        login: None,
        opening: opening.clone(),
        now: 0,
    };
    match policy.decide(&request) {
        Decision::Allow(grant) => Gate::new(grant, opening),
        Decision::Deny(denial) => unreachable!("the one rule allows it: {denial}"),
    }
}
