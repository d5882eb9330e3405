//! The README's first command, as a stranger types it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;
use tests::{
    provider::Provider,
    world::{
        Caller, LONG, Program, SHORT, Setup, TestBastion, TestTarget, built, free_port, scratch, user_code,
        within,
    },
};

/// One request to the demo's own provider, as a browser sends it; answers with what it said.
fn ask(host: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let form = "Content-Type: application/x-www-form-urlencoded";
    let origin = format!("Origin: http://{host}");
    write!(stream, "{head} HTTP/1.1\r\nHost: {host}\r\n{origin}\r\nConnection: close\r\n{form}\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn the_first_command_leads_to_a_recorded_shell_and_leaves_nothing_behind() {
    let folder = scratch();
    let before = tests::world::files_below(folder.path()).len();
    let port = free_port();
    let mut command = Command::new(built("bastion"));
    command.args(["demo", "--listen", &format!("127.0.0.1:{port}")]);
    // What a login session has, and no other server of this machine.
    let runtime = scratch();
    command.env("TMPDIR", folder.path()).env("XDG_RUNTIME_DIR", runtime.path());
    let demo = Program::start_with(&mut command, Stdio::null());
    let out = demo.out.clone();
    within(LONG, "the demo's lines", || {
        assert!(demo.ended().is_none(), "{}{}", out.text(), demo.err.text());
        (out.text() + &demo.err.text()).contains("replay -- last").then_some(())
    });
    let told = out.text() + &demo.err.text();
    for line in [&format!("ssh -t -p {port} alice@"), "web1", "cargo run --release -p replay -- last"] {
        assert!(told.contains(line), "{line:?} in {told}");
    }

    let alice = Caller::new("alice", port);
    let ssh = alice.ssh(&["web1"]).attended().options(&["-t"]).on_terminal(90, 30);
    let code = user_code(&ssh);
    approve(&told, &code);
    let at = ssh.out.wait("press Enter: ", SHORT);
    ssh.send("\r");
    ssh.send("echo $((6*7))-in-the-demo; tty; exit 9\r");
    ssh.out.wait_from(at, "42-in-the-demo", LONG);
    assert_eq!(ssh.done(SHORT).code, Some(9));

    // The player finds the demo by its control socket.
    let replay = built("replay").to_string_lossy().into_owned();
    let env = [
        ("TMPDIR".to_owned(), folder.path().to_string_lossy().into_owned()),
        ("XDG_RUNTIME_DIR".into(), runtime.path().to_string_lossy().into_owned()),
        ("TERM".into(), "xterm".into()),
    ];
    let replay = Program::on_terminal(&replay, &["last".to_owned()], &env, 120, 40);
    let at = replay.out.wait("\x1b[", SHORT);
    replay.send("\x1b[F");
    replay.out.wait_from(at, "42-in-the-demo", SHORT);
    replay.send("q");
    replay.done(SHORT);

    // So do all commands about what was recorded, decided or bound, and they say whose it is.
    let elsewhere = scratch();
    for words in [&["sessions"][..], &["audit"], &["bindings", "list"], &["names", "list"]] {
        let mut command = Command::new(built("bastion"));
        command.args(words).arg("--json").current_dir(elsewhere.path());
        command.env("TMPDIR", folder.path()).env("XDG_RUNTIME_DIR", runtime.path());
        let done = command.output().unwrap();
        let said: serde_json::Value = serde_json::from_slice(&done.stdout).expect("a JSON list");
        assert!(said.to_string().contains("alice") || words[0] == "bindings", "{words:?}: {said}");
        let note = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            note.contains("this is of the server that runs on") && note.contains("bastion-demo-"),
            "{note}"
        );
    }

    demo.signal(Signal::INT);
    let done = demo.done(SHORT);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(tests::world::files_below(folder.path()).len(), before, "nothing is left behind");
}

/// Confirms a code on the demo's own page, with the word that it printed, as alice.
fn approve(told: &str, code: &str) {
    let issuer =
        told.split_whitespace().find(|word| word.starts_with("http://")).expect("the sign-in's address");
    let word = told.split("word:").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("the word");
    let host = issuer.trim_start_matches("http://").trim_end_matches('/');
    assert!(host.starts_with("127.0.0.1:"), "{issuer}");

    let page = ask(host, &format!("GET /device?user_code={code}"), "");
    assert!(page.contains("For development only") && page.contains(code), "{page}");
    let wrong =
        ask(host, "POST /device", &format!("user_code={code}&person=alice&word=wrong&answer=confirm"));
    assert!(wrong.contains("role=\"alert\""), "{wrong}");
    let right =
        ask(host, "POST /device", &format!("user_code={code}&person=alice&word={word}&answer=confirm"));
    assert!(right.contains("Signed in as alice"), "{right}");
}

#[test]
fn the_demo_keeps_what_it_was_told_to_keep() {
    let folder = scratch();
    let data = folder.path().join("kept");
    let listen = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(built("bastion"));
    command.args(["demo", "--listen", &listen, "--data"]).arg(&data);
    let demo = Program::start_with(&mut command, Stdio::null());
    within(LONG, "the demo's lines", || {
        (demo.out.text() + &demo.err.text()).contains("alice@").then_some(())
    });
    // As a terminal does that is closed.
    demo.signal(Signal::HUP);
    assert_eq!(demo.done(SHORT).code, Some(0));

    assert!(fs::read_dir(&data).is_ok_and(|mut files| files.next().is_some()), "what it was told to keep");
}

#[test]
fn the_demo_writes_over_nothing_that_is_not_a_demos() {
    let folder = scratch();
    fs::write(folder.path().join("policy.toml"), "# mine\n").unwrap();
    let mut command = Command::new(built("bastion"));
    command.args(["demo", "--listen", &format!("127.0.0.1:{}", free_port()), "--data"]).arg(folder.path());
    let done = Program::start_with(&mut command, Stdio::null()).done(LONG);

    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.err.contains("is not empty, and no demo's folder"), "{}", done.err);
    assert_eq!(fs::read_to_string(folder.path().join("policy.toml")).unwrap(), "# mine\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_session_is_found_beside_a_demo_that_does_not_have_it() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    ana.ssh(&["web1", "echo here-it-is"]).done().expect_ok("a session");
    let session = bastion.last_session_of("ana");
    bastion.stop();
    let runtime = scratch();
    let mut command = Command::new(built("bastion"));
    command.args(["demo", "--listen", &format!("127.0.0.1:{}", free_port())]);
    command.env("XDG_RUNTIME_DIR", runtime.path());
    let demo = Program::start_with(&mut command, Stdio::null());
    within(LONG, "the demo's lines", || {
        (demo.out.text() + &demo.err.text()).contains("alice@").then_some(())
    });

    let mut export = bastion.program("replay", &["export", session["id"].as_str().unwrap()]);
    export.env_remove("BASTION_DATA").env("XDG_RUNTIME_DIR", runtime.path());
    let done = Program::start_with(&mut export, Stdio::null()).done(LONG).expect_ok("out of ./data");
    assert!(done.text().contains("here-it-is"), "{}", done.text());
    demo.signal(Signal::TERM);
    assert_eq!(demo.done(SHORT).code, Some(0));
}

#[test]
fn the_demo_opens_nothing_but_loopback() {
    let mut command = Command::new(built("bastion"));
    command.args(["demo", "--listen", &format!("0.0.0.0:{}", free_port())]);
    let done = Program::start_with(&mut command, Stdio::null()).done(SHORT);

    assert_ne!(done.code, Some(0));
    assert!(done.err.contains("loopback"), "{}", done.err);
}

/// The ports of 127.0.0.1 at which this process answers as an SSH server.
fn ssh_ports(pid: u32) -> Vec<u16> {
    let handles = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").flatten();
    let sockets: Vec<String> = handles
        .filter_map(|handle| fs::read_link(handle.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel lists its sockets");
    let listens = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let ours = *state == "0A" && sockets.iter().any(|socket| socket == inode);
        ours.then(|| u16::from_str_radix(address.strip_prefix("0100007F:")?, 16).ok()).flatten()
    });
    listens.filter(|port| *port != 0 && host_key_of(*port).is_some()).collect()
}

/// The host key of whoever listens there, if it is an SSH server: type and key.
fn host_key_of(port: u16) -> Option<String> {
    let mut scan = Command::new("ssh-keyscan");
    let told = scan.args(["-t", "ed25519", "-p", &port.to_string(), "127.0.0.1"]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let line = told.lines().find(|line| line.starts_with('['))?;
    Some(line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
}

/// A demo whose target can be called directly.
pub struct Demo {
    program: Program,
    folder: TempDir,
    target: u16,
}

impl Demo {
    /// Starts one.
    #[track_caller]
    pub fn start() -> Demo {
        let (folder, port) = (scratch(), free_port());
        let mut command = Command::new(built("bastion"));
        command.args(["demo", "--listen", &format!("127.0.0.1:{port}"), "--data"]);
        command.arg(folder.path().join("kept")).env("XDG_RUNTIME_DIR", folder.path());
        let program = Program::start_with(&mut command, Stdio::null());
        within(LONG, "the demo's lines", || {
            (program.out.text() + &program.err.text()).contains("alice@").then_some(())
        });
        let ports: Vec<u16> = ssh_ports(program.pid()).into_iter().filter(|at| *at != port).collect();
        let [target] = ports[..] else { panic!("one target beside the gateway: {ports:?}") };
        Demo { program, folder, target }
    }

    /// A gateway with the demo's own keys, whose `web1` is the demo's target, with the login `somebody` beside yours.
    #[track_caller]
    pub fn gateway(&self) -> TestBastion {
        let (port, me) = (self.target, TestTarget::login());
        let pin = host_key_of(port).expect("it has a host key");
        let lines = format!(
            "address = \"127.0.0.1\"\nport = {port}\nlogins = [{me:?}, \"somebody\"]\n\
             default_login = {me:?}\nhost_keys = [{pin:?}]\n"
        );
        let bastion = Setup::default().raw_target("web1", &lines).start_with(Provider::start(), None);
        bastion.stop();
        let kept = self.folder.path().join("kept");
        fs::copy(kept.join("master.key"), bastion.path("master.key")).unwrap();
        fs::remove_dir_all(bastion.data().join("keys")).unwrap();
        let copied = Command::new("cp").arg("-a").arg(kept.join("keys")).arg(bastion.data()).status();
        assert!(copied.expect("cp runs").success());
        bastion.start_again();
        bastion
    }
}

#[test]
fn the_demo_target_is_open_to_the_gateways_key_and_to_one_login() {
    let demo = Demo::start();
    let alice = Caller::new("alice", demo.target);
    for login in [TestTarget::login().as_str(), "alice", "root", "nobody"] {
        for methods in ["publickey", "none", "password", "keyboard-interactive"] {
            let only = format!("PreferredAuthentications={methods}");
            let done = alice.ssh(&["echo in"]).login(login).options(&["-o", &only]).done();
            assert_eq!((done.code, done.text().as_str()), (Some(255), ""), "{login} by {methods}: {done:?}");
            assert!(done.err.contains("Permission denied"), "{login} by {methods}: {done:?}");
        }
    }

    let bastion = demo.gateway();
    let ana = bastion.caller("ana");
    assert_eq!(ana.ssh(&["web1", "echo in"]).done().expect_ok("its own key").text(), "in\n");
    let other = ana.ssh(&["somebody@web1", "echo in"]).done();
    assert_eq!((other.code, other.text().as_str()), (Some(69), ""), "{other:?}");
    assert!(other.err.contains("does not let the bastion in as somebody"), "{other:?}");

    demo.program.signal(Signal::TERM);
    assert_eq!(demo.program.done(SHORT).code, Some(0));
}
