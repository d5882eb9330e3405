mod certificates;
mod hostile;

mod rotation;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use gate::{Decision, Opening, Opens, Policy, Principal, Request, Target};
use keys::{MasterKey, VaultFault};
use russh::ChannelMsg;
use tempfile::TempDir;

use super::*;
use crate::{
    pins::PinsFault,
    settings::{Ssh, TargetSettings},
};

const KEY_ID: &str = "alice@id.example 01JD0000000000000000000000";

/// A vault with two keys and an authority, a target that lets one of them in, and a real sshd behind it.
struct Bench {
    folder: TempDir,
    vault: Arc<Vault>,
    sshd: Option<Child>,
    log: mpsc::Receiver<String>,
    port: u16,
    host_keys: KnownHosts,
    within: Duration,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(sshd) = &mut self.sshd {
            sshd.kill().ok();
            sshd.wait().ok();
        }
    }
}

impl Bench {
    /// No sshd yet.
    fn silent() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut vault = Vault::create(&folder.path().join("keys"), MasterKey::generate().unwrap()).unwrap();
        vault.generate("gateway").unwrap();
        vault.generate("other").unwrap();
        vault.generate("ca").unwrap();
        let within = Duration::from_secs(20);
        Bench {
            folder,
            vault: Arc::new(vault),
            sshd: None,
            log: mpsc::channel().1,
            port: free_port(),
            host_keys: KnownHosts::default(),
            within,
        }
    }

    /// An sshd with an Ed25519 host key that lets the key `gateway` in.
    fn with_sshd() -> Self {
        Bench::with_sshd_that("")
    }

    fn with_sshd_that(settings: &str) -> Self {
        Bench::prepared().running(settings)
    }

    /// All that an sshd needs, and none that runs.
    fn prepared() -> Self {
        let bench = Bench::silent();
        let at = |name: &str| bench.path(name);
        ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &at("host_ed25519"));
        ssh_keygen(&["-q", "-t", "ecdsa", "-N", "", "-f"], &at("host_ecdsa"));
        let gateway = bench.vault.public("gateway").unwrap().to_openssh().unwrap();
        fs::write(at("authorized_keys"), gateway).unwrap();
        bench
    }

    /// With an sshd. `FOLDER` in its settings is the bench's own.
    fn running(mut self, settings: &str) -> Self {
        let at = |name: &str| self.path(name);
        let settings = settings.replace("FOLDER", &self.folder.path().display().to_string());
        let config = format!(
            "{settings}\nPort {}\nListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nAuthorizedKeysFile {}\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPidFile none\n",
            self.port,
            at("host_ed25519").display(),
            at("host_ecdsa").display(),
            at("authorized_keys").display(),
        );
        fs::write(at("sshd_config"), config).unwrap();
        fs::create_dir_all("/run/sshd").ok(); // Only root's sshd asks for it, and only root can make it.
        let mut sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(at("sshd_config"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssh-server is installed");
        let mut lines = BufReader::new(sshd.stderr.take().unwrap()).lines();
        self.sshd = Some(sshd);
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Server listening"));
        assert!(ready, "sshd listens");
        // What it says later must be read, or it would stop at a full pipe.
        let (said, log) = mpsc::channel();
        // The bench may be gone before its sshd has said its last.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(said.send(line))));
        self.log = log;
        self
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until its sshd says this.
    #[track_caller]
    fn logged(&self, words: &str) -> String {
        let mut said = Vec::new();
        while let Ok(line) = self.log.recv_timeout(self.within) {
            if line.contains(words) {
                return line;
            }
            said.push(line);
        }
        panic!("{words:?} in {said:#?}")
    }

    fn host_key(&self, kind: &str) -> PublicKey {
        let file = self.path(&format!("host_{kind}.pub"));
        fs::read_to_string(file).unwrap().parse().unwrap()
    }

    /// Trusts the lines of a known_hosts file.
    fn trusting(mut self, lines: &str) -> Self {
        self.host_keys = KnownHosts::parse(lines).unwrap();
        self
    }

    fn trusting_it(self) -> Self {
        let line = KnownHosts::line("127.0.0.1", self.port, &self.host_key("ed25519"));
        self.trusting(&line)
    }

    async fn dial_with(&self, key: &str) -> Result<Dialled, DialFault> {
        let (grant, context) = self.grant(key);
        dial(&grant, Traffic::Bulk, KEY_ID, &context).await
    }

    async fn dial(&self) -> Result<Dialled, DialFault> {
        self.dial_with("gateway").await
    }

    async fn problem(&self) -> DialProblem {
        self.fault().await.problem
    }

    async fn fault(&self) -> DialFault {
        match self.dial().await {
            Err(fault) => fault,
            Ok(_) => panic!("this target must not be opened"),
        }
    }

    fn grant(&self, key: &str) -> (Grant, DialContext) {
        let login: Name = whoami().parse().unwrap();
        let target = Target {
            name: "web1".parse().unwrap(),
            address: "127.0.0.1".into(),
            port: self.port,
            labels: Default::default(),
            logins: vec![login.clone()],
            default_login: Some(login),
            key: key.parse().unwrap(),
        };
        let mut targets = Targets::default();
        let settings = TargetSettings::new(target.clone(), self.host_keys.clone());
        targets.insert(TargetSettings { connect_timeout: self.within, ..settings });
        let context = DialContext {
            vault: self.vault.clone(),
            authorities: ["ca".parse().unwrap()].into(),
            overlap: Duration::from_secs(3600),
            targets: Arc::new(targets),
            pins: self.folder.path().join("pins"),
            opened: self.folder.path().join("opened"),
            preferred: Ssh::default().preferred(),
        };
        (granted(target), context)
    }
}

/// A policy is the only way to a grant.
fn granted(target: Target) -> Grant {
    let policy = "[[rule]]\nname = \"all\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\n";
    let request = Request {
        principal: somebody(),
        target,
        login: None,
        opening: Opening { pty: None, env: vec![], refused: vec![], opens: Opens::Shell },
        now: 0,
    };
    match Policy::parse(policy, "policy.toml").unwrap().decide(&request) {
        Decision::Allow(grant) => grant,
        Decision::Deny(denial) => panic!("{denial}"),
    }
}

fn somebody() -> Principal {
    Principal {
        issuer: "https://id.example".into(),
        subject: "1".into(),
        name: "alice".parse().unwrap(),
        email: None,
        groups: Default::default(),
        source: [127, 0, 0, 1].into(),
        key: None,
        signed_in_at: 0,
        amr: Default::default(),
        acr: None,
        certificate: None,
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn whoami() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

fn ssh_keygen(arguments: &[&str], file: &Path) {
    let made = Command::new("ssh-keygen").args(arguments).arg(file).output();
    let made = made.expect("ssh-keygen is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// What a command prints on the target.
async fn run(dialled: Dialled, command: &str) -> String {
    let Dialled { mut channel, handle: _handle } = dialled;
    channel.exec(true, command).await.unwrap();
    let mut printed = Vec::new();
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::Data { data } = message {
            printed.extend_from_slice(&data);
        }
    }
    String::from_utf8(printed).unwrap()
}

#[tokio::test]
async fn a_target_with_a_known_host_key_is_opened_with_the_gateways_key() {
    let bench = Bench::with_sshd().trusting_it();

    assert_eq!(run(bench.dial().await.unwrap(), "echo here; id -un").await, format!("here\n{}\n", whoami()));
}

#[tokio::test]
async fn a_pin_holds_at_once_and_so_does_its_removal() {
    let bench = Bench::with_sshd();
    let web1: Name = "web1".parse().unwrap();
    let pins = bench.folder.path().join("pins");
    assert!(matches!(bench.problem().await, DialProblem::UnknownHostKey { .. }));

    let line = KnownHosts::line("127.0.0.1", bench.port, &bench.host_key("ed25519"));
    pins::write(&pins, &web1, &line).unwrap();
    bench.dial().await.unwrap();

    fs::remove_file(pins.join("web1")).unwrap();
    assert!(matches!(bench.problem().await, DialProblem::UnknownHostKey { .. }));
}

#[tokio::test]
async fn a_hashed_pin_is_a_pin() {
    let bench = Bench::with_sshd();
    let file = bench.folder.path().join("known_hosts");
    fs::write(&file, KnownHosts::line("127.0.0.1", bench.port, &bench.host_key("ed25519")) + "\n").unwrap();
    ssh_keygen(&["-q", "-H", "-f"], &file);
    let hashed = fs::read_to_string(&file).unwrap();
    assert!(hashed.starts_with("|1|"));

    bench.trusting(&hashed).dial().await.unwrap();
}

#[tokio::test]
async fn an_unknown_host_key_is_refused_with_its_fingerprint_and_what_to_do() {
    let bench = Bench::with_sshd();
    let fault = bench.fault().await;

    let shown = fingerprint(&bench.host_key("ed25519"));
    assert!(matches!(&fault.problem, DialProblem::UnknownHostKey { shown: s } if *s == shown), "{fault}");
    assert!(fault.told().contains(&shown) && fault.told().contains("bastion target pin web1"));
    assert!(!fault.told().contains("127.0.0.1"), "a caller is not told addresses");
}

#[tokio::test]
async fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let bench = Bench::with_sshd();
    let other = bench.folder.path().join("other");
    ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &other);
    let old: PublicKey = fs::read_to_string(other.with_extension("pub")).unwrap().parse().unwrap();
    let bench = {
        let line = KnownHosts::line("127.0.0.1", bench.port, &old);
        bench.trusting(&line)
    };
    let fault = bench.fault().await;

    assert!(matches!(fault.problem, DialProblem::ChangedHostKey { .. }), "{fault}");
    for key in [&old, &bench.host_key("ed25519")] {
        assert!(fault.to_string().contains(&fingerprint(key)) && fault.told().contains(&fingerprint(key)));
    }
}

#[tokio::test]
async fn of_several_host_keys_the_known_one_is_asked_for() {
    let bench = Bench::with_sshd();
    let line = KnownHosts::line("127.0.0.1", bench.port, &bench.host_key("ecdsa"));

    bench.trusting(&line).dial().await.unwrap();
}

#[tokio::test]
async fn a_revoked_host_key_is_refused() {
    let bench = Bench::with_sshd();
    let line = KnownHosts::line("127.0.0.1", bench.port, &bench.host_key("ed25519"));
    let revoked = format!("{line}\n@revoked * {}\n", bench.host_key("ed25519").to_openssh().unwrap());

    assert!(matches!(bench.trusting(&revoked).problem().await, DialProblem::RevokedHostKey { .. }));
}

#[tokio::test]
async fn a_pin_file_that_others_can_write_opens_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::with_sshd();
    let pins = bench.folder.path().join("pins");
    let line = KnownHosts::line("127.0.0.1", bench.port, &bench.host_key("ed25519"));
    pins::write(&pins, &"web1".parse().unwrap(), &line).unwrap();
    fs::set_permissions(pins.join("web1"), fs::Permissions::from_mode(0o666)).unwrap();

    assert!(matches!(bench.problem().await, DialProblem::Pins(PinsFault::File(_))));
}

#[tokio::test]
async fn a_key_that_the_target_does_not_know_is_refused_by_name() {
    let bench = Bench::with_sshd().trusting_it();
    let fault = bench.dial_with("other").await.err().unwrap();

    assert!(
        matches!(&fault.problem, DialProblem::LoginRefused { key, .. } if key.as_str() == "other"),
        "{fault}"
    );
    assert!(fault.told().contains("bastion target setup web1"));
    assert!(fault.to_string().contains("it wants publickey"), "{fault}");
}

#[tokio::test]
async fn a_key_that_the_vault_does_not_have_is_named_in_the_log_and_not_to_the_caller() {
    let bench = Bench::with_sshd().trusting_it();
    let fault = bench.dial_with("nobody").await.err().unwrap();

    assert!(matches!(fault.problem, DialProblem::Key(VaultFault::Unknown { .. })), "{fault}");
    assert!(!fault.told().contains("nobody"));
}

#[tokio::test]
async fn a_target_that_opens_no_session_is_named() {
    let bench = Bench::with_sshd_that("MaxSessions 0").trusting_it();

    assert!(matches!(bench.problem().await, DialProblem::ChannelRefused(_)));
}

#[tokio::test]
async fn a_target_without_an_algorithm_of_ours_is_named() {
    let bench = Bench::with_sshd_that("Ciphers chacha20-poly1305@openssh.com").trusting_it();
    let fault = bench.fault().await;

    assert!(matches!(fault.problem, DialProblem::NoCommonAlgorithm(_)), "{fault}");
    assert!(fault.to_string().contains("chacha20-poly1305@openssh.com"), "{fault}");
}

#[tokio::test]
async fn a_dead_port_and_a_name_without_address_are_told_apart() {
    let mut bench = Bench::silent();
    let fault = bench.fault().await;
    assert!(matches!(fault.problem, DialProblem::Refused), "{fault}");
    assert_eq!(fault.told(), "web1 cannot be reached: connection refused");

    bench.port = 22;
    let (grant, context) = bench.grant("gateway");
    let target = Target { address: "no-such-host.invalid".into(), ..grant.target().clone() };
    let fault = dial(&granted(target), Traffic::Terminal, KEY_ID, &context).await.err().unwrap();
    assert!(matches!(fault.problem, DialProblem::NoSuchHost(_)), "{fault}");
}

#[tokio::test]
async fn a_port_that_accepts_and_says_nothing_ends_the_dial_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = Bench::silent();
    bench.port = listener.local_addr().unwrap().port();
    bench.within = Duration::from_millis(200);
    let fault = bench.fault().await;

    assert!(matches!(fault.problem, DialProblem::TimedOut { stage: Stage::Greeting, .. }), "{fault}");
    assert_eq!(fault.told(), "web1 cannot be reached: no answer within 200ms");
}

/// It greets, and falls silent before the key exchange: then the SSH library has a task of its own for it.
#[tokio::test]
async fn a_target_that_falls_silent_in_its_greeting_keeps_no_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut bench = Bench::silent();
    bench.port = listener.local_addr().unwrap().port();
    bench.within = Duration::from_millis(300);
    let target = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-silent\r\n").await.unwrap();
        let mut heard = Vec::new();
        // Ends when the other side closes, or hangs the test.
        stream.read_to_end(&mut heard).await.ok();
        heard
    });
    let fault = bench.fault().await;

    assert!(matches!(fault.problem, DialProblem::TimedOut { stage: Stage::Greeting, .. }), "{fault}");
    assert!(target.await.unwrap().starts_with(b"SSH-2.0-bastion\r\n"));
}

#[tokio::test]
async fn a_target_that_is_no_ssh_server_is_named_without_its_bytes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bench = Bench::silent();
    bench.port = listener.local_addr().unwrap().port();
    let target = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"\x1b[2JHTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let fault = bench.fault().await;
    target.join().unwrap();

    assert!(matches!(fault.problem, DialProblem::Lost { stage: Stage::Greeting, .. }), "{fault}");
    assert!(!fault.to_string().contains('\u{1b}') && !fault.told().contains('\u{1b}'));
}

#[tokio::test]
async fn a_scan_tells_the_host_key_and_shows_no_key_of_ours() {
    let bench = Bench::with_sshd();
    let preferred = Ssh::default().preferred();

    let key = scan("127.0.0.1", bench.port, bench.within, preferred.clone()).await.unwrap();
    assert_eq!(key.key_data(), bench.host_key("ed25519").key_data());

    let dead = scan("127.0.0.1", free_port(), bench.within, preferred).await;
    assert!(matches!(dead, Err(DialProblem::Refused)));
}
