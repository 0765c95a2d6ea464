//! Whether a packet is an advert of a router's group: the checks of RFC 9568 section 7.1, in keepalived's order.

use std::net::IpAddr;

use baton_wire::vrrp::{self as wire, Advert, Auth};

use super::note::Reject;
use super::settings::{Router, Version};
use super::status::Counters;

/// A packet of protocol 112 as it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) bytes: &'a [u8],
}

/// How the addresses of an advert fit a router's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// The same ones.
    Same,
    /// Others than ours, and each of them is one that we keep.
    Subset,
    /// Some are shared.
    Shared,
}

/// Judges a packet for a router.
pub(crate) fn judge(router: &Router, packet: &Packet<'_>) -> Result<(Advert, List), Reject> {
    let multicast = router.peers.is_empty();
    if multicast && packet.ttl != wire::TTL {
        return Err(Reject::Ttl);
    }
    let advert = Advert::parse(packet.bytes, packet.source, packet.destination).map_err(|e| match e {
        wire::Error::Length => Reject::Length,
        wire::Error::Version | wire::Error::Family => Reject::Version,
        wire::Error::Type => Reject::Type,
        wire::Error::Checksum => Reject::Checksum,
    })?;
    match (advert.version, router.version) {
        (wire::Version::V2 { auth, .. }, Version::V2) => {
            authentic(auth, router.password)?;
            if advert.interval() != router.interval {
                return Err(Reject::Interval);
            }
        }
        (wire::Version::V3 { .. }, Version::V3) => {}
        _ => return Err(Reject::Version),
    }
    if packet.destination.is_multicast() != multicast {
        return Err(Reject::Kind);
    }
    if !multicast {
        from_peer(router, packet)?;
    }
    let list = compare(router, &advert.addresses)?;
    Ok((advert, list))
}

fn authentic(auth: Auth, password: Option<[u8; 8]>) -> Result<(), Reject> {
    match (auth, password) {
        (Auth::None, None) => Ok(()),
        (Auth::Password(theirs), Some(ours)) if theirs == ours => Ok(()),
        (Auth::Password(_), Some(_)) => Err(Reject::AuthFailure),
        (Auth::Other(kind), _) if kind > 2 => Err(Reject::AuthType),
        _ => Err(Reject::AuthMismatch),
    }
}

fn from_peer(router: &Router, packet: &Packet<'_>) -> Result<(), Reject> {
    match router.peers.iter().find(|p| p.address == packet.source) {
        Some(peer) => match peer.ttl {
            Some((low, high)) if !(low..=high).contains(&packet.ttl) => Err(Reject::Ttl),
            _ => Ok(()),
        },
        None if router.check_source => Err(Reject::Source),
        None => Ok(()),
    }
}

/// keepalived (before 2.3.3) ignores any list that differs, which makes two masters of one group. One shared address
/// is enough here; with none in common it is another group.
fn compare(router: &Router, theirs: &[IpAddr]) -> Result<List, Reject> {
    let ours = |a: &IpAddr| router.all_addresses().any(|o| o.address == *a);
    let advertised = |a: &IpAddr| router.addresses.iter().any(|o| o.address == *a);
    if router.addresses.len() == theirs.len() && theirs.iter().all(advertised) {
        Ok(List::Same)
    } else if theirs.is_empty() || !theirs.iter().any(ours) {
        Err(Reject::Foreign)
    } else if theirs.iter().all(ours) {
        Ok(List::Subset)
    } else {
        Ok(List::Shared)
    }
}

/// Counts what was not counted as an advert.
pub(crate) fn count(counters: &mut Counters, why: Reject) {
    let counter = match why {
        Reject::Length => &mut counters.length,
        Reject::Ttl => &mut counters.ttl,
        Reject::Version => &mut counters.version,
        Reject::Type => &mut counters.kind,
        Reject::AuthType => &mut counters.auth_type,
        Reject::AuthMismatch => &mut counters.auth_mismatch,
        Reject::AuthFailure => &mut counters.auth_failure,
        Reject::Interval => &mut counters.interval,
        Reject::Checksum => &mut counters.checksum,
        Reject::Kind | Reject::Source => &mut counters.source,
        Reject::Foreign => &mut counters.address_list,
    };
    *counter += 1;
}
