//! What a caller may reach, for lists: the same answers as [`Policy::decide`] gives, for all targets at once.
//!
//! 10,000 targets and 500 rules are five million pairs, and each target has logins and kinds of channel. So what a rule
//! asks of the caller, of the time and of her sign-in is asked once, not of each target; and all kinds of channel are
//! held against a rule together, as a set.

use super::{
    Policy, push_new,
    rule::{Action, Rule},
    scope::{Caller, Scope},
};
use crate::{Kind, Name, Principal, Target};

/// What a caller may reach, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable<'a> {
    /// The target.
    pub target: &'a Target,
    /// As which logins.
    pub logins: Vec<Name>,
    /// The one that is meant when none is named.
    pub default_login: Option<Name>,
    /// With which kinds of channel.
    pub kinds: Vec<Kind>,
}

impl Policy {
    /// What the caller may reach now, in the order of `targets`.
    pub fn reachable<'a>(
        &self,
        principal: &Principal,
        targets: &'a [Target],
        now: i64,
    ) -> Vec<Reachable<'a>> {
        let groups = self.groups_of(principal);
        let caller = Caller { principal, groups: &groups, now };
        let kinds = self.kinds();
        let hers: Vec<HerRule<'_>> =
            self.rules.iter().filter_map(|rule| HerRule::of(rule, &caller, &kinds)).collect();
        targets.iter().filter_map(|target| reach(&hers, &kinds, target)).collect()
    }
}

fn reach<'a>(hers: &[HerRule<'_>], kinds: &[Kind], target: &'a Target) -> Option<Reachable<'a>> {
    let rules: Vec<&HerRule<'_>> = hers.iter().filter(|hers| hers.rule.scope.covers(target)).collect();
    let allowing = || rules.iter().filter(|hers| hers.rule.action == Action::Allow);
    allowing().next()?;
    let mut found = Reachable { target, logins: vec![], default_login: None, kinds: vec![] };
    for login in &target.logins {
        let open = open_kinds(&rules, kinds.len(), target, login);
        for kind in kinds.iter().enumerate().filter(|(place, _)| open.has(*place)).map(|(_, kind)| kind) {
            push_new(&mut found.logins, login);
            push_new(&mut found.kinds, kind);
        }
    }
    if found.logins.is_empty() {
        return None;
    }
    let meant = |place| {
        allowing()
            .find_map(|hers| hers.rule.login_meant(target, |login| hers.matches_at(place, target, login)))
    };
    found.default_login =
        (0..kinds.len()).find_map(meant).filter(|login: &Name| found.logins.contains(login));
    Some(found)
}

/// The kinds of channel that are allowed to this login, and that nothing denies.
fn open_kinds(rules: &[&HerRule<'_>], count: usize, target: &Target, login: &Name) -> Kinds {
    let (mut allowed, mut denied) = (Kinds::none_of(count), Kinds::none_of(count));
    for hers in rules.iter().filter(|hers| hers.rule.scope.admits_login(login)) {
        let side = if hers.rule.action == Action::Allow { &mut allowed } else { &mut denied };
        let mut excepted = hers.excepted(target, login).peekable();
        if excepted.peek().is_none() {
            side.add(&hers.kinds);
        } else {
            let mut kinds = hers.kinds.clone();
            excepted.for_each(|except| kinds.remove(except));
            side.add(&kinds);
        }
    }
    allowed.remove(&denied);
    allowed
}

/// A rule that is about a caller, and of which all holds that does not depend on target, login and channel.
struct HerRule<'a> {
    rule: &'a Rule,
    /// The kinds of channel that it is about.
    kinds: Kinds,
    /// Of its exceptions those that may fit her, and the kinds that those are about.
    exceptions: Vec<(&'a Scope, Kinds)>,
}

impl<'a> HerRule<'a> {
    fn of(rule: &'a Rule, caller: &Caller<'_>, kinds: &[Kind]) -> Option<HerRule<'a>> {
        let fits = |scope: &Scope, unknown| {
            scope.is_about(caller.principal, caller.groups) && scope.holds_for(caller, unknown)
        };
        let admitted = |scope: &Scope| Kinds::admitted(scope, kinds);
        let exceptions = || rule.exceptions.iter().map(|exception| &exception.scope);
        let unknown = rule.unknown_in_exceptions();
        fits(&rule.scope, rule.unknown()).then(|| HerRule {
            rule,
            kinds: admitted(&rule.scope),
            exceptions: exceptions()
                .filter(|scope| fits(scope, unknown))
                .map(|scope| (scope, admitted(scope)))
                .collect(),
        })
    }

    /// What its exceptions take out, on this target and as this login.
    fn excepted(&self, target: &Target, login: &Name) -> impl Iterator<Item = &Kinds> {
        let fits = move |scope: &Scope| scope.covers(target) && scope.admits_login(login);
        self.exceptions.iter().filter(move |(scope, _)| fits(scope)).map(|(_, kinds)| kinds)
    }

    /// Whether it matches, on a target that it covers, by the kind of channel at this place.
    fn matches_at(&self, place: usize, target: &Target, login: &Name) -> bool {
        self.kinds.has(place)
            && self.rule.scope.admits_login(login)
            && !self.excepted(target, login).any(|kinds| kinds.has(place))
    }
}

/// Some of a list of kinds of channel, by their places in it: a bit each.
#[derive(Clone)]
struct Kinds(Vec<u64>);

impl Kinds {
    fn none_of(count: usize) -> Kinds {
        Kinds(vec![0; count.div_ceil(64)])
    }

    fn admitted(scope: &Scope, kinds: &[Kind]) -> Kinds {
        let bits = |kinds: &[Kind]| {
            kinds.iter().rev().fold(0, |bits, kind| bits << 1 | u64::from(scope.admits_kind(kind)))
        };
        Kinds(kinds.chunks(64).map(bits).collect())
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|bits| bits >> (place % 64) & 1 == 1)
    }

    fn add(&mut self, other: &Kinds) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, others)| *mine |= others);
    }

    fn remove(&mut self, other: &Kinds) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, others)| *mine &= !others);
    }
}
