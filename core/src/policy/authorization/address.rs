//! IP addresses and CIDR blocks.

use std::net::IpAddr;

use crate::hash::FastSet;

/// Blocks, any of which may contain an address. One look-up for each prefix length that occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressSet(pub(crate) Vec<(u8, FastSet<IpAddr>)>);

impl AddressSet {
    /// Adds `a.b.c.d`, an IPv6 address, or a CIDR block; host bits are ignored. `None` if the text is
    /// not one of them (Go netip.ParseAddr and ParsePrefix, as in istio/istio
    /// pkg/config/security/security.go).
    pub(crate) fn add(&mut self, text: &str) -> Option<()> {
        let (address, length) = match text.split_once('/') {
            None => (text.parse().ok()?, None),
            Some((address, length)) => (address.parse().ok()?, Some(prefix_length(length)?)),
        };
        let full = bits(address);
        let length = length.unwrap_or(full);
        if length > full {
            return None;
        }
        let block = masked(address, length);
        match self.0.iter_mut().find(|(known, _)| *known == length) {
            Some((_, blocks)) => {
                blocks.insert(block);
            }
            None => self.0.push((length, FastSet::from_iter([block]))),
        }
        Some(())
    }
}

/// Digits without sign or leading zero.
fn prefix_length(text: &str) -> Option<u8> {
    let plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The number of bits of an address.
pub(crate) fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// An address with only its first `length` bits.
pub(crate) fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let host = 32_u32.saturating_sub(length.into());
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let host = 128_u32.saturating_sub(length.into());
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_is_refused() {
        for text in [
            "",
            "10.0.0",
            "300.0.0.1",
            "01.2.3.4",
            " 10.0.0.1",
            "/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/",
            "::1/129",
            "a*b",
            "*",
        ] {
            assert_eq!(AddressSet::default().add(text), None, "{text:?}");
        }
    }
}
