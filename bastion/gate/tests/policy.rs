//! What a policy allows, what it denies, and how it is refused.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{any::*, *};
use gate::{Decision, Denial, Name, Opening, Policy, Principal, Reachable, Target, Why};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../../policy.toml");

fn production_web() -> gate::Target {
    target("web1", &[("env", "production")], &["deploy", "readonly", "root"])
}

#[test]
fn the_shipped_policy_is_a_policy_and_does_what_its_comments_say() {
    let policy = policy(EXAMPLE);
    let dev = || person("ana", &["developers"]);

    let by_default = granted(&policy, &request(person("bea", &[]), production_web(), terminal()));
    assert_eq!((by_default.rule(), by_default.login().as_str()), ("sre-everywhere", "deploy"));
    assert_eq!(by_default.limits().longest, Some(Duration::from_secs(12 * 3600)));

    let look = granted(&policy, &request(dev(), production_web(), terminal()));
    assert_eq!((look.rule(), look.login().as_str()), ("dev-look-at-web", "readonly"));
    assert_eq!(
        denied(&policy, &request(dev(), production_web(), subsystem("sftp"))).why(),
        &Why::Channel(subsystem("sftp").kind())
    );
    let mut at_night = request(dev(), production_web(), terminal());
    at_night.now += 12 * 3600;
    assert_eq!(
        denied(&policy, &at_night).to_string(),
        "rule dev-look-at-web holds mon,tue,wed,thu,fri 08:00-18:00 Europe/Berlin only"
    );

    let database = target("db1", &[("role", "database")], &["postgres", "root"]);
    let root = as_login(request(person("zoe", &["sre"]), database, terminal()), "root");
    assert_eq!(denied(&policy, &root).why(), &Why::Denied(name("no-root-on-databases")));

    let upload = target("dropbox", &[], &["upload"]);
    assert_eq!(
        granted(&policy, &request(person("dan", &[]), upload.clone(), subsystem("sftp"))).rule(),
        "contractors-upload"
    );
    denied(&policy, &request(person("dan", &[]), upload, terminal()));
}

#[test]
fn a_policy_without_rules_allows_nothing() {
    let denial = denied(&policy(""), &request(person("alice", &["sre"]), production_web(), terminal()));
    assert_eq!(denial.why(), &Why::NoRule);
    assert_eq!(denial.may_be_told(), None);
}

#[test]
fn of_the_rules_that_allow_the_tightest_limits_hold_in_any_order() {
    let long = "[[rule]]\nname = 'long'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\nlongest = '8h'\nidle = '5m'\n";
    let short = "[[rule]]\nname = 'short'\naction = 'allow'\nusers = ['alice']\ntargets = ['web?']\nlongest = '1h30m'\n";
    for text in [format!("{long}{short}"), format!("{short}{long}")] {
        let grant = granted(&policy(&text), &request(person("alice", &[]), production_web(), terminal()));
        assert_eq!(grant.limits().longest, Some(Duration::from_secs(5400)));
        assert_eq!(grant.limits().idle, Some(Duration::from_secs(300)));
    }
}

#[test]
fn people_are_compared_in_small_letters() {
    let rule = |who: &str| format!("[[rule]]\nname = 'r'\naction = 'allow'\n{who}\ntargets = ['*']\n");
    for text in [rule("users = ['Al*E']"), format!("[groups]\nsre = ['ALICE']\n{}", rule("groups = ['sre']"))]
    {
        granted(&policy(&text), &request(person("alice", &[]), production_web(), terminal()));
    }
}

#[test]
fn a_login_must_be_the_targets_and_a_rules() {
    let policy = policy(
        "[[rule]]\nname = 'r'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\nlogins = ['deploy', 'ghost']\n",
    );
    let asked = |login: &str| as_login(request(person("alice", &[]), production_web(), terminal()), login);
    assert_eq!(granted(&policy, &asked("deploy")).login().as_str(), "deploy");
    assert_eq!(denied(&policy, &asked("ghost")).why(), &Why::UnknownLogin(name("ghost")));
    assert_eq!(denied(&policy, &asked("root")).why(), &Why::Login(name("root")));
}

#[test]
fn without_a_login_the_rules_is_meant_then_the_targets_then_the_only_one() {
    let rule = |more: &str| {
        policy(&format!("[[rule]]\nname = 'r'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n{more}"))
    };
    let mut plain = request(person("alice", &[]), production_web(), terminal());
    assert_eq!(granted(&rule("login = 'readonly'"), &plain).login().as_str(), "readonly");
    assert_eq!(granted(&rule(""), &plain).login().as_str(), "deploy");
    assert_eq!(granted(&rule("logins = ['re*']"), &plain).login().as_str(), "readonly");
    plain.target.default_login = None;
    assert_eq!(denied(&rule(""), &plain).why(), &Why::NoLogin);
}

#[test]
fn where_no_rule_lets_on_to_a_target_the_login_that_nobody_asked_for_is_not_the_reason() {
    let why = |text: &str| {
        let mut plain = request(person("alice", &[]), production_web(), terminal());
        plain.target.default_login = None;
        denied(&policy(text), &plain).why().clone()
    };
    let rule = |name: &str, action: &str, who: &str| {
        format!("[[rule]]\nname = '{name}'\naction = '{action}'\nusers = ['{who}']\ntargets = ['*']\n")
    };
    assert_eq!(why(&rule("r", "allow", "bea")), Why::NoRule);
    assert_eq!(why(&(rule("r", "allow", "*") + &rule("never", "deny", "*"))), Why::Denied(name("never")));
    assert_eq!(why(&(rule("r", "allow", "*") + &rule("never", "deny", "bea"))), Why::NoLogin);
}

#[test]
fn channels_are_told_apart_by_their_request_and_not_by_their_words() {
    let only = |kind: &str| {
        policy(&format!(
            "[[rule]]\nname = 'r'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\nchannels = ['{kind}']\n"
        ))
    };
    let with_terminal = Opening { pty: terminal().pty, ..exec("sftp") };
    let openings = [
        terminal(),
        shell(),
        exec("/usr/lib/openssh/sftp-server"),
        with_terminal,
        subsystem("sftp"),
        subsystem("netconf"),
    ];
    let admitted = |kind: &str| -> Vec<bool> {
        let decide = |opening: &Opening| {
            only(kind).decide(&request(person("alice", &[]), production_web(), opening.clone()))
        };
        openings.iter().map(|opening| matches!(decide(opening), Decision::Allow(_))).collect()
    };
    assert_eq!(admitted("terminal"), [true, false, false, false, false, false]);
    assert_eq!(admitted("shell"), [false, true, false, false, false, false]);
    assert_eq!(admitted("exec"), [false, false, true, true, false, false]);
    assert_eq!(admitted("subsystem"), [false, false, false, false, true, true]);
    assert_eq!(admitted("sftp"), [false, false, false, false, true, false]);
    assert_eq!(admitted("subsystem:netconf"), [false, false, false, false, false, true]);
}

#[test]
fn a_target_that_is_forbidden_reads_to_the_caller_like_one_that_does_not_exist() {
    let policy = policy(EXAMPLE);
    let stranger = denied(&policy, &request(person("mallory", &[]), production_web(), terminal()));
    assert_eq!(stranger.may_be_told(), Denial::unknown_target().may_be_told());
    assert_eq!(stranger.why(), &Why::NoRule, "the log knows");

    let dev = as_login(request(person("ana", &["dev"]), production_web(), terminal()), "root");
    assert_eq!(denied(&policy, &dev).may_be_told(), Some(&Why::Login(name("root"))));

    let dev = as_login(request(person("ana", &["dev"]), production_web(), terminal()), "nologin");
    assert_eq!(denied(&policy, &dev).may_be_told(), Some(&Why::UnknownLogin(name("nologin"))));
}

#[test]
fn a_target_that_is_denied_altogether_is_hidden_again() {
    let text = "[[rule]]\nname = 'a'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n\
                [[rule]]\nname = 'd'\naction = 'deny'\nusers = ['mallory']\ntargets = ['web1']\n";
    let denial = denied(&policy(text), &request(person("mallory", &[]), production_web(), terminal()));
    assert_eq!((denial.why(), denial.may_be_told()), (&Why::Denied(name("d")), None));
}

#[test]
fn a_list_of_targets_shows_what_may_be_reached_now_and_nothing_else() {
    let policy = policy(EXAMPLE);
    let targets = [
        production_web(),
        target("web2", &[("env", "staging-2")], &["app", "root"]),
        target("dropbox", &[], &["upload"]),
    ];

    let reachable = policy.reachable(&person("ana", &["dev"]), &targets, FRIDAY_NOON);
    let names: Vec<&str> = reachable.iter().map(|one| one.target.name.as_str()).collect();
    assert_eq!(names, ["web1", "web2"]);
    assert_eq!(reachable[0].logins, [name("readonly")]);
    assert_eq!(reachable[0].default_login, Some(name("readonly")));
    assert_eq!(reachable[0].kinds, [terminal().kind(), exec("x").kind()]);
    assert_eq!(reachable[1].logins, [name("app")]);

    let on_sunday = FRIDAY_NOON + 2 * 86_400;
    assert_eq!(policy.reachable(&person("ana", &["dev"]), &targets, on_sunday).len(), 1);
    assert_eq!(policy.reachable(&person("mallory", &[]), &targets, FRIDAY_NOON), []);
}

#[test]
fn an_explanation_names_the_rule_and_why_each_other_one_did_not_match() {
    let policy = policy(EXAMPLE);
    let look = request(person("ana", &["dev"]), production_web(), terminal());
    let explanation = policy.explain(&look);

    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["decision"], "allow");
    assert_eq!(json["rule"], "dev-look-at-web");
    assert_eq!(json["longest_s"], 7200);
    assert_eq!(json["asked"]["login"], "readonly");
    assert_eq!(json["rules"].as_array().unwrap().len(), 5);
    assert_eq!(json["rules"][2]["matches"], true);
    let because = json["rules"][0]["because"].to_string();
    assert_eq!(because, r#"["it is not about ana"]"#);
    let line = usize::try_from(json["rules"][2]["line"].as_u64().unwrap()).unwrap();
    assert_eq!(EXAMPLE.lines().nth(line - 1), Some("name = \"dev-look-at-web\""));

    let text = policy.explain(&as_login(look, "root")).to_string();
    assert!(
        text.starts_with("deny: ana to root@web1, terminal: no rule lets this caller in as root\n"),
        "{text}"
    );
}

#[test]
fn a_policy_is_read_aloud_rule_by_rule() {
    let sentences: Vec<String> = policy(EXAMPLE).sentences().collect();
    assert_eq!(
        sentences[2],
        "dev-look-at-web: group dev may reach target web* with env=production, as readonly, by terminal or exec, \
         mon,tue,wed,thu,fri 08:00-18:00 Europe/Berlin, for at most 2 hours, idle for at most 15 minutes"
    );
}

#[test]
fn a_rule_that_matches_no_target_is_pointed_out() {
    let policy = policy(EXAMPLE);
    let targets = [production_web()];
    let idle: Vec<&str> = policy.rules_without_target(&targets).map(|(rule, _)| rule).collect();
    assert_eq!(idle, ["dev-outside-production", "contractors-upload", "no-root-on-databases"]);
}

/// A login that a rule may mean.
fn any_login() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, None, Some("root"), Some("deploy"), Some("elsewhere")])
}

fn any_target() -> impl Strategy<Value = Target> {
    let machine = prop::sample::select(vec![("web1", "production"), ("db1", "staging"), ("web2", "prod-2")]);
    let logins = prop::sample::select(vec![
        &["deploy", "root"][..],
        &["root"],
        &["developer", "root", "deploy"],
        &["guest"],
    ]);
    (machine, logins, prop::option::of(0usize..3)).prop_map(|((called, env), logins, usual)| Target {
        default_login: usual.and_then(|usual| logins.get(usual)).map(|login| name(login)),
        ..target(called, &[("env", env)], logins)
    })
}

/// The definition of a list, asked the long way round: a login is open by a kind of channel if a rule that allows
/// matches, as `explain` tells, and none that denies does. `own` is the `login` of each rule.
fn reachable_slowly<'a>(
    policy: &Policy,
    own: &[Option<Name>],
    principal: &Principal,
    targets: &'a [Target],
    now: i64,
) -> Vec<Reachable<'a>> {
    let openings = [terminal(), shell(), exec("x"), subsystem("sftp"), subsystem("netconf")];
    let mut all = vec![];
    for target in targets {
        let matching = |login: &Name, opening: &Opening| -> Vec<(&'static str, bool)> {
            let asked = request(principal.clone(), target.clone(), opening.clone());
            let explained = policy.explain(&gate::Request { login: Some(login.clone()), now, ..asked });
            explained.rules.iter().map(|rule| (rule.action, rule.matches)).collect()
        };
        let mut found = Reachable { target, logins: vec![], default_login: None, kinds: vec![] };
        for (login, opening) in target.logins.iter().flat_map(|l| openings.iter().map(move |o| (l, o))) {
            let rules = matching(login, opening);
            if !rules.contains(&("deny", true)) && rules.contains(&("allow", true)) {
                found.logins.extend((!found.logins.contains(login)).then(|| login.clone()));
                found.kinds.extend((!found.kinds.contains(&opening.kind())).then(|| opening.kind()));
            }
        }
        let meant = |opening: &Opening| {
            own.iter().enumerate().find_map(|(number, own)| {
                let admits = |login: &&Name| matching(login, opening).get(number) == Some(&("allow", true));
                let admitted: Vec<&Name> = target.logins.iter().filter(admits).collect();
                let named = [own.as_ref(), target.default_login.as_ref()].into_iter().flatten();
                let only = admitted.iter().copied().filter(|_| admitted.len() == 1);
                named.chain(only).find(|login| admitted.contains(login)).cloned()
            })
        };
        found.default_login = openings.iter().find_map(meant).filter(|login| found.logins.contains(login));
        all.extend((!found.logins.is_empty()).then_some(found));
    }
    all
}

#[test]
fn a_list_knows_every_kind_of_channel_however_many_rules_name() {
    let kinds: Vec<String> = (0..130).map(|number| format!("'subsystem:s{number}'")).collect();
    let rule = |action: &str, channels: &[String]| {
        format!(
            "[[rule]]\nname = '{action}'\naction = '{action}'\nusers = ['*']\ntargets = ['*']\nchannels = [{}]\n",
            channels.join(", ")
        )
    };
    let policy = policy(&format!("{}{}", rule("allow", &kinds[1..]), rule("deny", &kinds[..129])));
    let targets = [production_web()];

    let listed = policy.reachable(&person("alice", &[]), &targets, FRIDAY_NOON);
    assert_eq!(listed[0].kinds, [subsystem("s129").kind()]);
}

proptest! {
    #[test]
    fn one_more_deny_rule_never_lets_more_through(
        allow in prop::collection::vec(any_rule(0, "allow"), 0..3),
        deny in prop::collection::vec(any_rule(0, "deny"), 0..2),
        more in any_rule(0, "deny"),
        at in 0usize..6,
        request in any_request(),
    ) {
        let numbered = |rules: &[String]| -> String {
            let name = |(number, rule): (usize, &String)| rule.replacen("'r0'", &format!("'r{number}'"), 1);
            "groups.sre = { provider = 'sre' }\n".chars().chain(rules.iter().enumerate().flat_map(|(n, r)| name((n, r)).chars().collect::<Vec<_>>())).collect()
        };
        let mut rules: Vec<String> = allow.into_iter().chain(deny).collect();
        let before = policy(&numbered(&rules)).decide(&request);
        rules.insert(at.min(rules.len()), more);
        let after = policy(&numbered(&rules)).decide(&request);

        match (before, after) {
            (Decision::Deny(_), Decision::Allow(grant)) => prop_assert!(false, "now allowed as {}", grant.login()),
            (Decision::Allow(before), Decision::Allow(after)) => {
                prop_assert_eq!(before.login(), after.login());
                prop_assert_eq!(before.limits(), after.limits());
            }
            _ => {}
        }
    }

    #[test]
    fn what_is_listed_is_what_is_decided(rules in prop::collection::vec(any_rule(0, "allow"), 0..3), deny in any_rule(9, "deny"), request in any_request()) {
        let text: String = rules.iter().enumerate().map(|(n, rule)| rule.replacen("'r0'", &format!("'r{n}'"), 1)).collect();
        let policy = policy(&format!("groups.sre = {{ provider = 'sre' }}\n{text}{deny}"));
        let targets = [request.target.clone()];
        let listed = policy.reachable(&request.principal, &targets, request.now);
        if let Decision::Allow(grant) = policy.decide(&request) {
            prop_assert!(listed.iter().any(|one| one.logins.contains(grant.login()) && one.kinds.contains(&request.opening.kind())));
        }
        prop_assert_eq!(policy.explain(&request).decision == "allow", matches!(policy.decide(&request), Decision::Allow(_)));
    }

    #[test]
    fn the_list_is_what_asking_about_each_login_by_each_channel_would_find(
        rules in prop::collection::vec((prop::bool::ANY, any_rule(0, "ACTION"), any_login()), 0..6),
        targets in prop::collection::vec(any_target(), 1..4),
        request in any_request(),
        beyond_all_calendars in prop::bool::weighted(0.2),
    ) {
        let now = if beyond_all_calendars { i64::MAX } else { request.now };
        let mut text = "groups.sre = { provider = 'sre' }\n".to_owned();
        let mut own: Vec<Option<Name>> = vec![];
        for (number, (allows, rule, login)) in rules.into_iter().enumerate() {
            let action = if allows { "allow" } else { "deny" };
            text += &rule.replacen("'r0'", &format!("'r{number}'"), 1).replacen("ACTION", action, 1);
            // Refused where the rule admits no such login, or denies.
            let line = login.map(|login| format!("login = '{login}'\n")).unwrap_or_default();
            let login = login.filter(|_| Policy::parse(&format!("{text}{line}"), "policy.toml").is_ok());
            text.push_str(if login.is_some() { &line } else { "" });
            own.push(login.map(name));
        }
        text += "[[rule]]\nname = 'net'\naction = 'allow'\nusers = ['al*']\ntargets = ['*']\n\
                 channels = ['subsystem:netconf']\nunless = { logins = ['root'] }\n";
        own.push(None);
        let policy = policy(&text);

        let listed = policy.reachable(&request.principal, &targets, now);
        let slowly = reachable_slowly(&policy, &own, &request.principal, &targets, now);
        prop_assert_eq!(listed, slowly, "{}", text);
    }

    #[test]
    fn any_text_is_a_policy_or_a_fault_and_never_a_panic(text in "\\PC{0,200}") {
        if let Err(fault) = Policy::parse(&text, "policy.toml") {
            prop_assert!(fault.line >= 1 && !fault.way_out.is_empty());
        }
    }
}

#[test]
fn the_examples_of_the_documentation_are_policies_and_name_every_key() {
    let text = include_str!("../../../docs/policy.md");
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 4);
    examples.iter().for_each(|example| drop(policy(example)));

    let fault = Policy::parse("[[rule]]\nxyzzyxyzzy = 1\n", "policy.toml").unwrap_err();
    let sign_in = Policy::parse("[[sign_in]]\nxyzzyxyzzy = 1\n", "policy.toml").unwrap_err();
    let of_both = [&fault, &sign_in].map(|fault| fault.way_out.trim_start_matches("one of ").split(", "));
    for key in of_both.into_iter().flatten().chain(["days", "hours", "zone", "members", "provider"]) {
        assert!(text.contains(&format!("| `{key}` |")), "{key} is not described");
    }
}
