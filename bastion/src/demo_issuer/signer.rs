//! The key of the demo's issuer, made at its start and gone at its end, and the ID tokens signed with it.

use std::{
    io,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use openidconnect::{
    AdditionalClaims, Audience, EndUserEmail, EndUserUsername, IdToken, IdTokenClaims, IssuerUrl,
    JsonWebKeyId, PrivateSigningKey, StandardClaims, SubjectIdentifier,
    core::{
        CoreEdDsaPrivateSigningKey, CoreGenderClaim, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    },
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{CLIENT_ID, Person};

/// How long an ID token is good.
pub const VALID: Duration = Duration::from_secs(300);

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Groups {
    groups: Vec<String>,
}
impl AdditionalClaims for Groups {}

type SignedToken =
    IdToken<Groups, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// Signs what the issuer says.
pub struct Signer {
    issuer: IssuerUrl,
    key: CoreEdDsaPrivateSigningKey,
}

impl Signer {
    /// With a new key.
    pub fn new(issuer_url: &str) -> io::Result<Signer> {
        let mut der = Zeroizing::new(PKCS8_HEAD.to_vec());
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|e| io::Error::other(e.to_string()))?;
        der.extend_from_slice(seed.as_slice());
        let text = Zeroizing::new(STANDARD.encode(&*der));
        let pem =
            Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *text));
        let kid = JsonWebKeyId::new("demo".to_owned());
        Ok(Signer {
            issuer: IssuerUrl::new(issuer_url.to_owned()).map_err(io::Error::other)?,
            key: CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(kid)).map_err(io::Error::other)?,
        })
    }

    /// What a client checks the signatures with.
    pub fn public_keys(&self) -> CoreJsonWebKeySet {
        CoreJsonWebKeySet::new(vec![self.key.as_verification_key()])
    }

    /// Says that this is `person`, now.
    pub fn id_token(&self, person: &Person) -> io::Result<String> {
        let now = SystemTime::now();
        let standard = StandardClaims::new(SubjectIdentifier::new(person.subject.to_owned()))
            .set_preferred_username(Some(EndUserUsername::new(person.name.to_owned())))
            .set_email(Some(EndUserEmail::new(format!("{}@demo.invalid", person.name))))
            .set_email_verified(Some(true));
        let claims = IdTokenClaims::new(
            self.issuer.clone(),
            vec![Audience::new(CLIENT_ID.to_owned())],
            (now + VALID).into(),
            now.into(),
            standard,
            Groups { groups: vec![person.group.to_owned()] },
        );
        SignedToken::new(claims, &self.key, CoreJwsSigningAlgorithm::EdDsa, None, None)
            .map(|token| token.to_string())
            .map_err(|_| io::Error::other("the token cannot be signed"))
    }
}
