//! How people may sign in: whether by a code, and what a bound key is good for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::{Policy, network::Network, pattern::Pattern, scope::joined};
use crate::{Name, Principal, notice::Spoken};

/// One `[[sign_in]]` of a policy. It only ever takes away.
#[derive(Clone, Debug)]
pub(crate) struct SignInRule {
    pub(super) name: Name,
    /// Where it stands in its file.
    pub(super) line: usize,
    pub(super) users: Vec<Pattern>,
    pub(super) groups: Vec<Name>,
    /// By an address and a code that are confirmed in any browser.
    pub(super) device_flow: bool,
    /// How long a key signs in alone; zero is never.
    pub(super) binding: Option<Duration>,
    /// Where keys are bound and sign in alone; everywhere if it is empty.
    pub(super) from: Vec<Network>,
    /// Only keys that `[registered_keys]` lists.
    pub(super) registered: bool,
    /// One key of a person, not several.
    pub(super) one_key: bool,
}

/// Fingerprints of the keys that were registered for each person.
pub(crate) type RegisteredKeys = BTreeMap<Name, BTreeSet<String>>;

/// What a policy says of how somebody signs in: all of its rules about her together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInTerms {
    /// The rule that does not let her sign in by a code.
    pub no_device_flow: Option<Name>,
    /// The longest that her key may sign in alone; none is as long as the settings say.
    pub binding: Option<Duration>,
    /// The rule that says so.
    pub binding_rule: Option<Name>,
    /// Why her key is not bound, and does not sign in alone, if it is so: for the log.
    pub no_binding: Option<NoBinding>,
    /// The rule by which a new binding ends her other ones.
    pub one_key: Option<Name>,
}

/// Why a key is not bound, and does not sign in alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBinding {
    /// Nobody's is.
    #[error("rule {0} lets no key sign in alone")]
    Never(Name),
    /// She calls from elsewhere.
    #[error("rule {0} lets keys sign in alone from other networks only")]
    Elsewhere(Name),
    /// It is not on the list.
    #[error("rule {0} lets registered keys alone sign in, and this one is not among hers")]
    Unregistered(Name),
}

impl NoBinding {
    /// The rule that says so.
    pub fn rule(&self) -> &Name {
        match self {
            NoBinding::Never(rule) | NoBinding::Elsewhere(rule) | NoBinding::Unregistered(rule) => rule,
        }
    }
}

impl Policy {
    /// The rules that want a registered key where nobody has registered one, with their lines: then no key signs in
    /// alone.
    pub fn rules_without_registered_keys(&self) -> impl Iterator<Item = (&str, usize)> {
        let nobody = self.registered_keys.values().all(BTreeSet::is_empty);
        let idle = self.sign_in.iter().filter(move |rule| nobody && rule.registered);
        idle.map(|rule| (rule.name.as_str(), rule.line))
    }

    /// Whether keys are registered that no rule asks for.
    pub fn registers_in_vain(&self) -> bool {
        !self.registered_keys.is_empty() && !self.sign_in.iter().any(|rule| rule.registered)
    }

    /// What holds for her, with the key that she has proven and from where she calls.
    pub fn sign_in(&self, principal: &Principal) -> SignInTerms {
        let mut terms = SignInTerms::default();
        let groups = self.groups_of(principal);
        let is_about = |rule: &&SignInRule| {
            rule.users.iter().any(|user| user.matches(principal.name.as_str()))
                || rule.groups.iter().any(|group| groups.contains(group))
        };
        for rule in self.sign_in.iter().filter(is_about) {
            let name = || rule.name.clone();
            if !rule.device_flow {
                terms.no_device_flow.get_or_insert_with(name);
            }
            if rule.one_key {
                terms.one_key.get_or_insert_with(name);
            }
            if let Some(length) =
                rule.binding.filter(|length| terms.binding.is_none_or(|most| *length < most))
            {
                (terms.binding, terms.binding_rule) = (Some(length), Some(name()));
            }
            if let Some(why) = self.no_binding(rule, principal) {
                terms.no_binding.get_or_insert(why);
            }
        }
        terms
    }

    fn no_binding(&self, rule: &SignInRule, principal: &Principal) -> Option<NoBinding> {
        let registered = || {
            let hers = self.registered_keys.get(&principal.name.folded());
            principal.key.as_ref().is_some_and(|key| hers.is_some_and(|hers| hers.contains(key)))
        };
        if rule.binding == Some(Duration::ZERO) {
            Some(NoBinding::Never(rule.name.clone()))
        } else if !rule.from.is_empty() && !rule.from.iter().any(|network| network.has(principal.source)) {
            Some(NoBinding::Elsewhere(rule.name.clone()))
        } else if rule.registered && !registered() {
            Some(NoBinding::Unregistered(rule.name.clone()))
        } else {
            None
        }
    }
}

/// For `bastion check`.
impl fmt::Display for SignInRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut says: Vec<String> = Vec::new();
        if !self.device_flow {
            says.push("not sign in by a code".into());
        }
        match self.binding {
            Some(Duration::ZERO) => says.push("have no key that signs in alone".into()),
            Some(length) => says.push(format!("have keys that sign in alone for {} at most", Spoken(length))),
            None => {}
        }
        if !self.from.is_empty() {
            says.push(format!("have keys that sign in alone from {} only", joined(&self.from)));
        }
        if self.registered {
            says.push("use registered keys alone".into());
        }
        if self.one_key {
            says.push("have one key at a time".into());
        }
        let users = self.users.iter().map(ToString::to_string);
        let groups = self.groups.iter().map(|group| format!("group {group}"));
        let who: Vec<String> = users.chain(groups).collect();
        // "may" fits one user, one group, and several of them.
        write!(f, "{}: {} may {}", self.name, who.join(" or "), says.join(", and may "))
    }
}
