//! Providers that hang, rotate their keys and name keys that nobody has: what that costs them, and others.

use futures::future::join_all;
use serde_json::json;

use super::{
    super::super::oidc::{Provider, Tokens},
    *,
};

const GOOD_TIME_MAX: Duration = Duration::from_secs(20);

/// The bastion's side of a provider, with a clock that a test turns.
struct Desk {
    provider: Provider,
    hostile: Hostile,
    now: Arc<AtomicI64>,
}

impl Desk {
    fn new() -> Desk {
        let now = Arc::new(AtomicI64::new(1_800_000_000));
        let hostile = Hostile::start(Fault::Nothing, now.load(Ordering::Relaxed));
        let shown = now.clone();
        let clock = Clock::pretended(move || {
            UNIX_EPOCH + Duration::from_secs(shown.load(Ordering::Relaxed).unsigned_abs())
        });
        let settings = Settings::new(hostile.issuer().into(), "bastion".into());
        Desk { provider: Provider::new(settings.main(), None, true, clock).unwrap(), hostile, now }
    }

    fn pass(&self, seconds: i64) {
        self.hostile.clock(self.now.fetch_add(seconds, Ordering::Relaxed) + seconds);
    }

    /// What the token endpoint would answer now, with this fault.
    fn tokens(&self, fault: Fault) -> Tokens {
        self.hostile.turns(fault);
        let answer =
            json!({ "access_token": "x", "token_type": "Bearer", "id_token": self.hostile.id_token() });
        serde_json::from_value(answer).unwrap()
    }

    async fn proves(&self, tokens: &Tokens) -> Result<Identity, ProviderFault> {
        let known = self.provider.known().await?;
        self.provider.prove(known, tokens).await
    }

    fn fetches(&self) -> usize {
        self.hostile.asked("/keys")
    }
}

#[tokio::test]
async fn a_thousand_tokens_with_unknown_keys_bring_one_fetch_a_minute() {
    let desk = Desk::new();
    let forged = desk.tokens(Fault::KeyUnknown);
    for nth in 0..1000 {
        // Over three minutes.
        desk.pass(i64::from(nth % 50 == 49) * 9);
        assert!(desk.proves(&forged).await.is_err());
    }
    assert_eq!(desk.fetches(), 1 + 3, "the first, and one in each minute");

    desk.pass(60);
    assert!(join_all((0..200).map(|_| desk.proves(&forged))).await.iter().all(Result::is_err));
    assert_eq!(desk.fetches(), 1 + 3 + 1);
}

#[tokio::test]
async fn keys_that_rotate_are_known_to_all_who_sign_in_next() {
    let desk = Desk::new();
    assert!(desk.proves(&desk.tokens(Fault::Nothing)).await.is_ok());
    desk.pass(10);
    desk.hostile.rotate_keys();

    let new = desk.tokens(Fault::Nothing);
    assert!(join_all((0..20).map(|_| desk.proves(&new))).await.iter().all(Result::is_ok));
    assert_eq!(desk.fetches(), 2);
}

#[tokio::test]
async fn while_its_keys_cannot_be_fetched_the_old_ones_are_good_for_a_day() {
    let desk = Desk::new();
    assert!(desk.proves(&desk.tokens(Fault::Nothing)).await.is_ok());
    let down = Fault::At(Place::Keys, How::Cut);
    desk.pass(3600);
    for _ in 0..20 {
        assert!(desk.proves(&desk.tokens(down)).await.is_ok());
    }
    assert_eq!(desk.fetches(), 2, "asked once more, and not by each");

    // What is answered wrongly is no silence.
    desk.pass(60);
    let fault = desk.proves(&desk.tokens(Fault::At(Place::Keys, How::Html))).await;
    assert!(matches!(fault, Err(ProviderFault::Unfit(_))), "{fault:?}");
    desk.pass(24 * 3600);
    let fault = desk.proves(&desk.tokens(down)).await;
    assert!(matches!(fault, Err(ProviderFault::Silent(_))), "{fault:?}");
    desk.pass(60);
    assert!(desk.proves(&desk.tokens(Fault::Nothing)).await.is_ok());
}

#[tokio::test]
async fn a_fetch_that_hangs_for_one_token_delays_nobody_else() {
    let desk = Arc::new(Desk::new());
    let forged = desk.tokens(Fault::KeyUnknown);
    assert!(desk.proves(&desk.tokens(Fault::Nothing)).await.is_ok());
    let good = desk.tokens(Fault::At(Place::Keys, How::Silence));
    let stuck = tokio::spawn({
        let desk = desk.clone();
        async move { desk.proves(&forged).await }
    });
    while desk.fetches() < 2 {
        tokio::task::yield_now().await;
    }

    assert!(desk.proves(&good).await.is_ok());
    assert!(!stuck.is_finished(), "the hanging fetch was waited for");
    stuck.abort();
}

#[tokio::test]
async fn a_poll_that_hangs_delays_no_sign_in_of_another_connection() {
    let now = Clock::system().now();
    let provider = Hostile::start(Fault::At(Place::Token, How::Silence), now);
    let bench = bench_at(&provider, now);
    let mut stuck = bench.caller();
    let asked = stuck.interactive("alice", None).await;
    assert!(matches!(asked, InteractiveAnswer::Ask(_)));
    while provider.asked("/token") == 0 {
        tokio::task::yield_now().await;
    }
    provider.turns(Fault::Nothing);

    let mut caller = bench.caller();
    let (_, end) = tokio::time::timeout(GOOD_TIME_MAX, sign_in(&mut caller, "alice")).await.unwrap();
    assert!(matches!(end, InteractiveAnswer::Success(_)));
    assert_eq!(stuck.principal(), None);
}

#[tokio::test]
async fn a_provider_that_hangs_delays_no_sign_in_at_another() {
    let now = Clock::system().now();
    let [hangs, answers] =
        [Fault::At(Place::Discovery, How::Silence), Fault::Nothing].map(|fault| Hostile::start(fault, now));
    let [slow, quick] = [&hangs, &answers].map(|provider| bench_at(provider, now));
    let mut stuck = slow.caller();
    let waits = stuck.interactive("alice", None).await;
    assert_eq!(waits, InteractiveAnswer::Ask(Question::default()));

    let mut caller = quick.caller();
    let (_, end) = tokio::time::timeout(GOOD_TIME_MAX, sign_in(&mut caller, "alice")).await.unwrap();
    assert!(matches!(end, InteractiveAnswer::Success(_)));
    assert_eq!(hangs.asked("/.well-known/openid-configuration"), 1);
}
