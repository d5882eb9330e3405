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
    fn shares_are_bounded_in_all_and_for_each() {
        let shares = Arc::new(Shares::default());
        let first = shares.enter(1, 3, 2).unwrap();
        let _second = shares.enter(1, 3, 2).unwrap();
        assert!(shares.enter(1, 3, 2).is_none(), "two for each");
        let _third = shares.enter(2, 3, 2).unwrap();
        assert!(shares.enter(2, 3, 2).is_none(), "three in all");

        drop(first);
        assert!(shares.enter(1, 3, 2).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let same = ["2001:db8::1", "2001:db8::ffff:1"].map(|a| network(a.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
