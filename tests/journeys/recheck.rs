//! What people lose at the provider they lose here; and more than one provider.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::{
    hostile::{Fault, Hostile, Refresh},
    provider::Provider,
    world::{Caller, SHORT, Setup, TestBastion, person, press_enter_until_done, user_code, within},
};

use crate::users_certificates::Authority;

const GONE: &str = "the sign-in provider does not vouch for you any more";
const GROUPS: &str =
    "your groups at the sign-in provider have changed, and policy does not allow it any more";

fn checked(policy: &str) -> TestBastion {
    Setup::default().policy(policy).login("recheck = \"1s\"").table("[limits]\nwarning = \"1s\"").start()
}

const ALL: &str = "[[rule]]\nname = \"all\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\n";

fn acts(bastion: &TestBastion, act: &str) -> Vec<Value> {
    let told = bastion.command(&["audit", "--json", "--act", act]).expect_ok("bastion audit").text();
    serde_json::from_str(&told).expect("it is a JSON list")
}

#[test]
fn who_leaves_the_provider_loses_open_sessions_and_key_and_nobody_else_does() {
    let bastion = checked(ALL);
    let (ana, bea) = (bastion.caller("ana"), bastion.caller("bea"));
    let [anas, beas] = [&ana, &bea].map(|caller| {
        let ssh = caller.ssh(&["web1", "echo in; read line; echo $line"]).start();
        ssh.out.wait("in\n", SHORT);
        ssh
    });
    // Without a key there is no binding: her connection itself is asked about.
    let keyless = ana.ssh(&["web1"]).attended().options(&["-t", "-o", "PubkeyAuthentication=no"]);
    let keyless = keyless.on_terminal(80, 24);
    bastion.provider().approve_as(&user_code(&keyless), person("ana"));
    keyless.send("\r");
    keyless.out.wait("target> ", SHORT);
    let asked = bastion.provider().seen().refreshes;
    within(SHORT, "three checks of each", || {
        (bastion.provider().seen().refreshes >= asked + 9).then_some(())
    });

    bastion.provider().leaves("id-of-ana");
    let done = anas.done(SHORT);
    assert_eq!(done.code, Some(75), "{done:?}");
    for said in ["this session ends in 2 seconds", "this session was ended"] {
        assert!(done.err.contains(&format!("bastion: {said}: {GONE}\n")), "{done:?}");
    }
    let done = keyless.done(SHORT);
    assert!(done.text().contains(GONE), "{done:?}");
    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(255), "her key is nobody's");
    beas.send("fine\n");
    beas.out.wait("fine\n", SHORT);
    assert_eq!(beas.done(SHORT).code, Some(0));
    bea.ssh(&["web1", "true"]).done().expect_ok("another person's key");

    let told = acts(&bastion, "not-vouched-for");
    assert_eq!(told.len(), 2, "the key and the connection without one: {told:?}");
    assert!(told.iter().all(|act| act["person"]["name"] == "ana"), "{told:?}");
    assert_eq!(bastion.last_session_of("ana")["reason"], GONE);
}

#[test]
fn other_groups_end_what_they_do_not_allow_and_the_binding() {
    let bastion = checked(
        "[groups]\npeople = { provider = \"people\" }\n\
         [[rule]]\nname = \"commands\"\naction = \"allow\"\ngroups = [\"people\"]\ntargets = [\"*\"]\nchannels = [\"exec\"]\n\
         [[rule]]\nname = \"shells\"\naction = \"allow\"\nusers = [\"*\"]\ntargets = [\"*\"]\nchannels = [\"terminal\"]\n",
    );
    let ana = bastion.caller("ana");
    let control = ana.path("mux").display().to_string();
    let shared = ["-o", "ControlMaster=auto", "-o", &format!("ControlPath={control}")];
    let terminal = ana.ssh(&["web1"]).options(&shared).options(&["-t"]).on_terminal(80, 24);
    let at = terminal.out.wait("target> ", SHORT);
    ana.ssh(&["web1", "true"]).options(&shared).done().expect_ok("a channel on the same connection");
    let command = ana.ssh(&["web1", "echo in; sleep 600"]).start();
    command.out.wait("in\n", SHORT);

    bastion.provider().changes("id-of-ana", json!({ "groups": ["interns"] }));
    let done = command.done(SHORT);
    assert_eq!(done.code, Some(77), "{done:?}");
    assert!(done.err.contains(&format!("bastion: this session was ended: {GROUPS}\n")), "{done:?}");
    let denied = ana.ssh(&["web1", "true"]).options(&shared).done();
    assert_eq!(denied.code, Some(77), "the connection knows her groups as they are now: {denied:?}");
    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(255), "her key is bound no more");
    terminal.send("echo still-here\r");
    terminal.out.wait_from(at, "\nstill-here\r\n", SHORT);

    let told = acts(&bastion, "groups-changed");
    assert_eq!((told.len(), &told[0]["before"]), (1, &json!(["people"])), "{told:?}");
    assert_eq!(told[0]["person"]["groups"], json!(["interns"]));

    bastion.provider().leaves("id-of-ana");
    terminal.out.wait(GONE, SHORT);
    terminal.done(SHORT);
}

#[test]
fn a_key_whose_owner_left_while_nobody_was_in_is_out_at_its_next_call() {
    let bastion = checked(ALL);
    let ana = bastion.caller("ana");
    bastion.stop();
    bastion.provider().leaves("id-of-ana");
    bastion.start_again();
    let done = within(SHORT, "a second to pass", || {
        let done = ana.ssh(&["web1", "true"]).done();
        (done.code == Some(255)).then_some(done)
    });
    assert!(done.err.contains("Permission denied"), "{done:?}");
    bastion.logged("the provider does not vouch for her any more");
}

/// Signs in at this provider, as whoever it says.
#[track_caller]
fn sign_in_at(provider: &Provider, caller: &Caller, claims: Value) -> tests::world::Done {
    let ssh = caller.ssh(&[":whoami", "--json"]).attended().on_terminal(100, 30);
    provider.approve_as(&user_code(&ssh), claims);
    press_enter_until_done(&ssh)
}

#[test]
fn each_provider_vouches_for_its_own_people_and_its_groups_are_no_namesakes() {
    let partner = Provider::start();
    partner.interval(1);
    let bastion = Setup::default()
        .policy(
            "[groups]\npeople = { provider = \"people\" }\ntheirs = { provider = \"partner:people\" }\n\
             [[rule]]\nname = \"ours\"\naction = \"allow\"\ngroups = [\"people\"]\ntargets = [\"*\"]\n\
             [[rule]]\nname = \"theirs\"\naction = \"allow\"\ngroups = [\"theirs\"]\ntargets = [\"*\"]\nchannels = [\"exec\"]\n",
        )
        .table(&format!(
            "[login.more.partner]\nissuer = {:?}\nclient_id = \"bastion\"\nusers = [\"ext-*\"]\n",
            partner.issuer()
        ))
        .start();
    let ana = bastion.caller("ana");
    let zoe = bastion.stranger("ext-zoe");
    let signed_in = sign_in_at(&partner, &zoe, person("ext-zoe"));
    assert_eq!(signed_in.code, Some(0), "{}", signed_in.text());
    assert!(signed_in.text().contains(partner.issuer()), "she was sent there: {}", signed_in.text());
    assert!(signed_in.text().contains("\"partner:people\""), "{}", signed_in.text());

    ana.ssh(&["web1", "true"]).done().expect_ok("a member of our group");
    ana.ssh(&["web1"]).done().expect_ok("with a shell");
    zoe.ssh(&["web1", "true"]).done().expect_ok("a member of theirs, which needs no prompt by now");
    assert_eq!(zoe.ssh(&["web1"]).done().code, Some(77), "their group of the same name is not ours");

    // The partner can vouch for nobody who is ours, and ours for nobody of the partner's.
    let mallory = bastion.stranger("ext-mallory");
    let mut as_ana = person("ana");
    as_ana["sub"] = "id-of-mallory".into();
    let refused = sign_in_at(&partner, &mallory, as_ana);
    assert_eq!(refused.code, Some(255));
    assert!(refused.text().contains("does not go with the user name"), "{}", refused.text());

    let settings = std::fs::read_to_string(bastion.settings()).unwrap();
    let twice = settings.replace(partner.issuer(), bastion.provider().issuer());
    std::fs::write(bastion.settings(), twice).unwrap();
    let check = bastion.command(&["check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.text().contains("each provider is named once"), "{check:?}");
}

#[test]
fn a_provider_that_hangs_puts_off_nothing_that_is_asked_of_another() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let partner = Hostile::start(Fault::Nothing, now.try_into().unwrap());
    let mut zoe_there = person("ext-zoe");
    zoe_there["sub"] = "zoe".into();
    partner.claims(zoe_there);
    let bastion = Setup::default()
        .policy(ALL)
        .login("recheck = \"1s\"")
        .table(&format!(
            "[login.more.partner]\nissuer = {:?}\nclient_id = \"bastion\"\nusers = [\"ext-*\"]\n",
            partner.issuer()
        ))
        .start();
    let (ana, zoe) = (bastion.caller("ana"), bastion.stranger("ext-zoe"));
    let signed_in = zoe.ssh(&[":whoami"]).attended().on_terminal(100, 30);
    assert_eq!(press_enter_until_done(&signed_in).code, Some(0));
    let [anas, zoes] = [&ana, &zoe].map(|caller| {
        let ssh = caller.ssh(&["web1", "echo in; read line; echo got $line"]).start();
        ssh.out.wait("in\n", SHORT);
        ssh
    });

    partner.refreshes(Refresh::Silence);
    let before = partner.refreshed_with().len();
    within(SHORT, "the partner to be asked", || (partner.refreshed_with().len() > before).then_some(()));
    bastion.provider().leaves("id-of-ana");
    let done = anas.done(SHORT);

    assert!(done.err.contains(GONE), "{done:?}");
    assert!(!bastion.log().contains("nobody can say whether the provider"), "the partner is still hanging");
    zoes.send("x\n");
    zoes.out.wait("got x\n", SHORT);
}

/// A certificate's key may be bound too, under another name: what the provider says of that one is nothing to it.
#[test]
fn a_certificate_is_not_asked_about_at_the_provider_of_whoever_bound_its_key() {
    let authority = Authority::new();
    let bastion = Setup::default().policy(ALL).login("recheck = \"1s\"").table(&authority.table()).start();
    let ana = bastion.caller("ana");
    authority.certifies(&ana, &["-n", "deploy"]);
    let file = format!("CertificateFile={}", ana.path("id-cert.pub").display());
    let deploy =
        ana.ssh(&["web1", "echo in; read line; echo got $line"]).login("deploy").options(&["-o", &file]);
    let deploy = deploy.start();
    deploy.out.wait("in\n", SHORT);
    let hers = ana.ssh(&["web1", "echo in; read line"]).start();
    hers.out.wait("in\n", SHORT);
    let asked = bastion.provider().seen().refreshes;
    within(SHORT, "two checks", || (bastion.provider().seen().refreshes >= asked + 2).then_some(()));

    bastion.provider().leaves("id-of-ana");
    assert!(hers.done(SHORT).err.contains(GONE));
    deploy.send("x\n");
    deploy.out.wait("got x\n", SHORT);
    assert_eq!(deploy.done(SHORT).code, Some(0));
}

/// Her key is nobody's once its binding has run out, and the provider is asked about its owner of today.
#[test]
fn what_a_key_opened_ends_when_it_is_bound_by_somebody_else() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for gives in [Refresh::Good, Refresh::NotGiven] {
        let partner = Hostile::start(Fault::Nothing, now.try_into().unwrap());
        let is_called = |name: &str| {
            let mut claims = person(name);
            claims["sub"] = name.into();
            partner.claims(claims);
        };
        let bastion = Setup::default()
            .policy(ALL)
            .login("recheck = \"1s\"\nbinding = \"5s\"")
            .table(&format!(
                "[login.more.partner]\nissuer = {:?}\nclient_id = \"bastion\"\nusers = [\"ext-*\"]\n",
                partner.issuer()
            ))
            .start();
        let zoe = bastion.stranger("ext-zoe");
        is_called("ext-zoe");
        let zoes = zoe.ssh(&["web1", "echo in; cat"]).attended().on_terminal(100, 30);
        zoes.out.wait("press Enter", SHORT);
        within(SHORT, "zoe to be in", || {
            zoes.send("\r");
            zoes.out.text().contains("in\r\n").then_some(())
        });
        let bound = || bastion.command(&["bindings", "list", "--json"]).expect_ok("bindings list").text();
        within(SHORT, "her binding to run out", || (bound().trim() == "[]").then_some(()));
        assert!(zoes.ended().is_none(), "{}", zoes.out.text());

        is_called("ext-yan");
        partner.refreshes(gives);
        let yan = zoe.ssh(&[":whoami"]).login("ext-yan").attended().on_terminal(100, 30);
        assert_eq!(press_enter_until_done(&yan).code, Some(0), "{}", yan.out.text());
        let done = zoes.done(SHORT);
        assert!(done.text().contains(GONE), "{gives:?}: {}", done.text());
    }
}
