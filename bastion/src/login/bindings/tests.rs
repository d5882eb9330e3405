//! What the store keeps, gives up and tells.

use super::*;

const HOUR: i64 = 3600;

async fn bind(bindings: &Bindings, binding: Binding, now: i64) -> Result<bool, BindFault> {
    bindings.bind(binding, BTreeSet::from(["https://id.example", "https://partner.example"]), now).await
}

fn binding_of(subject: &str, now: i64) -> Binding {
    let principal = Principal {
        issuer: "https://id.example".into(),
        subject: subject.into(),
        name: "alice".parse().unwrap(),
        email: None,
        groups: BTreeSet::from(["sre".to_owned()]),
        source: "127.0.0.1".parse().unwrap(),
        key: Some("SHA256:a".into()),
        signed_in_at: now,
        amr: BTreeSet::from(["mfa".to_owned()]),
        acr: Some("urn:example:strong".into()),
        certificate: None,
    };
    Binding::new("SHA256:a".into(), &principal, Duration::from_secs(3600))
}

#[tokio::test]
async fn a_binding_is_found_until_the_second_it_expires_and_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    bind(&bindings, binding_of("1", 1000), 1000).await.unwrap();
    drop(bindings);

    let bindings = Bindings::open(folder.path()).unwrap();
    assert_eq!(bindings.find("SHA256:a", 1000).unwrap(), Some(binding_of("1", 1000)));
    assert_eq!(bindings.find("SHA256:a", 1000 + HOUR - 1).unwrap(), Some(binding_of("1", 1000)));
    assert_eq!(bindings.find("SHA256:a", 1000 + HOUR).unwrap(), None);
    assert_eq!(bindings.find("SHA256:b", 1000).unwrap(), None);
}

#[tokio::test]
async fn a_binding_of_before_sign_in_methods_were_kept_still_counts_and_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    let old = r#"{"version":1,"fingerprint":"SHA256:a","issuer":"https://id.example","subject":"1","name":"alice",
        "email":null,"groups":["sre"],"created_at":1000,"expires_at":4600,"last_used_at":1000,"source":"127.0.0.1"}"#;
    bindings.tree.insert("SHA256:a", old).unwrap();

    let found = bindings.find("SHA256:a", 1000).unwrap().unwrap();
    assert_eq!(
        found,
        Binding { amr: BTreeSet::new(), acr: None, bound_from: vec![], ..binding_of("1", 1000) }
    );

    bindings.used(&found, 1001, found.source).unwrap();
    assert_eq!(bindings.find("SHA256:a", 1001).unwrap().unwrap().last_used_at, 1001);
}

#[tokio::test]
async fn a_clock_that_was_set_back_lengthens_no_binding() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    bind(&bindings, binding_of("1", 10 * HOUR), 10 * HOUR).await.unwrap();

    assert_eq!(bindings.find("SHA256:a", 9 * HOUR).unwrap(), None);
}

#[tokio::test]
async fn a_key_has_one_owner_until_her_binding_has_run_out() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    bind(&bindings, binding_of("1", 1000), 1000).await.unwrap();

    let refused = bind(&bindings, binding_of("2", 1010), 1010).await;
    assert!(matches!(refused, Err(BindFault::Anothers(key)) if key == "SHA256:a"));
    let namesake = Binding { issuer: "https://partner.example".into(), ..binding_of("1", 1010) };
    assert!(
        bind(&bindings, namesake, 1010).await.is_err(),
        "the same subject at another issuer is somebody else"
    );
    assert_eq!(bindings.find("SHA256:a", 1010).unwrap().unwrap().subject, "1");

    bind(&bindings, binding_of("2", 1000 + HOUR), 1000 + HOUR).await.unwrap();
    assert_eq!(bindings.find("SHA256:a", 1000 + HOUR).unwrap().unwrap().subject, "2");
}

#[tokio::test]
async fn what_was_bound_at_a_former_issuer_is_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    let former = Binding { issuer: "https://former.example".into(), ..binding_of("1", 1000) };
    bind(&bindings, former, 1000).await.unwrap();
    bind(&bindings, binding_of("2", 1000), 1000).await.unwrap();
    assert_eq!(bindings.find("SHA256:a", 1000).unwrap().unwrap().subject, "2");
}

#[tokio::test]
async fn a_note_of_use_that_comes_late_does_not_bring_an_old_binding_back() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    let old = binding_of("1", 1000);
    bind(&bindings, old.clone(), 1000).await.unwrap();
    bind(&bindings, binding_of("1", 2000), 2000).await.unwrap();

    bindings.used(&old, 2001, "127.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(bindings.find("SHA256:a", 2001).unwrap(), Some(binding_of("1", 2000)));
}

#[tokio::test]
async fn bindings_that_have_run_out_are_remembered_for_a_month_and_then_forgotten_at_the_next_sign_in() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    bind(&bindings, binding_of("1", 1000), 1000).await.unwrap();
    for (later, kept) in [(HOUR, 2), (HOUR + REMEMBERED_SECONDS, 1)] {
        let now = 1000 + later;
        let other = Binding { fingerprint: "SHA256:b".into(), ..binding_of("2", now) };
        bind(&bindings, other, now).await.unwrap();
        assert_eq!(bindings.tree.len(), kept);
        assert_eq!(bindings.all(now).unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_key_that_is_bound_again_is_news_from_elsewhere_and_none_from_where_it_was_bound_before() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    let now = std::cell::Cell::new(1000);
    let bind_from = async |source: &str| {
        now.set(now.get() + 2 * HOUR); // what was bound before has run out
        let source: IpAddr = source.parse().unwrap();
        let binding = Binding { source, bound_from: vec![network(source)], ..binding_of("1", now.get()) };
        bind(&bindings, binding, now.get()).await.unwrap()
    };
    let told = || {
        let news = bindings.news_for("https://id.example", "1", Some("SHA256:b"), now.get()).unwrap();
        news.into_iter().map(|key| key.source.to_string()).collect::<Vec<_>>()
    };

    assert!(bind_from("192.0.2.7").await);
    assert_eq!(told(), ["192.0.2.7"]);
    assert!(!bind_from("192.0.2.7").await);
    assert_eq!(told(), [] as [&str; 0]);
    assert!(bind_from("203.0.113.66").await, "from elsewhere");
    assert_eq!(told(), ["203.0.113.66"]);
    for before in ["192.0.2.7", "203.0.113.66"] {
        assert!(!bind_from(before).await);
    }
    assert!(bind_from("2001:db8::1").await);
    assert!(!bind_from("2001:db8::2").await, "one network");

    let alone = bindings.find("SHA256:a", now.get()).unwrap().unwrap();
    bindings.used(&alone, now.get(), "198.51.100.9".parse().unwrap()).unwrap();
    assert!(bind_from("198.51.100.9").await, "used there, and never bound");
    for n in 0..=BOUND_FROM_MAX {
        bind_from(&format!("10.0.0.{n}")).await;
    }
    assert_eq!(bindings.find("SHA256:a", now.get()).unwrap().unwrap().bound_from.len(), BOUND_FROM_MAX);
}

#[tokio::test]
async fn a_key_that_was_bound_is_told_once_with_each_other_key_and_always_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    assert!(bind(&bindings, binding_of("1", 1000), 1000).await.unwrap());
    let told = |with: Option<&str>| bindings.news_for("https://id.example", "1", with, 1000).unwrap();

    assert_eq!(bindings.news_for("https://id.example", "2", None, 1000).unwrap(), []);
    assert_eq!(told(Some("SHA256:a")), [], "it may be a stranger's");
    let news = [NewKey { fingerprint: "SHA256:a".into(), source: "127.0.0.1".parse().unwrap() }];
    assert_eq!(told(None), news, "whoever has no key may be a stranger too");
    assert_eq!(told(None), news);
    for with in ["SHA256:b", "SHA256:c"] {
        assert_eq!(told(Some(with)), news);
        assert_eq!(told(Some(with)), []);
    }
    assert!(!bind(&bindings, binding_of("1", 1000), 1000).await.unwrap(), "it was hers");
    assert_eq!(told(Some("SHA256:b")), []);
}

#[tokio::test]
async fn a_stranger_with_two_keys_cannot_keep_either_from_her() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    for key in ["SHA256:hers", "SHA256:his-1", "SHA256:his-2"] {
        let binding = Binding { fingerprint: key.into(), ..binding_of("1", 1000) };
        bind(&bindings, binding, 1000).await.unwrap();
    }
    let told = |with: Option<&str>| {
        let news = bindings.news_for("https://id.example", "1", with, 1000).unwrap();
        news.into_iter().map(|key| key.fingerprint).collect::<Vec<_>>()
    };
    for with in [Some("SHA256:his-1"), Some("SHA256:his-2"), Some("SHA256:his-3"), None] {
        told(with);
    }
    assert_eq!(told(Some("SHA256:hers")), ["SHA256:his-1", "SHA256:his-2"]);
    assert_eq!(told(Some("SHA256:hers")), [] as [&str; 0]);
}

#[tokio::test]
async fn a_damaged_binding_counts_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let bindings = Bindings::open(folder.path()).unwrap();
    bindings.tree.insert("SHA256:a", &b"{\"version\":1"[..]).unwrap();
    assert_eq!(bindings.find("SHA256:a", 0).unwrap(), None);
    let hostile = Binding { fingerprint: "SHA256:\x1b[2J".into(), ..binding_of("1", 1000) };
    bindings.tree.insert("SHA256:a", serde_json::to_vec(&hostile).unwrap()).unwrap();
    assert_eq!(bindings.all(1000).unwrap(), []);

    bind(&bindings, binding_of("1", 1000), 1000).await.unwrap();
    assert!(bindings.find("SHA256:a", 1000).unwrap().is_some());
}
