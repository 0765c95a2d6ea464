//! ARP over Ethernet for IPv4 (RFC 826), with the probes and announcements of RFC 5227.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |       hardware type (1)       |    protocol type (0x0800)     |
//! +---------------+---------------+-------------------------------+
//! |  hw len (6)   | proto len (4) |           operation           |
//! +---------------+---------------+-------------------------------+
//! |        sender hardware address, sender protocol address,      |
//! |        target hardware address, target protocol address       |
//! +---------------------------------------------------------------+
//! ```
//!
//! It knows no Ethernet header: packet sockets of type `SOCK_DGRAM` make and strip it.

use std::net::Ipv4Addr;

use crate::Mac;

/// Length of an ARP packet for Ethernet and IPv4.
pub const LEN: usize = 28;

/// Hardware type, protocol type and the two lengths: the only combination that is parsed.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's link-layer address.
    pub sender_mac: Mac,
    /// The sender's address; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// The target's link-layer address; zero when it is asked for.
    pub target_mac: Mac,
    /// The target's address.
    pub target: Ipv4Addr,
}

/// Why bytes are no ARP packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than [`LEN`].
    Short,
    /// Not Ethernet with IPv4.
    Kind,
    /// Neither request nor reply (RARP, InARP …).
    Operation,
}

impl Arp {
    /// RFC 5227 section 1.1: an ARP request with an unspecified sender, which changes nobody's cache.
    #[must_use]
    pub fn probe(mac: Mac, address: Ipv4Addr) -> Arp {
        Arp {
            operation: Operation::Request,
            sender_mac: mac,
            sender: Ipv4Addr::UNSPECIFIED,
            target_mac: [0; 6],
            target: address,
        }
    }

    /// RFC 5227 section 2.3: sender and target are the announced address. Some hosts learn from requests only, some from
    /// replies only, so an announcement is one of each.
    #[must_use]
    pub fn announcement(operation: Operation, mac: Mac, address: Ipv4Addr) -> Arp {
        let target_mac = match operation {
            Operation::Request => [0; 6],
            Operation::Reply => mac,
        };
        Arp { operation, sender_mac: mac, sender: address, target_mac, target: address }
    }

    /// As keepalived writes it: a request that asks the whole link, target link-layer address included.
    #[must_use]
    pub fn gratuitous(mac: Mac, address: Ipv4Addr) -> Arp {
        Arp { target_mac: [0xff; 6], ..Arp::announcement(Operation::Request, mac, address) }
    }

    /// Reads a packet; what follows it (Ethernet padding) is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Arp, Error> {
        let packet = bytes.first_chunk::<LEN>().ok_or(Error::Short)?;
        if packet[..6] != ETHERNET_IPV4 {
            return Err(Error::Kind);
        }
        let operation = match (packet[6], packet[7]) {
            (0, 1) => Operation::Request,
            (0, 2) => Operation::Reply,
            _ => return Err(Error::Operation),
        };
        let mac =
            |at: usize| [packet[at], packet[at + 1], packet[at + 2], packet[at + 3], packet[at + 4], packet[at + 5]];
        let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        Ok(Arp { operation, sender_mac: mac(8), sender: address(14), target_mac: mac(18), target: address(24) })
    }

    /// The packet's bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..6].copy_from_slice(&ETHERNET_IPV4);
        out[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        out[8..14].copy_from_slice(&self.sender_mac);
        out[14..18].copy_from_slice(&self.sender.octets());
        out[18..24].copy_from_slice(&self.target_mac);
        out[24..28].copy_from_slice(&self.target.octets());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = [0x02, 0, 0, 0, 0, 0x0a];

    /// A reply of the Linux kernel, as tcpdump recorded it (with its Ethernet padding).
    const REPLY: [u8; 46] = [
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x4d, 0x00, 0x64,
        0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x0a, 0x4d, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0,
    ];

    #[test]
    fn a_reply_is_read_and_its_padding_ignored() {
        let reply = Arp::parse(&REPLY).unwrap();
        assert_eq!(reply.operation, Operation::Reply);
        assert_eq!((reply.sender_mac, reply.sender), (MAC, Ipv4Addr::new(10, 77, 0, 100)));
        assert_eq!((reply.target_mac, reply.target), ([2, 0, 0, 0, 0, 1], Ipv4Addr::new(10, 77, 0, 1)));
        assert_eq!(reply.emit(), REPLY[..LEN]);
    }

    #[test]
    fn a_probe_names_no_sender() {
        let bytes = Arp::probe(MAC, Ipv4Addr::new(10, 77, 0, 100)).emit();
        assert_eq!(bytes[14..18], [0; 4], "sender address");
        assert_eq!(bytes[18..24], [0; 6], "target hardware address");
        assert_eq!(bytes[24..], [10, 77, 0, 100]);
    }

    #[test]
    fn other_kinds_are_refused() {
        assert_eq!(Arp::parse(&REPLY[..27]), Err(Error::Short));
        for (at, value, error) in
            [(1, 6, Error::Kind), (2, 0x86, Error::Kind), (5, 16, Error::Kind), (7, 3, Error::Operation)]
        {
            let mut bytes = REPLY;
            bytes[at] = value;
            assert_eq!(Arp::parse(&bytes), Err(error), "byte {at} = {value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(arp) = Arp::parse(&bytes) {
                prop_assert_eq!(&arp.emit()[..], &bytes[..LEN]);
            }
        }

        #[test]
        fn any_packet_round_trips(sender_mac: Mac, sender: u32, target_mac: Mac, target: u32, reply: bool) {
            let operation = if reply { Operation::Reply } else { Operation::Request };
            let arp = Arp { operation, sender_mac, sender: sender.into(), target_mac, target: target.into() };
            prop_assert_eq!(Arp::parse(&arp.emit()), Ok(arp));
        }
    }
}
