//! A provider that is asked again, and lies, turns away or hangs (row 32 of the threats).

use ::tests::{
    hostile::Refresh,
    provider::{ALICE, BEA, Person},
};

use serde_json::json;

use super::{super::super::recheck::Vouched, *};

/// The default of `login.recheck`, in seconds.
const EVERY: i64 = 15 * 60;

/// Signs this person in with a key.
async fn enters(bench: &Bench, provider: &Hostile, person: &Person, nth: u8) {
    provider.person(person);
    let mut caller = bench.caller();
    caller.key_proven(person.name, &key(nth)).await;
    let (_, end) = sign_in(&mut caller, person.name).await;
    assert!(matches!(end, InteractiveAnswer::Success(_)), "{end:?}");
}

/// Alice and bea are in; about alice alone the provider answers like this when it is time to ask.
async fn both_due(hers: Refresh) -> (Bench, Hostile) {
    let now = Clock::system().now();
    let provider = Hostile::start(Fault::Nothing, now);
    let bench = bench_at(&provider, now);
    enters(&bench, &provider, &ALICE, 1).await;
    enters(&bench, &provider, &BEA, 2).await;
    provider.refreshes_of(ALICE.sub, hers);
    pass(&bench, &provider, EVERY);
    (bench, provider)
}

fn pass(bench: &Bench, provider: &Hostile, seconds: i64) {
    bench.pass(seconds);
    provider.clock(bench.now.load(Ordering::Relaxed));
}

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
    asked_of(bench, 1).await
}

async fn asked_of(bench: &Bench, nth: u8) -> Vouched {
    bench.login.recheck_key(&fingerprint(&key(nth))).await.unwrap().expect("there is a token").1
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

/// Answers that are about one person, or may be.
const HERS_ALONE: [Refresh; 6] = [
    Refresh::Unreadable,
    Refresh::Broken,
    Refresh::Missing,
    Refresh::Cut,
    Refresh::Error("server_error"),
    Refresh::Error("invalid_request"),
];

#[tokio::test]
async fn one_person_whose_answer_cannot_be_used_keeps_nobody_else_from_being_asked_about() {
    for hers in HERS_ALONE {
        let (bench, provider) = both_due(hers).await;
        provider.refreshes_of(BEA.sub, Refresh::Refused);
        assert_eq!(asked_of(&bench, 1).await, Vouched::Still, "{hers:?}");
        assert!(matches!(asked_of(&bench, 2).await, Vouched::NoMore(_)), "{hers:?}");

        let count = provider.refreshed_with().len();
        assert_eq!(asked_of(&bench, 1).await, Vouched::Still);
        assert_eq!(provider.refreshed_with().len(), count, "{hers:?}: it is too early to ask again");
        pass(&bench, &provider, 30);
        assert_eq!(asked_of(&bench, 1).await, Vouched::Still);
        assert_eq!(provider.refreshed_with().len(), count + 1, "{hers:?}");
    }
}

#[tokio::test]
async fn whoever_was_asked_about_longest_ago_is_first() {
    let (bench, _provider) = both_due(Refresh::Broken).await;
    let asked_at = |nth| bench.login.provider_of_key(&fingerprint(&key(nth))).unwrap().1;
    assert!(asked_at(1) <= asked_at(2));
    asked_of(&bench, 1).await;
    assert!(asked_at(1) > asked_at(2), "also if it brought nothing");
}

/// Asks about alice each half minute for so long, and about bea every 15 minutes; gives back after how many seconds alice is
/// not vouched for any more, and why.
async fn until_out(bench: &Bench, provider: &Hostile, seconds: i64) -> Option<(i64, String)> {
    for at in (0..seconds).step_by(30) {
        asked_of(bench, 2).await;
        if let Vouched::NoMore(why) = asked_of(bench, 1).await {
            return Some((at, why));
        }
        pass(bench, provider, 30);
    }
    None
}

#[tokio::test]
async fn who_cannot_be_asked_about_keeps_what_she_has_lost_for_an_hour_at_most_while_others_are_answered() {
    for hers in HERS_ALONE {
        let (bench, provider) = both_due(hers).await;
        let (after, why) = until_out(&bench, &provider, 8 * 3600).await.unwrap_or_else(|| panic!("{hers:?}"));
        // She was vouched for last when it was first time to ask, less one recheck.
        assert!((EVERY..4 * EVERY).contains(&after), "{hers:?}: {after} s");
        assert!(why.contains("time after time"), "{why}");
        let acts = bench.acts().await;
        let told: Vec<_> = acts.iter().filter(|act| act["act"] == "not-answered-for").collect();
        assert_eq!(told.len(), 1, "{hers:?}, once: {told:?}");
        assert_eq!(
            (&told[0]["person"]["subject"], &told[0]["key"]),
            (&json!(ALICE.sub), &json!(fingerprint(&key(1))))
        );
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_one_though_nobody_else_is_in() {
    let (bench, provider) = both_due(Refresh::Unreadable).await;
    provider.refreshes_of(BEA.sub, Refresh::Troubled);
    assert!(until_out(&bench, &provider, 8 * 3600).await.is_some());
}

#[tokio::test]
async fn a_provider_that_fails_with_everybody_throws_nobody_out_and_is_asked_again_when_it_is_over() {
    let all = [
        Refresh::Broken,
        Refresh::Missing,
        Refresh::Cut,
        Refresh::Troubled,
        Refresh::Error("invalid_client"),
    ];
    for refresh in all {
        let (bench, provider) = both_due(refresh).await;
        provider.refreshes_of(BEA.sub, refresh);
        assert_eq!(until_out(&bench, &provider, 8 * 3600).await, None, "{refresh:?}");
        let bea = bench.login.recheck_key(&fingerprint(&key(2))).await.unwrap().unwrap();
        assert_eq!(bea.1, Vouched::Still, "{refresh:?}");

        provider.refreshes_of(ALICE.sub, Refresh::Refused);
        pass(&bench, &provider, EVERY);
        assert!(matches!(asked_of(&bench, 1).await, Vouched::NoMore(_)), "{refresh:?}");
    }
}

#[tokio::test]
async fn one_good_answer_makes_up_for_all_before_it() {
    let (bench, provider) = both_due(Refresh::Unreadable).await;
    for _ in 0..4 {
        pass(&bench, &provider, EVERY);
        provider.refreshes_of(ALICE.sub, Refresh::Unreadable);
        assert_eq!(asked_of(&bench, 1).await, Vouched::Still);
        pass(&bench, &provider, EVERY);
        provider.refreshes_of(ALICE.sub, Refresh::Good);
        assert_eq!(asked_of(&bench, 1).await, Vouched::Still);
    }
}

#[tokio::test]
async fn a_provider_that_wants_to_be_left_alone_is_for_as_long_as_it_says_within_the_recheck() {
    for (says, waits) in [(0, 30), (120, 120), (u32::MAX, EVERY)] {
        let (bench, provider) = both_due(Refresh::Busy(says)).await;
        assert_eq!(asked_of(&bench, 1).await, Vouched::Still);
        provider.refreshes_of(BEA.sub, Refresh::Refused);
        pass(&bench, &provider, waits - 1);
        assert_eq!(asked_of(&bench, 2).await, Vouched::Still, "{says}");
        pass(&bench, &provider, 1);
        assert!(matches!(asked_of(&bench, 2).await, Vouched::NoMore(_)), "{says}");
    }
}

#[tokio::test]
async fn a_claim_that_nobody_needs_keeps_nobody_from_losing_her_groups() {
    let now = Clock::system().now();
    let provider = Hostile::start(Fault::Nothing, now);
    let bench = bench_at(&provider, now);
    let strange = json!({ "sub": ALICE.sub, "preferred_username": "alice", "groups": [], "website": ["a", "b"],
        "address": "Main Street 1", "updated_at": "yesterday" });
    provider.claims(strange);
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    let (_, end) = sign_in(&mut caller, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)), "{end:?}");
    pass(&bench, &provider, EVERY);
    provider.refreshes(Refresh::NoGroups);
    assert_eq!(asked(&bench).await, Vouched::Still);
    provider.refreshes(Refresh::Refused);
    pass(&bench, &provider, EVERY);
    assert!(matches!(asked(&bench).await, Vouched::NoMore(_)));
}

#[tokio::test]
async fn a_sign_in_that_bound_no_key_ends_in_the_same_way() {
    let now = Clock::system().now();
    let provider = Hostile::start(Fault::Nothing, now);
    let bench = bench_at(&provider, now);
    let mut caller = bench.caller();
    assert!(matches!(sign_in(&mut caller, "alice").await.1, InteractiveAnswer::Success(_)));
    let mut kept = caller.take_kept().unwrap();
    provider.refreshes(Refresh::Unreadable);
    pass(&bench, &provider, EVERY);
    for _ in 0..60 {
        if let Vouched::NoMore(_) = bench.login.recheck_kept(&mut kept).await {
            return;
        }
        pass(&bench, &provider, 60);
    }
    panic!("she is still in");
}
