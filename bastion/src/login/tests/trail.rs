//! What sign-ins leave in the audit trail, and whose a name is.

use ::tests::provider::{ALICE, BEA, Person};

use super::{
    with_provider::{go_on, invited},
    *,
};

/// Signs in as `person` with `nth` key under `user`; gives back how it ended, and what was shown.
async fn sign_in(
    bench: &Bench,
    provider: &RealProvider,
    (user, nth): (&str, u8),
    person: &Person,
) -> (String, InteractiveAnswer) {
    let mut caller = bench.caller();
    assert_eq!(caller.key_proven(user, &key(nth)).await, KeyAnswer::PartialSuccess);
    let (_, code) = invited(&mut caller, user).await;
    provider.approve(&code, person);
    let end = go_on(&mut caller, user).await;
    caller.is_over();
    end
}

#[tokio::test]
async fn a_name_and_a_key_are_written_down_before_they_are_hers() {
    let (bench, provider) = Bench::with_provider();
    let (_, end) = sign_in(&bench, &provider, ("alice", 1), &ALICE).await;
    assert!(matches!(end, InteractiveAnswer::Success(_)));

    let acts = bench.acts().await;
    assert_eq!(
        acts.iter().map(|act| act["act"].as_str().unwrap()).collect::<Vec<_>>(),
        ["name-taken", "key-bound"]
    );
    assert!(acts.iter().all(|act| act["person"]["subject"] == ALICE.sub), "{acts:?}");
    assert_eq!(acts[1]["key"], fingerprint(&key(1)));

    let (_, end) = sign_in(&bench, &provider, ("alice", 2), &ALICE).await;
    assert!(matches!(end, InteractiveAnswer::Success(_)));
    assert_eq!(bench.acts().await[2]["act"], "key-bound", "the name was hers already");
}

#[tokio::test]
async fn who_cannot_be_written_down_is_not_let_in_and_nothing_is_bound() {
    let (bench, provider) = Bench::without_a_trail();
    let (shown, end) = sign_in(&bench, &provider, ("alice", 1), &ALICE).await;

    assert_eq!(end, InteractiveAnswer::Failure);
    assert!(shown.starts_with(notice::NO_RECORD), "{shown}");
    assert_eq!(bench.login.bindings.all(bench.login.now()).unwrap(), []);
    assert_eq!(bench.login.bindings.owners().unwrap(), []);
}

#[tokio::test]
async fn a_name_stays_the_first_persons_when_the_provider_gives_it_to_another() {
    const ANOTHER_ALICE: Person = Person { sub: "another", name: "Alice", groups: &[] };
    let (bench, provider) = Bench::with_provider();
    sign_in(&bench, &provider, ("alice", 1), &ALICE).await;

    let (shown, end) = sign_in(&bench, &provider, ("alice", 2), &ANOTHER_ALICE).await;
    assert_eq!(end, InteractiveAnswer::Failure);
    assert!(shown.starts_with(notice::NOT_HER_NAME), "no word about who exists: {shown}");
    let refused = bench.acts().await.pop().unwrap();
    assert_eq!((refused["act"].as_str(), refused["user"].as_str()), (Some("sign-in-refused"), Some("alice")));
    assert_eq!(refused["key"], fingerprint(&key(2)));
    assert_eq!(refused["person"]["subject"], "another", "who claims it");

    bench.login.bindings.release(&"ALICE".parse().unwrap()).unwrap();
    let (_, end) = sign_in(&bench, &provider, ("alice", 2), &ANOTHER_ALICE).await;
    assert!(matches!(end, InteractiveAnswer::Success(_)));
}

#[tokio::test]
async fn who_is_refused_or_leaves_is_written_down_once_and_without_a_secret() {
    let (bench, provider) = Bench::with_provider();
    sign_in(&bench, &provider, ("bea", 1), &ALICE).await;
    let mut caller = bench.caller();
    caller.key_proven("bea", &key(1)).await;
    caller.is_over();
    caller.is_over();
    bench.caller().is_over();
    let mut caller = bench.caller();
    caller.key_proven("bea", &key(1)).await;
    let (_, code) = invited(&mut caller, "bea").await;
    caller.is_over();
    provider.approve(&code, &BEA);

    let acts = bench.acts().await;
    let why: Vec<_> = acts.iter().filter_map(|act| act["why"].as_str()).collect();
    assert_eq!(why.len(), 3, "{why:?}");
    assert!(
        why[0] == notice::NOT_HER_NAME
            && why[1].contains("does not sign in alone")
            && why[2].contains("left before")
    );
    let all = serde_json::to_string(&acts).unwrap();
    assert!(provider.seen().secrets.iter().all(|secret| !all.contains(secret)));
}

#[tokio::test]
async fn a_binding_that_is_revoked_in_mid_sign_in_does_not_hold() {
    let bench = Bench::without_provider();
    bench.bind(&key(1), "alice", "7").await;
    let mut caller = bench.caller();
    assert!(matches!(caller.key_proven("alice", &key(1)).await, KeyAnswer::Success(_)));
    assert!(caller.still_holds());

    bench.login.bindings.revoke(&[fingerprint(&key(1))]).unwrap();
    assert!(!caller.still_holds());
    assert_eq!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);

    bench.bind(&key(1), "bea", "8").await;
    assert!(!caller.still_holds(), "another person's");
}
