//! The text of policy.toml, read: a policy, or what is wrong with it.

mod scope;
mod sign_in;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use toml::Spanned;

use super::{
    Limits, Policy,
    fault::{FILE_BYTES_MAX, PolicyFault, PolicyProblem},
    rule::{Action, Exception, Group, Groups, Rule},
    shape::{GroupFile, GroupTable, PolicyFile, RuleFile, ScopeFile, UnlessFile},
};
use crate::{Name, Printable, nearest, retyped};

/// A session of a year is a mistake.
const LONGEST_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

impl Policy {
    /// Reads a policy; `file_name` is what faults call it. It is taken whole or not at all.
    ///
    /// # Errors
    ///
    /// The first fault that is found, with its line, the value and the way out.
    pub fn parse(text: &str, file_name: &str) -> Result<Policy, PolicyFault> {
        let reader = Reader { text, file_name };
        if text.len() > FILE_BYTES_MAX {
            let problem = PolicyProblem::TooLarge(text.len());
            return Err(reader.fault(0, problem, "fewer rules, with patterns and groups"));
        }
        let mut file: PolicyFile = toml::from_str(text).map_err(|error| reader.toml_fault(&error))?;
        let groups =
            file.groups.iter().map(|(name, group)| reader.group(name, group)).collect::<Result<_, _>>()?;
        let mut rules: Vec<Rule> = Vec::with_capacity(file.rules.len());
        let mut lines: BTreeMap<Name, usize> = BTreeMap::new();
        for rule in &mut file.rules {
            let read = reader.rule(rule, &groups)?;
            if let Some(line) = lines.insert(read.name.clone(), read.line) {
                let problem = PolicyProblem::RuleTwice(read.name.to_string(), line);
                return Err(reader.fault(rule.name.span().start, problem, "another name"));
            }
            rules.push(read);
        }
        let sign_in = file.sign_in.iter().map(|rule| reader.sign_in(rule, &groups, &mut lines));
        let sign_in = sign_in.collect::<Result<_, _>>()?;
        let registered_keys = file.registered_keys.iter().map(|(name, keys)| reader.registered(name, keys));
        let registered_keys = registered_keys.collect::<Result<_, _>>()?;
        Ok(Policy { groups, rules, sign_in, registered_keys })
    }
}

/// Turns what serde understood into a policy, and knows where everything stands.
struct Reader<'a> {
    text: &'a str,
    file_name: &'a str,
}

impl Reader<'_> {
    fn fault(&self, at: usize, problem: PolicyProblem, way_out: impl Into<String>) -> PolicyFault {
        PolicyFault { file: self.file_name.to_owned(), line: self.line(at), problem, way_out: way_out.into() }
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn toml_fault(&self, error: &toml::de::Error) -> PolicyFault {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message();
        // serde's words: unknown field `actoin`, expected one of `name`, `action`
        if let Some(rest) = message.strip_prefix("unknown field ") {
            let mut words = rest.split('`').skip(1).step_by(2);
            let key = words.next().unwrap_or_default();
            let known: Vec<&str> = words.collect();
            let way_out = did_you_mean(key, known.iter().copied())
                .unwrap_or_else(|| format!("one of {}", known.join(", ")));
            return self.fault(at, PolicyProblem::UnknownKey(shown(key)), way_out);
        }
        let message = message.lines().collect::<Vec<_>>().join(", ");
        let found = error.span().and_then(|span| self.text.get(span)).unwrap_or_default();
        let way_out = match retyped(&message, found) {
            Some(meant) => meant,
            None if message.starts_with("missing field") => "add that key".to_owned(),
            None => "see docs/policy.md".to_owned(),
        };
        self.fault(at, PolicyProblem::Toml(Printable::of(&message).to_string()), way_out)
    }

    fn group(
        &self,
        name: &Spanned<String>,
        group: &Spanned<GroupFile>,
    ) -> Result<(Name, Group), PolicyFault> {
        let at = name.span().start;
        let name: Name = name.get_ref().parse().map_err(|_| {
            let problem = PolicyProblem::GroupName(shown(name.get_ref()));
            self.fault(
                at,
                problem,
                "letters, digits, '.', '_' and '-'; the provider's own name stands in `provider`",
            )
        })?;
        let GroupTable { members, provider } = &group.get_ref().0;
        let members = members.iter().map(|member| {
            let value = member.get_ref();
            value.parse::<Name>().map(|name| name.folded()).map_err(|_| {
                let problem = PolicyProblem::Member { group: name.to_string(), value: shown(value) };
                self.fault(member.span().start, problem, "the name that she signs in with")
            })
        });
        let members = members.collect::<Result<BTreeSet<Name>, _>>()?;
        if members.is_empty() && provider.0.is_empty() {
            let way_out = format!("{name} = [\"alice\"], or {name} = {{ provider = \"{name}\" }}");
            return Err(self.fault(at, PolicyProblem::EmptyGroup(name.to_string()), way_out));
        }
        Ok((name, Group { line: self.line(at), members, provider: provider.0.clone() }))
    }

    fn rule(&self, file: &mut RuleFile, groups: &Groups) -> Result<Rule, PolicyFault> {
        let at = file.name.span().start;
        let name: Name = file.name.get_ref().parse().map_err(|_| {
            let problem = PolicyProblem::RuleName(shown(file.name.get_ref()));
            self.fault(at, problem, "letters, digits, '.', '_' and '-', for example \"sre-office-hours\"")
        })?;
        let rule = name.as_str();
        let rule = Rule {
            action: self.action(rule, &file.action)?,
            scope: self.scope(rule, &file.take_scope(), groups)?,
            exceptions: self.exceptions(rule, file, groups)?,
            login: self.login(rule, &file.login)?,
            limits: Limits {
                longest: self.duration(rule, "longest", &file.longest)?,
                idle: self.duration(rule, "idle", &file.idle)?,
            },
            line: self.line(at),
            name,
        };
        self.makes_sense(file, rule)
    }

    fn exceptions(
        &self,
        rule: &str,
        file: &RuleFile,
        groups: &Groups,
    ) -> Result<Vec<Exception>, PolicyFault> {
        let Some(unless) = &file.unless else { return Ok(vec![]) };
        let at = unless.span().start;
        let all: Vec<(usize, &ScopeFile)> = match unless.get_ref() {
            UnlessFile::One(one) => vec![(at, one)],
            UnlessFile::Several(all) => all.iter().map(|one| (one.span().start, one.get_ref())).collect(),
        };
        if all.is_empty() {
            let problem = PolicyProblem::EmptyList { rule: rule.to_owned(), key: "unless" };
            return Err(self.fault(at, problem, "leave it out"));
        }
        let read = |(before, (at, file)): (usize, (usize, &ScopeFile))| {
            let scope = self.scope(rule, file, groups)?;
            if scope.is_everything() {
                let problem = PolicyProblem::ExceptsAll { rule: rule.to_owned() };
                let way_out = "say what is excepted, as in unless = { groups = [\"...\"] }, or leave it out";
                return Err(self.fault(at, problem, way_out));
            }
            Ok(Exception { number: before + 1, line: self.line(at), scope })
        };
        all.into_iter().enumerate().map(read).collect()
    }

    /// What each key may say on its own, together may still mean nothing.
    fn makes_sense(&self, file: &RuleFile, rule: Rule) -> Result<Rule, PolicyFault> {
        let at = file.name.span().start;
        let name = || rule.name.to_string();
        if rule.scope.users.is_empty() && rule.scope.groups.is_empty() {
            let problem = PolicyProblem::NobodyNamed { rule: name() };
            return Err(self.fault(at, problem, "groups = [\"...\"], or users = [\"*\"] for everybody"));
        }
        if rule.scope.targets.is_empty() && rule.scope.labels.is_empty() {
            let problem = PolicyProblem::NoTargetNamed { rule: name() };
            return Err(self.fault(at, problem, "labels = { env = \"...\" }, or targets = [\"*\"] for all"));
        }
        if let (Some(login), Some(file)) = (&rule.login, &file.login)
            && !rule.scope.admits_login(login)
        {
            let problem = PolicyProblem::LoginNotAdmitted { rule: name(), value: login.to_string() };
            return Err(self.fault(file.span().start, problem, format!("add \"{login}\" to its logins")));
        }
        let limits = [("login", &file.login), ("longest", &file.longest), ("idle", &file.idle)];
        match limits.into_iter().find_map(|(key, value)| value.as_ref().map(|value| (key, value))) {
            Some((key, value)) if rule.action == Action::Deny => {
                let problem = PolicyProblem::MeansNothing { rule: name(), key };
                Err(self.fault(
                    value.span().start,
                    problem,
                    "leave it out, or put it into a rule that allows",
                ))
            }
            _ => Ok(rule),
        }
    }

    fn action(&self, rule: &str, action: &Spanned<String>) -> Result<Action, PolicyFault> {
        match action.get_ref().as_str() {
            "allow" => Ok(Action::Allow),
            "deny" => Ok(Action::Deny),
            other => {
                let problem = PolicyProblem::Action { rule: rule.to_owned(), value: shown(other) };
                let way_out = did_you_mean(other, ["allow", "deny"]);
                Err(self.fault(
                    action.span().start,
                    problem,
                    way_out.unwrap_or("\"allow\" or \"deny\"".to_owned()),
                ))
            }
        }
    }

    fn login(&self, rule: &str, login: &Option<Spanned<String>>) -> Result<Option<Name>, PolicyFault> {
        let Some(login) = login else { return Ok(None) };
        let name = login.get_ref().parse().map_err(|_| {
            let problem = PolicyProblem::LoginName { rule: rule.to_owned(), value: shown(login.get_ref()) };
            self.fault(login.span().start, problem, "one login, without wildcards; `logins` takes those")
        })?;
        Ok(Some(name))
    }

    fn duration(
        &self,
        rule: &str,
        key: &'static str,
        text: &Option<Spanned<String>>,
    ) -> Result<Option<Duration>, PolicyFault> {
        let Some(text) = text else { return Ok(None) };
        let Some(duration) = duration(text.get_ref()) else {
            let problem =
                PolicyProblem::Duration { rule: rule.to_owned(), key, value: shown(text.get_ref()) };
            return Err(self.fault(
                text.span().start,
                problem,
                "\"90s\", \"30m\", \"8h\" or \"1h30m\", up to 366d",
            ));
        };
        Ok(Some(duration))
    }
}

/// Reads `90s`, `30m`, `8h`, `2d` or several of them in a row; more than nothing, at most [`LONGEST_MAX`].
fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut number: Option<u64> = None;
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    let duration = Duration::from_secs(seconds);
    (number.is_none() && !duration.is_zero() && duration <= LONGEST_MAX).then_some(duration)
}

fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(found, known).map(|word| format!("\"{word}\""))
}

/// A value of the file, as a message shows it: the message itself puts it in quotes.
fn shown(value: &str) -> String {
    value.chars().take(Printable::CHARS_MAX).collect()
}
