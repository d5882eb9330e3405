//! Those who have not signed in yet, and who of them makes room when there are too many.
//!
//! Refusing the newest would let whoever holds all places keep everybody out, and one needs only a few addresses for
//! that. So the one who stands there longest goes, of the address that holds most: a person is through in a second or
//! two, and an address of her own holds one place.
//!
//! Those who wait at a prompt stand there for minutes, so three quarters of the places, in all and of one address, are as
//! many as they get: the rest is for those of whom nothing is known yet, or who prove a key. Where too many want a prompt,
//! one of an address that holds more than the newcomer's makes room. Left codes count as held: who begins again and
//! again gets heavier, and loses her place to whoever comes with less. If nobody holds more, the oldest goes that has
//! stood a minute, which is what a person needs; a fresh one does not. If the newest were always let in, whoever asks often
//! would leave nobody the time to answer; so he can only take part in a draw for the places that come free, and whoever
//! gets one keeps it long enough.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{connection::Stage, severable::Severing, strangers::network};

/// What a person needs to confirm a code in her browser; her prompt is hers for so long.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(60);

/// What is said to whoever finds no place for a prompt.
pub const NO_PROMPT: &str = "bastion: too many sign-ins wait for their browsers. Try again in a minute; a key that signs in alone needs no prompt.";

/// Of so many places, those that may be at a prompt.
fn prompts_of(places: usize) -> usize {
    (places - places.div_ceil(4)).max(1)
}

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
    /// When it got its prompt, if it is at one or has been.
    prompted: Option<Instant>,
}

/// Whether there is room for one more at a prompt.
enum Room {
    Free,
    /// If this place is given up.
    Of(u64),
    None,
}

/// A place on the doorstep; free again when this is dropped.
pub struct Place(Spot);

/// Where a place is.
#[derive(Clone)]
pub struct Spot {
    doorstep: Arc<Doorstep>,
    number: u64,
}

impl Place {
    /// Where it is.
    pub fn spot(&self) -> Spot {
        self.0.clone()
    }
}

impl Spot {
    /// Turns the connection here to [`Stage::SigningIn`], if there is a place for one more at a prompt, with so many places
    /// `in_all` and `per_address`. Somebody else may be cut for it. `codes` tells how many codes of an address the
    /// provider may still hold.
    pub fn prompt(
        &self,
        stage: &watch::Sender<Stage>,
        (in_all, per_address): (usize, usize),
        codes: impl Fn(IpAddr) -> usize,
    ) -> bool {
        self.prompt_at(stage, (in_all, per_address), codes, Instant::now())
    }

    fn prompt_at(
        &self,
        stage: &watch::Sender<Stage>,
        (in_all, per_address): (usize, usize),
        codes: impl Fn(IpAddr) -> usize,
        now: Instant,
    ) -> bool {
        let mut waiting = self.doorstep.locked();
        let Some(from) = waiting.places.get(&self.number).map(|standing| standing.from) else { return false };
        if *stage.borrow() == Stage::SigningIn {
            return true;
        }
        match waiting.room_for_prompt(from, (in_all, per_address), codes, now) {
            Room::Free => {}
            Room::Of(number) => {
                if let Some(gone) = waiting.places.remove(&number) {
                    tracing::warn!(from = %gone.from, "too many wait at a prompt; one of them is cut for another");
                    gone.severing.cut();
                }
            }
            Room::None => return false,
        }
        if let Some(standing) = waiting.places.get_mut(&self.number) {
            standing.prompted = Some(now);
        }
        stage.send_replace(Stage::SigningIn);
        true
    }
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
        waiting.places.insert(number, Standing { from, severing, stage, prompted: None });
        Some(Place(Spot { doorstep: self.clone(), number }))
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn has_had_its_time(&self, now: Instant) -> bool {
        self.prompted.is_none_or(|at| now.duration_since(at) > CONFIRMED_WITHIN)
    }
}

impl Waiting {
    /// Those at a prompt.
    fn prompts(&self) -> impl Iterator<Item = (&u64, &Standing)> + Clone {
        self.places.iter().filter(|(_, standing)| *standing.stage.borrow() == Stage::SigningIn)
    }

    fn room_for_prompt(
        &self,
        from: IpAddr,
        (in_all, per_address): (usize, usize),
        codes: impl Fn(IpAddr) -> usize,
        now: Instant,
    ) -> Room {
        let hers: Vec<_> = self.prompts().filter(|(_, standing)| standing.from == from).collect();
        let goes = if hers.len() >= prompts_of(per_address) {
            let had = hers.into_iter().filter(|(_, standing)| standing.has_had_its_time(now));
            had.min_by_key(|(_, standing)| standing.prompted).map(|(number, _)| *number)
        } else if self.prompts().count() >= prompts_of(in_all) {
            self.prompt_to_go(from, codes, now)
        } else {
            return Room::Free;
        };
        goes.map_or(Room::None, Room::Of)
    }

    /// Whose prompt a newcomer of another address is given.
    fn prompt_to_go(&self, newcomer: IpAddr, codes: impl Fn(IpAddr) -> usize, now: Instant) -> Option<u64> {
        let mut held: BTreeMap<IpAddr, usize> = BTreeMap::from([(newcomer, 0)]);
        for (_, standing) in self.prompts() {
            *held.entry(standing.from).or_default() += 1;
        }
        // Who has just answered her code holds a prompt and no code, for a moment.
        let weights: BTreeMap<IpAddr, usize> =
            held.into_iter().map(|(from, prompts)| (from, prompts.max(codes(from)))).collect();
        let weight = |from: &IpAddr| weights.get(from).copied().unwrap_or_default();
        let newcomers = weight(&newcomer) + 1;
        let may_go = self.prompts().filter_map(|(number, standing)| {
            let heaviness = weight(&standing.from);
            let may = heaviness > newcomers || standing.has_had_its_time(now);
            may.then_some((heaviness.max(newcomers), Reverse(standing.prompted), *number))
        });
        may_go.max().map(|(.., number)| number)
    }

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
        self.0.doorstep.locked().places.remove(&self.0.number);
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
        most: (usize, usize),
    }

    impl Bench {
        fn comes(&self, from: &str) -> Guest {
            self.comes_to(from, 4, 3)
        }

        fn comes_to(&self, from: &str, in_all: usize, per_address: usize) -> Guest {
            let (stage, staged) = watch::channel(Stage::Unknown);
            let place = self.0.admit(from.parse().unwrap(), Severing::default(), staged, in_all, per_address);
            Guest { place, stage, most: (in_all, per_address) }
        }
    }

    impl Guest {
        fn stands(&self) -> bool {
            let held = |place: &Place| place.0.doorstep.locked().places.contains_key(&place.0.number);
            self.place.as_ref().is_some_and(held)
        }

        /// Asks for a prompt, where nobody has left a code.
        fn asks(&self, now: Instant) -> bool {
            self.asks_among(now, |_| 0)
        }

        fn asks_among(&self, now: Instant, codes: impl Fn(IpAddr) -> usize) -> bool {
            self.place
                .as_ref()
                .is_some_and(|place| place.spot().prompt_at(&self.stage, self.most, codes, now))
        }
    }

    fn standing(guests: &[Guest]) -> Vec<bool> {
        guests.iter().map(Guest::stands).collect()
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
    #[test]
    fn prompts_take_three_quarters_of_the_places_and_never_none() {
        assert_eq!([1, 2, 3, 4, 8, 20, 200].map(prompts_of), [1, 1, 2, 3, 6, 15, 150]);
    }

    #[test]
    fn who_waits_at_a_prompt_leaves_room_for_who_needs_none() {
        let (bench, now) = (Bench(Arc::default()), Instant::now());
        let one: Vec<Guest> = (0..4).map(|_| bench.comes_to("10.0.0.1", 8, 4)).collect();
        assert_eq!(one.iter().map(|guest| guest.asks(now)).collect::<Vec<_>>(), [true, true, true, false]);
        assert_eq!(*one[3].stage.borrow(), Stage::Unknown);
        assert!(one[0].asks(now), "who has one is not asked again");

        let others: Vec<Guest> = (2..7).map(|at| bench.comes_to(&format!("10.0.0.{at}"), 8, 4)).collect();
        assert!(!one[3].stands(), "one that is at no prompt is cut for the last of them");
        assert!(others[..3].iter().all(|guest| guest.asks(now)));
        assert!(one[0].stands() && others.iter().all(Guest::stands));
        drop(one);
        assert!(others[3].asks(now), "places are given back");
    }

    #[test]
    fn the_heaviest_makes_room_for_a_prompt_and_left_codes_weigh_too() {
        let (bench, now) = (Bench(Arc::default()), Instant::now());
        let froms = ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
        let guests: Vec<Guest> = froms.iter().map(|from| bench.comes_to(from, 8, 4)).collect();
        for (second, guest) in guests.iter().enumerate() {
            assert!(guest.asks(now + Duration::from_secs(second as u64)));
        }
        let new = [bench.comes_to("10.0.0.5", 8, 4), bench.comes_to("10.0.0.6", 8, 4)];
        let soon = now + Duration::from_secs(10);
        assert!(new[0].asks(soon));
        assert_eq!(standing(&guests), [true, false, true, true, true, true]);

        assert!(
            !new[1].asks_among(soon, |from| usize::from(from.to_string() == "10.0.0.6")),
            "she holds as many"
        );
        let has_left = |from: IpAddr| if from.to_string() == "10.0.0.4" { 3 } else { 0 };
        assert!(new[1].asks_among(soon, has_left));
        assert_eq!(standing(&guests), [true, false, true, true, true, false]);
    }

    #[test]
    fn where_nobody_holds_more_a_fresh_prompt_stays_and_the_oldest_that_had_its_minute_goes() {
        let (bench, now) = (Bench(Arc::default()), Instant::now());
        let guests: Vec<Guest> = (1..=6).map(|at| bench.comes_to(&format!("10.0.0.{at}"), 8, 4)).collect();
        for (guest, second) in guests.iter().zip([3, 0, 1, 2, 4, 5]) {
            assert!(guest.asks(now + Duration::from_secs(second)));
        }
        let new: Vec<Guest> = (7..=8).map(|at| bench.comes_to(&format!("10.0.0.{at}"), 8, 4)).collect();
        assert!(!new[0].asks(now + CONFIRMED_WITHIN));
        assert_eq!(standing(&guests), [true; 6]);
        let later = now + CONFIRMED_WITHIN + Duration::from_millis(2500);
        assert!(new[0].asks(later) && new[1].asks(later));
        assert_eq!(standing(&guests), [true, false, false, true, true, true]);

        let hers: Vec<Guest> = (0..4).map(|_| bench.comes_to("10.0.1.1", 80, 4)).collect();
        assert!(hers[..3].iter().all(|guest| guest.asks(later)));
        assert!(!hers[3].asks(later + CONFIRMED_WITHIN));
        assert!(hers[3].asks(later + CONFIRMED_WITHIN + Duration::from_secs(1)), "of her own address too");
        assert_eq!(standing(&hers), [false, true, true, true]);
    }
}
