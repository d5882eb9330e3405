//! People who are asked to sign in at the provider, and do not: others come in meanwhile, and the provider is spared.

use std::{net::Ipv4Addr, time::Instant};

use tests::world::{
    Caller, Done, LONG, SHORT, Setup, TestBastion, person,
    raw::{Answer, Raw},
    within,
};

const TOLD: &str = "too many sign-ins wait for their browsers";

/// Thirty places for prompts, six for those of one address.
const LIMITS: &str = "[limits]\nunauthenticated = 40\nunauthenticated_per_address = 8";

/// Is shown a code, and does nothing.
#[track_caller]
fn waits(bastion: &TestBastion, from: Ipv4Addr) -> Raw {
    let mut raw = Raw::at_the_door_from(from, bastion.port());
    let asked = raw.interactive("ana");
    raw.until_code(asked);
    raw
}

fn others(at: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 7, at)
}

#[track_caller]
fn comes_in(caller: &Caller, from: &str) {
    let began = Instant::now();
    let done = caller.ssh(&["web1", "echo in"]).options(&["-b", from]).done();
    assert_eq!(done.expect_ok("a sign-in beside it").text().trim(), "in");
    assert!(began.elapsed() < SHORT, "at once");
}

/// Asks for a prompt, and hears that there is none.
fn asks(caller: &Caller, from: &str) -> Done {
    caller.ssh(&[":whoami"]).options(&["-b", from]).attended().done()
}

/// Signs in by a code from there, if she is shown one.
fn signs_in(bastion: &TestBastion, name: &str, from: Ipv4Addr) -> Option<()> {
    let mut raw = Raw::at_the_door_from(from, bastion.port());
    let asked = raw.interactive(name);
    if asked == Answer::Asks(vec![]) && raw.kinds_until_cut(SHORT).is_ok() {
        return None;
    }
    let code = raw.until_code(asked);
    bastion.provider().approve_as(&code, person(name));
    (raw.enter_until_decided(1) == Answer::Success).then_some(())
}

#[test]
fn prompts_of_many_addresses_that_nobody_answers_keep_nobody_out() {
    let bastion = Setup::default().table(LIMITS).start();
    let ana = bastion.caller("ana");

    // Fifteen addresses with two each.
    let mut doubled: Vec<Raw> = (0..30).map(|at| waits(&bastion, others(at % 15))).collect();
    for _ in 0..5 {
        comes_in(&ana, "127.0.0.1");
    }
    signs_in(&bastion, "bea", Ipv4Addr::LOCALHOST).expect("an address that holds more makes room");
    assert_eq!(doubled.iter_mut().map(|raw| raw.lives(SHORT)).filter(|lives| *lives).count(), 29);
    drop(doubled);

    // As many addresses as there are places, each with one code that it has not left before.
    let mut lone: Vec<Raw> = (0..30).map(|at| waits(&bastion, others(100 + at))).collect();
    comes_in(&ana, "127.0.0.1");
    let told = asks(&bastion.stranger("cleo"), "127.0.0.3");
    assert!(told.err.contains(TOLD), "{told:?}");
    comes_in(&ana, "127.0.0.1");
    within(LONG, "a place, once one of them has had her minute", || {
        signs_in(&bastion, "cleo", Ipv4Addr::new(127, 0, 0, 3))
    });
    comes_in(&ana, "127.0.0.1");
    assert!(lone[29].lives(SHORT), "the last of them is not the one that made room");
}

#[test]
fn prompts_of_one_address_keep_no_key_of_that_address_out_and_no_prompt_of_another() {
    let bastion = Setup::default().table(LIMITS).start();
    let ana = bastion.caller("ana");
    let waiting: Vec<Raw> = (0..6).map(|_| waits(&bastion, Ipv4Addr::LOCALHOST)).collect();

    for _ in 0..5 {
        comes_in(&ana, "127.0.0.1");
    }
    let told = asks(&bastion.stranger("bea"), "127.0.0.1");
    assert!(told.err.contains(TOLD), "{told:?}");
    signs_in(&bastion, "bea", others(1)).expect("another address");
    drop(waiting);
    within(SHORT, "a place", || signs_in(&bastion, "bea", Ipv4Addr::LOCALHOST));
}

/// The provider holds them until they run out, whatever became of those who asked.
#[test]
fn codes_that_were_left_hold_their_places_and_a_few_of_them_lock_nobody_out() {
    let bastion = TestBastion::start();
    for _ in 0..3 {
        drop(waits(&bastion, Ipv4Addr::LOCALHOST));
    }
    signs_in(&bastion, "ana", Ipv4Addr::LOCALHOST).expect("three closed windows are none too many");

    // Left before the code is there, and after.
    for round in 0..40 {
        let mut raw = Raw::at_the_door(bastion.port());
        let asked = raw.interactive("ana");
        if round % 2 == 0 && matches!(asked, Answer::Asks(_)) {
            raw.respond(&[""]);
        }
    }
    let mut raw = Raw::at_the_door(bastion.port());
    assert!(matches!(raw.interactive("ana"), Answer::Failure { .. }), "twenty of one address");
    let pending = bastion.provider().seen().pending;
    assert!(pending <= 21, "{pending}, of which one was answered");
    signs_in(&bastion, "ana", others(1)).expect("another address");
}
