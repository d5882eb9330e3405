//! The ID token: that the provider has signed it, for this client, and that it is good now.
//!
//! Read here and not by openidconnect, which knows the type of some twenty claims and refuses the whole token for a
//! `website` that is a list: then nobody could ask any more whether its owner is still who she was. Which keys there are
//! and whether a signature holds is still openidconnect's to say.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use openidconnect::{
    AccessToken, EmptyAdditionalClaims, ExtraTokenFields, JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyId,
    JsonWebKeySet, JsonWebKeyUse, JwsSigningAlgorithm, OAuth2TokenResponse, RefreshToken, Scope,
    SignatureVerificationError, StandardTokenResponse, TokenResponse,
    core::{
        CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
        CoreTokenType,
    },
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::settings::Algorithm;

use super::{CLOCK_SKEW_SECONDS, fault::ClaimsFault, set_up::as_jws};

/// What the token endpoint answers with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::login) struct Tokens(StandardTokenResponse<Beside, CoreTokenType>);

/// What OpenID Connect adds to OAuth's answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Beside {
    id_token: Option<IdToken>,
}
impl ExtraTokenFields for Beside {}

/// An ID token, of which nothing is believed yet. Never shown.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct IdToken(String);

/// What a token must be to be believed.
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub algorithms: &'a [Algorithm],
    pub keys: &'a JsonWebKeySet<CoreJsonWebKey>,
    /// Seconds since 1970 (UTC).
    pub now: i64,
}

/// RFC 7515, section 4.1. What names a key by other ways (`jwk`, `jku`, `x5u`) is not looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<JsonWebKeyId>,
    typ: Option<String>,
    cty: Option<Value>,
    crit: Option<Value>,
}

/// All claims, each of them once.
struct Claims(Map<String, Value>);

impl Tokens {
    /// The ID token among them, if there is one.
    pub(super) fn signed(&self) -> Option<&IdToken> {
        self.0.extra_fields().id_token.as_ref()
    }
}

impl OAuth2TokenResponse for Tokens {
    type TokenType = CoreTokenType;

    fn access_token(&self) -> &AccessToken {
        self.0.access_token()
    }

    fn token_type(&self) -> &CoreTokenType {
        self.0.token_type()
    }

    fn expires_in(&self) -> Option<std::time::Duration> {
        self.0.expires_in()
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.0.refresh_token()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.0.scopes()
    }
}

type AsTheLibraryReadsIt = openidconnect::IdToken<
    EmptyAdditionalClaims,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

impl
    TokenResponse<
        EmptyAdditionalClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    > for Tokens
{
    /// None that the library has read: see [`Tokens::signed`].
    fn id_token(&self) -> Option<&AsTheLibraryReadsIt> {
        None
    }
}

impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdToken(..)")
    }
}

impl IdToken {
    /// What it claims, if all of that is so: signed by a key of the provider's with an algorithm of the settings, made by
    /// this issuer for this client alone, and good now (OpenID Connect Core, section 3.1.3.7).
    pub(super) fn claims(&self, expected: &Expected<'_>) -> Result<Map<String, Value>, ClaimsFault> {
        let unreadable = || wrong("it is no signed token that can be read");
        let (signed, signature) = self.0.rsplit_once('.').ok_or_else(unreadable)?;
        let (header, claims) = signed.split_once('.').ok_or_else(unreadable)?;
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| unreadable());
        let parsed: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| unreadable())?;
        let algorithm = algorithm_of(&parsed, expected.algorithms)?;
        let key = key_of(parsed.kid.as_ref(), &algorithm, expected.keys)?;
        key.verify_signature(&algorithm, signed.as_bytes(), &decoded(signature)?).map_err(
            |fault| match fault {
                SignatureVerificationError::InvalidKey(_) => {
                    wrong("one of the provider's keys cannot be used")
                }
                _ => wrong("its signature is wrong"),
            },
        )?;
        let Claims(claims) = serde_json::from_slice(&decoded(claims)?)
            .map_err(|_| wrong("its claims are no object that has each of them once"))?;
        expected.check(&claims)?;
        Ok(claims)
    }
}

impl Expected<'_> {
    fn check(&self, claims: &Map<String, Value>) -> Result<(), ClaimsFault> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer) {
            return Err(wrong("made by another issuer"));
        }
        // Another audience could show it here as its own people's.
        let is_us = |one: &Value| one.as_str() == Some(self.client_id);
        let for_us = match claims.get("aud") {
            Some(Value::Array(several)) => !several.is_empty() && several.iter().all(is_us),
            one => one.is_some_and(is_us),
        };
        if !for_us {
            return Err(wrong("meant for another audience"));
        }
        let now = self.now as f64;
        let seconds = |claim: &str| claims.get(claim).and_then(Value::as_f64);
        if seconds("exp").is_none_or(|exp| exp <= now) {
            return Err(wrong("it has expired (exp), or does not say when it does"));
        }
        // A device sign-in sends no nonce, so none may come back.
        if claims.get("nonce").is_some_and(|nonce| !nonce.is_null()) {
            return Err(wrong("it has a nonce that was not asked for"));
        }
        let is_past = |seconds: f64| seconds <= now + CLOCK_SKEW_SECONDS as f64;
        if !seconds("iat").is_some_and(is_past) {
            return Err(wrong("issued in the future (iat), or does not say when"));
        }
        if claims.get("azp").is_some_and(|azp| !azp.is_null() && !is_us(azp)) {
            return Err(wrong("azp names another client"));
        }
        match claims.contains_key("nbf") && !seconds("nbf").is_some_and(is_past) {
            true => Err(wrong("not valid yet (nbf)")),
            false => Ok(()),
        }
    }
}

/// The algorithm of the header, if it is one of the settings': the token's own word decides nothing.
fn algorithm_of(header: &Header, allowed: &[Algorithm]) -> Result<CoreJwsSigningAlgorithm, ClaimsFault> {
    let is_jwt = |typ: &String| {
        let typ = typ.to_ascii_lowercase();
        ["jwt", "jose"].contains(&typ.strip_prefix("application/").unwrap_or(&typ))
    };
    if header.cty.is_some() || header.crit.is_some() || !header.typ.as_ref().is_none_or(is_jwt) {
        return Err(wrong("its header asks for what is not done here (typ, cty or crit)"));
    }
    if header.alg == "none" {
        return Err(wrong("it is not signed"));
    }
    let named = |algorithm: &&CoreJwsSigningAlgorithm| {
        serde_json::to_value(algorithm).is_ok_and(|name| name == header.alg.as_str())
    };
    let allowed: Vec<_> = allowed.iter().map(as_jws).collect();
    allowed.iter().find(named).cloned().ok_or(wrong("its algorithm is not among login.algorithms"))
}

/// The one key of the provider's that this may be signed with.
fn key_of<'k>(
    id: Option<&JsonWebKeyId>,
    algorithm: &CoreJwsSigningAlgorithm,
    keys: &'k JsonWebKeySet<CoreJsonWebKey>,
) -> Result<&'k CoreJsonWebKey, ClaimsFault> {
    let may_sign = |key: &&CoreJsonWebKey| {
        let is_for = match key.signing_alg() {
            JsonWebKeyAlgorithm::Algorithm(only) => only == algorithm,
            JsonWebKeyAlgorithm::Unspecified => true,
            JsonWebKeyAlgorithm::Unsupported => false,
        };
        is_for
            && id.is_none_or(|id| key.key_id() == Some(id))
            && key.key_use().is_none_or(|usage| usage.allows_signature())
            && algorithm.key_type().as_ref() == Some(key.key_type())
    };
    let mut may = keys.keys().iter().filter(may_sign);
    match (may.next(), may.next()) {
        (None, _) => Err(ClaimsFault::UnknownKey),
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(wrong("more than one of the provider's keys has its key id")),
    }
}

fn wrong(what: &str) -> ClaimsFault {
    ClaimsFault::Wrong(what.to_owned())
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Claims, D::Error> {
        struct EachOnce;
        impl<'de> Visitor<'de> for EachOnce {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = pairs.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim stands there twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(EachOnce)
    }
}
