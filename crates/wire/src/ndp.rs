//! Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements, with their IPv6 header.
//!
//! ```text
//! +---------------------------------------------------------------+
//! | IPv6 header: next header 58, hop limit 255                    |
//! +---------------+---------------+-------------------------------+
//! | type 135/136  |   code (0)    |           checksum            |
//! +-+-+-+---------+---------------+-------------------------------+
//! |R|S|O|          reserved (flags in an advertisement only)      |
//! +-+-+-+---------------------------------------------------------+
//! |                      target address (16)                      |
//! +---------------------------------------------------------------+
//! | options: type 1 (source) or 2 (target), length 1, 6 bytes MAC |
//! +---------------------------------------------------------------+
//! ```
//!
//! It knows no Ethernet header. Redirects and router discovery are not its business.

use std::net::Ipv6Addr;

use crate::Mac;

/// Length of the IPv6 header.
const IPV6: usize = 40;
/// Length of an ICMPv6 message up to its options.
const FIXED: usize = 24;
/// RFC 4861 section 7.1: messages with another hop limit came through a router and are forged.
const HOP_LIMIT: u8 = 255;
/// Next header: ICMPv6.
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ndp {
    /// IPv6 source; unspecified when an address is probed.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// Which of the two.
    pub kind: Kind,
    /// The source (solicitation) or target (advertisement) link-layer address option.
    pub mac: Option<Mac>,
}

/// Solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has the target?
    Solicitation,
    /// The sender has it.
    Advertisement {
        /// The sender forwards.
        router: bool,
        /// Answer to a unicast or ordinary solicitation.
        solicited: bool,
        /// Replaces a cached link-layer address.
        overrides: bool,
    },
}

/// Why bytes are no neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Cut off.
    Short,
    /// Not IPv6 with ICMPv6 directly behind the header, or another ICMPv6 type or code.
    Kind,
    /// Hop limit not 255.
    HopLimit,
    /// Wrong checksum.
    Checksum,
    /// An option with length zero or beyond the message.
    Option,
}

impl Ndp {
    /// RFC 4862 section 5.4.2: asks for an address without naming one's own, so nobody's cache changes.
    #[must_use]
    pub fn probe(target: Ipv6Addr) -> Ndp {
        Ndp {
            source: Ipv6Addr::UNSPECIFIED,
            destination: solicited_node(target),
            target,
            kind: Kind::Solicitation,
            mac: None,
        }
    }

    /// RFC 4861 section 7.2.6: unsolicited advertisement to all nodes that replaces what they have cached.
    #[must_use]
    pub fn announcement(mac: Mac, address: Ipv6Addr, router: bool) -> Ndp {
        Ndp {
            source: address,
            destination: ALL_NODES,
            target: address,
            kind: Kind::Advertisement { router, solicited: false, overrides: true },
            mac: Some(mac),
        }
    }

    /// Reads a packet that begins with its IPv6 header.
    pub fn parse(bytes: &[u8]) -> Result<Ndp, Error> {
        let header = bytes.first_chunk::<IPV6>().ok_or(Error::Short)?;
        if header[0] >> 4 != 6 || header[6] != ICMPV6 {
            return Err(Error::Kind);
        }
        if header[7] != HOP_LIMIT {
            return Err(Error::HopLimit);
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let message = bytes.get(IPV6..IPV6 + length).ok_or(Error::Short)?;
        let fixed = message.first_chunk::<FIXED>().ok_or(Error::Short)?;
        let (kind, wanted) = match (fixed[0], fixed[1]) {
            (SOLICITATION, 0) => (Kind::Solicitation, SOURCE_LINK_LAYER),
            (ADVERTISEMENT, 0) => (flags(fixed[4]), TARGET_LINK_LAYER),
            _ => return Err(Error::Kind),
        };
        let (source, destination) = (address(header, 8), address(header, 24));
        if checksum(source, destination, message) != 0 {
            return Err(Error::Checksum);
        }
        let mac = link_layer_option(&message[FIXED..], wanted)?;
        Ok(Ndp { source, destination, target: address(fixed, 8), kind, mac })
    }

    /// The packet's bytes, IPv6 header included.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let (kind, flags, option) = match self.kind {
            Kind::Solicitation => (SOLICITATION, 0, SOURCE_LINK_LAYER),
            Kind::Advertisement { router, solicited, overrides } => (
                ADVERTISEMENT,
                u8::from(router) << 7 | u8::from(solicited) << 6 | u8::from(overrides) << 5,
                TARGET_LINK_LAYER,
            ),
        };
        let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        message.extend(self.target.octets());
        if let Some(mac) = self.mac {
            message.extend([option, 1]);
            message.extend(mac);
        }
        let sum = checksum(self.source, self.destination, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());

        let mut out = vec![0x60, 0, 0, 0, 0, if self.mac.is_some() { 32 } else { 24 }, ICMPV6, HOP_LIMIT];
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
        out.extend(message);
        out
    }
}

/// RFC 4291 section 2.7.1: the multicast group in which the owner of an address listens.
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// RFC 2464 section 7: the Ethernet address of an IPv6 multicast group.
#[must_use]
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

fn flags(byte: u8) -> Kind {
    Kind::Advertisement { router: byte & 0x80 != 0, solicited: byte & 0x40 != 0, overrides: byte & 0x20 != 0 }
}

fn address(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    octets.into()
}

/// The first option of type `wanted` that holds an Ethernet address.
fn link_layer_option(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, Error> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        if length == 0 || length > options.len() {
            return Err(Error::Option);
        }
        if kind == wanted && length == 8 && found.is_none() {
            found = options[2..8].first_chunk::<6>().copied();
        }
        options = &options[length..];
    }
    if options.is_empty() { Ok(found) } else { Err(Error::Option) }
}

/// RFC 4443 section 2.3: over the pseudo-header and the message; 0 over a message whose checksum is right.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let sum = |bytes: &[u8]| -> u32 {
        let pairs = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
        pairs.sum()
    };
    // A message is at most 65,535 bytes: the sum of its 16-bit words fits in 32 bits.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut total =
        sum(&source.octets()) + sum(&destination.octets()) + u32::from(ICMPV6) + (length >> 16) + (length & 0xffff);
    total += sum(message);
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    !u16::try_from(total).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = [0x02, 0, 0, 0, 0, 0x0a];

    fn vip() -> Ipv6Addr {
        "fd77::100".parse().unwrap()
    }

    #[test]
    fn an_announcement_is_what_rfc_4861_says() {
        let bytes = Ndp::announcement(MAC, vip(), true).emit();
        assert_eq!(bytes[..8], [0x60, 0, 0, 0, 0, 32, 58, 255]);
        assert_eq!(bytes[40], 136);
        assert_eq!(bytes[44], 0xa0, "router and override, not solicited");
        assert_eq!(bytes[64..], [2, 1, 0x02, 0, 0, 0, 0, 0x0a]);
        // Worked out by hand: words of pseudo-header and message, folded and inverted.
        let words: u32 = 2 * (0xfd77 + 0x0100) + 0xff02 + 1 + 32 + 58 + 0x8800 + 0xa000 + 0x0201 + 0x0200 + 0x000a;
        let folded = (words >> 16) + (words & 0xffff);
        let expected = !u16::try_from((folded >> 16) + (folded & 0xffff)).unwrap();
        assert_eq!(u16::from_be_bytes([bytes[42], bytes[43]]), expected);
    }

    #[test]
    fn a_probe_asks_the_solicited_node_group_anonymously() {
        let probe = Ndp::probe("fd77::12:3456".parse().unwrap());
        assert_eq!(probe.destination, "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
        assert_eq!(multicast_mac(probe.destination), [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(probe.emit().len(), 64, "no option");
        assert_eq!(Ndp::parse(&probe.emit()), Ok(probe));
    }

    #[test]
    fn forged_and_broken_packets_are_refused() {
        let good = Ndp::announcement(MAC, vip(), false).emit();
        for (at, value, error) in [
            (0, 0x40, Error::Kind),
            (6, 17, Error::Kind),
            (7, 254, Error::HopLimit),
            (40, 134, Error::Kind),
            (41, 1, Error::Kind),
            (42, 0, Error::Checksum),
            (5, 33, Error::Short),
        ] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(Ndp::parse(&bytes), Err(error), "byte {at} = {value}");
        }
        assert_eq!(Ndp::parse(&good[..71]), Err(Error::Short));
    }

    #[test]
    fn an_option_of_length_zero_does_not_loop() {
        assert_eq!(link_layer_option(&[2, 0, 0, 0, 0, 0, 0, 0], 2), Err(Error::Option));
        assert_eq!(link_layer_option(&[2, 2, 0, 0, 0, 0, 0, 0], 2), Err(Error::Option));
        assert_eq!(
            link_layer_option(&[14, 1, 0, 0, 0, 0, 0, 0, 2, 1, 1, 2, 3, 4, 5, 6], 2),
            Ok(Some([1, 2, 3, 4, 5, 6]))
        );
        assert_eq!(link_layer_option(&[7], 2), Err(Error::Option));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_mean_something(mut bytes in proptest::collection::vec(any::<u8>(), 0..128), shape: bool) {
            if shape && bytes.len() > 42 {
                bytes[0] = 0x60;
                bytes[4] = 0;
                bytes[5] = u8::try_from(bytes.len() - 40).unwrap();
                bytes[6] = 58;
                bytes[7] = 255;
                bytes[40] = 135 + (bytes[40] & 1);
                bytes[41] = 0;
            }
            let _ = Ndp::parse(&bytes);
        }

        #[test]
        fn any_message_round_trips(source: u128, destination: u128, target: u128, mac: Option<Mac>, na: bool, f: (bool, bool, bool)) {
            let kind = if na { Kind::Advertisement { router: f.0, solicited: f.1, overrides: f.2 } } else { Kind::Solicitation };
            let ndp = Ndp { source: source.into(), destination: destination.into(), target: target.into(), kind, mac };
            prop_assert_eq!(Ndp::parse(&ndp.emit()), Ok(ndp));
        }
    }
}
