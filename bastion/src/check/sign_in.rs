//! What settings and policy say of providers and sign-ins, and what cannot be meant so.

use gate::{Name, Policy};

use super::Report;
use crate::settings::{Issuer, Settings};

impl Report {
    /// A name that two providers may vouch for is nobody's: whoever has it cannot sign in.
    pub(super) fn look_at_providers(&mut self, settings: &Settings) {
        let more: Vec<(&Name, &Issuer)> = settings.login.more.iter().collect();
        for (at, (one, issuer)) in more.iter().enumerate() {
            for (other, others) in more.iter().skip(at + 1) {
                let of = |issuer: &Issuer| issuer.users.clone();
                let both =
                    of(issuer).into_iter().flat_map(|a| of(others).into_iter().map(move |b| (a.clone(), b)));
                for (a, b) in both.filter(|(a, b)| a.overlaps(b)) {
                    let place = place(settings, &["login", "more", other.as_str(), "users"]);
                    self.warn(
                        format!(
                            "{place}login.more.{other}.users {:?} and login.more.{one}.users {:?} may be one name: nobody \
                             whose name fits both can sign in",
                            b.to_string(),
                            a.to_string()
                        ),
                        "let each name fit the users of one provider",
                    );
                }
            }
        }
    }

    /// Groups of no provider that there is, and registered keys that nobody has or nobody asks for.
    pub(super) fn look_at_sign_in(&mut self, settings: &Settings, policy: &Policy) {
        let file = settings.policy.display();
        for (group, line, theirs) in policy.provider_groups() {
            let Some((provider, _)) = theirs.split_once(':') else { continue };
            let is_known = |provider: &Name| settings.login.more.contains_key(provider);
            // A group of the main provider may have a colon in its name, as URNs do.
            if provider == "urn" || !provider.parse().is_ok_and(|provider| !is_known(&provider)) {
                continue;
            }
            let way_out = match gate::nearest(provider, settings.login.more.keys().map(Name::as_str)) {
                Some(nearest) => format!("{:?}", theirs.replacen(provider, nearest, 1)),
                None => format!(
                    "add [login.more.{provider}] to the settings, or name a group of a provider that is there"
                ),
            };
            self.warn(
                format!(
                    "{file}:{line}: group {group:?} is {theirs:?} at the provider, and the settings have no provider \
                     {provider:?}: nobody is in it, unless [login] itself has a group of just that name"
                ),
                way_out,
            );
        }
        for (rule, line) in policy.rules_without_registered_keys() {
            self.warn(
                format!(
                    "{file}:{line}: rule {rule:?} lets registered keys alone sign in, and none is registered: no key \
                     signs in alone"
                ),
                "[registered_keys], with a line as in alice = [\"SHA256:...\"], or leave out `registered`",
            );
        }
        if policy.registers_in_vain() {
            self.warn(
                format!("{file}: keys are registered, and no [[sign_in]] rule asks for registered ones"),
                "registered = true in a rule for those people, or leave out [registered_keys]",
            );
        }
    }
}

/// `FILE:LINE: ` of a key in the settings, as far as it can be found.
fn place(settings: &Settings, path: &[&str]) -> String {
    settings.place(path).map(|place| format!("{place}: ")).unwrap_or_default()
}
