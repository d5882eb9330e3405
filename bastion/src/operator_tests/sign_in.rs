//! What the commands say of sign-ins: how long keys are good for, and what cannot be meant as it is written.

use std::{collections::BTreeSet, time::Duration};

use gate::Principal;
use serde_json::Value;

use super::*;
use crate::login::{Binding, Bindings};

const HERS: &str = "SHA256:hershershershershershershershershershersher";
const NOBODYS: &str = "SHA256:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

const SHORT: &str = "\n[[sign_in]]\nname = \"short\"\nusers = [\"alice\"]\nbinding = \"1h\"\n";

/// A second provider, for these names.
fn provider(name: &str, users: &str) -> String {
    format!(
        "\n[login.more.{name}]\nissuer = \"https://{name}.example\"\nclient_id = \"b\"\nusers = [{users}]\n"
    )
}

/// A key of alice's, bound just now for eight hours.
fn bind(bench: &Bench) {
    let now = crate::house::now();
    let principal = Principal {
        issuer: "https://id.example".into(),
        subject: "7".into(),
        name: "alice".parse().unwrap(),
        email: None,
        groups: BTreeSet::new(),
        source: "127.0.0.1".parse().unwrap(),
        key: None,
        signed_in_at: now,
        amr: BTreeSet::new(),
        acr: None,
        certificate: None,
    };
    let binding = Binding::new(HERS.into(), &principal, Duration::from_secs(8 * 3600));
    let bindings = Bindings::open(&bench.path("b/data/state")).unwrap();
    let owner = crate::login::NameOwner::new(&principal.name, "https://id.example", "7", now);
    wait(async {
        bindings.bind(binding, BTreeSet::new(), now).await.unwrap();
        bindings.claim(owner).await.unwrap();
    });
}

#[test]
fn explain_says_how_long_a_key_signs_in_alone_and_what_it_had_to_assume() {
    let bench = Bench::with_target();
    let asked = ["explain", "--user", "alice", "--groups", "sre", "--target", "web1"];
    let said = bench.says(&asked);
    assert!(said.ends_with("  sign-in: a key signs in alone for 8 hours after the sign-in that bound it, as the settings say\n"), "{said}");

    let key = format!("SHA256:{}", "k".repeat(43));
    let registered = "[[sign_in]]\nname = \"listed\"\nusers = [\"alice\"]\nregistered = true\n";
    bench.append("policy.toml", &format!("{SHORT}{registered}[registered_keys]\nalice = [{key:?}]\n"));
    let said = bench.says(&asked);
    assert!(said.contains("assumed: which key is hers is unknown, so none counts as registered"), "{said}");
    assert!(said.contains("no key signs in alone: rule listed lets registered keys alone sign in"), "{said}");

    let said = bench.says(&[&asked[..], &["--key", &key, "--json"]].concat());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (said["sign_in"]["binding_s"].as_u64(), &said["sign_in"]["rule"]),
        (Some(3600), &"short".into())
    );
    assert_eq!((said.get("assumed"), said["sign_in"].get("why")), (None, None));
}

#[test]
fn keys_are_listed_until_policy_ends_them_and_with_the_rule_that_does() {
    let bench = Bench::new();
    bind(&bench);
    let listed = || -> Value { serde_json::from_str(&bench.says(&["bindings", "list", "--json"])).unwrap() };
    let whole = listed();
    assert_eq!((&whole[0]["alone_until"], &whole[0]["why_not_alone"]), (&whole[0]["until"], &Value::Null));

    bench.append("policy.toml", SHORT);
    let short = listed();
    assert!(short[0]["alone_until"].as_str() < whole[0]["until"].as_str(), "{short}");
    assert_eq!(short[0]["until"], whole[0]["until"]);

    bench.append("policy.toml", &SHORT.replace("short", "never").replace("1h", "0s"));
    assert_eq!(listed()[0]["alone_until"], Value::Null);
    let said = bench.says(&["bindings", "list"]);
    assert!(said.contains("not alone: rule never lets no key sign in alone"), "{said}");
}

#[test]
fn what_revokes_or_releases_nothing_fails_and_says_so() {
    let bench = Bench::new();
    bind(&bench);
    for (words, named) in [
        (&["bindings", "revoke", "--user", "alcie"][..], "is of person alcie"),
        (&["bindings", "revoke", "--key", NOBODYS, "--json"], "is of key SHA256:xxx"),
        (&["bindings", "revoke", "--key", HERS, "--user", "bea"], "ersher and person bea"),
        (&["names", "release", "alcie", "bea"], "alcie and bea belonged to nobody"),
    ] {
        let failure = bench.run(words).unwrap_err();
        assert!(failure.code == 1 && failure.what.contains(named), "{words:?}: {failure}");
        assert!(failure.way_out.is_some_and(|way_out| way_out.ends_with(" list")));
    }
    assert!(bench.says(&["bindings", "list"]).contains(HERS));

    let revoked = bench.says(&["bindings", "revoke", "--user", "alice", "--json"]);
    assert_eq!(revoked, format!("{{\"connections\":0,\"keys\":[\"{HERS}\"]}}\n"));
    assert_eq!(bench.says(&["bindings", "revoke", "--all"]), "0 keys revoked\n", "all of none");
    let released = bench.says(&["names", "release", "Alice", "--json"]);
    assert_eq!(released, "[{\"name\":\"Alice\",\"released\":true}]\n");
}

#[test]
fn check_names_providers_that_may_vouch_for_one_name() {
    let bench = Bench::new();
    bench.append("bastion.toml", &provider("corp", "\"*-corp\""));
    bench.append("bastion.toml", &provider("partner", "\"p-*\", \"ext-*\""));
    let line = fs::read_to_string(bench.path("b/bastion.toml")).unwrap().lines().count();
    let (code, said) = bench.run(&["check"]).unwrap();
    let place = format!(
        "bastion.toml:{line}: login.more.partner.users \"ext-*\" and login.more.corp.users \"*-corp\""
    );
    assert!(code == 0 && said.contains(&place), "{said}");
    assert_eq!(said.matches("may be one name").count(), 2, "{said}");

    let apart = Bench::new();
    apart.append("bastion.toml", &provider("corp", "\"corp-*\""));
    apart.append("bastion.toml", &provider("partner", "\"ext-*\""));
    assert!(!apart.says(&["check"]).contains("may be one name"));
}

#[test]
fn check_names_groups_of_a_provider_that_is_not_there_and_registered_keys_in_vain() {
    let bench = Bench::new();
    bench.append("bastion.toml", &provider("partner", "\"ext-*\""));
    let policy = |text: &str| {
        fs::write(bench.path("b/policy.toml"), text).unwrap();
        bench.says(&["check"])
    };
    let said = policy(
        "[groups]\nours = { provider = [\"sre\", \"partner:dev\", \"urn:x:y\"] }\n\
         theirs = { provider = \"partnr:dev\" }\nothers = { provider = \"acme:dev\" }\n",
    );
    assert!(said.contains("policy.toml:3: group \"theirs\" is \"partnr:dev\" at the provider"), "{said}");
    assert!(said.contains("  try: \"partner:dev\"\n"), "{said}");
    assert!(
        said.contains("policy.toml:4: group \"others\"") && said.contains("add [login.more.acme]"),
        "{said}"
    );
    assert_eq!(said.matches("at the provider, and the settings have no").count(), 2, "{said}");

    let wants = "[[sign_in]]\nname = \"r\"\nusers = [\"*\"]\nregistered = true\n";
    let keys = format!("[registered_keys]\nalice = [\"SHA256:{}\"]\n", "k".repeat(43));
    let said = policy(wants);
    assert!(
        said.contains("policy.toml:2: rule \"r\" lets registered keys alone sign in, and none is"),
        "{said}"
    );
    assert!(policy(&keys).contains("keys are registered, and no [[sign_in]] rule asks"));
    assert!(!policy(&format!("{wants}{keys}")).contains("registered, and no"));
}

#[test]
fn check_names_settings_and_policy_that_others_may_write() {
    let bench = Bench::new();
    fs::create_dir(bench.path("b/targets.d")).unwrap();
    fs::write(bench.path("b/targets.d/more.toml"), WEB1).unwrap();
    let warned =
        |file: &str| bench.says(&["check"]).contains(&format!("{}: others than", shown(&bench, file)));
    fn shown(bench: &Bench, file: &str) -> String {
        let mode = fs::metadata(bench.path("b").join(file)).unwrap().mode() & 0o7777;
        format!("{} has mode {mode:04o}", bench.path("b").join(file).display())
    }
    for file in ["bastion.toml", "policy.toml", "targets.d/more.toml", "targets.d"] {
        bench.chmod(file, 0o755);
        assert!(!warned(file), "{file}");
        for mode in [0o775, 0o757] {
            bench.chmod(file, mode);
            assert!(warned(file), "{file} {mode:o}");
        }
        bench.chmod(file, 0o755);
    }
    bench.chmod("targets.d", 0o1777);
    assert!(!warned("targets.d"), "nobody removes another's file there");
}

#[test]
fn what_is_no_fingerprint_or_names_nothing_to_revoke_is_refused_with_the_way_out() {
    let refused = |words: &[&str]| {
        let all = ["bastion", "bindings", "revoke"].iter().chain(words);
        let failure = Typed::try_parse_from(all).err().unwrap_or_else(|| panic!("{words:?} is taken"));
        assert_eq!(failure.exit_code(), 2);
        failure.to_string()
    };
    let said = refused(&["--key", "foo"]);
    assert!(said.contains("SHA256: and 43 characters") && said.contains("bastion bindings list"), "{said}");
    let said = refused(&["--json"]);
    for option in ["--user <USER>", "--key <SHA256:...>", "--all"] {
        assert!(said.contains(option), "{option}: {said}");
    }
    refused(&["--all", "--user", "alice"]);
    let both = ["bastion", "bindings", "revoke", "--user", "alice", "--key", HERS];
    assert!(Typed::try_parse_from(both).is_ok(), "this key, if it is hers");
}

#[test]
fn before_anybody_has_signed_in_all_lists_are_empty_and_name_the_folder() {
    let bench = Bench::new();
    let data = bench.path("b/data").display().to_string();
    for words in [&["sessions"][..], &["audit"], &["bindings", "list"], &["names", "list"]] {
        let (code, said) = bench.run(words).unwrap();
        assert!(code == 0 && said.trim_end().ends_with(&data), "{words:?}: {said}");
        assert_eq!(bench.says(&[words, &["--json"]].concat()).trim_end(), "[]", "{words:?}");
    }
    assert!(!bench.path("b/data/state").exists(), "asking makes no store");

    let nothing = bench.run(&["bindings", "revoke", "--user", "alice"]).unwrap_err();
    assert!(nothing.what.starts_with("nothing was revoked"), "{nothing}");
    assert!(!bench.path("b/data/journal").exists(), "nothing is written down as taken");
    let said = bench.says(&["target", "list"]);
    assert!(said.starts_with("no target is in ") && said.contains("bastion.toml"), "{said}");
    assert!(bench.says(&["key", "password", "list"]).starts_with("no password is in the vault in "));
}

#[test]
fn what_a_command_does_about_bindings_needs_no_settings_but_a_folder() {
    let bench = Bench::new();
    bind(&bench);
    let data = bench.path("b/data").display().to_string();
    let run = |words: &[&str]| {
        let mut out = Vec::new();
        let all = ["bastion", "bindings", "--data", &data, "--config", "/nonexistent.toml"];
        let Ok(Typed::Bindings(args)) = Typed::try_parse_from(all.iter().chain(words)) else {
            panic!("{words:?}")
        };
        let done = wait(binding_commands::bindings(&args, &mut out));
        done.map(|code| (code, String::from_utf8(out).unwrap()))
    };
    let fault = run(&["list"]).unwrap_err();
    assert!(fault.what.contains("/nonexistent.toml"), "by which policy they count is not known: {fault}");
    let (code, said) = run(&["revoke", "--key", HERS]).unwrap();
    assert_eq!((code, said), (0, format!("{HERS} signs nobody in any more\n1 key revoked\n")));
    let acts: Value = serde_json::from_str(&bench.says(&["audit", "--json"])).unwrap();
    assert_eq!((&acts[0]["act"], &acts[0]["time_us"]), (&"binding-revoked".into(), &Value::Null));
    assert!(acts[0]["time"].as_str().unwrap().ends_with('Z'), "{acts}");
}
