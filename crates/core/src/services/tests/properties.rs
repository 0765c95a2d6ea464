//! Whatever comes in whatever order: the same plan as from the final state, one Lease for each address, exact release.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ADDRESSES: [&str; 6] = ["10.0.0.5", "10.0.0.6", "fd00::5", "10.0.0.5,fd00::5", "web.example.org", "0.0.0.0"];

#[derive(Clone, Debug)]
enum Step {
    Service { name: usize, created: u8, addresses: usize, local: bool, ignored: bool, common: bool, balancer: bool },
    Gone(usize),
    Slice { slice: usize, service: usize, endpoints: Vec<&'static str> },
    SliceGone(usize),
    Resolved(usize),
    Holder { lease: usize, node: usize },
    Wait(u64),
    Relist,
}

fn step() -> impl Strategy<Value = Step> {
    let endpoint = prop::sample::select(vec!["node-1", "node-2", "node-1!", "node-2!", "node-1-"]);
    prop_oneof![
        4 => (0..4usize, 0..3u8, 0..6usize, any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.3), prop::bool::weighted(0.9))
            .prop_map(|(name, created, addresses, local, ignored, common, balancer)| {
                Step::Service { name, created, addresses, local, ignored, common, balancer }
            }),
        1 => (0..4usize).prop_map(Step::Gone),
        3 => (0..6usize, 0..4usize, prop::collection::vec(endpoint, 0..3))
            .prop_map(|(slice, service, endpoints)| Step::Slice { slice, service, endpoints }),
        1 => (0..6usize).prop_map(Step::SliceGone),
        1 => (0..3usize).prop_map(Step::Resolved),
        2 => (0..5usize, 0..3usize).prop_map(|(lease, node)| Step::Holder { lease, node }),
        1 => (0..20u64).prop_map(Step::Wait),
        1 => Just(Step::Relist),
    ]
}

/// What the API server would list now.
#[derive(Default)]
struct World {
    services: BTreeMap<Key, Service>,
    slices: BTreeMap<Key, Slice>,
    resolved: Vec<IpAddr>,
}

impl World {
    fn change(&mut self, step: &Step) -> Vec<Change> {
        match step {
            Step::Service { name, created, addresses, local, ignored, common, balancer } => {
                let mut service = service(NAMES[*name]).at(ADDRESSES[*addresses]);
                service.created = format!("2026-01-0{created}").into();
                service.load_balancer = *balancer;
                if *local {
                    service = service.local();
                }
                if *ignored {
                    service = service.with("ignore", "true");
                }
                if *common {
                    service = service.with("leaseName", "common");
                }
                self.services.insert(service.key.clone(), service.clone());
                vec![Change::Service(service)]
            }
            Step::Gone(name) => {
                let key = Key::new("default", NAMES[*name]);
                self.services.remove(&key);
                vec![Change::ServiceGone(key)]
            }
            Step::Slice { slice, service, endpoints } => {
                let slice = slice_named(&format!("slice-{slice}"), NAMES[*service], endpoints);
                self.slices.insert(slice.key.clone(), slice.clone());
                vec![Change::Slice(slice)]
            }
            Step::SliceGone(slice) => {
                let key = Key::new("default", &format!("slice-{slice}"));
                self.slices.remove(&key);
                vec![Change::SliceGone(key)]
            }
            Step::Resolved(which) => {
                let all = [vec![], vec![ip("10.0.0.5")], vec![ip("fd00::9"), ip("10.0.0.9")]];
                self.resolved.clone_from(&all[*which]);
                vec![self.answer()]
            }
            Step::Holder { lease: which, node } => {
                let name = ["default/kubevip-a", "default/kubevip-b", "default/kubevip-c", "default/common", "x/y"];
                let holder = ["", "node-1", "node-2"][*node].into();
                vec![Change::Lease { name: lease(name[*which]), holder }]
            }
            Step::Wait(_) => vec![Change::Tick],
            Step::Relist => vec![
                Change::Slices(self.slices.values().cloned().collect()),
                Change::Services(self.services.values().cloned().collect()),
            ],
        }
    }

    fn answer(&self) -> Change {
        Change::Resolved { name: "web.example.org".into(), addresses: Ok(self.resolved.clone()) }
    }
}

/// The invariants that hold after every change, checked against what was said to be touched.
fn check(services: &Services, touched: &Touched, before: &BTreeMap<IpAddr, Wanted>) {
    let after: BTreeMap<IpAddr, Wanted> = services.all_wanted().map(|w| (w.address, w.clone())).collect();
    for address in before.keys().chain(after.keys()) {
        let changed = before.get(address) != after.get(address);
        assert_eq!(changed, touched.addresses.contains(address), "{address}: touched although equal, or silent");
    }
    for wanted in after.values() {
        assert!(services.campaigns(&wanted.lease), "{} is wanted and its Lease is not", wanted.address);
        assert_eq!(services.waits_for(wanted.address), None);
        // Every Service that has the address names the same Lease for it.
        for key in services.keys() {
            let plan = services.plan(key).expect("known");
            for planned in plan.addresses.iter().filter(|planned| planned.address == wanted.address) {
                assert_eq!(planned.lease, wanted.lease);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_history_ends_like_a_fresh_start(steps in prop::collection::vec(step(), 1..60), per_service in any::<bool>()) {
        let options = Options { per_service, ..options() };
        let mut node = Node::new(options.clone());
        let mut world = World::default();
        for step in &steps {
            if let Step::Wait(seconds) = step {
                node.now = node.now + Duration::from_secs(*seconds);
            }
            for change in world.change(step) {
                let before: BTreeMap<IpAddr, Wanted> =
                    node.services.all_wanted().map(|w| (w.address, w.clone())).collect();
                let touched = node.take(change);
                check(&node.services, &touched, &before);
            }
        }
        // A name that came into use later is asked for again.
        node.take(world.answer());
        node.wait(60);
        let mut fresh = Node { services: Services::new(options), now: Time::ZERO };
        fresh.take(Change::Slices(world.slices.values().cloned().collect()));
        fresh.take(Change::Services(world.services.values().cloned().collect()));
        fresh.take(world.answer());
        fresh.take(Change::Host(host()));
        fresh.wait(60);
        prop_assert_eq!(node.wanted(), fresh.wanted());
        let addresses = |node: &Node, key: &Key| {
            let plan = node.services.plan(key);
            plan.map(|plan| plan.addresses.into_iter().map(|planned| (planned.address, planned.lease, planned.wanted)).collect::<Vec<_>>())
        };
        for key in world.services.keys() {
            prop_assert_eq!(addresses(&node, key), addresses(&fresh, key));
        }
        // All gone: nothing is left.
        node.take(Change::Services(vec![]));
        node.take(Change::Slices(vec![]));
        node.wait(60);
        prop_assert!(node.wanted().is_empty());
        prop_assert_eq!(node.services.left_over(), 0);
    }

    /// Two nodes that hear of the same changes at different times never both hold an address: each holds what it
    /// wants whose Lease it has, and a Lease has one holder.
    #[test]
    fn two_views_never_hold_one_address(steps in prop::collection::vec(step(), 1..40), late in 0..30u64) {
        let mut world = World::default();
        let name = |n: usize| -> std::sync::Arc<str> { ["node-1", "node-2"][n].into() };
        let node = |n: usize| Node::new(Options { node: name(n), ..super::per_service() });
        let mut nodes = [node(0), node(1)];
        // Lease → holder and until when he can hold by it. Node 0 is cut off from the API from `late` on.
        let mut leases: BTreeMap<LeaseName, (usize, Time)> = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            let now = nodes[1].now + Duration::from_secs(1);
            let cut = at as u64 >= late;
            let changes = if matches!(step, Step::Holder { .. }) { vec![Change::Tick] } else { world.change(step) };
            for (n, node) in nodes.iter_mut().enumerate() {
                node.now = now;
                if n == 1 || !cut {
                    changes.iter().for_each(|change| drop(node.take(change.clone())));
                } else {
                    node.take(Change::Tick);
                }
            }
            for (n, node) in nodes.iter_mut().enumerate() {
                if n == 0 && cut {
                    continue;
                }
                let wanted: BTreeSet<LeaseName> = node.services.all_wanted().map(|w| w.lease.clone()).collect();
                for lease in wanted {
                    let free = leases.get(&lease).is_none_or(|(holder, until)| *holder == n || *until <= now);
                    if free {
                        leases.insert(lease.clone(), (n, now + Duration::from_secs(15)));
                        node.take(Change::Lease { name: lease, holder: name(n) });
                    }
                }
            }
            let holds = |n: usize| -> BTreeSet<IpAddr> {
                let mine = |w: &&Wanted| leases.get(&w.lease).is_some_and(|(holder, until)| *holder == n && *until > now);
                nodes[n].services.all_wanted().filter(mine).map(|w| w.address).collect()
            };
            let both: Vec<IpAddr> = holds(0).intersection(&holds(1)).copied().collect();
            prop_assert!(both.is_empty(), "both hold {both:?} after step {at}");
        }
    }
}

#[test]
fn one_changed_endpoint_among_five_thousand_touches_one_service() {
    let mut node = Node::new(per_service());
    let name = |n: usize| format!("web-{n}");
    let address = |n: usize| format!("10.1.{}.{}", n / 250, n % 250 + 1);
    node.take(Change::Slices((0..5000).map(|n| slice(&name(n), &["node-2"])).collect()));
    node.take(Change::Services((0..5000).map(|n| service(&name(n)).at(&address(n))).collect()));
    assert_eq!(node.wanted().len(), 5000);
    let touched = node.take(Change::Slice(slice("web-4321", &[])));
    assert_eq!(touched.services, BTreeSet::from([Key::new("default", "web-4321")]));
    assert_eq!(touched.addresses, BTreeSet::from([ip(&address(4321))]));
    assert_eq!(touched.leases, BTreeSet::from([lease("default/kubevip-web-4321")]));
}
