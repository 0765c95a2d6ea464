//! What is known about all Services, kept so that a change costs what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::ask;
use super::govern::Address;
use super::happening::Told;
use super::object::{Interface, Key, Service, Slice};
use super::{Backing, Change, Options, Touched, Wanted};
use crate::lease::LeaseName;
use crate::time::Time;

/// All Services, their endpoints, and what follows for this node.
#[derive(Debug)]
pub struct Services {
    pub(super) options: Options,
    /// Boxed: a tree keeps room for more than it has.
    pub(super) services: BTreeMap<Key, Box<Entry>>,
    pub(super) addresses: BTreeMap<IpAddr, Address>,
    /// Addresses whose decision is to be made anew before the present change is done.
    pub(super) dirty: BTreeSet<IpAddr>,
    /// How many addresses are wanted here by each Lease; never 0.
    pub(super) leases: BTreeMap<LeaseName, usize>,
    /// Who holds what, as far as it was told.
    pub(super) holders: BTreeMap<LeaseName, Arc<str>>,
    /// How many Leases each node holds, as far as it was told; never 0.
    pub(super) speakers: BTreeMap<Arc<str>, usize>,
    /// Refused Services that this node has not told about.
    pub(super) unsaid: BTreeSet<Key>,
    /// Until when an address may still be held elsewhere by a Lease that governed it before.
    pub(super) former: BTreeMap<(IpAddr, LeaseName), Time>,
    pub(super) held: BTreeSet<IpAddr>,
    pub(super) host: Vec<Interface>,
    /// How often each Service was refused, by reason.
    pub(super) errors: BTreeMap<(Key, &'static str), u64>,
    /// Slices of each Service, counted.
    slices: BTreeMap<Key, Vec<(Arc<str>, Backing)>>,
    /// The Service of each slice.
    owners: BTreeMap<Key, Key>,
    /// Services that use a DNS name, and what it resolves to.
    names: BTreeMap<Box<str>, Name>,
    known: Known,
    /// The first list of Services is being taken in: what is said about them now was so before.
    pub(super) listing: bool,
}

/// A Service and what it asks for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) service: Service,
    /// Addresses that it has a claim on, in order, DNS names resolved. Empty when it is not ours.
    pub(super) claims: Vec<IpAddr>,
    /// Its DNS names. Empty when it is not ours.
    names: Vec<Box<str>>,
    /// The Lease that governs its addresses, unless an older Service has them, too.
    pub(super) lease: LeaseName,
    pub(super) told: Told,
}

#[derive(Debug, Default)]
struct Name {
    users: BTreeSet<Key>,
    addresses: Vec<IpAddr>,
}

/// What was learned at least once: before that, nothing is wanted.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    services: bool,
    slices: bool,
    host: bool,
}

impl Services {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Services {
        Services {
            options,
            services: BTreeMap::new(),
            addresses: BTreeMap::new(),
            dirty: BTreeSet::new(),
            leases: BTreeMap::new(),
            holders: BTreeMap::new(),
            speakers: BTreeMap::new(),
            unsaid: BTreeSet::new(),
            former: BTreeMap::new(),
            held: BTreeSet::new(),
            host: Vec::new(),
            errors: BTreeMap::new(),
            slices: BTreeMap::new(),
            owners: BTreeMap::new(),
            names: BTreeMap::new(),
            known: Known::default(),
            listing: false,
        }
    }

    /// Takes a change; says what it touched.
    pub fn handle(&mut self, now: Time, change: Change) -> Touched {
        let mut touched = Touched::default();
        self.expire(now);
        match change {
            Change::Service(service) => self.put(service, &mut touched),
            Change::ServiceGone(key) => self.remove(&key, &mut touched),
            Change::Services(all) => self.put_all(all, &mut touched),
            Change::Slice(slice) => self.put_slice(&slice, &mut touched),
            Change::SliceGone(key) => self.remove_slice(&key, &mut touched),
            Change::Slices(all) => self.put_slices(&all, &mut touched),
            Change::Host(host) => {
                self.host = host;
                self.known.host = true;
                self.look_at_all(&mut touched);
            }
            Change::Resolved { name, addresses } => self.resolve(&name, addresses, &mut touched),
            Change::Lease { name, holder } => self.hold_lease(name, holder, &mut touched),
            Change::Held { address, held } => {
                if if held { self.held.insert(address) } else { self.held.remove(&address) } {
                    self.touch_claimants(address, &mut touched);
                }
            }
            Change::Tick => {}
        }
        for address in std::mem::take(&mut self.dirty) {
            self.refresh(now, address, &mut touched);
        }
        self.listing = false;
        self.tell(&mut touched);
        touched
    }

    /// When [`Change::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.former.values().min().copied()
    }

    /// Services, slices and host are known: what is not wanted now is not wanted.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.known.services && self.known.slices && self.known.host
    }

    /// All Services were listed before the present change: what changes now really changes.
    pub(super) fn listed(&self) -> bool {
        self.known.services && !self.listing
    }

    /// The address is to be held here as soon as its Lease is; `None`: it is to be withdrawn.
    #[must_use]
    pub fn wanted(&self, address: IpAddr) -> Option<&Wanted> {
        self.addresses.get(&address)?.wanted.as_ref()
    }

    /// All addresses that are to be held here as soon as their Lease is.
    pub fn all_wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.addresses.values().filter_map(|address| address.wanted.as_ref())
    }

    /// This node is a candidate for the Lease: some address of it is wanted here, or it is the one that governs all
    /// Services without one of their own.
    #[must_use]
    pub fn campaigns(&self, lease: &LeaseName) -> bool {
        self.leases.contains_key(lease) || (!self.options.per_service && *lease == self.options.lease)
    }

    /// The names that are to be resolved, again and again.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(AsRef::as_ref)
    }

    /// The known Services of type `LoadBalancer`.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.services.keys()
    }

    /// A known Service of type `LoadBalancer`.
    #[must_use]
    pub fn service(&self, key: &Key) -> Option<&Service> {
        self.services.get(key).map(|entry| &entry.service)
    }

    /// How often a Service could not be announced, by reason.
    pub fn errors(&self) -> impl Iterator<Item = (&Key, &'static str, u64)> {
        self.errors.iter().map(|((key, reason), count)| (key, *reason, *count))
    }

    /// What was configured.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Endpoints of a Service, all slices together.
    #[must_use]
    pub fn backing(&self, key: &Key) -> Backing {
        self.slices.get(key).into_iter().flatten().fold(Backing::default(), |all, (_, one)| all.and(*one))
    }

    fn look_at_all(&mut self, touched: &mut Touched) {
        self.dirty.extend(self.addresses.keys().copied());
        // A place that is missing here, or is there again, is told.
        touched.services.extend(self.services.keys().cloned());
    }

    fn put_all(&mut self, all: Vec<Service>, touched: &mut Touched) {
        let present: BTreeSet<Key> = all.iter().map(|service| service.key.clone()).collect();
        let gone: Vec<Key> = self.services.keys().filter(|key| !present.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.remove(key, touched));
        all.into_iter().for_each(|service| self.put(service, touched));
        if !self.known.services {
            (self.known.services, self.listing) = (true, true);
            self.look_at_all(touched);
        }
    }

    fn put(&mut self, service: Service, touched: &mut Touched) {
        if !service.load_balancer {
            if let Some(entry) = self.services.get(&service.key) {
                self.tell_type_change(entry, touched);
            }
            return self.remove(&service.key, touched);
        }
        let key = service.key.clone();
        let known = self.services.remove(&key);
        let same = known.as_ref().filter(|known| known.service.uid == service.uid);
        let told = same.map(|known| known.told.clone()).unwrap_or_default();
        if same.is_none() {
            self.errors.retain(|(of, _), _| *of != key);
        }
        let names = self.own_names(&service);
        self.use_names(&key, known.as_ref().map_or(&[], |known| &known.names), &names, touched);
        let claims = self.claims(&service);
        let lease = ask::lease(&service, &self.options);
        let entry = Box::new(Entry { service, claims, names, lease, told });
        if let Some(known) = &known {
            self.unclaim(known);
        }
        self.claim(&entry);
        self.services.insert(key.clone(), entry);
        touched.services.insert(key);
    }

    fn remove(&mut self, key: &Key, touched: &mut Touched) {
        let Some(entry) = self.services.remove(key) else { return };
        self.use_names(key, &entry.names, &[], touched);
        self.unclaim(&entry);
        self.unsaid.remove(key);
        self.errors.retain(|(of, _), _| of != key);
        touched.services.insert(key.clone());
    }

    pub(super) fn is_meant_for_us(&self, service: &Service) -> bool {
        ask::namespace_is_ours(service, &self.options)
            && !service.annotated("ignore")
            && ask::class_is_ours(service, &self.options)
    }

    /// It is meant for us, and can be announced.
    fn is_ours(&self, service: &Service, asked: &ask::Addresses) -> bool {
        self.is_meant_for_us(service) && ask::refusal(service, &self.options, asked).is_none()
    }

    fn own_names(&self, service: &Service) -> Vec<Box<str>> {
        let asked = ask::addresses(service);
        if self.is_ours(service, &asked) { asked.names } else { Vec::new() }
    }

    /// The addresses that a Service has a claim on.
    fn claims(&self, service: &Service) -> Vec<IpAddr> {
        let asked = ask::addresses(service);
        if !self.is_ours(service, &asked) {
            return Vec::new();
        }
        let mode = ask::dns_mode(service, &self.options);
        let resolved = asked.names.iter().filter_map(|name| self.names.get(name));
        let resolved = resolved.flat_map(|name| ask::pick(mode, service.require_dual_stack, &name.addresses));
        let mut claims = asked.literal;
        for address in resolved.filter(|address| ask::unusable(*address).is_none()) {
            if !claims.contains(&address) {
                claims.push(address);
            }
        }
        claims
    }

    fn use_names(&mut self, key: &Key, before: &[Box<str>], after: &[Box<str>], touched: &mut Touched) {
        for name in after {
            touched.names |= !self.names.contains_key(name);
            self.names.entry(name.clone()).or_default().users.insert(key.clone());
        }
        for name in before.iter().filter(|name| !after.contains(name)) {
            let Some(known) = self.names.get_mut(name) else { continue };
            known.users.remove(key);
            if known.users.is_empty() {
                self.names.remove(name);
                touched.names = true;
            }
        }
    }

    fn resolve(&mut self, name: &str, addresses: Result<Vec<IpAddr>, String>, touched: &mut Touched) {
        let Some(known) = self.names.get_mut(name) else { return };
        // A resolver that fails says nothing about the addresses that the name had.
        let Ok(addresses) = addresses else { return };
        if known.addresses == addresses {
            return;
        }
        known.addresses = addresses;
        for key in known.users.clone() {
            let Some(mut entry) = self.services.remove(&key) else { continue };
            self.unclaim(&entry);
            entry.claims = self.claims(&entry.service);
            self.claim(&entry);
            self.services.insert(key.clone(), entry);
            touched.services.insert(key);
        }
    }

    fn put_slices(&mut self, all: &[Slice], touched: &mut Touched) {
        let present: BTreeSet<&Key> = all.iter().map(|slice| &slice.key).collect();
        let gone: Vec<Key> = self.owners.keys().filter(|key| !present.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.remove_slice(key, touched));
        all.iter().for_each(|slice| self.put_slice(slice, touched));
        if !self.known.slices {
            self.known.slices = true;
            self.look_at_all(touched);
        }
    }

    fn put_slice(&mut self, slice: &Slice, touched: &mut Touched) {
        let service = Key { namespace: slice.key.namespace.clone(), name: slice.service.as_ref().into() };
        if self.owners.get(&slice.key).is_some_and(|before| *before != service) {
            self.remove_slice(&slice.key, touched);
        }
        if slice.service.is_empty() {
            return;
        }
        let backing = Backing::count(&slice.endpoints, &self.options.node);
        self.owners.insert(slice.key.clone(), service.clone());
        let slices = self.slices.entry(service.clone()).or_default();
        slices.retain(|(name, _)| *name != slice.key.name);
        slices.push((slice.key.name.clone(), backing));
        self.endpoints_changed(&service, touched);
    }

    fn remove_slice(&mut self, key: &Key, touched: &mut Touched) {
        let Some(service) = self.owners.remove(key) else { return };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.retain(|(name, _)| *name != key.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        self.endpoints_changed(&service, touched);
    }

    fn endpoints_changed(&mut self, key: &Key, touched: &mut Touched) {
        if let Some(entry) = self.services.get(key) {
            self.dirty.extend(entry.claims.iter().copied());
            touched.services.insert(key.clone());
        }
    }

    /// Everything that is kept for what no longer exists.
    #[cfg(test)]
    pub(super) fn left_over(&self) -> usize {
        let maps = [self.services.len(), self.addresses.len(), self.leases.len(), self.former.len(), self.errors.len()];
        maps.iter().sum::<usize>() + self.slices.len() + self.owners.len() + self.names.len() + self.unsaid.len()
    }
}
