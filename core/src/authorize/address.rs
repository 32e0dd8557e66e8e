//! Whether a block of a set contains an address.

use std::net::IpAddr;

use crate::policy::authorization::address::{AddressSet, bits, masked};

impl AddressSet {
    /// The blocks: prefix length, and address.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (u8, IpAddr)> {
        self.0.iter().flat_map(|(length, blocks)| blocks.iter().map(|block| (*length, *block)))
    }

    /// Whether a block contains the address. A v4 block never contains a v6 address, nor the
    /// reverse.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(length, blocks)| {
            *length <= bits(address) && blocks.contains(&masked(address, *length))
        })
    }
}

/// An address's bytes: 4 or 16.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_their_addresses() {
        for (block, address, expected) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.1.2.3/8", "10.255.0.1", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("::ffff:10.0.0.0/104", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8::1", true),
            ("fe80::1", "fe80::1", true),
        ] {
            let mut set = AddressSet::default();
            set.add(block).unwrap();
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{block} {address}");
        }
    }
}
