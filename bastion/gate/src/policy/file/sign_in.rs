//! How people may sign in, read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use toml::Spanned;

use super::{Reader, duration, shown};
use crate::{
    Name,
    policy::{
        fault::{PolicyFault, PolicyProblem},
        pattern::Pattern,
        rule::Groups,
        shape::SignInFile,
        sign_in::SignInRule,
    },
};

/// A SHA-256 in base64 without padding.
const FINGERPRINT_CHARS: usize = 43;

impl Reader<'_> {
    pub(super) fn sign_in(
        &self,
        file: &SignInFile,
        groups: &Groups,
        lines: &mut BTreeMap<Name, usize>,
    ) -> Result<SignInRule, PolicyFault> {
        let at = file.name.span().start;
        let name: Name = file.name.get_ref().parse().map_err(|_| {
            let problem = PolicyProblem::RuleName(shown(file.name.get_ref()));
            self.fault(at, problem, "letters, digits, '.', '_' and '-', for example \"admins-short\"")
        })?;
        if let Some(line) = lines.insert(name.clone(), self.line(at)) {
            return Err(self.fault(at, PolicyProblem::RuleTwice(name.to_string(), line), "another name"));
        }
        let rule = name.as_str();
        let read = SignInRule {
            users: self.patterns(rule, "users", &file.users)?.iter().map(Pattern::folded).collect(),
            groups: self.groups(rule, &file.groups, groups)?,
            device_flow: file.device_flow.unwrap_or(true),
            binding: self.binding(rule, &file.binding)?,
            from: self.networks(rule, &file.from)?,
            registered: file.registered,
            one_key: file.one_key,
            line: self.line(at),
            name: name.clone(),
        };
        if read.users.is_empty() && read.groups.is_empty() {
            let problem = PolicyProblem::NobodyNamed { rule: rule.to_owned() };
            return Err(self.fault(at, problem, "groups = [\"...\"], or users = [\"*\"] for everybody"));
        }
        let says = !read.device_flow
            || read.binding.is_some()
            || !read.from.is_empty()
            || read.registered
            || read.one_key;
        if !says {
            let problem = PolicyProblem::SignInSaysNothing { rule: rule.to_owned() };
            let way_out = "binding = \"1h\", or device_flow = false, from, registered, one_key";
            return Err(self.fault(at, problem, way_out));
        }
        Ok(read)
    }

    /// As other lengths of time, and nothing at all besides.
    fn binding(&self, rule: &str, text: &Option<Spanned<String>>) -> Result<Option<Duration>, PolicyFault> {
        let Some(text) = text else { return Ok(None) };
        let read = match text.get_ref().as_str() {
            "0" | "0s" => Some(Duration::ZERO),
            other => duration(other),
        };
        let problem = || PolicyProblem::Duration {
            rule: rule.to_owned(),
            key: "binding",
            value: shown(text.get_ref()),
        };
        let fault = || self.fault(text.span().start, problem(), "\"1h\", \"30m\", or \"0s\" for never");
        read.map(Some).ok_or_else(fault)
    }

    pub(super) fn registered(
        &self,
        name: &Spanned<String>,
        keys: &[Spanned<String>],
    ) -> Result<(Name, BTreeSet<String>), PolicyFault> {
        let owner: Name = name.get_ref().parse().map_err(|_| {
            let problem = PolicyProblem::KeyOwner { value: shown(name.get_ref()) };
            self.fault(name.span().start, problem, "the name that she signs in with")
        })?;
        let read = |key: &Spanned<String>| {
            let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
            let print = key.get_ref().strip_prefix("SHA256:");
            let is_one = |print: &&str| print.len() == FINGERPRINT_CHARS && print.bytes().all(is_base64);
            match print.filter(is_one) {
                Some(_) => Ok(key.get_ref().clone()),
                None => {
                    let problem = PolicyProblem::Fingerprint { value: shown(key.get_ref()) };
                    let way_out = "\"SHA256:...\", as `ssh-keygen -lf KEY.pub` prints it";
                    Err(self.fault(key.span().start, problem, way_out))
                }
            }
        };
        Ok((owner.folded(), keys.iter().map(read).collect::<Result<_, _>>()?))
    }
}
