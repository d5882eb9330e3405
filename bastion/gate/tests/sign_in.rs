//! How people may sign in: rules that only ever take away.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::*;
use gate::{NoBinding, Policy, Principal, SignInTerms};

const KEY: &str = "SHA256:k3oqRwxSwC469+GtW3itEHPdjN2dC3dcve7QCabkbp8";

fn with_key(groups: &[&str]) -> Principal {
    Principal { key: Some(KEY.into()), ..person("alice", groups) }
}

fn fault(text: &str) -> (String, String) {
    let fault = Policy::parse(text, "policy.toml").unwrap_err();
    (fault.to_string(), fault.way_out)
}

#[test]
fn a_policy_that_says_nothing_of_it_takes_nothing_away() {
    assert_eq!(policy("").sign_in(&with_key(&["sre"])), SignInTerms::default());
}

#[test]
fn rules_hold_for_those_they_name_and_the_strictest_of_each_kind_counts() {
    let policy = policy(
        "[groups]\nsre = { provider = 'sre' }\n\
         [[sign_in]]\nname = 'short'\ngroups = ['sre']\nbinding = '1h'\none_key = true\n\
         [[sign_in]]\nname = 'shorter'\nusers = ['Al*']\nbinding = '10m'\n\
         [[sign_in]]\nname = 'no-codes'\nusers = ['bea']\ndevice_flow = false\n",
    );
    let alice = policy.sign_in(&with_key(&["sre"]));
    assert_eq!(alice.binding, Some(Duration::from_secs(600)));
    assert_eq!((alice.one_key, alice.no_device_flow, alice.no_binding), (Some(name("short")), None, None));
    assert_eq!(alice.binding_rule, Some(name("shorter")));
    assert_eq!(policy.sign_in(&person("carol", &["sre"])).binding, Some(Duration::from_secs(3600)));
    assert_eq!(policy.sign_in(&person("bea", &[])).no_device_flow, Some(name("no-codes")));
    assert_eq!(policy.sign_in(&person("dan", &[])), SignInTerms::default());
}

#[test]
fn a_key_is_bound_where_and_as_policy_lets_it_and_in_doubt_it_is_not() {
    let never = policy("[[sign_in]]\nname = 'r'\nusers = ['*']\nbinding = '0s'\n");
    assert_eq!(never.sign_in(&with_key(&[])).no_binding, Some(NoBinding::Never(name("r"))));

    let here = policy("[[sign_in]]\nname = 'r'\nusers = ['*']\nfrom = ['10.0.0.0/8']\n");
    assert_eq!(here.sign_in(&with_key(&[])).no_binding, Some(NoBinding::Elsewhere(name("r"))));
    let inside = Principal { source: "::ffff:10.1.2.3".parse().unwrap(), ..with_key(&[]) };
    assert_eq!(here.sign_in(&inside).no_binding, None);

    let listed = |keys: &str| {
        policy(&format!("[[sign_in]]\nname = 'r'\nusers = ['*']\nregistered = true\n{keys}"))
            .sign_in(&with_key(&[]))
            .no_binding
    };
    assert_eq!(listed(&format!("[registered_keys]\nAlice = ['{KEY}']\n")), None);
    let unregistered = Some(NoBinding::Unregistered(name("r")));
    assert_eq!(listed(&format!("[registered_keys]\nbob = ['{KEY}']\n")), unregistered, "another's");
    assert_eq!(listed("[registered_keys]\nalice = []\n"), unregistered);
    assert_eq!(listed(""), unregistered);
}

#[test]
fn a_rule_that_is_wrong_is_refused_with_its_line_and_a_way_out() {
    for (text, line, part, way_out) in [
        ("[[sign_in]]\nname = 'r'\nusers = ['a']\n", 2, "says nothing", "binding = "),
        ("[[sign_in]]\nname = 'r'\none_key = true\n", 2, "does not say who", "users = [\"*\"]"),
        ("[[sign_in]]\nname = 'r'\nusers = ['a']\nbinding = 'soon'\n", 4, "\"soon\"", "never"),
        ("[[sign_in]]\nname = 'r'\ngroups = ['sre']\nbinding = '1h'\n", 3, "\"sre\"", "[groups]"),
        ("[[sign_in]]\nname = 'r'\nusers = ['a']\nfrom = ['10.0.0.1/8']\n", 4, "beyond", "10.0.0.0/8"),
        ("[[sign_in]]\nname = 'r'\nusers = ['a']\nbindings = '1h'\n", 4, "unknown key", "\"binding\""),
        ("[registered_keys]\nalice = ['ssh-ed25519 AAAA']\n", 2, "no key's fingerprint", "ssh-keygen -lf"),
        ("[registered_keys]\n'al ice' = []\n", 2, "no person's name", "signs in with"),
    ] {
        let (fault, way) = fault(text);
        assert!(fault.starts_with(&format!("policy.toml:{line}: ")) && fault.contains(part), "{fault}");
        assert!(way.contains(way_out), "{way}");
    }
    let twice = "[[rule]]\nname = 'r'\naction = 'allow'\nusers = ['*']\ntargets = ['*']\n\
                 [[sign_in]]\nname = 'r'\nusers = ['a']\none_key = true\n";
    assert!(fault(twice).0.contains("two rules are called \"r\""));
}

#[test]
fn how_long_a_key_signs_in_alone_is_explained_with_the_rule_that_says_so() {
    let explained = |policy: &Policy, hours: u64| {
        policy.explain_sign_in(&with_key(&[]), Duration::from_secs(hours * 3600)).to_string()
    };
    let nothing = policy("");
    assert_eq!(
        explained(&nothing, 8),
        "a key signs in alone for 8 hours after the sign-in that bound it, as the settings say"
    );
    assert_eq!(explained(&nothing, 0), "no key signs in alone: the settings let none (login.binding)");

    let rule = |line: &str| policy(&format!("[[sign_in]]\nname = 'r'\nusers = ['*']\n{line}\n"));
    let short = rule("binding = '2h'\none_key = true");
    let said = explained(&short, 8);
    assert!(said.contains("for 2 hours after") && said.contains("as rule r says; a new key ends"), "{said}");
    let said = explained(&short, 1);
    assert!(said.contains("for 1 hour after") && said.contains("as the settings say"), "{said}");
    for (line, why) in [
        ("binding = '0s'", "rule r lets no key sign in alone"),
        ("from = ['10.0.0.0/8']", "rule r lets keys sign in alone from other networks only"),
        ("device_flow = false", "rule r lets her not sign in by a code, by which keys are bound"),
    ] {
        assert_eq!(explained(&rule(line), 8), format!("no key signs in alone: {why}"));
    }
    let told = rule("device_flow = false").explain_sign_in(&with_key(&[]), Duration::from_secs(60));
    assert_eq!((told.by_code, told.binding_s, told.rule.as_deref()), (false, 0, Some("r")));
}

#[test]
fn what_is_registered_or_wanted_in_vain_is_found() {
    let wants = "[[sign_in]]\nname = 'r'\nusers = ['*']\nregistered = true\n";
    let found = |text: &str| {
        let policy = policy(text);
        let rules: Vec<_> =
            policy.rules_without_registered_keys().map(|(rule, line)| (rule.to_owned(), line)).collect();
        (rules, policy.registers_in_vain())
    };
    assert_eq!(found(wants), (vec![("r".to_owned(), 2)], false));
    assert_eq!(found(&format!("{wants}[registered_keys]\nalice = []\n")).0.len(), 1);
    assert_eq!(found(&format!("{wants}[registered_keys]\nalice = ['{KEY}']\n")), (vec![], false));
    assert_eq!(found(&format!("[registered_keys]\nalice = ['{KEY}']\n")), (vec![], true));
    assert_eq!(found(""), (vec![], false));
}

#[test]
fn each_rule_is_read_aloud() {
    let policy = policy(
        "[groups]\nsre = ['a']\n[[sign_in]]\nname = 'r'\nusers = ['bea']\ngroups = ['sre']\ndevice_flow = false\n\
         binding = '90m'\nfrom = ['10.0.0.0/8', '::1']\nregistered = true\none_key = true\n",
    );
    assert_eq!(
        policy.sentences().collect::<Vec<_>>(),
        [
            "r: bea or group sre may not sign in by a code, and may have keys that sign in alone for 90 minutes at most, and may \
          have keys that sign in alone from 10.0.0.0/8 or ::1 only, and may use registered keys alone, and may have one key at a time"
        ]
    );
}
