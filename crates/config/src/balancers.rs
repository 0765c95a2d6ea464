//! What is listened on and where it goes: `loadBalancers`, `addPeersAsBackends`, and the address for metrics.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use baton_core::settings::{Backend, Balancer, BalancerKind, Ownership, Url};

use crate::check;
use crate::message::{Findings, Place, Severity};
use crate::peers::is_true;
use crate::scalar;
use crate::tree::{Item, Value, of};

/// Address of metrics and health.
pub(crate) fn admin(root: &Item) -> Option<SocketAddr> {
    match root.get("admin").map(|item| &item.value) {
        Some(Value::Socket(socket)) => Some(*socket),
        _ => None,
    }
}

/// Reads the list; each balancer with its key.
pub(crate) fn settle(root: &Item, ownership: &Ownership, found: &mut Findings) -> Vec<(Balancer, String)> {
    let mut all: Vec<(Balancer, &Item)> = Vec::new();
    let list = root.get("loadBalancers").map(Item::list).unwrap_or_default();
    for item in list.iter().filter(|item| !item.is_bad()) {
        let Some(mut balancer) = balancer(root, item, ownership, found) else { continue };
        collisions(&all, &balancer, item, found);
        let taken = |name: &str| all.iter().any(|(other, _)| other.name == name);
        if taken(&balancer.name) {
            let number = (2..).find(|n| !taken(&format!("{}-{n}", balancer.name))).unwrap_or(2);
            let name = format!("{}-{number}", balancer.name);
            if let Some(at) = item.get("name") {
                found.warning(at, &format!("is used twice; this one is called {name}"), &balancer.name, "");
            }
            balancer.name = name;
        }
        all.push((balancer, item));
    }
    if is_true(root, "addPeersAsBackends")
        && !list.iter().any(|item| lists_none(item) && item.get("backendPort").is_some())
    {
        let item = root.get("addPeersAsBackends").unwrap_or(root);
        found.warning(item, "has no effect: no load balancer has a backendPort and no backends of its own", "", "");
    }
    if let (Some(admin), Some(at)) = (admin(root), root.get("admin"))
        && let Some((_, other)) = all.iter().find(|(b, _)| b.listen.iter().any(|l| overlap(*l, admin)))
    {
        found.error(at, &format!("is where {} listens", other.path), &admin.to_string(), "another port");
    }
    all.into_iter().map(|(balancer, item)| (balancer, item.path.clone())).collect()
}

fn lists_none(item: &Item) -> bool {
    item.get("backends").is_none_or(|list| !list.is_bad() && list.list().is_empty())
}

fn balancer(root: &Item, item: &Item, ownership: &Ownership, found: &mut Findings) -> Option<Balancer> {
    let kind = kind(item);
    let bind_to_vip = is_true(item, "bindToVip");
    let Some(port) = of(item.get("port"), Item::int).and_then(|port| u16::try_from(port).ok()) else {
        if item.get("port").is_none() {
            no_port(item, found);
        }
        backends(root, item, kind, ownership, found);
        return None;
    };
    let name = of(item.get("name"), Item::text).map(str::to_owned).unwrap_or_else(|| {
        let kind = if kind == BalancerKind::Tcp { "tcp" } else { "http" };
        format!("{kind}-{port}")
    });
    let listen = if bind_to_vip {
        ownership.vips.iter().map(|vip| SocketAddr::new(vip.address, port)).collect()
    } else {
        vec![SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)]
    };
    let backends = backends(root, item, kind, ownership, found);
    if bind_to_vip && is_true(root, "disableVIP") {
        found.warning(item, "is not started: it binds to the virtual IP, and disableVIP is given", "", "");
        return None;
    }
    looped(item, &listen, &backends, found);
    let cut_on_down = of(item.get("cutOnDown"), Item::bool).unwrap_or(true);
    Some(Balancer { name, kind, listen, bind_to_vip, backends, cut_on_down })
}

fn kind(item: &Item) -> BalancerKind {
    match of(item.get("type"), Item::text) {
        Some("http") => BalancerKind::Http,
        _ => BalancerKind::Tcp,
    }
}

/// A manifest of `kube-vip kubeadm init` names a load balancer but not its port, and its lb_backendport holds the
/// port of the API server. kube-vip 0.1 then listened on a random port, which nobody could know: clients reached the
/// API server on the holder itself. That is kept, because a listener on that port would keep the API server from
/// starting. In a file a missing port is a mistake.
fn no_port(item: &Item, found: &mut Findings) {
    if matches!(item.place, Place::File { .. }) {
        found.missing(item, "port", "where it listens, 1 to 65535");
    } else {
        let what = "is missing, so nothing listens: clients of the virtual IP reach the holder's own servers";
        let key = crate::tree::join(&item.path, "port");
        found.put(Severity::Warning, &Place::Nowhere, &key, what, "", "lb_port, if connections are to be balanced");
    }
}

/// Two listeners that cannot both be bound.
fn collisions(all: &[(Balancer, &Item)], new: &Balancer, item: &Item, found: &mut Findings) {
    for (other, at) in all {
        let both = other.listen.iter().find(|a| new.listen.iter().any(|b| overlap(**a, *b)));
        if let Some(socket) = both {
            let port = item.get("port").unwrap_or(item);
            let what = format!("is {}'s port too, on the same addresses", at.path);
            found.error(port, &what, &socket.port().to_string(), "each port once");
        }
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// A backend that is the listener itself would call itself for ever.
fn looped(item: &Item, listen: &[SocketAddr], backends: &[Backend], found: &mut Findings) {
    for backend in backends {
        let Ok(ip) = backend.host.parse::<IpAddr>() else { continue };
        let socket = SocketAddr::new(ip, backend.port);
        if listen.contains(&socket) {
            found.error(item, "has itself as a backend", &socket.to_string(), "the addresses of the servers behind it");
        }
    }
}

/// The backends as listed, or the peers.
fn backends(root: &Item, item: &Item, kind: BalancerKind, ownership: &Ownership, found: &mut Findings) -> Vec<Backend> {
    let base = check::base(item.get("check"), found);
    let mut all: Vec<Backend> = Vec::new();
    for at in item.get("backends").map(Item::list).unwrap_or_default() {
        let Some(mut backend) = backend(at, kind, found) else { continue };
        backend.check = check::settle(at.get("check"), &base, found);
        let same = |b: &&mut Backend| b.host == backend.host && b.port == backend.port && b.url == backend.url;
        if let Some(first) = all.iter_mut().find(same) {
            first.weight = (first.weight + backend.weight).min(256);
            found.warning(
                at,
                "is listed twice; its weights are added",
                &format!("{}:{}", backend.host, backend.port),
                "",
            );
            continue;
        }
        all.push(backend);
    }
    if lists_none(item) && is_true(root, "addPeersAsBackends") && item.get("backendPort").is_some() {
        return peers(item, ownership, &check::settle(None, &base, found));
    }
    if let Some(port) =
        item.get("backendPort").and_then(|port| Some((port, port.int()?))).filter(|_| item.get("port").is_some())
    {
        let what = "has no effect, as in kube-vip 0.1: each backend has its own port";
        found.warning(port.0, what, &port.1.to_string(), "");
    }
    if lists_none(item) && item.get("port").is_some() {
        let what = "is empty: every connection is refused";
        let at = Item { path: crate::tree::join(&item.path, "backends"), ..item.clone() };
        found.warning(&at, what, "", "entries with address and port");
    }
    all
}

/// All voters as backends: what `addPeersAsBackends` says.
fn peers(item: &Item, ownership: &Ownership, check: &Option<baton_core::settings::Check>) -> Vec<Backend> {
    let port = of(item.get("backendPort"), Item::int).and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
    let mut hosts: Vec<IpAddr> =
        ownership.peers.iter().map(|peer| peer.address.ip()).chain(ownership.local.map(|l| l.ip())).collect();
    hosts.sort();
    let url = (kind(item) == BalancerKind::Http).then(|| Url { tls: false, prefix: String::new() });
    hosts
        .into_iter()
        .map(|host| Backend {
            host: host.to_string(),
            port,
            url: url.clone(),
            weight: 1,
            backup: false,
            check: check.clone(),
        })
        .collect()
}

/// One backend, its check still to come.
fn backend(item: &Item, kind: BalancerKind, found: &mut Findings) -> Option<Backend> {
    if item.is_bad() {
        return None;
    }
    let weight = of(item.get("weight"), Item::int).and_then(|w| u16::try_from(w).ok()).unwrap_or(1);
    let backup = is_true(item, "backup");
    let (host, port, url) = match item.get("url") {
        Some(at) if kind == BalancerKind::Http => url(at, item, found)?,
        other => {
            if let Some(at) = other.filter(|at| !at.is_bad()) {
                found.warning(
                    at,
                    "has no effect: it is for load balancers of type http",
                    at.text().unwrap_or_default(),
                    "address and port",
                );
            }
            let (host, port) = address(item, kind, found)?;
            (host, port, (kind == BalancerKind::Http).then(|| Url { tls: false, prefix: String::new() }))
        }
    };
    Some(Backend { host, port, url, weight, backup, check: None })
}

fn address(item: &Item, kind: BalancerKind, found: &mut Findings) -> Option<(String, u16)> {
    let http = if kind == BalancerKind::Http { ", or url" } else { "" };
    for (key, expected) in [("address", "an IP address or host name"), ("port", "a port from 1 to 65535")] {
        if item.get(key).is_none() {
            found.missing(item, key, &format!("{expected}{http}"));
        }
    }
    let (at, port) = (item.get("address")?, item.get("port")?);
    let host = host(at, at.text()?, found)?;
    Some((host, port.int().and_then(|port| u16::try_from(port).ok())?))
}

/// An IP address in its usual spelling, or a host name.
fn host(at: &Item, text: &str, found: &mut Findings) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_multicast() {
            found.error(at, "is not the address of a server", text, "an IP address or host name");
            return None;
        }
        return Some(ip.to_string());
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if name.len() > 253 || numeric || !name.split('.').all(label) {
        found.error(
            at,
            "is neither an IP address nor a host name",
            text,
            "such as 192.0.2.1, 2001:db8::1 or server1.example",
        );
        return None;
    }
    Some(name.to_ascii_lowercase())
}

/// `http://host:port/prefix`.
fn url(at: &Item, item: &Item, found: &mut Findings) -> Option<(String, u16, Option<Url>)> {
    let text = at.text()?;
    let expected = "http://host:port/prefix or https://…";
    for key in ["address", "port"] {
        if let Some(other) = item.get(key) {
            found.warning(other, "has no effect: url says it", "", "");
        }
    }
    let lower = text.to_ascii_lowercase();
    let scheme =
        [("http://", false, 80), ("https://", true, 443)].into_iter().find(|(scheme, ..)| lower.starts_with(scheme));
    let Some((scheme, tls, default)) = scheme else {
        found.error(at, "has no scheme http or https", text, expected);
        return None;
    };
    let rest = &text[scheme.len()..];
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if text.contains(['?', '#', '@', ' ']) || text.chars().any(char::is_control) {
        found.error(at, "has parts that a backend cannot have (query, fragment, user or blanks)", text, expected);
        return None;
    }
    let parsed = match scalar::host_and_port(authority) {
        Some((name, port)) => port.parse::<u16>().ok().filter(|port| *port != 0).map(|port| (name, port)),
        None => Some((authority, default)),
    };
    let Some((name, port)) = parsed else {
        found.error(at, "has a port that is none", text, expected);
        return None;
    };
    let prefix = path.trim_end_matches('/').to_owned();
    Some((host(at, name, found)?, port, Some(Url { tls, prefix })))
}
