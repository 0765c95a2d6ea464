//! Who has which address, from what the Services carry, and what each Service is to get.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::plan::{Change, Plan, Why};
use super::pool::{Family, Order, Pool};
use super::rules::Rules;
use super::service::{Key, Policy, Service};

/// A Service that went while it was looked at.
const UNKNOWN: &str = "not known any more";

/// A Service and what was promised to it.
#[derive(Clone, Debug)]
struct Entry {
    service: Service,
    /// When it came to what it claims: of two that want the same port of an address, the lower one has it.
    rank: u64,
    /// Planned against this very version, not seen on it yet.
    promised: Option<Promise>,
}

/// Addresses that a Service is to get. A write of them may have arrived without an answer, so they are written again
/// until the Service is seen with another version, whatever else has changed since.
#[derive(Clone, Debug)]
struct Promise {
    addresses: Vec<IpAddr>,
    why: Why,
}

impl Entry {
    fn claims(&self) -> impl Iterator<Item = IpAddr> {
        let promised = self.promised.iter().flat_map(|promise| promise.addresses.iter().copied());
        self.service.carried().into_iter().chain(promised)
    }

    /// Everything that nobody else may get: also what `status` still says.
    fn occupies(&self) -> BTreeSet<IpAddr> {
        let status = self.service.status.iter().filter(|_| self.service.balanced).copied();
        self.claims().chain(status).filter(|address| !address.is_unspecified()).collect()
    }
}

/// The allocator.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    class: Option<String>,
    rules: Option<Rules>,
    listed: bool,
    services: BTreeMap<Key, Entry>,
    users: BTreeMap<IpAddr, BTreeSet<Key>>,
    /// To be looked at, oldest Service first.
    due: BTreeSet<(String, Key)>,
    /// Refused, or without a second family; due again as soon as something was freed or the rules changed.
    waiting: BTreeSet<Key>,
    /// How far each pool was searched since anything was freed: below it nothing is free, `None`: nowhere. So a
    /// thousand Services search once.
    searched: BTreeMap<String, Option<IpAddr>>,
    ranks: u64,
}

impl Ledger {
    /// With a class only its Services are served, without one only those without a class.
    #[must_use]
    pub fn new(class: Option<String>) -> Ledger {
        Ledger { class, ..Ledger::default() }
    }

    /// The ConfigMap, first or changed.
    pub fn configure(&mut self, rules: Rules) {
        if self.rules.as_ref() != Some(&rules) {
            self.rules = Some(rules);
            self.wake();
        }
    }

    /// All Services there are. Nothing is given out before the first such list.
    pub fn replace(&mut self, mut services: Vec<Service>) {
        let listed: BTreeSet<&Key> = services.iter().map(|service| &service.key).collect();
        let gone: Vec<Key> = self.services.keys().filter(|key| !listed.contains(key)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
        // Whose address came from a pool has the older right, so a restart moves nobody.
        services.sort_by(|a, b| (!a.given(), &a.created, &a.key).cmp(&(!b.given(), &b.created, &b.key)));
        services.into_iter().for_each(|service| self.observe(service));
        self.listed = true;
    }

    /// A Service was created or changed.
    pub fn observe(&mut self, service: Service) {
        let key = service.key.clone();
        let old = self.services.get(&key);
        if old.is_some_and(|old| old.service.version == service.version && old.service.uid == service.uid) {
            return;
        }
        let before = old.map(Entry::occupies).unwrap_or_default();
        let mut entry = Entry { service, rank: self.ranks + 1, promised: None };
        let (mut keeps_rank, mut freed) = (false, false);
        if let Some(old) = old {
            let (had, has) = (&old.service.ports, &entry.service.ports);
            let claimed: Vec<IpAddr> = old.claims().collect();
            let grew = has.iter().any(|port| !had.contains(port)) || entry.claims().any(|a| !claimed.contains(&a));
            keeps_rank = old.service.uid == entry.service.uid && !grew;
            freed = had.iter().any(|port| !has.contains(port));
        }
        if keeps_rank {
            entry.rank = old.map_or(entry.rank, |old| old.rank);
        } else {
            self.ranks += 1;
        }
        let after = entry.occupies();
        freed |= !before.is_subset(&after);
        self.due.insert((entry.service.created.clone(), key.clone()));
        self.waiting.remove(&key);
        self.services.insert(key.clone(), entry);
        self.reindex(&key, &before, &after);
        if freed {
            self.wake();
        }
    }

    /// A Service is gone.
    pub fn forget(&mut self, key: &Key) {
        let Some(entry) = self.services.remove(key) else { return };
        self.due.remove(&(entry.service.created.clone(), key.clone()));
        self.waiting.remove(key);
        self.reindex(key, &entry.occupies(), &BTreeSet::new());
        self.wake();
    }

    /// A planned write did not happen: the Service is looked at again. What it was promised stays promised.
    pub fn again(&mut self, key: &Key) {
        if let Some(entry) = self.services.get(key) {
            self.due.insert((entry.service.created.clone(), key.clone()));
        }
    }

    /// What is to be done next. `None`: nothing until something is observed.
    pub fn next_plan(&mut self) -> Option<(Key, Plan)> {
        if !self.listed || self.rules.is_none() {
            return None;
        }
        while let Some((_, key)) = self.due.pop_first() {
            if let Some(plan) = self.plan(&key) {
                if matches!(plan, Plan::Refused { .. }) {
                    self.waiting.insert(key.clone());
                }
                return Some((key, plan));
            }
        }
        None
    }

    /// How many Services are known, addresses in use, and Services that wait for one.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.services.len(), self.users.len(), self.waiting.len())
    }

    fn reindex(&mut self, key: &Key, before: &BTreeSet<IpAddr>, after: &BTreeSet<IpAddr>) {
        for address in before.difference(after) {
            if let Some(users) = self.users.get_mut(address) {
                users.remove(key);
                if users.is_empty() {
                    self.users.remove(address);
                }
            }
        }
        for address in after.difference(before) {
            self.users.entry(*address).or_default().insert(key.clone());
        }
    }

    fn wake(&mut self) {
        self.searched.clear();
        for key in std::mem::take(&mut self.waiting) {
            self.again(&key);
        }
    }

    fn plan(&mut self, key: &Key) -> Option<Plan> {
        let entry = self.services.get(key)?;
        if let Some(Promise { addresses, why }) = entry.promised.clone() {
            return Some(self.promise(key, &addresses, why));
        }
        let service = &entry.service;
        if !service.balanced || service.deleting {
            return self.retire(service).map(Plan::Write);
        }
        if service.class != self.class {
            return None;
        }
        if service.annotation.is_empty() {
            let adopted = !service.spec_ip.is_empty();
            return Some(if adopted { Plan::Write(adopt(service)) } else { self.allocate(key, &[], Why::Allocated) });
        }
        let clash = self.clash(entry);
        if let Some((kept, clash)) = clash.clone().filter(|_| service.given()) {
            return Some(match self.allocate(key, &kept, Why::Moved) {
                Plan::Refused { uid, why } => Plan::Refused { uid, why: format!("{clash}; {why}") },
                plan => plan,
            });
        }
        let mut change = Change::of(service, Why::Marked);
        change.label = (!service.label && service.spec_ip.is_empty()).then_some(true);
        change.finalizer = (!service.finalizer).then_some(true);
        if !change.is_empty() {
            return Some(Plan::Write(change));
        }
        if let Some((_, why)) = clash {
            return Some(Plan::Refused { uid: service.uid.clone(), why });
        }
        self.follow_families(key)
    }

    /// Addresses of a pool follow the families that a Service has come to want: one more, or one less. What it has of a
    /// family that it still wants it keeps, whatever the pool is now.
    fn follow_families(&mut self, key: &Key) -> Option<Plan> {
        let service = &self.services.get(key)?.service;
        let (carried, primary) = (service.carried(), service.families.first()?);
        let single = service.policy == Policy::SingleStack;
        let stays = |address: &&IpAddr| !single || Family::of(**address) == *primary;
        let kept: Vec<IpAddr> = carried.iter().filter(stays).copied().collect();
        let has = |family: &Family| kept.iter().any(|address| Family::of(*address) == *family);
        let complete = single || service.families.iter().all(has);
        if !service.given() || kept.is_empty() || complete && kept == carried {
            return None;
        }
        let (uid, required) = (service.uid.clone(), service.policy == Policy::RequireDualStack);
        match if complete { Ok(kept) } else { self.addresses(key, &kept) } {
            Ok(addresses) if addresses != carried => Some(self.promise(key, &addresses, Why::Families)),
            Err(why) if required => Some(Plan::Refused { uid, why }),
            // It has what there is, until something is freed.
            _ => {
                self.waiting.insert(key.clone());
                None
            }
        }
    }

    /// The Service is being deleted, or is no load balancer any more.
    fn retire(&self, service: &Service) -> Option<Change> {
        let known = service.label || !service.annotation.is_empty();
        let ours = if service.balanced { service.class == self.class } else { known || self.class.is_none() };
        let mut change = Change::of(service, if service.deleting { Why::Deleted } else { Why::Released });
        change.finalizer = (ours && service.finalizer).then_some(false);
        if !service.deleting && service.given() {
            change.annotation = Some(String::new());
            change.spec_ip = Some(String::new());
            change.label = Some(false);
            let rules = self.rules.as_ref()?;
            let ours = rules.interface(&service.key.namespace) == Some(&service.interface);
            change.interface = ours.then(String::new);
        }
        (!change.is_empty()).then_some(change)
    }

    /// New addresses for a Service; those in `kept` it keeps.
    fn allocate(&mut self, key: &Key, kept: &[IpAddr], why: Why) -> Plan {
        let uid = self.services.get(key).map(|entry| entry.service.uid.clone()).unwrap_or_default();
        match self.addresses(key, kept) {
            Ok(addresses) => self.promise(key, &addresses, why),
            Err(why) => Plan::Refused { uid, why },
        }
    }

    /// What a Service may get.
    fn addresses(&mut self, key: &Key, kept: &[IpAddr]) -> Result<Vec<IpAddr>, String> {
        let mut searched = std::mem::take(&mut self.searched);
        let chosen = match (self.services.get(key), &self.rules) {
            (Some(entry), Some(rules)) => self.choose(rules, &entry.service, kept, &mut searched),
            _ => Err(UNKNOWN.into()),
        };
        self.searched = searched;
        chosen
    }

    /// Reserves these addresses for a Service, and has them written.
    fn promise(&mut self, key: &Key, addresses: &[IpAddr], why: Why) -> Plan {
        let (Some(entry), Some(rules)) = (self.services.get_mut(key), &self.rules) else {
            return Plan::Refused { uid: String::new(), why: UNKNOWN.into() };
        };
        let before = entry.occupies();
        if entry.promised.is_none() {
            self.ranks += 1;
            entry.rank = self.ranks;
            entry.promised = Some(Promise { addresses: addresses.to_vec(), why });
        }
        let after = entry.occupies();
        let service = &entry.service;
        let text: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let mut change = Change::of(service, why);
        change.annotation = Some(text.join(","));
        change.spec_ip = text.first().cloned();
        change.interface = rules.interface(&key.namespace).filter(|name| *name != service.interface).map(Into::into);
        change.label = (!service.label).then_some(true);
        change.finalizer = (!service.finalizer).then_some(true);
        self.reindex(key, &before, &after);
        Plan::Write(change)
    }

    fn choose(
        &self,
        rules: &Rules,
        service: &Service,
        kept: &[IpAddr],
        searched: &mut BTreeMap<String, Option<IpAddr>>,
    ) -> Result<Vec<IpAddr>, String> {
        let pool = rules.pool(&service.key.namespace)?;
        if pool.is_dhcp() {
            return Ok(if kept.is_empty() { vec![IpAddr::from([0, 0, 0, 0])] } else { kept.to_vec() });
        }
        let mut pick = |family| match kept.iter().find(|address| Family::of(**address) == family) {
            Some(address) => Ok(*address),
            None => self.pick(rules, pool, service, family, searched),
        };
        let first = service.families.first();
        if service.policy == Policy::SingleStack {
            let default = if pool.has(Family::V4) { Family::V4 } else { Family::V6 };
            let family = *first.unwrap_or(&default);
            if !pool.has(family) {
                return Err("could not find suitable pool for the IP family of the service".into());
            }
            return Ok(vec![pick(family)?]);
        }
        let required = service.policy == Policy::RequireDualStack;
        let is_there = |family| pool.has(family) || kept.iter().any(|address| Family::of(*address) == family);
        if required && !(is_there(Family::V4) && is_there(Family::V6)) {
            return Err("service requires dual-stack, but the configuration does not have both IPv4 and IPv6 pools \
                        listed for the namespace"
                .into());
        }
        let order = if first == Some(&Family::V6) { [Family::V6, Family::V4] } else { [Family::V4, Family::V6] };
        let (mut found, mut errors) = (Vec::new(), String::new());
        for family in order.into_iter().filter(|family| is_there(*family)) {
            match pick(family) {
                Ok(address) => found.push(address),
                Err(why) => errors.push_str(&format!("\n\t- {why}")),
            }
        }
        match (required, found.is_empty(), errors.is_empty()) {
            (true, _, false) => {
                Err(format!("could not allocate required IP addresses for RequireDualStack service: {errors}"))
            }
            (false, true, _) => Err(format!("could not allocate any IP address for PreferDualStack service: {errors}")),
            _ => Ok(found),
        }
    }

    /// One address: the one that the status still has, one to share, or a free one.
    fn pick(
        &self,
        rules: &Rules,
        pool: &Pool,
        service: &Service,
        family: Family,
        searched: &mut BTreeMap<String, Option<IpAddr>>,
    ) -> Result<IpAddr, String> {
        let namespace = &service.key.namespace;
        let only_mine = |address: &IpAddr| self.users.get(address).is_some_and(|users| users.iter().eq([&service.key]));
        let own = service.status.iter().filter(|address| Family::of(**address) == family && pool.contains(**address));
        if let Some(address) = own.copied().find(only_mine) {
            return Ok(address);
        }
        let may_share = family == Family::V4 && rules.share(namespace);
        if let Some(address) = may_share.then(|| self.shared(rules, pool, service)).flatten() {
            return Ok(address);
        }
        let name = pool.name(family);
        let none = format!("no addresses available in [{namespace}] {name}");
        let free = match searched.get(&name) {
            Some(None) => None,
            start => {
                let start = start.copied().flatten();
                pool.free(family, rules.order(), start, |address| self.users.contains_key(&address))
            }
        };
        if !free.is_some_and(|address| address.is_unspecified()) {
            searched.insert(name, free);
        }
        free.ok_or(none)
    }

    /// The first address of the pool that others use with other ports, where all of them may share.
    fn shared(&self, rules: &Rules, pool: &Pool, service: &Service) -> Option<IpAddr> {
        let fits = |key: &Key| {
            self.services.get(key).is_some_and(|entry| {
                entry.service.balanced && rules.share(&key.namespace) && service.overlap(&entry.service).is_none()
            })
        };
        let sharable = |(address, users): &(&IpAddr, &BTreeSet<Key>)| {
            pool.contains(**address) && users.iter().all(|user| *user != service.key && fits(user))
        };
        let spans = pool.spans(Family::V4, rules.order());
        let found = spans.map(|span| match rules.order() {
            Order::Ascending => self.users.range(span).find(sharable),
            Order::Descending => self.users.range(span).rev().find(sharable),
        });
        found.flatten().next().map(|(address, _)| *address)
    }

    /// Another Service had a port of one of this one's addresses before. What it may keep, and the reason for people.
    fn clash(&self, entry: &Entry) -> Option<(Vec<IpAddr>, String)> {
        let service = &entry.service;
        let rival = |address: IpAddr| {
            let users = self.users.get(&address)?.iter().filter(|key| **key != service.key);
            let mut others = users.filter_map(|key| self.services.get(key));
            others.find_map(|other| {
                let older = other.rank < entry.rank && other.claims().any(|claim| claim == address);
                let overlap = service.overlap(&other.service).filter(|_| older)?;
                let what =
                    overlap.map_or_else(|| "it".into(), |(protocol, port)| format!("{protocol} port {port} of it"));
                Some(format!("address {address} is shared, and {what} belongs to service {}", other.service.key))
            })
        };
        let carried = service.carried();
        let why = carried.iter().find_map(|address| rival(*address))?;
        Some((carried.into_iter().filter(|address| rival(*address).is_none()).collect(), why))
    }
}

fn adopt(service: &Service) -> Change {
    let mut change = Change::of(service, Why::Adopted);
    change.annotation = Some(service.spec_ip.clone());
    change.finalizer = (!service.finalizer).then_some(true);
    change
}
