//! What a rule or an exception is about, read.

use jiff::tz::TimeZone;
use toml::Spanned;

use super::{Reader, did_you_mean, shown};
use crate::{
    Name,
    policy::{
        fault::{PolicyFault, PolicyProblem},
        hours::{self, Hours, Span},
        network::{Network, NetworkFault},
        pattern::Pattern,
        rule::Groups,
        scope::{KindPattern, Scope},
        shape::{Labels, ScopeFile, Texts, WhenFile},
    },
};

/// A longer value is refused at the sign-in too.
const CLAIM_BYTES_MAX: usize = 256;

impl Reader<'_> {
    pub(super) fn scope(&self, rule: &str, file: &ScopeFile, groups: &Groups) -> Result<Scope, PolicyFault> {
        Ok(Scope {
            users: self.patterns(rule, "users", &file.users)?.iter().map(Pattern::folded).collect(),
            groups: self.groups(rule, &file.groups, groups)?,
            targets: self.patterns(rule, "targets", &file.targets)?,
            labels: self.labels(rule, &file.labels)?,
            logins: self.patterns(rule, "logins", &file.logins)?,
            channels: self.channels(rule, &file.channels)?,
            when: file.when.as_ref().map(|when| self.hours(rule, when)).transpose()?,
            from: self.networks(rule, &file.from)?,
            max_age: self.duration(rule, "max_age", &file.max_age)?,
            amr: self.claims(rule, "amr", &file.amr)?,
            acr: self.claims(rule, "acr", &file.acr)?,
        })
    }

    pub(super) fn patterns(
        &self,
        rule: &str,
        key: &'static str,
        texts: &Texts,
    ) -> Result<Vec<Pattern>, PolicyFault> {
        let read = |text: &Spanned<String>| {
            Pattern::for_names(text.get_ref()).ok_or_else(|| {
                let problem =
                    PolicyProblem::Pattern { rule: rule.to_owned(), key, value: shown(text.get_ref()) };
                self.fault(
                    text.span().start,
                    problem,
                    "letters, digits, '.', '_', '-', and the wildcards '*' and '?'",
                )
            })
        };
        self.list(rule, key, texts, read)
    }

    pub(super) fn groups(&self, rule: &str, texts: &Texts, known: &Groups) -> Result<Vec<Name>, PolicyFault> {
        let read = |text: &Spanned<String>| -> Result<Vec<Name>, PolicyFault> {
            let pattern = Pattern::for_names(text.get_ref());
            let found: Vec<Name> = known
                .keys()
                .filter(|name| pattern.as_ref().is_some_and(|pattern| pattern.matches(name.as_str())))
                .cloned()
                .collect();
            if !found.is_empty() {
                return Ok(found);
            }
            let problem = PolicyProblem::NoGroup { rule: rule.to_owned(), group: shown(text.get_ref()) };
            let way_out = did_you_mean(text.get_ref(), known.keys().map(Name::as_str)).unwrap_or_else(|| {
                let name = text.get_ref().parse::<Name>().map_or("NAME".to_owned(), |name| name.to_string());
                format!("add it to [groups]: {name} = {{ provider = \"...\" }}, or {name} = [\"alice\"]")
            });
            Err(self.fault(text.span().start, problem, way_out))
        };
        Ok(self.list(rule, "groups", texts, read)?.into_iter().flatten().collect())
    }

    fn labels(&self, rule: &str, labels: &Labels) -> Result<Vec<(String, Pattern)>, PolicyFault> {
        let Some(labels) = labels else { return Ok(vec![]) };
        if labels.get_ref().is_empty() {
            let problem = PolicyProblem::EmptyList { rule: rule.to_owned(), key: "labels" };
            return Err(self.fault(labels.span().start, problem, "leave it out"));
        }
        let read = |(key, value): (&String, &Spanned<String>)| match Pattern::for_values(value.get_ref()) {
            Some(pattern) => Ok((key.clone(), pattern)),
            None => {
                let value_shown = shown(value.get_ref());
                let problem =
                    PolicyProblem::Pattern { rule: rule.to_owned(), key: "labels", value: value_shown };
                Err(self.fault(
                    value.span().start,
                    problem,
                    "1 to 128 printable characters; '*' for any value",
                ))
            }
        };
        labels.get_ref().iter().map(read).collect()
    }

    fn channels(&self, rule: &str, texts: &Texts) -> Result<Vec<KindPattern>, PolicyFault> {
        const KINDS: [&str; 5] = ["terminal", "shell", "exec", "subsystem", "sftp"];
        let read = |text: &Spanned<String>| match text.get_ref().as_str() {
            "terminal" => Ok(KindPattern::Terminal),
            "shell" => Ok(KindPattern::Shell),
            "exec" => Ok(KindPattern::Exec),
            "subsystem" => Ok(KindPattern::AnySubsystem),
            "sftp" => Ok(KindPattern::Subsystem("sftp".to_owned())),
            other => match other.strip_prefix("subsystem:") {
                Some(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => {
                    Ok(KindPattern::Subsystem(name.to_owned()))
                }
                _ => {
                    let problem = PolicyProblem::Kind { rule: rule.to_owned(), value: shown(other) };
                    let way_out = did_you_mean(other, KINDS)
                        .unwrap_or_else(|| format!("one of {}, subsystem:NAME", KINDS.join(", ")));
                    Err(self.fault(text.span().start, problem, way_out))
                }
            },
        };
        self.list(rule, "channels", texts, read)
    }

    fn hours(&self, rule: &str, when: &WhenFile) -> Result<Hours, PolicyFault> {
        let rule_name = || rule.to_owned();
        let zone = TimeZone::get(when.zone.get_ref()).map_err(|_| {
            let problem = PolicyProblem::Zone { rule: rule_name(), value: shown(when.zone.get_ref()) };
            let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            let way_out = did_you_mean(when.zone.get_ref(), known.iter().map(String::as_str));
            self.fault(
                when.zone.span().start,
                problem,
                way_out.unwrap_or("for example \"Europe/Berlin\" or \"UTC\"".into()),
            )
        })?;
        let days = self.list(rule, "days", &when.days, |text| {
            hours::days(text.get_ref()).ok_or_else(|| {
                let problem = PolicyProblem::Days { rule: rule_name(), value: shown(text.get_ref()) };
                self.fault(text.span().start, problem, "\"mon\", or \"mon-fri\"")
            })
        })?;
        let spans = self.list(rule, "hours", &when.hours, |text| {
            Span::parse(text.get_ref()).ok_or_else(|| {
                let problem = PolicyProblem::Hours { rule: rule_name(), value: shown(text.get_ref()) };
                self.fault(text.span().start, problem, "\"08:00-18:00\", or \"22:00-06:00\" for a night")
            })
        })?;
        let days =
            if when.days.is_none() { hours::every_day() } else { days.into_iter().flatten().collect() };
        let spans = if spans.is_empty() { vec![Span::WHOLE_DAY] } else { spans };
        Ok(Hours { days, spans, zone })
    }

    pub(super) fn networks(&self, rule: &str, texts: &Texts) -> Result<Vec<Network>, PolicyFault> {
        let read = |text: &Spanned<String>| {
            Network::parse(text.get_ref()).map_err(|fault| {
                let (rule, value) = (rule.to_owned(), shown(text.get_ref()));
                let (problem, way_out) = match fault {
                    NetworkFault::Unreadable => (
                        PolicyProblem::Network { rule, value },
                        "\"10.0.0.0/8\", \"2001:db8::/32\", or one address: \"192.0.2.7\"".to_owned(),
                    ),
                    NetworkFault::TooLong(bits) => (
                        PolicyProblem::Network { rule, value },
                        format!("a prefix of at most /{bits}, which is one address"),
                    ),
                    NetworkFault::BitsBeyond(network) => {
                        (PolicyProblem::BitsBeyond { rule, value }, format!("\"{network}\""))
                    }
                };
                self.fault(text.span().start, problem, way_out)
            })
        };
        self.list(rule, "from", texts, read)
    }

    /// Values of a claim, compared exactly. What a sign-in would be refused for is no value.
    fn claims(&self, rule: &str, key: &'static str, texts: &Texts) -> Result<Vec<String>, PolicyFault> {
        let read = |text: &Spanned<String>| {
            let value = text.get_ref();
            if value.is_empty() || value.len() > CLAIM_BYTES_MAX || value.chars().any(char::is_control) {
                let problem = PolicyProblem::Claim { rule: rule.to_owned(), key, value: shown(value) };
                let way_out = "1 to 256 printable characters, as the provider writes them";
                return Err(self.fault(text.span().start, problem, way_out));
            }
            Ok(value.clone())
        };
        self.list(rule, key, texts, read)
    }

    /// A list that is not there says nothing; one that is there and empty would match nothing, which nobody means.
    fn list<T>(
        &self,
        rule: &str,
        key: &'static str,
        texts: &Texts,
        read: impl Fn(&Spanned<String>) -> Result<T, PolicyFault>,
    ) -> Result<Vec<T>, PolicyFault> {
        let Some(texts) = texts else { return Ok(vec![]) };
        if texts.get_ref().is_empty() {
            let problem = PolicyProblem::EmptyList { rule: rule.to_owned(), key };
            let way_out = match key {
                "from" | "amr" | "acr" => "name at least one, or leave it out",
                _ => "leave it out, or use [\"*\"]",
            };
            return Err(self.fault(texts.span().start, problem, way_out));
        }
        texts.get_ref().iter().map(read).collect()
    }
}
