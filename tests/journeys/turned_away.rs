//! Addresses of which too many proofs fail, and those of which none does.

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use serde_json::Value;
use tests::world::{
    Caller, Done, LONG, SHORT, Setup, TestBastion, make_key, press_enter_until_done,
    raw::{Answer, Key, Raw, Words, msg, signed},
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

/// Nobody is asked anything there, and is told so.
#[track_caller]
fn is_turned_away(bastion: &TestBastion, from: &str) {
    let stranger = bastion.stranger("zoe");
    let done = stranger.ssh(&["web1", "true"]).options(&["-b", from]).attended().done();
    assert_eq!(done.code, Some(255), "{done:?}");
    assert!(done.err.contains(TOLD), "{done:?}");
}

/// Shows `key` with a signature that another has made.
fn forge(raw: &mut Raw, key: &Key) -> Answer {
    let (said, request) = signed(&raw.session_id, "ana", "ssh-connection", "ssh-ed25519", &key.blob());
    raw.step(&Words::none().raw(request).string(Key::of(99).sign(&said)).done())
}

#[test]
fn an_address_whose_signatures_do_not_hold_has_no_prompts_and_who_needs_none_comes_in() {
    let bastion = gateway(3);
    let ana = bastion.caller("ana");
    let mut waits = Raw::at_the_door(bastion.port());
    let asked = waits.interactive("ana");
    waits.until_code(asked);

    let (mut raw, key) = (Raw::at_the_door(bastion.port()), Key::of(1));
    assert_eq!(raw.offer("ana", &key), Answer::KeyWouldDo, "with an offer before it or without");
    for round in 0..2 {
        assert!(matches!(forge(&mut raw, &key), Answer::Failure { partial: false, .. }), "round {round}");
    }
    assert_eq!(forge(&mut raw, &key), Answer::Cut, "the third is the last");
    assert_eq!(
        forge(&mut Raw::at_the_door(bastion.port()), &Key::of(2)),
        Answer::Cut,
        "and one is, from then on"
    );
    for _ in 0..2 {
        is_turned_away(&bastion, "127.0.0.1");
        assert_eq!(calls(&ana, "127.0.0.1").expect_ok("her key is bound").text().trim(), "in");
    }

    let mut unknown = Raw::at_the_door(bastion.port());
    assert_eq!(unknown.offer("ana", &key), Answer::KeyWouldDo);
    assert!(matches!(unknown.prove("ana", &key), Answer::Failure { partial: true, .. }));
    assert_eq!(unknown.answer(LONG), Answer::Cut, "one key that leads nowhere is heard");
    let mut asks = Raw::at_the_door(bastion.port());
    assert_eq!(asks.interactive("ana"), Answer::Asks(vec![]), "nothing");
    assert_eq!(asks.answer(LONG), Answer::Cut);
    asks.expect_end(LONG);

    assert!(matches!(waits.respond(&[""]), Answer::Asks(_)), "who is at the provider already may end it");
    assert_eq!(waits.interactive("ana"), Answer::Asks(vec![]));
    assert_eq!(waits.answer(LONG), Answer::Cut, "and begin nothing new");
    let mut elsewhere = Raw::at_the_door_from(Ipv4Addr::new(127, 0, 0, 2), bastion.port());
    let asked = elsewhere.interactive("bea");
    elsewhere.until_code(asked);

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

/// Who hangs up after each guess has guessed all the same.
#[test]
fn one_wrong_signature_per_connection_counts() {
    let bastion = gateway(3);
    for _ in 0..3 {
        forge(&mut Raw::at_the_door(bastion.port()), &Key::of(1));
    }
    is_turned_away(&bastion, "127.0.0.1");
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
    for key in (1..10).chain([1, 1, 1]) {
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
    is_turned_away(&bastion, "127.0.0.1");
    assert_eq!(calls(&ana, "127.0.0.1").code, Some(0));
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
    for (file, principal) in [(&foreign_file, "bea"), (&our_file, "somebody")] {
        assert_eq!(calls(&ana, "127.0.0.1").code, Some(0), "before {}", file.display());
        certify(file, principal, &bea);
        assert_eq!(calls(&bea, "127.0.0.1").code, Some(255));
    }
    is_turned_away(&bastion, "127.0.0.1");
    assert_eq!(calls(&ana, "127.0.0.1").code, Some(0), "hers is bound");
    certify(&our_file, "bea", &bea);
    assert_eq!(calls(&bea, "127.0.0.1").code, Some(0), "one that holds");
}

fn certify(authority: &Path, principal: &str, whose: &Caller) {
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-I", "x", "-V", "+1h", "-n", principal, "-s"]).arg(authority).arg(whose.path("id.pub"));
    assert!(sign.status().unwrap().success());
}

/// It offers both, has a proof of neither, and russh calls them one key.
#[test]
fn a_program_whose_key_nobody_opens_and_that_has_a_certificate_beside_it_has_guessed_nothing() {
    let folder = scratch();
    let authority = folder.path().join("authority");
    let public = make_key(&authority);
    let table =
        format!("[limits]\nfailed_proofs = 1\n[login.certificates]\nauthorities = [{:?}]", public.trim());
    let bastion = Setup::default().table(&table).start();
    let bea = bastion.stranger("bea");
    certify(&authority, "bea", &bea);
    let mut lock = Command::new("ssh-keygen");
    lock.args(["-q", "-p", "-P", "", "-N", "a passphrase", "-f"]).arg(bea.path("id"));
    assert!(lock.status().unwrap().success());

    let done = bea.ssh(&["web1", "true"]).options(&["-v", "-o", "BatchMode=yes"]).done();
    assert_eq!(done.code, Some(255));
    assert_eq!(done.err.matches("Server accepts key").count(), 2, "{done:?}");
    assert!(!bastion.log().contains("turned away"));
    bastion.sign_in(&bastion.stranger("cleo"));
}

/// Whoever is turned away and says nothing, or goes on talking, holds no place for long.
#[test]
fn who_is_turned_away_is_hung_up_on() {
    let bastion = gateway(1);
    forge(&mut Raw::at_the_door(bastion.port()), &Key::of(1));
    let mut silent = Raw::at_the_door(bastion.port());
    silent.interactive("ana");
    silent.expect_end(SHORT);
    let mut talks = Raw::at_the_door(bastion.port());
    let begin = Words::of(msg::USERAUTH_REQUEST).string("ana").string("ssh-connection");
    let begin = begin.string("keyboard-interactive").string("").string("").done();
    while talks.send(&begin).is_ok() {}
    talks.expect_end(LONG);
}
