//! Networks that callers come from.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net};

/// A network, or one address. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is that IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkFault {
    /// It reads like none.
    Unreadable,
    /// Its prefix is longer than an address of its kind, which has this many bits.
    TooLong(u8),
    /// Bits are set beyond its prefix; this is the network without them.
    BitsBeyond(Network),
}

/// Of an IPv4 address written as IPv6, the bits before the IPv4 address begins.
const MAPPED_BITS: u8 = 96;

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or an address alone.
    ///
    /// The address is read by the standard library, which refuses `010.0.0.0`: some programs take that for octal.
    ///
    /// # Errors
    /// If it is none, or has bits set beyond its prefix.
    pub fn parse(text: &str) -> Result<Network, NetworkFault> {
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| NetworkFault::Unreadable)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(NetworkFault::Unreadable);
            }
            Some(digits) => digits.parse().map_err(|_| NetworkFault::TooLong(bits))?,
        };
        let network = IpNet::new(address, length).map_err(|_| NetworkFault::TooLong(bits))?;
        if network.addr() != network.network() {
            return Err(NetworkFault::BitsBeyond(Network(network.trunc()).canonical()));
        }
        Ok(Network(network).canonical())
    }

    /// Whether `source` lies in it. The unspecified address is nobody's, and lies in no network.
    pub fn has(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        !source.is_unspecified() && self.0.contains(&source)
    }

    fn canonical(self) -> Network {
        let mapped = |address: Ipv6Addr, length: u8| {
            let address = address.to_ipv4_mapped()?;
            Ipv4Net::new(address, length.checked_sub(MAPPED_BITS)?).ok()
        };
        match self.0 {
            IpNet::V6(net) => {
                mapped(net.addr(), net.prefix_len()).map_or(self, |net| Network(IpNet::V4(net)))
            }
            IpNet::V4(_) => self,
        }
    }
}

/// An address alone reads as one.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => self.0.addr().fmt(f),
            false => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_lies_in_a_network_however_its_address_is_written() {
        for (network, source, lies_in) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "::ffff:11.1.2.3", false),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "198.51.100.1", false),
            ("0.0.0.0/0", "0.0.0.0", false),
            ("::/0", "::", false),
        ] {
            let found = Network::parse(network).unwrap().has(source.parse().unwrap());
            assert_eq!(found, lies_in, "{source} in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "010.0.0.0/8",
            "10.0.0.*",
            "fe80::1%eth0",
            "office",
            " 10.0.0.0/8",
        ] {
            assert_eq!(Network::parse(text), Err(NetworkFault::Unreadable), "{text}");
        }
        assert_eq!(Network::parse("10.0.0.0/33"), Err(NetworkFault::TooLong(32)));
        assert_eq!(Network::parse("2001:db8::/129"), Err(NetworkFault::TooLong(128)));
        assert_eq!(Network::parse("10.0.0.0/99999999999"), Err(NetworkFault::TooLong(32)));
    }

    #[test]
    fn bits_beyond_the_prefix_are_refused_with_the_network_without_them() {
        for (text, meant) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("192.0.2.7/31", "192.0.2.6/31"),
        ] {
            let Err(NetworkFault::BitsBeyond(network)) = Network::parse(text) else {
                panic!("{text} is taken")
            };
            assert_eq!(network.to_string(), meant);
        }
    }
}
