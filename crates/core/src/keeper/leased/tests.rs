//! Scripts for Leases: a few nodes, one clock, a store with compare-and-swap, a perfect kernel. After every step it is
//! checked that no two nodes answer for an address.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::keeper::{Effect, Event, GateDone, GateOp, HostAddress, Keeper, Link, Memory, Note, Reason};
use crate::lease::{LeaseName, LeaseOp, LeaseRecord, LeaseReply, LeaseSettings};
use crate::settings::{Ownership, Source, Vip};
use crate::time::Time;

const TICK: Duration = Duration::from_millis(4);
const WAY: Duration = Duration::from_millis(1);

fn lease(n: usize) -> LeaseName {
    LeaseName { namespace: "kube-system".into(), name: format!("lease-{n}") }
}

fn address(n: usize) -> IpAddr {
    IpAddr::from([10, 1, u8::try_from(n / 256).expect("few"), u8::try_from(n % 256).expect("it fits")])
}

fn vip(n: usize, of: usize) -> Vip {
    let source = Source::Lease(lease(of));
    Vip { address: address(n), prefix: 32, interface: "eth0".into(), priority: 100, source }
}

fn settings(node: usize, of: usize) -> LeaseSettings {
    LeaseSettings {
        name: lease(of),
        identity: format!("n{node}"),
        duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
        preserve: false,
    }
}

fn ownership(node: usize) -> Ownership {
    Ownership {
        node: format!("n{node}"),
        local: None,
        peers: vec![],
        vips: vec![],
        lease: Duration::from_secs(5),
        renewal: Duration::from_secs(1),
        keys: vec![],
        start_as_leader: false,
        witness: false,
        preempt: false,
        drain: Duration::from_millis(300),
        refresh: Some(Duration::from_secs(3)),
        fence: true,
        force: false,
    }
}

fn link(node: usize, up: bool) -> Link {
    Link { name: "eth0".into(), up, mac: Some([2, 0, 0, 0, 0, u8::try_from(node).expect("few")]) }
}

/// The nodes, the store and the kernels.
struct Lab {
    now: Time,
    nodes: BTreeMap<usize, Keeper>,
    store: BTreeMap<LeaseName, (LeaseRecord, u64)>,
    version: u64,
    wire: VecDeque<(Time, usize, Event)>,
    gates: BTreeMap<(usize, IpAddr), Time>,
    accept: BTreeMap<(usize, IpAddr), Time>,
    here: BTreeSet<(usize, IpAddr)>,
    /// Nodes that the API does not answer.
    cut: BTreeSet<usize>,
    requests: u64,
    batches: u64,
    notes: Vec<(Time, usize, Note)>,
    announced: Vec<(Time, usize, IpAddr)>,
    probed: Vec<(Time, usize)>,
    stopped: BTreeSet<usize>,
}

impl Lab {
    fn new(nodes: usize, leases: usize, addresses: usize) -> Lab {
        let mut lab = Lab {
            now: Time(1_000_000_000),
            nodes: BTreeMap::new(),
            store: BTreeMap::new(),
            version: 100,
            wire: VecDeque::new(),
            gates: BTreeMap::new(),
            accept: BTreeMap::new(),
            here: BTreeSet::new(),
            cut: BTreeSet::new(),
            requests: 0,
            batches: 0,
            notes: vec![],
            announced: vec![],
            probed: vec![],
            stopped: BTreeSet::new(),
        };
        for node in 1..=nodes {
            lab.start(node, leases, addresses);
        }
        lab
    }

    fn start(&mut self, node: usize, leases: usize, addresses: usize) {
        let here = |(n, a): &(usize, IpAddr)| (*n == node).then_some(*a);
        let memory = Memory {
            links: vec![link(node, true)],
            open_gates: self.gates.iter().filter_map(|(k, end)| Some((here(k)?, end.left(self.now)))).collect(),
            addresses: self.here.iter().filter_map(here).map(host_address).collect(),
            ..Memory::default()
        };
        let seed = node as u64 * 1000 + self.now.0;
        self.nodes.insert(node, Keeper::new(ownership(node), memory, seed, TICK, self.now));
        for of in 0..leases {
            self.event(node, Event::Campaign(settings(node, of)));
        }
        for n in 0..addresses {
            self.event(node, Event::Put(vip(n, n % leases)));
        }
    }

    fn kill(&mut self, node: usize) {
        self.nodes.remove(&node);
        self.wire.retain(|(_, to, _)| *to != node);
    }

    fn event(&mut self, node: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Some(keeper) = self.nodes.get_mut(&node) else { return };
            let mut out = Vec::new();
            keeper.handle(self.now, event, &mut out);
            for effect in out {
                self.effect(node, effect, &mut events);
            }
        }
        self.check();
    }

    fn check(&self) {
        let open = |n: &(usize, IpAddr)| self.gates.get(n).is_some_and(|end| self.now < *end);
        let mut answering: Vec<IpAddr> = self.here.iter().filter(|k| open(k)).map(|(_, a)| *a).collect();
        answering.sort_unstable();
        let two = answering.windows(2).find(|w| w[0] == w[1]);
        assert_eq!(two, None, "two answer at {:?}\n{}", self.now, self.story());
    }

    fn effect(&mut self, node: usize, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Gate { vip, op } => {
                let done = self.gate(node, vip.address, op);
                events.push_back(Event::Gate { vip: vip.address, done });
            }
            Effect::Gates { vips, op } => {
                self.batches += 1;
                let done = vips.iter().map(|v| (v.address, self.gate(node, v.address, op))).collect();
                events.push_back(Event::Gates { done });
            }
            Effect::PutAddress { vip, .. } => {
                self.here.insert((node, vip.address));
                events.push_back(Event::AddressPut(host_address(vip.address)));
            }
            Effect::RemoveAddress { interface, address, .. } => {
                self.here.remove(&(node, address));
                events.push_back(Event::AddressGone { interface, address });
            }
            Effect::Announce { vip } => {
                assert!(self.here.contains(&(node, vip.address)), "announced before it was there");
                self.announced.push((self.now, node, vip.address));
            }
            Effect::Probe { .. } => self.probed.push((self.now, node)),
            Effect::Lease { name, request, op } => self.ask(node, name, request, op),
            Effect::Note(note) => self.notes.push((self.now, node, note)),
            Effect::Stopped => {
                self.stopped.insert(node);
            }
            _ => {}
        }
    }

    fn gate(&mut self, node: usize, vip: IpAddr, op: GateOp) -> GateDone {
        let key = (node, vip);
        let open = self.gates.get(&key).is_some_and(|end| self.now < *end);
        match op {
            GateOp::Open { end } | GateOp::Renew { end } => {
                if matches!(op, GateOp::Renew { .. }) && !open {
                    self.gates.remove(&key);
                    return GateDone::Lost;
                }
                self.gates.insert(key, end);
                GateDone::Open { end }
            }
            GateOp::Drain { accept_end } => {
                self.gates.remove(&key);
                self.accept.insert(key, accept_end);
                GateDone::AnswerShut
            }
            GateOp::Keep { accept_end } => {
                self.gates.remove(&key);
                self.accept.insert(key, accept_end);
                GateDone::AnswerShut
            }
            GateOp::Shut => {
                self.gates.remove(&key);
                self.accept.remove(&key);
                GateDone::Shut
            }
        }
    }

    fn ask(&mut self, node: usize, name: LeaseName, request: u64, op: LeaseOp) {
        self.requests += 1;
        let after = self.now + WAY;
        if self.cut.contains(&node) {
            let reply = LeaseReply::Unknown("timed out".into());
            let later = self.now + Duration::from_millis(500);
            return self.later(later, node, Event::LeaseReplied { name, request, reply });
        }
        let known = self.store.get(&name).cloned();
        let reply = match (op, known) {
            (LeaseOp::Get, None) => LeaseReply::Absent,
            (LeaseOp::Get, Some((record, version))) => LeaseReply::Stored { record, version: version.to_string() },
            (LeaseOp::Create(_), Some(_)) => LeaseReply::Exists,
            (LeaseOp::Create(record), None) => self.write(&name, record),
            (LeaseOp::Replace { record, version }, Some((_, v))) if v.to_string() == version => {
                self.write(&name, record)
            }
            (LeaseOp::Replace { .. }, Some(_)) => LeaseReply::Conflict,
            (LeaseOp::Replace { .. }, None) => LeaseReply::Absent,
        };
        self.later(after, node, Event::LeaseReplied { name, request, reply });
    }

    fn write(&mut self, name: &LeaseName, mut record: LeaseRecord) -> LeaseReply {
        self.version += 1;
        let stamp = format!("{}", self.now.0);
        // What a writer says nothing about stays.
        record.author = record.author.or_else(|| self.store.get(name).and_then(|(r, _)| r.author.clone()));
        if record.acquire_time.is_empty() {
            record.acquire_time.clone_from(&stamp);
        }
        record.renew_time = stamp;
        self.store.insert(name.clone(), (record.clone(), self.version));
        self.show(name);
        LeaseReply::Stored { record, version: self.version.to_string() }
    }

    fn show(&mut self, name: &LeaseName) {
        let state = self.store.get(name).map(|(r, v)| (r.clone(), v.to_string()));
        for node in self.nodes.keys().copied().filter(|n| !self.cut.contains(n)).collect::<Vec<_>>() {
            self.later(self.now + WAY * 2, node, Event::LeaseSeen { name: name.clone(), state: state.clone() });
        }
    }

    fn later(&mut self, at: Time, node: usize, event: Event) {
        let place = self.wire.partition_point(|(t, ..)| *t <= at);
        self.wire.insert(place, (at, node, event));
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 2_000_000, "it never comes to rest");
            let due = self.nodes.values().filter_map(Keeper::deadline).min();
            let arrives = self.wire.front().map(|(t, ..)| *t);
            let Some(next) = due.into_iter().chain(arrives).min().filter(|t| *t <= end) else { break };
            self.now = self.now.max(next);
            if arrives == Some(next) {
                let (_, node, event) = self.wire.pop_front().expect("it is there");
                self.event(node, event);
                continue;
            }
            let due = |k: &Keeper| k.deadline().is_some_and(|d| d <= self.now);
            let ready: Vec<usize> = self.nodes.iter().filter(|(_, k)| due(k)).map(|(n, _)| *n).collect();
            ready.into_iter().for_each(|n| self.event(n, Event::Tick));
        }
        self.now = end;
        self.check();
    }

    /// Who answers for an address.
    fn holder(&self, n: usize) -> Option<usize> {
        let open = |(node, a): &&(usize, IpAddr)| {
            *a == address(n) && self.gates.get(&(*node, *a)).is_some_and(|end| self.now < *end)
        };
        self.here.iter().find(open).map(|(node, _)| *node)
    }

    fn held_by(&self, node: usize) -> usize {
        let open = |k: &&(usize, IpAddr)| k.0 == node && self.gates.get(k).is_some_and(|end| self.now < *end);
        self.here.iter().filter(open).count()
    }

    fn gained(&self, node: usize) -> Vec<Reason> {
        let gain = |note: &Note| if let Note::Gained { reason, .. } = note { Some(*reason) } else { None };
        self.notes.iter().filter(|(_, n, _)| *n == node).filter_map(|(.., note)| gain(note)).collect()
    }

    fn lost(&self, node: usize) -> Vec<Reason> {
        let loss = |note: &Note| if let Note::Lost { reason, .. } = note { Some(*reason) } else { None };
        self.notes.iter().filter(|(_, n, _)| *n == node).filter_map(|(.., note)| loss(note)).collect()
    }

    fn record(&self, of: usize) -> &LeaseRecord {
        &self.store[&lease(of)].0
    }

    fn story(&self) -> String {
        self.notes.iter().map(|(t, n, note)| format!("{t:?} n{n}: {note}\n")).collect()
    }
}

fn host_address(address: IpAddr) -> HostAddress {
    HostAddress { interface: "eth0".into(), address, prefix: 32, mine: true, permanent: false, secondary: false }
}

#[test]
fn one_holds_renews_in_time_and_reads_nothing() {
    let mut lab = Lab::new(3, 1, 1);
    lab.run(20);
    let first = lab.holder(0).expect("somebody holds it");
    assert_eq!(lab.gained(first), [Reason::Start]);
    lab.run(1000);
    let before = lab.requests;
    lab.run(60_000);
    assert_eq!(lab.holder(0), Some(first));
    let writes = lab.requests - before;
    assert!((12..=16).contains(&writes), "{writes} requests in a minute, all of them renewals");
    assert_eq!(lab.record(0).transitions, 0);
}

#[test]
fn a_dead_holder_is_replaced_at_the_instant_its_lease_has_run_out() {
    let mut lab = Lab::new(3, 1, 1);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    let renewed: u64 = lab.record(0).renew_time.parse().expect("a number");
    lab.kill(first);
    let left = Time(renewed).since(lab.now) + Duration::from_secs(15);
    let left = left.saturating_sub(lab.now.since(Time(renewed)));
    lab.run(u64::try_from(left.as_millis()).expect("short") - 5);
    assert!(lab.nodes.keys().all(|n| lab.gained(*n).is_empty()));
    lab.run(20);
    let second = lab.holder(0).expect("taken over");
    assert_ne!(first, second);
    assert_eq!((lab.gained(second), lab.record(0).transitions), (vec![Reason::Expired], 1));
}

#[test]
fn a_stop_hands_over_in_milliseconds_and_leaves_nothing() {
    let mut lab = Lab::new(3, 1, 20);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    lab.event(first, Event::Stop);
    assert_eq!(lab.held_by(first), 0, "the gates are shut at once");
    lab.run(10);
    let second = lab.holder(0).expect("taken over");
    assert_eq!((lab.held_by(second), lab.gained(second)[0]), (20, Reason::HandedOver));
    lab.run(310);
    assert!(lab.stopped.contains(&first) && lab.here.iter().all(|(n, _)| *n != first));
    lab.run(60_000);
    assert_eq!(lab.holder(0), Some(second));
}

#[test]
fn a_restart_within_the_lease_costs_nothing() {
    let mut lab = Lab::new(3, 1, 3);
    lab.run(3000);
    let first = lab.holder(0).expect("held");
    lab.kill(first);
    lab.run(500);
    lab.start(first, 1, 3);
    for _ in 0..20_000 {
        lab.run(1);
        assert_eq!(lab.held_by(first), 3, "at {:?}\n{}", lab.now, lab.story());
    }
    assert_eq!(lab.gained(first)[3..], [Reason::Resumed; 3]);
    assert_eq!(lab.record(0).transitions, 0);
}

/// Between a start and the first list of Services nobody knows what hangs on the Lease.
#[test]
fn what_a_predecessor_left_open_is_shut_before_the_lease_goes_also_when_nobody_has_named_it() {
    let mut lab = Lab::new(2, 1, 3);
    lab.run(3000);
    let first = lab.holder(0).expect("held");
    lab.kill(first);
    lab.run(100);
    lab.start(first, 1, 0);
    lab.run(50);
    assert_eq!(lab.held_by(first), 3, "its gates are open");
    lab.event(first, Event::Stop);
    assert_eq!(lab.held_by(first), 0, "they are shut before anything is said");
    lab.run(50);
    assert_eq!((lab.held_by(3 - first), lab.gained(3 - first)[0]), (3, Reason::HandedOver));
}

#[test]
fn a_gain_is_counted_from_when_there_was_something_to_gain() {
    let mut lab = Lab::new(1, 1, 1);
    lab.run(10_000);
    lab.event(1, Event::Put(vip(7, 0)));
    lab.run(5);
    let took = |note: &Note| match note {
        Note::Gained { vip, took, .. } if *vip == address(7) => Some(*took),
        _ => None,
    };
    assert_eq!(lab.notes.iter().find_map(|(.., note)| took(note)), Some(Duration::ZERO));
}

#[test]
fn cut_off_it_ends_before_others_begin() {
    let mut lab = Lab::new(3, 1, 1);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    lab.cut.insert(first);
    lab.run(12_300);
    assert_eq!(lab.holder(0), None);
    assert_eq!(lab.lost(first), [Reason::Unrenewed]);
    lab.run(2_800);
    let second = lab.holder(0).expect("taken over");
    lab.cut.clear();
    lab.run(30_000);
    assert_eq!(lab.holder(0), Some(second), "a heal moves nothing");
    assert_eq!(lab.lost(first).len(), 1);
}

#[test]
fn an_outage_of_the_api_shorter_than_the_lease_costs_nothing() {
    let mut lab = Lab::new(3, 1, 1);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    lab.cut.extend([1, 2, 3]);
    lab.run(7_000);
    assert_eq!(lab.holder(0), Some(first));
    lab.cut.clear();
    lab.run(20_000);
    assert_eq!((lab.holder(0), lab.lost(first).len()), (Some(first), 0));
    // Longer: it ends with its lease, and somebody has it soon after the API is back.
    lab.cut.extend([1, 2, 3]);
    lab.run(40_000);
    assert_eq!(lab.holder(0), None);
    lab.cut.clear();
    lab.run(3_000);
    assert!(lab.holder(0).is_some(), "{}", lab.story());
}

#[test]
fn a_node_that_is_not_fit_gives_up_and_comes_back() {
    let mut lab = Lab::new(2, 1, 1);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    lab.event(first, Event::Yield { lease: lease(0), ill: true });
    lab.run(10);
    let second = lab.holder(0).expect("handed over");
    assert_ne!(first, second);
    assert_eq!(lab.lost(first), [Reason::Yielded]);
    lab.kill(second);
    lab.run(20_000);
    assert_eq!(lab.holder(0), None, "it is not fit");
    lab.event(first, Event::Yield { lease: lease(0), ill: false });
    lab.run(10);
    assert_eq!(lab.holder(0), Some(first));
}

#[test]
fn a_dead_link_hands_over_when_no_other_carries_an_address() {
    let mut lab = Lab::new(2, 1, 1);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    lab.event(first, Event::Link(link(first, false)));
    lab.run(10);
    assert_eq!(lab.lost(first), [Reason::LinkDown]);
    assert!(lab.holder(0).is_some_and(|n| n != first));
}

#[test]
fn resigning_ends_it_here_and_the_addresses_wait() {
    let mut lab = Lab::new(2, 1, 2);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    lab.event(first, Event::Resign(lease(0)));
    lab.run(2000);
    let second = lab.holder(0).expect("handed over");
    assert_ne!(first, second);
    lab.kill(second);
    lab.run(20_000);
    assert_eq!(lab.holder(0), None);
    lab.event(first, Event::Campaign(settings(first, 0)));
    lab.run(16_000);
    assert_eq!(lab.held_by(first), 2);
}

#[test]
fn addresses_come_go_and_change_their_lease() {
    let mut lab = Lab::new(1, 2, 2);
    lab.run(100);
    assert_eq!(lab.held_by(1), 2);
    lab.event(1, Event::Put(vip(7, 0)));
    lab.run(1);
    assert_eq!(lab.holder(7), Some(1));
    lab.event(1, Event::Withdraw(address(7)));
    assert_eq!(lab.holder(7), None);
    assert!(lab.accept.contains_key(&(1, address(7))), "connections drain");
    lab.run(310);
    assert!(!lab.here.contains(&(1, address(7))));
    lab.event(1, Event::Put(vip(0, 1)));
    lab.run(10);
    assert_eq!(lab.holder(0), Some(1));
    lab.event(1, Event::Resign(lease(0)));
    lab.run(1000);
    assert_eq!(lab.holder(0), Some(1), "it hangs on the other Lease now");
    assert_eq!(lab.record(0).holder, "");
}

#[test]
fn a_record_that_somebody_else_wrote_is_not_released() {
    let mut lab = Lab::new(1, 1, 1);
    lab.run(1000);
    let name = lease(0);
    let (mut record, _) = lab.store[&name].clone();
    record.holder = "kube-vip".into();
    lab.version += 1;
    lab.store.insert(name.clone(), (record, lab.version));
    // Before the watch tells: the release meets another version.
    lab.event(1, Event::Stop);
    lab.run(2000);
    assert!(lab.stopped.contains(&1));
    assert_eq!(lab.record(0).holder, "kube-vip");
}

#[test]
fn another_holder_in_the_record_ends_the_hold_at_once() {
    let mut lab = Lab::new(1, 1, 1);
    lab.run(1000);
    let name = lease(0);
    let (mut record, _) = lab.store[&name].clone();
    record.holder = "somebody".into();
    lab.version += 1;
    lab.store.insert(name.clone(), (record, lab.version));
    lab.show(&name);
    lab.run(3);
    assert_eq!((lab.holder(0), lab.lost(1)), (None, vec![Reason::Taken]));
    lab.run(14_000);
    assert_eq!(lab.holder(0), None);
    lab.run(2_000);
    assert_eq!(lab.holder(0), Some(1), "its time ran out");
}

#[test]
fn a_deleted_lease_is_made_again_by_its_holder() {
    let mut lab = Lab::new(2, 1, 1);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    lab.store.remove(&lease(0));
    lab.event(first, Event::LeaseSeen { name: lease(0), state: None });
    lab.run(100);
    assert_eq!((lab.holder(0), lab.record(0).holder.clone()), (Some(first), format!("n{first}")));
    assert_eq!(lab.lost(first), []);
}

#[test]
fn a_late_event_of_a_watch_changes_nothing() {
    let mut lab = Lab::new(1, 1, 1);
    lab.run(1000);
    let old = LeaseRecord { holder: "ghost".into(), duration_seconds: 15, ..LeaseRecord::default() };
    lab.event(1, Event::LeaseSeen { name: lease(0), state: Some((old, "7".into())) });
    lab.run(1000);
    assert_eq!((lab.holder(0), lab.lost(1)), (Some(1), vec![]));
}

#[test]
fn a_stranger_that_still_answers_after_the_gain_keeps_this_node_silent() {
    let mut lab = Lab::new(1, 1, 1);
    lab.run(50);
    let (vip, mac) = (address(0), [9; 6]);
    lab.event(1, Event::Claimed { vip, mac });
    assert_eq!(lab.holder(0), Some(1), "the last holder may be on its way out");
    lab.run(160);
    assert_eq!(lab.probed.len(), 1);
    lab.event(1, Event::Claimed { vip, mac });
    assert_eq!((lab.holder(0), lab.lost(1)), (None, vec![Reason::Conflict]));
    for _ in 0..3 {
        let probes = lab.probed.len();
        (0..1100).for_each(|_| {
            if lab.probed.len() == probes {
                lab.run(1)
            }
        });
        assert!(lab.probed.len() > probes);
        lab.event(1, Event::Claimed { vip, mac });
        assert_eq!(lab.holder(0), None);
    }
    lab.run(3_000);
    assert_eq!(lab.holder(0), Some(1), "it has gone");
}

#[test]
fn a_preserved_address_stays_until_another_holder_is_seen() {
    let mut lab = Lab::new(2, 1, 1);
    lab.run(1000);
    let first = lab.holder(0).expect("held");
    lab.event(first, Event::Campaign(LeaseSettings { preserve: true, ..settings(first, 0) }));
    lab.cut.extend([1, 2]);
    lab.run(30_000);
    assert_eq!(lab.holder(0), None, "it answers no more");
    let key = (first, address(0));
    assert!(lab.here.contains(&key) && lab.accept.get(&key).is_some_and(|end| lab.now < *end), "but is there");
    // Taken up again by the same node, and then lost to the other one.
    lab.cut.remove(&first);
    lab.run(3_000);
    assert_eq!(lab.holder(0), Some(first));
    lab.cut.insert(first);
    lab.run(13_000);
    lab.cut.remove(&(3 - first));
    lab.run(20_000);
    assert_eq!(lab.holder(0), Some(3 - first));
    lab.cut.clear();
    lab.run(3_000);
    assert!(!lab.here.contains(&key) && !lab.accept.contains_key(&key), "{}", lab.story());
}

#[test]
fn five_hundred_addresses_of_one_lease_open_and_renew_together() {
    let mut lab = Lab::new(2, 1, 500);
    lab.run(100);
    let first = lab.holder(0).expect("held");
    assert_eq!(lab.held_by(first), 500);
    assert_eq!(lab.batches, 1, "one batch opened all");
    lab.run(10_000);
    assert!(lab.batches <= 4, "{} batches", lab.batches);
    lab.kill(first);
    lab.run(15_100);
    assert_eq!(lab.held_by(3 - first), 500);
}

/// An event costs what it touches, not what there is.
#[test]
fn an_event_does_not_step_what_it_does_not_touch() {
    let mut lab = Lab::new(1, 500, 5000);
    lab.run(10_000);
    assert_eq!(lab.held_by(1), 5000);
    let keeper = lab.nodes.get_mut(&1).expect("it is there");
    let untouched = keeper.leased.places.len();
    assert_eq!(untouched, 5000);
    let mut now = lab.now;
    while keeper.deadline().is_some_and(|d| d <= now) {
        now = now + Duration::from_nanos(1);
        keeper.handle(now, Event::Tick, &mut Vec::new());
    }
    let mut out = Vec::new();
    keeper.handle(now, Event::AddressGone { interface: "eth0".into(), address: address(77) }, &mut out);
    let about = |e: &Effect| match e {
        Effect::PutAddress { vip, .. } | Effect::Announce { vip } => Some(vip.address),
        _ => None,
    };
    assert!(out.iter().filter_map(about).all(|a| a == address(77)) && out.iter().any(|e| about(e).is_some()));
    let steps = keeper.leased.steps;
    keeper.handle(now, Event::AddressPut(host_address(address(77))), &mut Vec::new());
    assert_eq!(keeper.leased.steps - steps, 1);
}

/// A guard that ends before the address does lets a dead node answer.
#[test]
fn what_is_put_is_guarded_for_longer_than_it_stays() {
    let memory = Memory { links: vec![link(1, true)], ..Memory::default() };
    let short = Ownership { lease: Duration::from_millis(500), ..ownership(1) };
    let mut keeper = Keeper::new(short, memory, 1, TICK, Time(1_000_000_000));
    let mut now = Time(1_000_000_000);
    let mut events = VecDeque::from([Event::Put(vip(1, 1)), Event::Campaign(settings(1, 1))]);
    let (mut guarded, mut stays) = (Time::ZERO, Time::ZERO);
    for step in 0..100 {
        let mut out = Vec::new();
        keeper.handle(now, events.pop_front().unwrap_or(Event::Tick), &mut out);
        for effect in out {
            match effect {
                Effect::Guard { timeout, .. } => guarded = now + timeout,
                Effect::PutAddress { valid, .. } => {
                    stays = now + valid;
                    assert!(guarded > stays, "in step {step}");
                }
                Effect::Gate { vip, op: GateOp::Open { end } } => {
                    events.push_back(Event::Gate { vip: vip.address, done: GateDone::Open { end } });
                }
                Effect::Lease { name, request, op } => {
                    let reply = match op {
                        LeaseOp::Get => LeaseReply::Absent,
                        LeaseOp::Create(record) | LeaseOp::Replace { record, .. } => {
                            LeaseReply::Stored { record, version: format!("{}", step + 1) }
                        }
                    };
                    events.push_back(Event::LeaseReplied { name, request, reply });
                }
                _ => {}
            }
        }
        now = now + WAY;
    }
    assert!(stays > Time::ZERO, "nothing was put");
}
