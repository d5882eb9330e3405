//! Sign-ins as far as they come without a provider, and the bench for those that need one.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::UNIX_EPOCH,
};

use ::tests::provider::Provider as RealProvider;

use super::{audit::Act, *};

mod certified;
mod hostile;
mod matrix;
mod policy;
mod recheck;
mod trail;
pub(super) mod with_provider;

struct Bench {
    login: Arc<Login>,
    now: Arc<AtomicI64>,
    heard: audit::tests::Heard,
    folder: tempfile::TempDir,
}

impl Bench {
    /// As [`Bench::with_provider`], with a trail that takes nothing.
    fn without_a_trail() -> (Bench, RealProvider) {
        let (mut bench, provider) = Bench::with_provider();
        let login = Arc::get_mut(&mut bench.login).unwrap();
        login.audit = audit::tests::unwritable();
        (bench, provider)
    }

    /// What was written so far: what is written now comes after it.
    async fn acts(&self) -> Vec<serde_json::Value> {
        self.login.audit.write(Act::LeftOut { refusals: 0, source: None, person: None }).await.unwrap();
        let mut heard = self.heard.lock().unwrap();
        heard.retain(|act| act["act"] != "left-out");
        heard.clone()
    }

    fn with(settings: Settings) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        // A real provider dates its tokens by the real clock; from there a test turns it on.
        let now = Arc::new(AtomicI64::new(Clock::system().now()));
        let shown = now.clone();
        let clock = Clock::pretended(move || {
            UNIX_EPOCH + Duration::from_secs(shown.load(Ordering::Relaxed).try_into().unwrap())
        });
        let (audit, heard) = audit::tests::heard();
        let login =
            Arc::new(Login::new(settings, folder.path(), DataKey::new(&[7; 32]), clock, audit).unwrap());
        Bench { login, now, heard, folder }
    }

    /// A provider that refuses connections.
    fn without_provider() -> Bench {
        Bench::with(Settings::new("http://127.0.0.1:1".into(), "bastion".into()))
    }

    /// npm's `oidc-provider`, which wants a poll every second.
    fn with_provider() -> (Bench, RealProvider) {
        let provider = RealProvider::start();
        provider.interval(1);
        let bench = Bench::with(Settings::new(provider.issuer().into(), "bastion".into()));
        (bench, provider)
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    fn caller(&self) -> SignIn {
        SignIn::new(self.login.clone(), "127.0.0.1:40000".parse().unwrap())
    }

    async fn bind(&self, key: &PublicKey, name: &str, subject: &str) {
        let now = self.now.load(Ordering::Relaxed);
        let principal = Principal {
            issuer: self.login.settings.issuer.clone(),
            subject: subject.into(),
            name: name.parse().unwrap(),
            email: None,
            groups: ["sre".to_owned()].into(),
            source: "127.0.0.1".parse().unwrap(),
            key: Some(fingerprint(key)),
            signed_in_at: now,
            amr: ["mfa".to_owned()].into(),
            acr: Some("urn:example:strong".into()),
            certificate: None,
        };
        let binding = Binding::new(fingerprint(key), &principal, self.login.settings.binding);
        self.login.bindings.bind(binding, self.login.providers.issuers(), now).await.unwrap();
    }
}

/// Done once no sign-in is pending any more.
pub(super) async fn given_back(login: &Login) {
    while login.codes.count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_address_has_so_many_sign_ins_pending_and_others_go_on() {
    let bench = Bench::without_provider();
    let pending: Vec<_> = (0..codes::PER_ADDRESS_MAX)
        .map(|_| bench.login.codes.admit([127, 0, 0, 1].into()).unwrap())
        .collect();
    assert_eq!(bench.caller().interactive("alice", None).await, InteractiveAnswer::Failure);

    let mut elsewhere = SignIn::new(bench.login.clone(), "10.0.0.2:40000".parse().unwrap());
    assert!(matches!(elsewhere.interactive("alice", None).await, InteractiveAnswer::Ask(_)));
    drop(pending);
    assert!(matches!(bench.caller().interactive("alice", None).await, InteractiveAnswer::Ask(_)));
}

fn key(nth: u8) -> PublicKey {
    let pair = russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&[nth; 32]);
    PublicKey::from(pair.public)
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Answers as stock OpenSSH does until the method ends; gives back all that was shown.
async fn answer_all(caller: &mut SignIn, user: &str) -> (String, InteractiveAnswer) {
    let mut shown = String::new();
    let mut given = None;
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
async fn a_proven_key_alone_is_half_the_way() {
    let bench = Bench::without_provider();
    let mut caller = bench.caller();

    assert_eq!(caller.key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
    assert_eq!(caller.key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
    assert_eq!(caller.key_proven("alice", &key(2)).await, KeyAnswer::PartialSuccess);
    assert_eq!(caller.principal(), None);
}

#[tokio::test]
async fn a_bound_key_signs_in_its_owner_alone_and_only_while_the_binding_lives() {
    let bench = Bench::without_provider();
    bench.bind(&key(1), "alice", "7").await;

    for user in ["alice", "Alice", "alice%web1", "alice/deploy/web1"] {
        let mut caller = bench.caller();
        let KeyAnswer::Success(principal) = caller.key_proven(user, &key(1)).await else { panic!("not in") };
        assert_eq!((principal.subject.as_str(), principal.name.as_str()), ("7", "alice"));
        assert_eq!(principal.key, Some(fingerprint(&key(1))));
        assert_eq!(principal.signed_in_at, bench.now.load(Ordering::Relaxed));
        assert_eq!(principal.amr, ["mfa".to_owned()].into());
        assert_eq!(principal.acr.as_deref(), Some("urn:example:strong"));
        assert_eq!(caller.principal(), Some(&*principal));
    }
    for (user, key) in [("bob", key(1)), ("alice", key(2)), ("web1%alice", key(1))] {
        assert_eq!(bench.caller().key_proven(user, &key).await, KeyAnswer::PartialSuccess);
    }

    bench.pass(8 * 3600);
    assert_eq!(bench.caller().key_proven("alice", &key(1)).await, KeyAnswer::PartialSuccess);
}

#[tokio::test]
async fn a_user_name_that_can_be_nobodys_gets_no_further() {
    let bench = Bench::without_provider();
    for user in ["", "%web1", "al ice", "-alice", "alice\u{1b}[2J", &"a".repeat(65)] {
        assert_eq!(bench.caller().key_proven(user, &key(1)).await, KeyAnswer::Failure);
        assert_eq!(bench.caller().interactive(user, None).await, InteractiveAnswer::Failure);
    }
}

#[tokio::test]
async fn a_provider_that_is_down_is_named_in_the_prompt_and_nobody_hangs() {
    let bench = Bench::without_provider();
    let mut caller = bench.caller();
    caller.key_proven("alice", &key(1)).await;

    let (shown, end) = answer_all(&mut caller, "alice").await;
    assert_eq!(end, InteractiveAnswer::Failure);
    assert_eq!(shown, format!("{} Press Enter: ", notice::PROVIDER_DOWN));
    assert_eq!(caller.interactive("alice", None).await, InteractiveAnswer::Failure);
}

#[tokio::test]
async fn answers_that_nobody_asked_for_end_the_method() {
    let bench = Bench::without_provider();
    assert_eq!(bench.caller().interactive("alice", Some(vec![])).await, InteractiveAnswer::Failure);

    let mut caller = bench.caller();
    let InteractiveAnswer::Ask(question) = caller.interactive("alice", None).await else {
        panic!("no question")
    };
    assert_eq!(question.prompts.len(), 1);
    let two = Some(vec![String::new(); 2]);
    assert_eq!(caller.interactive("alice", two).await, InteractiveAnswer::Failure);
}
