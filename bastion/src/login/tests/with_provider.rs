//! Sign-ins at a real provider, npm's `oidc-provider`, from the first step to the last.

use ::tests::provider::{ALICE, BEA, Sky};

use super::*;

/// Begins with a key and keyboard-interactive; gives back the first prompt with text, and the code in it.
pub(super) async fn invited(caller: &mut SignIn, user: &str) -> (String, String) {
    let mut given = None;
    for _ in 0..20 {
        let InteractiveAnswer::Ask(question) = caller.interactive(user, given).await else {
            panic!("no question")
        };
        let text = question.instructions
            + &question.prompts.iter().map(|(text, _)| text.as_str()).collect::<String>();
        if let Some((_, code)) = text.split_once("enter the code ") {
            let code = code.split_whitespace().next().unwrap().to_owned();
            return (text, code);
        }
        given = Some(vec![String::new(); question.prompts.len()]);
    }
    panic!("never invited");
}

/// Goes on answering after the first prompt, to the end.
pub(super) async fn go_on(caller: &mut SignIn, user: &str) -> (String, InteractiveAnswer) {
    let mut shown = String::new();
    let prompts = match &caller.state {
        State::Asking { round, .. } => round.prompts.unwrap(),
        _ => panic!("nothing was asked"),
    };
    let mut given = Some(vec![String::new(); prompts]);
    for _ in 0..50 {
        match caller.interactive(user, given).await {
            InteractiveAnswer::Ask(question) => {
                shown.push_str(&question.instructions);
                question.prompts.iter().for_each(|(prompt, _)| shown.push_str(prompt));
                given = Some(vec![String::new(); question.prompts.len()]);
            }
            end => return (shown, end),
        }
    }
    panic!("no end after 50 rounds; shown: {shown}");
}

#[tokio::test]
async fn a_confirmed_sign_in_binds_the_key_which_then_needs_no_prompt_for_eight_hours() {
    let (bench, provider) = Bench::with_provider();
    let mut caller = bench.caller();
    assert_eq!(caller.key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);

    let (text, code) = invited(&mut caller, "alice").await;
    let address = format!("{}/device", provider.issuer());
    let print = fingerprint(&key(1));
    for part in
        [&format!("{address}?user_code={code}"), &format!("or {address} "), "5 minutes", "127.0.0.1", &print]
    {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(text.ends_with("then press Enter: "));

    provider.approve(&code, &ALICE);
    let (_, end) = go_on(&mut caller, "alice").await;
    let InteractiveAnswer::Success(principal) = end else { panic!("not in: {end:?}") };
    assert_eq!((principal.issuer.as_str(), principal.subject.as_str()), (provider.issuer(), ALICE.sub));
    assert_eq!(principal.email.as_deref(), Some("alice@example.org"));
    assert_eq!(principal.groups, ["sre".to_owned()].into());
    assert_eq!(principal.key, Some(print));
    assert_eq!(caller.principal(), Some(&*principal));

    provider.sky(Sky::Down);
    bench.pass(8 * 3600 - 60);
    assert_eq!(bench.caller().key_proven("alice%web1", &key(1)).await, KeyAnswer::Success(principal));
    assert_eq!(bench.caller().key_proven("alice", &key(2)).await, KeyAnswer::PartialSuccess);
    bench.pass(60);
    assert_eq!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
}

#[tokio::test]
async fn a_client_without_a_key_signs_in_each_time() {
    let (bench, provider) = Bench::with_provider();
    for _ in 0..2 {
        let mut caller = bench.caller();
        let (text, code) = invited(&mut caller, "alice").await;
        assert!(text.contains("without a key"));
        provider.approve(&code, &ALICE);
        let (_, end) = go_on(&mut caller, "alice").await;
        assert!(matches!(end, InteractiveAnswer::Success(principal) if principal.key.is_none()));
    }
}

/// What a denial tells her whose sign-in is too old for a rule: her key would bring the old one along.
#[tokio::test]
async fn who_needs_a_newer_sign_in_than_her_keys_gets_one_without_the_key() {
    let (bench, provider) = Bench::with_provider();
    // The provider's clock is the system's, so it is the binding that was made an hour ago.
    bench.pass(-3600);
    bench.bind(&key(1), "alice", ALICE.sub).await;
    let then = bench.now.load(Ordering::Relaxed);
    bench.pass(3600);
    let KeyAnswer::Success(principal) = bench.caller().key_proven("alice", &key(1)).await else {
        panic!("not in")
    };
    assert_eq!(principal.signed_in_at, then);

    let mut caller = bench.caller();
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    let (_, end) = go_on(&mut caller, "alice").await;
    let InteractiveAnswer::Success(principal) = end else { panic!("not in: {end:?}") };
    assert_eq!(principal.signed_in_at, then + 3600);
}

#[tokio::test]
async fn without_prompts_the_text_is_an_instruction_and_rounds_are_silent() {
    let (mut bench, provider) = Bench::with_provider();
    Arc::get_mut(&mut bench.login).unwrap().settings.prompt = Prompt::None;
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;

    let (text, code) = invited(&mut caller, "alice").await;
    assert!(text.ends_with("began it yourself,\nand wait here.\n"), "{text}");
    let begun = tokio::time::Instant::now();
    let silent = caller.interactive("alice", Some(vec![])).await;
    assert_eq!(silent, InteractiveAnswer::Ask(Question::default()));
    assert!(begun.elapsed() < Duration::from_secs(2));

    provider.approve(&code, &ALICE);
    let (shown, end) = go_on(&mut caller, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)));
    assert_eq!(shown, "");
}

#[tokio::test]
async fn enter_before_the_person_has_confirmed_asks_again_with_the_address() {
    let (bench, provider) = Bench::with_provider();
    let mut caller = bench.caller();
    let (_, code) = invited(&mut caller, "alice").await;

    let mut given = Some(vec![String::new()]);
    let again = loop {
        let InteractiveAnswer::Ask(question) = caller.interactive("alice", given).await else {
            panic!("ended")
        };
        given = Some(vec![String::new(); question.prompts.len()]);
        if let Some((prompt, _)) = question.prompts.first() {
            break prompt.clone();
        }
    };
    assert!(
        again.starts_with("Not confirmed yet.") && again.contains(&code) && again.contains(provider.issuer())
    );
    assert_eq!(provider.seen().polls.len(), 1);
}

#[tokio::test]
async fn a_denied_sign_in_and_one_that_ran_out_each_have_their_sentence() {
    let (bench, provider) = Bench::with_provider();
    for (ruling, sentence) in [("deny", notice::DENIED), ("expire", notice::EXPIRED)] {
        let mut caller = bench.caller();
        caller.key_proven("alice", &key(1)).await;
        let (_, code) = invited(&mut caller, "alice").await;
        match ruling {
            "deny" => provider.deny(&code),
            _ => provider.expire(&code),
        }
        let (shown, end) = go_on(&mut caller, "alice").await;
        assert_eq!(end, InteractiveAnswer::Failure);
        assert_eq!(shown, format!("{sentence} Press Enter: "));
        assert_eq!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
    }
}

#[tokio::test]
async fn another_persons_name_is_refused_with_the_same_words_whether_or_not_it_is_anybodys() {
    let (bench, provider) = Bench::with_provider();
    bench.bind(&key(2), "bea", BEA.sub).await;
    let mut told = Vec::new();
    for user in ["bea", "nobody"] {
        let mut caller = bench.caller();
        caller.key_proven(user, &key(1)).await;
        let (_, code) = invited(&mut caller, user).await;
        provider.approve(&code, &ALICE);
        let (shown, end) = go_on(&mut caller, user).await;
        assert_eq!(end, InteractiveAnswer::Failure);
        assert_eq!(caller.principal(), None);
        told.push(shown);
    }
    assert_eq!(told, vec![format!("{} Press Enter: ", notice::NOT_HER_NAME); 2]);
    assert_eq!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
}

#[tokio::test]
async fn a_key_that_is_another_persons_signs_nobody_else_in() {
    let (bench, provider) = Bench::with_provider();
    bench.bind(&key(1), "bea", BEA.sub).await;
    let mut caller = bench.caller();
    assert_eq!(caller.key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);

    let (shown, end) = go_on(&mut caller, "alice").await;
    assert_eq!(end, InteractiveAnswer::Failure);
    assert!(shown.starts_with(notice::ANOTHERS_KEY));
    assert!(matches!(bench.caller().key_proven("bea", &key(1)).await, KeyAnswer::Success(_)));
}

#[tokio::test]
async fn a_sign_in_does_not_pass_to_another_user_name_or_key() {
    let (bench, provider) = Bench::with_provider();
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);

    let nothing = Some(vec![String::new()]);
    assert_eq!(caller.interactive("bea", nothing.clone()).await, InteractiveAnswer::Failure);
    assert_eq!(caller.interactive("alice", nothing.clone()).await, InteractiveAnswer::Failure);

    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    assert_eq!(caller.key_proven("alice", &key(2)).await, KeyAnswer::PartialSuccess);
    assert_eq!(caller.interactive("alice", nothing).await, InteractiveAnswer::Failure);
    assert_eq!(caller.principal(), None);
}

#[tokio::test]
async fn slow_down_adds_five_seconds_to_the_providers_interval() {
    let (bench, provider) = Bench::with_provider();
    provider.slow_down(1);
    let mut caller = bench.caller();
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);

    let (_, end) = go_on(&mut caller, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)));
    let polls = provider.seen().polls;
    assert_eq!(polls.len(), 2);
    let pause = polls[1] - polls[0];
    // A minute is the longest interval that there may be; how much less it was, a busy machine decides.
    assert!((5_900..60_000).contains(&pause), "{pause} ms between two polls");
}

#[tokio::test]
async fn a_provider_in_trouble_for_a_while_costs_time_and_not_the_sign_in() {
    let (bench, provider) = Bench::with_provider();
    let mut caller = bench.caller();
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    provider.sky(Sky::Troubled);

    let mut given = Some(vec![String::new()]);
    for _ in 0..3 {
        let InteractiveAnswer::Ask(question) = caller.interactive("alice", given).await else {
            panic!("ended")
        };
        given = Some(vec![String::new(); question.prompts.len()]);
    }
    provider.sky(Sky::Clear);
    let (_, end) = go_on(&mut caller, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)));
}

#[tokio::test]
async fn a_provider_that_hangs_makes_no_round_longer_than_two_seconds() {
    let (bench, provider) = Bench::with_provider();
    provider.sky(Sky::Hanging);
    let mut caller = bench.caller();
    let mut given = None;
    loop {
        let begun = tokio::time::Instant::now();
        let answer = caller.interactive("alice", given).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "a round of {:?}", begun.elapsed());
        match answer {
            InteractiveAnswer::Ask(question) if question.prompts.is_empty() => given = Some(vec![]),
            InteractiveAnswer::Ask(question) => {
                assert!(question.prompts[0].0.starts_with(notice::PROVIDER_DOWN));
                return;
            }
            end => panic!("{end:?}"),
        }
    }
}

#[tokio::test]
async fn a_rotated_key_is_fetched_at_the_next_sign_in_and_once_a_minute_at_most() {
    let (bench, provider) = Bench::with_provider();
    for (turn, algorithm) in ["RS256", "ES256", "EdDSA"].into_iter().enumerate() {
        if turn > 0 {
            provider.rotate_keys(algorithm);
        }
        let mut caller = bench.caller();
        let (_, code) = invited(&mut caller, "alice").await;
        provider.approve(&code, &ALICE);
        let (shown, end) = go_on(&mut caller, "alice").await;
        match turn {
            // The second rotation comes within a minute of the first.
            2 => assert!(shown.starts_with(notice::NOT_PROVEN), "{shown}"),
            _ => assert!(matches!(end, InteractiveAnswer::Success(_)), "{algorithm}: {shown} {end:?}"),
        }
    }
    assert_eq!(provider.seen().key_sets, 2);

    bench.pass(61);
    let mut caller = bench.caller();
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    assert!(matches!(go_on(&mut caller, "alice").await.1, InteractiveAnswer::Success(_)));
    assert_eq!(provider.seen().key_sets, 3);
}

#[tokio::test]
async fn a_connection_that_goes_away_takes_its_sign_in_along() {
    let (bench, _provider) = Bench::with_provider();
    let mut caller = bench.caller();
    invited(&mut caller, "alice").await;
    assert_eq!(bench.login.codes.count(), 1);

    drop(caller);
    tokio::time::timeout(Duration::from_secs(5), given_back(&bench.login)).await.unwrap();
}

/// A provider is told nothing of a connection that went away.
#[tokio::test]
async fn a_code_holds_its_place_until_the_provider_holds_it_no_longer() {
    let (bench, provider) = Bench::with_provider();
    let held = || bench.login.codes_of([127, 0, 0, 1].into());
    for is_yes in [true, false] {
        let mut caller = bench.caller();
        let (_, code) = invited(&mut caller, "alice").await;
        if is_yes {
            provider.approve(&code, &ALICE)
        } else {
            provider.deny(&code)
        }
        go_on(&mut caller, "alice").await;
        tokio::time::timeout(Duration::from_secs(5), given_back(&bench.login)).await.unwrap();
        assert_eq!(held(), 0, "it was answered");
    }

    let mut caller = bench.caller();
    invited(&mut caller, "alice").await;
    drop(caller);
    // Hardly asked for: the provider makes it all the same.
    let mut caller = bench.caller();
    drop(tokio::time::timeout(Duration::from_millis(1), caller.interactive("alice", None)).await);
    drop(caller);
    tokio::time::timeout(Duration::from_secs(5), given_back(&bench.login)).await.unwrap();
    assert_eq!((held(), provider.seen().pending), (2, 4), "it keeps those that were answered too");
}

#[tokio::test]
async fn beginning_the_method_anew_shows_the_same_code() {
    let (bench, provider) = Bench::with_provider();
    let mut caller = bench.caller();
    let (_, first) = invited(&mut caller, "alice").await;
    for _ in 0..5 {
        assert_eq!(invited(&mut caller, "alice").await.1, first);
    }
    assert_eq!(provider.seen().pending, 1);
}

/// Where every log line of the whole process goes, down to the last crate's trace.
#[derive(Clone, Default)]
pub(in crate::login) struct Captured(pub Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_and_no_device_code_is_ever_logged() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let (mut bench, provider) = Bench::with_provider();
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;
    let (shown, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    let (more, end) = go_on(&mut caller, "alice").await;
    assert!(matches!(end, InteractiveAnswer::Success(_)));
    drop(caller);

    // And once more with the refresh token: the provider's tokens are good for five minutes by the real clock.
    Arc::get_mut(&mut bench.login).unwrap().settings.recheck = Duration::from_secs(10);
    bench.pass(10);
    assert!(matches!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::Success(_)));
    assert_eq!(provider.seen().refreshes, 1);

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("signed in") && log.contains("TRACE"), "the log is captured");
    let secrets = provider.seen().secrets;
    assert_eq!(
        secrets.len(),
        4 + 3,
        "device code, and twice an ID token, an access token and a refresh token"
    );
    let state = std::fs::read(bench.folder.path().join("db")).unwrap();
    for secret in secrets {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "in the log: {secret}");
        assert!(!shown.contains(signature) && !more.contains(signature), "shown: {secret}");
        assert!(!state.windows(signature.len()).any(|part| part == signature.as_bytes()), "stored: {secret}");
    }
}
