//! The demo's issuer, asked over its socket as a browser, a bastion and an intruder would.

use std::time::Duration;

use openidconnect::reqwest::{Client, RequestBuilder, Response, redirect::Policy};

use super::*;

struct Caller {
    client: Client,
    issuer: DemoIssuer,
}

impl Caller {
    async fn new() -> Caller {
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Caller { client, issuer: DemoIssuer::start().await.unwrap() }
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.issuer.issuer_url)).form(form)
    }

    async fn begin(&self) -> Value {
        let answer = self.post("/device_authorization", &[("client_id", CLIENT_ID)]).send().await.unwrap();
        read(answer).await
    }

    async fn poll(&self, begun: &Value) -> Value {
        let code = begun["device_code"].as_str().unwrap();
        let form = [("client_id", CLIENT_ID), ("grant_type", DEVICE_GRANT), ("device_code", code)];
        read(self.post("/token", &form).send().await.unwrap()).await
    }

    fn ruling(&self, begun: &Value, word: &str, answer: &str) -> RequestBuilder {
        let code = begun["user_code"].as_str().unwrap();
        self.post("/device", &[("user_code", code), ("person", "bea"), ("word", word), ("answer", answer)])
    }

    async fn rule(&self, begun: &Value, word: &str, answer: &str) -> Response {
        self.ruling(begun, word, answer).send().await.unwrap()
    }
}

async fn read(answer: Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_confirmed_code_is_worth_one_id_token_and_a_word_one_confirmation() {
    let caller = Caller::new().await;
    let word = caller.issuer.word();
    let begun = caller.begin().await;

    let page = caller.client.get(begun["verification_uri_complete"].as_str().unwrap()).send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(page.contains(begun["user_code"].as_str().unwrap()) && page.contains("For development only"));
    assert!(!page.contains(&word));

    let done = caller.rule(&begun, &format!(" {} ", word.to_uppercase()), "confirm").await;
    assert_eq!(done.status(), 200);
    assert!(done.text().await.unwrap().contains("Signed in as bea"));
    assert_ne!(caller.issuer.word(), word);
    assert!(caller.poll(&begun).await["id_token"].is_string());
    assert_eq!(caller.poll(&begun).await["error"], "invalid_grant");

    let next = caller.begin().await;
    assert_eq!(caller.rule(&next, &word, "confirm").await.status(), 403);
}

#[tokio::test]
async fn a_code_that_nobody_ruled_on_is_pending_and_polls_that_come_too_soon_are_slowed() {
    let caller = Caller::new().await;
    let begun = caller.begin().await;
    assert_eq!(caller.poll(&begun).await["error"], "authorization_pending");
    assert_eq!(caller.poll(&begun).await["error"], "slow_down");
}

#[tokio::test]
async fn a_denied_code_is_denied() {
    let caller = Caller::new().await;
    let begun = caller.begin().await;
    assert_eq!(caller.rule(&begun, &caller.issuer.word(), "deny").await.status(), 200);
    assert_eq!(caller.poll(&begun).await["error"], "access_denied");
}

#[tokio::test]
async fn wrong_words_confirm_nothing_and_the_fifth_replaces_the_word() {
    let caller = Caller::new().await;
    let mut words = caller.issuer.words();
    let word = words.borrow_and_update().clone();
    let begun = caller.begin().await;

    for guess in ["", "aaaaaaaa", "\0", "none"] {
        assert_eq!(caller.rule(&begun, guess, "confirm").await.status(), 403);
    }
    assert!(!words.has_changed().unwrap());
    assert_eq!(caller.rule(&begun, "last", "confirm").await.status(), 403);
    assert_ne!(*words.borrow_and_update(), word);
    assert_eq!(caller.rule(&begun, &word, "confirm").await.status(), 403);
    assert_eq!(caller.poll(&begun).await["error"], "authorization_pending");

    let wrong_client = [("client_id", "other")];
    let refused = caller.post("/device_authorization", &wrong_client).send().await.unwrap();
    assert_eq!(refused.status(), 400);
}

#[tokio::test]
async fn another_host_or_origin_is_turned_away() {
    let caller = Caller::new().await;
    let begun = caller.begin().await;
    let word = caller.issuer.word();
    let port = caller.issuer.issuer_url.rsplit(':').next().unwrap().to_owned();

    let evil = format!("evil.example:{port}");
    let hosts = [evil.as_str(), "evil.example", "localhost:1", "127.0.0.1", "10.0.0.1:80", ""];
    for host in hosts {
        let answer = caller.ruling(&begun, &word, "confirm").header("host", host).send().await;
        assert!(answer.is_err() || answer.is_ok_and(|a| a.status() == 421), "{host}");
    }
    for origin in ["null", "http://evil.example", &format!("http://{evil}"), "http://127.0.0.1:1"] {
        let answer = caller.ruling(&begun, &word, "confirm").header("origin", origin).send().await.unwrap();
        assert_eq!(answer.status(), 421, "{origin}");
    }
    let across = caller.ruling(&begun, &word, "confirm").header("sec-fetch-site", "cross-site").send().await;
    assert_eq!(across.unwrap().status(), 421);
    assert_eq!(caller.poll(&begun).await["error"], "authorization_pending");

    let own = caller.ruling(&begun, &word, "confirm").header("host", format!("localhost:{port}"));
    let own = own.header("origin", format!("http://localhost:{port}")).send().await.unwrap();
    assert_eq!(own.status(), 200);
}

#[tokio::test]
async fn a_code_in_the_address_reaches_the_page_as_letters_only() {
    let caller = Caller::new().await;
    let address = format!("{}/device?user_code=%22%3E%3Cscript%3Ealert(1)", caller.issuer.issuer_url);
    let page = caller.client.get(address).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("script") && page.contains("value=\"SCRI-PTAL\""), "{page}");
}

#[tokio::test]
async fn no_address_but_loopback_is_listened_on() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = DemoIssuer::start_on(address.parse().unwrap()).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{address}");
    }
}

#[tokio::test]
async fn a_dropped_issuer_listens_no_longer() {
    let caller = Caller::new().await;
    let Caller { client, issuer } = caller;
    let keys = format!("{}/keys", issuer.issuer_url);
    assert_eq!(client.get(&keys).send().await.unwrap().status(), 200);
    drop((client, issuer));

    let later = Client::builder().no_proxy().build().unwrap();
    let gone = async { while later.get(&keys).send().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[test]
fn codes_run_out_and_slowing_down_adds_five_seconds() {
    let mut codes = Codes::new().unwrap();
    let start = Instant::now();
    let begun = codes.begin(start).unwrap();
    let at = |seconds: u64| start + Duration::from_secs(seconds);

    assert_eq!(codes.poll(&begun.device_code, at(1)), Poll::Pending);
    assert_eq!(codes.poll(&begun.device_code, at(1)), Poll::TooSoon);
    assert_eq!(codes.poll(&begun.device_code, at(5)), Poll::TooSoon);
    assert_eq!(codes.poll(&begun.device_code, at(16)), Poll::Pending);

    let word = codes.word().to_owned();
    assert_eq!(codes.rule("BCDF-GHJK", &word, None, at(20)), Verdict::NoSuchCode);
    assert_eq!(codes.rule(&begun.user_code, &word, None, at(300)), Verdict::NoSuchCode);
    assert_eq!(codes.poll(&begun.device_code, at(300)), Poll::Expired);
    assert_eq!(codes.poll("guessed", at(1)), Poll::Unknown);
}

#[test]
fn codes_that_may_pend_at_once_are_bounded() {
    let mut codes = Codes::new().unwrap();
    let start = Instant::now();
    let given = (0..100).filter(|_| codes.begin(start).is_ok()).count();
    assert_eq!(given, 64);
    assert!(codes.begin(start + 2 * codes::VALID).is_ok());
}
