//! policy.toml -> Policy; Policy and Request -> Decision.
//!
//! Nothing is allowed that no rule allows. Of the rules that match, the strictest wins: one that denies beats all that
//! allow, and of the limits of those that allow, the tightest of each kind holds. So the order of rules decides
//! nothing but which of them is named, and one more deny rule never lets more through. A rule does not match where one
//! of its exceptions fits, so an exception never widens what a rule matches.

mod explain;
mod fault;
mod file;
mod hours;
mod network;
mod pattern;
mod reach;
mod rule;
mod scope;
mod shape;
mod sign_in;
mod unmet;

use std::{collections::BTreeSet, fmt, time::Duration};

pub use explain::{Asked, ExceptionExplained, Explanation, RuleExplained, SignInExplained, Wanted};
pub use fault::{PolicyFault, PolicyProblem};
pub use network::{Network, NetworkFault};
pub use pattern::Pattern;
pub use reach::Reachable;
use rule::{Action, Exception, Groups, Rule};
use scope::{Case, KindPattern, Mismatch, Scope};
pub use sign_in::{NoBinding, SignInTerms};
use sign_in::{RegisteredKeys, SignInRule};
pub use unmet::Unmet;

use crate::{Kind, Name, Principal, Request, Target};

/// How long a session may last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// From its beginning; none is for ever.
    pub longest: Option<Duration>,
    /// Without a byte from the client; on a channel without a terminal, without a byte from either side.
    pub idle: Option<Duration>,
}

impl Limits {
    /// Of each kind the shorter.
    fn tightest(self, other: Limits) -> Limits {
        let shorter = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
        Limits { longest: shorter(self.longest, other.longest), idle: shorter(self.idle, other.idle) }
    }
}

/// Proof of a yes. Nobody outside this crate can make one, and only a grant opens a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    target: Target,
    login: Name,
    rule: Name,
    limits: Limits,
}

impl Grant {
    /// The target that may be opened.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The login there.
    pub fn login(&self) -> &Name {
        &self.login
    }

    /// The rule that said yes.
    pub fn rule(&self) -> &str {
        self.rule.as_str()
    }

    /// How long the session may last.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// What a policy answers to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, and the proof of it.
    Allow(Grant),
    /// No, and why.
    Deny(Denial),
}

/// Why not, and whether the caller may be told that there is such a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    why: Why,
    known: bool,
}

/// Why not. For the log: a caller is told less, see [`Denial::may_be_told`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No target has the name that was asked for.
    #[error("no target has that name")]
    UnknownTarget,
    /// The target has no such login.
    #[error("the target has no login {0}")]
    UnknownLogin(Name),
    /// None was asked for, and neither rule nor target says which is meant.
    #[error("no login was asked for, and neither a rule nor the target names one")]
    NoLogin,
    /// A rule denies it.
    #[error("rule {0} denies it")]
    Denied(Name),
    /// Rules let the caller on to this target, but not as this login.
    #[error("no rule lets this caller in as {0}")]
    Login(Name),
    /// ... but not with this kind of channel.
    #[error("no rule lets this caller open a {0} channel")]
    Channel(Kind),
    /// A rule would allow it, but for something else that it wants, or makes an exception of.
    #[error("rule {rule} {unmet}")]
    Unmet {
        /// The rule that comes closest.
        rule: Name,
        /// What it wants.
        unmet: Unmet,
    },
    /// No rule lets the caller on to this target at all.
    #[error("no rule lets this caller reach the target")]
    NoRule,
}

impl Denial {
    /// The answer for a name that no target has; to the caller it reads like any target that is not for him.
    pub fn unknown_target() -> Denial {
        Denial { why: Why::UnknownTarget, known: false }
    }

    /// Why, for the log and for `bastion explain`.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// Why, if the caller may reach this target in some other way and so knows that it exists.
    pub fn may_be_told(&self) -> Option<&Why> {
        self.known.then_some(&self.why)
    }
}

/// Who may reach what, and how. Made by [`Policy::parse`] alone; the default one allows nothing.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    groups: Groups,
    rules: Vec<Rule>,
    sign_in: Vec<SignInRule>,
    registered_keys: RegisteredKeys,
}

impl Policy {
    /// Decides one request.
    pub fn decide(&self, request: &Request) -> Decision {
        let groups = self.groups_of(&request.principal);
        let kind = request.opening.kind();
        match self.grant(request, &groups, &kind) {
            Ok(grant) => Decision::Allow(grant),
            Err(why) => {
                let known = self.shows(&request.principal, &groups, &request.target);
                Decision::Deny(Denial { why, known })
            }
        }
    }

    /// Each rule as a sentence, in the order of the file, for `bastion check`.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        self.rules.iter().map(Rule::to_string).chain(self.sign_in.iter().map(SignInRule::to_string))
    }

    /// The rules that match none of these targets, with their lines: most likely a slip.
    pub fn rules_without_target<'a>(
        &'a self,
        targets: &'a [Target],
    ) -> impl Iterator<Item = (&'a str, usize)> {
        let idle = |rule: &&Rule| !targets.iter().any(|target| rule.scope.covers(target));
        self.rules.iter().filter(idle).map(|rule| (rule.name.as_str(), rule.line))
    }

    /// The exceptions that fit none of these targets, by rule, number and line: a slip there leaves the rule too wide.
    pub fn exceptions_without_target<'a>(
        &'a self,
        targets: &'a [Target],
    ) -> impl Iterator<Item = (&'a str, usize, usize)> {
        let idle = |scope: &Scope| !targets.iter().any(|target| scope.covers(target));
        self.rules.iter().flat_map(move |rule| {
            let exceptions = rule.exceptions.iter().filter(move |exception| idle(&exception.scope));
            exceptions.map(|exception| (rule.name.as_str(), exception.number, exception.line))
        })
    }

    /// Each group's groups at the provider, with the line of the group: by name, line and the provider's name for it.
    pub fn provider_groups(&self) -> impl Iterator<Item = (&str, usize, &str)> {
        self.groups.iter().flat_map(|(name, group)| {
            group.provider.iter().map(move |theirs| (name.as_str(), group.line, theirs.as_str()))
        })
    }

    fn grant(&self, request: &Request, groups: &BTreeSet<&Name>, kind: &Kind) -> Result<Grant, Why> {
        let Request { principal, target, now, .. } = request;
        let login = self.login(request, groups, kind)?;
        let case = Case { principal, groups, target, login: &login, kind, now: *now };
        let (rule, limits) = verdict(&self.rules, &case)?;
        Ok(Grant { target: target.clone(), login, rule: rule.name.clone(), limits })
    }

    /// The login that was asked for, or the one that is meant. Deny rules have no say here: they judge the login that
    /// was chosen, so one more of them cannot turn a request into another one.
    fn login(&self, request: &Request, groups: &BTreeSet<&Name>, kind: &Kind) -> Result<Name, Why> {
        let Request { principal, target, now, .. } = request;
        match &request.login {
            Some(login) if target.logins.contains(login) => Ok(login.clone()),
            Some(login) => Err(Why::UnknownLogin(login.clone())),
            None => login_meant(&self.rules, target, |rule, login| {
                rule.matches(&Case { principal, groups, target, login, kind, now: *now })
            })
            .or_else(|| {
                login_meant(&self.rules, target, |rule, login| {
                    rule.may_admit(principal, groups, target, login)
                })
            })
            .or_else(|| target.default_login.clone().filter(|login| target.logins.contains(login)))
            .or_else(|| target.logins.first().filter(|_| target.logins.len() == 1).cloned())
            .ok_or_else(|| self.without_login(principal, groups, target)),
        }
    }

    /// Why not, where nobody says which login is meant. That is the reason only if there is a login that would do.
    fn without_login(&self, principal: &Principal, groups: &BTreeSet<&Name>, target: &Target) -> Why {
        let (mut denies, mut allows) =
            self.rules.iter().partition::<Vec<_>, _>(|rule| rule.action == Action::Deny);
        denies.retain(|rule| rule.always_matches(principal, groups, target));
        allows.retain(|rule| rule.may_match(principal, groups, target));
        match (denies.first(), allows.is_empty()) {
            (Some(rule), _) => Why::Denied(rule.name.clone()),
            (None, true) => Why::NoRule,
            (None, false) => Why::NoLogin,
        }
    }

    /// Whether the caller may know that there is such a target: some rule lets him on to it in some way, at some
    /// time, and none denies it altogether.
    fn shows(&self, principal: &Principal, groups: &BTreeSet<&Name>, target: &Target) -> bool {
        let mut rules = self.rules.iter();
        let may = |rule: &Rule| rule.action == Action::Allow && rule.may_match(principal, groups, target);
        let denied =
            |rule: &Rule| rule.action == Action::Deny && rule.always_matches(principal, groups, target);
        rules.clone().any(may) && !rules.any(denied)
    }

    fn groups_of(&self, principal: &Principal) -> BTreeSet<&Name> {
        self.groups.iter().filter(|(_, group)| group.has(principal)).map(|(name, _)| name).collect()
    }

    /// Every kind of channel that the rules can tell apart.
    fn kinds(&self) -> Vec<Kind> {
        let named = self.rules.iter().flat_map(Rule::kinds).filter_map(|pattern| match pattern {
            KindPattern::Subsystem(name) => Some(Kind::Subsystem(name.clone())),
            _ => None,
        });
        let mut kinds = vec![Kind::Terminal, Kind::Shell, Kind::Exec, Kind::Subsystem("sftp".to_owned())];
        named.for_each(|kind| push_new(&mut kinds, &kind));
        kinds
    }
}

/// The rule that says yes and the limits that hold, or why not.
fn verdict<'a>(
    rules: impl IntoIterator<Item = &'a Rule> + Clone,
    case: &Case<'_>,
) -> Result<(&'a Rule, Limits), Why> {
    let mut allowed: Option<(&Rule, Limits)> = None;
    for rule in rules.clone().into_iter().filter(|rule| rule.matches(case)) {
        allowed = match (rule.action, allowed) {
            (Action::Deny, _) => return Err(Why::Denied(rule.name.clone())),
            (Action::Allow, None) => Some((rule, rule.limits)),
            (Action::Allow, Some((first, limits))) => Some((first, limits.tightest(rule.limits))),
        };
    }
    allowed.ok_or_else(|| nearest_miss(rules, case))
}

/// Why no rule allows it, by the rule that comes closest.
///
/// One that makes an exception of the case is further away than one that waits for something to change.
fn nearest_miss<'a>(rules: impl IntoIterator<Item = &'a Rule>, case: &Case<'_>) -> Why {
    let misses = rules.into_iter().filter(|rule| rule.action == Action::Allow).map(|rule| {
        let missed: Vec<Mismatch> = rule.mismatches(case).collect();
        let elsewhere = missed.contains(&Mismatch::Who) || missed.contains(&Mismatch::Target);
        ((elsewhere, missed.is_empty(), missed.len()), rule, missed)
    });
    let Some(((false, ..), rule, missed)) = misses.min_by_key(|(distance, ..)| *distance) else {
        return Why::NoRule;
    };
    let unmet = |unmet: Option<Unmet>| {
        unmet.map_or(Why::NoRule, |unmet| Why::Unmet { rule: rule.name.clone(), unmet })
    };
    match missed.first() {
        Some(Mismatch::Login) => Why::Login(case.login.clone()),
        Some(Mismatch::Channel) => Why::Channel(case.kind.clone()),
        Some(missed) => unmet(rule.scope.unmet(*missed, case)),
        None => unmet(rule.excepted(case).next().map(Exception::unmet)),
    }
}

/// The login that the first rule to allow this target means, of those that it admits.
fn login_meant<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    target: &Target,
    admits: impl Fn(&Rule, &Name) -> bool,
) -> Option<Name> {
    let mut allowing = rules.into_iter().filter(|rule| rule.action == Action::Allow);
    allowing.find_map(|rule| rule.login_meant(target, |login| admits(rule, login)))
}

fn push_new<T: PartialEq + Clone>(all: &mut Vec<T>, new: &T) {
    if !all.contains(new) {
        all.push(new.clone());
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}
