//! What is legal and unwise: `baton check` says it, a daemon starts all the same.

use std::net::IpAddr;

use baton_core::settings::{Backend, Balancer, Ownership, Settings, Vip};

use crate::message::{Message, Severity};
use crate::start::{HostFacts, Loaded};
use crate::vips::contains;

/// Beyond this, more voters only make every renewal dearer.
const VOTERS_USEFUL: usize = 7;

/// Everything about a configuration that its author should think about again.
#[must_use]
pub fn unwise(loaded: &Loaded, host: &HostFacts) -> Vec<Message> {
    let mut out = Vec::new();
    let mut say = |key: &str, what: &str, value: &str, expected: &str| {
        out.push(loaded.message(Severity::Warning, key, what, value, expected));
    };
    let Settings { ownership, balancers, .. } = &loaded.settings;
    voters(ownership, &mut say);
    trust(ownership, &mut say);
    for vip in &ownership.vips {
        network(vip, ownership, host, &mut say);
    }
    for (balancer, key) in balancers.iter().zip(&loaded.balancer_keys) {
        beside(balancer, key, ownership, host, &mut say);
        if !balancer.backends.is_empty() && balancer.backends.iter().all(|backend| backend.weight == 0) {
            say(
                &format!("{key}.backends"),
                "all have weight 0, so nothing new is accepted",
                "",
                "a weight above 0 for one of them",
            );
        }
    }
    out
}

fn voters(ownership: &Ownership, say: &mut impl FnMut(&str, &str, &str, &str)) {
    let voters = ownership.peers.len() + 1;
    let many = voters.to_string();
    match voters {
        2 => say(
            "remotePeers",
            "makes two voters, which cannot fail over: when one is down, the other has no majority",
            &many,
            "a third voter; `witness: true` makes one that only votes",
        ),
        _ if voters.is_multiple_of(2) => say(
            "remotePeers",
            &format!("makes an even number of voters, which survives no more failures than {}", voters - 1),
            &many,
            "an odd number",
        ),
        _ if voters > VOTERS_USEFUL => {
            say("remotePeers", "makes many voters", &many, "five or seven for any number of hosts")
        }
        _ => {}
    }
    if let Some(peer) = ownership.peers.iter().find(|peer| peer.address.ip().is_loopback()) {
        let what = "has a loopback address, which only this host reaches";
        say("remotePeers", what, &peer.address.to_string(), "addresses on a network that the peers share");
    }
    if ownership.start_as_leader {
        let what = "holds outside the guarantee until a majority was seen";
        say("startAsLeader", what, "true", "true on one node only, and false again when the others have joined");
    }
}

fn trust(ownership: &Ownership, say: &mut impl FnMut(&str, &str, &str, &str)) {
    if !ownership.peers.is_empty() && ownership.keys.is_empty() {
        let what = "is missing: anybody who can send from a peer's address can vote";
        say("peerKey", what, "", "the same secret on all nodes, such as the output of `openssl rand -hex 32`");
    }
    if !ownership.fence {
        let what = "leaves the end of ownership to this process: stopped or killed, it goes on answering";
        say("fence", what, "off", "on, wherever the kernel has nftables");
    }
    if ownership.force {
        say("force", "takes addresses from hosts that answer for them", "true", "false, unless for a moment");
    }
}

/// An address that no neighbour would look for on that link.
fn network(vip: &Vip, ownership: &Ownership, host: &HostFacts, say: &mut impl FnMut(&str, &str, &str, &str)) {
    if ownership.witness || !host.known() {
        return;
    }
    let mut on_link = host.addresses.iter().filter(|a| a.interface == vip.interface && !a.mine);
    if !on_link.any(|a| contains(a.address, a.prefix, vip.address)) {
        let what = format!("is in no network of {}, so neighbours need a route to it", vip.interface);
        say("vip", &what, &vip.address.to_string(), "an address of that network");
    }
    if let Some(link) = host.links.iter().find(|link| link.name == vip.interface && !link.up) {
        say("interface", "is down", &link.name, "an interface with a carrier");
    }
}

/// A listener on the port of a server on the same host: two programs want one port.
fn beside(
    balancer: &Balancer,
    key: &str,
    ownership: &Ownership,
    host: &HostFacts,
    say: &mut impl FnMut(&str, &str, &str, &str),
) {
    let Some(port) = balancer.listen.first().map(|listen| listen.port()) else { return };
    let here = |backend: &&Backend| {
        let ip: Option<IpAddr> = backend.host.parse().ok();
        let voter = |ip: IpAddr| {
            ownership.local.is_some_and(|l| l.ip() == ip) || ownership.peers.iter().any(|p| p.address.ip() == ip)
        };
        let own = |ip: IpAddr| ip.is_loopback() || voter(ip) || host.addresses.iter().any(|a| a.address == ip);
        backend.port == port && (backend.host == "localhost" || ip.is_some_and(own))
    };
    let Some(backend) = balancer.backends.iter().find(here) else { return };
    let listener = if balancer.bind_to_vip { "a virtual IP" } else { "all addresses" };
    let what = format!(
        "listens on {listener} and {}:{port} is a backend: a server there that binds all addresses, as an API server does, and this listener cannot both start",
        backend.host
    );
    let expected = if balancer.bind_to_vip {
        "another port, or a server that binds its own address only"
    } else {
        "another port, or bindToVip: true and a server that binds its own address only"
    };
    say(&format!("{key}.port"), &what, &port.to_string(), expected);
}
