//! Bounds in all and for each, above all for those of whom nothing is known but where they call from.

pub mod failed;

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Things of which there are so many, and of which each holder may have a share.
pub struct Shares<K>(Mutex<HashMap<K, usize>>);

/// One such thing; counted for as long as this lives.
pub struct Share<K: Eq + Hash>(Arc<Shares<K>>, K);

/// What strangers hold, as codes of a provider that they asked for, by address.
pub type Strangers = Shares<IpAddr>;

/// One such thing.
pub type Stranger = Share<IpAddr>;

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Shares(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// One more for this holder, if there is one.
    pub fn enter(self: &Arc<Self>, holder: K, in_all: usize, each: usize) -> Option<Share<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.get(&holder).copied().unwrap_or(0);
        if counts.values().sum::<usize>() >= in_all || here >= each {
            return None;
        }
        counts.insert(holder.clone(), here + 1);
        Some(Share(self.clone(), holder))
    }

    /// How many there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Strangers {
    /// A place for one more from this address, if there is one.
    pub fn admit(self: &Arc<Self>, from: IpAddr, in_all: usize, per_address: usize) -> Option<Stranger> {
        self.enter(network(from), in_all, per_address)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// Who has an IPv6 address has a /64 of them.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_bounded_in_all_and_per_address() {
        let strangers = Arc::new(Strangers::default());
        let [one, other]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];

        let first = strangers.admit(one, 3, 2).unwrap();
        let _second = strangers.admit(one, 3, 2).unwrap();
        assert!(strangers.admit(one, 3, 2).is_none(), "two per address");
        let _third = strangers.admit(other, 3, 2).unwrap();
        assert!(strangers.admit(other, 3, 2).is_none(), "three in all");

        drop(first);
        assert!(strangers.admit(one, 3, 2).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let same = ["2001:db8::1", "2001:db8::ffff:1"].map(|a| network(a.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
