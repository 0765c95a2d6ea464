//! Long scripts of steps against a model of the API server: late watches, writes out of order, restarts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use proptest::prelude::*;

use super::{rules, service, write};
use crate::ipam::{Change, Family, Key, Ledger, Plan, Policy, Protocol, Service};

#[derive(Clone, Debug)]
enum Step {
    Create {
        name: u8,
        ports: u8,
        policy: u8,
        fixed: Option<u8>,
    },
    Delete(u8),
    Ports(u8, u8),
    Type(u8),
    /// Its owner wants one family, or two.
    Families(u8, bool),
    /// Somebody touches something that does not matter here.
    Touch(u8),
    /// The announcer writes the status, or clears it.
    Status(u8),
    Pool(u8),
    /// So many of the watch's events arrive.
    Deliver(u8),
    /// The watch breaks: the whole state instead.
    Relist,
    /// So many plans are made; their writes are under way.
    Plan(u8),
    /// One of the writes under way arrives, any of them.
    Write(u8),
    /// One is lost, and the worker learns that.
    Lose(u8),
    /// Another process leads: writes under way have arrived or never will, and it starts from a list.
    Restart {
        arrive: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let create = (0u8..12, 0u8..16, 0u8..4, prop::option::weighted(0.1, 1u8..6));
    prop_oneof![
        5 => create.prop_map(|(name, ports, policy, fixed)| Step::Create { name, ports, policy, fixed }),
        2 => (0u8..12).prop_map(Step::Delete),
        2 => (0u8..12, 0u8..16).prop_map(|(name, ports)| Step::Ports(name, ports)),
        1 => (0u8..12).prop_map(Step::Type),
        2 => (0u8..12, any::<bool>()).prop_map(|(name, two)| Step::Families(name, two)),
        1 => (0u8..12).prop_map(Step::Touch),
        2 => (0u8..12).prop_map(Step::Status),
        1 => (0u8..5).prop_map(Step::Pool),
        6 => (1u8..6).prop_map(Step::Deliver),
        1 => Just(Step::Relist),
        6 => (1u8..4).prop_map(Step::Plan),
        6 => any::<u8>().prop_map(Step::Write),
        1 => any::<u8>().prop_map(Step::Lose),
        1 => any::<bool>().prop_map(|arrive| Step::Restart { arrive }),
    ]
}

fn pools(which: u8) -> crate::ipam::Rules {
    match which {
        0 => rules(&[("range-global", "10.0.0.1-10.0.0.4,fd00::1-fd00::6")]),
        1 => rules(&[("range-global", "10.0.0.1-10.0.0.4,fd00::1-fd00::6"), ("allow-share-global", "true")]),
        2 => rules(&[("cidr-a", "10.0.0.0/29"), ("cidr-global", "10.0.0.0/28"), ("search-order", "desc")]),
        3 => rules(&[("range-a", "10.0.0.2-10.0.0.9"), ("range-b", "10.0.0.5-10.0.0.8"), ("allow-share-a", "true")]),
        _ => rules(&[]),
    }
}

fn ports(bits: u8) -> Vec<(Protocol, u16)> {
    let of = |bit: u8| (if bit.is_multiple_of(2) { Protocol::Tcp } else { Protocol::Udp }, 80 + u16::from(bit / 2));
    let list: Vec<_> = (0..4).filter(|bit| bits & (1 << bit) != 0).map(of).collect();
    if list.is_empty() { vec![(Protocol::Tcp, 80)] } else { list }
}

#[derive(Clone, Debug)]
enum Seen {
    Applied(Box<Service>),
    Deleted(Key),
}

struct World {
    store: BTreeMap<Key, Service>,
    versions: u64,
    pool: u8,
    ledger: Ledger,
    watch: VecDeque<Seen>,
    under_way: Vec<Change>,
    refused: BTreeSet<Key>,
    /// Whose owner changed its ports since it has an address that it still has.
    changed: BTreeSet<Key>,
}

impl World {
    fn new() -> World {
        let mut world = World {
            store: BTreeMap::new(),
            versions: 0,
            pool: 0,
            ledger: Ledger::new(None),
            watch: VecDeque::new(),
            under_way: Vec::new(),
            refused: BTreeSet::new(),
            changed: BTreeSet::new(),
        };
        world.restart();
        world
    }

    fn restart(&mut self) {
        self.ledger = Ledger::new(None);
        self.ledger.configure(pools(self.pool));
        self.refused.clear();
        self.relist();
    }

    fn relist(&mut self) {
        self.watch.clear();
        self.ledger.replace(self.store.values().cloned().collect());
    }

    fn key(name: u8) -> Key {
        Key { namespace: if name.is_multiple_of(2) { "a" } else { "b" }.into(), name: format!("s{name}") }
    }

    fn put(&mut self, mut service: Service) {
        self.versions += 1;
        service.version = self.versions.to_string();
        self.watch.push_back(Seen::Applied(Box::new(service.clone())));
        self.store.insert(service.key.clone(), service);
    }

    fn edit(&mut self, name: u8, edit: impl FnOnce(&mut Service)) {
        if let Some(mut service) = self.store.get(&World::key(name)).cloned() {
            edit(&mut service);
            self.put(service);
        }
    }

    fn remove(&mut self, key: &Key) {
        self.store.remove(key);
        self.changed.remove(key);
        self.watch.push_back(Seen::Deleted(key.clone()));
    }

    fn arrive(&mut self, change: &Change) {
        let current = self.store.get(&change.key).filter(|s| s.version == change.version && s.uid == change.uid);
        let Some(mut service) = current.cloned() else { return self.ledger.again(&change.key) };
        let had = service.carried();
        write(&mut service, change);
        if !service.carried().iter().any(|address| had.contains(address)) {
            self.changed.remove(&change.key);
        }
        if service.deleting && !service.finalizer { self.remove(&change.key) } else { self.put(service) }
    }

    fn see(&mut self) {
        match self.watch.pop_front() {
            Some(Seen::Applied(service)) => self.ledger.observe(*service),
            Some(Seen::Deleted(key)) => self.ledger.forget(&key),
            None => {}
        }
    }

    fn plan(&mut self) -> bool {
        match self.ledger.next_plan() {
            Some((key, Plan::Refused { .. })) => drop(self.refused.insert(key)),
            Some((key, Plan::Write(change))) => {
                self.refused.remove(&key);
                self.under_way.push(change);
            }
            None => return false,
        }
        true
    }

    fn take(&mut self, which: u8) -> Option<Change> {
        let len = self.under_way.len();
        (len > 0).then(|| self.under_way.swap_remove(usize::from(which) % len))
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Create { name, ports: bits, policy, fixed } => self.create(name, bits, policy, fixed),
            Step::Delete(name) => match self.store.get(&World::key(name)).map(|service| service.finalizer) {
                Some(true) => self.edit(name, |service| service.deleting = true),
                Some(false) => self.remove(&World::key(name)),
                None => {}
            },
            Step::Ports(name, bits) => {
                self.edit(name, |service| service.ports = ports(bits));
                self.changed.insert(World::key(name));
            }
            Step::Type(name) => self.edit(name, |service| {
                service.balanced = !service.balanced;
                service.status.clear();
            }),
            Step::Families(name, two) => self.edit(name, |service| {
                let first = service.families.first().copied().unwrap_or(Family::V4);
                let second = if first == Family::V4 { Family::V6 } else { Family::V4 };
                (service.policy, service.families) = match two {
                    true => (Policy::PreferDualStack, vec![first, second]),
                    false => (Policy::SingleStack, vec![first]),
                };
            }),
            Step::Touch(name) => self.edit(name, |_| {}),
            Step::Status(name) => self.edit(name, |service| {
                service.status = if service.status.is_empty() { service.carried() } else { Vec::new() };
            }),
            Step::Pool(which) => {
                self.pool = which;
                self.ledger.configure(pools(which));
            }
            Step::Deliver(count) => (0..count).for_each(|_| self.see()),
            Step::Relist => self.relist(),
            Step::Plan(count) => drop((0..count).all(|_| self.plan())),
            Step::Write(which) => {
                if let Some(change) = self.take(which) {
                    self.arrive(&change);
                }
            }
            Step::Lose(which) => {
                if let Some(change) = self.take(which) {
                    self.ledger.again(&change.key);
                }
            }
            Step::Restart { arrive } => {
                for change in std::mem::take(&mut self.under_way) {
                    if arrive {
                        self.arrive(&change);
                    }
                }
                self.restart();
            }
        }
    }

    fn create(&mut self, name: u8, bits: u8, policy: u8, fixed: Option<u8>) {
        let key = World::key(name);
        if self.store.contains_key(&key) {
            return;
        }
        let (policy, families) = match policy {
            0 | 1 => (Policy::SingleStack, vec![]),
            2 => (Policy::PreferDualStack, vec![Family::V6, Family::V4]),
            _ => (Policy::RequireDualStack, vec![Family::V4, Family::V6]),
        };
        let fixed = fixed.map(|last| IpAddr::from([10, 0, 0, last]).to_string()).unwrap_or_default();
        let uid = format!("uid-{}", self.versions);
        let (ports, plain) = (ports(bits), service(&key.namespace, &key.name));
        self.put(Service { uid, ports, policy, families, annotation: fixed, ..plain });
    }

    /// Everything arrives, and what follows from it.
    fn settle(&mut self) {
        for _ in 0..2000 {
            while !self.watch.is_empty() {
                self.see();
            }
            while let Some(change) = self.take(0) {
                self.arrive(&change);
            }
            if self.watch.is_empty() && !self.plan() {
                return;
            }
        }
        panic!("never comes to rest");
    }

    /// Pairs of such Services that both carry one address and collide on it.
    fn collisions(&self, such: impl Fn(&Service) -> bool) -> Vec<(&Service, &Service)> {
        let all: Vec<&Service> = self.store.values().filter(|service| such(service)).collect();
        let pairs = all.iter().enumerate().flat_map(|(i, a)| all[i + 1..].iter().map(move |b| (*a, *b)));
        let collide = |(a, b): &(&Service, &Service)| {
            let addresses = a.carried();
            b.carried().iter().any(|address| addresses.contains(address)) && a.overlap(b).is_some()
        };
        pairs.filter(collide).collect()
    }

    fn nobody_was_given_anothers(&self) {
        for (a, b) in self.collisions(Service::given) {
            let changed = self.changed.contains(&a.key) || self.changed.contains(&b.key);
            assert!(changed, "{} and {} both have {}", a.key, b.key, a.annotation);
        }
    }

    fn at_rest(&self) {
        for (a, b) in self.collisions(Service::given) {
            let told = self.refused.contains(&a.key) || self.refused.contains(&b.key);
            assert!(told, "{} and {} both have {}", a.key, b.key, a.annotation);
        }
        let mut used = BTreeSet::new();
        for service in self.store.values() {
            used.extend(service.carried());
            used.extend(service.status.iter().filter(|_| service.balanced));
            let served = !service.annotation.is_empty() || self.refused.contains(&service.key);
            assert!(served || !service.balanced, "{} waits without a reason", service.key);
            assert!(!service.deleting, "{} cannot go", service.key);
            assert!(service.balanced || !service.given(), "{} keeps an address of a pool", service.key);
        }
        assert_eq!(self.ledger.counts().1, used.len(), "{used:?}");
    }

    fn restart_is_identity(&mut self) {
        // A collision that nothing can resolve is all that may be judged differently by who did not see it arise.
        if !self.collisions(|_| true).is_empty() {
            return;
        }
        let before = self.store.clone();
        self.restart();
        self.settle();
        assert_eq!(self.store, before);
    }
}

fn run(steps: &[Step]) -> World {
    let mut world = World::new();
    for step in steps {
        world.step(step);
        world.nobody_was_given_anothers();
    }
    world.settle();
    world.nobody_was_given_anothers();
    world
}

proptest! {
    #[test]
    fn no_address_and_port_has_two_owners(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = run(&steps);
        world.at_rest();
        prop_assert_eq!(&run(&steps).store, &world.store, "the same steps lead to the same addresses");
        world.restart_is_identity();
        world.at_rest();
        for name in 0..12 {
            world.step(&Step::Delete(name));
        }
        world.settle();
        prop_assert_eq!(world.ledger.counts(), (0, 0, 0), "everything was released");
    }
}

/// A write that only drops a family leaves the address where its owner brought a collision about, until the other
/// Service has been moved.
#[test]
fn a_changed_service_keeps_its_address_until_the_other_one_has_moved() {
    let create = |name, ports, policy| Step::Create { name, ports, policy, fixed: None };
    let world = run(&[
        Step::Pool(1),
        create(6, 6, 3),
        create(5, 0, 0),
        Step::Deliver(2),
        Step::Plan(2),
        Step::Write(0),
        Step::Write(0),
        Step::Ports(6, 0),
        Step::Families(6, false),
        Step::Restart { arrive: false },
        Step::Plan(1),
        Step::Restart { arrive: true },
    ]);
    world.at_rest();
    assert!(world.collisions(Service::given).is_empty());
}
