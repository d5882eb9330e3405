//! Keys of the vault.

use super::*;

#[test]
fn keys_are_made_listed_and_shown_by_their_public_halves() {
    let bench = Bench::new();
    let public = bench.says(&["key", "new", "prod"]);
    assert!(public.starts_with("ssh-ed25519 AAAA"), "{public}");

    assert_eq!(bench.says(&["key", "show", "prod"]), public);
    let listed: serde_json::Value = serde_json::from_str(&bench.says(&["key", "list", "--json"])).unwrap();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["gateway", "host", "prod"]);
    assert!(bench.says(&["key", "list"]).contains("SHA256:"));
    assert!(bench.run(&["key", "new", "prod"]).unwrap_err().what.contains("already"));
    assert!(bench.run(&["key", "show", "lost"]).unwrap_err().what.contains("no key \"lost\""));
}

#[test]
fn a_key_is_imported_from_a_file_of_ones_own_alone() {
    let bench = Bench::new();
    let file = bench.path("theirs");
    let keygen = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "theirs", "-f"])
        .arg(&file)
        .status();
    assert!(keygen.expect("ssh-keygen is installed").success());
    let import =
        |file: &std::path::Path| bench.run(&["key", "import", "theirs", &file.display().to_string()]);

    let failure = import(&file.with_extension("pub")).unwrap_err();
    assert!(failure.to_string().contains("theirs.pub"), "{failure}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(import(&file).unwrap_err().what.contains("0644"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let (_, said) = import(&file).unwrap();
    let public = fs::read_to_string(file.with_extension("pub")).unwrap();
    assert_eq!(said, public);
    assert!(import(&file).unwrap_err().what.contains("already"));
}

#[test]
fn a_key_is_removed_once_no_setting_uses_it() {
    let bench = with_authority();
    bench.says(&["key", "new", "old"]);
    let text = fs::read_to_string(bench.path("b/bastion.toml")).unwrap();
    let labels = "[keys]\nby_label = { \"env=old\" = \"old\" }\n";
    fs::write(bench.path("b/bastion.toml"), text.replace("[keys]\n", labels)).unwrap();

    let refused = |name: &str| bench.run(&["key", "remove", name]).unwrap_err().what;
    assert_eq!(refused("ca"), "key \"ca\" is in use: keys.authorities, target web1");
    assert_eq!(refused("old"), "key \"old\" is in use: keys.by_label \"env=old\"");
    assert!(refused("host").contains("clients know the bastion"));
    assert!(refused("lost").contains("no key \"lost\""));

    // No target uses it: web1 has a key of its own.
    assert!(bench.says(&["key", "remove", "gateway"]).starts_with("Removed gateway  SHA256:"));
    assert!(!bench.says(&["key", "list"]).contains("gateway"));
}

#[test]
fn a_key_is_rotated_and_its_successor_takes_its_name() {
    let bench = Bench::with_target();
    let next = bench.says(&["key", "rotate", "gateway"]);
    let next = next.split(' ').nth(1).unwrap();

    let failure = bench.run(&["key", "rotate", "gateway"]).unwrap_err();
    assert!(failure.to_string().contains("has a successor already"), "{failure}");
    assert!(bench.run(&["key", "new", "x.next"]).unwrap_err().what.contains("the name of a successor"));
    assert!(bench.says(&["target", "setup", "web1"]).contains(&format!("{next} bastion-gateway.next")));
    assert!(bench.says(&["check"]).contains("Key \"gateway\" is being replaced by \"gateway.next\""));
    let listed = bench.says(&["key", "list", "--json"]);
    assert!(listed.contains("\"replaces\":\"gateway\""));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert!(
        listed[0]["made_at"].as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')),
        "{listed}"
    );

    assert!(bench.says(&["key", "retire", "gateway"]).starts_with("gateway is SHA256:"));
    assert!(bench.says(&["key", "show", "gateway"]).contains(next));
    assert!(bench.run(&["key", "retire", "gateway"]).unwrap_err().what.contains("no successor"));
}

#[test]
fn a_host_key_that_is_revoked_is_not_pinned() {
    let bench = Bench::new();
    bench.says(&["key", "new", "theirs"]);
    let (vault, _) = own_keys::open_vault(&Settings::load(&bench.path("b/bastion.toml")).unwrap()).unwrap();
    let port = host(vault.load("theirs").unwrap());
    bench.append("bastion.toml", &WEB1.replace("port = 1\n", &format!("port = {port}\n")));
    let public = bench.says(&["key", "show", "theirs"]);
    bench.append("bastion.toml", &format!("host_keys = [\"@revoked * {}\"]\n", public.trim()));

    let failure = bench.run(&["target", "pin", "web1", "--yes"]).unwrap_err();
    assert!(failure.what.contains("a @revoked line for web1 names this very key"), "{failure}");
    assert!(!bench.path("b/data/pins/web1").exists());
}

#[test]
fn setup_names_the_address_under_which_the_target_sees_us() {
    let bench = Bench::with_target();
    bench.append("bastion.toml", "source_address = \"203.0.113.7\"\n");
    let said = bench.says(&["target", "setup", "web1"]);
    assert!(said.contains("from=\"203.0.113.7\",restrict,pty "), "{said}");
    assert!(bench.says(&["check"]).contains("It sees the bastion as 203.0.113.7."));
}

#[test]
fn a_rotation_says_what_is_next_and_which_targets_still_need_the_old_key() {
    let bench = Bench::with_target();
    let next = bench.says(&["key", "rotate", "gateway"]);
    for step in [
        "1. systemctl reload bastion",
        "2. on web1: what `bastion target setup web1` prints",
        "4. bastion key retire gateway",
    ] {
        assert!(next.contains(step), "{step}: {next}");
    }
    let listed =
        || -> serde_json::Value { serde_json::from_str(&bench.says(&["key", "list", "--json"])).unwrap() };
    let (now, print) =
        (crate::house::now(), |key: usize| listed()[key]["fingerprint"].as_str().unwrap().to_owned());
    let (old, new) = (print(0), print(1));
    let opened = |login: &str, key: &str, at: i64| {
        let key = key.to_owned();
        let note = crate::opened::Opened { key, at };
        let folder = bench.path("b/data/opened");
        crate::opened::note(&folder, &"web1".parse().unwrap(), &login.parse().unwrap(), note).unwrap();
    };
    let with = || -> Vec<String> {
        let told = listed()[0]["targets"].clone();
        told.as_array().unwrap().iter().map(|one| one["opened_with"].to_string()).collect()
    };
    assert_eq!(with(), ["null", "null"]);

    opened("root", &old, now + 5);
    opened("deploy", &old, now - 1000);
    assert_eq!(with(), ["null", "\"old\""], "deploy was opened before there was a new one");
    let said = bench.says(&["key", "list"]);
    assert!(said.contains("root@web1  last opened with the old key, "), "{said}");
    assert!(said.contains("deploy@web1  not opened since the new key was made"), "{said}");
    let failure = bench.run(&["key", "retire", "gateway"]).unwrap_err();
    assert!(failure.what.ends_with("nothing would open them: root@web1"), "{failure}");
    assert_eq!(print(0), old, "it stays");

    opened("root", &new, now + 6);
    let said = bench.says(&["key", "retire", "gateway"]);
    assert!(said.contains("deploy@web1  not opened since") && !said.contains("root@web1"), "{said}");
    assert_eq!(print(0), new);
    assert_eq!(with(), [""; 0], "nothing is being replaced");
}

#[test]
fn an_old_key_that_a_target_needs_is_retired_by_force_alone() {
    let bench = Bench::with_target();
    let print = || -> serde_json::Value {
        let told: serde_json::Value =
            serde_json::from_str(&bench.says(&["key", "show", "gateway", "--json"])).unwrap();
        told["fingerprint"].clone()
    };
    let old = print();
    let told: serde_json::Value =
        serde_json::from_str(&bench.says(&["key", "rotate", "gateway", "--json"])).unwrap();
    let note = crate::opened::Opened { key: old.as_str().unwrap().into(), at: crate::house::now() + 5 };
    let folder = bench.path("b/data/opened");
    crate::opened::note(&folder, &"web1".parse().unwrap(), &"root".parse().unwrap(), note).unwrap();

    assert!(bench.run(&["key", "retire", "gateway"]).unwrap_err().way_out.unwrap().contains("--force"));
    let said: serde_json::Value =
        serde_json::from_str(&bench.says(&["key", "retire", "gateway", "--force", "--json"])).unwrap();
    assert_eq!((&said["key"], &said["successor"]), (&old, &told["fingerprint"]));
    assert_eq!(print(), told["fingerprint"]);
}

#[test]
fn a_pin_is_told_as_json_and_nobody_is_asked() {
    let bench = Bench::new();
    bench.says(&["key", "new", "theirs", "--json"]);
    let (vault, _) = own_keys::open_vault(&Settings::load(&bench.path("b/bastion.toml")).unwrap()).unwrap();
    let port = host(vault.load("theirs").unwrap());
    bench.append("bastion.toml", &WEB1.replace("port = 1\n", &format!("port = {port}\n")));
    let failure = bench.run_with(&["target", "pin", "web1", "--json"], Some(b"yes\n")).unwrap_err();
    assert!(failure.code == 2 && failure.to_string().contains("--yes"), "{failure}");
    assert!(!bench.path("b/data/pins/web1").exists());

    for _ in ["pinned", "pinned already"] {
        let said: serde_json::Value =
            serde_json::from_str(&bench.says(&["target", "pin", "web1", "--json", "--yes"])).unwrap();
        assert_eq!((&said["target"], &said["pinned"]), (&"web1".into(), &true.into()));
        assert!(said["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    }
}
