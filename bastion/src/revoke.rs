//! Taking rights back: bindings are forgotten, names released, and what they opened is ended.

use std::time::Duration;

use gate::Name;
use serde::{Deserialize, Serialize};

use crate::{
    audit::{Act, Audit, By, Unwritten},
    house::House,
    live::Holder,
    login::{Binding, Bindings, NameOwner, StoreFault},
};

/// What ended sessions are told.
const WHY: &str = "the sign-in that opened it was revoked";

/// So long they have to say so: with what a connection has to end, less than the five seconds after which all is over.
const NOTICE: Duration = Duration::from_secs(2);

/// Which keys lose their right. What is not asked about does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Those of the person with this name.
    pub user: Option<Name>,
    /// Those of this person: issuer and subject.
    pub person: Option<(String, String)>,
    /// The key with this fingerprint.
    pub key: Option<String>,
}

/// Why nothing, or not all of it, was taken back.
#[derive(Debug, thiserror::Error)]
pub enum RevokeFault {
    /// It must not happen unwritten.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The store of bindings.
    #[error("the store of bindings fails: {0}")]
    Store(#[from] StoreFault),
}

/// What was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Fingerprints of the keys.
    pub keys: Vec<String>,
    /// Connections that are ended.
    pub connections: usize,
}

impl Which {
    /// Whether this binding is one of them.
    pub fn is_binding(&self, binding: &Binding) -> bool {
        let Binding { name, issuer, subject, fingerprint, .. } = binding;
        self.fits(name.as_str(), (issuer, subject), Some(fingerprint))
    }

    fn is_holder(&self, holder: &Holder) -> bool {
        self.fits(&holder.name, (&holder.issuer, &holder.subject), holder.key.as_deref())
    }

    fn fits(&self, name: &str, (issuer, subject): (&str, &str), key: Option<&str>) -> bool {
        self.user.as_ref().is_none_or(|user| user.as_str().eq_ignore_ascii_case(name))
            && self.person.as_ref().is_none_or(|(i, s)| (i.as_str(), s.as_str()) == (issuer, subject))
            && self.key.as_deref().is_none_or(|wanted| Some(wanted) == key)
    }
}

impl House {
    /// Takes the right to sign in from keys, and ends the connections and sessions that they opened. Without a key
    /// asked for, those that were opened without one are ended too.
    ///
    /// # Errors
    /// When it cannot be written down or stored; what lives is ended all the same once the entry is written.
    pub async fn revoke(&self, by: By, which: Which) -> Result<Revoked, RevokeFault> {
        if !self.would_hit(&which) {
            return Ok(Revoked::default());
        }
        let entry = Act::ConnectionsEnded {
            name: which.user.as_ref().map(ToString::to_string),
            subject: which.person.as_ref().map(|(_, subject)| subject.clone()),
            key: which.key.clone(),
            by: by.clone(),
        };
        self.audit.write(entry).await?;
        let forgotten =
            forget(self.login.bindings(), &self.audit, self.login.now(), by, |b| which.is_binding(b)).await;
        self.live.end_those(|holder| which.is_holder(holder), WHY, NOTICE);
        let connections = self.connected.end_those(|holder| which.is_holder(holder), WHY, NOTICE);
        Ok(Revoked { keys: forgotten?, connections })
    }

    /// Whether there is anything that this takes a right from. What nobody had is not written down as taken. In doubt, as
    /// when the store cannot be read, there is.
    fn would_hit(&self, which: &Which) -> bool {
        let is_bound = || {
            let all = self.login.bindings().all(self.login.now());
            all.map_or(true, |all| all.iter().any(|binding| which.is_binding(binding)))
        };
        self.connected.any(|holder| which.is_holder(holder))
            || self.live.any(|holder| which.is_holder(holder))
            || is_bound()
    }

    /// Lets a name be anybody's again; whoever had it signs in anew, under the name that she has by then.
    ///
    /// # Errors
    /// As [`House::revoke`].
    pub async fn release(&self, by: By, name: &Name) -> Result<Option<NameOwner>, RevokeFault> {
        if !self.login.bindings().is_owned(name)? {
            return Ok(None);
        }
        self.revoke(by.clone(), Which { user: Some(name.clone()), ..Which::default() }).await?;
        release(self.login.bindings(), &self.audit, by, name).await
    }
}

/// Forgets bindings, each written down before.
///
/// # Errors
/// When one cannot be written down, or the store fails.
pub async fn forget(
    bindings: &Bindings,
    audit: &Audit,
    now: i64,
    by: By,
    which: impl Fn(&Binding) -> bool,
) -> Result<Vec<String>, RevokeFault> {
    let found: Vec<Binding> = bindings.all(now)?.into_iter().filter(|binding| which(binding)).collect();
    let revoked = found.iter().map(|binding| Act::BindingRevoked {
        person: binding.person(),
        key: binding.fingerprint.clone(),
        by: by.clone(),
    });
    audit.write_all(&revoked.collect::<Vec<_>>()).await?;
    let keys: Vec<String> = found.into_iter().map(|binding| binding.fingerprint).collect();
    bindings.revoke(&keys)?;
    Ok(keys)
}

/// Releases a name, written down before. None if it was nobody's.
///
/// # Errors
/// As [`forget`].
pub async fn release(
    bindings: &Bindings,
    audit: &Audit,
    by: By,
    name: &Name,
) -> Result<Option<NameOwner>, RevokeFault> {
    if !bindings.is_owned(name)? {
        return Ok(None);
    }
    audit.write(Act::NameReleased { name: name.folded().to_string(), by }).await?;
    Ok(bindings.release(name)?)
}
