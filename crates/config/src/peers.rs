//! Who votes: `localPeer` and `remotePeers`.
//!
//! One file body may serve all nodes, so a list that repeats the local peer is legal; two entries that only look
//! alike are not.

use std::net::{IpAddr, SocketAddr};

use baton_core::settings::{Peer, VOTERS_MAX};

use crate::keys::PEER_PORT;
use crate::message::Findings;
use crate::start::HostFacts;
use crate::tree::{Item, of};

/// The voters, as settings want them.
#[derive(Debug, Default)]
pub(crate) struct Voters {
    pub(crate) node: String,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) start_as_leader: bool,
}

/// An address that two hosts cannot share and one can have.
pub(crate) fn unicast(item: &Item, ip: IpAddr, found: &mut Findings) -> bool {
    let what = match ip {
        _ if ip.is_unspecified() => "is the unspecified address",
        _ if ip.is_multicast() => "is a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "is a link-local address, which means nothing without a zone",
        _ => return true,
    };
    found.error(item, what, &ip.to_string(), "the address of a host");
    false
}

/// Whether a key is given and true.
pub(crate) fn is_true(root: &Item, key: &str) -> bool {
    of(root.get(key), Item::bool) == Some(true)
}

/// Reads both keys.
pub(crate) fn settle(root: &Item, host: &HostFacts, found: &mut Findings) -> Voters {
    let local = root
        .get("localPeer")
        .filter(|item| item.is_bad() || ["id", "address", "port"].iter().any(|key| item.get(key).is_some()));
    let name = local.and_then(|item| of(item.get("id"), Item::text));
    let host_name = Some(host.name.as_str()).filter(|name| !name.is_empty());
    if is_true(root, "singleNode") {
        if let Some(list) = root.get("remotePeers").filter(|list| !list.list().is_empty()) {
            let many = list.list().len().to_string();
            found.warning(list, "is ignored, because singleNode is true", &many, "");
        }
        return Voters { node: name.or(host_name).unwrap_or("localhost").to_owned(), ..Voters::default() };
    }
    let start_as_leader = is_true(root, "startAsLeader");
    let Some(local) = local else {
        found.missing(
            root,
            "localPeer",
            "this node's id, address and port; or singleNode: true for a node without peers",
        );
        return Voters { peers: remote(root, None, found), start_as_leader, ..Voters::default() };
    };
    let address = own_address(local, host, found);
    let peers = remote(root, address, found);
    let list_is_bad = root.get("remotePeers").is_some_and(|list| list.is_bad() || list.list().iter().any(Item::is_bad));
    if peers.is_empty() && !start_as_leader && !list_is_bad {
        found.error(local, "has no peers", "", "entries in remotePeers, or singleNode: true, or startAsLeader: true");
    }
    if peers.len() + 1 > VOTERS_MAX {
        let many = (peers.len() + 1).to_string();
        let list = root.get("remotePeers").unwrap_or(root);
        found.error(list, "makes too many voters", &many, &format!("at most {VOTERS_MAX}, localPeer included"));
    }
    let shown = address.map(|a| a.ip().to_string());
    let node = name.map(str::to_owned).or(shown).unwrap_or_default();
    Voters { node, local: address, peers, start_as_leader }
}

/// `localPeer`'s address, which must be one of the host's.
fn own_address(local: &Item, host: &HostFacts, found: &mut Findings) -> Option<SocketAddr> {
    let ip = socket_ip(local, found)?;
    if !unicast(local.get("address")?, ip, found) {
        return None;
    }
    if host.known() && !host.addresses.iter().any(|a| a.address == ip) {
        let own: Vec<String> = host
            .addresses
            .iter()
            .filter(|a| !a.mine && !a.address.is_loopback())
            .map(|a| a.address.to_string())
            .collect();
        let own: Vec<String> = own.into_iter().filter(|a| !a.starts_with("fe80:")).take(6).collect();
        let expected =
            if own.is_empty() { "an address of this host".to_owned() } else { format!("one of {}", own.join(", ")) };
        found.error(local.get("address")?, "is not an address of this host", &ip.to_string(), &expected);
    }
    Some(SocketAddr::new(ip, port(local)))
}

fn socket_ip(peer: &Item, found: &mut Findings) -> Option<IpAddr> {
    if peer.is_bad() {
        return None;
    }
    let Some(item) = peer.get("address") else {
        found.missing(peer, "address", "its IP address on the peers' network");
        return None;
    };
    item.ip()
}

fn port(peer: &Item) -> u16 {
    of(peer.get("port"), Item::int).and_then(|port| u16::try_from(port).ok()).unwrap_or(PEER_PORT)
}

/// The list without the local peer, sorted by address.
fn remote(root: &Item, local: Option<SocketAddr>, found: &mut Findings) -> Vec<Peer> {
    let mut peers: Vec<(Peer, &Item)> = Vec::new();
    for item in root.get("remotePeers").map(Item::list).unwrap_or_default() {
        let (Some(ip), Some(at)) = (socket_ip(item, found), item.get("address")) else { continue };
        let address = SocketAddr::new(ip, port(item));
        if !unicast(at, ip, found) || local == Some(address) {
            continue;
        }
        if let Some(local) = local {
            if ip == local.ip() {
                let at = item.get("port").unwrap_or(item);
                let expected = format!("{}, because it has localPeer's address", local.port());
                found.error(at, "differs from localPeer.port", &address.port().to_string(), &expected);
                continue;
            }
            if ip.is_ipv4() != local.is_ipv4() {
                let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
                found.error(
                    at,
                    "is of another family than localPeer.address",
                    &ip.to_string(),
                    &format!("an {family} address"),
                );
                continue;
            }
        }
        if let Some((_, first)) = peers.iter().find(|(peer, _)| peer.address.ip() == ip) {
            found.error(
                at,
                &format!("is {}'s address too", first.path),
                &ip.to_string(),
                "a different address for each peer",
            );
            continue;
        }
        let id = of(item.get("id"), Item::text).map_or_else(|| ip.to_string(), str::to_owned);
        peers.push((Peer { address, id }, item));
    }
    let mut peers: Vec<Peer> = peers.into_iter().map(|(peer, _)| peer).collect();
    peers.sort();
    peers
}
