//! What one decision costs, in a large policy and in a small one: `cargo run --release -p gate --example decision_speed`.
//!
//! 500 rules and 10,000 targets against 5 rules and as many targets. Half of the rules deny, every other one has an
//! exception, and only the last one allows, so that every rule is asked. The clock is read here: the gate itself is
//! told the time.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use gate::{Decision, Name, Opening, Opens, Policy, Principal, Pty, Request, Target};

const TARGETS: usize = 10_000;
const LARGE: usize = 500;
const SMALL: usize = 5;

/// Each figure is the best of so many rounds: what else the machine does only adds.
const ROUNDS: usize = 5;

fn main() {
    let (large, small) = (policy(LARGE), policy(SMALL));
    let targets: Vec<Target> = (0..TARGETS).map(target).collect();
    let (of_large, of_small) = (decision(&large, &targets), decision(&small, &targets));
    println!("one decision, {SMALL} rules: {:.2} us", micros(of_small));
    println!(
        "one decision, {LARGE} rules: {:.2} us, {:.0} times as much for {} times the rules",
        micros(of_large),
        of_large.as_secs_f64() / of_small.as_secs_f64(),
        LARGE / SMALL
    );
    let (of_large, of_small) = (listing(&large, &targets), listing(&small, &targets));
    println!("the list of {TARGETS} targets, {SMALL} rules: {:.1} ms", micros(of_small) / 1e3);
    println!(
        "the list of {TARGETS} targets, {LARGE} rules: {:.1} ms, {:.0} times as much",
        micros(of_large) / 1e3,
        of_large.as_secs_f64() / of_small.as_secs_f64()
    );
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// One decision about each target, and what one of them took.
fn decision(policy: &Policy, targets: &[Target]) -> Duration {
    let requests: Vec<Request> = targets.iter().cloned().map(request).collect();
    let decide_all = || {
        let allowed = requests.iter().filter(|request| matches!(policy.decide(request), Decision::Allow(_)));
        assert_eq!(black_box(allowed.count()), TARGETS, "the last rule allows it");
    };
    best(decide_all) / u32::try_from(TARGETS).expect("it is 10,000")
}

fn listing(policy: &Policy, targets: &[Target]) -> Duration {
    let principal = request(target(0)).principal;
    best(|| assert_eq!(black_box(policy.reachable(&principal, targets, 0).len()), TARGETS))
}

fn best(mut run: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    });
    times.min().unwrap_or_default().max(Duration::from_nanos(1))
}

/// As policies are: each rule about a group and some targets, many with conditions.
fn policy(rules: usize) -> Policy {
    let mut text = String::new();
    for number in 0..rules - 1 {
        let action = if number % 2 == 0 { "deny" } else { "allow" };
        let what = match number % 4 {
            0 => "targets = ['*-db-*']",
            1 => "labels = { team = 'team-1?' }",
            2 => "targets = ['web*']\nlogins = ['root']\nunless = { groups = ['oncall'], max_age = '15m' }",
            _ => {
                "targets = ['web*']\nfrom = ['10.0.0.0/8', '2001:db8::/32']\nunless = { targets = ['web99*'] }"
            }
        };
        text.push_str(&format!(
            "[[rule]]\nname = 'rule-{number}'\naction = '{action}'\ngroups = ['staff', 'team-{}']\n{what}\n",
            number % 20
        ));
    }
    text.push_str("[[rule]]\nname = 'last'\naction = 'allow'\nusers = ['alice']\ntargets = ['*']\n");
    text.push_str("[groups]\noncall = ['bea']\nstaff = { provider = 'staff' }\n");
    (0..20).for_each(|team| text.push_str(&format!("team-{team} = {{ provider = 'team-{team}' }}\n")));
    Policy::parse(&text, "policy.toml").expect("a policy")
}

fn target(number: usize) -> Target {
    Target {
        name: name(&format!("web{number}")),
        address: "127.0.0.1".to_owned(),
        port: 22,
        labels: [("team".to_owned(), format!("team-{}", number % 10))].into(),
        logins: vec![name("deploy"), name("root")],
        default_login: Some(name("deploy")),
        key: name("default"),
    }
}

fn request(target: Target) -> Request {
    let pty = Pty { term: "xterm".to_owned(), cols: 80, rows: 24, ..Pty::default() };
    Request {
        principal: Principal {
            issuer: "https://id.example".to_owned(),
            subject: "1".to_owned(),
            name: name("alice"),
            email: None,
            groups: ["staff".to_owned(), "team-3".to_owned()].into(),
            source: [127, 0, 0, 1].into(),
            key: None,
            signed_in_at: 0,
            amr: Default::default(),
            acr: None,
            certificate: None,
        },
        target,
        login: None,
        opening: Opening { pty: Some(pty), env: vec![], refused: vec![], opens: Opens::Shell },
        now: 0,
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}
