//! Those who have not signed in yet, and who of them makes room when there are too many.
//!
//! Refusing the newest would let whoever holds all places keep everybody out, and one needs only a few addresses for
//! that. So the one who stands there longest goes, of the address that holds most: a person is through in a second or
//! two, and an address of her own holds one place.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{connection::Stage, severable::Severing, strangers::network};

/// The connections that have not signed in: bounded in all, and per address.
#[derive(Default)]
pub struct Doorstep(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// The oldest first.
    places: BTreeMap<u64, Standing>,
    next: u64,
}

struct Standing {
    from: IpAddr,
    severing: Severing,
    stage: watch::Receiver<Stage>,
}

/// A place on the doorstep; free again when this is dropped.
pub struct Place {
    doorstep: Arc<Doorstep>,
    number: u64,
}

impl Doorstep {
    /// A place for one more, whom `severing` cuts. Where all places are taken somebody else is cut for it, if there is
    /// one who may be: first of those for whom no browser sign-in is under way; of the others only one whose address
    /// holds more places than the newcomer's.
    pub fn admit(
        self: &Arc<Self>,
        from: IpAddr,
        severing: Severing,
        stage: watch::Receiver<Stage>,
        in_all: usize,
        per_address: usize,
    ) -> Option<Place> {
        let from = network(from);
        let mut waiting = self.locked();
        if waiting.held_by(from) >= per_address {
            return None;
        }
        while waiting.places.len() >= in_all {
            let number = waiting.first_to_go(from)?;
            let gone = waiting.places.remove(&number)?;
            tracing::warn!(from = %gone.from, "too many connections that have not signed in; the oldest of an address is cut");
            gone.severing.cut();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.places.insert(number, Standing { from, severing, stage });
        Some(Place { doorstep: self.clone(), number })
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn held_by(&self, from: IpAddr) -> usize {
        self.places.values().filter(|standing| standing.from == from).count()
    }

    /// Whose place a newcomer is given.
    fn first_to_go(&self, newcomer: IpAddr) -> Option<u64> {
        let mut held: BTreeMap<IpAddr, usize> = BTreeMap::from([(newcomer, 1)]);
        for standing in self.places.values() {
            *held.entry(standing.from).or_default() += 1;
        }
        let count = |from: &IpAddr| held.get(from).copied().unwrap_or_default();
        let newcomers = count(&newcomer);
        let may_go = self.places.iter().filter_map(|(number, standing)| {
            let (heaviness, stage) = (count(&standing.from), *standing.stage.borrow());
            let may = match stage {
                Stage::Unknown | Stage::Refused => true,
                Stage::SigningIn => heaviness > newcomers,
                Stage::SignedIn => false,
            };
            may.then_some((stage != Stage::SigningIn, heaviness, Reverse(*number)))
        });
        may_go.max().map(|(_, _, Reverse(number))| number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever was cut for another has none any more.
        self.doorstep.locked().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A doorstep of four places, three of them per address.
    struct Bench(Arc<Doorstep>);

    struct Guest {
        place: Option<Place>,
        stage: watch::Sender<Stage>,
    }

    impl Bench {
        fn comes(&self, from: &str) -> Guest {
            let (stage, staged) = watch::channel(Stage::Unknown);
            let place = self.0.admit(from.parse().unwrap(), Severing::default(), staged, 4, 3);
            Guest { place, stage }
        }
    }

    impl Guest {
        fn stands(&self) -> bool {
            let held = |place: &Place| place.doorstep.locked().places.contains_key(&place.number);
            self.place.as_ref().is_some_and(held)
        }
    }

    #[test]
    fn one_address_is_refused_and_the_oldest_of_the_heaviest_makes_room() {
        let bench = Bench(Arc::default());
        let alone = bench.comes("10.0.0.1");
        let many: Vec<Guest> = (0..4).map(|_| bench.comes("10.0.0.2")).collect();
        assert_eq!(many.iter().map(Guest::stands).collect::<Vec<_>>(), [true, true, true, false]);
        assert!(alone.stands());

        let newcomer = bench.comes("10.0.0.3");
        assert_eq!(many.iter().map(Guest::stands).collect::<Vec<_>>(), [false, true, true, false]);
        assert!(alone.stands() && newcomer.stands());

        drop(many);
        let later: Vec<Guest> = (0..2).map(|_| bench.comes("10.0.0.4")).collect();
        assert!(later.iter().chain([&alone, &newcomer]).all(Guest::stands), "places are given back once");
        assert_eq!(bench.0.locked().places.len(), 4);
    }

    #[test]
    fn whoever_signs_in_stays_unless_her_address_holds_more_than_the_newcomers() {
        let bench = Bench(Arc::default());
        let guests: Vec<Guest> = (1..=4).map(|number| bench.comes(&format!("10.0.0.{number}"))).collect();
        for guest in guests.iter().filter(|guest| !std::ptr::eq(*guest, &guests[2])) {
            guest.stage.send_replace(Stage::SigningIn);
        }
        let fifth = bench.comes("10.0.0.5");
        assert_eq!(guests.iter().map(Guest::stands).collect::<Vec<_>>(), [true, true, false, true]);
        fifth.stage.send_replace(Stage::SigningIn);
        assert!(!bench.comes("10.0.0.6").stands(), "all of them are signing in, each for herself");

        drop(guests);
        let two: Vec<Guest> = (0..3).map(|_| bench.comes("10.0.0.7")).collect();
        for guest in &two {
            guest.stage.send_replace(Stage::SigningIn);
        }
        assert!(bench.comes("10.0.0.8").stands());
        assert_eq!(two.iter().map(Guest::stands).collect::<Vec<_>>(), [false, true, true]);
        assert!(fifth.stands());
    }
}
