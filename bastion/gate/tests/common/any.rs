//! Any rule, any exception and any request, for laws that hold of all.

use gate::{Principal, Request};
use proptest::prelude::*;

use super::*;

/// A rule called `r` and the number, with any of its parts.
pub fn any_rule(name: usize, action: &'static str) -> impl Strategy<Value = String> {
    let one_of = |words: &'static [&'static str]| prop::sample::select(words);
    let when = one_of(&[
        "",
        "when = { days = ['fri'], zone = 'UTC' }",
        "when = { hours = ['22:00-06:00'], zone = 'UTC' }",
    ]);
    let logins = one_of(&["", "logins = ['root']", "logins = ['de*']"]);
    let channels = one_of(&["", "channels = ['terminal']", "channels = ['exec', 'sftp']"]);
    let who = one_of(&["users = ['*']", "users = ['al*']", "groups = ['sre']", "users = ['bea']"]);
    let targets =
        one_of(&["targets = ['*']", "targets = ['web?']", "labels = { env = 'prod*' }", "targets = ['db1']"]);
    let parts = (who, targets, logins, channels, when, any_condition(), any_unless());
    parts.prop_map(move |(who, targets, logins, channels, when, condition, unless)| {
        format!(
            "[[rule]]\nname = 'r{name}'\naction = '{action}'\n{who}\n{targets}\n{logins}\n{channels}\n{when}\n\
             {condition}\n{unless}\n"
        )
    })
}

pub fn any_request() -> impl Strategy<Value = Request> {
    let who =
        prop::sample::select(vec![("alice", "sre"), ("alice", "none"), ("bea", "sre"), ("zoe", "none")]);
    let where_to = prop::sample::select(vec![("web1", "production"), ("db1", "staging")]);
    let opening = prop::sample::select(vec![terminal(), shell(), exec("ls"), subsystem("sftp")]);
    let login = prop::sample::select(vec![None, Some("root"), Some("deploy"), Some("nobody")]);
    (who, where_to, opening, login, 0..7i64 * 24, any_sign_in()).prop_map(
        |((who, group), (machine, env), opening, login, hour, (source, age, amr))| Request {
            principal: Principal {
                source: source.parse().unwrap(),
                signed_in_at: FRIDAY_NOON + hour * 3600 - age,
                amr: amr.iter().map(|way| way.to_string()).collect(),
                acr: amr.first().map(|_| "strong".to_owned()),
                certificate: None,
                ..person(who, &[group])
            },
            target: target(machine, &[("env", env)], &["deploy", "root"]),
            login: login.map(name),
            opening,
            now: FRIDAY_NOON + hour * 3600,
        },
    )
}

/// Where from, how many seconds after signing in, and how she did that.
fn any_sign_in() -> impl Strategy<Value = (&'static str, i64, &'static [&'static str])> {
    let source = prop::sample::select(vec!["10.1.2.3", "::ffff:10.9.9.9", "192.0.2.7", "2001:db8::1"]);
    let amr: Vec<&[&str]> = vec![&[], &["pwd"], &["hwk", "mfa"]];
    (source, prop::sample::select(vec![-1, 0, 900, 901, 7200]), prop::sample::select(amr))
}

fn any_condition() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "",
        "from = ['10.0.0.0/8']",
        "from = ['192.0.2.7', '2001:db8::/32']",
        "max_age = '15m'",
        "amr = ['mfa', 'pwd']",
        "acr = ['strong']",
    ])
}

/// The parts of an exception, of which each may be left out, but not all.
pub fn any_exception() -> impl Strategy<Value = Vec<&'static str>> {
    let part = |words: &'static [&'static str]| prop::option::weighted(0.3, prop::sample::select(words));
    let parts = (
        part(&["users = ['al*']", "groups = ['sre']", "users = ['bea', 'zoe']"]),
        part(&["targets = ['web?']", "labels = { env = 'prod*' }", "targets = ['db1']"]),
        part(&["logins = ['root']", "logins = ['de*']"]),
        part(&["channels = ['terminal']", "channels = ['exec', 'sftp']"]),
        part(&[
            "when = { days = ['fri'], zone = 'UTC' }",
            "when = { hours = ['22:00-06:00'], zone = 'UTC' }",
        ]),
        any_condition().prop_map(|text| (!text.is_empty()).then_some(text)),
    );
    parts
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].into_iter().flatten().collect::<Vec<_>>())
        .prop_filter("it would except everything", |parts| !parts.is_empty())
}

/// No exception, one, or two.
pub fn any_unless() -> impl Strategy<Value = String> {
    prop::collection::vec(any_exception(), 0..3).prop_map(|all| match all.as_slice() {
        [] => String::new(),
        [one] => format!("unless = {{ {} }}", one.join(", ")),
        several => {
            let tables: Vec<String> = several.iter().map(|one| format!("{{ {} }}", one.join(", "))).collect();
            format!("unless = [{}]", tables.join(", "))
        }
    })
}
