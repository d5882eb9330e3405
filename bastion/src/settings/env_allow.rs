//! Which variables a client may set on a target: `env_allow`.

use serde::{Deserialize, Deserializer, de::Error as _};

/// Variables that a client may set on a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvAllow(Vec<String>);

/// What OpenSSH clients send by default, what tells a program how to draw, and what git needs for its newer protocol.
const ENV_ALWAYS: &[&str] = &["LANG", "LC_*", "COLORTERM", "NO_COLOR", "GIT_PROTOCOL"];

/// Kept for us: a target's program may believe them.
const ENV_OURS: &str = "BASTION_";

impl EnvAllow {
    /// May a client set the variable `name`?
    pub fn allows(&self, name: &str) -> bool {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        };
        !name.starts_with(ENV_OURS)
            && (ENV_ALWAYS.iter().copied().any(matches) || self.0.iter().map(String::as_str).any(matches))
    }

    /// All names and beginnings that pass.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        ENV_ALWAYS.iter().copied().chain(self.0.iter().map(String::as_str))
    }
}

impl<'de> Deserialize<'de> for EnvAllow {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let patterns = Vec::<String>::deserialize(from)?;
        for pattern in &patterns {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(D::Error::custom(format!(
                    "{pattern:?} is no variable: write letters, digits and _, with * at the end for a beginning"
                )));
            }
            if name.starts_with(ENV_OURS) || ENV_OURS.starts_with(name) {
                return Err(D::Error::custom(format!(
                    "{pattern:?} would let {ENV_OURS}* through, which is never passed on: remove it"
                )));
            }
        }
        Ok(EnvAllow(patterns))
    }
}
