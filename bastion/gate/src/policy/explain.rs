//! What would be decided, and by which rule: for `bastion explain`.

mod sign_in;

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

pub use sign_in::SignInExplained;

use super::{
    Decision, Policy,
    rule::{Action, Exception, Rule},
    scope::{Case, Mismatch, Scope},
    sign_in::SignInRule,
};
use crate::{Name, Request};

/// What is decided about a request, by which rule, and why the others did not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The rule that decided; none if it was the lack of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why not, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was asked.
    pub asked: Asked,
    /// What was taken for granted, because nobody said it and some rule asks for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
    /// Seconds that the session may last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_s: Option<u64>,
    /// Seconds that it may be idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
    /// What holds for her sign-ins, if it was asked ([`Policy::explain_sign_in`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInExplained>,
    /// Every rule, in the order of the file.
    pub rules: Vec<RuleExplained>,
}

/// What was asked, as the policy understood it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The caller.
    pub user: String,
    /// The policy's groups that she is in.
    pub groups: Vec<String>,
    /// The target.
    pub target: String,
    /// The login there: asked for, or meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The kind of channel.
    pub channel: String,
    /// When, as RFC 3339 writes it, in UTC.
    pub at: String,
    /// The address she calls from, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How old her sign-in is.
    pub signed_in_ago_s: i64,
    /// How she signed in.
    pub amr: Vec<String>,
    /// The level of her sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
}

/// One rule, held against the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleExplained {
    /// Its name.
    pub rule: String,
    /// Its line in the policy file.
    pub line: usize,
    /// `allow` or `deny`.
    pub action: &'static str,
    /// Whether it matches.
    pub matches: bool,
    /// If not, every reason.
    pub because: Vec<String>,
    /// Its exceptions, each held against the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionExplained>,
}

/// One exception of a rule, held against the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExceptionExplained {
    /// Which of its rule's, from 1.
    pub number: usize,
    /// Its line in the policy file.
    pub line: usize,
    /// What it is about.
    pub says: String,
    /// Whether it matches, so that its rule does not.
    pub matches: bool,
    /// If not, every reason.
    pub because: Vec<String>,
}

/// What a rule may want to know of a caller beside her name and her groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Where she calls from.
    Source,
    /// When she signed in.
    Age,
    /// How she signed in.
    Amr,
    /// The level of her sign-in.
    Acr,
    /// Which key is hers: asked of sign-ins alone.
    Key,
}

impl Policy {
    /// Decides as [`Policy::decide`] does, and says how it came about.
    pub fn explain(&self, request: &Request) -> Explanation {
        let groups = self.groups_of(&request.principal);
        let kind = request.opening.kind();
        let decided = self.decide(request);
        let login = self.login(request, &groups, &kind).ok();
        let held_against = login.clone().or(request.login.clone());
        let case = held_against.as_ref().map(|login| Case {
            principal: &request.principal,
            groups: &groups,
            target: &request.target,
            login,
            kind: &kind,
            now: request.now,
        });
        let (decision, rule, why, limits) = match &decided {
            Decision::Allow(grant) => ("allow", Some(grant.rule().to_owned()), None, grant.limits()),
            Decision::Deny(denial) => {
                let rule = match denial.why() {
                    super::Why::Denied(rule) => Some(rule.to_string()),
                    _ => None,
                };
                ("deny", rule, Some(denial.to_string()), super::Limits::default())
            }
        };
        Explanation {
            decision,
            rule,
            why,
            asked: Asked {
                groups: groups.iter().map(|group| group.to_string()).collect(),
                login: login.as_ref().map(Name::to_string),
                ..asked(request)
            },
            assumed: Vec::new(),
            longest_s: limits.longest.map(|longest| longest.as_secs()),
            idle_s: limits.idle.map(|idle| idle.as_secs()),
            sign_in: None,
            rules: self.rules.iter().map(|rule| explained(rule, case.as_ref())).collect(),
        }
    }

    /// Whether some rule, or an exception of one, asks for this.
    pub fn wants(&self, wanted: Wanted) -> bool {
        let asks = |scope: &Scope| match wanted {
            Wanted::Source => !scope.from.is_empty(),
            Wanted::Age => scope.max_age.is_some(),
            Wanted::Amr => !scope.amr.is_empty(),
            Wanted::Acr => !scope.acr.is_empty(),
            Wanted::Key => false,
        };
        let asks_in_exceptions = |rule: &Rule| rule.exceptions.iter().any(|one| asks(&one.scope));
        let asks_at_sign_in = |rule: &SignInRule| match wanted {
            Wanted::Source => !rule.from.is_empty(),
            Wanted::Key => rule.registered,
            Wanted::Age | Wanted::Amr | Wanted::Acr => false,
        };
        self.rules.iter().any(|rule| asks(&rule.scope) || asks_in_exceptions(rule))
            || self.sign_in.iter().any(asks_at_sign_in)
    }
}

fn asked(request: &Request) -> Asked {
    let Request { principal, target, opening, now, .. } = request;
    let source = principal.source.to_canonical();
    Asked {
        user: principal.name.to_string(),
        groups: Vec::new(),
        target: target.name.to_string(),
        login: None,
        channel: opening.kind().to_string(),
        at: Timestamp::from_second(*now).unwrap_or_default().to_string(),
        from: (!source.is_unspecified()).then(|| source.to_string()),
        signed_in_ago_s: now.saturating_sub(principal.signed_in_at),
        amr: principal.amr.iter().cloned().collect(),
        acr: principal.acr.clone(),
    }
}

/// A rule and its exceptions, held against a case; there is none without a login.
fn explained(rule: &Rule, case: Option<&Case<'_>>) -> RuleExplained {
    let exceptions: Vec<ExceptionExplained> = match case {
        Some(case) => rule.exceptions.iter().map(|exception| excepted(rule, exception, case)).collect(),
        None => vec![],
    };
    let because: Vec<String> = match case {
        None => vec!["no login was asked for, and none is meant".to_owned()],
        Some(case) => {
            let missed: Vec<String> =
                rule.mismatches(case).map(|missed| reason(&rule.scope, case, missed)).collect();
            match missed.is_empty() {
                true => rule.excepted(case).map(|exception| format!("it {}", exception.unmet())).collect(),
                false => missed,
            }
        }
    };
    RuleExplained {
        rule: rule.name.to_string(),
        line: rule.line,
        action: word(rule.action),
        matches: because.is_empty(),
        because,
        exceptions,
    }
}

fn excepted(rule: &Rule, exception: &Exception, case: &Case<'_>) -> ExceptionExplained {
    let Exception { number, line, scope } = exception;
    let because: Vec<String> = scope
        .mismatches(case, rule.unknown_in_exceptions())
        .map(|missed| reason(scope, case, missed))
        .collect();
    ExceptionExplained {
        number: *number,
        line: *line,
        says: scope.to_string(),
        matches: because.is_empty(),
        because,
    }
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    }
}

fn reason(scope: &Scope, case: &Case<'_>, missed: Mismatch) -> String {
    match missed {
        Mismatch::Who => format!("it is not about {}", case.principal.name),
        Mismatch::Target => format!("it is not about target {}", case.target.name),
        Mismatch::Login => format!("it is not about login {}", case.login),
        Mismatch::Channel => format!("it is not about a {} channel", case.kind),
        _ => match scope.unmet(missed, case) {
            Some(unmet) => format!("it {unmet}"),
            None => "it does not hold".to_owned(),
        },
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { user, target, channel, .. } = &self.asked;
        let login = self.asked.login.as_deref().unwrap_or("?");
        let by = self.rule.as_deref().map(|rule| format!(" by rule {rule}")).unwrap_or_default();
        write!(f, "{}{by}: {user} to {login}@{target}, {channel}", self.decision)?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        writeln!(f)?;
        for assumed in &self.assumed {
            writeln!(f, "  assumed: {assumed}")?;
        }
        for rule in &self.rules {
            let verdict = if rule.matches { "matches".to_owned() } else { rule.because.join("; ") };
            writeln!(f, "  {:>4}  {} ({}): {verdict}", rule.line, rule.rule, rule.action)?;
            for exception in rule.exceptions.iter().filter(|_| rule.matches) {
                let ExceptionExplained { number, line, because, .. } = exception;
                writeln!(f, "  {line:>4}    exception {number} does not: {}", because.join("; "))?;
            }
        }
        if let Some(sign_in) = &self.sign_in {
            writeln!(f, "  sign-in: {sign_in}")?;
        }
        Ok(())
    }
}
