//! One rule, and whether it matches.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{hours::Hours, pattern::Pattern};
use crate::{Kind, Limits, Name, Principal, Target, notice::Spoken};

/// One rule of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(super) name: Name,
    /// Where it stands in its file.
    pub(super) line: usize,
    pub(super) action: Action,
    pub(super) users: Vec<Pattern>,
    pub(super) groups: Vec<Name>,
    pub(super) targets: Vec<Pattern>,
    pub(super) labels: Vec<(String, Pattern)>,
    pub(super) logins: Vec<Pattern>,
    /// The login that is meant when a caller names none.
    pub(super) login: Option<Name>,
    pub(super) channels: Vec<KindPattern>,
    pub(super) when: Option<Hours>,
    pub(super) limits: Limits,
}

/// What a rule says about that which it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
}

/// Which kinds of channel a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KindPattern {
    Terminal,
    Shell,
    Exec,
    AnySubsystem,
    Subsystem(String),
}

/// A group: people by name, and whoever a provider says is in a group of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(super) members: BTreeSet<Name>,
    pub(super) provider: Vec<String>,
}

impl Group {
    pub(super) fn has(&self, principal: &Principal) -> bool {
        self.members.contains(&principal.name)
            || self.provider.iter().any(|group| principal.groups.contains(group))
    }
}

/// Who wants what, where, as whom and when: what each rule is held against.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(super) principal: &'a Principal,
    /// Of the policy's groups, those that she is in.
    pub(super) groups: &'a BTreeSet<&'a Name>,
    pub(super) target: &'a Target,
    pub(super) login: &'a Name,
    pub(super) kind: &'a Kind,
    pub(super) now: i64,
}

/// Why a rule does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Who,
    Target,
    Login,
    Channel,
    Time,
}

/// Whether one part of a rule fits a case.
type Check = fn(&Rule, &Case<'_>) -> bool;

impl Rule {
    pub(super) fn matches(&self, case: &Case<'_>) -> bool {
        self.mismatches(case).next().is_none()
    }

    /// Everything in which the rule and the case differ; nothing if it matches.
    pub(super) fn mismatches<'a>(&'a self, case: &'a Case<'a>) -> impl Iterator<Item = Mismatch> + 'a {
        let checks: [(Mismatch, Check); 5] = [
            (Mismatch::Who, |rule, case| rule.is_about(case.principal, case.groups)),
            (Mismatch::Target, |rule, case| rule.covers(case.target)),
            (Mismatch::Login, |rule, case| rule.admits_login(case.login)),
            (Mismatch::Channel, |rule, case| rule.admits_kind(case.kind)),
            (Mismatch::Time, |rule, case| rule.holds_at(case.now)),
        ];
        checks.into_iter().filter(move |(_, holds)| !holds(self, case)).map(|(mismatch, _)| mismatch)
    }

    pub(super) fn is_about(&self, principal: &Principal, groups: &BTreeSet<&Name>) -> bool {
        self.users.iter().any(|user| user.matches(principal.name.as_str()))
            || self.groups.iter().any(|group| groups.contains(group))
    }

    pub(super) fn covers(&self, target: &Target) -> bool {
        let named = self.targets.is_empty()
            || self.targets.iter().any(|pattern| pattern.matches(target.name.as_str()));
        let label = |(key, pattern): &(String, Pattern)| {
            target.labels.get(key).is_some_and(|value| pattern.matches(value))
        };
        named && self.labels.iter().all(label)
    }

    pub(super) fn admits_login(&self, login: &Name) -> bool {
        self.logins.is_empty() || self.logins.iter().any(|pattern| pattern.matches(login.as_str()))
    }

    pub(super) fn admits_kind(&self, kind: &Kind) -> bool {
        self.channels.is_empty() || self.channels.iter().any(|pattern| pattern.matches(kind))
    }

    /// A time that no calendar knows is within every deny rule and outside every other.
    pub(super) fn holds_at(&self, now: i64) -> bool {
        match &self.when {
            None => true,
            Some(hours) => hours.hold_at(now).unwrap_or(self.action == Action::Deny),
        }
    }

    /// Whether it speaks about whole targets: at any time, as any login, with any kind of channel.
    pub(super) fn is_unconditional(&self) -> bool {
        self.logins.is_empty() && self.channels.is_empty() && self.when.is_none()
    }

    /// The login that this rule means when a caller names none.
    pub(super) fn login_meant(&self, target: &Target) -> Option<Name> {
        let admitted = |login: &&Name| self.admits_login(login);
        let own = self.login.iter().find(|login| target.logins.contains(login));
        let targets_default = target.default_login.iter().find(admitted);
        let mut all = target.logins.iter().filter(admitted);
        let only = match (all.next(), all.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        own.or(targets_default).or(only).cloned()
    }
}

impl KindPattern {
    pub(super) fn matches(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (KindPattern::Terminal, Kind::Terminal)
            | (KindPattern::Shell, Kind::Shell)
            | (KindPattern::Exec, Kind::Exec)
            | (KindPattern::AnySubsystem, Kind::Subsystem(_)) => true,
            (KindPattern::Subsystem(wanted), Kind::Subsystem(found)) => wanted == found,
            _ => false,
        }
    }
}

impl fmt::Display for KindPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KindPattern::Terminal => f.write_str("terminal"),
            KindPattern::Shell => f.write_str("shell"),
            KindPattern::Exec => f.write_str("exec"),
            KindPattern::AnySubsystem => f.write_str("subsystem"),
            KindPattern::Subsystem(name) => f.write_str(name),
        }
    }
}

/// A rule as a sentence, for `bastion check`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who: Vec<String> = (self.users.iter().map(|user| format!("user {user}")))
            .chain(self.groups.iter().map(|group| format!("group {group}")))
            .collect();
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let verb = if self.action == Action::Allow { "may reach" } else { "may not reach" };
        write!(f, "{}: {} {verb} ", self.name, who.join(" or "))?;
        f.write_str(&list("target", "every target", &self.targets))?;
        if !labels.is_empty() {
            write!(f, " with {}", labels.join(" and "))?;
        }
        write!(
            f,
            ", {}, {}",
            list("as", "as any login", &self.logins),
            list("by", "by any channel", &self.channels)
        )?;
        if let Some(login) = &self.login {
            write!(f, ", as {login} unless told otherwise")?;
        }
        if let Some(hours) = &self.when {
            write!(f, ", {hours}")?;
        }
        if let Some(longest) = self.limits.longest {
            write!(f, ", for at most {}", Spoken(longest))?;
        }
        match self.limits.idle {
            Some(idle) => write!(f, ", idle for at most {}", Spoken(idle)),
            None => Ok(()),
        }
    }
}

fn list<T: fmt::Display>(word: &str, every: &str, items: &[T]) -> String {
    if items.is_empty() {
        return every.to_owned();
    }
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    format!("{word} {}", items.join(" or "))
}

/// The groups of a policy, by the name that its rules use.
pub(crate) type Groups = BTreeMap<Name, Group>;
