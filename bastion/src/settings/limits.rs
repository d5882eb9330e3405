//! How much is allowed at once: `[limits]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::toml_file::{duration, some_time};

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// From the connection to the end of the sign-in, while no sign-in is under way.
    #[serde(deserialize_with = "some_time")]
    pub login_grace: Duration,
    /// The same, while a sign-in at the provider is under way.
    #[serde(deserialize_with = "some_time")]
    pub sign_in_grace: Duration,
    /// Connections in all that have not signed in.
    #[serde(deserialize_with = "positive")]
    pub unauthenticated: usize,
    /// The same, of one address.
    #[serde(deserialize_with = "positive")]
    pub unauthenticated_per_address: usize,
    /// Attempts to sign in, of one connection.
    #[serde(deserialize_with = "positive")]
    pub attempts: usize,
    /// Keys that one connection may offer.
    #[serde(deserialize_with = "positive")]
    pub key_offers: usize,
    /// Proofs of one address that may fail in a minute, before it is turned away.
    #[serde(deserialize_with = "positive")]
    pub failed_proofs: usize,
    /// Channels open at once, of one connection.
    #[serde(deserialize_with = "positive")]
    pub channels_per_connection: usize,
    /// Connections open at once, of one person.
    #[serde(deserialize_with = "positive")]
    pub connections_per_person: usize,
    /// Sessions open at once, of one person.
    #[serde(deserialize_with = "positive")]
    pub sessions_per_person: usize,
    /// How long a session that policy does not allow any more goes on, after it was told so; 0 is not at all.
    #[serde(deserialize_with = "duration")]
    pub warning: Duration,
    /// The list of targets is closed when nothing is typed for so long.
    #[serde(deserialize_with = "some_time")]
    pub list_idle: Duration,
    /// Variables of one session.
    #[serde(deserialize_with = "variables")]
    pub env: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            login_grace: Duration::from_secs(30),
            sign_in_grace: Duration::from_secs(600),
            unauthenticated: 200,
            unauthenticated_per_address: 20,
            attempts: 10,
            key_offers: 20,
            failed_proofs: 5,
            channels_per_connection: 32,
            connections_per_person: 250,
            sessions_per_person: 200,
            warning: Duration::from_secs(60),
            list_idle: Duration::from_secs(600),
            env: 32,
        }
    }
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match usize::deserialize(from)? {
        0 => Err(D::Error::custom("0 would let nobody in: write 1 or more")),
        number => Ok(number),
    }
}

fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    match usize::deserialize(from)? {
        number if number > gate::PASSED_MAX => Err(D::Error::custom(format!(
            "{number} is more than are ever passed on: write {} or less",
            gate::PASSED_MAX
        ))),
        number => Ok(number),
    }
}
