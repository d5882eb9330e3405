//! What a rule, or an exception of one, is about.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{hours::Hours, network::Network, pattern::Pattern, unmet::Unmet};
use crate::{Kind, Name, Principal, Target, notice::Spoken};

/// What a rule, or an exception of one, is about: a part that is left out fits everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(super) users: Vec<Pattern>,
    pub(super) groups: Vec<Name>,
    pub(super) targets: Vec<Pattern>,
    pub(super) labels: Vec<(String, Pattern)>,
    pub(super) logins: Vec<Pattern>,
    pub(super) channels: Vec<KindPattern>,
    pub(super) when: Option<Hours>,
    /// The networks that a call may come from.
    pub(super) from: Vec<Network>,
    /// How old a sign-in may be.
    pub(super) max_age: Option<Duration>,
    /// Ways of signing in, of which one must have been used.
    pub(super) amr: Vec<String>,
    /// Levels of a sign-in, of which it must have one.
    pub(super) acr: Vec<String>,
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

/// Who calls, and when: what of a case is the same for all targets.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(super) principal: &'a Principal,
    /// Of the policy's groups, those that she is in.
    pub(super) groups: &'a BTreeSet<&'a Name>,
    pub(super) now: i64,
}

impl<'a> Case<'a> {
    fn caller(&self) -> Caller<'a> {
        Caller { principal: self.principal, groups: self.groups, now: self.now }
    }
}

/// The part of a scope that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Who,
    Target,
    Login,
    Channel,
    Time,
    Source,
    Amr,
    Acr,
    Age,
}

/// Whether one part of a scope fits a case.
type Check = fn(&Scope, &Case<'_>, Unknown) -> bool;

/// What counts for a part of which nobody can tell whether it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Fits,
    DoesNotFit,
}

impl Scope {
    /// Whether there is no mismatch; what rules out most comes first.
    pub(super) fn fits(&self, case: &Case<'_>, unknown: Unknown) -> bool {
        self.is_about(case.principal, case.groups)
            && self.covers(case.target)
            && self.admits_login(case.login)
            && self.admits_kind(case.kind)
            && self.holds_for(&case.caller(), unknown)
    }

    /// Whether all fits that neither the caller's name and groups nor her choice of target, login and channel decide.
    pub(super) fn holds_for(&self, caller: &Caller<'_>, unknown: Unknown) -> bool {
        self.holds_at(caller.now, unknown)
            && self.admits_source(caller.principal)
            && self.admits_amr(caller.principal)
            && self.admits_acr(caller.principal)
            && self.admits_age(caller)
    }

    /// Everything in which the scope and the case differ; nothing if it fits.
    ///
    /// The age of the sign-in comes last: the first mismatch is what a caller is told of, and signing in again helps
    /// only where that is all that is missing.
    pub(super) fn mismatches<'a>(
        &'a self,
        case: &'a Case<'a>,
        unknown: Unknown,
    ) -> impl Iterator<Item = Mismatch> + 'a {
        let checks: [(Mismatch, Check); 9] = [
            (Mismatch::Who, |scope, case, _| scope.is_about(case.principal, case.groups)),
            (Mismatch::Target, |scope, case, _| scope.covers(case.target)),
            (Mismatch::Login, |scope, case, _| scope.admits_login(case.login)),
            (Mismatch::Channel, |scope, case, _| scope.admits_kind(case.kind)),
            (Mismatch::Time, |scope, case, unknown| scope.holds_at(case.now, unknown)),
            (Mismatch::Source, |scope, case, _| scope.admits_source(case.principal)),
            (Mismatch::Amr, |scope, case, _| scope.admits_amr(case.principal)),
            (Mismatch::Acr, |scope, case, _| scope.admits_acr(case.principal)),
            (Mismatch::Age, |scope, case, _| scope.admits_age(&case.caller())),
        ];
        checks.into_iter().filter(move |(_, fits)| !fits(self, case, unknown)).map(|(mismatch, _)| mismatch)
    }

    pub(super) fn is_about(&self, principal: &Principal, groups: &BTreeSet<&Name>) -> bool {
        self.users.is_empty() && self.groups.is_empty()
            || self.users.iter().any(|user| user.matches(principal.name.as_str()))
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

    fn holds_at(&self, now: i64, unknown: Unknown) -> bool {
        match &self.when {
            None => true,
            Some(hours) => hours.hold_at(now).unwrap_or(unknown == Unknown::Fits),
        }
    }

    fn admits_source(&self, principal: &Principal) -> bool {
        self.from.is_empty() || self.from.iter().any(|network| network.has(principal.source))
    }

    fn admits_amr(&self, principal: &Principal) -> bool {
        self.amr.is_empty() || self.amr.iter().any(|way| principal.amr.contains(way))
    }

    fn admits_acr(&self, principal: &Principal) -> bool {
        self.acr.is_empty() || principal.acr.as_ref().is_some_and(|acr| self.acr.contains(acr))
    }

    fn admits_age(&self, caller: &Caller<'_>) -> bool {
        self.max_age.is_none_or(|most| age(caller).is_some_and(|age| age <= most))
    }

    /// Whether it speaks about whole targets: at any time, as any login, with any kind of channel and of sign-in.
    pub(super) fn is_unconditional(&self) -> bool {
        (self.logins.is_empty() || self.logins.iter().any(Pattern::is_any))
            && self.is_unconditional_as_login()
    }

    /// Whether, beside who, where and as which login, it asks for nothing.
    pub(super) fn is_unconditional_as_login(&self) -> bool {
        self.channels.is_empty()
            && self.when.is_none()
            && self.from.is_empty()
            && self.max_age.is_none()
            && self.amr.is_empty()
            && self.acr.is_empty()
    }

    /// Whether nothing can fail to fit.
    pub(super) fn is_everything(&self) -> bool {
        let any = |patterns: &[Pattern]| patterns.is_empty() || patterns.iter().any(Pattern::is_any);
        let anybody =
            self.groups.is_empty() && self.users.is_empty() || self.users.iter().any(Pattern::is_any);
        anybody && any(&self.targets) && self.labels.is_empty() && self.is_unconditional()
    }

    /// What it wants there, and what was found; none for who, where and how, which the caller chose.
    pub(super) fn unmet(&self, missed: Mismatch, case: &Case<'_>) -> Option<Unmet> {
        let or = |texts: &[String]| texts.join(" or ");
        match missed {
            Mismatch::Who | Mismatch::Target | Mismatch::Login | Mismatch::Channel => None,
            Mismatch::Time => self.when.as_ref().map(|hours| Unmet::Time(hours.to_string())),
            Mismatch::Source => {
                let wanted: Vec<String> = self.from.iter().map(Network::to_string).collect();
                Some(Unmet::Source { wanted: or(&wanted), found: case.principal.source })
            }
            Mismatch::Amr => {
                let found: Vec<String> = case.principal.amr.iter().cloned().collect();
                let found =
                    if found.is_empty() { "nothing it named".to_owned() } else { found.join(" and ") };
                Some(Unmet::Amr { wanted: or(&self.amr), found })
            }
            Mismatch::Acr => {
                let found = case.principal.acr.clone().unwrap_or("none".to_owned());
                Some(Unmet::Acr { wanted: or(&self.acr), found })
            }
            Mismatch::Age => self.max_age.map(|most| Unmet::Age { most, found: age(&case.caller()) }),
        }
    }

    pub(super) fn who(&self) -> String {
        let users = self.users.iter().map(|user| format!("user {user}"));
        users.chain(self.groups.iter().map(|group| format!("group {group}"))).collect::<Vec<_>>().join(" or ")
    }

    pub(super) fn labels(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(" and ")
    }

    /// What it asks for beside who, where and how: of the time, of the caller's place and of her sign-in.
    pub(super) fn conditions(&self) -> Vec<String> {
        let listed = |word: &str, texts: &[String]| {
            (!texts.is_empty()).then(|| format!("{word} {}", texts.join(" or ")))
        };
        let from: Vec<String> = self.from.iter().map(Network::to_string).collect();
        let age = self.max_age.map(|most| format!("with a sign-in at most {} old", Spoken(most)));
        let all = [
            self.when.as_ref().map(Hours::to_string),
            listed("from", &from),
            listed("signed in by", &self.amr),
            listed("signed in at level", &self.acr),
            age,
        ];
        all.into_iter().flatten().collect()
    }
}

/// How old the sign-in is; none if it lies in the future, where no sign-in of this clock's was made.
fn age(caller: &Caller<'_>) -> Option<Duration> {
    let seconds = caller.now.checked_sub(caller.principal.signed_in_at)?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// What an exception is about; what is left out is not named.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |word: &str, text: String| (!text.is_empty()).then(|| format!("{word}{text}"));
        let all = [
            part("", self.who()),
            part("target ", joined(&self.targets)),
            part("with ", self.labels()),
            part("as ", joined(&self.logins)),
            part("by ", joined(&self.channels)),
        ];
        let all: Vec<String> = all.into_iter().flatten().chain(self.conditions()).collect();
        f.write_str(&all.join(", "))
    }
}

/// The items, as alternatives.
pub(super) fn joined<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(" or ")
}

impl KindPattern {
    fn matches(&self, kind: &Kind) -> bool {
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
