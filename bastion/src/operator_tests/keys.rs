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
    assert!(bench.says(&["key", "list", "--json"]).contains("\"replaces\":\"gateway\""));

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
