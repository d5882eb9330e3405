//! Targets that take no key, or speak only what is old: by their settings, and in no other way.

use std::{fs, path::Path, process::Command};

use serde_json::json;
use tests::world::{Done, LONG, Program, SHORT, Setup, TestBastion, TestTarget, built, scratch, within};

const PASSWORD: &str = "correct-horse-battery";

/// A server of paramiko's, as its one argument says: which methods it lets in by, what it asks, what it can speak. It
/// prints what it is told.
const SERVER: &str = r#"
import json, socket, sys, threading
import paramiko
from paramiko.server import InteractiveQuery

config = json.loads(sys.argv[1])
key = paramiko.ECDSAKey.generate()
if config.get("sha1"):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    key = paramiko.RSAKey.generate(2048)
    def sign(data, algorithm=None):
        signature = paramiko.Message()
        signature.add_string("ssh-rsa")
        signature.add_string(key.key.sign(data, padding.PKCS1v15(), hashes.SHA1()))
        return signature
    key.sign_ssh_data = sign

def say(*words):
    print(*words, flush=True)

class Server(paramiko.ServerInterface):
    def __init__(self):
        self.rounds = list(config.get("rounds", []))
        self.told = False
    def get_allowed_auths(self, user):
        return config["methods"]
    def check_auth_publickey(self, user, key):
        say("key", key.get_base64())
        return paramiko.AUTH_PARTIALLY_SUCCESSFUL if config.get("partial") else paramiko.AUTH_FAILED
    def check_auth_password(self, user, password):
        say("password", password)
        right = "password" in config["methods"] and password == config["password"]
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED
    def ask(self):
        return InteractiveQuery("", "", *[tuple(prompt) for prompt in self.rounds.pop(0)])
    def check_auth_interactive(self, user, submethods):
        return self.ask() if self.rounds else paramiko.AUTH_FAILED
    def check_auth_interactive_response(self, responses):
        say("answers", *responses)
        self.told = self.told or config["password"] in responses
        if self.rounds:
            return self.ask()
        return paramiko.AUTH_SUCCESSFUL if self.told else paramiko.AUTH_FAILED
    def check_channel_request(self, kind, channel):
        return paramiko.OPEN_SUCCEEDED
    def check_channel_exec_request(self, channel, command):
        def answer():
            channel.send(b"reached\n")
            channel.send_exit_status(0)
            channel.close()
        threading.Timer(0.05, answer).start()
        return True

def serve(stream):
    transport = paramiko.Transport(stream, strict_kex=config.get("strict", True))
    options = transport.get_security_options()
    if "ciphers" in config:
        options.ciphers = config["ciphers"]
    if "macs" in config:
        options.digests = config["macs"]
    transport.add_server_key(key)
    try:
        transport.start_server(server=Server(), event=threading.Event())
        kept = []
        while transport.is_active():
            kept.append(transport.accept(1))
    except Exception as fault:
        say("fault", fault)

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(50)
say("at", listener.getsockname()[1], key.get_name(), key.get_base64())
while True:
    stream, _ = listener.accept()
    threading.Thread(target=serve, args=(stream,), daemon=True).start()
"#;

/// Such a server, its port and its host key.
struct Server {
    program: Program,
    port: u16,
    key: String,
}

impl Server {
    #[track_caller]
    fn start(config: serde_json::Value) -> Server {
        let python =
            std::env::var("NEW_PY").expect("NEW_PY names a python with paramiko, as tests/run installs it");
        let mut config = config;
        config["password"] = PASSWORD.into();
        let mut command = Command::new(python);
        command.args(["-c", SERVER, &config.to_string()]);
        let program = Program::keep(command);
        let line = within(LONG, "a server to listen", || {
            assert!(program.ended().is_none(), "it did not start: {}", program.err.text());
            program.out.text().lines().next().map(str::to_owned).filter(|line| line.split(' ').count() == 4)
        });
        let mut words = line.splitn(3, ' ').skip(1);
        let port = words.next().unwrap().parse().unwrap();
        Server { program, port, key: words.next().unwrap().to_owned() }
    }

    /// A bastion that knows it as `old1`, with these lines in its settings, and the password in its vault.
    #[track_caller]
    fn known(&self, lines: &str) -> TestBastion {
        let bastion = Setup::default()
            .table("[log]\nfilter = \"info,bastion=trace,russh=trace\"")
            .target("old1", self.port, &self.key, lines)
            .start();
        set(&bastion, "old1", PASSWORD).expect_ok("bastion key password set");
        bastion.stop();
        bastion.start_again();
        bastion
    }

    /// What it was told of this kind.
    fn told(&self, kind: &str) -> Vec<String> {
        let text = self.program.out.text();
        let of_kind = |line: &str| line.strip_prefix(kind).map(|rest| rest.trim().to_owned());
        text.lines().filter_map(of_kind).collect()
    }
}

#[track_caller]
fn set(bastion: &TestBastion, name: &str, password: &str) -> Done {
    let file = bastion.path("typed");
    fs::write(&file, format!("{password}\n")).unwrap();
    let mut command = bastion.program("bastion", &["key", "password", "set", name]);
    let done = Program::start_with(&mut command, fs::File::open(&file).unwrap().into()).done(LONG);
    fs::remove_file(file).unwrap();
    done
}

/// Nowhere in the log, and nowhere in the folder of settings, recordings and keys.
#[track_caller]
fn assert_nowhere(bastion: &TestBastion) {
    assert!(!bastion.log().contains(PASSWORD), "it is in the log");
    let found = Command::new("grep").args(["-rl", PASSWORD]).arg(bastion.folder()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "it lies on the disk");
}

#[track_caller]
fn assert_refused(bastion: &TestBastion, done: &Done, why: &str) {
    assert_eq!(done.code, Some(69), "{done:?}");
    assert!(done.err.contains("old1 does not let the bastion in as"), "{done:?}");
    bastion.logged(why);
}

#[test]
fn a_target_that_takes_a_password_is_opened_with_it_and_nobody_learns_it() {
    let server = Server::start(json!({ "methods": "password" }));
    let bastion = server.known("auth = \"password\"\npassword = \"old1\"");
    let ana = bastion.caller("ana");

    let done = ana.ssh(&["old1", "true"]).done().expect_ok("a session by password");

    assert_eq!(done.text(), "reached\n");
    assert_eq!(server.told("password"), [PASSWORD]);
    assert!(server.told("key").is_empty(), "no key was shown");
    assert!(bastion.log().contains("TRACE"), "all is logged that can be");
    assert_nowhere(&bastion);
    let audit = bastion.command(&["audit", "--act", "password-set"]).text();
    assert!(audit.contains("name=old1"), "{audit}");
    assert!(bastion.command(&["check"]).text().contains("with password \"old1\" within"));
    let setup = bastion.command(&["target", "setup", "old1"]).expect_ok("bastion target setup").text();
    assert!(setup.contains("bastion key password set old1") && !setup.contains("authorized_keys"), "{setup}");
}

/// PAM says what it has to say in rounds that ask nothing.
#[test]
fn a_target_that_asks_for_a_password_is_told_it_once() {
    let rounds = json!([[], [["Password: ", false]], []]);
    let server = Server::start(json!({ "methods": "keyboard-interactive", "rounds": rounds }));
    let bastion = server.known("auth = \"keyboard-interactive\"\npassword = \"old1\"");
    let ana = bastion.caller("ana");

    assert_eq!(ana.ssh(&["old1", "true"]).done().expect_ok("a session").text(), "reached\n");

    assert_eq!(server.told("answers"), ["", PASSWORD, ""]);
    assert_nowhere(&bastion);
}

#[test]
fn no_other_question_is_answered() {
    for (rounds, why, told) in [
        (json!([[["Password: ", false], ["Code: ", false]]]), "it asks 2 things at once", vec![]),
        (json!([[["Password: ", true]]]), "and would show the answer", vec![]),
        (
            json!([[["Password: ", false]], [["New password: ", false]]]),
            "after the password it asks [\"New password: \"]",
            vec![PASSWORD],
        ),
        (json!([[], [], [], [], [], [], [], [], [], []]), "it comes to no end", vec![]),
    ] {
        let server = Server::start(json!({ "methods": "keyboard-interactive", "rounds": rounds }));
        let bastion = server.known("auth = \"keyboard-interactive\"\npassword = \"old1\"");
        let ana = bastion.caller("ana");

        let done = ana.ssh(&["old1", "true"]).done();

        assert_refused(&bastion, &done, "only one question for a password is answered");
        bastion.logged(why);
        let answers: Vec<String> = server.told("answers").into_iter().filter(|it| !it.is_empty()).collect();
        assert_eq!(answers, told, "{why}");
    }
}

#[test]
fn a_wrong_password_and_a_missing_one_are_told_apart() {
    let server = Server::start(json!({ "methods": "password" }));
    let bastion = server.known("auth = \"password\"\npassword = \"old1\"");
    let ana = bastion.caller("ana");
    set(&bastion, "old1", "another one").expect_ok("bastion key password set");
    bastion.reload();
    let done = within(SHORT, "the other password", || {
        Some(ana.ssh(&["old1", "true"]).done()).filter(|done| done.code != Some(0))
    });
    assert_refused(&bastion, &done, "with password \"old1\" refused; it wants password");

    let removed = bastion.command(&["key", "password", "remove", "old1"]);
    assert!(removed.code == Some(1) && removed.err.contains("is in use: target old1"), "{removed:?}");
    let settings = fs::read_to_string(bastion.settings()).unwrap();
    fs::write(bastion.settings(), settings.replace("password = \"old1\"", "password = \"lost\"")).unwrap();
    bastion.command(&["key", "password", "remove", "old1"]).expect_ok("now no target uses it");
    let check = bastion.command(&["check"]).text();
    assert!(check.contains("target old1 names password \"lost\", which is not in the vault"), "{check}");
    assert!(check.contains("try: bastion key password set lost"), "{check}");
    bastion.reload();
    let done = within(SHORT, "the reload", || {
        Some(ana.ssh(&["old1", "true"]).done()).filter(|done| done.code == Some(78))
    });
    assert!(!done.err.contains("lost"), "{done:?}");
    bastion.logged("there is no password lost in the vault: bastion key password set lost");
}

#[test]
fn a_password_is_shown_only_to_a_target_whose_settings_say_so() {
    let server = Server::start(json!({ "methods": "publickey,password", "partial": true }));
    let bastion = server.known("");
    let ana = bastion.caller("ana");

    let done = ana.ssh(&["old1", "true"]).done();

    assert_refused(&bastion, &done, "the key is taken, and it wants");
    assert!(server.told("password").is_empty());
}

#[test]
fn a_target_that_wants_a_key_and_then_a_password_gets_both() {
    let server = Server::start(json!({ "methods": "publickey,password", "partial": true }));
    let bastion = server.known("auth = \"key+password\"\npassword = \"old1\"");
    let ana = bastion.caller("ana");

    assert_eq!(ana.ssh(&["old1", "true"]).done().expect_ok("a session").text(), "reached\n");

    assert!(!server.told("key").is_empty());
    assert_eq!(server.told("password"), [PASSWORD]);
    assert_nowhere(&bastion);
}

#[test]
fn an_old_algorithm_is_refused_unless_the_settings_of_its_target_name_it() {
    let folder = scratch();
    let rsa = folder.path().join("rsa");
    for (sshd, names, kind) in [
        ("KexAlgorithms diffie-hellman-group14-sha1", "\"diffie-hellman-group14-sha1\"", "Kex"),
        ("Ciphers aes128-cbc\nMACs hmac-sha1", "\"aes128-cbc\", \"hmac-sha1\"", "Cipher"),
        ("HostKeyAlgorithms ssh-rsa", "\"ssh-rsa\"", "Key"),
    ] {
        let is_rsa = kind == "Key";
        if is_rsa {
            make_rsa(&rsa);
        }
        let host_key = if is_rsa { format!("HostKey {}\n", rsa.display()) } else { String::new() };
        let target = TestTarget::start(&format!("{host_key}{sshd}"));
        let pinned = match is_rsa {
            true => fs::read_to_string(rsa.with_extension("pub")).unwrap().trim().to_owned(),
            false => target.host_key(),
        };
        let weak = format!("weak_algorithms = [{names}]");
        let bastion = Setup::default()
            .target("old1", target.port(), &pinned, "")
            .target("old2", target.port(), &pinned, &weak)
            .start();
        target.authorize(&bastion.gateway_key("old1"));
        let ana = bastion.caller("ana");

        let done = ana.ssh(&["old1", "true"]).done();
        assert_eq!(done.code, Some(69), "{sshd}: {done:?}");
        assert!(done.err.contains("its SSH server is not one that the bastion may trust"), "{done:?}");
        let first = names.split(',').next().unwrap();
        bastion.logged(&format!("no algorithm in common: {kind}, it has "));
        bastion.logged(&format!("weak_algorithms = [{first}"));

        ana.ssh(&["old2", "true"]).done().expect_ok(sshd);
        let plain = names.replace('"', "");
        bastion.logged(&format!("old2 is offered weak algorithms too: {plain}"));
        let pin = |target: &str| bastion.command(&["target", "pin", target, "--yes"]).code;
        assert_eq!(
            (pin("old1"), pin("old2")),
            (Some(1), Some(0)),
            "{sshd}: a pin is asked for as a session is"
        );
        let check = bastion.command(&["check"]).expect_ok("bastion check").text();
        let weak = if plain.contains(',') { "weak algorithms" } else { "a weak algorithm" };
        assert!(check.contains(&format!("target old2 is offered {weak}: {plain}")), "{check}");
        assert!(!check.contains("target old1 is offered"), "{check}");
    }
}

fn make_rsa(file: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    let made = keygen.args(["-q", "-t", "rsa", "-b", "3072", "-N", "", "-f"]).arg(file).status();
    assert!(made.expect("ssh-keygen runs").success());
}

/// A target from before 2024 has no strict key exchange. Where the MAC is over what is encrypted, a message could be
/// taken away unseen, and no setting of a target lets that pass.
#[test]
fn an_old_target_without_strict_key_exchange_is_opened_only_where_no_message_can_be_lost() {
    let old = |mac: &str| json!({ "methods": "password", "strict": false, "ciphers": ["aes128-ctr"], "macs": [mac] });
    let auth = "auth = \"password\"\npassword = \"old1\"\n";
    let plain = Server::start(old("hmac-sha2-256"));
    let bastion = plain.known(&format!("{auth}weak_algorithms = [\"hmac-sha2-256\"]"));
    let ana = bastion.caller("ana");
    assert_eq!(ana.ssh(&["old1", "true"]).done().expect_ok("a session").text(), "reached\n");

    let etm = Server::start(old("hmac-sha2-256-etm@openssh.com"));
    let bastion = etm.known(&format!("{auth}weak_algorithms = [\"hmac-sha2-256\"]"));
    let ana = bastion.caller("ana");
    assert_eq!(ana.ssh(&["old1", "true"]).done().code, Some(69));
    bastion.logged("CVE-2023-48795");
    assert!(etm.told("password").is_empty(), "nothing was shown to it");
}

#[test]
fn a_password_is_typed_unseen_and_twice() {
    let bastion = TestBastion::start();
    let program = built("bastion").to_string_lossy().into_owned();
    let env = [("BASTION_CONFIG".to_owned(), bastion.settings().to_string_lossy().into_owned())];
    let words = ["key", "password", "set", "old1"].map(str::to_owned);
    let begin = || Program::on_terminal(&program, &words, &env, 100, 30);
    let list = || bastion.command(&["key", "password", "list"]).expect_ok("bastion key password list").text();

    let typed = begin();
    typed.out.wait("Password old1: ", SHORT);
    typed.send("\u{3}");
    let done = typed.done(SHORT);
    assert!(done.code == Some(1) && done.text().contains("called off"), "{done:?}");

    let typed = begin();
    let at = typed.out.wait("Password old1: ", SHORT);
    typed.send("one thing\r");
    typed.out.wait_from(at, "Again: ", SHORT);
    typed.send("another thing\r");
    let done = typed.done(SHORT);
    assert!(done.code == Some(1) && done.text().contains("the two passwords differ"), "{done:?}");
    assert!(list().starts_with("no password is in the vault in "));

    let typed = begin();
    let at = typed.out.wait("Password old1: ", SHORT);
    typed.send(format!("{PASSWORD}\r"));
    typed.out.wait_from(at, "Again: ", SHORT);
    typed.send(format!("{PASSWORD}\r"));
    let done = typed.done(SHORT);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!done.text().contains("correct") && !done.text().contains("thing"), "{done:?}");
    assert_eq!(list(), "old1\n");
    assert_nowhere(&bastion);

    bastion.command(&["key", "password", "remove", "old1"]).expect_ok("bastion key password remove");
    assert!(list().starts_with("no password is in the vault in "));
    let gone = bastion.command(&["key", "password", "remove", "old1"]);
    assert!(gone.code == Some(1) && gone.err.contains("there is no password \"old1\""), "{gone:?}");
}

/// SSH libraries verify what they find, whatever they had asked for.
#[test]
fn a_target_that_signs_with_sha_1_unasked_is_shown_no_password() {
    let server = Server::start(json!({ "methods": "password", "sha1": true }));
    let bastion = server.known("auth = \"password\"\npassword = \"old1\"");
    let ana = bastion.caller("ana");

    let done = ana.ssh(&["old1", "true"]).done();
    assert_eq!(done.code, Some(69), "{done:?}");
    assert!(done.err.contains("its SSH server is not one that the bastion may trust"), "{done:?}");
    bastion.logged("it proves its host key with ssh-rsa, which it was not offered");
    assert!(server.told("password").is_empty());

    let asked = server.known("auth = \"password\"\npassword = \"old1\"\nweak_algorithms = [\"ssh-rsa\"]");
    let ana = asked.caller("ana");
    ana.ssh(&["old1", "true"]).done().expect_ok("where its settings say so");
}
