//! Scripts for the keeper: a few nodes, one clock, a perfect kernel; then what happens is read off the wire.

use super::*;
use crate::settings::{Peer, Source, Vip};

const TICK: Duration = Duration::from_millis(4);

fn at(ms: u64) -> Time {
    Time(1_000_000_000 + ms * 1_000_000)
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 10000))
}

fn vip() -> Vip {
    Vip { address: [10, 0, 0, 100].into(), prefix: 32, interface: "eth0".into(), priority: 100, source: Source::Peers }
}

fn ownership(n: u8, voters: &[u8]) -> Ownership {
    Ownership {
        node: format!("n{n}"),
        local: Some(address(n)),
        peers: voters.iter().filter(|v| **v != n).map(|v| Peer { address: address(*v), id: format!("n{v}") }).collect(),
        vips: vec![vip()],
        lease: Duration::from_millis(500),
        renewal: Duration::from_millis(100),
        keys: vec![],
        start_as_leader: false,
        witness: false,
        preempt: false,
        drain: Duration::from_millis(300),
        refresh: Some(Duration::from_secs(5)),
        fence: true,
        force: false,
    }
}

fn memory(n: u8) -> Memory {
    Memory {
        longest_lease: Some(Duration::from_millis(500)),
        links: vec![Link { name: "eth0".into(), up: true, mac: Some([2, 0, 0, 0, 0, n]) }],
        ..Memory::default()
    }
}

/// A few keepers on one wire with a delay of 100 µs, and a kernel that does what it is asked.
struct Lab {
    now: Time,
    nodes: BTreeMap<u8, Keeper>,
    wire: VecDeque<(Time, SocketAddr, SocketAddr, Vec<u8>)>,
    cut: BTreeSet<u8>,
    gates: BTreeMap<u8, Time>,
    addresses: BTreeSet<u8>,
    /// Until when the address is guarded, and until when it stays.
    guards: BTreeMap<u8, Time>,
    stays: BTreeMap<u8, Time>,
    announced: Vec<(Time, u8)>,
    notes: Vec<(Time, u8, Note)>,
    stopped: BTreeSet<u8>,
    results: VecDeque<(u8, Event)>,
    fence: bool,
}

impl Lab {
    fn new(nodes: &[u8]) -> Lab {
        let mut lab = Lab {
            now: at(0),
            nodes: BTreeMap::new(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            gates: BTreeMap::new(),
            addresses: BTreeSet::new(),
            guards: BTreeMap::new(),
            stays: BTreeMap::new(),
            announced: vec![],
            notes: vec![],
            stopped: BTreeSet::new(),
            results: VecDeque::new(),
            fence: true,
        };
        for n in nodes {
            lab.start(*n, ownership(*n, nodes), memory(*n));
        }
        lab
    }

    fn start(&mut self, n: u8, settings: Ownership, memory: Memory) {
        let seed = u64::from(n) * 1000 + self.now.0;
        let guarded = self.guards.get(&n).map_or(Duration::ZERO, |end| end.left(self.now));
        let memory = Memory { guarded, ..memory };
        self.nodes.insert(n, Keeper::new(settings, memory, seed, TICK, self.now));
    }

    fn event(&mut self, n: u8, event: Event) {
        self.results.push_back((n, event));
        while let Some((n, event)) = self.results.pop_front() {
            let Some(k) = self.nodes.get_mut(&n) else { continue };
            let mut out = Vec::new();
            k.handle(self.now, event, &mut out);
            for effect in out {
                self.effect(n, effect);
            }
        }
    }

    fn effect(&mut self, n: u8, effect: Effect) {
        match effect {
            Effect::Send { to, bytes } => {
                self.wire.push_back((self.now + Duration::from_micros(100), address(n), to, bytes))
            }
            Effect::Gate { vip, op } => {
                let open = self.gates.get(&n).is_some_and(|end| self.now < *end);
                let done = match op {
                    GateOp::Open { end } => GateDone::Open { end },
                    GateOp::Renew { end } if open => GateDone::Open { end },
                    GateOp::Renew { .. } => GateDone::Lost,
                    GateOp::Drain { .. } | GateOp::Keep { .. } => GateDone::AnswerShut,
                    GateOp::Shut => GateDone::Shut,
                };
                match done {
                    GateDone::Open { end } => self.gates.insert(n, end),
                    _ => self.gates.remove(&n),
                };
                self.results.push_back((n, Event::Gate { vip: vip.address, done }));
            }
            Effect::PutAddress { vip, valid } => {
                self.addresses.insert(n);
                self.stays.insert(n, self.now + valid);
                self.is_guarded(n);
                let (interface, address, prefix) = (vip.interface, vip.address, vip.prefix);
                let a = HostAddress { interface, address, prefix, mine: true, permanent: false, secondary: false };
                self.results.push_back((n, Event::AddressPut(a)));
            }
            Effect::RemoveAddress { interface, address, .. } => {
                self.addresses.remove(&n);
                self.stays.remove(&n);
                self.results.push_back((n, Event::AddressGone { interface, address }));
            }
            Effect::Announce { .. } => self.announced.push((self.now, n)),
            Effect::Note(note) => self.notes.push((self.now, n, note)),
            Effect::Stopped => {
                self.stopped.insert(n);
            }
            Effect::Gates { vips, op } => vips.into_iter().for_each(|vip| self.effect(n, Effect::Gate { vip, op })),
            Effect::Unguard { .. } | Effect::Lease { .. } | Effect::Forget { .. } | Effect::Leading { .. } => {}
            Effect::Guard { timeout, .. } => {
                self.guards.insert(n, self.now + timeout);
                self.is_guarded(n);
            }
            Effect::Probe { .. } | Effect::Holding { .. } | Effect::Remember(_) => {}
        }
    }

    /// Should the node die now, its address goes before its guard ends.
    fn is_guarded(&self, n: u8) {
        let guarded = self.guards.get(&n).copied().unwrap_or(Time::ZERO);
        assert!(self.stays.get(&n).is_none_or(|stays| *stays < guarded), "n{n} at {:?}", self.now);
    }

    /// Lets time pass, checking after every step that at most one node answers.
    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            let due = self.nodes.values().filter_map(Keeper::deadline).min();
            let arrives = self.wire.front().map(|(t, ..)| *t);
            let Some(next) = due.into_iter().chain(arrives).min().filter(|t| *t <= end) else { break };
            self.now = self.now.max(next);
            if arrives == Some(next) {
                let (_, from, to, bytes) = self.wire.pop_front().expect("it is there");
                let n = to.ip().to_string().rsplit('.').next().and_then(|n| n.parse::<u8>().ok()).expect("a node");
                let from_n: u8 = from.ip().to_string().rsplit('.').next().and_then(|n| n.parse().ok()).expect("a node");
                if !self.cut.contains(&n) && !self.cut.contains(&from_n) {
                    self.event(n, Event::Datagram { from, bytes });
                }
            } else {
                let ready: Vec<u8> = self
                    .nodes
                    .iter()
                    .filter(|(_, k)| k.deadline().is_some_and(|d| d <= self.now))
                    .map(|(n, _)| *n)
                    .collect();
                for n in ready {
                    self.event(n, Event::Tick);
                }
            }
            assert!(self.answering().len() <= 1, "{:?} answer at {:?}", self.answering(), self.now);
        }
        self.now = end;
    }

    fn answering(&self) -> Vec<u8> {
        let open = |n: &u8| self.gates.get(n).is_some_and(|end| self.now < *end);
        self.addresses.iter().copied().filter(|n| !self.fence || open(n)).collect()
    }

    fn story(&self) -> String {
        self.notes.iter().map(|(t, n, note)| format!("{t:?} n{n}: {note}\n")).collect()
    }

    fn kill(&mut self, n: u8) {
        self.nodes.remove(&n);
    }

    fn gained(&self, n: u8) -> Vec<Reason> {
        let gain = |note: &Note| if let Note::Gained { reason, .. } = note { Some(*reason) } else { None };
        self.notes.iter().filter(|(_, m, _)| *m == n).filter_map(|(_, _, note)| gain(note)).collect()
    }
}

#[test]
fn three_fresh_nodes_do_not_wait_for_each_others_past() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(149);
    assert_eq!(lab.answering(), [], "the probes must have time to be answered");
    lab.run(20);
    assert_eq!(lab.answering(), [1]);
    assert!(lab.nodes.values().all(|k| k.status(lab.now).ready));
    lab.run(60_000);
    assert_eq!(lab.gained(1), [Reason::Start], "nothing moves without a reason");
}

#[test]
fn a_lone_fresh_node_of_three_waits_and_two_do_not_hold_before_the_quiet_time() {
    let mut lab = Lab::new(&[]);
    for n in [1, 2] {
        lab.start(n, ownership(n, &[1, 2, 3]), Memory { longest_lease: None, ..memory(n) });
    }
    lab.run(5_500);
    assert_eq!(lab.answering(), []);
    lab.run(200);
    assert_eq!(lab.answering(), [1]);
}

#[test]
fn a_dead_holder_is_replaced_when_its_lease_ends() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(1000);
    lab.kill(1);
    lab.run(390);
    assert_eq!(lab.gained(2).len() + lab.gained(3).len(), 0);
    lab.run(120);
    assert_eq!(lab.answering(), [2]);
    assert_eq!(lab.gained(2), [Reason::Expired]);
}

#[test]
fn a_partitioned_holder_ends_before_the_others_begin_and_the_heal_is_announced() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(1000);
    lab.cut.insert(1);
    lab.run(410);
    assert_eq!(lab.answering(), []);
    lab.run(100);
    assert_eq!(lab.answering(), [2]);
    lab.run(5000);
    let healed = lab.now;
    lab.cut.clear();
    lab.run(80);
    assert!(lab.announced.iter().any(|(t, n)| *t >= healed && *n == 2));
    assert_eq!(lab.gained(2), [Reason::Expired], "a heal moves nothing");
}

#[test]
fn a_stopping_holder_hands_over_at_once() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(1000);
    lab.event(1, Event::Stop);
    lab.run(2);
    assert_eq!(lab.answering(), [2]);
    assert_eq!(lab.gained(2), [Reason::HandedOver]);
    assert!(lab.addresses.contains(&1), "connections drain");
    lab.run(310);
    assert_eq!((lab.addresses.clone(), lab.stopped.clone()), (BTreeSet::from([2]), BTreeSet::from([1])));
}

#[test]
fn without_a_fence_the_address_goes_before_the_release() {
    let mut lab = Lab::new(&[]);
    lab.fence = false;
    for n in [1, 2, 3] {
        lab.start(n, Ownership { fence: false, ..ownership(n, &[1, 2, 3]) }, memory(n));
    }
    lab.run(1000);
    assert_eq!(lab.answering(), [1]);
    lab.event(1, Event::Stop);
    lab.run(5);
    assert_eq!(lab.answering(), [2]);
    assert_eq!((lab.gained(2), lab.stopped.clone()), (vec![Reason::HandedOver], BTreeSet::from([1])));
}

#[test]
fn a_holder_that_restarts_at_once_goes_on() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(1000);
    let left = lab.gates[&1].left(lab.now);
    let here = HostAddress {
        interface: "eth0".into(),
        address: vip().address,
        prefix: 32,
        mine: true,
        permanent: false,
        secondary: false,
    };
    lab.kill(1);
    lab.run(50);
    let open_gates = vec![(vip().address, left - Duration::from_millis(50))];
    lab.start(1, ownership(1, &[1, 2, 3]), Memory { open_gates, addresses: vec![here], ..memory(1) });
    for _ in 0..1000 {
        lab.run(1);
        assert_eq!(lab.answering(), [1]);
    }
    assert_eq!(lab.gained(1), [Reason::Start, Reason::Resumed]);
}

#[test]
fn a_rolling_restart_never_leaves_the_address_alone() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(1000);
    for n in [1, 2, 3] {
        lab.event(n, Event::Stop);
        lab.run(400);
        assert!(lab.stopped.remove(&n));
        lab.start(n, ownership(n, &[1, 2, 3]), memory(n));
        lab.run(600);
        assert!(lab.nodes[&n].status(lab.now).ready);
        assert_eq!(lab.answering().len(), 1);
    }
}

#[test]
fn priority_moves_the_address_only_when_asked() {
    for preempt in [false, true] {
        let mut lab = Lab::new(&[1, 2]);
        lab.run(0);
        let mut third = ownership(3, &[1, 2, 3]);
        third.preempt = preempt;
        third.vips[0].priority = 200;
        for n in [1, 2] {
            lab.event(n, Event::Configure(ownership(n, &[1, 2, 3])));
        }
        lab.run(1000);
        assert_eq!(lab.answering(), [1]);
        lab.start(3, third, memory(3));
        lab.run(3000);
        assert_eq!(lab.answering(), [if preempt { 3 } else { 1 }]);
    }
}

#[test]
fn an_unhealthy_holder_yields_only_to_a_healthy_node() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(3000);
    for n in [3, 2, 1] {
        lab.event(n, Event::Health { vip: vip().address, healthy: false });
    }
    lab.run(3000);
    assert_eq!(lab.answering(), [1], "all are equally ill\n{}", lab.story());
    lab.event(3, Event::Health { vip: vip().address, healthy: true });
    lab.run(1600);
    assert_eq!(lab.answering(), [3]);
}

#[test]
fn a_witness_votes_and_never_holds() {
    let mut lab = Lab::new(&[]);
    for n in [1, 2, 3] {
        let mut o = ownership(n, &[1, 2, 3]);
        o.witness = n == 1;
        lab.start(n, o, memory(n));
    }
    lab.run(1000);
    assert_eq!(lab.answering(), [2]);
    lab.kill(2);
    lab.run(600);
    assert_eq!(lab.answering(), [3]);
    lab.kill(3);
    lab.run(5000);
    assert_eq!(lab.answering(), []);
}

#[test]
fn votes_do_not_count_between_different_lists() {
    let mut lab = Lab::new(&[]);
    lab.start(1, ownership(1, &[1, 2, 3]), memory(1));
    lab.start(2, ownership(2, &[1, 2, 4]), memory(2));
    lab.run(10_000);
    assert_eq!(lab.answering(), []);
    assert!(lab.notes.iter().any(|(_, _, n)| matches!(n, Note::VotersDiffer { .. })));
}

#[test]
fn a_stranger_keeps_the_address_from_being_taken() {
    let mut lab = Lab::new(&[1]);
    lab.run(10);
    lab.event(1, Event::Claimed { vip: vip().address, mac: [9; 6] });
    lab.run(2000);
    assert_eq!(lab.answering(), []);
    lab.run(3000);
    assert_eq!(lab.answering(), [1]);
}

#[test]
fn a_single_node_holds_and_leaves_nothing() {
    let mut lab = Lab::new(&[]);
    lab.start(1, Ownership { local: None, ..ownership(1, &[1]) }, Memory { longest_lease: None, ..memory(1) });
    lab.run(200);
    assert_eq!(lab.answering(), [1]);
    lab.event(1, Event::Stop);
    lab.run(10);
    assert!(lab.stopped.contains(&1) && lab.addresses.is_empty() && lab.gates.is_empty());
}

#[test]
fn start_as_leader_holds_alone_after_the_quiet_time_and_then_joins_the_others() {
    let mut lab = Lab::new(&[]);
    lab.start(1, Ownership { start_as_leader: true, ..ownership(1, &[1, 2, 3]) }, memory(1));
    lab.run(500);
    assert_eq!(lab.answering(), []);
    lab.run(200);
    assert_eq!(lab.answering(), [1]);
    assert_eq!(lab.nodes[&1].status(lab.now).vips[0].guarantee, status::Guarantee::Alone);
    for n in [2, 3] {
        lab.start(n, ownership(n, &[1, 2, 3]), memory(n));
    }
    lab.run(2000);
    assert_eq!(lab.answering(), [1]);
    assert_eq!(lab.nodes[&1].status(lab.now).vips[0].guarantee, status::Guarantee::QuorumFenced);
    assert_eq!(lab.gained(1), [Reason::Alone]);
    lab.kill(1);
    lab.run(600);
    assert_eq!(lab.answering(), [2]);
}

#[test]
fn start_as_leader_is_over_when_the_address_went_to_a_holder_with_a_majority() {
    let mut lab = Lab::new(&[]);
    lab.start(1, Ownership { start_as_leader: true, ..ownership(1, &[1, 2, 3]) }, memory(1));
    lab.run(1000);
    assert_eq!(lab.answering(), [1]);
    lab.event(1, Event::Health { vip: vip().address, healthy: false });
    lab.run(3000);
    for n in [2, 3] {
        lab.start(n, ownership(n, &[1, 2, 3]), memory(n));
    }
    lab.run(4000);
    assert_ne!(lab.answering(), [1], "the first node is ill, so it hands over at once\n{}", lab.story());
    assert_eq!(lab.nodes[&1].status(lab.now).vips[0].guarantee, status::Guarantee::QuorumFenced);
    lab.cut.insert(1);
    lab.event(1, Event::Health { vip: vip().address, healthy: true });
    // Two answering hosts fail the run itself.
    lab.run(5000);
    assert_ne!(lab.answering(), [1]);
}

#[test]
fn a_first_node_without_peers_adopts_the_list_of_those_who_join() {
    let mut lab = Lab::new(&[]);
    lab.start(1, Ownership { start_as_leader: true, ..ownership(1, &[1]) }, memory(1));
    lab.run(1000);
    assert_eq!(lab.answering(), [1]);
    assert_eq!(lab.nodes[&1].status(lab.now).vips[0].guarantee, status::Guarantee::Alone);
    lab.start(2, ownership(2, &[1, 2]), memory(2));
    lab.run(2000);
    assert_eq!((lab.answering(), lab.nodes[&1].status(lab.now).voters), (vec![1], 2));
    lab.start(3, ownership(3, &[1, 2, 3]), memory(3));
    lab.run(2000);
    assert_eq!((lab.answering(), lab.nodes[&1].status(lab.now).voters), (vec![1], 3));
    assert_eq!(lab.gained(1).len(), 1, "{}", lab.story());
}

#[test]
fn a_first_node_that_has_seen_a_majority_does_not_hold_alone_again() {
    let mut lab = Lab::new(&[]);
    let first = Ownership { start_as_leader: true, ..ownership(1, &[1]) };
    lab.start(1, first, Memory { majority_seen: true, ..memory(1) });
    lab.run(10_000);
    assert_eq!(lab.answering(), []);
    lab.start(2, ownership(2, &[1, 2]), memory(2));
    lab.run(1000);
    assert_eq!((lab.answering().len(), lab.nodes[&1].status(lab.now).voters), (1, 2));
}

#[test]
fn leftovers_of_others_are_removed_and_a_foreign_deletion_heals() {
    let mut lab = Lab::new(&[]);
    let left = HostAddress {
        interface: "eth0".into(),
        address: vip().address,
        prefix: 32,
        mine: false,
        permanent: true,
        secondary: true,
    };
    lab.start(1, ownership(1, &[1]), Memory { addresses: vec![left], ..memory(1) });
    lab.run(1000);
    assert!(lab.notes.iter().any(|(_, _, n)| matches!(n, Note::Leftover { .. })));
    assert_eq!(lab.answering(), [1]);
    lab.addresses.clear();
    lab.event(1, Event::AddressGone { interface: "eth0".into(), address: vip().address });
    assert!(lab.addresses.contains(&1), "put back at once");
}

#[test]
fn garbage_changes_nothing_but_counters() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(1000);
    for i in 0..200u8 {
        lab.event(2, Event::Datagram { from: address(i % 5), bytes: vec![i; usize::from(i)] });
    }
    lab.run(1000);
    assert_eq!((lab.answering(), lab.gained(1).len()), (vec![1], 1));
    assert!(lab.nodes[&2].status(lab.now).dropped.values().sum::<u64>() >= 200);
}

/// The vote that a holder gave to itself is forgotten, too: until its predecessor's gate is shut it votes for nobody.
#[test]
fn a_restarted_holder_does_not_vote_while_its_predecessors_gate_is_open() {
    let mut lab = Lab::new(&[1, 2, 3]);
    lab.run(1000);
    lab.kill(1);
    lab.run(5);
    let left = lab.gates[&1].left(lab.now);
    let restarted = Ownership { witness: true, ..ownership(1, &[1, 2, 3]) };
    lab.start(1, restarted, Memory { open_gates: vec![(vip().address, left)], ..memory(1) });
    for _ in 0..left.as_millis() {
        assert!(!lab.nodes[&1].status(lab.now).voting, "at {:?}", lab.now);
        lab.run(1);
    }
    lab.run(10);
    assert!(lab.nodes[&1].status(lab.now).voting, "everybody says that nothing rests on its votes");
}

#[test]
fn an_address_is_guarded_for_longer_than_it_stays_whatever_the_lease_becomes() {
    let leased = |lease| Ownership { lease: Duration::from_secs(lease), local: None, ..ownership(1, &[1]) };
    let mut lab = Lab::new(&[]);
    lab.start(1, leased(1), memory(1));
    lab.run(6_000);
    for lease in [5, 1, 3, 5] {
        // Each look at the guard is in the script's kernel.
        lab.event(1, Event::Configure(leased(lease)));
        lab.run(1_700);
        assert_eq!(lab.answering(), [1]);
    }
    lab.kill(1);
    lab.gates.clear();
    let left = HostAddress {
        interface: "eth0".into(),
        address: vip().address,
        prefix: 32,
        mine: true,
        permanent: false,
        secondary: false,
    };
    lab.start(1, leased(1), Memory { addresses: vec![left], ..memory(1) });
    lab.event(1, Event::Tick);
    lab.run(1_000);
    assert_eq!(lab.answering(), [1]);
}
