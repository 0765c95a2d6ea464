//! The IP headers around a VRRP advertisement (RFC 791, RFC 8200): written whole, because one socket of an interface
//! sends for several source addresses, and read where a raw socket hands them out.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Protocol number of VRRP.
pub const VRRP: u8 = 112;
/// Length of an IPv4 header without options.
pub const V4_LEN: usize = 20;
/// Length of an IPv6 header.
pub const V6_LEN: usize = 40;
/// Differentiated services class CS6 (network control).
const CLASS: u8 = 0xc0;
/// RFC 5798, section 5.1.1.3: adverts never pass a router.
pub const HOPS: u8 = 255;

/// The part of an IPv4 header that VRRP asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V4 {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
}

/// A header for a payload of so many bytes. The kernel fills in the checksum.
#[must_use]
pub fn v4((source, destination): (Ipv4Addr, Ipv4Addr), ttl: u8, id: u16, payload: usize) -> [u8; V4_LEN] {
    let mut out = [0; V4_LEN];
    out[0] = 0x45;
    out[1] = CLASS;
    let length = u16::try_from(V4_LEN + payload).unwrap_or(u16::MAX);
    out[2..4].copy_from_slice(&length.to_be_bytes());
    out[4..6].copy_from_slice(&id.to_be_bytes());
    out[8] = ttl;
    out[9] = VRRP;
    out[12..16].copy_from_slice(&source.octets());
    out[16..20].copy_from_slice(&destination.octets());
    out
}

/// A header for a payload of so many bytes.
#[must_use]
pub fn v6((source, destination): (Ipv6Addr, Ipv6Addr), hops: u8, payload: usize) -> [u8; V6_LEN] {
    let mut out = [0; V6_LEN];
    // Version, then the class across two bytes.
    out[0] = 0x60 | CLASS >> 4;
    out[1] = CLASS << 4;
    out[4..6].copy_from_slice(&u16::try_from(payload).unwrap_or(u16::MAX).to_be_bytes());
    out[6] = VRRP;
    out[7] = hops;
    out[8..24].copy_from_slice(&source.octets());
    out[24..40].copy_from_slice(&destination.octets());
    out
}

/// Splits an IPv4 packet of any protocol; `None` when it is none, or shorter than it says.
#[must_use]
pub fn split_v4(packet: &[u8]) -> Option<(V4, &[u8])> {
    let header = packet.first_chunk::<V4_LEN>()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let whole = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || length < V4_LEN {
        return None;
    }
    let payload = packet.get(length..whole)?;
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    Some((V4 { source: address(12), destination: address(16), ttl: header[8] }, payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Version, priority 101, one address, password: behind the header that keepalived 2.2 puts before it.
    const CAPTURED: [u8; 20] = [0x45, 0xc0, 0, 40, 0, 1, 0, 0, 0xff, 0x70, 0x17, 0x96, 192, 0, 2, 1, 224, 0, 0, 18];

    #[test]
    fn as_the_original_writes_it() {
        let mut header = v4((Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(224, 0, 0, 18)), HOPS, 1, 20);
        assert_eq!(header[10..12], [0, 0], "for the kernel");
        header[10..12].copy_from_slice(&CAPTURED[10..12]);
        assert_eq!(header, CAPTURED);
        let group = "ff02::12".parse().unwrap();
        let header = v6(("fe80::1".parse().unwrap(), group), HOPS, 24);
        assert_eq!(header[..8], [0x6c, 0, 0, 0, 0, 24, 112, 255]);
        assert_eq!(header[24..], group.octets());
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let mut packet = v4((Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)), 64, 7, 3).to_vec();
        packet.extend([1, 2, 3, 0xee]);
        let (header, payload) = split_v4(&packet).unwrap();
        assert_eq!((header.source, header.destination), (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!((header.ttl, payload), (64, &[1, 2, 3][..]), "padding is no payload");
        assert_eq!(split_v4(&packet[..22]), None, "cut short");
        packet[0] = 0x44;
        assert_eq!(split_v4(&packet), None, "a header too short");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = split_v4(&bytes);
        }
    }
}
