//! One address, one Lease: who governs an address that Services share, and when a change of the Lease is safe.

use std::net::IpAddr;
use std::sync::Arc;

use super::ask::Refusal;
use super::object::Key;
use super::place::{Place, place};
use super::state::{Entry, Services};
use super::{Touched, Wanted};
use crate::lease::LeaseName;
use crate::time::Time;

/// An address that at least one Service claims.
#[derive(Debug, Default)]
pub(super) struct Address {
    /// When the Services were created, and which, oldest first (then by name). Never empty between two changes.
    /// Nearly always one: a sorted list takes a tenth of a tree's room.
    pub(super) claimants: Vec<(Arc<str>, Key)>,
    /// The Lease that governs it; `None` only while it is new.
    pub(super) lease: Option<LeaseName>,
    pub(super) wanted: Option<Wanted>,
}

impl Services {
    pub(super) fn claim(&mut self, entry: &Entry) {
        for address in &entry.claims {
            let claimant = (entry.service.created.clone(), entry.service.key.clone());
            let claimants = &mut self.addresses.entry(*address).or_default().claimants;
            if let Err(at) = claimants.binary_search(&claimant) {
                claimants.insert(at, claimant);
            }
            self.dirty.insert(*address);
        }
    }

    pub(super) fn unclaim(&mut self, entry: &Entry) {
        for address in &entry.claims {
            if let Some(known) = self.addresses.get_mut(address) {
                known.claimants.retain(|(_, key)| *key != entry.service.key);
                self.dirty.insert(*address);
            }
        }
    }

    pub(super) fn touch_claimants(&self, address: IpAddr, touched: &mut Touched) {
        let claimants = self.addresses.get(&address).into_iter().flat_map(|known| &known.claimants);
        touched.services.extend(claimants.map(|(_, key)| key.clone()));
    }

    /// Decides anew about one address.
    pub(super) fn refresh(&mut self, now: Time, address: IpAddr, touched: &mut Touched) {
        let Some(known) = self.addresses.get_mut(&address) else { return };
        let (lease_before, before) = (known.lease.take(), known.wanted.take());
        let lease = self.governing(address);
        if lease_before != lease {
            if let Some(former) = lease_before.clone() {
                self.leave(now, address, former);
            }
            if let Some(lease) = &lease {
                self.former.remove(&(address, lease.clone()));
            }
        }
        let after = lease.as_ref().and_then(|lease| self.decide(address, lease));
        self.index(before.as_ref(), after.as_ref(), touched);
        if let Some(former) = lease_before.as_ref().filter(|former| lease.as_ref() != Some(*former)) {
            self.forget_unwanted(former);
        }
        if before != after {
            touched.addresses.insert(address);
        }
        if before != after || lease_before != lease {
            self.touch_claimants(address, touched);
        }
        match (lease, self.addresses.get_mut(&address)) {
            (Some(lease), Some(known)) => (known.lease, known.wanted) = (Some(lease), after),
            _ => {
                self.addresses.remove(&address);
            }
        }
    }

    /// The Lease that governs an address: the control plane's, or that of the oldest Service. `None`: nobody claims it.
    fn governing(&self, address: IpAddr) -> Option<LeaseName> {
        let (_, first) = self.addresses.get(&address)?.claimants.first()?;
        let shared = self.options.control_plane.contains(&address);
        let control_plane = self.options.control_plane_lease.as_ref().filter(|_| shared);
        control_plane.or(self.services.get(first).map(|entry| &entry.lease)).cloned()
    }

    /// Whether and where the address is wanted here.
    fn decide(&self, address: IpAddr, lease: &LeaseName) -> Option<Wanted> {
        if !self.ready() || self.waits_for(address).is_some() {
            return None;
        }
        let mut claimants = self.addresses.get(&address)?.claimants.iter();
        let backed = claimants.any(|(_, key)| {
            let service = self.service(key);
            service.is_some_and(|service| self.backing(key).allows(service))
        });
        let Place { interface, prefix, .. } = self.place(address).filter(|_| backed)?.ok()?;
        Some(Wanted { address, prefix, interface, lease: lease.clone() })
    }

    /// Where an address goes here: as the Service says that governs it, so that all nodes agree.
    pub(super) fn place(&self, address: IpAddr) -> Option<Result<Place, Refusal>> {
        let (_, first) = self.addresses.get(&address)?.claimants.first()?;
        Some(place(self.service(first)?, address, &self.options, &self.host))
    }

    /// The Lease by which another node may still hold the address.
    pub(super) fn waits_for(&self, address: IpAddr) -> Option<&LeaseName> {
        let mut former = self.former.range((address, LeaseName::default())..);
        former.next().map(|((of, lease), _)| (of, lease)).filter(|(of, _)| **of == address).map(|(_, lease)| lease)
    }

    /// An address ceases to be governed by a Lease. Whoever holds it may not have heard of that yet: cut off from the
    /// API, he goes on until his Lease ends. So the next one waits for the end, unless it is this node that holds it.
    fn leave(&mut self, now: Time, address: IpAddr, lease: LeaseName) {
        let mine = self.holders.get(&lease).is_some_and(|holder| *holder == self.options.node);
        if !mine && self.listed() {
            self.former.insert((address, lease), now + self.options.lease_duration);
        }
    }

    pub(super) fn hold_lease(&mut self, name: LeaseName, holder: Arc<str>, touched: &mut Touched) {
        if holder.is_empty() || holder == self.options.node {
            let over: Vec<_> = self.former.keys().filter(|(_, lease)| *lease == name).cloned().collect();
            self.end_wait(over);
        }
        if self.holders.get(&name) == Some(&holder) {
            return;
        }
        self.forget_holder(&name);
        if !holder.is_empty() {
            *self.speakers.entry(holder.clone()).or_default() += 1;
            self.holders.insert(name, holder);
        }
        if self.speaks() {
            touched.services.extend(self.unsaid.iter().cloned());
        }
    }

    fn forget_holder(&mut self, name: &LeaseName) {
        if let Some(before) = self.holders.remove(name)
            && let Some(count) = self.speakers.get_mut(&before)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.speakers.remove(&before);
            }
        }
    }

    pub(super) fn expire(&mut self, now: Time) {
        let over: Vec<_> = self.former.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
        self.end_wait(over);
    }

    fn end_wait(&mut self, over: Vec<(IpAddr, LeaseName)>) {
        for key in over {
            self.former.remove(&key);
            self.dirty.insert(key.0);
            self.forget_unwanted(&key.1);
        }
    }

    /// Nobody is going to tell who holds a Lease that has no address here any more, and nobody waits for.
    fn forget_unwanted(&mut self, lease: &LeaseName) {
        if !self.campaigns(lease) && !self.former.keys().any(|(_, former)| former == lease) {
            self.forget_holder(lease);
        }
    }

    /// Counts the wanted addresses of each Lease.
    fn index(&mut self, before: Option<&Wanted>, after: Option<&Wanted>, touched: &mut Touched) {
        if before.map(|wanted| &wanted.lease) == after.map(|wanted| &wanted.lease) {
            return;
        }
        if let Some(Wanted { lease, .. }) = before
            && let Some(count) = self.leases.get_mut(lease)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.leases.remove(lease);
                touched.leases.insert(lease.clone());
            }
        }
        if let Some(Wanted { lease, .. }) = after {
            let count = self.leases.entry(lease.clone()).or_default();
            if *count == 0 {
                touched.leases.insert(lease.clone());
            }
            *count += 1;
        }
    }
}
