use std::{fs, path::PathBuf};

use gate::Name;
use tempfile::TempDir;

use super::*;

/// A folder with settings in it.
struct Bench(TempDir);

const LOGIN: &str = "[login]\nissuer = \"https://id.example\"\nclient_id = \"bastion\"\n";

const WEB1: &str = "[targets.web1]\naddress = \"10.0.0.5\"\nlogins = [\"deploy\"]\n";

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

impl Bench {
    fn with(text: &str) -> Self {
        let bench = Bench(tempfile::tempdir().unwrap());
        bench.write("bastion.toml", text);
        bench
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Settings, SettingsFault> {
        Settings::load(&self.path("bastion.toml"))
    }

    /// What is said, without the folder's name, and the way out.
    fn fault(&self) -> (String, String) {
        let fault = self.load().expect_err("these settings are wrong");
        let folder = format!("{}/", self.0.path().display());
        (fault.to_string().replace(&folder, ""), fault.way_out().replace(&folder, ""))
    }
}

fn fault(text: &str) -> String {
    Bench::with(text).fault().0
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn settings_that_name_only_the_provider_are_enough() {
    let bench = Bench::with(LOGIN);
    let settings = bench.load().unwrap();

    assert_eq!(settings.listen.ssh, ["0.0.0.0:2222".parse().unwrap()]);
    assert_eq!(settings.data, bench.path("data"));
    assert_eq!(settings.policy, bench.path("policy.toml"));
    assert_eq!(settings.login.name_claim, "preferred_username");
    assert_eq!(settings.login.binding.as_secs(), 8 * 60 * 60);
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(settings.recording.durability, Durability::Written);
    assert_eq!(settings.targets.len(), 0);
}

#[test]
fn every_key_is_read() {
    let bench = Bench::with(&format!(
        r#"
data = "/var/lib/bastion"
policy = "rules.toml"
env_allow = ["EDITOR", "DEPLOY_*"]
{LOGIN}
client_secret_file = "secret"
scopes = ["openid"]
name_claim = "sub"
email_claim = "mail"
groups_claim = "roles"
binding = "1h 30m"
recheck = "5m"
prompt = "none"
flow = "device"
ca_file = "ca.pem"
[login.more.partner]
issuer = "https://id.partner.example"
client_id = "theirs"
client_secret_file = "partner.secret"
users = ["Ext-*"]
[listen]
ssh = ["127.0.0.1:2022", "[::1]:2022"]
[keys]
master_key_file = "master.key"
by_label = {{ "env=prod" = "theirs" }}
authorities = ["prod"]
overlap = "24h"
[ssh]
host_keys = ["host"]
ciphers = ["chacha20-poly1305@openssh.com"]
macs = ["hmac-sha2-512"]
kex = ["curve25519-sha256"]
banner = "mind the step"
[limits]
login_grace = "10s"
sign_in_grace = "5m"
unauthenticated = 1
unauthenticated_per_address = 2
attempts = 3
key_offers = 4
failed_proofs = 7
connections_per_person = 9
channels_per_connection = 5
sessions_per_person = 6
warning = "0s"
list_idle = "5m"
env = 0
[recording]
durability = "synced"
[log]
format = "json"
filter = "debug"
[targets.web1]
address = "web1.example"
port = 2200
labels = {{ env = "prod", "team name" = "sre" }}
logins = ["deploy", "root"]
default_login = "deploy"
key = "prod"
host_keys = ["{KEY}", "@revoked * {KEY}", "@cert-authority * {KEY}"]
connect_timeout = "3s"
"#
    ));
    let settings = bench.load().unwrap();

    assert_eq!(settings.data, PathBuf::from("/var/lib/bastion"));
    assert_eq!(settings.policy, bench.path("rules.toml"));
    assert_eq!(settings.listen.ssh.len(), 2);
    assert_eq!(settings.keys.master_key_file, Some(bench.path("master.key")));
    assert_eq!(settings.keys.by_label, [("env=prod".to_owned(), name("theirs"))].into());
    assert_eq!(settings.keys.authorities, [name("prod")].into());
    assert_eq!(settings.keys.overlap.as_secs(), 24 * 3600);
    assert_eq!(settings.login.client_secret_file, Some(bench.path("secret")));
    assert_eq!(settings.login.ca_file, Some(bench.path("ca.pem")));
    assert_eq!(settings.login.binding.as_secs(), 90 * 60);
    assert_eq!(settings.login.recheck.as_secs(), 300);
    let partner = &settings.login.more[&name("partner")];
    assert_eq!(partner.client_secret_file, Some(bench.path("partner.secret")));
    assert!(partner.users[0].matches("ext-zoe") && partner.name_claim == "preferred_username");
    assert_eq!((settings.login.prompt, settings.login.flow), (Prompt::None, Flow::Device));
    assert_eq!(settings.ssh.host_keys, [bench.path("host")]);
    assert_eq!(settings.limits.sign_in_grace.as_secs(), 300);
    assert_eq!((settings.limits.unauthenticated, settings.limits.env), (1, 0));
    assert_eq!((settings.limits.failed_proofs, settings.limits.list_idle.as_secs()), (7, 300));
    assert_eq!(settings.recording.durability, Durability::Synced);
    assert_eq!((settings.log.format, settings.log.filter.as_str()), (LogFormat::Json, "debug"));
    let web1 = settings.targets.get(&name("web1")).unwrap();
    assert_eq!((web1.target.address.as_str(), web1.target.port), ("web1.example", 2200));
    assert_eq!(web1.target.default_login, Some(name("deploy")));
    assert_eq!(web1.target.key, name("prod"));
    assert_eq!(web1.target.labels["team name"], "sre");
    assert_eq!(web1.host_keys.len(), 3);
    assert_eq!(web1.connect_timeout.as_secs(), 3);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_one_that_was_meant() {
    let bench = Bench::with(&format!("{LOGIN}\n[targets.web1]\nadress = \"10.0.0.5\"\nlogins = [\"a\"]\n"));
    let (what, way_out) = bench.fault();

    assert!(what.starts_with("bastion.toml:6: unknown field `adress`"), "{what}");
    assert_eq!(way_out, "\"address\"");
    assert!(fault(&format!("datta = \"x\"\n{LOGIN}")).starts_with("bastion.toml:1: unknown field `datta`"));
    assert!(fault(&format!("{LOGIN}client_secret = \"x\"\n")).starts_with("bastion.toml:4: unknown field"));
}

#[test]
fn a_wrong_value_is_refused_with_its_line_and_itself() {
    let login = |line: &str| format!("{LOGIN}{line}\n");
    let target = |lines: &str| login(&format!("[targets.web1]\n{lines}\nlogins = [\"root\"]"));
    let cases = [
        (login("binding = \"8 parsecs\""), "bastion.toml:4:", "\"8 parsecs\" is no length of time"),
        (login("binding = \"-1h\""), "bastion.toml:4:", "\"-1h\" is no length of time"),
        (login("binding = 8"), "bastion.toml:4:", "`8`"),
        (login("prompt = \"never\""), "bastion.toml:4:", "unknown variant `never`"),
        (login("[listen]\nssh = \"2222\""), "bastion.toml:5:", "\"2222\" is no address with a port"),
        (login("[listen]\nssh = []"), "bastion.toml:5:", "nothing to listen on"),
        (login("[limits]\nattempts = 0"), "bastion.toml:5:", "0 would let nobody in"),
        (login("[limits]\nattempts = -1"), "bastion.toml:5:", "-1"),
        (login("[limits]\nlogin_grace = \"0s\""), "bastion.toml:5:", "would let nobody in"),
        (
            "[login]\nissuer = \"https://id.example\"\nclient_id = \" \"\n".into(),
            "bastion.toml:3:",
            "client_id is empty",
        ),
        (target("address = \"web1:22\""), "bastion.toml:5:", "is no host name and no IP address"),
        (target("address = \"web1\"\nport = 0"), "bastion.toml:6:", "0"),
        (target("address = \"web1\"\nconnect_timeout = \"0s\""), "bastion.toml:6:", "would let nobody in"),
        (login("[ssh]\nciphers = [\"aes256-gcm\"]"), "bastion.toml:5:", "perhaps \"aes256-gcm@openssh.com\""),
        (login("[ssh]\nciphers = [\"3des-cbc\"]"), "bastion.toml:5:", "\"3des-cbc\" is no cipher"),
        (login("[ssh]\nmacs = [\"hmac-sha1\"]"), "bastion.toml:5:", "\"hmac-sha1\" is no MAC"),
        (login("[ssh]\nkex = [\"none\"]"), "bastion.toml:5:", "\"none\" is no key exchange"),
        (login("[recording]\ndurability = \"maybe\""), "bastion.toml:5:", "unknown variant `maybe`"),
        (format!("env_allow = [\"BASTION_*\"]\n{LOGIN}"), "bastion.toml:1:", "never passed on"),
        (format!("env_allow = [\"*\"]\n{LOGIN}"), "bastion.toml:1:", "\"*\" is no name"),
        (format!("env_allow = [\"B*\"]\n{LOGIN}"), "bastion.toml:1:", "never passed on"),
        ("data = 5\n".into(), "bastion.toml:1:", "`5`"),
        ("data = \"x\n".into(), "bastion.toml:1:", "string"),
    ];
    for (text, place, says) in cases {
        let what = fault(&text);
        assert!(what.starts_with(place) && what.contains(says), "{text}\ngave {what}");
        assert_eq!(what.lines().count(), 1, "{what}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_told_as_it_was_meant() {
    let more = "[login.more.partner]\nissuer = \"https://p.example\"\nclient_id = \"b\"\n";
    let login = |line: &str| format!("{LOGIN}{line}\n");
    for (text, line, way_out) in [
        (login("recheck = 2"), 4, "in quotes: \"2\"; a length of time with its unit, as in \"2m\""),
        (login(&format!("{more}users = \"x\"")), 7, "a list: [\"x\"]"),
        (login("[limits]\nattempts = \"5\""), 5, "without quotes: 5"),
    ] {
        let (fault, meant) = Bench::with(&text).fault();
        assert!(fault.starts_with(&format!("bastion.toml:{line}: invalid type")), "{fault}");
        assert_eq!(meant, way_out);
    }
}

#[test]
fn where_to_listen_is_an_address_and_a_port_alone_is_told_how_to_stand() {
    assert_eq!(address("[::]:2222"), Ok("[::]:2222".parse().unwrap()));
    for port in ["2222", ":2222"] {
        assert!(address(port).unwrap_err().contains("write 0.0.0.0:2222 for"), "{port}");
    }
    assert!(address("bastion.example:22").unwrap_err().contains("numbers and no names"));
}

#[test]
fn settings_without_a_provider_are_refused() {
    assert_eq!(fault("data = \"x\"\n"), "bastion.toml: missing field `login`");
}

#[test]
fn an_issuer_that_can_be_listened_to_is_refused_unless_it_is_this_machine() {
    let load = |issuer: &str| {
        Bench::with(&format!("[login]\nissuer = \"{issuer}\"\nclient_id = \"bastion\"\n")).load()
    };

    for right in
        ["https://id.example/realm", "http://127.0.0.1:5000", "http://[::1]:5000", "http://localhost"]
    {
        assert_eq!(load(right).unwrap().login.issuer, right);
    }
    for wrong in [
        "http://id.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "ftp://id.example",
        "https://",
        "id.example",
        "https://me:secret@id.example",
        "https://id.example/?x=1",
    ] {
        let what = load(wrong).expect_err(wrong).to_string();
        assert!(what.contains("bastion.toml:2: ") && what.contains(wrong), "{what}");
    }
}

#[test]
fn targets_come_from_the_main_file_and_from_every_file_beside_it() {
    let bench = Bench::with(&format!("{LOGIN}{WEB1}"));
    bench.write("targets.d/db.toml", "[targets.db1]\naddress = \"10.0.0.6\"\nlogins = [\"a\", \"b\"]\n");
    bench.write("targets.d/.hidden.toml", "no toml");
    bench.write("targets.d/README", "no toml");
    let settings = bench.load().unwrap();

    assert_eq!(settings.targets.len(), 2);
    let web1 = settings.targets.get(&name("web1")).unwrap();
    assert_eq!((web1.target.port, web1.target.key.as_str()), (22, DEFAULT_KEY));
    assert_eq!(web1.target.default_login, Some(name("deploy")), "the only login is meant");
    assert_eq!(settings.targets.get(&name("db1")).unwrap().target.default_login, None);
}

#[test]
fn a_target_named_twice_is_refused_with_both_places() {
    let bench = Bench::with(&format!("{LOGIN}{WEB1}"));
    bench.write("targets.d/more.toml", &format!("\n{WEB1}"));
    let (what, way_out) = bench.fault();

    assert_eq!(what, "targets.d/more.toml:2: target \"web1\" is already there in bastion.toml:4");
    assert_eq!(way_out, "rename one of them, or remove the one in bastion.toml:4");
    assert!(fault(&format!("{LOGIN}{WEB1}{WEB1}")).starts_with("bastion.toml:7: duplicate key"));
}

#[test]
fn a_target_name_that_is_a_path_an_option_or_a_trick_is_refused_and_shown_harmless() {
    let wrong = [
        "../web1",
        "a/b",
        "a%b",
        "a@b",
        ":help",
        "-oProxyCommand=x",
        "",
        " ",
        "a b",
        "$(id)",
        "web1.",
        "ｗｅｂ",
        "a\\u0000b",
        "a\\u001b[2Jb",
        "a\\nb",
    ];
    for name in wrong.iter().filter(|name| **name != "web1.") {
        let what = fault(&format!("{LOGIN}[targets.\"{name}\"]\naddress = \"x\"\nlogins = [\"a\"]\n"));
        assert!(what.starts_with("bastion.toml:4: targets = "), "{what}");
        assert!(!what.contains(char::is_control), "{what:?}");
    }
    let long = "a".repeat(70_000);
    let what = fault(&format!("{LOGIN}[targets.{long}]\naddress = \"x\"\nlogins = [\"a\"]\n"));
    assert!(what.len() < 400, "{}", what.len());
}

#[test]
fn a_target_that_cannot_be_used_is_refused_with_its_line() {
    let target = |lines: &str| fault(&format!("{LOGIN}[targets.web1]\n{lines}\n"));
    let login = "logins = [\"deploy\"]";

    for address in ["", "-oProxyCommand=x", "a b", "web1:22/x", "user@web1", "web1\\u0007"] {
        let what = target(&format!("address = \"{address}\"\n{login}"));
        assert!(what.starts_with("bastion.toml:5: targets.web1.address = "), "{what}");
    }
    assert!(target(login).contains("missing field `address`"));
    assert!(target("address = \"x\"").contains("missing field `logins`"));
    assert!(target("address = \"x\"\nlogins = []").starts_with("bastion.toml:6: targets.web1.logins"));
    assert!(target("address = \"x\"\nlogins = [\"a/b\"]").starts_with("bastion.toml:6:"));
    assert!(target(&format!("address = \"x\"\n{login}\nport = 70000")).starts_with("bastion.toml:7:"));
    let default = target(&format!("address = \"x\"\n{login}\ndefault_login = \"root\""));
    assert_eq!(
        default,
        "bastion.toml:7: targets.web1.default_login = \"root\": is not among the logins of this target"
    );
    let label = target(&format!("address = \"x\"\n{login}\nlabels = {{ env = \"a\\u001bb\" }}"));
    assert!(
        label.starts_with("bastion.toml:7: targets.web1.labels = ") && !label.contains('\u{1b}'),
        "{label}"
    );
    for outer in ["0.0.0.0", "203.0.113.0/24", "bastion.example", "224.0.0.1"] {
        let what = target(&format!("address = \"x\"\n{login}\nsource_address = \"{outer}\""));
        assert!(what.starts_with("bastion.toml:7: targets.web1.source_address = "), "{what}");
    }
    let pin =
        target(&format!("address = \"x\"\n{login}\nhost_keys = [\n\"{KEY}\",\n\"web1 ssh-ed25519 AAAA\"]"));
    assert!(pin.starts_with("bastion.toml:9: targets.web1.host_keys = "), "{pin}");
}

#[test]
fn host_keys_may_lie_in_a_file_of_their_own() {
    let bench = Bench::with(&format!("{LOGIN}{WEB1}host_keys_file = \"known_hosts\"\n"));
    bench.write("known_hosts", &format!("# ours\n10.0.0.5 {KEY}\n"));
    let settings = bench.load().unwrap();
    assert_eq!(settings.targets.get(&name("web1")).unwrap().host_keys.len(), 1);

    bench.write("known_hosts", "10.0.0.5 ssh-ed25519\n");
    let (what, _) = bench.fault();
    assert!(
        what.starts_with("bastion.toml:7: targets.web1.host_keys_file = ") && what.contains("line 1"),
        "{what}"
    );

    fs::remove_file(bench.path("known_hosts")).unwrap();
    let (what, _) = bench.fault();
    let place = "bastion.toml:7: targets.web1.host_keys_file = ";
    assert!(what.starts_with(place) && what.contains("cannot be read"), "{what}");
}

#[test]
fn settings_that_cannot_be_read_are_named() {
    let bench = Bench::with("");
    fs::remove_file(bench.path("bastion.toml")).unwrap();
    let (what, way_out) = bench.fault();
    assert!(what.starts_with("bastion.toml: cannot be read: "), "{what}");
    assert!(way_out.contains("bastion init"));

    fs::create_dir(bench.path("bastion.toml")).unwrap();
    assert!(bench.fault().0.starts_with("bastion.toml: cannot be read: "));

    fs::remove_dir(bench.path("bastion.toml")).unwrap();
    fs::write(bench.path("bastion.toml"), b"data = \"\xff\"").unwrap();
    assert!(bench.fault().0.starts_with("bastion.toml: cannot be read: "));
}

#[test]
fn gcm_is_offered_first_and_alone_to_those_who_have_it() {
    let ssh = Ssh::default();
    let shown = |preferred: &russh::Preferred| {
        preferred.cipher.iter().map(|name| name.as_ref().to_owned()).collect::<Vec<_>>()
    };

    assert_eq!(shown(&ssh.preferred())[..2], ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]);
    assert!(!shown(&ssh.preferred()).iter().any(|name| name.contains("chacha20")));
    assert_eq!(shown(&ssh.preferred_with_gcm().unwrap()).len(), 2);

    let chacha = Ssh { ciphers: vec![russh::cipher::CHACHA20_POLY1305], ..Ssh::default() };
    assert!(chacha.preferred_with_gcm().is_none());
    assert!(ssh.preferred().key.iter().all(|algorithm| algorithm.as_str() != "ssh-rsa"));
}

#[test]
fn variables_pass_by_name_or_beginning_and_ours_never() {
    let bench = Bench::with(&format!("env_allow = [\"EDITOR\", \"DEPLOY_*\"]\n{LOGIN}"));
    let allow = bench.load().unwrap().env_allow;

    let passes = |name: &str| {
        let mut env = gate::Env::default();
        env.set(allow.filter(), name, "x");
        !env.passed().is_empty()
    };
    for name in ["LANG", "LC_ALL", "GIT_PROTOCOL", "EDITOR", "DEPLOY_", "DEPLOY_X"] {
        assert!(passes(name), "{name}");
    }
    for name in ["", "LD_PRELOAD", "PATH", "EDITORS", "BASTION_USER", "lang", "XLC_ALL"] {
        assert!(!passes(name), "{name}");
    }
}

#[test]
fn a_target_that_names_no_key_has_that_of_its_label() {
    let target = |labels: &str, key: &str| {
        let bench = Bench::with(&format!(
            "[keys]\nby_label = {{ \"env=prod\" = \"prod\", \"team=web\" = \"web\" }}\n{LOGIN}\n\
             [targets.web1]\naddress = \"h\"\nlogins = [\"root\"]\nlabels = {{ {labels} }}\n{key}"
        ));
        bench.load().map(|settings| settings.targets.get(&name("web1")).unwrap().target.key.to_string())
    };
    assert_eq!(target("env = \"prod\"", "").unwrap(), "prod");
    assert_eq!(target("env = \"prod\"", "key = \"own\"").unwrap(), "own");
    assert_eq!(target("env = \"test\"", "").unwrap(), DEFAULT_KEY);
    let both = target("env = \"prod\", team = \"web\"", "").unwrap_err().to_string();
    assert!(both.contains("different keys") && both.contains("prod and web"), "{both}");
}

#[test]
fn an_authority_is_a_key_of_its_own() {
    let with = |names: &str| Bench::with(&format!("[keys]\nauthorities = [{names}]\n{LOGIN}")).fault();
    let (what, _) = with("\"ca\", \"host\"");
    let place = "bastion.toml:2: \"host\" is the key by which clients know the bastion";
    assert!(what.starts_with(place) && what.contains("bastion key new ca"), "{what}");

    let (what, _) = with("\"a/b\"");
    assert!(what.starts_with("bastion.toml:2: a name is 1 to 64 letters"), "{what}");
}

#[test]
fn more_variables_than_are_ever_passed_on_are_no_limit() {
    let fault = Bench::with(&format!("[limits]\nenv = 33\n{LOGIN}")).load().unwrap_err().to_string();
    assert!(fault.contains("write 32 or less"), "{fault}");
}

#[test]
fn what_opens_a_target_and_what_it_is_offered_is_refused_by_place_where_it_makes_no_sense() {
    let with = |lines: &str| {
        let target = "[targets.web1]\naddress = \"h\"\nlogins = [\"root\"]\n";
        Bench::with(&format!("{LOGIN}\n{target}{lines}"))
    };
    for (lines, what, way_out) in [
        ("auth = \"telnet\"", "targets.web1.auth = \"telnet\": is no way to sign in", "keyboard-interactive"),
        ("auth = \"password\"", "needs a password of the vault", "bastion key password set web1"),
        ("password = \"x\"", "is not used: the target is opened with a key", "auth = \"password\""),
        ("auth = \"key\"\npassword = \"x\"", "is not used", "auth = \"password\""),
        ("auth = \"password\"\npassword = \"a/b\"", "a name is 1 to 64 letters", ""),
        ("weak_algorithms = [\"3des-cbc\"]", "\"3des-cbc\" is no algorithm that a target can be offered", ""),
    ] {
        let fault = with(lines).fault();
        assert!(fault.0.contains(what) && fault.1.contains(way_out), "{lines}: {fault:?}");
    }
    let settings = with("auth = \"key+keyboard-interactive\"\npassword = \"x\"").load().unwrap();
    let expected = Password { name: name("x"), interactive: true };
    assert_eq!(settings.targets.get(&name("web1")).unwrap().auth, Auth::KeyThenPassword(expected));
    assert_eq!(with("").load().unwrap().targets.get(&name("web1")).unwrap().auth, Auth::Key);
}
