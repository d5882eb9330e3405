//! Playing back: what somebody did, seen by somebody else, with a real player on a real terminal.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use tests::{
    npm,
    world::{LONG, Program, SHORT, TestBastion, have, project},
};

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

/// A session with letters of every kind, exported.
fn exported(bastion: &TestBastion) -> PathBuf {
    let ana = bastion.caller("ana");
    let ssh = ana
        .ssh(&["web1", "seq 20; echo '\u{6f22}\u{5b57}'; printf '\\377'"])
        .options(&["-tt"])
        .on_terminal(80, 24);
    ssh.done(SHORT);
    let session = bastion.last_session_of("ana");
    let file = bastion.path("session.cast");
    let mut export = bastion.program("replay", &["export", session["id"].as_str().unwrap()]);
    Program::start_to(&mut export, Stdio::null(), fs::File::create(&file).unwrap())
        .done(LONG)
        .expect_ok("export");
    file
}

#[test]
fn an_export_is_played_by_asciinema() {
    assert!(have("asciinema"), "tests/run installs asciinema");
    let bastion = TestBastion::start();
    let name = exported(&bastion).to_string_lossy().into_owned();
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let env = [("TERM".to_owned(), "xterm-256color".to_owned()), ("LC_ALL".to_owned(), "C.UTF-8".to_owned())];
    // Version 2 is Debian's; the long tier compiles version 3.
    let newer = std::env::var("ASCIINEMA_3").ok();
    for asciinema in ["asciinema"].into_iter().chain(newer.as_deref()) {
        let play = words(&["play", "--speed", "1000", &name]);
        let played = Program::on_terminal(asciinema, &play, &env, 80, 24).done(LONG);
        assert_eq!(played.code, Some(0), "{asciinema}: {}", played.text());
        assert!(played.text().contains("20\r\n\u{6f22}\u{5b57}"), "{asciinema}: {}", played.text());
    }
    if let Some(newer) = newer {
        let text = bastion.path("session.txt").to_string_lossy().into_owned();
        let mut convert = Command::new(newer);
        convert.args(["convert", "--output-format", "txt", &name, &text]);
        Program::start_with(&mut convert, Stdio::null()).done(LONG).expect_ok("asciinema 3 reads it");
        assert!(fs::read_to_string(&text).unwrap().contains("20\n\u{6f22}\u{5b57}"));
    }

    // Our own player reads it from a file and from its standard input.
    let from_file = player(&bastion, &[&name]);
    let at = from_file.out.wait("\x1b[", SHORT);
    from_file.send("\x1b[F");
    from_file.out.wait_from(at, "\u{6f22}", SHORT);
    from_file.send("q");
    assert_eq!(from_file.done(SHORT).code, Some(0));
}

#[test]
fn an_export_is_played_by_asciinemas_web_player_in_a_browser() {
    assert!(have("chromium"), "tests/run installs chromium");
    let bastion = TestBastion::start();
    let cast = fs::read(exported(&bastion)).unwrap();
    let home = project().join("tests/player");
    npm::install(&home);
    let cast: String = cast.iter().map(|byte| format!("%{byte:02x}")).collect();
    let page = format!("file://{}#{cast}", home.join("page.html").display());
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]);
    browser.arg(format!("--user-data-dir={}", bastion.path("browser").display()));
    browser.args(["--dump-dom", &page]);

    let done = Program::start_with(&mut browser, Stdio::null()).done(LONG).expect_ok("the browser");
    let text = done.text();
    let shown = text.split("id=\"shown\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let shown = shown.unwrap_or_default();
    assert!(shown.starts_with("played\n1\n2\n"), "{shown:?} in {text}");
    assert!(shown.contains("19\n20\n\u{6f22}\u{5b57}\n"), "{shown:?}");
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
