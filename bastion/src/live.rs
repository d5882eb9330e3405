//! What is open now: sessions, and connections whose person is known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gate::{NewKey, Principal};
use recording::SessionId;
use tokio::sync::{Notify, mpsc, watch};

/// News that wait for one session.
const NEWS_MAX: usize = 8;

/// Who a session or connection belongs to, and how she came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The provider that vouches for her.
    pub issuer: String,
    /// Her lasting id at that provider.
    pub subject: String,
    /// The name she goes by.
    pub name: String,
    /// Fingerprint of the key that she proved, if any.
    pub key: Option<String>,
}

impl Holder {
    /// Who this principal is.
    pub fn of(principal: &Principal) -> Holder {
        Holder {
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
            name: principal.name.to_string(),
            key: principal.key.clone(),
        }
    }

    /// Whether both are one person.
    pub fn is_same_person(&self, other: &Holder) -> bool {
        (&self.issuer, &self.subject) == (&other.issuer, &other.subject)
    }
}

/// What is open now, of one kind, and whose it is.
#[derive(Default)]
pub struct Live {
    sessions: Mutex<HashMap<SessionId, Entry>>,
    left: Notify,
}

struct Entry {
    holder: Holder,
    end: watch::Sender<Option<String>>,
    tell: mpsc::Sender<NewKey>,
}

/// One open session; it counts for as long as this lives.
pub struct Place {
    live: Arc<Live>,
    id: SessionId,
    /// Says why the session must end, once somebody outside wants it to.
    pub ended: watch::Receiver<Option<String>>,
    /// News of her keys; for the first who takes it.
    pub news: Option<mpsc::Receiver<NewKey>>,
}

impl Live {
    /// A place for a session, if its holder has fewer than `most` already.
    pub fn enter(self: &Arc<Self>, id: SessionId, holder: Holder, most: usize) -> Option<Place> {
        let mut sessions = self.lock();
        if sessions.values().filter(|entry| entry.holder.is_same_person(&holder)).count() >= most {
            return None;
        }
        let (end, ended) = watch::channel(None);
        let (tell, news) = mpsc::channel(NEWS_MAX);
        sessions.insert(id, Entry { holder, end, tell });
        Some(Place { live: self.clone(), id, ended, news: Some(news) })
    }

    /// Tells every open session to end, and why.
    pub fn end_all(&self, why: &str) {
        self.end_those(|_| true, why);
    }

    /// Tells the sessions of these holders to end, and why. Answers how many there are.
    pub fn end_those(&self, of: impl Fn(&Holder) -> bool, why: &str) -> usize {
        let sessions = self.lock();
        let ended = sessions.values().filter(|entry| of(&entry.holder));
        ended.map(|entry| drop(entry.end.send_replace(Some(why.to_owned())))).count()
    }

    /// Tells the sessions of these holders of a key that was bound. Whoever has heard of several and looked at none misses
    /// this one.
    pub fn tell_those(&self, of: impl Fn(&Holder) -> bool, key: &NewKey) {
        for entry in self.lock().values().filter(|entry| of(&entry.holder)) {
            drop(entry.tell.try_send(key.clone()));
        }
    }

    /// Waits until no session is open, for so long at most.
    pub async fn drained(&self, most: Duration) {
        let empty = async {
            loop {
                let left = self.left.notified();
                if self.lock().is_empty() {
                    return;
                }
                left.await;
            }
        };
        if tokio::time::timeout(most, empty).await.is_err() {
            tracing::warn!(sessions = self.lock().len(), "sessions did not end in time");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.live.lock().remove(&self.id);
        self.live.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(last: char) -> SessionId {
        format!("01ARZ3NDEKTSV4RRFFQ69G5FA{last}").parse().unwrap()
    }

    fn owner(name: &str) -> Holder {
        let key = Some(format!("SHA256:{name}"));
        Holder { issuer: "https://id.example".into(), subject: name.into(), name: name.into(), key }
    }

    #[test]
    fn those_of_one_person_are_ended_and_nobody_elses() {
        let live = Arc::new(Live::default());
        let ana = live.enter(id('1'), owner("ana"), 2).unwrap();
        let bea = live.enter(id('2'), owner("bea"), 2).unwrap();

        assert_eq!(live.end_those(|holder| holder.name == "ana", "revoked"), 1);
        assert_eq!(ana.ended.borrow().as_deref(), Some("revoked"));
        assert_eq!(*bea.ended.borrow(), None);
    }

    #[test]
    fn one_person_has_so_many_sessions_and_no_more() {
        let live = Arc::new(Live::default());
        let first = live.enter(id('1'), owner("ana"), 2);
        let _second = live.enter(id('2'), owner("ana"), 2).unwrap();
        assert!(live.enter(id('3'), owner("ana"), 2).is_none());
        assert!(live.enter(id('4'), owner("bea"), 2).is_some());

        drop(first);
        assert!(live.enter(id('3'), owner("ana"), 2).is_some());
    }

    #[tokio::test]
    async fn a_shutdown_tells_every_session_why_and_waits_for_the_last() {
        let live = Arc::new(Live::default());
        let mut place = live.enter(id('1'), owner("ana"), 2).unwrap();
        let session = tokio::spawn(async move {
            let why = place.ended.wait_for(Option::is_some).await.unwrap().clone();
            drop(place);
            why
        });

        live.end_all("shutting down");
        live.drained(Duration::from_secs(60)).await;

        assert_eq!(session.await.unwrap(), Some("shutting down".into()));
    }
}
