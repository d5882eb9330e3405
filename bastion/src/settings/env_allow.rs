//! Which variables a client may set on a target: `env_allow`.

use gate::{EnvFilter, EnvFilterFault};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Variables that a client may set on a target: those of the gate, those that always pass here, and those that the
/// settings add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvAllow {
    added: Vec<String>,
    filter: EnvFilter,
}

/// What OpenSSH clients send by default.
const ENV_USUAL: [&str; 3] = ["LANG", "LC_*", "COLORTERM"];
/// What programs ask before they draw in colour, and what git needs for its newer protocol.
const ENV_ALWAYS: [&str; 2] = ["NO_COLOR", "GIT_PROTOCOL"];

impl EnvAllow {
    fn with(added: Vec<String>) -> Result<Self, EnvFilterFault> {
        let always = ENV_ALWAYS.iter().map(|name| (*name).to_owned());
        let filter = EnvFilter::with(always.chain(added.iter().cloned()))?;
        Ok(EnvAllow { added, filter })
    }

    /// What decides about each variable.
    pub fn filter(&self) -> &EnvFilter {
        &self.filter
    }

    /// All names and beginnings that pass.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        ENV_USUAL.into_iter().chain(ENV_ALWAYS).chain(self.added.iter().map(String::as_str))
    }
}

impl Default for EnvAllow {
    fn default() -> Self {
        EnvAllow::with(Vec::new()).expect("NO_COLOR and GIT_PROTOCOL may be passed on")
    }
}

impl<'de> Deserialize<'de> for EnvAllow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        EnvAllow::with(Vec::<String>::deserialize(from)?).map_err(D::Error::custom)
    }
}
