//! Commands and scripts: what `ssh host command` does, through a gateway.

use std::process::Command;

use tests::world::{LONG, Program, SHORT, noise};

use crate::house::house;

#[test]
fn a_command_gives_its_output_its_errors_and_its_exit_code() {
    let ana = house().caller("ana");

    for code in [0, 1, 7, 127, 255] {
        let command = format!("echo out; echo err >&2; exit {code}");
        let done = ana.ssh(&["web1", &command]).done();
        assert_eq!((done.code, done.text().as_str(), done.err.as_str()), (Some(code), "out\n", "err\n"));
        let done = ana.ssh_to("web1", &[&command]).done();
        assert_eq!((done.code, done.text().as_str(), done.err.as_str()), (Some(code), "out\n", "err\n"));
    }
}

#[test]
fn a_command_reaches_the_target_byte_for_byte() {
    let bel = house().caller("bel");

    let odd = "printf '%s|' 'a  b' \"it's\" '\\n' '$HOME' '\u{6f22}\u{1f642}'";
    let done = bel.ssh(&["web1", odd]).done().expect_ok("an odd command");
    assert_eq!(done.text(), "a  b|it's|\\n|$HOME|\u{6f22}\u{1f642}|");

    let session = house().last_session_of("bel");
    assert_eq!(session["command"], odd);
    assert_eq!(session["channel"], "exec");
    assert_eq!(session["target"], "web1");
}

#[test]
fn a_login_can_be_named_in_every_form() {
    let cia = house().caller("cia");
    let login = tests::world::TestTarget::login();

    let forms = [
        cia.ssh(&[&format!("{login}@web1"), "id -un"]),
        cia.ssh_to(&format!("{login}%web1"), &["id -un"]),
        cia.ssh(&["id -un"]).login("cia%web1"),
        cia.ssh(&["id -un"]).login("cia/web1"),
        cia.ssh(&["id -un"]).login(&format!("cia/{login}/web1")),
    ];
    for form in forms {
        assert_eq!(form.done().expect_ok("a form").text().trim(), login);
    }
}

#[test]
fn a_program_that_a_signal_ended_is_no_success() {
    let dot = house().caller("dot");

    let done = dot.ssh(&["web1", "echo up; kill -TERM $$"]).done();

    assert_eq!(done.text(), "up\n");
    // What the stock client makes of exit-signal.
    assert_eq!(done.code, Some(255));
    let session = house().last_session_of("dot");
    let (_, events) = house().cast(session["id"].as_str().unwrap());
    assert!(events.iter().any(|event| event.to_string().contains("TERM")), "{events:?}");
}

#[test]
fn a_script_on_stdin_runs_in_a_shell_and_is_recorded() {
    let eva = house().caller("eva");

    let done = eva.ssh(&["web1"]).fed(b"echo one\nread line\nthe line\necho \"<$line>\"\nexit 5\n");

    assert_eq!((done.code, done.text().as_str()), (Some(5), "one\n<the line>\n"));
    let session = house().last_session_of("eva");
    assert_eq!(session["channel"], "shell");
    assert!(house().input_of(&session).contains("read line\nthe line\n"));
    assert!(house().output_of(&session).contains("<the line>"));
}

#[test]
fn who_waits_without_a_terminal_is_told_how_to_get_one() {
    let fay = house().caller("fay");

    let ssh = fay.ssh(&["web1"]).start();
    ssh.err.wait("-t", SHORT);
    ssh.send("echo 'still here'\n");
    ssh.out.wait("still here\n", SHORT);
    ssh.send_end();

    let done = ssh.done(SHORT);
    assert_eq!(done.code, Some(0));
    assert_eq!(done.err.lines().count(), 1, "one hint: {}", done.err);
}

#[test]
fn a_script_that_comes_at_once_gets_no_hint() {
    let gus = house().caller("gus");

    let done = gus.ssh(&["web1"]).fed(b"sleep 2; echo done\n").expect_ok("a script");

    assert_eq!((done.text().as_str(), done.err.as_str()), ("done\n", ""));
}

#[test]
fn a_first_byte_that_looks_like_ctrl_c_arrives() {
    let hal = house().caller("hal");

    let bytes = [b"\x03hello".as_slice(), &noise(3, 5000)].concat();
    let done = hal.ssh(&["web1", "cat"]).fed(&bytes).expect_ok("cat");

    assert_eq!(done.out, bytes);
}

#[test]
fn what_is_not_text_survives_in_the_record() {
    let ian = house().caller("ian");
    let all: Vec<u8> = (0..=255).cycle().take(256 * 64).collect();

    let done = ian.ssh(&["web1", "cat; printf '\\377\\376' >&2"]).fed(&all).expect_ok("cat");
    assert_eq!(done.out, all);

    let session = house().last_session_of("ian");
    let exact = tests::world::bytes_of(house(), &session);
    assert_eq!(exact.input, all);
    assert_eq!(exact.output, all);
    assert_eq!(exact.errors, [255, 254]);
}

/// Ends its input, and says only then what to run.
const ENDS_FIRST: &str = r#"
import socket, sys, paramiko
transport = paramiko.Transport(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
transport.start_client(timeout=20)
transport.auth_publickey("ana", paramiko.Ed25519Key.from_private_key_file(sys.argv[2]))
channel = transport.open_session()
channel.shutdown_write()
channel.eof_sent = False # paramiko itself asks for nothing after that
channel.exec_command("web1 cat; echo the-end")
print(channel.makefile().read().decode(), channel.recv_exit_status())
"#;

#[test]
fn input_may_end_before_the_command_is_said() {
    let bastion = house();
    let ana = bastion.caller("ana");
    let python =
        std::env::var("NEW_PY").expect("NEW_PY names a python with paramiko, as tests/run installs it");
    let mut client = Command::new(python);
    client.args(["-W", "ignore", "-c", ENDS_FIRST, &bastion.port().to_string()]).arg(ana.path("id"));

    let done = Program::start(&mut client).done(SHORT);
    assert_eq!(done.text().trim(), "the-end\n 0", "{done:?}");
}

#[test]
fn a_file_transfer_without_a_target_is_told_where_to_name_it() {
    let ana = house().caller("ana");

    let done = ana.ssh(&["sftp"]).options(&["-s"]).done();
    assert_eq!((done.code, done.text().as_str()), (Some(64), ""), "nothing that sftp would take for its own");
    assert!(done.err.contains("ana%TARGET@BASTION"), "{done:?}");
}

#[test]
fn half_closing_the_input_lets_the_output_go_on() {
    let jan = house().caller("jan");

    let done = jan.ssh(&["web1", "n=$(wc -c); sleep 1; echo $n late; exit 3"]).fed(b"12345");

    assert_eq!((done.code, done.text().trim()), (Some(3), "5 late"));
}

#[test]
fn the_sftp_subsystem_works_and_an_unknown_one_is_refused() {
    let kim = house().caller("kim");
    let there = house().target().home().join("kim");
    std::fs::write(kim.path("up"), noise(5, 100_000)).unwrap();

    let lines = format!(
        "put {} {}\nget {} {}\n",
        kim.path("up").display(),
        there.display(),
        there.display(),
        kim.path("down").display()
    );
    let mut sftp = kim.sftp("web1", &[], &lines);
    tests::world::Program::start_with(&mut sftp, std::process::Stdio::null()).done(LONG).expect_ok("sftp");
    assert_eq!(std::fs::read(kim.path("down")).unwrap(), noise(5, 100_000));
    let session = house().last_session_of("kim");
    assert_eq!((session["channel"].as_str(), session["command"].as_str()), (Some("subsystem"), Some("sftp")));

    let done = kim.ssh_to("web1", &["nonesuch"]).options(&["-s"]).done();
    assert_ne!(done.code, Some(0));
    assert_eq!(done.out, b"");
}

#[test]
fn only_allowed_variables_reach_the_target() {
    let lou = house().caller("lou");

    let send = ["-o", "SendEnv=LANG LC_TEST ODD_ONE BASTION_X LD_PRELOAD"];
    let ssh = lou.ssh(&["web1", "env"]).options(&send);
    let ssh = ssh.env("LANG", "C.UTF-8").env("LC_TEST", "yes").env("ODD_ONE", "no");
    let done = ssh.env("BASTION_X", "no").done().expect_ok("env");

    let text = done.text();
    assert!(text.contains("LANG=C.UTF-8\n") && text.contains("LC_TEST=yes\n"), "{text}");
    assert!(!text.contains("ODD_ONE") && !text.contains("BASTION_"), "{text}");
}

#[test]
fn sessions_are_listed_and_told_one_by_one() {
    let max = house().caller("max");
    assert_eq!(max.ssh(&["web1", "echo listed; exit 3"]).done().code, Some(3));
    let session = house().last_session_of("max");
    assert_eq!((&session["exit"]["status"], &session["reason"]), (&3.into(), &"the target closed".into()));
    let id = session["id"].as_str().unwrap();

    let list = |args: &[&str]| {
        let told = house().command(&[&["sessions", "--json"], args].concat()).expect_ok("bastion sessions");
        told.text().contains(id)
    };
    assert!(list(&["--user", "max", "--target", "web1"]));
    assert!(!list(&["--user", "nobody"]));
    assert!(!list(&["--target", "db9"]));
    assert!(list(&["--since", "2020-01-01"]));
    assert!(!list(&["--until", "2020-01-01"]));

    let shown = house().command(&["sessions", "show", id]).expect_ok("bastion sessions show").text();
    assert!(shown.contains(id) && shown.contains("echo listed"), "{shown}");
    assert!(shown.contains("exit 3, the target closed"), "{shown}");
    let none = house().command(&["sessions", "show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    assert_eq!((none.code, none.err.lines().next().is_some()), (Some(1), true));
}

#[test]
fn forwarding_is_refused_with_the_rule_that_refuses_it() {
    let ned = house().caller("ned");

    let port = tests::world::free_port();
    let forward = format!("{port}:127.0.0.1:{}", house().target().port());
    let ssh = ned.ssh_to("web1", &["echo up; cat"]).options(&["-v", "-L", &forward]).start();
    ssh.out.wait("up\n", SHORT);
    let mut caller = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut nothing = Vec::new();
    std::io::Read::read_to_end(&mut caller, &mut nothing).ok();

    assert_eq!(nothing, b"");
    ssh.err.wait("no-forwarding", SHORT);
    ssh.send("the session goes on\n");
    ssh.out.wait("the session goes on\n", SHORT);
    house().logged("no-forwarding");
    let jump = ned.ssh::<&str>(&[]).options(&["-v", "-W", "127.0.0.1:22"]).done();
    assert_ne!(jump.code, Some(0));
    assert!(jump.err.contains("no-forwarding"), "{}", jump.err);
}
