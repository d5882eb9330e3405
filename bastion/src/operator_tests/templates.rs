//! What `bastion init` writes.

use gate::Policy;

use super::*;

/// The examples in a file, each a table behind "# ", as they read without it.
fn examples(text: &str) -> Vec<String> {
    let mut examples: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        let bare = line.strip_prefix("# ");
        is_inside = bare.is_some_and(|bare| is_inside || bare.starts_with('['));
        match (bare, examples.last_mut()) {
            (Some(bare), _) if bare.starts_with('[') => examples.push(format!("{bare}\n")),
            (Some(bare), Some(example)) if is_inside => example.push_str(&format!("{bare}\n")),
            _ => {}
        }
    }
    examples
}

/// The example without what is said to be a default.
fn needed_of(example: &str, needed: &[&str]) -> String {
    let is_needed = |line: &&str| {
        line.starts_with('[') || needed.iter().any(|key| line.starts_with(&format!("{key} = ")))
    };
    example.lines().filter(is_needed).flat_map(|line| [line, "\n"]).collect()
}

/// What stands behind a "# " in the settings that init writes is said to be the default.
#[test]
fn the_settings_that_init_writes_say_the_true_defaults() {
    let bench = Bench::new();
    let text = fs::read_to_string(bench.path("b/bastion.toml")).unwrap();
    let load = || Settings::load(&bench.path("b/bastion.toml")).unwrap();
    let as_written = load();
    let without = ["client_secret_file", "ca_file", "authorities_file", "banner", "[targets"];
    let mut uncommented = String::new();
    for line in text.lines().take_while(|line| !line.starts_with("# Targets stand here")) {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key = bare
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        let is_default = is_key && !without.iter().any(|key| bare.starts_with(key));
        uncommented += if is_default { bare } else { line };
        uncommented += "\n";
    }
    assert!(uncommented.matches("\n# ").count() < text.matches("\n# ").count() - 20, "{uncommented}");
    fs::write(bench.path("b/bastion.toml"), uncommented).unwrap();

    let spelt_out = load();
    let [as_written, spelt_out] = [as_written, spelt_out].map(|read| Settings { read: Vec::new(), ..read });
    assert_eq!(format!("{as_written:?}"), format!("{spelt_out:?}"));
}

#[test]
fn the_examples_of_targets_and_providers_can_be_taken_as_they_are_and_say_the_true_defaults() {
    let bench = Bench::new();
    let text = fs::read_to_string(bench.path("b/bastion.toml")).unwrap();
    let load = |more: &str| {
        fs::write(bench.path("b/bastion.toml"), format!("{text}\n{more}")).unwrap();
        Settings { read: Vec::new(), ..Settings::load(&bench.path("b/bastion.toml")).unwrap() }
    };
    let examples = examples(&text);
    let [web1, partner] = examples.as_slice() else { panic!("{examples:?}") };

    let settings = load(&examples.concat());
    assert_eq!((settings.targets.len(), settings.login.more.len()), (1, 1));
    for (example, needed) in [
        (web1, &["address", "logins", "default_login", "labels"][..]),
        (partner, &["users", "issuer", "client_id"]),
    ] {
        let needed = needed_of(example, needed);
        assert!(needed.lines().count() + 5 <= example.lines().count(), "{example}");
        assert_eq!(format!("{:?}", load(&needed)), format!("{:?}", load(example)));
    }
}

#[test]
fn the_example_of_a_sign_in_rule_can_be_taken_as_it_is_and_says_the_true_defaults() {
    let bench = Bench::new();
    let text = fs::read_to_string(bench.path("b/policy.toml")).unwrap();
    let examples = examples(&text);
    let [rule] = examples.as_slice() else { panic!("{examples:?}") };
    let read = |more: &str| -> Vec<String> {
        Policy::parse(&format!("{text}\n{more}"), "policy.toml").unwrap().sentences().collect()
    };

    let whole = read(rule);
    assert!(
        whole
            .last()
            .unwrap()
            .starts_with("admins-short: group sre may have keys that sign in alone for 1 hour")
    );
    assert_eq!(whole, read(&needed_of(rule, &["name", "groups", "binding", "from"])));
    let nothing: Vec<&str> =
        rule.lines().filter(|line| !line.starts_with("binding") && !line.starts_with("from")).collect();
    let fault = Policy::parse(&format!("{text}\n{}", nothing.join("\n")), "policy.toml").unwrap_err();
    assert!(fault.to_string().contains("says nothing"), "{fault}");
}
