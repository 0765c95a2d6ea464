//! What the virtual routers have to know of this host: links, and addresses from which adverts can be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::settings::{LinkDelay, Router};
use crate::keeper::{HostAddress, Link};
use crate::time::Time;

/// Links and addresses of this host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    pub(crate) links: BTreeMap<String, Link>,
    /// Changes that count later: when, and what the link is like then.
    waiting: BTreeMap<String, (Time, Link)>,
    /// By interface, in the kernel's order.
    addresses: BTreeMap<String, Vec<HostAddress>>,
}

impl Host {
    pub(crate) fn new(links: Vec<Link>, addresses: &[HostAddress]) -> Host {
        let links = links.into_iter().map(|l| (l.name.clone(), l)).collect();
        let mut host = Host { links, waiting: BTreeMap::new(), addresses: BTreeMap::new() };
        host.replace(addresses);
        host
    }

    pub(crate) fn up(&self, interface: &str) -> bool {
        self.links.get(interface).is_some_and(|l| l.up)
    }

    /// A link is like that now. `Some`: it counts at once.
    pub(crate) fn link(&mut self, now: Time, link: Link, delays: &[LinkDelay]) -> Option<Link> {
        let known = self.links.get(&link.name).is_some_and(|known| known.up);
        let delay = delays.iter().find(|d| *d.interface == *link.name).filter(|_| known != link.up);
        let delay = delay.map_or(Duration::ZERO, |d| if link.up { d.up } else { d.down });
        if delay.is_zero() {
            self.waiting.remove(&link.name);
            return Some(link);
        }
        let waiting = self.waiting.entry(link.name.clone()).or_insert_with(|| (now + delay, link.clone()));
        waiting.1 = link;
        None
    }

    /// Links whose change counts by now.
    pub(crate) fn waited(&mut self, now: Time) -> Vec<Link> {
        let due: Vec<String> = self.waiting.iter().filter(|(_, w)| now >= w.0).map(|(name, _)| name.clone()).collect();
        due.iter().filter_map(|name| self.waiting.remove(name)).map(|(_, link)| link).collect()
    }

    /// When the next one does.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.waiting.values().map(|(at, _)| *at).min()
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
        if router.source.is_some() && !router.track_source {
            return router.source;
        }
        let list = self.addresses.get(&*router.interface)?;
        if let Some(source) = router.source {
            return list.iter().find(|a| a.address == source).map(|a| a.address);
        }
        let fits = |a: &&HostAddress| match a.address {
            IpAddr::V4(_) => !router.ipv6,
            IpAddr::V6(v6) => router.ipv6 && v6.is_unicast_link_local(),
        };
        // The owner of an address has it on its interface.
        let own = |a: &&HostAddress| !a.mine && (router.priority == u8::MAX || !virtual_addresses.contains(&a.address));
        list.iter().filter(fits).find(own).map(|a| a.address)
    }
}
