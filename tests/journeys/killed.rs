//! Provider and gateway killed with -9 at each step of a sign-in, and started again: the client gets an end, nobody is in who
//! should not be, nothing is half bound, and the next sign-in works.

use serde_json::Value;
use tests::{
    provider::Sky,
    world::{
        Caller, LONG, Program, SHORT, Setup, TestBastion, person, press_enter_until_done, user_code, within,
    },
};

/// A client that does not begin anew by itself.
const ONCE: &[&str] = &["-o", "NumberOfPasswordPrompts=1"];

/// How far a sign-in has come when something is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The provider has been asked for a code and has not answered.
    Asked,
    /// The person reads the code.
    Shown,
    /// She has confirmed it, and the gateway has not polled since.
    Confirmed,
    /// The gateway polls, and the provider has not answered.
    Polled,
    /// The provider has answered with tokens, and they are lost on the way.
    Answered,
    /// The key is bound, and she is in.
    Bound,
}

const STEPS: [Step; 6] =
    [Step::Asked, Step::Shown, Step::Confirmed, Step::Polled, Step::Answered, Step::Bound];

/// Seconds between two polls: enough to confirm a code and kill somebody in between.
const INTERVAL: u64 = 4;

/// A sign-in that has come as far as this. Its session waits for a line.
fn reach(bastion: &TestBastion, caller: &Caller, step: Step) -> (Program, String) {
    let provider = bastion.provider();
    provider.sky(if step == Step::Asked { Sky::Hanging } else { Sky::Clear });
    let before = provider.seen();
    let ssh = caller.ssh(&["web1", "echo in; read line; echo $line"]).attended().options(ONCE);
    let ssh = ssh.on_terminal(100, 30);
    if step == Step::Asked {
        within(SHORT, "the first request", || (provider.seen().requests > before.requests).then_some(()));
        return (ssh, String::new());
    }
    let code = user_code(&ssh);
    match step {
        Step::Asked | Step::Shown => return (ssh, code),
        Step::Confirmed | Step::Bound => {}
        Step::Polled => provider.sky(Sky::Hanging),
        Step::Answered => provider.sky(Sky::Mute),
    }
    provider.approve_as(&code, person(caller.name()));
    let now = provider.seen();
    assert_eq!(now.polls.len(), before.polls.len(), "{step:?}: it was polled before it could be confirmed");
    match step {
        Step::Polled | Step::Answered => {
            within(SHORT, "a poll", || (provider.seen().requests > now.requests).then_some(()));
        }
        Step::Bound => {
            ssh.send("\r");
            ssh.out.wait("in\r\n", SHORT);
        }
        _ => {}
    }
    if step == Step::Answered {
        within(SHORT, "lost tokens", || (provider.seen().secrets.len() > now.secrets.len()).then_some(()));
    }
    (ssh, code)
}

/// Presses Enter at every prompt until the session has begun.
#[track_caller]
fn press_enter_until_in(ssh: &Program) {
    let mut answered = 0;
    within(LONG, "a session", || {
        let text = ssh.out.text();
        if text.contains("in\r\n") {
            return Some(());
        }
        assert!(ssh.ended().is_none(), "{text}");
        let asked = text.matches("ress Enter").count();
        if asked > answered {
            answered = asked;
            ssh.send("\r");
        }
        None
    });
}

fn listed(bastion: &TestBastion, what: &str, args: &[&str]) -> Vec<Value> {
    let told = bastion.command(&[&[what], args].concat()).expect_ok(what).text();
    serde_json::from_str(&told).unwrap_or_else(|fault| panic!("{what} is no JSON list: {fault}: {told}"))
}

/// Whether a key of hers is bound. Whatever is bound has an owner who has her name, and was written down before.
#[track_caller]
fn is_bound(bastion: &TestBastion, caller: &Caller) -> bool {
    let bindings = listed(bastion, "bindings", &["list", "--json"]);
    let names = listed(bastion, "names", &["list", "--json"]);
    let acts = listed(bastion, "audit", &["--json", "--act", "key-bound"]);
    for binding in &bindings {
        let has_name = |name: &Value| {
            name["name"] == binding["person"]["name"] && name["subject"] == binding["person"]["subject"]
        };
        assert!(names.iter().any(has_name), "{binding} in {names:?}");
        assert!(acts.iter().any(|act| act["key"] == binding["key"]), "{binding} in {acts:?}");
    }
    bindings.iter().any(|binding| binding["person"]["name"] == caller.name())
}

/// All is as ever: she gets in, and the trail tells of every life of the gateway.
#[track_caller]
fn all_is_well(bastion: &TestBastion, caller: &Caller, lives: usize, what: &str) {
    bastion.provider().sky(Sky::Clear);
    if !is_bound(bastion, caller) {
        assert_eq!(caller.ssh(&["web1", "true"]).done().code, Some(255), "{what}: nobody is in by half");
        bastion.sign_in(caller);
    }
    caller.ssh(&["web1", "true"]).done().expect_ok(what);
    let starts = listed(bastion, "audit", &["--json", "--act", "server-started"]);
    assert_eq!(starts.len(), lives, "{what}: {starts:?}");
    let acts = listed(bastion, "audit", &["--json", "--user", caller.name()]);
    assert!(acts.iter().any(|act| act["act"] == "signed-in"), "{what}: {acts:?}");
}

fn gateway(login: &str) -> TestBastion {
    let bastion = Setup::default().login(login).start();
    bastion.provider().interval(INTERVAL);
    bastion
}

#[test]
fn a_gateway_killed_at_any_step_of_a_sign_in_lets_in_and_binds_only_who_was_through() {
    let bastion = gateway("");
    for (at, step) in STEPS.into_iter().enumerate() {
        let caller = bastion.stranger(&format!("{step:?}").to_lowercase());
        let (ssh, _) = reach(&bastion, &caller, step);
        bastion.kill();
        // ssh notices at the next Enter: while it asks it does not look at its connection.
        let done = press_enter_until_done(&ssh);
        assert_eq!(done.code, Some(255), "{step:?}: {}", done.text());
        assert_eq!(done.text().contains("in\r\n"), step == Step::Bound, "{step:?}: {}", done.text());

        bastion.provider().sky(Sky::Clear);
        bastion.start_again();
        assert_eq!(is_bound(&bastion, &caller), step == Step::Bound, "{step:?}");
        all_is_well(&bastion, &caller, at + 2, &format!("after {step:?}"));
    }
}

#[test]
fn a_provider_killed_at_any_step_of_a_sign_in_costs_at_most_that_sign_in() {
    let bastion = gateway("");
    for step in STEPS {
        let caller = bastion.stranger(&format!("{step:?}").to_lowercase());
        let (ssh, code) = reach(&bastion, &caller, step);
        bastion.provider().kill();
        bastion.provider().start_again();
        bastion.provider().sky(Sky::Clear);

        if step == Step::Shown {
            bastion.provider().approve_as(&code, person(caller.name()));
        }
        let said = match step {
            Step::Asked => Some("The sign-in provider does not answer at the moment"),
            // It has used up the code, as far as it knows.
            Step::Answered => Some("The sign-in provider gives an answer that cannot be used"),
            Step::Shown | Step::Confirmed | Step::Polled | Step::Bound => None,
        };
        if said.is_none() {
            press_enter_until_in(&ssh);
            // This line is for the session.
            ssh.send("on\r");
        }
        let done = press_enter_until_done(&ssh);
        assert_eq!(done.code, Some(if said.is_some() { 255 } else { 0 }), "{step:?}: {}", done.text());
        assert_eq!(is_bound(&bastion, &caller), said.is_none(), "{step:?}");
        assert!(said.is_none_or(|said| done.text().contains(said)), "{step:?}: {}", done.text());
        all_is_well(&bastion, &caller, 1, &format!("after {step:?}"));
    }
}

#[test]
fn a_provider_that_stays_dead_ends_a_sign_in_with_the_code_and_says_so() {
    let bastion = gateway("");
    bastion.provider().lifetime(10);
    let ana = bastion.stranger("ana");
    let (ssh, _) = reach(&bastion, &ana, Step::Confirmed);
    bastion.provider().kill();

    let done = press_enter_until_done(&ssh);
    assert_eq!(done.code, Some(255), "{}", done.text());
    assert!(done.text().contains("The sign-in provider does not answer"), "{}", done.text());
    assert!(!is_bound(&bastion, &ana));
    let refused = listed(&bastion, "audit", &["--json", "--act", "sign-in-refused"]);
    assert!(refused.iter().any(|act| act["user"] == "ana"), "{refused:?}");

    bastion.provider().start_again();
    all_is_well(&bastion, &ana, 1, "once it is back");
}

#[test]
fn a_re_check_that_is_killed_half_way_takes_nothing_from_who_may_and_gives_nothing_to_who_may_not() {
    let bastion = gateway("recheck = \"1s\"");
    let provider = bastion.provider();
    let under_way = |caller: &Caller, sky: Sky| {
        let began = std::time::Instant::now();
        within(SHORT, "the time of a re-check", || (began.elapsed().as_millis() > 1500).then_some(()));
        provider.sky(sky);
        let asked = provider.seen();
        let ssh = caller.ssh(&["web1", "echo in"]).start();
        within(SHORT, "a re-check", || (provider.seen().requests > asked.requests).then_some(()));
        if let Sky::Mute = sky {
            within(SHORT, "a lost answer", || {
                (provider.seen().secrets.len() > asked.secrets.len()).then_some(())
            });
        }
        ssh
    };

    // The gateway dies while it asks: the client ends, and the question is asked anew.
    let ana = bastion.caller("ana");
    let ssh = under_way(&ana, Sky::Hanging);
    bastion.kill();
    let done = ssh.done(SHORT);
    assert_eq!((done.code, done.text().as_str()), (Some(255), ""), "{done:?}");
    provider.sky(Sky::Clear);
    bastion.start_again();
    all_is_well(&bastion, &ana, 2, "the gateway killed in a re-check");

    // This provider hands out a new token each time and takes the old one, come again, for stolen.
    let ssh = under_way(&ana, Sky::Mute);
    bastion.kill();
    assert_eq!(ssh.done(SHORT).code, Some(255));
    provider.sky(Sky::Clear);
    bastion.start_again();
    assert_eq!(ana.ssh(&["web1", "true"]).done().code, Some(255), "she signs in anew");
    let told = listed(&bastion, "audit", &["--json", "--act", "not-vouched-for"]);
    assert_eq!(told.iter().filter(|act| act["person"]["name"] == "ana").count(), 1, "{told:?}");
    all_is_well(&bastion, &ana, 3, "a token that was lost");

    // The provider dies while it is asked: she is in as before; and what she lost meanwhile she loses when it is back.
    let ssh = under_way(&ana, Sky::Hanging);
    provider.kill();
    assert_eq!(ssh.done(SHORT).expect_ok("a provider that is gone").text(), "in\n");
    provider.start_again();
    provider.sky(Sky::Clear);
    provider.leaves("id-of-ana");
    // For half a minute a provider that could not be asked is left in peace.
    let done = within(LONG, "the next re-check", || {
        let done = ana.ssh(&["web1", "true"]).done();
        (done.code == Some(255)).then_some(done)
    });
    assert!(done.err.contains("Permission denied"), "{done:?}");
    assert!(!is_bound(&bastion, &ana));
}
