//! The addresses to keep: `vip`, `address`, `vips`, and where they go.

use std::net::IpAddr;

use baton_core::keeper::event::HostAddress;
use baton_core::settings::{Source, VIPS_MAX, Vip};

use crate::keys::PRIORITY;
use crate::message::Findings;
use crate::peers::{Voters, is_true, unicast};
use crate::start::{HostFacts, link_names};
use crate::tree::{Item, Value, of};

/// An address as written, with what was said beside it.
struct Written<'a> {
    /// The address itself.
    at: &'a Item,
    /// The mapping in `vips`, or the root.
    around: &'a Item,
}

/// Reads the addresses, sorted.
pub(crate) fn settle(root: &Item, voters: &Voters, host: &HostFacts, found: &mut Findings) -> Vec<Vip> {
    if let Some(switch) = root.get("disableVIP").filter(|item| item.bool() == Some(true)) {
        if !is_true(root, "singleNode") {
            found.error(switch, "needs a node without peers", "true", "singleNode: true beside it");
        }
        return Vec::new();
    }
    let written = written(root, found);
    let none = |list: &Item| !list.is_bad() && list.list().is_empty();
    let said = ["vip", "address"].iter().any(|key| root.get(key).is_some());
    if !said && root.get("vips").is_none_or(none) {
        found.missing(root, "vip", "the address to keep, such as 192.0.2.10");
    }
    let own_entries = root.get("vips").map(Item::list).unwrap_or_default();
    for item in own_entries.iter().chain([root]).filter_map(|around| around.get("interface")) {
        known(item, root, host, found);
    }
    let mut vips: Vec<Vip> = Vec::new();
    for Written { at, around } in written {
        let Some(ip) = at.ip() else { continue };
        if !unicast(at, ip, found) || !keepable(at, ip, root, voters, found) {
            continue;
        }
        if vips.iter().any(|vip| vip.address == ip) {
            found.error(at, "is given twice", &ip.to_string(), "each address once");
            continue;
        }
        let prefix = prefix(ip, root, around, found);
        vips.push(Vip {
            address: ip,
            prefix,
            interface: interface(at, ip, root, around, host, found),
            priority: priority(root, around),
            source: Source::Peers,
        });
        own(at, ip, prefix, host, found);
    }
    if vips.len() > VIPS_MAX {
        found.error(
            root.get("vips").unwrap_or(root),
            "has too many addresses",
            &vips.len().to_string(),
            &format!("at most {VIPS_MAX}"),
        );
    }
    vips.sort_by_key(|vip| vip.address);
    vips
}

fn written<'a>(root: &'a Item, found: &mut Findings) -> Vec<Written<'a>> {
    let mut all = Vec::new();
    let (vip, address) = (root.get("vip"), root.get("address"));
    if let (Some(vip), Some(address)) = (vip, address)
        && vip.ip().is_some()
        && address.ip().is_some()
        && vip.ip() != address.ip()
    {
        let shown = address.ip().map(|ip| ip.to_string()).unwrap_or_default();
        found.error(address, "differs from vip", &shown, "one of the two keys; several addresses go into vips");
    }
    all.extend(vip.or(address).map(|at| Written { at, around: root }));
    for item in root.get("vips").map(Item::list).unwrap_or_default() {
        match (&item.value, item.get("address")) {
            (Value::Map(_), Some(at)) => all.push(Written { at, around: item }),
            (Value::Map(_), None) => found.missing(item, "address", "the address to keep"),
            _ => all.push(Written { at: item, around: root }),
        }
    }
    all
}

/// An address that can move between hosts, and is not a peer's.
fn keepable(at: &Item, ip: IpAddr, root: &Item, voters: &Voters, found: &mut Findings) -> bool {
    if ip.is_loopback() {
        found.error(at, "is a loopback address", &ip.to_string(), "an address that other hosts can reach");
        return false;
    }
    if voters.local.is_some_and(|local| local.ip() == ip) {
        found.error(at, "is localPeer's own address", &ip.to_string(), "an address that no host has");
        return false;
    }
    let entries = root.get("remotePeers").map(Item::list).unwrap_or_default();
    let same = |item: &&Item| of(item.get("address"), Item::ip) == Some(ip);
    if let Some(peer) = entries.iter().find(same) {
        found.error(at, &format!("is the address of {}", peer.path), &ip.to_string(), "an address that no host has");
        return false;
    }
    true
}

fn prefix(ip: IpAddr, root: &Item, around: &Item, found: &mut Findings) -> u8 {
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let Some(item) = around.get("prefix").or_else(|| root.get("prefix")) else { return longest };
    match item.int().map(u8::try_from) {
        Some(Ok(prefix)) if prefix <= longest => prefix,
        Some(_) => {
            let value = item.int().unwrap_or_default().to_string();
            found.error(item, &format!("is too long for {ip}"), &value, &format!("1 to {longest}"));
            longest
        }
        None => longest,
    }
}

fn priority(root: &Item, around: &Item) -> u16 {
    let item = around.get("priority").or_else(|| root.get("priority"));
    of(item, Item::int).and_then(|p| u16::try_from(p).ok()).unwrap_or(PRIORITY)
}

/// Where the address goes. A witness never holds, so it needs no interface.
fn interface(at: &Item, ip: IpAddr, root: &Item, around: &Item, host: &HostFacts, found: &mut Findings) -> String {
    let witness = is_true(root, "witness");
    let Some(item) = around.get("interface").or_else(|| root.get("interface")) else {
        return match inferred(ip, host) {
            Some(name) => name,
            None if witness || !host.known() => String::new(),
            None => {
                let names = link_names(host).join(", ");
                let value = format!("no interface of this host is in the network of {ip}");
                found.error(
                    &Item { path: crate::tree::join(&around.path, "interface"), ..at.clone() },
                    "is missing",
                    &value,
                    &format!("one of {names}"),
                );
                String::new()
            }
        };
    };
    item.text().unwrap_or_default().to_owned()
}

/// An interface that is named must be there, whether or not the address beside it can be read.
fn known(item: &Item, root: &Item, host: &HostFacts, found: &mut Findings) {
    let Some(name) = item.text().filter(|_| !is_true(root, "witness")) else { return };
    if host.known() && !host.links.iter().any(|link| link.name == name) {
        let names = link_names(host).join(", ");
        found.error(item, "is not an interface of this host", name, &format!("one of {names}"));
    }
}

/// The one interface whose network contains the address.
fn inferred(ip: IpAddr, host: &HostFacts) -> Option<String> {
    let around = |a: &&HostAddress| !a.mine && !a.address.is_loopback() && contains(a.address, a.prefix, ip);
    let mut names: Vec<&str> = host.addresses.iter().filter(around).map(|a| a.interface.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    match names[..] {
        [only] => Some(only.to_owned()),
        _ => None,
    }
}

/// Whether an address is in the network of another.
pub(crate) fn contains(network: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            prefix < 32 && (a.to_bits() ^ b.to_bits()).checked_shr(32 - u32::from(prefix)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            prefix < 128 && (a.to_bits() ^ b.to_bits()).checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// One of the host's own addresses is not given away; what another program left behind is.
///
/// Own: the first address of its network on a link (not secondary, with room for neighbours), unless Baton put it
/// there. A lone /32 or a secondary address is how kube-vip and keepalived add theirs. Kernels before 5.18 do not say
/// who added an address: there one with a lifetime and just the prefix that was asked for is Baton's own from before.
fn own(at: &Item, ip: IpAddr, prefix: u8, host: &HostFacts, found: &mut Findings) {
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let first = |a: &&HostAddress| a.address == ip && !a.mine && !a.secondary && a.prefix < longest;
    let own = |a: &&HostAddress| first(a) && (a.permanent || a.prefix != prefix);
    if let Some(a) = host.addresses.iter().find(own) {
        let what = format!("is this host's own address on {}", a.interface);
        found.error(at, &what, &format!("{ip}/{}", a.prefix), "an address that no host has");
    }
}
