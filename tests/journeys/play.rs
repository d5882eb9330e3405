//! Playing back: what somebody did, seen by somebody else, with a real player on a real terminal.

use std::{fs, process::Stdio};

use tests::world::{LONG, Program, SHORT, TestBastion, have};

const PROMPT: &str = "target> ";

/// The player on a terminal.
fn player(bastion: &TestBastion, args: &[&str]) -> Program {
    let program = tests::world::built("replay").to_string_lossy().into_owned();
    let data = bastion.data().to_string_lossy().into_owned();
    let args: Vec<String> = ["--data", &data].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
    let env = [("TERM".to_owned(), "xterm-256color".to_owned())];
    Program::on_terminal(&program, &args, &env, 120, 40)
}

#[test]
fn the_last_session_is_played_and_seeked_in() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let mut at = ssh.out.wait(PROMPT, SHORT);
    for word in ["first-thing", "second-thing", "last-thing"] {
        ssh.send(format!("clear; echo {word}\r"));
        at = ssh.out.wait_from(at, &format!("J{word}\r\n"), SHORT);
        at = ssh.out.wait_from(at, PROMPT, SHORT);
    }
    ssh.send("exit\r");
    ssh.done(SHORT);
    bastion.last_session_of("ana");

    let replay = player(&bastion, &["last"]);
    let at = replay.out.wait("\x1b[", SHORT);
    replay.send("\x1b[F"); // the end
    let at = replay.out.wait_from(at, "last-thing", SHORT);
    replay.send("\x1b[H"); // the beginning
    replay.send("\x1b[F");
    replay.out.wait_from(at, "last-thing", SHORT);
    replay.send("q");
    assert_eq!(replay.done(SHORT).code, Some(0));
    assert!(replay.out.text().contains("\x1b[?1049l"), "the viewer's terminal is given back");
}

#[test]
fn escape_sequences_of_a_recording_never_reach_the_viewer() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let odd = "printf '\\033]52;c;aGk=\\007\\033]0;owned\\007\\033[5n\\033[6n\\033P$q\"p\\033\\\\plain\\n'";
    let ssh = ana.ssh(&["web1", odd]).options(&["-tt"]).on_terminal(80, 24);
    let shown = ssh.done(SHORT).text();
    assert!(shown.contains("\x1b]52;"), "they reached her own terminal, as they should: {shown:?}");
    bastion.last_session_of("ana");

    let replay = player(&bastion, &["last"]);
    let at = replay.out.wait("\x1b[", SHORT);
    replay.send("\x1b[F");
    replay.out.wait_from(at, "plain", SHORT);
    replay.send("q");
    let drawn = replay.done(SHORT).text();
    for odd in ["\x1b]52", "\x1b]0;owned", "\x1b[5n", "\x1bP"] {
        assert!(!drawn.contains(odd), "{odd:?} in {drawn:?}");
    }
}

#[test]
fn an_export_is_played_by_asciinema() {
    assert!(have("asciinema"), "tests/run installs asciinema");
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana
        .ssh(&["web1", "seq 30; echo '\u{6f22}\u{5b57}'; printf '\\377'"])
        .options(&["-tt"])
        .on_terminal(80, 24);
    ssh.done(SHORT);
    let session = bastion.last_session_of("ana");
    let file = bastion.path("session.cast");
    let mut export = bastion.program("replay", &["export", session["id"].as_str().unwrap()]);
    Program::start_to(&mut export, Stdio::null(), fs::File::create(&file).unwrap())
        .done(LONG)
        .expect_ok("export");

    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let name = file.to_string_lossy().into_owned();
    let env = [("TERM".to_owned(), "xterm-256color".to_owned()), ("LC_ALL".to_owned(), "C.UTF-8".to_owned())];
    let cat = Program::on_terminal("asciinema", &words(&["cat", &name]), &env, 80, 24).done(LONG);
    assert_eq!(cat.code, Some(0), "{}", cat.text());
    assert!(cat.text().contains("30\r\n\u{6f22}\u{5b57}"), "{}", cat.text());

    // Our own player reads it from a file and from its standard input.
    let from_file = player(&bastion, &[&name]);
    let at = from_file.out.wait("\x1b[", SHORT);
    from_file.send("\x1b[F");
    from_file.out.wait_from(at, "\u{6f22}", SHORT);
    from_file.send("q");
    assert_eq!(from_file.done(SHORT).code, Some(0));
}

#[test]
fn wrong_casts_are_told_in_a_line() {
    let bastion = TestBastion::start();
    for (text, word) in [("", "empty"), ("{\"version\": 9}\n", "version"), ("no json\n", "line 1")] {
        let file = bastion.path("odd.cast");
        fs::write(&file, text).unwrap();
        let replay = player(&bastion, &[&file.to_string_lossy()]);
        let done = replay.done(SHORT);
        assert_eq!(done.code, Some(1), "{text:?}: {}", done.text());
        assert!(done.text().contains("error: ") && done.text().contains(word), "{text:?}: {}", done.text());
    }
    let replay = player(&bastion, &["01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    assert_eq!(replay.done(SHORT).code, Some(1), "no such session");
}
