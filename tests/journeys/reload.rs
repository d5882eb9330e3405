//! Policy and targets read again while sessions live.

use tests::world::{SHORT, Setup, TestTarget, within};

const ALL: &str = "[[rule]]\nname = \"all\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\n";
/// Why sessions end.
const CHANGED: &str = "policy was changed and does not allow it any more";
const NONE: &str = "[[rule]]\nname = \"closed\"\naction = \"deny\"\nusers = [\"ana\"]\ntargets = [\"*\"]\n";

#[test]
fn a_new_policy_leaves_what_it_allows_and_warns_and_ends_what_it_does_not() {
    let bastion = Setup::default().policy(ALL).table("[limits]\nwarning = \"2s\"").start();
    let (ana, bea) = (bastion.caller("ana"), bastion.caller("bea"));
    let shell = bea.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = shell.out.wait("target> ", SHORT);
    let command = ana.ssh(&["web1", "echo in; sleep 600"]).start();
    command.out.wait("in\n", SHORT);

    bastion.write_policy(&format!("{ALL}{NONE}"));
    bastion.reload();
    command.err.wait(&format!("bastion: this session ends in 2 seconds: {CHANGED}\n"), SHORT);
    let ended = command.done(SHORT);
    assert_eq!(ended.code, Some(77), "{ended:?}");
    assert!(ended.err.ends_with(&format!("bastion: this session was ended: {CHANGED}\n")), "{ended:?}");
    assert_eq!(bastion.last_session_of("ana")["reason"], CHANGED);
    let denied = ana.ssh(&["web1", "true"]).done();
    assert_eq!((denied.code, denied.err.lines().count()), (Some(77), 1), "{denied:?}");
    bastion.logged("closed");

    shell.send("echo still-here\r");
    shell.out.wait_from(at, "\nstill-here\r\n", SHORT);
    shell.send("exit\r");
    assert_eq!(shell.done(SHORT).code, Some(0));
}

#[test]
fn a_policy_that_is_put_right_in_time_ends_nothing() {
    let bastion = Setup::default().policy(ALL).start();
    let ana = bastion.caller("ana");
    let command = ana.ssh(&["web1", "echo in; read line; echo $line"]).start();
    command.out.wait("in\n", SHORT);

    bastion.write_policy(NONE);
    bastion.reload();
    command.err.wait(&format!("bastion: this session ends in 1 minute: {CHANGED}\n"), SHORT);
    bastion.write_policy(ALL);
    bastion.reload();
    command.err.wait("bastion: policy allows this session again, it goes on\n", SHORT);
    command.send("fine\n");
    command.out.wait("fine\n", SHORT);
    assert_eq!(command.done(SHORT).code, Some(0));
}

#[test]
fn a_target_that_is_taken_out_of_the_settings_ends_its_sessions() {
    let bastion = Setup::default().policy(ALL).table("[limits]\nwarning = \"0s\"").start();
    let ana = bastion.caller("ana");
    let command = ana.ssh(&["web1", "echo in; sleep 600"]).start();
    command.out.wait("in\n", SHORT);
    let settings = std::fs::read_to_string(bastion.settings()).unwrap();
    std::fs::write(bastion.settings(), settings.replace("[targets.web1]", "[targets.web2]")).unwrap();
    bastion.reload();
    assert_eq!(command.done(SHORT).code, Some(77));
}

#[test]
fn a_wrong_policy_is_refused_whole_and_the_old_one_stays() {
    let bastion = Setup::default().policy(ALL).start();
    let ana = bastion.caller("ana");

    for (wrong, word) in [
        (
            "[[rule]]\nname = \"a\"\naction = \"allow\"\ngroups = [\"nonesuch\"]\ntargets = [\"*\"]\n",
            "nonesuch",
        ),
        (
            "[[rule]]\nname = \"a\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\nodd_key = 1\n",
            "odd_key",
        ),
        ("[[rule", "policy.toml:1"),
    ] {
        bastion.write_policy(wrong);
        bastion.reload();
        bastion.logged(word);
        ana.ssh(&["web1", "true"]).done().expect_ok("under the old policy");
        let check = bastion.command(&["check"]);
        assert_eq!(check.code, Some(1), "{check:?}");
        let told = check.text() + &check.err;
        assert!(told.contains("policy.toml:") && told.contains("try:"), "{told}");
    }
}

#[test]
fn a_new_target_can_be_reached_after_a_reload() {
    let added = TestTarget::start("");
    let bastion = Setup::default().policy(ALL).start();
    added.authorize(&bastion.gateway_key("web1"));
    let ana = bastion.caller("ana");
    assert_eq!(ana.ssh(&["db1", "true"]).done().code, Some(77), "not there yet");

    std::fs::create_dir_all(bastion.path("targets.d")).unwrap();
    let table = format!(
        "[targets.db1]\naddress = \"127.0.0.1\"\nport = {}\nlogins = [{:?}]\nhost_keys = [{:?}]\n",
        added.port(),
        TestTarget::login(),
        added.host_key()
    );
    std::fs::write(bastion.path("targets.d/db.toml"), table).unwrap();
    bastion.reload();

    within(SHORT, "the new target", || (ana.ssh(&["db1", "true"]).done().code == Some(0)).then_some(()));
}

#[test]
fn what_takes_a_new_start_stays_and_is_named() {
    let bastion = Setup::default().policy(ALL).start();
    let ana = bastion.caller("ana");
    let file = bastion.settings();
    let settings = std::fs::read_to_string(&file).unwrap();
    let changed = settings.replacen("[login]", "[login]\nbinding = \"0s\"", 1);
    assert_ne!(changed, settings);
    std::fs::write(&file, changed).unwrap();

    bastion.reload();
    bastion.logged("login.binding stays as it was until the program starts anew");
    assert_eq!(bastion.log().matches("stays as it was").count(), 1, "{}", bastion.log());
    ana.ssh(&["web1", "true"]).done().expect_ok("her key is bound as before");
}
