//! Targets that are not what they were, or not there.

use std::time::Instant;

use tests::world::{Done, Fault, SHORT, Setup, TestBastion, TestTarget, Wire, free_port};

/// One printable line on standard error, from us.
#[track_caller]
fn assert_said(done: &Done, code: i32, words: &[&str]) {
    assert_eq!(done.code, Some(code), "{done:?}");
    assert_eq!(done.out, b"", "{done:?}");
    assert_eq!(done.err.lines().count(), 1, "one line: {:?}", done.err);
    for word in words {
        assert!(done.err.contains(word), "{word:?} in {:?}", done.err);
    }
    assert!(done.err.chars().all(|c| c == '\n' || c == '\r' || !c.is_control()), "printable: {:?}", done.err);
}

#[test]
fn a_changed_host_key_is_refused_with_its_fingerprint_and_what_to_do() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    ana.ssh(&["web1", "true"]).done().expect_ok("before the change");

    bastion.target().change_host_key();
    let done = ana.ssh(&["web1", "echo reached"]).done();

    let fingerprint = bastion.target().fingerprint();
    assert_said(&done, 69, &["web1", &fingerprint, "bastion target pin"]);
    bastion.logged(&fingerprint);
    let session = bastion.last_session_of("ana");
    assert_eq!(session["state"], "finished");
    assert!(!bastion.target().log().contains("Accepted publickey"), "we did not sign in to it");
}

#[test]
fn a_target_without_a_known_host_key_is_refused() {
    let stranger = TestTarget::start("");
    let bastion = Setup::default().target("new", stranger.port(), "", "").start();
    let ana = bastion.caller("ana");

    let done = ana.ssh(&["new", "true"]).done();

    assert_said(&done, 69, &["new", &stranger.fingerprint(), "bastion target pin"]);
}

#[test]
fn a_pin_is_shown_and_asked_for_and_then_holds() {
    let stranger = TestTarget::start("");
    let bastion = Setup::default().target("new", stranger.port(), "", "").start();
    stranger.authorize(&bastion.gateway_key("new"));
    let ana = bastion.caller("ana");

    let program = tests::world::built("bastion").to_string_lossy().into_owned();
    let env = [("BASTION_CONFIG".to_owned(), bastion.settings().to_string_lossy().into_owned())];
    let words = ["target", "pin", "new"].map(str::to_owned);
    let pin = tests::world::Program::on_terminal(&program, &words, &env, 100, 30);
    pin.out.wait(&stranger.fingerprint(), SHORT);
    pin.send("yes\r");
    pin.done(SHORT).expect_ok("bastion target pin");

    tests::world::within(SHORT, "the pin to hold", || {
        bastion.reload();
        (ana.ssh(&["new", "true"]).done().code == Some(0)).then_some(())
    });
}

#[test]
fn a_target_that_is_down_is_said_and_recorded() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    bastion.target().stop();

    let done = ana.ssh(&["web1", "true"]).done();

    assert_said(&done, 69, &["web1"]);
    bastion.logged("web1");
    assert_eq!(bastion.last_session_of("ana")["state"], "finished");

    bastion.target().start_again();
    ana.ssh(&["web1", "true"]).done().expect_ok("once it is up again");
}

#[test]
fn a_target_that_hangs_up_or_never_answers_is_said_in_time() {
    let hangs_up = Wire::to(free_port(), Fault::HangsUp);
    let silent = Wire::to(free_port(), Fault::Silent);
    let key = TestTarget::start("").host_key();
    let bastion = Setup::default()
        .target("hangs-up", hangs_up.port(), &key, "")
        .target("silent", silent.port(), &key, "connect_timeout = \"2s\"")
        .start();
    let ana = bastion.caller("ana");

    assert_said(&ana.ssh(&["hangs-up", "true"]).done(), 69, &["hangs-up"]);
    let began = Instant::now();
    assert_said(&ana.ssh(&["silent", "true"]).done(), 69, &["silent"]);
    assert!(began.elapsed() < SHORT, "it took {:?}", began.elapsed());
}

#[test]
fn a_target_that_does_not_let_us_in_is_said_with_what_to_do() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    bastion.target().forget_all_keys();

    assert_said(&ana.ssh(&["web1", "true"]).done(), 69, &["web1", "bastion target setup"]);
}

#[test]
fn a_target_that_dies_midway_ends_the_session_and_the_record_is_whole() {
    let bastion = TestBastion::start();
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["web1", "echo up; exec sleep 600"]).start();
    ssh.out.wait("up\n", SHORT);

    bastion.target().hang_up();

    let done = ssh.done(SHORT);
    // As plain ssh answers for a remote program whose end nobody told.
    assert_eq!(done.code, Some(255), "{done:?}");
    assert_eq!(done.err, "bastion: target web1 closed the session without saying how it ended\n");
    let session = bastion.last_session_of("ana");
    assert_eq!((session["state"].as_str(), bastion.output_of(&session).as_str()), (Some("finished"), "up\n"));
}

#[test]
fn a_wire_that_is_cut_midway_does_not_leave_the_session_hanging() {
    let target = TestTarget::start("");
    let wire = Wire::to(target.port(), Fault::None);
    let bastion = Setup::default().target("far", wire.port(), &target.host_key(), "").start();
    target.authorize(&bastion.gateway_key("far"));
    let ana = bastion.caller("ana");
    let ssh = ana.ssh(&["far"]).options(&["-t"]).on_terminal(80, 24);
    ssh.out.wait("target> ", SHORT);

    wire.cut();

    let done = ssh.done(SHORT);
    assert_eq!(done.code, Some(255), "{done:?}");
    let said = "\r\nbastion: target far closed the session without saying how it ended\r\n";
    assert!(done.text().contains(said), "{:?}", done.text());
    let session = bastion.last_session_of("ana");
    assert_eq!(
        (session["state"].as_str(), session["reason"].as_str()),
        (Some("finished"), Some("the target closed"))
    );
}
