//! What people lose at the provider they lose here: asks again about who is in, and ends what that does not allow any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future, stream};
use recording::Person;
use tokio::time::{Interval, MissedTickBehavior};

use crate::{
    house::{self, House},
    live::{Holder, Known},
    login::{self, Learnt, Vouched},
};

/// Questions that one provider is asked at once; each may take ten seconds.
const ASKED_AT_ONCE_MAX: usize = 8;

/// How often it is looked whom it is time to ask about: a tenth of `login.recheck`, within these.
const TICK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// So long ended sessions have to say why.
const NOTICE: Duration = Duration::from_secs(2);

const NOT_VOUCHED_FOR: &str = "the sign-in provider does not vouch for you any more";
const GROUPS_CHANGED: &str =
    "your groups at the sign-in provider have changed, and policy does not allow it any more";

/// Goes on for as long as the program runs. Without `login.recheck` there is nothing to do.
pub async fn run(house: Arc<House>) {
    let every = house.login.recheck_every();
    let Some(mut to_learn) = house.login.to_learn().filter(|_| !every.is_zero()) else { return };
    let every = (every / 10).clamp(TICK.0, TICK.1);
    // Each provider by itself: one that hangs must not put off what is asked of another, nor what a sign-in has learnt.
    let issuers = house.login.issuers();
    let each = issuers.iter().map(|issuer| Some(issuer.as_str())).chain([None]);
    let asks = each.map(|issuer| ask_again_and_again(&house, issuer, every));
    let learns = async {
        while let Some(learnt) = to_learn.recv().await {
            house.end_what_is_lost(&learnt, None);
        }
    };
    tokio::join!(future::join_all(asks), forget_again_and_again(&house, every), learns);
}

async fn ask_again_and_again(house: &House, issuer: Option<&str>, every: Duration) {
    let mut ticks = ticks(every);
    loop {
        ticks.tick().await;
        all_of(house, issuer).await;
    }
}

async fn forget_again_and_again(house: &House, every: Duration) {
    let mut ticks = ticks(every);
    loop {
        ticks.tick().await;
        let in_use = house.connected.all().into_iter().filter_map(|(holder, _)| holder.key).collect();
        if let Err(fault) = house.login.forget_refreshes(&in_use) {
            tracing::warn!(%fault, "what belongs to no binding any more is not forgotten");
        }
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// By what somebody is in who is asked about.
enum Asked {
    Key(String),
    Connection(Holder, Arc<Known>),
}

/// Asks this provider about everybody who is in and whom it is time to ask about; without one, looks at those whom there is
/// nobody to ask about. Whoever was asked about longest ago is the first, so that nobody whom the provider takes its time
/// for can keep others from their turn.
async fn all_of(house: &House, issuer: Option<&str>) {
    let (mut keys, mut asked) = (BTreeMap::new(), Vec::new());
    for (holder, caller) in house.connected.all().into_iter().filter(|(holder, _)| came_by_sign_in(holder)) {
        // Asked there is who vouches for the key's owner of today; the holder may be of another provider.
        let hers = house.login.provider_of(&holder.issuer);
        if let Some(key) = &holder.key
            && !keys.contains_key(key)
        {
            let (whose, at) = house.login.provider_of_key(key).unzip();
            if whose.as_deref() == issuer {
                keys.insert(key.clone(), at.unwrap_or_default());
            }
        }
        if hers.as_deref() == issuer {
            let at = caller.kept.lock().await.as_ref().map(|kept| kept.asked_at());
            asked.extend(at.map(|at| (at, Asked::Connection(holder, caller))));
        }
    }
    asked.extend(keys.into_iter().map(|(key, at)| (at, Asked::Key(key))));
    asked.sort_by_key(|(at, _)| *at);
    stream::iter(&asked)
        .for_each_concurrent(ASKED_AT_ONCE_MAX, async |(_, asked)| match asked {
            Asked::Key(key) => one_key(house, key).await,
            Asked::Connection(holder, caller) => one(house, holder, caller).await,
        })
        .await;
}

/// A certificate is vouched for by its authority, whoever else has bound the same key.
fn came_by_sign_in(holder: &Holder) -> bool {
    !login::is_authority(&holder.issuer)
}

async fn one_key(house: &House, key: &str) {
    match house.login.recheck_key(key).await {
        // Nothing to ask with. If it is another person's by now, nobody asks about whoever had it before.
        Ok(None) => {
            if let Ok(Some(binding)) = house.login.bindings().find(key, house.login.now()) {
                let owner = binding.person();
                let counts = house.login.provider_of(&owner.issuer).is_some();
                house.end_holders(|h| counts && h.key.as_deref() == Some(key) && !is_of(h, &owner));
            }
        }
        Ok(Some((person, vouched))) => {
            // What is kept of the key vouches for its owner of today; whoever had it before has nobody who does.
            house.end_holders(|holder| holder.key.as_deref() == Some(key) && !is_of(holder, &person));
            learn(house, Learnt { person, key: Some(key.to_owned()), vouched }, None).await;
        }
        Err(fault) => {
            tracing::error!(%fault, key, "what it opened ends");
            house.end_holders(|holder| holder.key.as_deref() == Some(key));
        }
    }
}

async fn one(house: &House, holder: &Holder, caller: &Known) {
    let mut place = caller.kept.lock().await;
    let Some(kept) = place.as_mut() else { return };
    let vouched = house.login.recheck_kept(kept).await;
    let person = kept.person.clone();
    match &vouched {
        Vouched::Still => {}
        Vouched::Changed(groups) => kept.person.groups = groups.iter().cloned().collect(),
        Vouched::NoMore(_) => *place = None, // said once
    }
    drop(place);
    learn(house, Learnt { person, key: None, vouched }, Some(holder)).await;
}

async fn learn(house: &House, learnt: Learnt, by: Option<&Holder>) {
    if learnt.vouched != Vouched::Still {
        house.login.withdraw(&learnt).await;
        house.end_what_is_lost(&learnt, by);
    }
}

fn is_of(holder: &Holder, person: &Person) -> bool {
    (&holder.issuer, &holder.subject) == (&person.issuer, &person.subject)
}

impl House {
    /// Ends what somebody is in by who is not vouched for any more: by this key, or by this connection. If only her groups
    /// are others, all that she has open goes on as far as policy allows it to a member of those.
    fn end_what_is_lost(&self, learnt: &Learnt, by: Option<&Holder>) {
        let Learnt { person, key, vouched } = learnt;
        match vouched {
            Vouched::Still => {}
            Vouched::NoMore(_) => {
                let is_it = |holder: &Holder| match (key, by) {
                    (Some(key), _) => holder.key.as_ref() == Some(key),
                    (None, Some(by)) => holder.connection == by.connection,
                    (None, None) => false,
                };
                self.end_holders(is_it);
            }
            Vouched::Changed(groups) => self.regroup(person, groups),
        }
    }

    fn end_holders(&self, of: impl Fn(&Holder) -> bool) {
        let of = |holder: &Holder| came_by_sign_in(holder) && of(holder);
        self.live.end_those(of, NOT_VOUCHED_FOR, NOTICE);
        self.connected.end_those(of, NOT_VOUCHED_FOR, NOTICE);
    }

    fn regroup(&self, person: &Person, groups: &BTreeSet<String>) {
        let is_her = |holder: &Holder| is_of(holder, person);
        for (_, caller) in self.connected.all().into_iter().filter(|(holder, _)| is_her(holder)) {
            caller.principal.rcu(|old| gate::Principal { groups: groups.clone(), ..old.as_ref().clone() });
        }
        self.regroup_sessions(is_her, groups);
    }

    /// Asks the policy about the open sessions of these holders, as members of these groups.
    pub fn regroup_sessions(&self, of: impl Fn(&Holder) -> bool, groups: &BTreeSet<String>) {
        let rules = self.rules();
        self.live.review(|holder, standing| {
            if !of(holder) {
                return None;
            }
            standing.request.principal.groups.clone_from(groups);
            house::review(&rules, standing, GROUPS_CHANGED)
        });
    }
}
