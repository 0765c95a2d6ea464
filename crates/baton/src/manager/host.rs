//! What the host has: its interfaces and their networks, and what a predecessor left on them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use baton_core::keeper::HostAddress;
use baton_core::services::{Interface, subnet};
use baton_net::rtnl::Rtnl;

/// Interfaces with the host's own addresses; ours do not count.
pub(super) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut rtnl = Rtnl::open()?;
    let mut all: Vec<Interface> = Vec::new();
    for link in rtnl.links()? {
        all.push(Interface { name: Arc::from(link.name.as_str()), addresses: Vec::new() });
    }
    for address in rtnl.addresses()?.into_iter().filter(|a| !a.mine) {
        if let Some(of) = all.iter_mut().find(|i| *i.name == *address.interface) {
            of.addresses.push((address.address, address.prefix));
        }
    }
    Ok(all)
}

/// The prefix length of the network on an interface that has the address; without one, the address's own.
pub(super) fn prefix(interfaces: &[Interface], interface: &str, address: IpAddr) -> u8 {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    interfaces.iter().find(|i| *i.name == *interface).and_then(|i| subnet(i, address)).unwrap_or(whole)
}

/// Removes addresses that carry our mark and that nobody keeps: a predecessor's. What could not be removed is said.
pub(super) fn remove(strays: &[HostAddress]) -> Vec<String> {
    let mut rtnl = match Rtnl::open() {
        Ok(rtnl) => rtnl,
        Err(e) => return vec![format!("route netlink: {e}")],
    };
    let mut failed = Vec::new();
    for stray in strays {
        if let Err(e) = rtnl.remove_address(&stray.interface, stray.address, stray.prefix) {
            failed.push(format!("{} on {}: {e}", stray.address, stray.interface));
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_the_network_that_has_the_address() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let eth0 = vec![(address("10.0.0.1"), 24), (address("10.0.0.9"), 32), (address("fd00::1"), 64)];
        let interfaces = vec![Interface { name: "eth0".into(), addresses: eth0 }];
        let check = |text, length| assert_eq!(prefix(&interfaces, "eth0", address(text)), length, "{text}");
        check("10.0.0.100", 24);
        check("10.0.1.100", 32);
        check("10.0.0.9", 24);
        check("fd00::5", 64);
        check("fd01::5", 128);
        assert_eq!(prefix(&interfaces, "eth1", address("10.0.0.100")), 32);
    }
}
