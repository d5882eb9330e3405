//! What an ID token must be to be believed: one good token, and each thing that can be wrong with one.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey,
    core::{CoreEdDsaPrivateSigningKey, CoreJwsSigningAlgorithm},
};
use serde_json::json;

use super::{super::tests::with_provider::Captured, *};

const ISSUER: &str = "https://id.example";
const NOW: i64 = 1_800_000_000;
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";

fn key(kid: &str) -> CoreEdDsaPrivateSigningKey {
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(KEY, Some(JsonWebKeyId::new(kid.to_owned()))).unwrap()
}

fn provider() -> Provider {
    let clock = Clock::pretended(|| UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs()));
    Provider::new(Settings::new(ISSUER.into(), "bastion".into()).main(), None, true, clock).unwrap()
}

fn known() -> Known {
    let keys = JsonWebKeySet::new(vec![key("a").as_verification_key()]);
    let issuer = IssuerUrl::new(ISSUER.into()).unwrap();
    let device = DeviceAuthorizationUrl::new(format!("{ISSUER}/device")).unwrap();
    let token = openidconnect::TokenUrl::new(format!("{ISSUER}/token")).unwrap();
    let client = Client::new(ClientId::new("bastion".into()), issuer, keys.clone());
    Known {
        client: client.set_device_authorization_url(device).set_token_uri(token),
        scopes: Vec::new(),
        keys,
        fetched_at: NOW,
    }
}

fn good_claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "bastion", "sub": "7", "iat": NOW, "exp": NOW + 300,
        "preferred_username": "alice", "groups": ["sre", "dev"], "email": "a@example.org", "email_verified": true,
    })
}

fn with(changes: Value) -> Value {
    let mut claims = good_claims();
    for (claim, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
            value => claims[claim] = value.clone(),
        }
    }
    claims
}

fn signed(header: Value, claims: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    let signature = key("a").sign(&CoreJwsSigningAlgorithm::EdDsa, text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn good_header() -> Value {
    json!({ "alg": "EdDSA", "kid": "a", "typ": "JWT" })
}

/// Who is believed to sign in with this ID token, or why nobody; a token that cannot even be read is "unreadable".
fn proven(id_token: &str) -> Result<Identity, String> {
    let answer = json!({ "access_token": "x", "token_type": "Bearer", "id_token": id_token });
    let tokens: Tokens = serde_json::from_value(answer).map_err(|_| "unreadable".to_owned())?;
    let claims = provider().claims(&known(), &tokens).map_err(|fault| fault.into_fault().to_string())?;
    provider().identity(&claims).map_err(|fault| fault.to_string())
}

fn claimed(claims: &Value) -> Result<Identity, String> {
    proven(&signed(good_header(), &claims.to_string()))
}

#[test]
fn a_good_token_tells_who_signs_in() {
    let identity = claimed(&good_claims()).unwrap();
    assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), (ISSUER, "7"));
    assert_eq!(identity.name.as_str(), "alice");
    assert_eq!(identity.email.as_deref(), Some("a@example.org"));
    assert_eq!(identity.groups, ["dev", "sre"].map(str::to_owned).into());

    let one_group = claimed(&with(json!({ "groups": "sre", "azp": "bastion", "nbf": NOW }))).unwrap();
    assert_eq!(one_group.groups, ["sre".to_owned()].into());
    assert_eq!(claimed(&with(json!({ "groups": null }))).unwrap().groups, BTreeSet::new());
    assert_eq!((identity.amr, identity.acr), (BTreeSet::new(), None));
    for unverified in [json!({ "email_verified": null }), json!({ "email_verified": false })] {
        assert_eq!(claimed(&with(unverified)).unwrap().email, None);
    }
}

#[test]
fn a_token_tells_how_she_signed_in() {
    let strong = claimed(&with(json!({ "amr": ["pwd", "mfa"], "acr": "urn:example:strong" }))).unwrap();
    assert_eq!(strong.amr, ["mfa", "pwd"].map(str::to_owned).into());
    assert_eq!(strong.acr.as_deref(), Some("urn:example:strong"));
}

#[test]
fn a_claim_that_is_not_as_it_must_be_lets_nobody_in() {
    let many: Vec<String> = (0..501).map(|n| n.to_string()).collect();
    let refused = [
        json!({ "iss": "https://other.example" }),
        json!({ "iss": null }),
        json!({ "aud": "other" }),
        json!({ "aud": ["bastion", "other"] }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "azp": "other" }),
        json!({ "exp": NOW }),
        json!({ "exp": null }),
        json!({ "exp": "tomorrow" }),
        json!({ "iat": "today" }),
        json!({ "aud": { "bastion": true } }),
        json!({ "azp": ["bastion", "other"] }),
        json!({ "iss": [ISSUER] }),
        json!({ "iat": NOW + 3600 }),
        json!({ "iat": null }),
        json!({ "nbf": NOW + 3600 }),
        json!({ "nbf": "tomorrow" }),
        json!({ "nonce": "unasked" }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "7\u{1b}[2J" }),
        json!({ "sub": "7".repeat(256) }),
        json!({ "preferred_username": null }),
        json!({ "preferred_username": "alice%web1" }),
        json!({ "preferred_username": ":help" }),
        json!({ "preferred_username": "аlice" }),
        json!({ "groups": 7 }),
        json!({ "groups": ["sre", 7] }),
        json!({ "groups": ["sre\n"] }),
        json!({ "groups": many }),
        json!({ "amr": 7 }),
        json!({ "amr": "mfa pwd\u{7}" }),
        json!({ "amr": ["mfa", 7] }),
        json!({ "amr": [""] }),
        json!({ "amr": ["m".repeat(257)] }),
        json!({ "amr": many[..33] }),
        json!({ "acr": 2 }),
        json!({ "acr": "" }),
        json!({ "acr": ["strong"] }),
        json!({ "acr": "a".repeat(257) }),
        json!({ "junk": "x".repeat(64 * 1024) }),
    ];
    for change in refused {
        let change_text: String = change.to_string().chars().take(80).collect();
        assert!(claimed(&with(change)).is_err(), "{change_text} is believed");
    }
}

/// openidconnect, left to itself, reads none of these tokens.
#[test]
fn a_claim_that_nobody_needs_may_be_of_any_kind() {
    let strange = [
        json!({ "website": ["https://a.example", "https://b.example"] }),
        json!({ "address": "Main Street 1" }),
        json!({ "updated_at": "yesterday" }),
        json!({ "locale": 5 }),
        json!({ "phone_number_verified": "yes" }),
        json!({ "picture": ["x"] }),
        json!({ "nickname": 7 }),
        json!({ "birthdate": 19700101 }),
        json!({ "zoneinfo": ["Europe/Berlin"] }),
        json!({ "auth_time": "x" }),
        json!({ "email_verified": "true" }),
        json!({ "email": 7 }),
    ];
    for change in strange {
        let identity = claimed(&with(change.clone())).unwrap_or_else(|why| panic!("{change}: {why}"));
        assert_eq!((identity.name.as_str(), identity.groups.len()), ("alice", 2), "{change}");
        assert!(identity.email.is_none() || !change.to_string().contains("email"), "{change} confirms it");
    }
}

#[test]
fn a_header_that_names_another_way_to_check_lets_nobody_in() {
    let claims = good_claims().to_string();
    let refused = [
        json!({ "alg": "none" }),
        json!({ "alg": "HS256", "kid": "a" }),
        json!({ "alg": "RS256", "kid": "a" }),
        json!({ "alg": "ES256", "kid": "a" }),
        json!({ "alg": "EdDSA", "kid": "a", "crit": ["exp"] }),
        json!({ "alg": "EdDSA", "kid": "b" }),
        json!({ "alg": "EdDSA", "kid": "a", "typ": "at+jwt" }),
        json!({ "alg": "EdDSA", "kid": "a", "cty": "JWT" }),
        json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "kid": "a" }),
        json!({ "alg": ["EdDSA"], "kid": "a" }),
        json!({ "kid": "a" }),
    ];
    for header in refused {
        assert!(proven(&signed(header.clone(), &claims)).is_err(), "{header} is believed");
    }
}

#[test]
fn a_signature_that_is_missing_or_over_something_else_lets_nobody_in() {
    let good = signed(good_header(), &good_claims().to_string());
    let (text, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = text.split_once('.').unwrap();
    let forged = URL_SAFE_NO_PAD.encode(with(json!({ "preferred_username": "root" })).to_string());
    for token in
        [format!("{text}."), text.to_owned(), format!("{header}.{forged}.{signature}"), String::new()]
    {
        assert!(proven(&token).is_err(), "{token} is believed");
    }
    for more in [".", ".x", "=", " ", "\n"] {
        assert!(proven(&format!("{good}{more}")).is_err(), "{more:?} behind it is passed over");
    }
    let twice = good_claims().to_string().replacen('{', r#"{"sub":"1","#, 1);
    assert!(proven(&signed(good_header(), &twice)).is_err(), "two subjects are believed");
}

#[test]
fn an_issuer_without_https_is_refused_unless_it_is_this_machine() {
    let made = |issuer: &str| {
        Provider::new(Settings::new(issuer.into(), "bastion".into()).main(), None, true, Clock::system())
    };
    for issuer in
        ["http://id.example", "http://10.0.0.1", "ftp://id.example", "http://localhost.evil.example"]
    {
        assert!(made(issuer).is_err(), "{issuer}");
    }
    for issuer in ["https://id.example", "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost"] {
        assert!(made(issuer).is_ok(), "{issuer}");
    }
}

#[test]
fn no_group_of_the_main_provider_is_called_like_one_of_another() {
    let more = settings_of(
        "[login]\nissuer = 'https://id.example'\nclient_id = 'bastion'\n\
                            [login.more.partner]\nissuer = 'https://p.example'\nclient_id = 'b'\nusers = ['ext-*']\n",
    );
    let main = provider().without_groups_of(&more);
    let claims = with(json!({ "groups": ["sre", "partner:sre", "partners:sre"] }));
    let Value::Object(claims) = claims else { panic!("an object") };
    let captured = Captured::default();
    let writer = captured.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let groups = tracing::subscriber::with_default(log, || main.identity(&claims).unwrap().groups);
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("subject=\"7\" name=alice"), "{log}");
    assert_eq!(groups, ["partners:sre", "sre"].map(str::to_owned).into());
}

fn settings_of(text: &str) -> std::collections::BTreeMap<Name, Issuer> {
    #[derive(serde::Deserialize)]
    struct File {
        login: Settings,
    }
    toml::from_str::<File>(text).unwrap().login.more
}
