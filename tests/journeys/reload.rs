//! Policy and targets read again while sessions live.

use tests::world::{SHORT, Setup, TestTarget, within};

const ALL: &str = "[[rule]]\nname = \"all\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\n";
const NONE: &str = "[[rule]]\nname = \"closed\"\naction = \"deny\"\nusers = [\"ana\"]\ntargets = [\"*\"]\n";

#[test]
fn a_new_policy_holds_for_new_sessions_and_leaves_living_ones() {
    let bastion = Setup::default().policy(ALL).start();
    let ana = bastion.caller("ana");
    let shell = ana.ssh(&["web1"]).options(&["-t"]).on_terminal(80, 24);
    let at = shell.out.wait("target> ", SHORT);

    bastion.write_policy(&format!("{ALL}{NONE}"));
    bastion.reload();
    let denied = within(SHORT, "the new policy", || {
        let done = ana.ssh(&["web1", "true"]).done();
        (done.code == Some(77)).then_some(done)
    });

    assert_eq!(denied.err.lines().count(), 1, "{:?}", denied.err);
    bastion.logged("closed");
    shell.send("echo still-here\r");
    shell.out.wait_from(at, "\nstill-here\r\n", SHORT);
    shell.send("exit\r");
    assert_eq!(shell.done(SHORT).code, Some(0));
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
    bastion.logged("login stays as it was until the program starts anew");
    assert!(!bastion.log().contains("listen stays"), "{}", bastion.log());
    ana.ssh(&["web1", "true"]).done().expect_ok("her key is bound as before");
}
