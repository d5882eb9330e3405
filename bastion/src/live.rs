//! What is open now: sessions, and connections whose person is known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use gate::{Ending, Grant, NewKey, Principal, Reason, Request};
use recording::SessionId;
use tokio::sync::{Notify, mpsc, watch};

use crate::login::Kept;

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
    /// The connection that she came by.
    pub connection: String,
}

/// A connection whose person is known.
pub struct Known {
    /// Her, as the provider sees her by now.
    pub principal: ArcSwap<Principal>,
    /// What the provider is asked with about her, if no key was bound.
    pub kept: tokio::sync::Mutex<Option<Kept>>,
}

impl Holder {
    /// Who this principal is, who came by this connection.
    pub fn of(principal: &Principal, connection: &str) -> Holder {
        Holder {
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
            name: principal.name.to_string(),
            key: principal.key.clone(),
            connection: connection.to_owned(),
        }
    }

    /// Whether both are one person.
    pub fn is_same_person(&self, other: &Holder) -> bool {
        (&self.issuer, &self.subject) == (&other.issuer, &other.subject)
    }
}

/// What is open now, of one kind, and whose it is: `T` is what else is known of each.
pub struct Live<T> {
    open: Mutex<HashMap<SessionId, Entry<T>>>,
    left: Notify,
}

struct Entry<T> {
    holder: Holder,
    orders: watch::Sender<Orders>,
    tell: mpsc::Sender<NewKey>,
    what: T,
}

/// What is wanted from outside of something that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Orders {
    /// Nothing.
    #[default]
    None,
    /// Policy allows it anew: with these limits.
    Regranted(Grant),
    /// It must end.
    End(Ending),
}

impl Orders {
    /// Whether it must end, whatever policy comes to say.
    fn is_final(&self) -> bool {
        matches!(self, Orders::End(ending) if ending.reason != Reason::Withdrawn)
    }
}

/// What a session was granted, for when policy or person are not what they were.
pub struct Standing {
    /// What was asked, when, and by whom; the login is the one that was granted.
    pub request: Request,
    /// What was answered last; none once it was withdrawn.
    pub grant: Option<Grant>,
}

/// One open session; it counts for as long as this lives.
pub struct Place<T> {
    live: Arc<Live<T>>,
    id: SessionId,
    /// What somebody outside wants of it.
    pub orders: watch::Receiver<Orders>,
    /// News of her keys; for the first who takes it.
    pub news: Option<mpsc::Receiver<NewKey>>,
}

impl<T> Default for Live<T> {
    fn default() -> Self {
        Live { open: Mutex::default(), left: Notify::new() }
    }
}

impl<T> Live<T> {
    /// A place for a session, if its holder has fewer than `most` already.
    pub fn enter(self: &Arc<Self>, id: SessionId, holder: Holder, what: T, most: usize) -> Option<Place<T>> {
        let mut open = self.lock();
        if open.values().filter(|entry| entry.holder.is_same_person(&holder)).count() >= most {
            return None;
        }
        let (order, orders) = watch::channel(Orders::None);
        let (tell, news) = mpsc::channel(NEWS_MAX);
        open.insert(id, Entry { holder, orders: order, tell, what });
        Some(Place { live: self.clone(), id, orders, news: Some(news) })
    }

    /// Tells every open session to end at once, and why.
    pub fn end_all(&self, why: &str) {
        self.end_those(|_| true, why, Duration::ZERO);
    }

    /// Tells the sessions of these holders why they end, `after` so long. Answers how many there are.
    pub fn end_those(&self, of: impl Fn(&Holder) -> bool, why: &str, after: Duration) -> usize {
        let end = Orders::End(Ending { why: why.to_owned(), reason: Reason::Ended, after });
        let open = self.lock();
        let ended = open.values().filter(|entry| of(&entry.holder));
        ended.map(|entry| drop(entry.orders.send_replace(end.clone()))).count()
    }

    /// Whether one of these holders has anything open.
    pub fn any(&self, of: impl Fn(&Holder) -> bool) -> bool {
        self.lock().values().any(|entry| of(&entry.holder))
    }

    /// Looks at each of those that are open, and gives orders to some. What must end already gets no other order.
    pub fn review(&self, mut look: impl FnMut(&Holder, &mut T) -> Option<Orders>) {
        for Entry { holder, orders, what, .. } in self.lock().values_mut() {
            if let Some(new) = look(holder, what) {
                orders.send_if_modified(|old| {
                    let is_open = !old.is_final();
                    if is_open {
                        *old = new;
                    }
                    is_open
                });
            }
        }
    }

    /// Whether what came by this connection must end.
    pub fn is_ending(&self, connection: &str) -> bool {
        let is_it = |entry: &&Entry<T>| entry.holder.connection == connection;
        self.lock().values().filter(is_it).any(|entry| matches!(*entry.orders.borrow(), Orders::End(_)))
    }

    /// What is known of each that is open now.
    pub fn all(&self) -> Vec<(Holder, T)>
    where
        T: Clone,
    {
        self.lock().values().map(|entry| (entry.holder.clone(), entry.what.clone())).collect()
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

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Place<T> {
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
        Holder {
            issuer: "https://id.example".into(),
            subject: name.into(),
            name: name.into(),
            key,
            connection: name.into(),
        }
    }

    fn end(why: &str) -> Orders {
        Orders::End(Ending { why: why.into(), reason: Reason::Ended, after: Duration::ZERO })
    }

    fn withdraw() -> Orders {
        Orders::End(Ending { why: "policy".into(), reason: Reason::Withdrawn, after: Duration::ZERO })
    }

    #[test]
    fn what_was_ended_by_hand_is_not_saved_by_a_policy_that_changed_its_mind() {
        let live = Arc::new(Live::<()>::default());
        let ana = live.enter(id('1'), owner("ana"), (), 2).unwrap();
        live.review(|_, ()| Some(withdraw()));
        assert_eq!(*ana.orders.borrow(), withdraw());
        live.end_all("stop");
        live.review(|_, ()| Some(withdraw()));
        assert_eq!(*ana.orders.borrow(), end("stop"));
    }

    #[test]
    fn those_of_one_person_are_ended_and_nobody_elses() {
        let live = Arc::new(Live::<()>::default());
        let ana = live.enter(id('1'), owner("ana"), (), 2).unwrap();
        let bea = live.enter(id('2'), owner("bea"), (), 2).unwrap();

        assert_eq!(live.end_those(|holder| holder.name == "ana", "revoked", Duration::ZERO), 1);
        assert_eq!(*ana.orders.borrow(), end("revoked"));
        assert_eq!(*bea.orders.borrow(), Orders::None);
    }

    #[test]
    fn one_person_has_so_many_sessions_and_no_more() {
        let live = Arc::new(Live::<()>::default());
        let first = live.enter(id('1'), owner("ana"), (), 2);
        let _second = live.enter(id('2'), owner("ana"), (), 2).unwrap();
        assert!(live.enter(id('3'), owner("ana"), (), 2).is_none());
        assert!(live.enter(id('4'), owner("bea"), (), 2).is_some());

        drop(first);
        assert!(live.enter(id('3'), owner("ana"), (), 2).is_some());
    }

    #[tokio::test]
    async fn a_shutdown_tells_every_session_why_and_waits_for_the_last() {
        let live = Arc::new(Live::<()>::default());
        let mut place = live.enter(id('1'), owner("ana"), (), 2).unwrap();
        let session = tokio::spawn(async move {
            let order = place.orders.wait_for(|order| *order != Orders::None).await.unwrap().clone();
            drop(place);
            order
        });

        live.end_all("shutting down");
        live.drained(Duration::from_secs(60)).await;

        assert_eq!(session.await.unwrap(), end("shutting down"));
    }
}
