//! By what a target lets the bastion in.

use gate::Name;
use toml::Spanned;

use super::toml_file::{SettingsFault, Source};

/// What the bastion shows to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// A key, or a certificate that it signs.
    #[default]
    Key,
    /// A password.
    Password(Password),
    /// The key first, and a password if the target then asks for one.
    KeyThenPassword(Password),
}

/// A password, and how a target asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// Its name in the vault.
    pub name: Name,
    /// By a question that is shown to a person (RFC 4256), instead of SSH's own message for passwords.
    pub interactive: bool,
}

const WAYS: &str =
    "\"key\", \"password\", \"keyboard-interactive\", \"key+password\" or \"key+keyboard-interactive\"";

impl Auth {
    /// From the two lines of a target's settings.
    ///
    /// # Errors
    /// If there is no such way, a password is needed and not named, or named and not needed.
    pub(super) fn read(
        source: &Source,
        target: &Name,
        auth: Option<&Spanned<String>>,
        password: Option<&Spanned<Name>>,
    ) -> Result<Auth, SettingsFault> {
        let way = auth.map_or("key", |auth| auth.as_ref().as_str());
        let (key, interactive) = match way {
            "key" => {
                return match password {
                    None => Ok(Auth::Key),
                    Some(password) => Err(source.wrong(
                        password.span(),
                        &format!("targets.{target}.password"),
                        password.as_ref().as_str(),
                        "is not used: the target is opened with a key",
                        "auth = \"password\"",
                    )),
                };
            }
            "password" => (false, false),
            "keyboard-interactive" => (false, true),
            "key+password" => (true, false),
            "key+keyboard-interactive" => (true, true),
            other => {
                let span = auth.map(Spanned::span).unwrap_or_default();
                return Err(source.wrong(
                    span,
                    &format!("targets.{target}.auth"),
                    other,
                    "is no way to sign in to a target",
                    WAYS,
                ));
            }
        };
        let Some(name) = password else {
            let span = auth.map(Spanned::span).unwrap_or_default();
            return Err(source.wrong(
                span,
                &format!("targets.{target}.auth"),
                way,
                "needs a password of the vault",
                &format!("password = \"{target}\", and: bastion key password set {target}"),
            ));
        };
        let password = Password { name: name.as_ref().clone(), interactive };
        Ok(if key { Auth::KeyThenPassword(password) } else { Auth::Password(password) })
    }

    /// Is the target's key shown to it?
    pub fn has_key(&self) -> bool {
        !matches!(self, Auth::Password(_))
    }

    /// The password, if one may be shown.
    pub fn password(&self) -> Option<&Password> {
        match self {
            Auth::Key => None,
            Auth::Password(password) | Auth::KeyThenPassword(password) => Some(password),
        }
    }
}
