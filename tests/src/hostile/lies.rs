//! What the provider says, with the lie of its fault in it.

use serde_json::{Value, json};

use super::{Code, Fault, How, Place, State, TAINT, keys::Keys, refusal, wire::Answer};

/// Puts the word into the clipboard of a terminal that believes it.
const CLIPBOARD: &str = "\u{1b}]52;c;tainted\u{7}";

impl State {
    pub(super) fn discovery(&self) -> Value {
        let here = &self.issuer;
        let mut document = json!({
            "issuer": here, "authorization_endpoint": format!("{here}/authorize"),
            "device_authorization_endpoint": format!("{here}/device"), "token_endpoint": format!("{here}/token"),
            "jwks_uri": format!("{here}/keys"), "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
        });
        let elsewhere = json!(format!("http://{TAINT}.example/"));
        match self.fault {
            Fault::DiscoveryOfAnother => document["issuer"] = elsewhere,
            Fault::DiscoveryWithSlash => document["issuer"] = json!(format!("{here}/")),
            Fault::DeviceEndpointUnsafe => document["device_authorization_endpoint"] = elsewhere,
            Fault::TokenEndpointUnsafe => document["token_endpoint"] = elsewhere,
            Fault::KeysAddressUnsafe => document["jwks_uri"] = elsewhere,
            Fault::DeviceEndpointMissing => document["device_authorization_endpoint"] = Value::Null,
            Fault::TokenEndpointMissing => document["token_endpoint"] = Value::Null,
            _ => {}
        }
        document
    }

    pub(super) fn key_set(&self) -> Value {
        let mut keys = self.keys.public();
        match self.fault {
            Fault::KeysNone => keys.clear(),
            Fault::KeyTwice => {
                let mut twin = Keys::new().public_for("EdDSA");
                twin["kid"] = json!(self.keys.kid("EdDSA"));
                keys.push(twin);
            }
            _ => {}
        }
        json!({ "keys": keys })
    }

    pub(super) fn invitation(&self, code: &Code) -> Answer {
        let page = format!("{}/confirm", self.issuer);
        let mut answer = json!({
            "device_code": code.device, "user_code": code.user, "verification_uri": page,
            "verification_uri_complete": format!("{page}?user_code={}", code.user), "interval": 1, "expires_in": 300,
        });
        let mut say = |field: &str, value: Value| answer[field] = value;
        match self.fault {
            // Once an answer may take 10 s before it counts as none.
            Fault::At(Place::Token, How::Trickle | How::Silence) => say("expires_in", json!(13)),
            Fault::At(Place::Token, _) => say("expires_in", json!(4)),
            Fault::SlowDown => say("expires_in", json!(4)),
            Fault::NeverConfirmed => {
                say("expires_in", json!(4));
                say("interval", json!(0));
            }
            Fault::DeviceRefused => {
                let said =
                    json!({ "error": "invalid_client", "error_description": format!("{TAINT}\u{1b}[2J") });
                return Answer::Json(401, said);
            }
            Fault::DeviceRefusedOddly => return refusal(&format!("{TAINT}\u{1b}[2J")),
            Fault::IntervalZero => say("interval", json!(0)),
            Fault::IntervalNegative => say("interval", json!(-5)),
            Fault::IntervalHuge => say("interval", json!(1_000_000_000)),
            Fault::ValidZero => say("expires_in", json!(0)),
            Fault::ValidNegative => say("expires_in", json!(-1)),
            Fault::ValidHuge => say("expires_in", json!(u64::MAX)),
            Fault::CodeEscape => say("user_code", json!(format!("{TAINT}\u{1b}[2J"))),
            Fault::CodeClipboard => say("user_code", json!(CLIPBOARD)),
            Fault::CodeNewline => say("user_code", json!(format!("{TAINT}\n{TAINT}"))),
            Fault::CodeEmpty => say("user_code", json!("")),
            Fault::CodeLong => say("user_code", json!(TAINT.repeat(1500))),
            Fault::AddressEscape => {
                say("verification_uri", json!(format!("https://{TAINT}.example/\u{1b}[2J")))
            }
            Fault::AddressClipboard => {
                say("verification_uri", json!(format!("https://{TAINT}.example/{CLIPBOARD}")))
            }
            Fault::AddressNewline => {
                say("verification_uri", json!(format!("https://{TAINT}.example/\n{TAINT}")))
            }
            Fault::AddressFile => say("verification_uri", json!(format!("file:///{TAINT}"))),
            Fault::AddressScript => say("verification_uri", json!(format!("javascript:{TAINT}()"))),
            Fault::AddressUnsafe => say("verification_uri", json!(format!("http://{TAINT}.example/"))),
            Fault::AddressWithUser => {
                say("verification_uri", json!(format!("https://id.example@{TAINT}.example/")))
            }
            Fault::AddressLong => {
                say("verification_uri", json!(format!("https://id.example/{}", TAINT.repeat(1500))));
            }
            Fault::CompleteClipboard => {
                say("verification_uri_complete", json!(format!("https://{TAINT}.example/{CLIPBOARD}")));
            }
            Fault::CompleteScript => say("verification_uri_complete", json!(format!("javascript:{TAINT}()"))),
            _ => {}
        }
        Answer::Json(200, answer)
    }

    pub(super) fn refused_poll(&self) -> Option<Answer> {
        match self.fault {
            Fault::SlowDown => Some(refusal("slow_down")),
            Fault::NeverConfirmed => Some(refusal("authorization_pending")),
            Fault::PollRefused => Some(refusal("invalid_grant")),
            Fault::PollRefusedAtLength => Some(refusal(&TAINT.repeat(100))),
            Fault::PollBroken => {
                Some(Answer::Raw(format!("{{\"{}\": {{\"{TAINT}\": nothing}}}}", TAINT.repeat(1500))))
            }
            _ => None,
        }
    }

    pub(super) fn tokens(&mut self, claims: &Value) -> Value {
        let (access, id) = (self.secret("access"), self.id_token(claims));
        self.secrets.push(id.clone());
        let mut tokens =
            json!({ "access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id });
        match (self.fault, tokens.as_object_mut()) {
            (Fault::IdTokenMissing, Some(fields)) => drop(fields.remove("id_token")),
            (Fault::IdTokenGarbled, Some(fields)) => drop(fields.insert("id_token".into(), json!(TAINT))),
            _ => {}
        }
        tokens
    }

    /// The ID token: whose key, whose header, whose claims, as the fault wants it.
    pub(super) fn id_token(&self, person: &Value) -> String {
        let claims = self.claims_for(person);
        let alg = match self.fault {
            Fault::SignsWithEcdsa | Fault::EcdsaUnderRsa => "ES256",
            Fault::SignsWithEdDsa | Fault::KeyTwice => "EdDSA",
            Fault::AlgNone => "none",
            Fault::HmacWithPublicKey => "HS256",
            _ => "RS256",
        };
        let mut header = json!({ "alg": alg, "kid": self.keys.kid(alg), "typ": "JWT" });
        let elsewhere = json!(format!("{}/elsewhere", self.issuer));
        match self.fault {
            Fault::HmacWithPublicKey => header["kid"] = json!(self.keys.kid("RS256")),
            Fault::AlgUnheardOf => header["alg"] = json!(TAINT),
            Fault::CriticalHeader => header["crit"] = json!([TAINT]),
            Fault::EcdsaUnderRsa => header["alg"] = json!("RS256"),
            Fault::KeyUnknown => header["kid"] = json!(TAINT),
            Fault::AccessToken => header["typ"] = json!("at+jwt"),
            Fault::KeyInHeader | Fault::KeyAddressInHeader | Fault::CertificateAddressInHeader => {
                let own = Keys::new();
                match self.fault {
                    Fault::KeyInHeader => header["jwk"] = own.public_for(alg),
                    Fault::KeyAddressInHeader => header["jku"] = elsewhere,
                    _ => header["x5u"] = elsewhere,
                }
                return own.sign(alg, &header, &claims);
            }
            _ => {}
        }
        let token = self.keys.sign(alg, &header, &claims);
        let (signed, signature) = token.rsplit_once('.').unwrap_or((&token, ""));
        match self.fault {
            Fault::SignatureStripped => format!("{signed}."),
            Fault::SignatureOfAnother => {
                let forged = self.keys.sign(alg, &header, &claims.replace("alice", "root"));
                format!("{}.{signature}", forged.rsplit_once('.').unwrap_or((&forged, "")).0)
            }
            _ => token,
        }
    }

    fn claims_for(&self, person: &Value) -> String {
        let mut claims =
            json!({ "iss": self.issuer, "aud": "bastion", "iat": self.now, "exp": self.now + 300 });
        for (claim, value) in person.as_object().into_iter().flatten() {
            claims[claim] = value.clone();
        }
        if let Some((claim, value)) = self.lie() {
            match (value, claims.as_object_mut()) {
                (Value::Null, Some(fields)) => drop(fields.remove(claim)),
                (value, _) => claims[claim] = value,
            }
        }
        match self.fault {
            Fault::SubjectTwice => claims.to_string().replacen('{', &format!("{{\"sub\":\"{TAINT}\","), 1),
            _ => claims.to_string(),
        }
    }

    /// The one claim that is a lie; null is none at all.
    fn lie(&self) -> Option<(&'static str, Value)> {
        let name = |name: String| Some(("preferred_username", json!(name)));
        match self.fault {
            Fault::AudienceListOfOne => Some(("aud", json!(["bastion"]))),
            Fault::IssuerWrong => Some(("iss", json!(format!("https://{TAINT}.example")))),
            Fault::AudienceWrong => Some(("aud", json!(TAINT))),
            Fault::AudienceListWithoutAzp => Some(("aud", json!(["bastion", TAINT]))),
            Fault::AzpWrong => Some(("azp", json!(TAINT))),
            Fault::Expired => Some(("exp", json!(self.now - 3600))),
            Fault::ExpiryMissing => Some(("exp", Value::Null)),
            Fault::NotYetValid => Some(("nbf", json!(self.now + 3600))),
            Fault::IssuedTomorrow => Some(("iat", json!(self.now + 24 * 3600))),
            Fault::SubjectMissing => Some(("sub", Value::Null)),
            Fault::SubjectEmpty => Some(("sub", json!(""))),
            Fault::SubjectLong => Some(("sub", json!("7".repeat(300)))),
            Fault::SubjectWithControls => Some(("sub", json!(format!("{TAINT}{CLIPBOARD}")))),
            Fault::NonceUnasked => Some(("nonce", json!(TAINT))),
            Fault::NameMissing => Some(("preferred_username", Value::Null)),
            Fault::NameNumber => Some(("preferred_username", json!(7))),
            Fault::NameRoot => name("root".into()),
            Fault::NameOfAnother => name("bea".into()),
            Fault::NameWithPercent => name(format!("alice%{TAINT}")),
            Fault::NameWithSlash => name(format!("alice/{TAINT}")),
            Fault::NameWithColon => name(format!(":{TAINT}")),
            Fault::NameWithControls => name(format!("{TAINT}{CLIPBOARD}")),
            Fault::NameOfTwoScripts => name("\u{430}lice".into()),
            Fault::NameLong => name(TAINT.repeat(20)),
            Fault::NameCapital => name("Alice".into()),
            Fault::EmailUnverified => Some(("email_verified", json!(false))),
            Fault::EmailWithControls => Some(("email", json!(format!("{TAINT}{CLIPBOARD}")))),
            Fault::GroupsNumber => Some(("groups", json!(7))),
            Fault::GroupsNested => Some(("groups", json!([["sre"]]))),
            Fault::GroupsMany => Some(("groups", (0..600).map(|n| format!("{TAINT}{n}")).collect())),
            Fault::GroupsWithControls => Some(("groups", json!([format!("{TAINT}{CLIPBOARD}")]))),
            Fault::ClaimsHuge => Some(("junk", json!(TAINT.repeat(10_000)))),
            _ => None,
        }
    }
}
