//! The last step: name and key are hers, and it is written down.

use std::time::Duration;

use gate::{NewKey, Policy, Principal};

use crate::{audit::By, revoke::forget};

use super::{
    BindFault, Binding, Identity, Kept, KeyProof, NameOwner, Proof, Refresh, SignIn, State, Whose, audit,
    audit::Act, notice,
};

/// Why a bound key does not sign its owner in alone, if policy does not let it.
pub(super) fn no_binding(policy: &Policy, principal: &Principal, now: i64) -> Option<String> {
    let terms = policy.sign_in(principal);
    if let Some(rule) = terms.no_device_flow {
        return Some(format!("rule {rule} lets her not sign in by a code, by which it was bound"));
    }
    let age = now.saturating_sub(principal.signed_in_at);
    let is_old = |most: Duration| u64::try_from(age).is_ok_and(|age| age >= most.as_secs());
    match terms.no_binding {
        Some(why) => Some(why.to_string()),
        None => terms
            .binding
            .filter(|most| is_old(*most))
            .map(|_| "policy lets keys sign in alone for less long".into()),
    }
}

impl SignIn {
    /// The key that this sign-in has bound, if that is news.
    pub fn newly_bound(&self) -> Option<&NewKey> {
        self.newly_bound.as_ref()
    }

    /// What the provider is asked with again while this connection lives, if no key was bound; for the first who takes it.
    pub fn take_kept(&mut self) -> Option<Kept> {
        self.kept.take()
    }

    /// Whether policy lets the key sign in without its owner's doing.
    pub(super) fn may_sign_in_alone(&mut self, proof: &KeyProof, binding: &Binding, now: i64) -> bool {
        let bound = Proof::Bound(proof.clone(), binding.clone());
        let why = no_binding(&self.login.policy.load(), &bound.principal(self.source, now), now);
        if let Some(why) = &why {
            tracing::info!(source = %self.source, name = %binding.name, key = binding.fingerprint, "its owner signs in anew: {why}");
        }
        let is_let = why.is_none();
        self.certificates.not_alone = why;
        is_let
    }

    /// Lets in whom both the provider and the name agree on, and binds the key that was proven on the way.
    pub(super) async fn admit(
        &mut self,
        identity: Identity,
        refresh: Option<Refresh>,
    ) -> Result<Box<Principal>, &'static str> {
        let State::Asking { key, .. } = &self.state else { return Err(notice::PROVIDER_UNFIT) };
        let key = key.clone();
        let now = self.login.clock.now();
        let proof = Proof::Fresh(key.clone(), identity);
        let principal = proof.principal(self.source, now);
        let terms = self.login.policy.load().sign_in(&principal);
        if let Some(rule) = &terms.no_device_flow {
            tracing::warn!(source = %self.source, name = %principal.name, "rule {rule} lets her not sign in by a code; refused");
            return Err(notice::NOT_BY_A_CODE);
        }
        self.refuse_anothers_key(&principal, now)?;
        self.take_name(&principal, now).await?;
        let is_kept = !self.login.settings.recheck.is_zero();
        self.kept = refresh.filter(|_| is_kept).map(|token| Kept::new(audit::person(&principal), token, now));
        self.has_bound = false;
        let length = self.login.settings.binding.min(terms.binding.unwrap_or(Duration::MAX));
        if let Some(why) = &terms.no_binding {
            tracing::info!(source = %self.source, name = %principal.name, key = principal.key, "no key is bound: {why}");
        } else if let Some(key) = key.filter(|_| !length.is_zero()) {
            let binding = Binding::new(key.fingerprint.clone(), &principal, length);
            self.has_bound = self.bind(binding, &principal, now).await?;
            // Not before the new one is on the disk, or she could be left with none.
            if self.has_bound && terms.one_key.is_some() {
                self.end_others(&key.fingerprint, &principal, now).await;
            }
        }
        Ok(self.enter(proof, now))
    }

    /// A key that is another person's opens nothing for her, also where policy would bind none to her.
    fn refuse_anothers_key(&self, principal: &Principal, now: i64) -> Result<(), &'static str> {
        let Some(key) = principal.key.as_deref() else { return Ok(()) };
        let her = (principal.issuer.as_str(), principal.subject.as_str());
        match self.login.bindings.is_anothers(key, her, &self.login.providers.issuers(), now) {
            Ok(false) => Ok(()),
            Ok(true) => {
                tracing::warn!(source = %self.source, key, "a key that is bound to another person");
                Err(notice::ANOTHERS_KEY)
            }
            Err(fault) => {
                tracing::error!(%fault, key, "nobody knows whose the key is; refused");
                Err(notice::NO_RECORD)
            }
        }
    }

    /// Her other keys sign her in no more; what they opened goes on. Each is written down first.
    async fn end_others(&self, key: &str, principal: &Principal, now: i64) {
        let is_other = |binding: &Binding| {
            (&binding.issuer, &binding.subject) == (&principal.issuer, &principal.subject)
                && binding.fingerprint != key
        };
        let (bindings, audit) = (&self.login.bindings, &self.login.audit);
        if let Err(fault) = forget(bindings, audit, now, By::Bastion, is_other).await {
            tracing::error!(%fault, name = %principal.name, "her other keys still sign her in");
        }
    }

    /// Makes sure that the name is hers. In doubt it is not.
    pub(super) async fn take_name(&self, principal: &Principal, now: i64) -> Result<(), &'static str> {
        let Principal { name, issuer, subject, .. } = principal;
        let claimed = NameOwner::new(name, issuer, subject, now);
        let unknown = |fault: &dyn std::fmt::Display| {
            tracing::error!(%fault, %name, "nobody knows whose the name is; refused");
            notice::NO_RECORD
        };
        let mut whose = self.login.bindings.whose(&claimed).map_err(|fault| unknown(&fault))?;
        if whose == Whose::Nobodys {
            let written = self.login.audit.write(Act::NameTaken { person: audit::person(principal) }).await;
            written.map_err(|fault| unknown(&fault))?;
            whose = self.login.bindings.claim(claimed).await.map_err(|fault| unknown(&fault))?;
        }
        let owner = match whose {
            Whose::Hers => return Ok(()),
            Whose::Nobodys => None,
            Whose::Anothers(owner) => Some((owner.issuer, owner.subject)),
        };
        let (owner_issuer, owner_subject) = owner.unzip();
        tracing::warn!(
            source = %self.source, key = principal.key, %name, issuer, subject, owner_issuer, owner_subject,
            try_this = try_this(principal), "the name is another person's; refused"
        );
        Err(notice::NOT_HER_NAME)
    }

    /// Binds a key to her. Answers whether it is, for good.
    async fn bind(
        &mut self,
        binding: Binding,
        principal: &Principal,
        now: i64,
    ) -> Result<bool, &'static str> {
        let act = Act::KeyBound {
            person: audit::person(principal),
            key: binding.fingerprint.clone(),
            source: binding.source.to_string(),
            expires_at: binding.expires_at,
        };
        if let Err(fault) = self.login.audit.write(act).await {
            tracing::error!(%fault, "a key is not bound, and its owner not let in");
            return Err(notice::NO_RECORD);
        }
        let key = NewKey { fingerprint: binding.fingerprint.clone(), source: binding.source };
        let (owner, kept) = (binding.person(), self.kept.clone());
        match self.login.bindings.bind(binding, self.login.providers.issuers(), now).await {
            Ok(is_news) => {
                let bindings = &self.login.bindings;
                match self.login.rechecks.keep(bindings, &key.fingerprint, &owner, kept.as_ref()) {
                    Ok(()) => self.kept = None,
                    // Then it is asked with for as long as this connection lives, and not beyond.
                    Err(fault) => tracing::error!(%fault, "a refresh token is not stored"),
                }
                self.newly_bound = is_news.then_some(key);
                Ok(true)
            }
            Err(BindFault::Anothers(key)) => {
                tracing::warn!(source = %self.source, key, "a key that is bound to another person");
                Err(notice::ANOTHERS_KEY)
            }
            // She has proven who she is: a store that fails costs her a prompt next time, not this session.
            Err(fault) => {
                tracing::error!(%fault, "the key is not bound");
                Ok(false)
            }
        }
    }
}

/// The way out for an administrator who reads that a name is another person's. Released, it is whoever's comes next, and its
/// owner is refused from then on: so that is no first thing to do.
fn try_this(principal: &Principal) -> String {
    let name = &principal.name;
    let look = format!("look first who both are: bastion names list, bastion audit --user {name}");
    match principal.certificate {
        Some(_) => format!("{look}; then have the certificate made out to another name"),
        None => format!(
            "{look}; only if the owner will never come back, bastion names release {name} gives the name to the newcomer and \
             shuts its owner out"
        ),
    }
}
