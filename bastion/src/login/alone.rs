//! Until when a bound key really signs its owner in alone: as long as it was bound for, and as policy has it now.

use std::net::IpAddr;

use gate::{Policy, Principal};
use serde::{Deserialize, Serialize};

use super::{Binding, Login, StoreFault, admit::no_binding};

/// A binding, and what policy makes of it: for who lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedBinding {
    /// The binding as it was made.
    #[serde(flatten)]
    pub binding: Binding,
    /// Until when the key signs her in alone: seconds since 1970 (UTC); none if it does not.
    pub alone_until: Option<i64>,
    /// Why it does not, naming the rule: for administrators and the log.
    pub why: Option<String>,
}

impl Binding {
    /// Until when the key signs its owner in alone who calls from `source`: seconds since 1970 (UTC).
    ///
    /// # Errors
    /// Why it does not, naming the rule: for administrators and the log.
    pub fn alone_until(&self, policy: &Policy, source: IpAddr, now: i64) -> Result<i64, String> {
        let principal = Principal {
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            name: self.name.clone(),
            email: self.email.clone(),
            groups: self.groups.clone(),
            source: source.to_canonical(),
            key: Some(self.fingerprint.clone()),
            signed_in_at: self.created_at,
            amr: self.amr.clone(),
            acr: self.acr.clone(),
            certificate: None,
        };
        if let Some(why) = no_binding(policy, &principal, now) {
            return Err(why);
        }
        let most = policy.sign_in(&principal).binding.map(|most| i64::try_from(most.as_secs()));
        let most = most.and_then(Result::ok).unwrap_or(i64::MAX);
        Ok(self.expires_at.min(self.created_at.saturating_add(most)))
    }

    /// With what policy makes of it, for an owner who calls from where she did last.
    pub fn listed(self, policy: &Policy, now: i64) -> ListedBinding {
        let source = self.source;
        self.listed_from(policy, source, now)
    }

    /// With what policy makes of it, for an owner who calls from `source`.
    pub fn listed_from(self, policy: &Policy, source: IpAddr, now: i64) -> ListedBinding {
        let (alone_until, why) = match self.alone_until(policy, source, now) {
            Ok(until) => (Some(until), None),
            Err(why) => (None, Some(why)),
        };
        ListedBinding { binding: self, alone_until, why }
    }
}

impl Login {
    /// Until when her key signs her in alone: seconds since 1970 (UTC); none if it does not.
    pub fn alone_until(&self, principal: &Principal) -> Option<i64> {
        let now = self.clock.now();
        let binding = self.bindings.find(principal.key.as_deref()?, now).ok()??;
        let is_hers = (&binding.issuer, &binding.subject) == (&principal.issuer, &principal.subject);
        binding.alone_until(&self.policy.load(), principal.source, now).ok().filter(|_| is_hers)
    }

    /// The bindings that live, each with what policy makes of it for an owner who calls from where she did last.
    ///
    /// # Errors
    /// If the store fails.
    pub fn listed(&self) -> Result<Vec<ListedBinding>, StoreFault> {
        let (now, policy) = (self.clock.now(), self.policy.load());
        Ok(self.bindings.all(now)?.into_iter().map(|binding| binding.listed(&policy, now)).collect())
    }

    /// A binding of hers, with what policy makes of it from where she calls now.
    pub fn listed_for(&self, binding: Binding, principal: &Principal) -> ListedBinding {
        binding.listed_from(&self.policy.load(), principal.source, self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn binding(groups: &[&str]) -> Binding {
        let principal = Principal {
            issuer: "https://id.example".into(),
            subject: "7".into(),
            name: "alice".parse().unwrap(),
            email: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            source: "10.1.2.3".parse().unwrap(),
            key: None,
            signed_in_at: 1_000,
            amr: [].into(),
            acr: None,
            certificate: None,
        };
        Binding::new("SHA256:x".into(), &principal, DAY)
    }

    #[test]
    fn a_binding_ends_when_it_was_bound_to_or_when_policy_says_whichever_is_first() {
        let policy = |length: &str| {
            let rule = format!("[[sign_in]]\nname = 'r'\ngroups = ['sre']\nbinding = '{length}'\n");
            Policy::parse(&format!("[groups]\nsre = {{ provider = 'sre' }}\n{rule}"), "policy.toml").unwrap()
        };
        let listed = |length: &str, groups: &[&str], now| binding(groups).listed(&policy(length), now);

        assert_eq!(listed("1h", &["sre"], 2_000).alone_until, Some(1_000 + 3600));
        assert_eq!(listed("2d", &["sre"], 2_000).alone_until, Some(1_000 + 86_400));
        assert_eq!(listed("1h", &[], 2_000).alone_until, Some(1_000 + 86_400), "the rule is not about her");

        let over = listed("1h", &["sre"], 1_000 + 3600);
        assert_eq!((over.alone_until, over.why.is_some()), (None, true));
        assert_eq!(listed("0s", &["sre"], 1_001).why.as_deref(), Some("rule r lets no key sign in alone"));
    }

    #[test]
    fn from_where_she_calls_counts_and_what_is_listed_is_read_back() {
        let policy = "[[sign_in]]\nname = 'r'\nusers = ['*']\nfrom = ['10.0.0.0/8']\n";
        let policy = Policy::parse(policy, "policy.toml").unwrap();
        let here = binding(&[]).listed(&policy, 2_000);
        assert_eq!(here.alone_until, Some(87_400));
        let elsewhere = binding(&[]).listed_from(&policy, "192.0.2.1".parse().unwrap(), 2_000);
        assert!(elsewhere.why.as_ref().is_some_and(|why| why.contains("other networks")), "{elsewhere:?}");

        for listed in [here, elsewhere] {
            let told = serde_json::to_vec(&listed).unwrap();
            assert_eq!(serde_json::from_slice::<ListedBinding>(&told).unwrap(), listed);
        }
    }
}
