//! What is open now: sessions, and connections whose person is known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use recording::SessionId;
use tokio::sync::{Notify, watch};

/// Who a session belongs to: `(issuer, subject)`.
pub type Owner = (String, String);

/// What is open now, of one kind, and whose it is.
#[derive(Default)]
pub struct Live {
    sessions: Mutex<HashMap<SessionId, Entry>>,
    left: Notify,
}

struct Entry {
    owner: Owner,
    end: watch::Sender<Option<String>>,
}

/// One open session; it counts for as long as this lives.
pub struct Place {
    live: Arc<Live>,
    id: SessionId,
    /// Says why the session must end, once somebody outside wants it to.
    pub ended: watch::Receiver<Option<String>>,
}

impl Live {
    /// A place for a session, if its owner has fewer than `most` already.
    pub fn enter(self: &Arc<Self>, id: SessionId, owner: Owner, most: usize) -> Option<Place> {
        let mut sessions = self.lock();
        if sessions.values().filter(|entry| entry.owner == owner).count() >= most {
            return None;
        }
        let (end, ended) = watch::channel(None);
        sessions.insert(id, Entry { owner, end });
        Some(Place { live: self.clone(), id, ended })
    }

    /// Tells every open session to end, and why.
    pub fn end_all(&self, why: &str) {
        for entry in self.lock().values() {
            entry.end.send_replace(Some(why.to_owned()));
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

    fn owner(name: &str) -> Owner {
        ("https://id.example".into(), name.into())
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
