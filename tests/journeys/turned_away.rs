//! Addresses of which too many proofs fail, and those of which none does.

use std::{fs, net::Ipv4Addr, process::Command};

use serde_json::Value;
use tests::world::{
    Caller, Done, LONG, SHORT, Setup, TestBastion, make_key, press_enter_until_done,
    raw::{Answer, Key, Raw, Words, signed},
    scratch, user_code, within,
};

const TOLD: &str = "too many failed sign-ins from your address";

/// A gateway that turns away after so many.
#[track_caller]
fn gateway(failed: usize) -> TestBastion {
    Setup::default().table(&format!("[limits]\nfailed_proofs = {failed}")).start()
}

#[track_caller]
fn calls(caller: &Caller, from: &str) -> Done {
    caller.ssh(&["web1", "echo in"]).options(&["-b", from]).done()
}

/// Nobody gets any further from there, and is told so.
#[track_caller]
fn is_turned_away(caller: &Caller, from: &str) {
    let done = calls(caller, from);
    assert_eq!(done.code, Some(255), "{done:?}");
    assert!(done.err.contains(TOLD), "{done:?}");
}

/// Shows `key` with a signature that another has made.
fn forge(raw: &mut Raw, key: &Key) -> Answer {
    let (said, request) = signed(&raw.session_id, "ana", "ssh-connection", "ssh-ed25519", &key.blob());
    raw.step(&Words::none().raw(request).string(Key::of(99).sign(&said)).done())
}

#[test]
fn an_address_whose_signatures_do_not_hold_is_turned_away_and_others_are_not() {
    let bastion = gateway(3);
    let ana = bastion.caller("ana");
    let mut waits = Raw::at_the_door(bastion.port());
    let asked = waits.interactive("ana");
    waits.until_code(asked);

    let (mut raw, key) = (Raw::at_the_door(bastion.port()), Key::of(1));
    // That the first did not hold shows with the second.
    for round in 0..4 {
        assert_eq!(calls(&ana, "127.0.0.1").code, Some(0), "round {round}");
        assert!(matches!(forge(&mut raw, &key), Answer::Failure { partial: false, .. }), "round {round}");
    }
    assert_eq!(forge(&mut raw, &key), Answer::Cut, "on the same connection too");
    is_turned_away(&ana, "127.0.0.1");
    is_turned_away(&ana, "127.0.0.1");

    assert_eq!(calls(&ana, "127.0.0.2").expect_ok("from elsewhere").text().trim(), "in");
    assert!(matches!(waits.respond(&[""]), Answer::Asks(_)), "who is at the provider already may end it");
    assert_eq!(waits.offer("ana", &key), Answer::Cut, "and begin nothing new");

    assert_eq!(bastion.log().matches("turned away for a minute").count(), 1);
    let entry = within(SHORT, "an entry in the trail", || {
        let told = bastion.command(&["audit", "--json", "--act", "source-turned-away"]).text();
        let told: Vec<Value> = serde_json::from_str(&told).ok()?;
        assert!(told.len() <= 1, "{told:?}");
        told.into_iter().next()
    });
    assert_eq!(entry["failed"], 3);
    assert!(entry["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{entry}");
}

/// What an agent with many keys does, and a program in batch mode, and whoever gives up.
#[test]
fn keys_that_nobody_knows_and_sign_ins_that_are_left_are_no_failed_proofs() {
    let bastion = gateway(1);
    let ana = bastion.caller("ana");
    let config = fs::read_to_string(ana.config()).unwrap();
    let unknown: String = (0..5)
        .map(|number| {
            let key = ana.path(&format!("unknown{number}"));
            make_key(&key);
            if number % 2 == 0 {
                // She can offer it, and not prove it.
                fs::remove_file(&key).unwrap();
            }
            format!("IdentityFile {}\n", key.display())
        })
        .collect();
    fs::write(ana.config(), format!("{unknown}{config}")).unwrap();
    let batch = calls(&ana, "127.0.0.1");
    assert_eq!(batch.code, Some(255), "an unknown key that is proven ends the search: {batch:?}");
    fs::write(ana.config(), config).unwrap();

    let mut raw = Raw::at_the_door(bastion.port());
    for key in 1..10 {
        assert_eq!(raw.offer("ana", &Key::of(key)), Answer::KeyWouldDo);
    }
    for key in 10..13 {
        assert!(matches!(raw.prove("ana", &Key::of(key)), Answer::Failure { partial: true, .. }));
    }
    let asked = raw.interactive("ana");
    let code = raw.until_code(asked);
    bastion.provider().expire(&code);
    assert!(matches!(raw.enter_until_decided(1), Answer::Failure { .. }), "its code has expired");
    drop(raw);

    assert_eq!(calls(&ana, "127.0.0.1").expect_ok("hers is known").text().trim(), "in");
    assert!(!bastion.log().contains("turned away"));
}

#[test]
fn a_sign_in_that_is_denied_is_a_failed_proof() {
    let bastion = gateway(1);
    let (ana, bea) = (bastion.caller("ana"), bastion.stranger("bea"));
    let ssh = bea.ssh(&["web1", "true"]).attended().on_terminal(100, 30);
    let code = user_code(&ssh);
    bastion.provider().deny(&code);
    let done = press_enter_until_done(&ssh);
    assert!(done.text().contains("denied at the provider"), "{done:?}");
    is_turned_away(&ana, "127.0.0.1");
    assert_eq!(calls(&ana, "127.0.0.2").code, Some(0));
}

#[test]
fn a_certificate_that_does_not_hold_is_a_failed_proof_and_a_foreign_one_is_none() {
    let folder = scratch();
    let authority = |name: &str| {
        let file = folder.path().join(name);
        (make_key(&file).trim().to_owned(), file)
    };
    let ((ours, our_file), (_, foreign_file)) = (authority("ours"), authority("foreign"));
    let table = format!("[limits]\nfailed_proofs = 1\n[login.certificates]\nauthorities = [{ours:?}]");
    let bastion = Setup::default().table(&table).start();
    let (ana, bea) = (bastion.caller("ana"), bastion.stranger("bea"));
    for (file, principal) in [(foreign_file, "bea"), (our_file, "somebody")] {
        assert_eq!(calls(&ana, "127.0.0.1").code, Some(0), "before {}", file.display());
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-I", "x", "-V", "+1h", "-n", principal, "-s"]).arg(file).arg(bea.path("id.pub"));
        assert!(sign.status().unwrap().success());
        assert_eq!(calls(&bea, "127.0.0.1").code, Some(255));
    }
    is_turned_away(&ana, "127.0.0.1");
}

/// Whoever is turned away and says nothing, or goes on talking, holds no place for long.
#[test]
fn who_is_turned_away_is_hung_up_on() {
    let bastion = gateway(1);
    let mut raw = Raw::at_the_door(bastion.port());
    forge(&mut raw, &Key::of(1));
    forge(&mut raw, &Key::of(1));
    let mut silent = Raw::connect(bastion.port());
    silent.hear_name();
    silent.expect_end(SHORT);
    let mut talks = Raw::connect_from(Ipv4Addr::LOCALHOST, bastion.port()).unwrap();
    talks.hear_name();
    while talks.say(&[b'x'; 1024]).is_ok() {}
    talks.expect_end(LONG);
}
