//! What was typed with echo off touches the disk nowhere; the same, typed with echo on, is found.

use tests::world::{Program, SHORT, TestBastion, found_in};

const PROMPT: &str = "target> ";
const HIDDEN: &str = "kE7-hidden-Qz31";
const SHOWN: &str = "kE7-shown-Qz31";

/// A session in which one secret is typed unseen, and another in plain sight.
fn type_both(ssh: &Program) {
    let at = ssh.out.wait(PROMPT, SHORT);
    ssh.send("read -rs -p 'pw:' P; echo; echo got ${#P}\r");
    let at = ssh.out.wait_from(at, "\r\npw:", SHORT);
    // As a person types, and not in one go: an echo may come between any two keys.
    for key in HIDDEN.bytes() {
        ssh.send([key]);
    }
    ssh.send("\r");
    let at = ssh.out.wait_from(at, &format!("got {}\r\n", HIDDEN.len()), SHORT);
    let at = ssh.out.wait_from(at, PROMPT, SHORT);
    ssh.send(format!("echo {SHOWN}\r"));
    let at = ssh.out.wait_from(at, &format!("{SHOWN}\r\n{SHOWN}\r\n"), SHORT);
    ssh.out.wait_from(at, PROMPT, SHORT);
}

#[track_caller]
fn assert_hidden(bastion: &TestBastion) {
    let hidden = found_in(bastion, HIDDEN);
    assert!(hidden.is_empty(), "typed with echo off, and found in {hidden:?}");
    // The end and the beginning of it too: a search that only finds it whole could miss it in pieces.
    for piece in [&HIDDEN[..9], &HIDDEN[6..]] {
        assert!(found_in(bastion, piece).is_empty(), "a piece of what was typed with echo off: {piece}");
    }
    assert!(!found_in(bastion, SHOWN).is_empty(), "the search finds what was typed with echo on");
    assert!(
        !bastion.log().contains(HIDDEN) && !bastion.log().contains(SHOWN),
        "typed bytes never reach a log"
    );
}

#[test]
fn what_is_typed_with_echo_off_is_found_nowhere() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    type_both(&ssh);
    assert_hidden(&bastion);

    ssh.send("exit\r");
    ssh.done(SHORT);
    let session = bastion.last_session_of("ana");
    assert_hidden(&bastion);
    assert!(bastion.input_of(&session).contains(SHOWN), "typed in sight: {}", bastion.input_of(&session));

    bastion.stop();
    assert_hidden(&bastion);
}

#[test]
fn a_kill_in_mid_session_leaves_no_secret_behind() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    type_both(&ssh);
    let at = ssh.out.len();
    ssh.send("read -rs -p 'again:' P\r");
    ssh.out.wait_from(at, "\r\nagain:", SHORT);
    ssh.send(HIDDEN);

    bastion.kill();
    ssh.done(SHORT);
    assert_hidden(&bastion);

    bastion.start_again();
    bastion.last_session_of("ana");
    assert_hidden(&bastion);
}

#[test]
fn a_password_for_sudo_or_ssh_is_not_kept() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = ssh.out.wait(PROMPT, SHORT);
    // ssh asks for a passphrase by itself, on the terminal and not on its standard input.
    ssh.send("ssh-keygen -q -t ed25519 -f ~/k\r");
    let at = ssh.out.wait_from(at, "passphrase", SHORT);
    ssh.send(format!("{HIDDEN}\r"));
    let at = ssh.out.wait_from(at, "again:", SHORT);
    ssh.send(format!("{HIDDEN}\r"));
    let at = ssh.out.wait_from(at, PROMPT, SHORT);
    ssh.send(format!("echo {SHOWN}\r"));
    ssh.out.wait_from(at, &format!("{SHOWN}\r\n{SHOWN}\r\n"), SHORT);

    bastion.kill();
    ssh.done(SHORT);
    assert_hidden(&bastion);
}
