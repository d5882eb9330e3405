//! What policy takes away from bound keys and from the code.

use ::tests::provider::ALICE;

use super::{
    with_provider::{go_on, invited},
    *,
};

fn obeys(bench: &Bench, text: &str) {
    bench.login.obey(Arc::new(Policy::parse(text, "policy.toml").unwrap()));
}

async fn is_in(bench: &Bench, nth: u8) -> bool {
    let hers = key(nth);
    matches!(bench.caller().key_proven("alice", &hers).await, KeyAnswer::Success(_))
}

#[tokio::test]
async fn a_bound_key_signs_in_alone_as_long_where_and_if_policy_lets_it() {
    let bench = Bench::without_provider();
    bench.bind(&key(1), "alice", "7").await;
    assert!(is_in(&bench, 1).await);

    let registered = format!(
        "[[sign_in]]\nname = 'r'\nusers = ['*']\nregistered = true\n[registered_keys]\nalice = ['{}']\n",
        fingerprint(&key(1))
    );
    for (policy, holds) in [
        ("[[sign_in]]\nname = 'r'\nusers = ['bea']\nbinding = '0s'\n", true),
        ("[[sign_in]]\nname = 'r'\nusers = ['alice']\nbinding = '0s'\n", false),
        ("[[sign_in]]\nname = 'r'\nusers = ['alice']\nfrom = ['127.0.0.0/8']\n", true),
        ("[[sign_in]]\nname = 'r'\nusers = ['alice']\nfrom = ['10.0.0.0/8']\n", false),
        (
            "[groups]\nsre = { provider = 'sre' }\n[[sign_in]]\nname = 'r'\ngroups = ['sre']\ndevice_flow = false\n",
            false,
        ),
        ("[[sign_in]]\nname = 'r'\nusers = ['*']\nregistered = true\n", false),
        (&registered, true),
    ] {
        obeys(&bench, policy);
        assert_eq!(is_in(&bench, 1).await, holds, "{policy}");
    }

    obeys(&bench, "[[sign_in]]\nname = 'r'\nusers = ['alice']\nbinding = '1h'\n");
    bench.pass(3599);
    assert!(is_in(&bench, 1).await);
    bench.pass(1);
    assert!(!is_in(&bench, 1).await, "her binding lives, and policy wants it younger");
    obeys(&bench, "");
    assert!(is_in(&bench, 1).await);
}

/// Signs alice in with a key; gives back what was shown last and whether she is in.
async fn signs_in(bench: &Bench, provider: &RealProvider, nth: u8) -> (String, bool) {
    let mut caller = bench.caller();
    let hers = key(nth);
    assert_eq!(caller.key_proven("alice", &hers).await, KeyAnswer::PartialSuccess);
    let (_, code) = invited(&mut caller, "alice").await;
    provider.approve(&code, &ALICE);
    let (shown, end) = go_on(&mut caller, "alice").await;
    (shown, matches!(end, InteractiveAnswer::Success(_)))
}

#[tokio::test]
async fn whose_group_may_not_sign_in_by_a_code_is_told_so_and_no_name_or_key_is_taken() {
    let (bench, provider) = Bench::with_provider();
    obeys(
        &bench,
        "[groups]\nsre = { provider = 'sre' }\n[[sign_in]]\nname = 'no-codes'\ngroups = ['sre']\ndevice_flow = false\n",
    );
    let (shown, is_in) = signs_in(&bench, &provider, 1).await;
    assert!(!is_in && shown.contains("Policy does not let you sign in by a code"), "{shown}");
    assert_eq!(bench.login.bindings.all(bench.login.now()).unwrap(), []);
    assert_eq!(bench.login.bindings.owners().unwrap().len(), 0);
}

#[tokio::test]
async fn a_sign_in_binds_no_key_for_longer_than_policy_wants_or_none_at_all() {
    let (bench, provider) = Bench::with_provider();
    obeys(&bench, "[[sign_in]]\nname = 'r'\nusers = ['alice']\nbinding = '10m'\n");
    assert!(signs_in(&bench, &provider, 1).await.1);
    let bound = bench.login.bindings.all(bench.login.now()).unwrap();
    assert_eq!(bound[0].expires_at - bound[0].created_at, 600);

    obeys(&bench, "[[sign_in]]\nname = 'r'\nusers = ['alice']\nfrom = ['10.0.0.0/8']\n");
    assert!(signs_in(&bench, &provider, 2).await.1, "she is in, and signs in anew next time");
    assert_eq!(bench.login.bindings.all(bench.login.now()).unwrap().len(), 1);
}

#[tokio::test]
async fn with_one_key_at_a_time_a_new_one_takes_the_place_of_the_others_which_is_written_down() {
    let (bench, provider) = Bench::with_provider();
    bench.bind(&key(1), "alice", ALICE.sub).await;
    bench.bind(&key(3), "bea", "9").await;
    obeys(&bench, "[[sign_in]]\nname = 'r'\nusers = ['alice']\none_key = true\n");
    assert!(is_in(&bench, 1).await);
    assert!(signs_in(&bench, &provider, 2).await.1);

    let mut keys: Vec<String> =
        bench.login.bindings.all(bench.login.now()).unwrap().into_iter().map(|b| b.fingerprint).collect();
    keys.sort();
    let mut left = vec![fingerprint(&key(2)), fingerprint(&key(3))];
    left.sort();
    assert_eq!(keys, left);
    let revoked: Vec<_> =
        bench.acts().await.into_iter().filter(|act| act["act"] == "binding-revoked").collect();
    assert_eq!((revoked.len(), &revoked[0]["key"]), (1, &fingerprint(&key(1)).into()));
}

#[tokio::test]
async fn with_one_key_at_a_time_the_others_stay_if_the_new_one_cannot_be_stored() {
    let (bench, provider) = Bench::with_provider();
    bench.bind(&key(1), "alice", ALICE.sub).await;
    bench
        .login
        .bindings
        .claim(NameOwner::new(&"alice".parse().unwrap(), provider.issuer(), ALICE.sub, 0))
        .await
        .unwrap();
    obeys(&bench, "[[sign_in]]\nname = 'r'\nusers = ['alice']\none_key = true\n");
    // Nobody can say that what is written there is on the disk.
    std::fs::remove_file(bench.folder.path().join("db")).unwrap();

    assert!(signs_in(&bench, &provider, 2).await.1, "she has proven who she is");
    assert!(is_in(&bench, 1).await);
    assert!(bench.acts().await.iter().all(|act| act["act"] != "binding-revoked"));
}

#[tokio::test]
async fn a_key_that_is_another_persons_opens_nothing_where_policy_binds_none_either() {
    let (bench, provider) = Bench::with_provider();
    bench.bind(&key(1), "bea", "9").await;
    obeys(&bench, "[[sign_in]]\nname = 'r'\nusers = ['alice']\nbinding = '0s'\n");

    let (shown, is_in) = signs_in(&bench, &provider, 1).await;
    assert!(!is_in && shown.starts_with(notice::ANOTHERS_KEY), "{shown}");
}
