//! A provider that is asked again, and lies, turns away or hangs (row 32 of the threats).

use ::tests::hostile::Refresh;

use super::{super::super::recheck::Vouched, *};

/// The default of `login.recheck`, in seconds.
const EVERY: i64 = 15 * 60;

/// Alice has signed in with a key; it is time to ask about her, and the provider answers like this.
async fn due(refresh: Refresh, fault: Fault) -> (Bench, Hostile) {
    let now = Clock::system().now();
    let provider = Hostile::start(Fault::Nothing, now);
    let bench = bench_at(&provider, now);
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    let (_, end) = sign_in(&mut caller, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)), "{end:?}");
    bench.pass(EVERY);
    provider.clock(now + EVERY);
    provider.refreshes(refresh);
    provider.turns(fault);
    (bench, provider)
}

async fn asked(bench: &Bench) -> Vouched {
    bench.login.recheck_key(&fingerprint(&key(1))).await.unwrap().expect("there is a token").1
}

#[tokio::test]
async fn what_a_provider_answers_decides_whether_a_key_still_signs_in() {
    let still = [Refresh::Good, Refresh::WithoutIdToken, Refresh::Rotated, Refresh::Troubled];
    for refresh in still {
        let (bench, _provider) = due(refresh, Fault::Nothing).await;
        assert_eq!(asked(&bench).await, Vouched::Still, "{refresh:?}");
    }
    for refresh in [Refresh::Refused, Refresh::OtherSubject] {
        let (bench, _provider) = due(refresh, Fault::Nothing).await;
        assert!(matches!(asked(&bench).await, Vouched::NoMore(_)), "{refresh:?}");
    }
    let (bench, _provider) = due(Refresh::NoGroups, Fault::Nothing).await;
    assert_eq!(asked(&bench).await, Vouched::Changed(Default::default()));
}

#[tokio::test]
async fn an_error_about_her_ends_her_binding_and_one_about_us_or_the_day_ends_nobodys() {
    for hers in ["access_denied", "unauthorized_client", "interaction_required", "user_is_gone"] {
        let (bench, _provider) = due(Refresh::Error(hers), Fault::Nothing).await;
        let KeyAnswer::PartialSuccess = bench.caller().key_proven("alice", &key(1)).await else {
            panic!("{hers}: she is in");
        };
        assert_eq!(bench.login.bindings.all(bench.login.now()).unwrap(), [], "{hers}");
    }
    for ours in [
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "unsupported_grant_type",
        "temporarily_unavailable",
        "server_error",
        "slow_down",
    ] {
        let (bench, _provider) = due(Refresh::Error(ours), Fault::Nothing).await;
        assert_eq!(asked(&bench).await, Vouched::Still, "{ours}");
    }
}

/// Some providers give it at the first sign-in alone.
#[tokio::test]
async fn a_sign_in_that_brings_no_token_leaves_her_older_one_and_takes_anothers_away() {
    let (bench, provider) = due(Refresh::NotGiven, Fault::Nothing).await;
    bench.login.bindings.revoke(&[fingerprint(&key(1))]).unwrap();
    let mut again = bench.caller();
    again.key_proven("alice", &key(1)).await;
    assert!(matches!(sign_in(&mut again, "alice").await.1, InteractiveAnswer::Success(_)));
    provider.refreshes(Refresh::Refused);
    assert!(matches!(asked(&bench).await, Vouched::NoMore(_)), "what she opened before is still asked about");

    let (bench, provider) = due(Refresh::NotGiven, Fault::Nothing).await;
    bench.login.bindings.revoke(&[fingerprint(&key(1))]).unwrap();
    provider.person(&::tests::provider::BEA);
    let mut bea = bench.caller();
    bea.key_proven("bea", &key(1)).await;
    assert!(matches!(sign_in(&mut bea, "bea").await.1, InteractiveAnswer::Success(_)));
    assert_eq!(
        bench.login.recheck_key(&fingerprint(&key(1))).await.unwrap(),
        None,
        "alice's says nothing of bea"
    );
}

#[tokio::test]
async fn an_id_token_that_does_not_hold_ends_what_it_was_asked_about() {
    for fault in [
        Fault::SignatureStripped,
        Fault::AlgNone,
        Fault::HmacWithPublicKey,
        Fault::IssuerWrong,
        Fault::AudienceWrong,
        Fault::Expired,
        Fault::NotYetValid,
        Fault::IssuedTomorrow,
        Fault::NameOfAnother,
    ] {
        let (bench, _provider) = due(Refresh::Good, fault).await;
        let vouched = asked(&bench).await;
        assert!(matches!(vouched, Vouched::NoMore(_)), "{fault:?}: {vouched:?}");
    }
}

#[tokio::test]
async fn a_token_that_was_replaced_is_never_used_again() {
    let (bench, provider) = due(Refresh::Rotated, Fault::Nothing).await;
    for round in 1..=3 {
        assert_eq!(asked(&bench).await, Vouched::Still);
        let used = provider.refreshed_with();
        assert_eq!(used.len(), round);
        assert_eq!(used.iter().collect::<std::collections::BTreeSet<_>>().len(), round, "{used:?}");
        bench.pass(EVERY);
        provider.clock(bench.now.load(Ordering::Relaxed));
    }
}

#[tokio::test]
async fn a_provider_that_hangs_when_asked_again_delays_one_call_by_ten_seconds_and_the_next_not_at_all() {
    let (bench, provider) = due(Refresh::Silence, Fault::Nothing).await;
    bench.bind(&key(2), "bea", "9").await;
    let (mut alice, mut bea) = (bench.caller(), bench.caller());
    let (hers, other) = (key(1), key(2));
    let (first, other) = (alice.key_proven("alice", &hers), bea.key_proven("bea", &other));
    let (first, other) = tokio::time::timeout(TIME_MAX, async { tokio::join!(first, other) }).await.unwrap();
    assert!(matches!((first, other), (KeyAnswer::Success(_), KeyAnswer::Success(_))));
    let before = provider.refreshed_with().len();

    assert!(matches!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::Success(_)));
    assert_eq!(provider.refreshed_with().len(), before, "it is left alone for a while");
}

#[tokio::test]
async fn a_key_that_is_revoked_as_soon_as_it_is_bound_lets_nobody_stay() {
    let now = Clock::system().now();
    let provider = Hostile::start(Fault::Nothing, now);
    let bench = bench_at(&provider, now);
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    assert!(matches!(sign_in(&mut caller, "alice").await.1, InteractiveAnswer::Success(_)));
    assert!(caller.still_holds());
    bench.login.bindings.revoke(&[fingerprint(&key(1))]).unwrap();
    assert!(!caller.still_holds());
}
