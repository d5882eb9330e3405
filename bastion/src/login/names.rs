//! Whose a name is: it belongs to the first person who signed in with it, until an administrator releases it.
//!
//! Providers let people change their names, and give the name of one who left to one who came. Who signs in with a name
//! that was another's would inherit what rules, recordings and targets know of it.

use gate::Name;
use serde::{Deserialize, Serialize};

use super::bindings::{Bindings, StoreFault};

const VERSION: u32 = 1;

/// A name, and the person it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameOwner {
    version: u32,
    /// The name, in the form in which names are compared.
    pub name: Name,
    /// The provider that vouches for her.
    pub issuer: String,
    /// Her lasting id at that provider.
    pub subject: String,
    /// When she first signed in with it: seconds since 1970 (UTC).
    pub since: i64,
}

/// Whose a name is, for somebody who has proven who she is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Hers.
    Hers,
    /// Nobody's yet.
    Nobodys,
    /// Another person's.
    Anothers(NameOwner),
}

impl NameOwner {
    /// The name is hers from now on.
    pub fn new(name: &Name, issuer: &str, subject: &str, now: i64) -> NameOwner {
        let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
        NameOwner { version: VERSION, name: name.folded(), issuer, subject, since: now }
    }

    fn is_same_person(&self, other: &NameOwner) -> bool {
        (&self.issuer, &self.subject) == (&other.issuer, &other.subject)
    }
}

impl Bindings {
    /// Whose the name is that `claimed` claims.
    ///
    /// # Errors
    /// When the store cannot be read, or what it says of this name: then nobody can be let in under it.
    pub fn whose(&self, claimed: &NameOwner) -> Result<Whose, StoreFault> {
        let Some(value) = self.names.get(claimed.name.as_str())? else { return Ok(Whose::Nobodys) };
        let owner: NameOwner = serde_json::from_slice(&value)?;
        Ok(if owner.is_same_person(claimed) { Whose::Hers } else { Whose::Anothers(owner) })
    }

    /// Makes a name hers that is nobody's, and answers whose it is then. Returns once a power cut cannot take it back.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim(&self, claimed: NameOwner) -> Result<Whose, StoreFault> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let value = serde_json::to_vec(&claimed)?;
            let key = claimed.name.as_str();
            if this.names.compare_and_swap(key, None::<&[u8]>, Some(value.as_slice()))?.is_ok() {
                this.sync()?;
            }
            this.whose(&claimed)
        });
        done.await.unwrap_or(Err(StoreFault::Thread))
    }

    /// Whose names are known, in their order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn owners(&self) -> Result<Vec<NameOwner>, StoreFault> {
        self.names.iter().map(|pair| Ok(serde_json::from_slice(&pair?.1)?)).collect()
    }

    /// Whether a name is somebody's, also of an owner who cannot be read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_owned(&self, name: &Name) -> Result<bool, StoreFault> {
        Ok(self.names.contains_key(name.folded().as_str())?)
    }

    /// Lets a name be anybody's again; answers whose it was.
    ///
    /// # Errors
    /// When the store fails.
    pub fn release(&self, name: &Name) -> Result<Option<NameOwner>, StoreFault> {
        let was = self.names.remove(name.folded().as_str())?;
        self.sync()?;
        // One that cannot be read is released too: that is the way out of it.
        Ok(was.and_then(|value| serde_json::from_slice(&value).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim_of(name: &str, subject: &str) -> NameOwner {
        NameOwner::new(&name.parse().unwrap(), "https://id.example", subject, 1000)
    }

    #[tokio::test]
    async fn a_name_is_the_first_ones_until_it_is_released_in_letters_of_either_case() {
        let folder = tempfile::tempdir().unwrap();
        let bindings = Bindings::open(folder.path()).unwrap();
        let (first, second) = (claim_of("alice", "1"), claim_of("Alice", "2"));
        assert_eq!(bindings.whose(&first).unwrap(), Whose::Nobodys);
        assert_eq!(bindings.claim(first.clone()).await.unwrap(), Whose::Hers);

        assert_eq!(bindings.claim(second.clone()).await.unwrap(), Whose::Anothers(first.clone()));
        assert_eq!(bindings.claim(claim_of("ALICE", "1")).await.unwrap(), Whose::Hers);

        let name = "aLICE".parse().unwrap();
        assert_eq!(bindings.release(&name).unwrap(), Some(first));
        assert_eq!(bindings.claim(second.clone()).await.unwrap(), Whose::Hers);
        assert_eq!(bindings.owners().unwrap(), [second]);
    }

    #[tokio::test]
    async fn another_provider_does_not_make_her_the_same_person() {
        let folder = tempfile::tempdir().unwrap();
        let bindings = Bindings::open(folder.path()).unwrap();
        bindings.claim(claim_of("alice", "1")).await.unwrap();

        let elsewhere = NameOwner { issuer: "https://other.example".into(), ..claim_of("alice", "1") };
        assert!(matches!(bindings.claim(elsewhere).await.unwrap(), Whose::Anothers(_)));
    }

    #[test]
    fn a_damaged_owner_lets_nobody_in_until_it_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let bindings = Bindings::open(folder.path()).unwrap();
        bindings.names.insert("alice", &b"{\"version\":1"[..]).unwrap();

        assert!(bindings.whose(&claim_of("alice", "1")).is_err());
        assert_eq!(bindings.release(&"alice".parse().unwrap()).unwrap(), None);
        assert_eq!(bindings.whose(&claim_of("alice", "1")).unwrap(), Whose::Nobodys);
    }
}
