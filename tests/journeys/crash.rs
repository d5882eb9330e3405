//! Killed with -9 in mid-session: what anybody had seen is in the record, and the record is whole.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::world::{Caller, LONG, Program, SHORT, TestBastion, bytes_of, joined, tier, within};

const PROMPT: &str = "target> ";

#[test]
fn a_terminal_session_that_was_killed_can_be_played_afterwards() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = ssh.out.wait(PROMPT, SHORT);
    ssh.send("echo seen-before; seq 300\r");
    let at = ssh.out.wait_from(at, "\n300\r\n", SHORT);
    ssh.out.wait_from(at, PROMPT, SHORT);

    bastion.kill();
    let seen = ssh.done(SHORT).text();
    bastion.start_again();

    let session = bastion.last_session_of("ana");
    assert_eq!(session["state"], "interrupted");
    let (header, events) = bastion.cast(session["id"].as_str().unwrap());
    assert_eq!(header["version"], 2);
    let recorded = joined(&events, "o");
    assert!(recorded.contains("seen-before") && recorded.contains("\n300\r\n"));
    let relayed = relayed(&seen);
    assert!(recorded.starts_with(relayed), "seen {relayed:?}\nrecorded {recorded:?}");
    assert!(joined(&events, "i").contains("echo seen-before"), "what was shown is known: {events:?}");
    // And without a server: the player opens the store itself.
    bastion.stop();
    let (_, again) = bastion.cast(session["id"].as_str().unwrap());
    assert_eq!(again, events);
}

/// What a terminal has shown, without what OpenSSH says by itself when its connection is gone.
fn relayed(seen: &str) -> &str {
    let own = ["client_loop: ", "Connection to ", "Connection closed by ", "Read from remote host "];
    let end = own.iter().filter_map(|words| seen.find(words)).min().unwrap_or(seen.len());
    seen.get(..end).unwrap_or_default().trim_end()
}

/// Sessions under load, and what each of their clients has seen.
struct Load {
    down: Program,
    up: Program,
    slow: Program,
    shell: Program,
    received: std::path::PathBuf,
    reached: std::path::PathBuf,
}

impl Load {
    fn start(bastion: &TestBastion, ana: &Caller) -> Load {
        let (received, reached) = (ana.path("down"), bastion.target().home().join("up"));
        let down = ana.ssh(&["web1", "seq 100000000"]).through(Stdio::null(), &received);
        let up = ana.ssh(&["web1", &format!("cat > {}", reached.display())]).start();
        let slow = ana.ssh(&["web1", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done"]).start();
        let shell = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
        Load { down, up, slow, shell, received, reached }
    }
}

#[test]
fn killed_under_load_nothing_is_missing_that_anybody_had_seen() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    // The source of randomness is told, so that a failure can be looked at again.
    let mut pause = 37;
    for round in 0..tier().kills {
        let known = bastion.sessions_of("ana").len();
        let load = Load::start(&bastion, &ana);
        let mut pipe = fs::File::from(load.up.take_input().unwrap());
        let pours = thread::spawn(move || {
            use std::io::Write;
            (1_u64..).take_while(|line| writeln!(pipe, "{line}").is_ok()).count()
        });
        load.shell.out.wait(PROMPT, LONG);
        load.shell.send("while :; do date; sleep 0.02; done\r");
        within(LONG, "all to be under way", || {
            let big = |file| fs::metadata(file).is_ok_and(|file| file.len() > 100_000);
            (big(&load.received) && big(&load.reached) && load.slow.out.len() > 50).then_some(())
        });
        pause = (pause * 73 + 11) % 700;
        let until = Instant::now() + Duration::from_millis(pause);
        within(SHORT, "the moment to kill", || (Instant::now() >= until).then_some(()));

        bastion.kill();
        for program in [&load.down, &load.slow, &load.shell, &load.up] {
            program.done(SHORT);
        }
        pours.join().unwrap();
        bastion.start_again();
        check(&bastion, &load, known, round);
    }
}

fn check(bastion: &TestBastion, load: &Load, known: usize, round: usize) {
    let sessions = within(LONG, "the recordings to be closed", || {
        let sessions = bastion.sessions_of("ana").split_off(known);
        sessions.iter().all(|session| session["state"] != "live").then_some(sessions)
    });
    assert_eq!(sessions.len(), 4, "round {round}: {sessions:?}");
    for session in &sessions {
        assert_eq!(session["state"], "interrupted", "round {round}: {session}");
    }
    let of = |word: &str| -> &Value {
        let found =
            sessions.iter().find(|session| session["command"].as_str().is_some_and(|it| it.contains(word)));
        found.unwrap_or_else(|| panic!("round {round}: no session of {word}"))
    };

    let recorded = bytes_of(bastion, of("seq ")).output;
    let received = fs::read(&load.received).unwrap();
    assert!(
        recorded.starts_with(&received),
        "round {round}: {} bytes seen, {} recorded",
        received.len(),
        recorded.len()
    );
    let recorded = bytes_of(bastion, of("cat >")).input;
    let reached = fs::read(&load.reached).unwrap();
    assert!(
        recorded.starts_with(&reached),
        "round {round}: {} bytes passed, {} recorded",
        reached.len(),
        recorded.len()
    );
    let recorded = bytes_of(bastion, of("line $i")).output;
    assert!(recorded.starts_with(&load.slow.out.bytes()), "round {round}: the slow one");
    let shell =
        sessions.iter().find(|session| session["channel"] == "terminal").expect("there was a terminal");
    let (seen, recorded) = (load.shell.out.text(), bastion.output_of(shell));
    let relayed = relayed(&seen);
    assert!(recorded.starts_with(relayed), "round {round}: the shell: {relayed:?}\n{recorded:?}");
}

#[test]
fn a_shutdown_ends_sessions_aloud_and_their_recordings_are_finished() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    ssh.out.wait(PROMPT, SHORT);

    let stopped = bastion.stop();

    assert_eq!(stopped.code, Some(0), "{}", stopped.err);
    let said = ssh.done(SHORT).text();
    assert!(said.contains("shutting down"), "{said:?}");
    let session = bastion.last_session_of("ana");
    assert_eq!(session["state"], "finished");
    assert!(!bastion.data().join("control.sock").exists(), "the socket goes with the server");
}
