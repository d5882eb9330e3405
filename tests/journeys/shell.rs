//! Terminals: what a person at a prompt sees and does, through a gateway.

use rustix::process::Signal;
use tests::world::{SHORT, joined};

use crate::house::house;

const PROMPT: &str = "target> ";

#[test]
fn a_shell_on_a_terminal_works_and_is_recorded() {
    let ada = house().caller("ada");

    let ssh = ada.ssh(&["web1"]).options(&["-t"]).on_terminal(101, 33);
    let at = ssh.out.wait(PROMPT, SHORT);
    ssh.send("tty; stty size; echo $TERM\r");
    let at = ssh.out.wait_from(at, "33 101", SHORT);
    let at = ssh.out.wait_from(at, "xterm-256color", SHORT);
    ssh.out.wait_from(at, PROMPT, SHORT);
    ssh.send("exit 4\r");
    assert_eq!(ssh.done(SHORT).code, Some(4));

    let session = house().last_session_of("ada");
    assert_eq!(
        (session["channel"].as_str(), session["state"].as_str()),
        (Some("terminal"), Some("finished"))
    );
    let (header, events) = house().cast(session["id"].as_str().unwrap());
    assert_eq!(
        (header["version"].as_u64(), header["width"].as_u64(), header["height"].as_u64()),
        (Some(2), Some(101), Some(33))
    );
    let output = joined(&events, "o");
    assert!(output.contains("33 101") && output.contains("xterm-256color"), "{output}");
    // Typed keys that the screen showed are known, in the order in which they were typed.
    assert!(joined(&events, "i").contains("stty size"), "{events:?}");
}

#[test]
fn all_that_a_terminal_was_shown_is_in_the_record() {
    let ben = house().caller("ben");

    let ssh = ben
        .ssh(&["web1", "seq 2000; printf '\\033[1mbold\\033[0m\\n'"])
        .options(&["-tt"])
        .on_terminal(80, 24);
    let done = ssh.done(SHORT);

    let output = house().output_of(&house().last_session_of("ben"));
    let shown = done.text();
    assert!(shown.contains("\x1b[1mbold"), "escape sequences pass: {shown:?}");
    let shown = shown.trim_end_matches("Connection to 127.0.0.1 closed.\r\n");
    assert_eq!(output, shown);
}

#[test]
fn a_resize_reaches_the_target_and_the_record() {
    let cal = house().caller("cal");

    let ssh = cal.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = ssh.out.wait(PROMPT, SHORT);
    ssh.send("trap 'echo \"<$(stty size)>\"' WINCH; echo ready\r");
    let at = ssh.out.wait_from(at, "ready\r\n", SHORT);
    ssh.out.wait_from(at, PROMPT, SHORT);
    ssh.resize(132, 50);
    // bash runs a trap once it has something to do.
    tests::world::within(SHORT, "the new size", || {
        ssh.send("\r");
        ssh.out.text().contains("<50 132>").then_some(())
    });
    ssh.send("exit\r");
    ssh.done(SHORT);

    let (_, events) = house().cast(house().last_session_of("cal")["id"].as_str().unwrap());
    assert!(joined(&events, "r").ends_with("132x50"), "{events:?}");
}

#[test]
fn keys_that_are_signals_do_what_they_do() {
    let deb = house().caller("deb");

    let ssh = deb.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = ssh.out.wait(PROMPT, SHORT);
    // Each program says that it is there: a key that comes before is the shell's.
    ssh.send("sh -c 'echo up; exec sleep 300'\r");
    let at = ssh.out.wait_from(at, "\nup\r\n", SHORT);
    ssh.send("\x03");
    let at = ssh.out.wait_from(at, "^C", SHORT);
    let at = ssh.out.wait_from(at, PROMPT, SHORT);
    ssh.send("sh -c 'echo up; exec cat'\r");
    let at = ssh.out.wait_from(at, "\nup\r\n", SHORT);
    ssh.send("abc\r");
    let at = ssh.out.wait_from(at, "abc\r\nabc\r\n", SHORT);
    ssh.send("\x04");
    ssh.out.wait_from(at, PROMPT, SHORT);
    ssh.send("exit 8\r");
    assert_eq!(ssh.done(SHORT).code, Some(8));

    assert!(house().input_of(&house().last_session_of("deb")).contains('\x03'));
}

#[test]
fn a_client_that_is_killed_hangs_up_the_shell() {
    let edi = house().caller("edi");
    let mark = house().target().home().join("edi-hung-up");

    let waits = format!("trap 'touch {}; exit' HUP; echo set; while :; do sleep 0.2; done", mark.display());
    let ssh = edi.ssh(&["web1", &waits]).options(&["-tt"]).on_terminal(80, 24);
    ssh.out.wait("set\r\n", SHORT);
    ssh.signal(Signal::KILL);

    tests::world::within(SHORT, "the shell's SIGHUP", || mark.exists().then_some(()));
    assert_eq!(house().last_session_of("edi")["state"], "finished");
}

#[test]
fn who_names_no_target_is_shown_a_list_and_may_choose() {
    let fin = house().caller("fin");

    let ssh = fin.ssh::<&str>(&[]).options(&["-t"]).on_terminal(80, 24);
    ssh.out.wait("web1", SHORT);
    ssh.send("web1\r");
    ssh.out.wait(PROMPT, SHORT);
    ssh.send("exit 6\r");
    assert_eq!(ssh.done(SHORT).code, Some(6));

    let list = fin.ssh::<&str>(&[]).done();
    assert_eq!(list.code, Some(64));
    assert!(list.text().contains("web1") || list.err.contains("web1"), "{list:?}");
}

#[test]
fn words_with_a_colon_belong_to_the_gateway() {
    let gil = house().caller("gil");

    let whoami = gil.ssh(&[":whoami", "--json"]).done().expect_ok(":whoami");
    let told: serde_json::Value = serde_json::from_slice(&whoami.out).expect("it is JSON");
    assert_eq!(told["name"], "gil");
    let targets = gil.ssh(&[":targets"]).done().expect_ok(":targets");
    assert!(targets.text().contains("web1"), "{}", targets.text());
    let help = gil.ssh(&[":help"]).done().expect_ok(":help");
    for word in [":help", ":whoami", ":targets", ":login"] {
        assert!(help.text().contains(word), "{word} in {}", help.text());
    }
    let unknown = gil.ssh(&[":nonesuch"]).done();
    assert_eq!((unknown.code, unknown.err.lines().count()), (Some(64), 1), "{}", unknown.err);
    assert_eq!(house().sessions_of("gil").len(), 0, "no target was opened");
}
