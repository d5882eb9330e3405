//! Signing in with a certificate, and what one that does not hold means for everything else.

use super::*;
use crate::{
    login::certificate::tests::{Draft, NOW, draft, trusted},
    settings::Certificates,
};

/// A bench at the time at which the certificates are valid.
fn bench() -> Bench {
    let bench = Bench::without_provider();
    bench.now.store(NOW, Ordering::Relaxed);
    bench
}

async fn shows(caller: &mut SignIn, user: &str, draft: Draft) -> KeyAnswer {
    caller.certificate_proven(user, &draft.signed(), &trusted()).await
}

/// Callers of the bench come from 127.0.0.1.
fn bound_elsewhere() -> Draft {
    Draft { options: vec![("source-address", "10.0.0.0/8")], ..draft() }
}

#[tokio::test]
async fn a_certificate_that_holds_is_a_whole_way_in_and_binds_nothing() {
    let bench = bench();
    let mut caller = bench.caller();
    let KeyAnswer::Success(principal) = shows(&mut caller, "alice%web1", draft()).await else {
        panic!("not in")
    };

    let certificate = principal.certificate.clone().unwrap();
    assert_eq!(principal.issuer, format!("ssh-ca:{}", certificate.authority));
    assert_eq!((principal.subject.as_str(), principal.name.as_str()), ("alice", "alice"));
    assert_eq!(principal.key, Some(fingerprint(&key(9))));
    assert_eq!((principal.signed_in_at, certificate.serial), (NOW - 60, 42));
    assert!(principal.email.is_none() && principal.groups.is_empty() && principal.amr.is_empty());
    assert_eq!(caller.principal(), Some(&*principal));
    assert!(caller.still_holds());

    assert_eq!(bench.login.bindings.all(NOW).unwrap(), []);
    let acts = bench.acts().await;
    assert_eq!(acts.len(), 1);
    assert_eq!(
        (&acts[0]["act"], &acts[0]["person"]["issuer"]),
        (&"name-taken".into(), &principal.issuer.into())
    );
    assert_eq!(bench.caller().key_proven("alice", &key(9)).await, KeyAnswer::PartialSuccess);
}

#[tokio::test]
async fn one_that_does_not_hold_shuts_every_other_way_into_the_connection() {
    let bench = bench();
    bench.bind(&key(1), "alice", "7").await;
    bench.bind(&key(2), "bob", "8").await;
    let mut caller = bench.caller();
    assert_eq!(shows(&mut caller, "alice", bound_elsewhere()).await, KeyAnswer::Failure);

    assert_eq!(caller.interactive("alice", None).await, InteractiveAnswer::Failure);
    assert_eq!(caller.key_proven("alice", &key(1)).await, KeyAnswer::Failure);
    assert_eq!(caller.key_proven("bob", &key(2)).await, KeyAnswer::Failure);
    assert_eq!(shows(&mut caller, "alice", draft()).await, KeyAnswer::Failure);
    assert_eq!(caller.principal(), None);
    caller.is_over();

    let acts = bench.acts().await;
    assert_eq!(acts.len(), 1, "{acts:?}");
    let why = acts[0]["why"].as_str().unwrap();
    assert!(why.starts_with("certificate 42 (alice's\\u{a}laptop) of SHA256:"), "{why}");
    assert!(why.ends_with(": it may be shown from 10.0.0.0/8 alone"), "{why}");
    assert_eq!((&acts[0]["user"], &acts[0]["key"]), (&"alice".into(), &fingerprint(&key(9)).into()));
}

#[tokio::test]
async fn it_ends_a_sign_in_that_is_under_way() {
    let bench = bench();
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    assert!(matches!(caller.interactive("alice", None).await, InteractiveAnswer::Ask(_)));

    assert_eq!(shows(&mut caller, "alice", bound_elsewhere()).await, KeyAnswer::Failure);
    given_back(&bench.login).await;
    let answers = Some(vec![String::new()]);
    assert_eq!(caller.interactive("alice", answers).await, InteractiveAnswer::Failure);
}

#[tokio::test]
async fn one_that_another_authority_signed_says_nothing() {
    let bench = bench();
    bench.bind(&key(1), "alice", "7").await;
    let foreign = || Draft { signer: 3, ..bound_elsewhere() };
    let mut caller = bench.caller();
    assert_eq!(shows(&mut caller, "alice", foreign()).await, KeyAnswer::Failure);
    assert!(matches!(caller.key_proven("alice", &key(1)).await, KeyAnswer::Success(_)));
    caller.is_over();
    assert_eq!(bench.acts().await.len(), 0, "she is in");

    let mut caller = bench.caller();
    assert_eq!(shows(&mut caller, "alice", foreign()).await, KeyAnswer::Failure);
    caller.is_over();
    let acts = bench.acts().await;
    let why = acts[0]["why"].as_str().unwrap();
    assert!(
        why.starts_with("left without a proof; a certificate was passed by: its authority SHA256:"),
        "{why}"
    );
}

#[tokio::test]
async fn a_name_that_is_another_persons_is_not_had_by_a_certificate() {
    let bench = bench();
    let hers = NameOwner::new(&"alice".parse().unwrap(), "https://id.example", "7", NOW);
    bench.login.bindings.claim(hers).await.unwrap();
    let mut caller = bench.caller();
    assert_eq!(shows(&mut caller, "alice", draft()).await, KeyAnswer::Failure);
    assert_eq!(caller.interactive("alice", None).await, InteractiveAnswer::Failure);

    let why = bench.acts().await[0]["why"].to_string();
    assert!(why.contains("its principal's name belongs to another person"), "{why}");
}

#[tokio::test]
async fn who_cannot_be_written_down_is_not_let_in() {
    let mut bench = bench();
    Arc::get_mut(&mut bench.login).unwrap().audit = audit::tests::unwritable();
    let mut caller = bench.caller();

    assert_eq!(shows(&mut caller, "alice", draft()).await, KeyAnswer::Failure);
    assert_eq!(caller.principal(), None);
    assert_eq!(bench.login.bindings.owners().unwrap(), []);
}

#[tokio::test]
async fn nothing_more_is_opened_once_its_time_is_over_or_its_authority_is_dropped() {
    let bench = bench();
    let mut caller = bench.caller();
    assert!(matches!(shows(&mut caller, "alice", draft()).await, KeyAnswer::Success(_)));
    assert_eq!(caller.lapsed(&trusted()), None);
    let why = caller.lapsed(&Certificates::default()).unwrap();
    assert!(why.contains("is not trusted any more"), "{why}");

    bench.pass(3599);
    assert_eq!(caller.lapsed(&trusted()), None);
    bench.pass(1);
    let why = caller.lapsed(&trusted()).unwrap();
    assert!(why.contains("is not valid any more"), "{why}");

    bench.bind(&key(1), "bob", "8").await;
    let mut bound = bench.caller();
    assert!(matches!(bound.key_proven("bob", &key(1)).await, KeyAnswer::Success(_)));
    assert_eq!(
        bound.lapsed(&Certificates::default()),
        None,
        "a sign-in at the provider has an end of its own"
    );
}

#[tokio::test]
async fn a_key_that_is_half_the_way_leaves_room_for_the_certificate_behind_it() {
    let bench = bench();
    let mut caller = bench.caller();
    let answers =
        [(1, KeyAnswer::PartialSuccessOrCertificate), (1, KeyAnswer::Failure), (2, KeyAnswer::Failure)];
    for (nth, answer) in answers {
        assert_eq!(caller.key_shown("alice", &key(nth), &trusted()).await, answer);
    }
    assert!(matches!(shows(&mut caller, "alice", draft()).await, KeyAnswer::Success(_)));

    let nobody = Certificates::default();
    let mut without = bench.caller();
    assert_eq!(without.key_shown("alice", &key(1), &nobody).await, KeyAnswer::PartialSuccess);
    assert_eq!(without.key_shown("alice", &key(1), &nobody).await, KeyAnswer::PartialSuccess);
}

#[tokio::test]
async fn who_has_many_keys_and_no_certificate_is_sent_to_sign_in_with_the_first() {
    let bench = bench();
    bench.bind(&key(8), "alice", "7").await;
    let mut caller = bench.caller();
    let mut answers = Vec::new();
    for nth in 1..=5 {
        answers.push(caller.key_shown("alice", &key(nth), &trusted()).await);
    }
    let (first, rest) = answers.split_first().unwrap();
    assert_eq!(first, &KeyAnswer::PartialSuccessOrCertificate);
    assert_eq!(rest, [KeyAnswer::Failure, KeyAnswer::Failure, KeyAnswer::Failure, KeyAnswer::PartialSuccess]);
    assert_eq!(caller.key(), Some(fingerprint(&key(1)).as_str()));

    assert_eq!(caller.key_shown("bob", &key(2), &trusted()).await, KeyAnswer::PartialSuccessOrCertificate);
    assert_eq!(caller.key(), Some(fingerprint(&key(2)).as_str()), "another user begins anew");
    assert!(matches!(caller.key_shown("alice", &key(8), &trusted()).await, KeyAnswer::Success(_)));
}

#[tokio::test]
async fn a_principal_in_capitals_is_the_same_person_to_every_rule() {
    let bench = bench();
    let mut caller = bench.caller();
    let shouted = Draft { principals: vec!["ALICE"], ..draft() };
    let KeyAnswer::Success(principal) = shows(&mut caller, "Alice", shouted).await else { panic!("not in") };
    assert_eq!((principal.subject.as_str(), principal.name.as_str()), ("alice", "alice"));
}
