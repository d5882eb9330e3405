//! What is refused in a policy file, and how.
#![allow(missing_docs, clippy::unwrap_used)]

use gate::Policy;

/// Each line: a rule (or more) that is wrong, the fault that is found, and the way out.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "groups = ['sre-oncal']",
        r#"policy.toml:6: rule "r" is about group "sre-oncal", and no group has that name"#,
        "\"sre-oncall\"",
    ),
    (
        "groups = ['finance']",
        r#"policy.toml:6: rule "r" is about group "finance", and no group has that name"#,
        "add it to [groups]: finance = { provider = \"...\" }, or finance = [\"alice\"]",
    ),
    (
        "users = ['a b']",
        r#"policy.toml:6: rule "r" has "a b" among its users, which can match no name"#,
        "letters, digits, '.', '_', '-', and the wildcards '*' and '?'",
    ),
    (
        "users = []",
        r#"policy.toml:6: rule "r" has an empty list of users, and would never match"#,
        "leave it out, or use [\"*\"]",
    ),
    (
        "users = 'alice'",
        r#"policy.toml:6: invalid type: string "alice", expected a sequence"#,
        "a list: ['alice']",
    ),
    (
        "users = ['*']\nlongest = 8",
        "policy.toml:7: invalid type: integer `8`, expected a string",
        "in quotes: \"8\"; a length of time with its unit, as in \"8m\"",
    ),
    ("user = ['*']", r#"policy.toml:6: unknown key "user""#, "\"users\""),
    (
        "users = ['*']\nchannels = ['termnal']",
        r#"policy.toml:7: rule "r" is about channels of kind "termnal", and there is no such kind"#,
        "\"terminal\"",
    ),
    (
        "users = ['*']\nlongest = '8 hours'",
        r#"policy.toml:7: rule "r" has "8 hours" as longest, which is no length of time"#,
        "\"90s\", \"30m\", \"8h\" or \"1h30m\", up to 366d",
    ),
    (
        "users = ['*']\nlongest = '99999999999999999999h'",
        r#"policy.toml:7: rule "r" has "99999999999999999999h" as longest, which is no length of time"#,
        "\"90s\", \"30m\", \"8h\" or \"1h30m\", up to 366d",
    ),
    (
        "users = ['*']\nwhen = { hours = ['8-18'], zone = 'UTC' }",
        r#"policy.toml:7: rule "r" has "8-18" among its hours"#,
        "\"08:00-18:00\", or \"22:00-06:00\" for a night",
    ),
    (
        "users = ['*']\nwhen = { days = ['weekend'], zone = 'UTC' }",
        r#"policy.toml:7: rule "r" has "weekend" among its days"#,
        "\"mon\", or \"mon-fri\"",
    ),
    (
        "users = ['*']\nwhen = { zone = 'Europe/Berlim' }",
        r#"policy.toml:7: rule "r" has "Europe/Berlim" as time zone, and no time zone is called so"#,
        "\"Europe/Berlin\"",
    ),
    ("users = ['*']\nwhen = { days = ['mon'] }", "policy.toml:7: missing field `zone`", "add that key"),
    (
        "users = ['*']\nlogins = ['app']\nlogin = 'root'",
        r#"policy.toml:8: rule "r" has "root" as its login, and its own logins do not admit that"#,
        "add \"root\" to its logins",
    ),
    (
        "users = ['*']\nlabels = { env = '' }",
        r#"policy.toml:7: rule "r" has "" among its labels, which can match no name"#,
        "1 to 128 printable characters; '*' for any value",
    ),
    (
        "",
        r#"policy.toml:3: rule "r" does not say who it is about"#,
        "groups = [\"...\"], or users = [\"*\"] for everybody",
    ),
    (
        "users = ['*']\n[[rule]]\nname = 'r'\naction = 'deny'\nusers = ['*']",
        r#"policy.toml:8: rule "r" does not say which targets it is about"#,
        "labels = { env = \"...\" }, or targets = [\"*\"] for all",
    ),
    (
        "users = ['*']\n[[rule]]\nname = 'r'\naction = 'deny'\nusers = ['*']\ntargets = ['*']",
        r#"policy.toml:8: two rules are called "r", the other one in line 3"#,
        "another name",
    ),
    (
        "users = ['*']\n[[rule]]\nname = 'd'\naction = 'deny'\nusers = ['*']\ntargets = ['*']\nidle = '1h'",
        r#"policy.toml:12: rule "d" denies, so its idle means nothing"#,
        "leave it out, or put it into a rule that allows",
    ),
    (
        "users = ['*']\n[[rule]]\nname = 'd'\naction = 'denny'\nusers = ['*']",
        r#"policy.toml:9: rule "d" has "denny" as its action"#,
        "\"deny\"",
    ),
    ("users = ['*']\n[[rules]]\nname = 'd'", r#"policy.toml:7: unknown key "rules""#, "\"rule\""),
    (
        "users = ['*']\n[[rule]]\nname = '../x'\naction = 'deny'\nusers = ['*']",
        r#"policy.toml:8: "../x" is no name for a rule"#,
        "letters, digits, '.', '_' and '-', for example \"sre-office-hours\"",
    ),
    ("users = [", "policy.toml:6: unclosed array, expected `]`", "see docs/policy.md"),
];

#[test]
fn every_fault_has_file_line_value_and_way_out() {
    for (lines, fault, way_out) in WRONG {
        let text = format!(
            "groups.sre-oncall = ['bea']\n[[rule]]\nname = 'r'\naction = 'allow'\ntargets = ['*']\n{lines}\n"
        );
        let found = Policy::parse(&text, "policy.toml").unwrap_err();
        assert_eq!((found.to_string().as_str(), found.way_out.as_str()), (*fault, *way_out), "{text}");
    }
}

#[test]
fn a_group_that_nobody_can_be_in_is_refused() {
    let fault = |text: &str| Policy::parse(text, "policy.toml").unwrap_err().to_string();
    assert_eq!(
        fault("[groups]\nsre = []\n"),
        r#"policy.toml:2: group "sre" has neither members nor a group of the provider"#
    );
    assert_eq!(
        fault("[groups]\nsre = ['a/b']\n"),
        r#"policy.toml:2: group "sre" has "a/b" as member, which is no name of a person"#
    );
    assert_eq!(fault("[groups]\nsre = { providr = 'x' }\n"), r#"policy.toml:2: unknown key "providr""#);
    assert_eq!(
        fault("[groups]\nsre = 7\n"),
        "policy.toml:2: invalid type: integer `7`, expected a list of names, or a table with `members` and `provider`"
    );
}

#[test]
fn a_file_beyond_all_measure_is_refused_unread() {
    let fault = Policy::parse(&"#".repeat(2 << 20), "policy.toml").unwrap_err();
    assert_eq!(fault.to_string(), "policy.toml:1: the file has 2097152 bytes, and at most 1048576 are read");
}

/// Lines of a rule that are wrong (they begin in line 6), the fault that is found, and the way out.
const WRONG_CONDITIONS: &[(&str, &str, &str)] = &[
    (
        "from = ['office']",
        r#"policy.toml:6: rule "r" has "office" among its from, which is no network"#,
        r#""10.0.0.0/8", "2001:db8::/32", or one address: "192.0.2.7""#,
    ),
    (
        "from = ['10.0.0.0/8',\n'10.0.0.0/33']",
        r#"policy.toml:7: rule "r" has "10.0.0.0/33" among its from, which is no network"#,
        "a prefix of at most /32, which is one address",
    ),
    (
        "from = ['2001:db8::/129']",
        r#"policy.toml:6: rule "r" has "2001:db8::/129" among its from, which is no network"#,
        "a prefix of at most /128, which is one address",
    ),
    (
        "from = ['10.1.2.3/8']",
        r#"policy.toml:6: rule "r" has "10.1.2.3/8" among its from, and bits of it are set beyond its prefix"#,
        r#""10.0.0.0/8""#,
    ),
    (
        "from = ['2001:db8::1/32']",
        r#"policy.toml:6: rule "r" has "2001:db8::1/32" among its from, and bits of it are set beyond its prefix"#,
        r#""2001:db8::/32""#,
    ),
    (
        "from = []",
        r#"policy.toml:6: rule "r" has an empty list of from, and would never match"#,
        "name at least one, or leave it out",
    ),
    (
        "from = '10.0.0.0/8'",
        r#"policy.toml:6: invalid type: string "10.0.0.0/8", expected a sequence"#,
        "a list: ['10.0.0.0/8']",
    ),
    (
        "max_age = '0s'",
        r#"policy.toml:6: rule "r" has "0s" as max_age, which is no length of time"#,
        r#""90s", "30m", "8h" or "1h30m", up to 366d"#,
    ),
    (
        "amr = []",
        r#"policy.toml:6: rule "r" has an empty list of amr, and would never match"#,
        "name at least one, or leave it out",
    ),
    (
        "amr = ['mfa', '']",
        r#"policy.toml:6: rule "r" has "" among its amr, which no provider says"#,
        "1 to 256 printable characters, as the provider writes them",
    ),
    (
        "acr = [\"a\\u0007\"]",
        r#"policy.toml:6: rule "r" has "a\u{7}" among its acr, which no provider says"#,
        "1 to 256 printable characters, as the provider writes them",
    ),
    (
        "unless = {}",
        r#"policy.toml:6: rule "r" makes an exception of everything, and would never match"#,
        r#"say what is excepted, as in unless = { groups = ["..."] }, or leave it out"#,
    ),
    (
        "unless = [{ users = ['bea'] },\n{ users = ['bea', '*'], logins = ['**'] }]",
        r#"policy.toml:7: rule "r" makes an exception of everything, and would never match"#,
        r#"say what is excepted, as in unless = { groups = ["..."] }, or leave it out"#,
    ),
    (
        "unless = []",
        r#"policy.toml:6: rule "r" has an empty list of unless, and would never match"#,
        "leave it out",
    ),
    (
        "unless = 'bea'",
        "policy.toml:6: invalid type: string \"bea\", expected a table of what the rule is not about, or a list of such tables",
        "see docs/policy.md",
    ),
    ("unless = { user = ['bea'] }", r#"policy.toml:6: unknown key "user""#, r#""users""#),
    (
        "unless = { longest = '1h' }",
        r#"policy.toml:6: unknown key "longest""#,
        "one of users, groups, targets, labels, logins, channels, when, from, max_age, amr, acr",
    ),
    (
        "unless = { groups = ['sre'] }",
        r#"policy.toml:6: rule "r" is about group "sre", and no group has that name"#,
        r#"add it to [groups]: sre = { provider = "..." }, or sre = ["alice"]"#,
    ),
    (
        "unless = [{ users = ['bea'] },\n{ from = ['10.0.0.1/8'] }]",
        r#"policy.toml:7: rule "r" has "10.0.0.1/8" among its from, and bits of it are set beyond its prefix"#,
        r#""10.0.0.0/8""#,
    ),
];

#[test]
fn every_fault_of_conditions_and_exceptions_has_line_value_and_way_out() {
    for (lines, fault, way_out) in WRONG_CONDITIONS {
        let text =
            format!("[[rule]]\nname = 'r'\naction = 'deny'\nusers = ['*']\ntargets = ['*']\n{lines}\n");
        let found = Policy::parse(&text, "policy.toml").unwrap_err();
        assert_eq!((found.to_string().as_str(), found.way_out.as_str()), (*fault, *way_out), "{lines}");
    }
}
