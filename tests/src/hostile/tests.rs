//! The provider's own tests: that its switches for refresh tokens do what they say. Nothing else asks it over raw HTTP.

use std::io::{Read, Write};

use super::*;

/// Posts a form; gives back the status and the JSON.
fn post(provider: &Hostile, path: &str, form: &str) -> (u16, Value) {
    let mut line = TcpStream::connect(provider.0.address).unwrap();
    write!(line, "POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{form}", form.len()).unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// Signs in; gives back the refresh token.
fn signed_in(provider: &Hostile) -> String {
    let (_, code) = post(provider, "/device", "client_id=bastion");
    let device = code["device_code"].as_str().unwrap();
    let (_, tokens) = post(provider, "/token", &format!("grant_type=device&device_code={device}"));
    tokens["refresh_token"].as_str().unwrap().to_owned()
}

fn refresh(provider: &Hostile, token: &str) -> (u16, Value) {
    post(provider, "/token", &format!("grant_type=refresh_token&refresh_token={token}"))
}

/// The claims of an ID token, unchecked.
fn claims_in(tokens: &Value) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn a_refresh_token_is_answered_as_its_switch_says() {
    let provider = Hostile::start(Fault::Nothing, 1_800_000_000);
    let token = signed_in(&provider);
    let answer = |how| {
        provider.refreshes(how);
        refresh(&provider, &token)
    };

    let (status, tokens) = answer(Refresh::Good);
    assert_eq!((status, &claims_in(&tokens)["sub"]), (200, &json!(ALICE.sub)));
    assert!(tokens["refresh_token"].is_null());
    assert!(answer(Refresh::WithoutIdToken).1["id_token"].is_null());
    assert_eq!(claims_in(&answer(Refresh::OtherSubject).1)["sub"], TAINT);
    assert_eq!(claims_in(&answer(Refresh::NoGroups).1)["groups"], json!([]));
    assert_eq!(answer(Refresh::Troubled).0, 503);
    assert_eq!(answer(Refresh::Refused).1["error"], "invalid_grant");
    assert_eq!(provider.refreshed_with(), vec![token.clone(); 6]);
    assert_eq!(refresh(&provider, "nobodys").1["error"], "invalid_grant");
}

#[test]
fn a_refresh_token_that_is_rotated_is_good_no_more() {
    let provider = Hostile::start(Fault::Nothing, 1_800_000_000);
    let token = signed_in(&provider);
    provider.refreshes(Refresh::Rotated);
    let (_, tokens) = refresh(&provider, &token);

    assert_eq!(refresh(&provider, &token).1["error"], "invalid_grant");
    let new = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(refresh(&provider, new).0, 200);
}
