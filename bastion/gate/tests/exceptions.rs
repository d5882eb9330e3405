//! What a rule makes an exception of, and what it asks of a caller's place and sign-in.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{any::*, *};
use gate::{Decision, Notice, Policy, Principal, Request, Target, Unmet, Wanted, Why};
use proptest::prelude::*;

/// One rule for everybody and everywhere, called `r`, with more lines.
fn rule(action: &str, more: &str) -> String {
    format!("[[rule]]\nname = 'r'\naction = '{action}'\nusers = ['*']\ntargets = ['*']\n{more}\n")
}

const OTHERS: &str = "[[rule]]\nname = 'others'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n";

fn web1() -> Target {
    target("web1", &[("env", "production")], &["deploy", "root"])
}

fn asked_by(principal: Principal) -> Request {
    request(principal, web1(), terminal())
}

fn alice() -> Principal {
    person("alice", &["sre"])
}

fn signed_in_ago(seconds: i64) -> Request {
    asked_by(Principal { signed_in_at: FRIDAY_NOON - seconds, ..alice() })
}

fn is_allowed(policy: &Policy, request: &Request) -> bool {
    matches!(policy.decide(request), Decision::Allow(_))
}

/// What the caller reads.
fn told(policy: &Policy, request: &Request) -> String {
    let denial = denied(policy, request);
    Notice::Denied { target: request.target.name.clone(), denial }.to_string()
}

/// Exceptions of a rule for everybody; and who wants what, as whom, and whether one of them fits.
#[test]
fn an_exception_takes_its_rule_out_where_all_of_its_parts_fit() {
    let bea = || asked_by(person("bea", &[]));
    let by_exec = request(alice(), web1(), exec("ls"));
    let on_sunday = Request { now: FRIDAY_NOON + 2 * 86_400, ..bea() };
    for (unless, request, excepted) in [
        ("unless = { users = ['b*'] }", bea(), true),
        ("unless = { users = ['b*'] }", asked_by(alice()), false),
        ("unless = { groups = ['sre'] }", asked_by(alice()), true),
        ("unless = { groups = ['sre'], users = ['bea'] }", bea(), true),
        ("unless = { targets = ['web*'] }", bea(), true),
        ("unless = { targets = ['db*'] }", bea(), false),
        ("unless = { labels = { env = 'prod*' } }", bea(), true),
        ("unless = { labels = { env = 'prod*', role = '*' } }", bea(), false),
        ("unless = { logins = ['root'] }", as_login(bea(), "root"), true),
        ("unless = { logins = ['root'] }", as_login(bea(), "deploy"), false),
        ("unless = { channels = ['exec'] }", by_exec.clone(), true),
        ("unless = { channels = ['exec'], users = ['bea'] }", by_exec, false),
        ("unless = { when = { days = ['sun'], zone = 'UTC' } }", on_sunday, true),
        ("unless = { when = { days = ['sun'], zone = 'UTC' } }", bea(), false),
        ("unless = { from = ['127.0.0.0/8'] }", bea(), true),
        ("unless = { max_age = '1s' }", bea(), true),
        ("unless = { amr = ['mfa'] }", bea(), false),
        ("unless = [{ users = ['zoe'] }, { targets = ['web1'] }]", bea(), true),
        ("unless = [{ users = ['zoe'] }, { targets = ['web2'] }]", bea(), false),
        ("[[rule.unless]]\nusers = ['zoe']\n[[rule.unless]]\nusers = ['bea']", bea(), true),
        ("[rule.unless]\nusers = ['bea']", bea(), true),
    ] {
        let groups = "groups.sre = { provider = 'sre' }\n";
        let allow = policy(&format!("{groups}{}", rule("allow", unless)));
        assert_eq!(is_allowed(&allow, &request), !excepted, "allow {unless}");
        let deny = policy(&format!("{groups}{OTHERS}{}", rule("deny", unless)));
        assert_eq!(is_allowed(&deny, &request), excepted, "deny {unless}");
    }
}

#[test]
fn a_deny_rule_that_steps_aside_allows_nothing_itself() {
    let alone = policy(&rule("deny", "unless = { users = ['alice'] }"));
    assert_eq!(denied(&alone, &asked_by(alice())).why(), &Why::NoRule);

    let two = policy(&format!("{OTHERS}{}", rule("deny", "unless = { users = ['alice'] }")));
    assert_eq!(granted(&two, &asked_by(alice())).rule(), "others");
    assert_eq!(denied(&two, &asked_by(person("bea", &[]))).why(), &Why::Denied(name("r")));
}

#[test]
fn a_call_comes_from_a_network_however_its_address_is_written() {
    let policy = policy(&rule("allow", "from = ['10.0.0.0/8', '2001:db8::/32', '192.0.2.7']"));
    for (source, allowed) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("11.1.2.3", false),
        ("::ffff:11.1.2.3", false),
        ("2001:db8:7::1", true),
        ("2001:db9::1", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("::", false),
        ("0.0.0.0", false),
    ] {
        let request = asked_by(Principal { source: source.parse().unwrap(), ..alice() });
        assert_eq!(is_allowed(&policy, &request), allowed, "{source}");
    }
}

#[test]
fn a_sign_in_is_fresh_up_to_the_last_second_of_max_age_and_never_in_the_future() {
    let policy = policy(&rule("allow", "max_age = '15m'"));
    for (seconds, fresh) in [
        (0, true),
        (899, true),
        (900, true),
        (901, false),
        (-1, false),
        (i64::MAX, false),
        (-1_000_000, false),
    ] {
        assert_eq!(is_allowed(&policy, &signed_in_ago(seconds)), fresh, "{seconds} s ago");
    }
    let before_all_time = asked_by(Principal { signed_in_at: i64::MIN, ..alice() });
    assert!(!is_allowed(&policy, &before_all_time));
}

#[test]
fn one_of_the_ways_of_signing_in_is_enough_and_a_level_is_met_exactly() {
    let signed_in = |amr: &[&str], acr: Option<&str>| {
        let amr = amr.iter().map(|way| way.to_string()).collect();
        asked_by(Principal { amr, acr: acr.map(str::to_owned), ..alice() })
    };
    let by = policy(&rule("allow", "amr = ['mfa', 'hwk']"));
    for (amr, allowed) in
        [(&["pwd", "mfa"][..], true), (&["hwk"], true), (&["pwd"], false), (&["MFA"], false), (&[], false)]
    {
        assert_eq!(is_allowed(&by, &signed_in(amr, None)), allowed, "{amr:?}");
    }
    let at = policy(&rule("allow", "acr = ['urn:example:gold', 'phrh']"));
    for (acr, allowed) in [
        (Some("urn:example:gold"), true),
        (Some("phrh"), true),
        (Some("urn:example:golden"), false),
        (None, false),
    ] {
        assert_eq!(is_allowed(&at, &signed_in(&["mfa"], acr)), allowed, "{acr:?}");
    }
}

/// Beyond every calendar: a deny rule holds there, its exception does not, and of an allow rule it is the other way.
#[test]
fn a_time_that_no_calendar_knows_opens_nothing() {
    let sometime = "when = { days = ['mon-sun'], zone = 'UTC' }";
    let beyond = Request { now: i64::MAX, ..asked_by(alice()) };
    for text in [
        rule("allow", sometime),
        rule("allow", &format!("unless = {{ {sometime} }}")),
        format!("{OTHERS}{}", rule("deny", sometime)),
        format!("{OTHERS}{}", rule("deny", &format!("unless = {{ {sometime} }}"))),
    ] {
        assert!(!is_allowed(&policy(&text), &beyond), "{text}");
    }
}

/// Lines of the one rule that would allow; what the log says of it; and what is in the way, as the caller reads it.
const DENIED: &[(&str, &str, &str)] = &[
    (
        "max_age = '15m'",
        "rule r wants a sign-in at most 15 minutes old; this one is 2 h old",
        "denied: no rule lets you in on web1 with a sign-in older than 15 minutes; sign in again: \
         ssh -o PubkeyAuthentication=no -o ControlPath=none ...",
    ),
    (
        "max_age = '7199s'",
        "rule r wants a sign-in at most 7199 seconds old; this one is 2 h old",
        "denied: no rule lets you in on web1 with a sign-in older than 7199 seconds; sign in again: \
         ssh -o PubkeyAuthentication=no -o ControlPath=none ...",
    ),
    (
        "from = ['10.0.0.0/8', '192.0.2.7']",
        "rule r wants a call from 10.0.0.0/8 or 192.0.2.7; this one comes from 127.0.0.1",
        "denied: no rule lets you in on web1 from 127.0.0.1; `:targets` lists what you may reach",
    ),
    (
        "from = ['10.0.0.0/8']\nmax_age = '15m'",
        "rule r wants a call from 10.0.0.0/8; this one comes from 127.0.0.1",
        "denied: no rule lets you in on web1 from 127.0.0.1; `:targets` lists what you may reach",
    ),
    (
        "amr = ['mfa', 'hwk']",
        "rule r wants a sign-in by mfa or hwk (amr); this one was by otp and pwd",
        "denied: no rule lets you in on web1 after this kind of sign-in; `:targets` lists what you may reach",
    ),
    (
        "acr = ['urn:example:gold']",
        "rule r wants a sign-in at level urn:example:gold (acr); this one was at none",
        "denied: no rule lets you in on web1 after this kind of sign-in; `:targets` lists what you may reach",
    ),
    (
        "when = { days = ['sun'], zone = 'UTC' }",
        "rule r holds sun 00:00-24:00 UTC only",
        "denied: no rule lets you in on web1 at this time; `:targets` lists what you may reach",
    ),
    (
        "unless = [{ users = ['zoe'] }, { channels = ['terminal'] }]",
        "rule r is taken out by its exception 2 (line 6): by terminal",
        "denied: no rule lets you in on web1 in this way; `:targets` lists what you may reach",
    ),
    (
        "unless = { users = ['al*'], targets = ['web*'] }",
        "rule r is taken out by its exception 1 (line 6): user al*, target web*",
        "denied: there is no target web1 that you may reach; `:targets` lists what you may reach",
    ),
];

#[test]
fn the_log_names_the_one_rule_and_what_it_wants_and_the_caller_what_she_can_do() {
    let amr = ["otp", "pwd"].map(str::to_owned).into();
    let request = asked_by(Principal { amr, signed_in_at: FRIDAY_NOON - 7200, ..alice() });
    for (lines, log, caller) in DENIED {
        let policy = policy(&rule("allow", lines));
        assert_eq!(denied(&policy, &request).to_string(), *log, "{lines}");
        assert_eq!(told(&policy, &request), *caller, "{lines}");
    }
}

#[test]
fn an_age_is_told_to_the_second() {
    let policy = policy(&rule("allow", "max_age = '15m'"));
    for (seconds, told) in
        [(901, "is 15 min 1 s old"), (93_784, "is 1 d 2 h 3 min 4 s old"), (-1, "lies in the future")]
    {
        let why = denied(&policy, &signed_in_ago(seconds)).to_string();
        assert_eq!(why, format!("rule r wants a sign-in at most 15 minutes old; this one {told}"));
    }
}

#[test]
fn a_stranger_is_told_nothing_of_a_rule_that_is_not_about_him() {
    let text = "[[rule]]\nname = 'r'\naction = 'allow'\nusers = ['alice']\ntargets = ['web1']\n";
    let stranger = asked_by(Principal { signed_in_at: 0, ..person("mallory", &[]) });
    for more in ["", "max_age = '15m'", "from = ['10.0.0.0/8']", "amr = ['mfa']", "acr = ['gold']"] {
        let denial = denied(&policy(&format!("{text}{more}")), &stranger);
        assert_eq!((denial.why(), denial.may_be_told()), (&Why::NoRule, None), "{more}");
    }
}

/// Which rules there are beside one that allows everything, and whether alice may know of web1.
#[test]
fn whether_a_target_is_shown_takes_exceptions_into_account() {
    let late = Request { login: Some(name("root")), ..signed_in_ago(7200) };
    for (text, shown) in [
        (format!("{OTHERS}{}", rule("deny", "")), false),
        (format!("{OTHERS}{}", rule("deny", "unless = { max_age = '15m' }")), true),
        (format!("{OTHERS}{}", rule("deny", "unless = { users = ['bea'] }")), false),
        (format!("{OTHERS}{}", rule("deny", "logins = ['*']")), false),
        (format!("{OTHERS}{}", rule("deny", "max_age = '3h'")), true),
        (rule("allow", "unless = { logins = ['*'], users = ['alice'] }"), false),
        (rule("allow", "unless = { logins = ['root'] }"), true),
    ] {
        assert_eq!(denied(&policy(&text), &late).may_be_told().is_some(), shown, "{text}");
    }
}

#[test]
fn of_two_rules_that_lack_one_thing_each_an_exception_is_named_last() {
    let excepted = "[[rule]]\nname = 'e'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\nunless = { users = ['alice'] }\n";
    let text = format!("{excepted}{}", rule("allow", "max_age = '15m'"));
    let denial = denied(&policy(&text), &signed_in_ago(1000));
    assert!(
        matches!(denial.why(), Why::Unmet { rule, unmet: Unmet::Age { .. } } if rule.as_str() == "r"),
        "{denial}"
    );
}

#[test]
fn a_login_that_is_excepted_is_not_the_one_that_is_meant() {
    let mut request = asked_by(alice());
    request.target.default_login = None;
    let meant = |more: &str| granted(&policy(&rule("allow", more)), &request).login().clone();
    assert_eq!(meant("unless = { logins = ['root'] }"), name("deploy"));
    assert_eq!(meant("login = 'root'"), name("root"));
    assert_eq!(meant("login = 'root'\nunless = { logins = ['root'] }"), name("deploy"));
}

#[test]
fn a_list_of_targets_leaves_out_what_an_exception_takes() {
    let policy = policy(&rule("allow", "unless = { labels = { env = 'prod*' }, logins = ['root'] }"));
    let targets = [web1(), target("web2", &[], &["root"])];
    let reachable = policy.reachable(&alice(), &targets, FRIDAY_NOON);
    assert_eq!(reachable[0].logins, [name("deploy")]);
    assert_eq!(reachable[1].logins, [name("root")]);
}

#[test]
fn an_explanation_names_the_exception_that_took_a_rule_out_in_text_and_in_json() {
    let text = rule("allow", "unless = [{ users = ['zoe'] },\n{ targets = ['web*'], max_age = '15m' }]");
    let policy = policy(&text);

    let explanation = policy.explain(&asked_by(alice()));
    assert_eq!(
        explanation.to_string(),
        "deny: alice to deploy@web1, terminal: rule r is taken out by its exception 2 (line 7): target web*, with a \
         sign-in at most 15 minutes old\n     3  r (allow): it is taken out by its exception 2 (line 7): target web*, \
         with a sign-in at most 15 minutes old\n"
            .replace("     3  r", "     2  r")
    );
    let json = serde_json::to_value(&explanation).unwrap();
    let of_rule = &json["rules"][0];
    assert_eq!((&of_rule["rule"], &of_rule["matches"]), (&"r".into(), &false.into()));
    assert_eq!(of_rule["exceptions"][0]["because"][0], "it is not about alice");
    let second = serde_json::json!({
        "number": 2, "line": 7, "says": "target web*, with a sign-in at most 15 minutes old", "matches": true, "because": [],
    });
    assert_eq!(of_rule["exceptions"][1], second);
}

#[test]
fn an_explanation_of_a_rule_that_matches_says_why_its_exceptions_do_not() {
    let text = format!("{OTHERS}{}", rule("deny", "unless = { users = ['alice'], max_age = '15m' }"));
    let said = policy(&text).explain(&signed_in_ago(901)).to_string();
    assert!(
        said.ends_with(
            "     7  r (deny): matches\n    11    exception 1 does not: it wants a sign-in at most 15 minutes old; \
             this one is 15 min 1 s old\n"
        ),
        "{said}"
    );
}

#[test]
fn an_explanation_tells_what_was_asked_of_place_and_sign_in() {
    let policy = policy(&rule("allow", "from = ['10.0.0.0/8']"));
    let mut nowhere = signed_in_ago(600);
    nowhere.principal.source = "::".parse().unwrap();
    let json = serde_json::to_value(policy.explain(&nowhere)).unwrap();
    assert_eq!(
        (&json["asked"]["from"], &json["asked"]["signed_in_ago_s"]),
        (&serde_json::Value::Null, &600.into())
    );
    assert_eq!(json["why"], "rule r wants a call from 10.0.0.0/8; this one comes from an unknown address");

    nowhere.principal.source = "::ffff:10.1.2.3".parse().unwrap();
    let json = serde_json::to_value(policy.explain(&nowhere)).unwrap();
    assert_eq!((&json["asked"]["from"], &json["decision"]), (&"10.1.2.3".into(), &"allow".into()));
}

#[test]
fn a_policy_knows_what_its_rules_and_exceptions_ask_for() {
    let all = [Wanted::Source, Wanted::Age, Wanted::Amr, Wanted::Acr];
    let wanted = |lines: &str| all.map(|one| policy(&rule("allow", lines)).wants(one));
    assert_eq!(wanted(""), [false; 4]);
    assert_eq!(wanted("from = ['10.0.0.1']\nunless = { amr = ['pwd'] }"), [true, false, true, false]);
    assert_eq!(
        wanted("acr = ['x']\nunless = [{ users = ['a'] }, { max_age = '1h' }]"),
        [false, true, false, true]
    );
}

#[test]
fn an_exception_that_fits_no_target_is_pointed_out() {
    let text =
        rule("allow", "unless = [{ targets = ['valut'] },\n{ targets = ['web1'] }, { users = ['zoe'] }]");
    let policy = policy(&text);
    let idle: Vec<_> = policy.exceptions_without_target(&[]).collect();
    assert_eq!(idle, [("r", 1, 6), ("r", 2, 7), ("r", 3, 7)]);
    let targets = [web1()];
    let idle: Vec<_> = policy.exceptions_without_target(&targets).collect();
    assert_eq!(idle, [("r", 1, 6)]);
}

#[test]
fn conditions_and_exceptions_are_read_aloud() {
    let text = rule(
        "allow",
        "from = ['10.0.0.0/8', '::ffff:192.0.2.7']\nmax_age = '90m'\namr = ['mfa', 'hwk']\nacr = ['gold']\nidle = '5m'\n\
         unless = [{ users = ['zoe'], logins = ['root'] }, { labels = { env = 'prod' }, channels = ['exec', 'sftp'] }]",
    );
    assert_eq!(
        policy(&text).sentences().next().unwrap(),
        "r: user * may reach target *, as any login, by any channel, from 10.0.0.0/8 or 192.0.2.7, signed in by mfa or \
         hwk, signed in at level gold, with a sign-in at most 90 minutes old, idle for at most 5 minutes; except user zoe, \
         as root; except with env=prod, by exec or sftp"
    );
}

#[test]
fn the_shipped_policy_lets_who_is_on_call_be_root_on_a_database_after_a_new_sign_in() {
    let policy = policy(include_str!("../../../policy.toml"));
    let database = target("db1", &[("role", "database")], &["postgres", "root"]);
    let bea = Principal { source: "10.9.8.7".parse().unwrap(), ..person("bea", &[]) };
    let mut root = as_login(request(bea, database, terminal()), "root");
    assert_eq!(granted(&policy, &root).limits().longest, Some(Duration::from_secs(12 * 3600)));

    root.now += 901;
    assert_eq!(denied(&policy, &root).why(), &Why::Denied(name("no-root-on-databases")));
}

proptest! {
    #[test]
    fn an_exception_narrows_a_rule_by_exactly_what_it_says(
        rule in any_rule(0, "allow"),
        exception in any_exception(),
        request in any_request(),
    ) {
        let groups = "groups.sre = { provider = 'sre' }\n";
        let plain: String = rule.lines().filter(|line| !line.starts_with("unless")).map(|line| format!("{line}\n")).collect();
        let request = Request { login: Some(request.login.unwrap_or(name("root"))), ..request };
        // The same words as a rule of their own, which needs to say who and where.
        let is_there = |keys: [&str; 2]| exception.iter().any(|part| keys.iter().any(|key| part.starts_with(key)));
        let who = if is_there(["users", "groups"]) { "" } else { "users = ['*']\n" };
        let place = if is_there(["targets", "labels"]) { "" } else { "targets = ['*']\n" };
        let itself = format!("[[rule]]\nname = 'e'\naction = 'allow'\n{who}{place}{}\n", exception.join("\n"));
        let unless = format!("unless = {{ {} }}\n", exception.join(", "));

        let matches = |text: &str| policy(&format!("{groups}{text}")).explain(&request).rules[0].matches;
        prop_assert_eq!(matches(&format!("{plain}{unless}")), matches(&plain) && !matches(&itself));
    }

    /// Of a caller who names her login: which one is meant when she does not, exceptions have a say in.
    #[test]
    fn one_more_exception_of_an_allow_rule_never_lets_more_through_and_of_a_deny_rule_never_less(
        allow in any_rule(0, "allow"),
        deny in any_rule(1, "deny"),
        exception in any_exception(),
        request in any_request(),
    ) {
        let groups = "groups.sre = { provider = 'sre' }\n";
        let plain = |rule: &str| -> String {
            rule.lines().filter(|line| !line.starts_with("unless")).map(|line| format!("{line}\n")).collect()
        };
        let request = Request { login: Some(request.login.unwrap_or(name("root"))), ..request };
        let unless = format!("unless = {{ {} }}\n", exception.join(", "));
        let allows = |text: String| is_allowed(&policy(&format!("{groups}{text}")), &request);

        let before = allows(plain(&allow) + &plain(&deny));
        prop_assert!(before || !allows(plain(&allow) + &unless + &plain(&deny)));
        prop_assert!(!before || allows(plain(&allow) + &plain(&deny) + &unless));
    }

    #[test]
    fn a_denial_is_never_told_where_nothing_could_ever_be_allowed(deny in any_rule(1, "deny"), request in any_request()) {
        let policy = policy(&format!("groups.sre = {{ provider = 'sre' }}\n{deny}"));
        let denial = denied(&policy, &request);
        prop_assert_eq!(denial.may_be_told(), None);
    }
}
