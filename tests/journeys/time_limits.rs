//! Policy's limits of time: a session is warned, then ended with a sentence, and its record tells why.

use std::time::Duration;

use recording::What;
use rustix::process::Signal;
use serde_json::Value;
use tests::world::{SHORT, Setup, TestBastion, events_of, within};

const PROMPT: &str = "target> ";

/// Everyone may do everything, under this limit.
fn limited(limit: &str) -> TestBastion {
    let rule = "[[rule]]\nname = \"limited\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\n";
    Setup::default().policy(&format!("{rule}{limit}\n")).start()
}

/// What the record tells of our sentences and of the end, and when that was.
#[track_caller]
fn ended(bastion: &TestBastion, session: &Value) -> (String, Duration) {
    let (mut told, mut at) = (String::new(), Duration::ZERO);
    for event in events_of(bastion, session) {
        match event.what {
            What::Notice(line) => told += &String::from_utf8_lossy(&line),
            What::Ended(why) => {
                told += &why;
                at = Duration::from_micros(event.at.as_micros());
            }
            _ => {}
        }
    }
    (told, at)
}

#[test]
fn a_session_that_lasts_too_long_is_warned_and_ended_however_busy_it_is() {
    let bastion = limited("longest = \"8s\"");
    let ana = bastion.caller("ana");

    let ssh = ana.ssh(&["web1", "while :; do echo busy; sleep 0.1; done"]).start();
    ssh.err.wait("bastion: this session ends in 2 seconds by policy\n", SHORT);
    let done = ssh.done(SHORT);

    let over = "bastion: this session has lasted 8 seconds, the longest that policy allows; it ends here\n";
    assert_eq!(done.code, Some(77), "{done:?}");
    assert_eq!(done.err, format!("bastion: this session ends in 2 seconds by policy\n{over}"));
    let session = bastion.last_session_of("ana");
    assert_eq!(
        (session["state"].as_str(), session["reason"].as_str()),
        (Some("finished"), Some("its time was over by policy"))
    );
    assert_eq!(bastion.output_of(&session), done.text());
    let (told, at) = ended(&bastion, &session);
    assert_eq!(told, format!("{}its time was over by policy", done.err));
    assert!(at >= Duration::from_secs(8), "ended after {at:?}");
}

#[test]
fn a_terminal_whose_time_is_over_says_so_on_a_line_of_its_own() {
    let bastion = limited("longest = \"8s\"");
    let ana = bastion.caller("ana");

    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    ssh.out.wait(PROMPT, SHORT);
    let at = ssh.out.wait("\r\nbastion: this session ends in 2 seconds by policy\r\n", SHORT);
    // It may be over before this comes.
    ssh.try_send("echo still-here\r").ok();
    let over =
        "\r\nbastion: this session has lasted 8 seconds, the longest that policy allows; it ends here\r\n";
    ssh.out.wait_from(at, over, SHORT);

    assert_eq!(ssh.done(SHORT).code, Some(77));
    assert_eq!(bastion.last_session_of("ana")["reason"], "its time was over by policy");
}

#[test]
fn an_idle_terminal_is_warned_and_a_key_gives_it_its_time_again() {
    let bastion = limited("idle = \"12s\"");
    let ana = bastion.caller("ana");
    let warning = "\r\nbastion: nothing happens here; this session ends in 3 seconds\r\n";

    let ssh = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = ssh.out.wait(PROMPT, SHORT);
    let at = ssh.out.wait_from(at, warning, SHORT);
    // What prints without end is as idle as whoever looks at it.
    ssh.send("while :; do echo busy; sleep 0.2; done\r");
    let at = ssh.out.wait_from(at, "\r\nbusy\r\n", SHORT);
    let at = ssh.out.wait_from(at, warning, SHORT);
    let over = "\r\nbastion: nothing happened for 12 seconds, the longest that policy allows; this session ends here\r\n";
    ssh.out.wait_from(at, over, SHORT);

    assert_eq!(ssh.done(SHORT).code, Some(77));
    let session = bastion.last_session_of("ana");
    assert_eq!(session["reason"], "idle for too long by policy");
    let (told, at) = ended(&bastion, &session);
    assert_eq!(told, format!("{warning}{warning}{over}idle for too long by policy"));
    assert!(at >= Duration::from_secs(21), "nine seconds, a key, and twelve more: {at:?}");
}

#[test]
fn a_command_is_idle_once_it_neither_says_nor_hears_anything() {
    let bastion = limited("idle = \"4s\"");
    let ana = bastion.caller("ana");

    let talks = "for i in 1 2 3 4 5 6; do echo $i; sleep 1; done; echo quiet; exec sleep 600";
    let ssh = ana.ssh(&["web1", talks]).start();
    ssh.out.wait("quiet\n", SHORT);
    assert_eq!(ssh.err.text(), "", "it talked for longer than it may be quiet");
    let done = ssh.done(SHORT);

    assert_eq!(done.code, Some(77), "{done:?}");
    assert_eq!(
        done.err,
        "bastion: nothing happens here; this session ends in 1 second\n\
         bastion: nothing happened for 4 seconds, the longest that policy allows; this session ends here\n"
    );
    assert_eq!(bastion.last_session_of("ana")["reason"], "idle for too long by policy");
}

/// A client that is stopped in the middle of a flood: its connection takes nothing more, not even the end.
#[test]
fn a_client_that_takes_nothing_outlives_no_limit() {
    let bastion = limited("longest = \"4s\"");
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1", "yes"]).start();
    ssh.out.wait("y\n", SHORT);
    ssh.signal(Signal::STOP);

    let session = bastion.last_session_of("ana");
    assert_eq!(session["reason"], "its time was over by policy");
    within(SHORT, "the target's program to be gone", || {
        bastion.sessions().iter().all(|s| s["state"] != "live").then_some(())
    });
    ssh.signal(Signal::CONT);
    let done = ssh.done(SHORT);
    assert!(matches!(done.code, Some(77 | 255)), "{:?}", done.code);
}
