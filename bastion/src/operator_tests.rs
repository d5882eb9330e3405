//! The commands with which an operator sets a bastion up and looks at it, on a bastion as `bastion init` leaves it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};

use clap::Parser;
use tempfile::TempDir;

use crate::{
    audit, binding_commands, check, explain, failure::Failure, init, key_commands, own_keys, sessions,
    settings::Settings, ssh_config, target_commands,
};

mod keys;
mod sign_in;
mod templates;

/// A bastion as `bastion init` leaves it, in a folder of its own.
struct Bench(TempDir);

fn wait<T>(command: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(command)
}

/// Stands in for cli.rs: what a person types, parsed as clap does it.
#[derive(Parser)]
enum Typed {
    Init(init::InitArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    SshConfig(ssh_config::SshConfigArgs),
    Key(key_commands::KeyArgs),
    Target(target_commands::TargetArgs),
    Bindings(binding_commands::BindingsArgs),
    Names(binding_commands::NamesArgs),
    Sessions(sessions::SessionsArgs),
    Audit(audit::AuditArgs),
}

const WEB1: &str = "\n[targets.web1]\naddress = \"127.0.0.1\"\nport = 1\nlogins = [\"deploy\", \"root\"]\n\
                    default_login = \"deploy\"\nlabels = { env = \"prod\" }\n";

impl Bench {
    fn new() -> Self {
        let bench = Bench(tempfile::tempdir().unwrap());
        let folder = bench.path("b").display().to_string();
        bench.run(&["init", &folder]).unwrap();
        bench
    }

    fn with_target() -> Self {
        let bench = Bench::new();
        bench.append("bastion.toml", WEB1);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let file = self.path("b").join(name);
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, before + text).unwrap();
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path("b").join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a command on this bastion: its code, and what it prints.
    fn run(&self, words: &[&str]) -> Result<(u8, String), Failure> {
        self.run_with(words, None)
    }

    fn run_with(&self, words: &[&str], mut typed: Option<&[u8]>) -> Result<(u8, String), Failure> {
        let settings = self.path("b/bastion.toml").display().to_string();
        let mut all = vec!["bastion", words[0]];
        if words[0] != "init" {
            all.extend(["--config", &settings]);
        }
        all.extend(&words[1..]);
        let mut out = Vec::new();
        let code = match Typed::parse_from(all) {
            Typed::Init(args) => init::run(&args, &mut out),
            Typed::Check(args) => check::run(&args, &mut out),
            Typed::Explain(args) => explain::run(&args, &mut out),
            Typed::SshConfig(args) => ssh_config::run(&args, &mut out),
            Typed::Sessions(args) => sessions::run(&args, &mut out),
            Typed::Audit(args) => audit::run(&args, &mut out),
            Typed::Bindings(args) => wait(binding_commands::bindings(&args, &mut out)),
            Typed::Names(args) => wait(binding_commands::names(&args, &mut out)),
            Typed::Key(args) => wait(key_commands::run(&args, &mut out)),
            Typed::Target(args) => {
                let input = typed.as_mut().map(|typed| typed as &mut (dyn std::io::BufRead + Send));
                wait(target_commands::run(&args, input, &mut out))
            }
        };
        code.map(|code| (code, String::from_utf8(out).unwrap()))
    }

    fn says(&self, words: &[&str]) -> String {
        self.run(words).unwrap().1
    }
}

#[test]
fn a_bastion_just_made_can_start() {
    let bench = Bench::new();
    let (code, said) = bench.run(&["check"]).unwrap();

    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("The bastion can start.\n"));
    assert!(said.contains("It listens on 0.0.0.0:2222."), "{said}");
    assert!(said.contains("rule \"sre-everywhere\" is about no target that there is"), "{said}");

    fs::write(bench.path("b").join("policy.toml"), "# nothing yet\n").unwrap();
    assert!(bench.says(&["check"]).contains("no rule: nobody may reach anything"));
    let mode = |name: &str| fs::metadata(bench.path("b").join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("master.key"), mode("data"), mode("data/keys/vault.json")), (0o600, 0o700, 0o600));
}

#[test]
fn init_overwrites_nothing() {
    let bench = Bench::new();
    let before = bench.says(&["key", "list"]);
    let folder = bench.path("b").display().to_string();
    for file in ["bastion.toml", "policy.toml", "master.key", "data/keys/vault.json"] {
        let failure = bench.run(&["init", &folder]).unwrap_err();
        assert!(failure.what.contains("is there already"), "{failure}");
        fs::rename(bench.path("b").join(file), bench.path(&file.replace('/', "_"))).unwrap();
    }
    for file in ["master.key", "data/keys/vault.json"] {
        fs::rename(bench.path(&file.replace('/', "_")), bench.path("b").join(file)).unwrap();
    }
    fs::rename(bench.path("bastion.toml"), bench.path("b/bastion.toml")).unwrap();
    assert_eq!(bench.says(&["key", "list"]), before);
}

#[test]
fn check_names_every_secret_that_others_can_reach() {
    for (file, mode, says) in [
        ("master.key", 0o640, "master.key has mode 0640"),
        ("data/keys/vault.json", 0o604, "vault.json has mode 0604"),
        ("data/keys", 0o770, "data/keys has mode 0770"),
        ("data", 0o755, "data has mode 0755"),
    ] {
        let bench = Bench::new();
        bench.chmod(file, mode);
        let (code, said) = bench.run(&["check"]).unwrap();
        assert_eq!(code, 1, "{file}");
        assert!(said.contains(says) && said.contains("  try: chmod"), "{said}");
        assert!(said.ends_with("The bastion cannot start like this.\n"));
    }
}

#[test]
fn check_goes_on_after_the_first_fault_and_tells_it_to_programs_too() {
    let bench = Bench::with_target();
    bench.append(
        "policy.toml",
        "\n[[rule]]\nname = \"x\"\naction = \"allow\"\ngroups = [\"sr\"]\ntargets = [\"*\"]\n",
    );
    bench.chmod("master.key", 0o644);
    let (code, said) = bench.run(&["check", "--json"]).unwrap();

    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(report["ok"], false);
    assert!(
        findings.iter().any(|f| f["what"].as_str().unwrap().contains("no group has that name")),
        "{said}"
    );
    assert!(
        findings.iter().any(|f| f["what"].as_str().unwrap().contains("master.key has mode 0644")),
        "{said}"
    );
    assert!(findings.iter().all(|f| f["try"].is_string()));
}

#[test]
fn check_names_a_target_that_no_session_can_open() {
    let bench = Bench::with_target();
    bench.append("bastion.toml", "key = \"lost\"\n");
    let (code, said) = bench.run(&["check"]).unwrap();

    assert_eq!(code, 0, "{said}");
    assert!(said.contains("web1 [env=prod] is 127.0.0.1:1, opened as deploy (default) or root"), "{said}");
    assert!(
        said.contains("has no known host key") && said.contains("try: bastion target pin web1"),
        "{said}"
    );
    assert!(said.contains("names key \"lost\"") && said.contains("try: bastion key new lost"), "{said}");
}

#[test]
fn explain_says_under_which_assumptions_conditions_were_decided() {
    let bench = Bench::with_target();
    bench.append(
        "policy.toml",
        "\n[[rule]]\nname = \"strict\"\naction = \"deny\"\nusers = [\"*\"]\ntargets = [\"web1\"]\n\
         unless = { from = [\"10.0.0.0/8\"], max_age = \"15m\", amr = [\"mfa\"], acr = [\"gold\"] }\n",
    );
    let asked = ["explain", "--user", "alice", "--groups", "sre", "--target", "web1"];

    let (code, said) = bench.run(&asked).unwrap();
    assert_eq!(code, DENIED);
    for assumed in [
        "  assumed: where she calls from is unknown, so no condition on networks holds; --from ADDRESS\n",
        "  assumed: she signed in just now; --signed-in-ago 10m\n",
        "  assumed: the provider tells no way of signing in (amr); --amr mfa\n",
        "  assumed: the provider tells no level of the sign-in (acr); --acr LEVEL\n",
    ] {
        assert!(said.contains(assumed), "{said}");
    }
    assert!(said.contains("exception 1 does not: it wants a call from 10.0.0.0/8"), "{said}");

    let told = [
        "--from",
        "::ffff:10.1.2.3",
        "--signed-in-ago",
        "15m",
        "--amr",
        "pwd,mfa",
        "--acr",
        "gold",
        "--json",
    ];
    let (code, said) = bench.run(&[&asked[..], &told].concat()).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, said.get("assumed")), (0, None), "{said}");
    assert_eq!(
        (&said["asked"]["from"], &said["asked"]["signed_in_ago_s"]),
        (&"10.1.2.3".into(), &900.into())
    );
    assert_eq!(said["rules"].as_array().unwrap().last().unwrap()["exceptions"][0]["matches"], true);

    let (code, _) =
        bench.run(&[&asked[..], &told[..2], &["--signed-in-ago", "901s"], &told[4..]].concat()).unwrap();
    assert_eq!(code, DENIED);
    assert!(bench.says(&["check"]).contains("; except from 10.0.0.0/8, signed in by mfa"));
}

#[test]
fn explain_answers_with_the_rule_and_a_code() {
    let bench = Bench::with_target();
    let explain =
        |words: &[&str]| bench.run(&[&["explain", "--user", "alice", "--target", "web1"], words].concat());

    let (code, said) = explain(&["--groups", "sre"]).unwrap();
    assert_eq!(code, 0);
    assert!(said.starts_with("allow by rule sre-everywhere: alice to deploy@web1, terminal"), "{said}");

    let (code, said) = explain(&["--json", "--", "rm", "-rf", "/"]).unwrap();
    assert_eq!(code, DENIED);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["decision"].as_str(), said["asked"]["channel"].as_str()), (Some("deny"), Some("exec")));

    assert!(!said.to_string().contains("assumed"), "no rule asks for what was not said: {said}");

    let (_, said) = explain(&["--groups", "sre,dev", "--login", "root", "--channel", "sftp"]).unwrap();
    assert!(said.starts_with("allow by rule sre-everywhere: alice to root@web1, sftp"), "{said}");
    assert_eq!(explain(&["--channel", "sftp", "--", "ls"]).unwrap_err().code, 2);
    assert!(explain(&["--channel", "termnal"]).unwrap_err().to_string().contains("no kind of channel"));
    assert!(explain(&["--channel", "scp"]).unwrap_err().to_string().contains("no channel"));

    let failure = bench.run(&["explain", "--user", "alice", "--target", "wep1"]).unwrap_err();
    assert_eq!(failure.to_string(), "error: there is no target \"wep1\"\n  try: \"web1\"");
}

const DENIED: u8 = 4;

/// What ssh itself makes of the block, for one name.
fn ssh_understands(config: &str, host: &str) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), config).unwrap();
    let asked = std::process::Command::new("ssh").arg("-G").arg("-F").arg(file.path()).arg(host).output();
    let asked = asked.expect("openssh-client is installed");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    String::from_utf8(asked.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn ssh_config_leads_plain_names_through_the_bastion() {
    let bench = Bench::with_target();
    let config =
        bench.says(&["ssh-config", "--user", "alice", "--host", "bastion.example", "--port", "2022"]);

    for (host, user) in [("web1", "alice/web1"), ("web1+root", "alice/root/web1")] {
        let understood = ssh_understands(&config, host);
        for line in [&format!("user {user}"), "hostname bastion.example", "port 2022", "forwardagent no"] {
            assert!(understood.iter().any(|said| said == line), "{host}: {line}\n{config}");
        }
    }
    assert!(ssh_understands(&config, "elsewhere").contains(&"hostname elsewhere".to_owned()));
    assert!(config.contains("ssh -t -p 2022 alice@bastion.example :login") && config.contains("BatchMode"));
}

#[test]
fn ssh_config_takes_nothing_that_ssh_would_read_as_more_than_a_host() {
    let bench = Bench::with_target();
    for host in ["", "a b", "a\nProxyCommand x", "-oProxyCommand=x", "a#b", "a\"b"] {
        let failure = bench.run(&["ssh-config", "--user", "alice", &format!("--host={host}")]).unwrap_err();
        assert_eq!(failure.code, 2, "{host:?}");
        assert!(!failure.what.contains('\n'));
    }
    assert!(bench.says(&["ssh-config", "--user", "alice", "--host", "b", "web1"]).contains("Host web1\n"));
    assert!(bench.run(&["ssh-config", "--user", "alice", "--host", "b", "web2"]).is_err());
    assert!(
        !ssh_understands(&Bench::new().says(&["ssh-config", "--user", "alice", "--host", "b"]), "x")
            .is_empty()
    );
}

#[test]
fn setup_prints_a_line_that_sshd_takes() {
    let bench = Bench::with_target();
    let said = bench.says(&["target", "setup", "web1"]);
    let key = bench.says(&["key", "show", "gateway"]);
    let key = key.split(' ').nth(1).unwrap();

    assert!(
        said.contains(&format!("from=\"127.0.0.1\",restrict,pty ssh-ed25519 {key} bastion-gateway\n")),
        "{said}"
    );
    assert!(
        said.contains("~deploy/.ssh")
            && said.contains("~root/.ssh")
            && said.contains("bastion target pin web1")
    );
    assert!(bench.run(&["target", "setup", "web2"]).is_err());
}

/// A bastion with a target that certificates of the key `ca` open, and whose host key an authority vouches for.
fn with_authority() -> Bench {
    let bench = Bench::new();
    let key = bench.says(&["key", "new", "ca"]);
    let file = bench.path("b/bastion.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[keys]\n", "[keys]\nauthorities = [\"ca\"]\n") + WEB1).unwrap();
    let line = format!("@cert-authority [127.0.0.1]:1 {}", key.trim());
    bench.append("bastion.toml", &format!("key = \"ca\"\nhost_keys = [{line:?}]\n"));
    bench
}

#[test]
fn setup_of_a_target_that_certificates_open_names_the_authority_and_its_logins() {
    let bench = with_authority();
    bench.says(&["key", "rotate", "ca"]);
    let said = bench.says(&["target", "setup", "web1"]);

    for line in [
        "TrustedUserCAKeys /etc/ssh/bastion/authority.pub\n",
        "AuthorizedPrincipalsFile /etc/ssh/bastion/principals/%u\n",
        "echo deploy > /etc/ssh/bastion/principals/deploy\n",
        "echo root > /etc/ssh/bastion/principals/root\n",
        " bastion-ca\nssh-ed25519 ",
        " bastion-ca.next\nEND\n",
        "A certificate counts from 127.0.0.1 alone",
        "bastion target pin web1",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
    assert!(!said.contains("authorized_keys"), "{said}");
}

#[test]
fn authorities_are_read_aloud_and_listed() {
    let bench = with_authority();
    let fingerprint = bench.says(&["key", "list"]);
    let fingerprint = fingerprint.lines().find(|line| line.starts_with("ca ")).unwrap().rsplit(' ').next();
    let (code, said) = bench.run(&["check"]).unwrap();

    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Key \"ca\" is an authority"), "{said}");
    assert!(said.contains("with a certificate signed by key \"ca\" within 10s."), "{said}");
    assert!(said.contains(&format!("{} may vouch for its host key.", fingerprint.unwrap())), "{said}");
    assert!(!said.contains("no known host key"), "{said}");

    let listed: serde_json::Value = serde_json::from_str(&bench.says(&["target", "list", "--json"])).unwrap();
    assert_eq!(listed[0]["opened_with"], "certificate");
    assert_eq!(listed[0]["host_authorities"], serde_json::json!([fingerprint.unwrap()]));
}

#[test]
fn check_names_an_authority_that_opens_nothing() {
    let bench = with_authority();
    let file = bench.path("b/bastion.toml");
    let text = fs::read_to_string(&file).unwrap().replace("key = \"ca\"\n", "");
    fs::write(&file, text).unwrap();

    let said = bench.says(&["check"]);
    assert!(said.contains("keys.authorities names \"ca\", and no target is opened with that key"), "{said}");
}

#[test]
fn targets_are_listed_for_people_and_programs() {
    let bench = Bench::with_target();
    assert_eq!(bench.says(&["target", "list"]), "web1  127.0.0.1:1  deploy,root  env=prod\n");

    let listed: serde_json::Value = serde_json::from_str(&bench.says(&["target", "list", "--json"])).unwrap();
    assert_eq!(listed[0]["name"], "web1");
    assert_eq!(listed[0]["pinned"], serde_json::json!([]));
}

/// Answers one connection with a host key, and nothing else.
fn host(key: ::keys::PrivateKey) -> u16 {
    struct Closed;
    impl russh::server::Handler for Closed {
        type Error = russh::Error;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = std::sync::Arc::new(russh::server::Config { keys: vec![key], ..Default::default() });
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(session) = russh::server::run_stream(config.clone(), stream, Closed).await {
                    session.await.ok();
                }
            }
        });
    });
    port
}

#[test]
fn a_host_key_is_pinned_only_after_a_yes() {
    let bench = Bench::new();
    bench.says(&["key", "new", "theirs"]);
    let (vault, _) = own_keys::open_vault(&Settings::load(&bench.path("b/bastion.toml")).unwrap()).unwrap();
    let port = host(vault.load("theirs").unwrap());
    bench.append("bastion.toml", &WEB1.replace("port = 1\n", &format!("port = {port}\n")));
    let shown = ::keys::fingerprint(&vault.public("theirs").unwrap());
    let pinned = || bench.path("b/data/pins/web1").exists();

    let failure = bench.run(&["target", "pin", "web1"]).unwrap_err();
    assert_eq!(failure.code, 2, "nobody to ask: {failure}");
    for no in ["", "\n", "y\n", "no\n"] {
        let failure = bench.run_with(&["target", "pin", "web1"], Some(no.as_bytes())).unwrap_err();
        assert!(failure.what.contains("was not pinned") && !pinned(), "{no:?}");
    }

    let (_, said) = bench.run_with(&["target", "pin", "web1"], Some(b"yes\n")).unwrap();
    assert!(said.contains(&shown) && pinned(), "{said}");
    assert!(bench.says(&["target", "pin", "web1", "--yes"]).contains("It is pinned already."));
    assert!(bench.says(&["target", "list", "--json"]).contains(&shown));
    assert!(!bench.says(&["check"]).contains("no known host key"));

    bench.append("bastion.toml", &WEB1.replace("web1", "dead"));
    let failure = bench.run(&["target", "pin", "dead", "--yes"]).unwrap_err();
    assert!(failure.what.contains("dead at 127.0.0.1:1: connection refused"), "{failure}");
}
