//! Whose sign-in, whose name and whose key it is, when somebody else would like to have it.

use ::tests::provider::{ALICE, BEA};
use serde_json::json;

use super::{
    super::with_provider::{go_on, invited},
    *,
};

/// A provider that lets nobody in before somebody has confirmed the code.
fn waiting() -> (Bench, Hostile) {
    let (bench, provider) = at_once();
    provider.waits();
    (bench, provider)
}

/// A provider that asks nobody.
fn at_once() -> (Bench, Hostile) {
    let now = Clock::system().now();
    let provider = Hostile::start(Fault::Nothing, now);
    (bench_at(&provider, now), provider)
}

/// Signs in as `user` with the `nth` key, as whom the provider takes everybody for; gives back what was said last.
async fn with_key(bench: &Bench, user: &str, nth: u8) -> (String, InteractiveAnswer) {
    let mut caller = bench.caller();
    assert_eq!(caller.key_proven(user, &key(nth)).await, KeyAnswer::PartialSuccess);
    let (mut shown, end) = sign_in(&mut caller, user).await;
    (shown.pop().unwrap_or_default(), end)
}

fn keys_bound(bench: &Bench) -> Vec<String> {
    let bound = bench.login.bindings.all(bench.login.now()).unwrap();
    bound.into_iter().map(|binding| binding.fingerprint).collect()
}

#[tokio::test]
async fn a_sign_in_that_one_connection_began_is_finished_by_no_other() {
    let (bench, provider) = waiting();
    let (mut began, mut other) = (bench.caller(), bench.caller());
    began.key_proven("alice", &key(1)).await;
    other.key_proven("alice", &key(2)).await;
    let (_, code) = invited(&mut began, "alice").await;
    provider.approve(&code, &ALICE);

    let enter = Some(vec![String::new()]);
    assert_eq!(other.interactive("alice", enter.clone()).await, InteractiveAnswer::Failure);
    let (_, others_code) = invited(&mut other, "alice").await;
    assert_ne!(others_code, code);
    assert!(matches!(other.interactive("alice", enter).await, InteractiveAnswer::Ask(_)));
    assert_eq!((other.principal(), keys_bound(&bench)), (None, Vec::new()));

    let (_, end) = go_on(&mut began, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)));
    assert_eq!(keys_bound(&bench), [fingerprint(&key(1))]);
    assert_eq!(other.principal(), None);
}

#[tokio::test]
async fn a_sign_in_whose_connection_went_away_lets_nobody_in_when_it_is_confirmed() {
    let (bench, provider) = waiting();
    let mut gone = bench.caller();
    gone.key_proven("alice", &key(1)).await;
    let (_, code) = invited(&mut gone, "alice").await;
    drop(gone);
    tokio::time::timeout(TIME_MAX, given_back(&bench.login)).await.unwrap();
    provider.approve(&code, &ALICE);

    let mut next = bench.caller();
    assert_eq!(next.key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
    assert_ne!(invited(&mut next, "alice").await.1, code);
    assert_eq!(keys_bound(&bench), Vec::<String>::new());
}

#[tokio::test]
async fn another_person_with_her_name_and_address_is_not_her() {
    let (bench, provider) = at_once();
    assert!(matches!(with_key(&bench, "alice", 1).await.1, InteractiveAnswer::Success(_)));
    let mut claims = json!({
        "sub": "another", "preferred_username": "alice", "groups": ["sre"],
        "email": "alice@example.org", "email_verified": true,
    });
    provider.claims(claims.clone());

    let (said, end) = with_key(&bench, "alice", 2).await;
    assert_eq!(end, InteractiveAnswer::Failure);
    assert_eq!(said, format!("{} Press Enter: ", notice::NOT_HER_NAME));
    assert_eq!(keys_bound(&bench), [fingerprint(&key(1))]);

    claims["preferred_username"] = json!("alicia");
    provider.claims(claims);
    let (_, end) = with_key(&bench, "alicia", 2).await;
    let InteractiveAnswer::Success(principal) = end else { panic!("not in: {end:?}") };
    assert_eq!((principal.subject.as_str(), principal.name.as_str()), ("another", "alicia"));
}

#[tokio::test]
async fn her_key_is_bound_to_nobody_else_while_her_binding_lives() {
    let (bench, provider) = at_once();
    assert!(matches!(with_key(&bench, "alice", 1).await.1, InteractiveAnswer::Success(_)));
    provider.person(&BEA);

    let (said, end) = with_key(&bench, "bea", 1).await;
    assert_eq!(end, InteractiveAnswer::Failure);
    assert_eq!(said, format!("{} Press Enter: ", notice::ANOTHERS_KEY));
    assert!(matches!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::Success(_)));

    bench.pass(8 * 3600);
    provider.clock(bench.login.now());
    assert!(matches!(with_key(&bench, "bea", 1).await.1, InteractiveAnswer::Success(_)));
    assert_eq!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
}

#[tokio::test]
async fn a_key_that_was_proven_on_another_connection_is_not_bound() {
    let (bench, _provider) = at_once();
    assert_eq!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
    let mut without = bench.caller();
    let (_, end) = sign_in(&mut without, "alice").await;

    assert!(matches!(end, InteractiveAnswer::Success(_)));
    assert_eq!(keys_bound(&bench), Vec::<String>::new());
    assert_eq!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
}

#[tokio::test]
async fn one_enter_after_confirming_is_enough() {
    let (bench, provider) = waiting();
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    let (_, code) = invited(&mut caller, "alice").await;
    let is_told_to_wait = |caller: &SignIn| match &caller.state {
        State::Asking { flow, .. } => matches!(flow.now(), Progress::Waiting { answers, .. } if answers >= 1),
        _ => panic!("nothing is asked"),
    };
    while !is_told_to_wait(&caller) {
        tokio::task::yield_now().await;
    }

    provider.approve(&code, &ALICE);
    let polls = provider.asked("/token");
    let (shown, end) = go_on(&mut caller, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)), "{end:?}");
    assert_eq!(shown, "", "not confirmed yet, she reads");
    assert_eq!(provider.asked("/token"), polls + 1);
}

#[tokio::test]
async fn the_log_of_a_name_that_is_anothers_names_both_and_tells_to_look_before_it_is_released() {
    let captured = super::super::with_provider::Captured::default();
    let writer = captured.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _captures = tracing::subscriber::set_default(log);
    let (bench, provider) = at_once();
    with_key(&bench, "alice", 1).await;
    provider.claims(json!({ "sub": "another", "preferred_username": "alice", "groups": [] }));
    with_key(&bench, "alice", 2).await;

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("the name is another person's"))
        .unwrap_or_else(|| panic!("{log}"));
    let key = fingerprint(&key(2));
    for part in [
        "source=127.0.0.1:40000",
        &key,
        "subject=\"another\"",
        "owner_subject=\"7f3a\"",
        "shuts its owner out",
    ] {
        assert!(line.contains(part), "{part:?} is missing in {line}");
    }
    assert!(line.find("look first").unwrap() < line.find("names release").unwrap(), "{line}");
    let refused = bench.acts().await.pop().unwrap();
    assert_eq!(
        (&refused["act"], &refused["person"]["subject"]),
        (&json!("sign-in-refused"), &json!("another"))
    );
}
