//! Who vouches for whom: each name has one provider.

use std::{collections::BTreeSet, sync::Arc};

use gate::{Name, Pattern};

use crate::settings::Login as Settings;

use super::{
    clock::Clock,
    oidc::{Provider, ProviderFault},
};

/// The providers of the settings.
pub(super) struct Providers {
    main: Arc<Provider>,
    more: Vec<(Vec<Pattern>, Arc<Provider>)>,
}

impl Providers {
    /// Asks nobody yet.
    pub fn new(settings: &Settings, clock: &Clock) -> Result<Providers, ProviderFault> {
        let offline = !settings.recheck.is_zero();
        let more = settings.more.iter().map(|(name, issuer)| {
            let provider = Provider::new(issuer.clone(), Some(name), offline, clock.clone())?;
            Ok((issuer.users.clone(), Arc::new(provider)))
        });
        Ok(Providers {
            main: Arc::new(
                Provider::new(settings.main(), None, offline, clock.clone())?
                    .without_groups_of(&settings.more),
            ),
            more: more.collect::<Result<_, ProviderFault>>()?,
        })
    }

    /// The one provider that may vouch for somebody of this name. None if two may: then nobody knows whose name it is.
    pub fn of_name(&self, name: &Name) -> Option<&Arc<Provider>> {
        let name = name.folded();
        let may = |(users, _): &&(Vec<Pattern>, _)| users.iter().any(|users| users.matches(name.as_str()));
        let mut may = self.more.iter().filter(may);
        match (may.next(), may.next()) {
            (None, _) => Some(&self.main),
            (Some((_, provider)), None) => Some(provider),
            (Some(_), Some(_)) => {
                tracing::error!(%name, "two providers may vouch for this name (login.more.*.users), so none does");
                None
            }
        }
    }

    /// The one with this issuer.
    pub fn of_issuer(&self, issuer: &str) -> Option<&Arc<Provider>> {
        self.all().find(|provider| provider.issuer() == issuer)
    }

    /// All issuers. What somebody else vouched for once counts for nothing.
    pub fn issuers(&self) -> BTreeSet<&str> {
        self.all().map(|provider| provider.issuer()).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Provider>> {
        std::iter::once(&self.main).chain(self.more.iter().map(|(_, provider)| provider))
    }
}
