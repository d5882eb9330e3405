//! What would be decided, and by which rule: for `bastion explain`.

use std::fmt;

use serde::Serialize;

use super::{
    Decision, Policy,
    rule::{Action, Case, Mismatch, Rule},
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
    /// Seconds that the session may last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_s: Option<u64>,
    /// Seconds that it may be idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
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
    /// Seconds since 1970 (UTC).
    pub at: i64,
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
}

impl Policy {
    /// Decides as [`Policy::decide`] does, and says how it came about.
    pub fn explain(&self, request: &Request) -> Explanation {
        let groups = self.groups_of(&request.principal);
        let kind = request.opening.kind();
        let decided = self.decide(request);
        let login = self.login(request, &groups, &kind).ok();
        let held_against = login.clone().or(request.login.clone());
        let explained = |rule: &Rule| {
            let because = match &held_against {
                Some(login) => {
                    let case = Case {
                        principal: &request.principal,
                        groups: &groups,
                        target: &request.target,
                        login,
                        kind: &kind,
                        now: request.now,
                    };
                    rule.mismatches(&case).map(|missed| reason(rule, &case, missed)).collect()
                }
                None => vec!["no login was asked for, and none is meant".to_owned()],
            };
            let action = word(rule.action);
            RuleExplained {
                rule: rule.name.to_string(),
                line: rule.line,
                action,
                matches: because.is_empty(),
                because,
            }
        };
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
                user: request.principal.name.to_string(),
                groups: groups.iter().map(|group| group.to_string()).collect(),
                target: request.target.name.to_string(),
                login: login.as_ref().map(Name::to_string),
                channel: kind.to_string(),
                at: request.now,
            },
            longest_s: limits.longest.map(|longest| longest.as_secs()),
            idle_s: limits.idle.map(|idle| idle.as_secs()),
            rules: self.rules.iter().map(explained).collect(),
        }
    }
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    }
}

fn reason(rule: &Rule, case: &Case<'_>, missed: Mismatch) -> String {
    match missed {
        Mismatch::Who => format!("it is not about {}", case.principal.name),
        Mismatch::Target => format!("it is not about target {}", case.target.name),
        Mismatch::Login => format!("it is not about login {}", case.login),
        Mismatch::Channel => format!("it is not about a {} channel", case.kind),
        Mismatch::Time => match &rule.when {
            Some(hours) => format!("it holds {hours} only"),
            None => "it does not hold at this time".to_owned(),
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
        for rule in &self.rules {
            let verdict = if rule.matches { "matches".to_owned() } else { rule.because.join("; ") };
            writeln!(f, "  {:>4}  {} ({}): {verdict}", rule.line, rule.rule, rule.action)?;
        }
        Ok(())
    }
}
