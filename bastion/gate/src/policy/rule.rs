//! One rule with its exceptions, and whether it matches.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    scope::{Case, KindPattern, Mismatch, Scope, Unknown, joined},
    unmet::Unmet,
};
use crate::{Limits, Name, Principal, Target, notice::Spoken};

/// One rule of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(super) name: Name,
    /// Where it stands in its file.
    pub(super) line: usize,
    pub(super) action: Action,
    pub(super) scope: Scope,
    /// Where one of these fits, the rule does not match.
    pub(super) exceptions: Vec<Exception>,
    /// The login that is meant when a caller names none.
    pub(super) login: Option<Name>,
    pub(super) limits: Limits,
}

/// What a rule is not about.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    /// Which of its rule's, from 1.
    pub(super) number: usize,
    /// Where it stands in its file.
    pub(super) line: usize,
    pub(super) scope: Scope,
}

/// What a rule says about that which it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
}

/// A group: people by name, and whoever a provider says is in a group of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Where it stands in its file.
    pub(super) line: usize,
    pub(super) members: BTreeSet<Name>,
    pub(super) provider: Vec<String>,
}

impl Group {
    pub(super) fn has(&self, principal: &Principal) -> bool {
        self.members.contains(&principal.name)
            || self.provider.iter().any(|group| principal.groups.contains(group))
    }
}

impl Rule {
    pub(super) fn matches(&self, case: &Case<'_>) -> bool {
        self.scope.fits(case, self.unknown()) && self.excepted(case).next().is_none()
    }

    /// Everything in which the rule, without its exceptions, and the case differ.
    pub(super) fn mismatches<'a>(&'a self, case: &'a Case<'a>) -> impl Iterator<Item = Mismatch> + 'a {
        self.scope.mismatches(case, self.unknown())
    }

    /// The exceptions that fit.
    pub(super) fn excepted<'a>(&'a self, case: &'a Case<'a>) -> impl Iterator<Item = &'a Exception> + 'a {
        let unknown = self.unknown_in_exceptions();
        self.exceptions.iter().filter(move |exception| exception.scope.fits(case, unknown))
    }

    /// The kinds of channel that it or an exception names.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &KindPattern> {
        let excepted = self.exceptions.iter().flat_map(|exception| &exception.scope.channels);
        self.scope.channels.iter().chain(excepted)
    }

    /// A time that no calendar knows is within every rule that denies and outside every one that allows.
    pub(super) fn unknown(&self) -> Unknown {
        if self.action == Action::Deny { Unknown::Fits } else { Unknown::DoesNotFit }
    }

    /// The other way round: an exception of a deny rule lets through.
    pub(super) fn unknown_in_exceptions(&self) -> Unknown {
        if self.action == Action::Deny { Unknown::DoesNotFit } else { Unknown::Fits }
    }

    /// Whether it can match this caller on this target, in some way, at some time.
    pub(super) fn may_match(&self, principal: &Principal, groups: &BTreeSet<&Name>, target: &Target) -> bool {
        let about = |scope: &Scope| scope.is_about(principal, groups) && scope.covers(target);
        let always = |exception: &Exception| about(&exception.scope) && exception.scope.is_unconditional();
        about(&self.scope) && !self.exceptions.iter().any(always)
    }

    /// Whether it matches this caller on this target whatever she does.
    pub(super) fn always_matches(
        &self,
        principal: &Principal,
        groups: &BTreeSet<&Name>,
        target: &Target,
    ) -> bool {
        let about = |scope: &Scope| scope.is_about(principal, groups) && scope.covers(target);
        about(&self.scope)
            && self.scope.is_unconditional()
            && !self.exceptions.iter().any(|exception| about(&exception.scope))
    }

    /// Whether it can match this caller on this target as this login, by some channel, at some time.
    pub(super) fn may_admit(
        &self,
        principal: &Principal,
        groups: &BTreeSet<&Name>,
        target: &Target,
        login: &Name,
    ) -> bool {
        let about = |scope: &Scope| {
            scope.is_about(principal, groups) && scope.covers(target) && scope.admits_login(login)
        };
        let always =
            |exception: &Exception| about(&exception.scope) && exception.scope.is_unconditional_as_login();
        about(&self.scope) && !self.exceptions.iter().any(always)
    }

    /// The login that this rule means when a caller names none, of those that are admitted.
    pub(super) fn login_meant(&self, target: &Target, admits: impl Fn(&Name) -> bool) -> Option<Name> {
        let admitted = |login: &&Name| admits(login);
        let own = self.login.iter().filter(admitted).find(|login| target.logins.contains(login));
        let targets_default = target.default_login.iter().find(admitted);
        let mut all = target.logins.iter().filter(admitted);
        let only = match (all.next(), all.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        own.or(targets_default).or(only).cloned()
    }
}

impl Exception {
    /// That it takes its rule out.
    pub(super) fn unmet(&self) -> Unmet {
        Unmet::Exception { number: self.number, line: self.line, says: self.scope.to_string() }
    }
}

/// A rule as a sentence, for `bastion check`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { targets, labels, logins, channels, .. } = &self.scope;
        let verb = if self.action == Action::Allow { "may reach" } else { "may not reach" };
        write!(f, "{}: {} {verb} {}", self.name, self.scope.who(), list("target", "every target", targets))?;
        if !labels.is_empty() {
            write!(f, " with {}", self.scope.labels())?;
        }
        write!(f, ", {}, {}", list("as", "as any login", logins), list("by", "by any channel", channels))?;
        if let Some(login) = &self.login {
            write!(f, ", as {login} unless told otherwise")?;
        }
        for condition in self.scope.conditions() {
            write!(f, ", {condition}")?;
        }
        if let Some(longest) = self.limits.longest {
            write!(f, ", for at most {}", Spoken(longest))?;
        }
        if let Some(idle) = self.limits.idle {
            write!(f, ", idle for at most {}", Spoken(idle))?;
        }
        for exception in &self.exceptions {
            write!(f, "; except {}", exception.scope)?;
        }
        Ok(())
    }
}

fn list<T: fmt::Display>(word: &str, every: &str, items: &[T]) -> String {
    match items.is_empty() {
        true => every.to_owned(),
        false => format!("{word} {}", joined(items)),
    }
}

/// The groups of a policy, by the name that its rules use.
pub(crate) type Groups = BTreeMap<Name, Group>;
