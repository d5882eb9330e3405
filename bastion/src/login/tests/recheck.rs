//! The provider is asked again, and what it says then counts.

use ::tests::provider::{ALICE, Sky};
use serde_json::json;

use super::{
    super::recheck::Vouched,
    with_provider::{go_on, invited},
    *,
};

/// `login.recheck`, in seconds: the provider's clock is not turned on, and its tokens are good for five minutes.
const EVERY: i64 = 10;

fn checked() -> (Bench, RealProvider) {
    let provider = RealProvider::start();
    provider.interval(1);
    let recheck = Duration::from_secs(EVERY.unsigned_abs());
    let bench =
        Bench::with(Settings { recheck, ..Settings::new(provider.issuer().into(), "bastion".into()) });
    (bench, provider)
}

/// Alice signs in with a key, which is bound to her.
async fn signed_in() -> (Bench, RealProvider) {
    let (bench, provider) = checked();
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    let (_, end) = go_on(&mut caller, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)), "{end:?}");
    assert!(caller.take_kept().is_none(), "it lies beside the binding");
    (bench, provider)
}

async fn alice(bench: &Bench) -> KeyAnswer {
    bench.caller().key_proven("alice", &key(1)).await
}

#[tokio::test]
async fn a_key_is_asked_about_when_it_is_time_and_not_before_with_a_new_token_each_time() {
    let (bench, provider) = signed_in().await;
    bench.pass(EVERY - 5);
    assert!(matches!(alice(&bench).await, KeyAnswer::Success(_)));
    assert_eq!(provider.seen().refreshes, 0);

    for times in 1..=3 {
        bench.pass(EVERY);
        let (one, another) = tokio::join!(alice(&bench), alice(&bench));
        assert!(matches!((one, another), (KeyAnswer::Success(_), KeyAnswer::Success(_))));
        assert_eq!(provider.seen().refreshes, times, "asked once, though two came at once");
    }
}

#[tokio::test]
async fn who_left_the_provider_is_out_at_the_next_check_and_the_trail_tells_why() {
    let (bench, provider) = signed_in().await;
    provider.leaves(ALICE.sub);
    bench.pass(EVERY);

    assert_eq!(alice(&bench).await, KeyAnswer::PartialSuccess);
    assert_eq!(bench.login.bindings.all(bench.login.now()).unwrap(), []);
    let acts = bench.acts().await;
    let last = acts.last().unwrap();
    assert_eq!((&last["act"], &last["person"]["name"]), (&json!("not-vouched-for"), &json!("alice")));
    assert_eq!(last["key"], json!(fingerprint(&key(1))));
    let learnt = bench.login.to_learn().unwrap().recv().await.unwrap();
    assert!(matches!(learnt.vouched, Vouched::NoMore(_)), "her open connections are ended by it: {learnt:?}");
}

#[tokio::test]
async fn other_groups_end_all_her_bindings_that_were_made_with_the_old_ones() {
    let (bench, provider) = signed_in().await;
    bench.bind(&key(2), "alice", ALICE.sub).await;
    provider.changes(ALICE.sub, json!({ "groups": ["interns"] }));
    bench.pass(EVERY);

    assert_eq!(alice(&bench).await, KeyAnswer::PartialSuccess);
    assert_eq!(bench.caller().key_proven("alice", &key(2)).await, KeyAnswer::PartialSuccess);
    let last = bench.acts().await.pop().unwrap();
    assert_eq!((&last["act"], &last["person"]["groups"]), (&json!("groups-changed"), &json!(["interns"])));
    assert_eq!(last["before"], json!(["sre"]));

    // What she has open goes on, and is asked about: the next time with her new groups.
    let hers = fingerprint(&key(1));
    bench.pass(EVERY);
    assert_eq!(bench.login.recheck_key(&hers).await.unwrap().unwrap().1, Vouched::Still);
    bench.pass(EVERY);
    provider.leaves(ALICE.sub);
    assert!(matches!(bench.login.recheck_key(&hers).await.unwrap().unwrap().1, Vouched::NoMore(_)));
}

#[tokio::test]
async fn a_provider_that_is_down_or_does_not_know_us_throws_nobody_out() {
    let (bench, provider) = signed_in().await;
    for sky in [Sky::Down, Sky::Troubled] {
        provider.sky(sky);
        bench.pass(EVERY);
        assert!(matches!(alice(&bench).await, KeyAnswer::Success(_)), "{sky:?}");
    }
    provider.sky(Sky::Clear);
    provider.refuses_us(true);
    bench.pass(EVERY);
    assert!(matches!(alice(&bench).await, KeyAnswer::Success(_)));

    provider.refuses_us(false);
    provider.leaves(ALICE.sub);
    assert!(matches!(alice(&bench).await, KeyAnswer::Success(_)), "it is left alone for half a minute");
    bench.pass(31);
    assert_eq!(alice(&bench).await, KeyAnswer::PartialSuccess, "it was due all the time");
}

#[tokio::test]
async fn a_sign_in_that_binds_no_key_leaves_its_token_with_its_connection() {
    let (bench, provider) = checked();
    let mut caller = bench.caller();
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    go_on(&mut caller, "alice").await;
    let mut kept = caller.take_kept().unwrap();

    assert_eq!(bench.login.recheck_kept(&mut kept).await, Vouched::Still);
    bench.pass(EVERY);
    provider.changes(ALICE.sub, json!({ "groups": ["interns"] }));
    assert_eq!(bench.login.recheck_kept(&mut kept).await, Vouched::Changed(["interns".to_owned()].into()));
    bench.pass(EVERY);
    provider.leaves(ALICE.sub);
    assert!(matches!(bench.login.recheck_kept(&mut kept).await, Vouched::NoMore(_)));
}

#[tokio::test]
async fn a_token_is_no_good_under_another_vault_key_or_person_and_lies_nowhere_in_clear() {
    let (bench, provider) = signed_in().await;
    let stored = bench.login.bindings.refresh.get(fingerprint(&key(1))).unwrap().unwrap();
    for secret in provider.seen().secrets {
        assert!(!String::from_utf8_lossy(&stored).contains(&secret));
    }
    // Under another key, it is opened for that one and does not open.
    bench.bind(&key(2), "alice", ALICE.sub).await;
    bench.login.bindings.refresh.insert(fingerprint(&key(2)), stored).unwrap();
    bench.pass(EVERY);
    assert_eq!(bench.caller().key_proven("alice", &key(2)).await, KeyAnswer::PartialSuccess);
    assert_eq!(provider.seen().refreshes, 0);
}

#[tokio::test]
async fn without_a_recheck_no_token_is_asked_for_or_kept() {
    let provider = RealProvider::start();
    provider.interval(1);
    let settings =
        Settings { recheck: Duration::ZERO, ..Settings::new(provider.issuer().into(), "bastion".into()) };
    let bench = Bench::with(settings);
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    go_on(&mut caller, "alice").await;

    assert_eq!(bench.login.bindings.refresh.len(), 0);
    provider.leaves(ALICE.sub);
    bench.pass(EVERY);
    assert!(matches!(alice(&bench).await, KeyAnswer::Success(_)));
}

#[tokio::test]
async fn what_belongs_to_no_binding_and_nobody_who_is_in_is_forgotten() {
    let (bench, _provider) = signed_in().await;
    let key = fingerprint(&key(1));
    bench.login.forget_refreshes(&Default::default()).unwrap();
    assert!(bench.login.bindings.refresh.contains_key(&key).unwrap(), "its binding lives");

    bench.pass(9 * 3600);
    bench.login.forget_refreshes(&[key.clone()].into()).unwrap();
    assert!(bench.login.bindings.refresh.contains_key(&key).unwrap(), "she is in");
    bench.login.forget_refreshes(&Default::default()).unwrap();
    assert!(!bench.login.bindings.refresh.contains_key(&key).unwrap());
}

#[tokio::test]
async fn a_token_that_cannot_be_read_lets_nobody_in() {
    let (bench, _provider) = signed_in().await;
    bench.login.bindings.refresh.insert(fingerprint(&key(1)), &b"{\"version\":1"[..]).unwrap();
    assert_eq!(alice(&bench).await, KeyAnswer::PartialSuccess);
    assert!(bench.login.recheck_key(&fingerprint(&key(1))).await.is_err());
}
