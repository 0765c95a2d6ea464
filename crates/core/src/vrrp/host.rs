//! What the virtual routers have to know of this host: links, and addresses from which adverts can be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::settings::Router;
use crate::keeper::{HostAddress, Link};

/// Links and addresses of this host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    pub(crate) links: BTreeMap<String, Link>,
    /// By interface, in the kernel's order.
    addresses: BTreeMap<String, Vec<HostAddress>>,
}

impl Host {
    pub(crate) fn new(links: Vec<Link>, addresses: &[HostAddress]) -> Host {
        let links = links.into_iter().map(|l| (l.name.clone(), l)).collect();
        let mut host = Host { links, addresses: BTreeMap::new() };
        host.replace(addresses);
        host
    }

    pub(crate) fn up(&self, interface: &str) -> bool {
        self.links.get(interface).is_some_and(|l| l.up)
    }

    /// True when it matters to sources: what this program put itself is none.
    pub(crate) fn put(&mut self, a: &HostAddress) -> bool {
        let list = self.addresses.entry(a.interface.clone()).or_default();
        match list.iter_mut().find(|x| x.address == a.address && x.prefix == a.prefix) {
            Some(known) => !std::mem::replace(known, a.clone()).mine || !a.mine,
            None => {
                list.push(a.clone());
                !a.mine
            }
        }
    }

    /// True when it matters to sources.
    pub(crate) fn gone(&mut self, interface: &str, address: IpAddr) -> bool {
        let Some(list) = self.addresses.get_mut(interface) else { return false };
        let matters = list.iter().any(|x| x.address == address && !x.mine);
        list.retain(|x| x.address != address);
        matters
    }

    pub(crate) fn replace(&mut self, all: &[HostAddress]) {
        self.addresses.clear();
        for a in all {
            self.put(a);
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &HostAddress> {
        self.addresses.values().flatten()
    }

    /// The source of a router's adverts: as configured, or the first address of its interface that is no virtual one;
    /// for IPv6 a link-local one.
    pub(crate) fn source(&self, router: &Router, virtual_addresses: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        if router.source.is_some() {
            return router.source;
        }
        let list = self.addresses.get(&*router.interface)?;
        let fits = |a: &&HostAddress| match a.address {
            IpAddr::V4(_) => !router.ipv6,
            IpAddr::V6(v6) => router.ipv6 && v6.is_unicast_link_local(),
        };
        // The owner of an address has it on its interface.
        let own = |a: &&HostAddress| !a.mine && (router.priority == u8::MAX || !virtual_addresses.contains(&a.address));
        list.iter().filter(fits).find(own).map(|a| a.address)
    }
}
