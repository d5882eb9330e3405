//! Codes that the provider may still hold: bounded in all and per address, also once nobody waits for them any more.
//!
//! A provider keeps a code until it is answered or has run out, and RFC 8628 has no way to give one back. So who asks for
//! one and hangs up holds its place until then.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::strangers::network;

/// Codes in all: each costs the provider memory, and us 50 bytes.
const IN_ALL_MAX: usize = 1000;

/// The same, of one address: or whoever is there alone could take them all.
pub(super) const PER_ADDRESS_MAX: usize = 20;

/// No address holds more than one in so many of the places that are free: the fuller it gets, the fewer each may have, so
/// that it takes 180 addresses to take all of them, and not 50.
const OF_THOSE_FREE: usize = 50;

/// Providers' codes are good for half an hour at most; one that says more must not keep places taken for good.
const KEPT_MAX: Duration = Duration::from_secs(30 * 60);

/// All of them.
#[derive(Default)]
pub(super) struct Codes(Mutex<Held>);

#[derive(Default)]
struct Held {
    places: BTreeMap<u64, (IpAddr, Waits)>,
    next: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Its sign-in is under way.
    Here,
    /// Nobody waits for it any more. The provider forgets it then.
    Left(Instant),
}

/// One code, asked for or about to be.
pub(super) struct Code {
    codes: Arc<Codes>,
    number: u64,
    /// Until when the provider holds it, as far as is known.
    until: Option<Instant>,
}

impl Codes {
    /// A place for one more of this address, if there is one.
    pub fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Code> {
        let from = network(from);
        let mut held = self.locked();
        let free = IN_ALL_MAX.saturating_sub(held.places.len());
        if held.of(from) >= free.div_ceil(OF_THOSE_FREE).min(PER_ADDRESS_MAX) {
            return None;
        }
        let number = held.next;
        held.next += 1;
        held.places.insert(number, (from, Waits::Here));
        Some(Code { codes: self.clone(), number, until: None })
    }

    /// How many the provider may hold that this address has asked for.
    pub fn of(&self, from: IpAddr) -> usize {
        self.locked().of(network(from))
    }

    /// How many there are whose sign-in is under way.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.locked().places.values().filter(|(_, waits)| *waits == Waits::Here).count()
    }

    /// As if all had run out that nobody waits for.
    #[cfg(test)]
    pub fn forget_those_left(&self) {
        self.locked().places.retain(|_, (_, waits)| *waits == Waits::Here);
    }

    /// Without those that have run out.
    fn locked(&self) -> MutexGuard<'_, Held> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        held.places.retain(|_, (_, waits)| !matches!(waits, Waits::Left(until) if *until <= now));
        held
    }
}

impl Held {
    fn of(&self, from: IpAddr) -> usize {
        self.places.values().filter(|(other, _)| *other == from).count()
    }
}

impl Code {
    /// The provider has made it, and says that it is good for so long.
    pub fn is_good_for(&mut self, valid: Duration) {
        self.until = Some(Instant::now() + valid.min(KEPT_MAX));
    }

    /// It was answered, or has run out: the provider holds it no longer.
    pub fn is_over(&mut self) {
        self.until = None;
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        let mut held = self.codes.locked();
        match (self.until, held.places.get_mut(&self.number)) {
            (Some(until), Some((_, waits))) => *waits = Waits::Left(until),
            _ => _ = held.places.remove(&self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_that_was_left_holds_its_place_until_it_runs_out_and_one_that_is_over_does_not() {
        let codes = Arc::new(Codes::default());
        let ask = |valid: u64| {
            let mut code = codes.admit(from(1))?;
            code.is_good_for(Duration::from_secs(valid));
            Some(code)
        };
        for _ in 0..3 {
            drop(ask(300).unwrap());
        }
        assert_eq!((codes.of(from(1)), codes.count()), (3, 0));
        for _ in 0..PER_ADDRESS_MAX {
            ask(300).expect("what is answered gives back its place").is_over();
        }
        drop(codes.admit(from(1)).expect("the provider made none"));
        assert_eq!(codes.of(from(1)), 3);

        let here: Vec<_> = (3..PER_ADDRESS_MAX).map(|_| ask(u64::MAX).unwrap()).collect();
        assert!(ask(300).is_none());
        assert!(codes.admit(from(2)).is_some());
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(codes.of(from(1)), here.len());
        tokio::time::advance(KEPT_MAX).await;
        assert_eq!(codes.of(from(1)), here.len(), "those that are waited for stay");
        drop(here);
        assert_eq!(codes.of(from(1)), 0, "and have run out meanwhile");
        assert!(codes.0.lock().unwrap().places.is_empty());
    }

    #[test]
    fn the_fewer_are_free_the_fewer_has_one_address() {
        let codes = Arc::new(Codes::default());
        let mut held = Vec::new();
        for address in 0..180 {
            held.extend(std::iter::from_fn(|| codes.admit(from(address))));
        }
        assert_eq!((codes.of(from(0)), codes.of(from(179))), (PER_ADDRESS_MAX, 1));
        held.push(codes.admit(from(1 << 24)).expect("somebody who has none"));
        held.extend((1000..2000).filter_map(|address| codes.admit(from(address))));
        assert_eq!(held.len(), IN_ALL_MAX);
    }
}
