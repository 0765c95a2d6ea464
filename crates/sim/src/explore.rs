//! Every schedule of a small cluster that departs from the calm one at most so often.
//!
//! The calm schedule delivers each message in order and lets time go on when none is under way. A departure drops or
//! delays a message, kills a process, or pauses it, also between two of its steps. The search visits every placement
//! of departures within a number of steps; branches that meet a known state are not followed again.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::{self, Write};
use std::time::Duration;

use baton_core::keeper::Event;

use crate::clock::{Clock, Moment};
use crate::host::{Host, Output};
use crate::invariants;
use crate::mistake::Mistake;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::tamper;
use crate::trace::Trace;

/// One way of a message.
const WAY: Duration = Duration::from_micros(50);
/// Steps of one process without a pause; more means that it never comes to rest.
const STEPS_MAX: u32 = 5_000;

/// How far the search goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deliveries and advances of time.
    pub steps: u32,
    /// Departures from the calm schedule.
    pub departures: u32,
    /// States; the search stops there.
    pub states: usize,
}

/// What the search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// States visited.
    pub states: usize,
    /// Branches: schedules that differ.
    pub branches: usize,
    /// Branches that met a known state.
    pub met: usize,
    /// The limit of states was reached.
    pub cut: bool,
    /// The departures that lead to a broken invariant, and what was seen.
    pub violation: Option<(Vec<String>, String)>,
}

/// A departure from the calm schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departure {
    /// The next message is lost.
    Drop,
    /// The next message comes so much later.
    Delay(Duration),
    /// A process is killed and starts again so much later.
    Crash(usize, Duration),
    /// A process is paused after so many further steps, for so long.
    Pause(usize, u32, Duration),
}

#[derive(Clone, Debug)]
struct Message {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

/// What happens at a given time.
#[derive(Clone, Debug)]
enum Later {
    Deliver(Message),
    Start(usize),
    Resume(usize),
}

/// A state of the cluster.
#[derive(Clone, Debug)]
struct Cluster {
    at: Moment,
    hosts: Vec<Host>,
    flight: VecDeque<Message>,
    later: Vec<(Moment, Later)>,
    /// Steps until a pause, and its length.
    pauses: Vec<Option<(u32, Duration)>>,
    lives: u64,
    mistake: Option<Mistake>,
    trace: Trace,
}

/// FNV-1a of text.
struct Digest(u64);

impl Write for Digest {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// Three nodes with one address, and clocks as far apart as allowed.
#[must_use]
pub fn trio(lease: Duration) -> Plan {
    let mut plan = Plan::sized(1, 3, &mut Rng::new(1));
    plan.equalise();
    plan.vips.truncate(1);
    for (machine, rate) in plan.machines.iter_mut().zip([900_000, 1_100_000, 1_000_000]) {
        machine.clock = Clock { origin: 100_000_000_000, rate };
        machine.tick = Duration::from_millis(1);
        machine.links.truncate(1);
        let settings = &mut machine.settings;
        settings.lease = lease;
        settings.renewal = lease / 3;
        settings.vips.truncate(1);
        settings.vips.iter_mut().for_each(|vip| vip.interface = "eth0".into());
        settings.keys.clear();
        settings.refresh = None;
        settings.drain = Duration::ZERO;
    }
    plan
}

/// Searches from the start of the cluster, or from when it has been at rest for `calm`.
#[must_use]
pub fn explore(plan: &Plan, calm: Duration, limits: Limits, mistake: Option<Mistake>) -> Found {
    let mut root = Cluster::new(plan, mistake);
    while root.at < Moment(0) + calm {
        root.calm_step();
    }
    let mut search = Search { limits, seen: BTreeSet::new(), found: Found::default(), path: Vec::new() };
    search.visit(root, limits.steps, limits.departures);
    search.found.branches = search.seen.len();
    search.found
}

struct Search {
    limits: Limits,
    /// States in which branches began, with what they may still do.
    seen: BTreeSet<(u64, u32, u32)>,
    found: Found,
    path: Vec<String>,
}

impl Search {
    /// Goes along the calm schedule and branches off at every step.
    fn visit(&mut self, mut cluster: Cluster, mut steps: u32, departures: u32) {
        if !self.seen.insert((cluster.digest(), steps, departures)) {
            self.found.met += 1;
            return;
        }
        while !self.over(&cluster) && steps > 0 {
            if departures > 0 {
                for departure in cluster.departures() {
                    let mut other = cluster.clone();
                    other.depart(departure);
                    self.path.push(format!("{:?} {departure:?}", cluster.at));
                    self.visit(other, steps - 1, departures - 1);
                    if self.found.violation.is_some() || self.found.cut {
                        return;
                    }
                    self.path.pop();
                }
            }
            cluster.calm_step();
            steps -= 1;
        }
    }

    /// Looks at a state. True when the search is over.
    fn over(&mut self, cluster: &Cluster) -> bool {
        self.found.states += 1;
        self.found.cut = self.found.states >= self.limits.states;
        if let Some(seen) = cluster.wrong() {
            self.found.violation = Some((self.path.clone(), seen));
        }
        self.found.cut || self.found.violation.is_some()
    }
}

impl Cluster {
    fn new(plan: &Plan, mistake: Option<Mistake>) -> Cluster {
        let machine = |(id, m): (usize, &crate::plan::Machine)| Host::new(id, m, mistake);
        let hosts: Vec<Host> = plan.machines.iter().enumerate().map(machine).collect();
        let later = (0..hosts.len()).map(|id| (Moment(id as u64 * 1_000_000), Later::Start(id))).collect();
        let pauses = vec![None; hosts.len()];
        let trace = Trace::new(false, Vec::new());
        Cluster { at: Moment(0), hosts, flight: VecDeque::new(), later, pauses, lives: 0, mistake, trace }
    }

    /// What is wrong on the wire.
    fn wrong(&self) -> Option<String> {
        let vip = self.hosts[0].settings.vips.first()?.address;
        invariants::one::check(&self.hosts, vip, &invariants::answering(&self.hosts, self.at, vip))
    }

    fn digest(&self) -> u64 {
        let mut digest = Digest(0xcbf2_9ce4_8422_2325);
        // Writing to a digest does not fail.
        let _ = write!(digest, "{}{:?}{:?}{:?}", self.at.0, self.flight, self.later, self.pauses);
        for host in &self.hosts {
            let _ = write!(digest, "{:?}{:?}{:?}{}", host.kernel, host.process, host.disk, host.paused);
        }
        digest.0
    }

    fn departures(&self) -> Vec<Departure> {
        let lease = self.hosts[0].settings.lease;
        let mut all = Vec::new();
        if !self.flight.is_empty() {
            all.extend([Departure::Drop, Departure::Delay(lease / 10), Departure::Delay(lease)]);
        }
        for host in self.hosts.iter().filter(|host| host.process.is_some() && !host.paused) {
            all.extend([lease / 50, lease / 2, lease * 2].map(|wait| Departure::Crash(host.id, wait)));
            for steps in [0, 1, 3] {
                all.extend([lease / 2, lease * 2].map(|wait| Departure::Pause(host.id, steps, wait)));
            }
        }
        all
    }

    fn depart(&mut self, departure: Departure) {
        match departure {
            Departure::Drop => {
                self.flight.pop_front();
            }
            Departure::Delay(wait) => {
                if let Some(message) = self.flight.pop_front() {
                    self.later.push((self.at + wait, Later::Deliver(message)));
                }
            }
            Departure::Crash(node, wait) => {
                self.hosts[node].process = None;
                self.hosts[node].paused = false;
                self.later.push((self.at + wait, Later::Start(node)));
            }
            Departure::Pause(node, steps, wait) => self.pauses[node] = Some((steps, wait)),
        }
    }

    /// The next message arrives, or time goes on to when something is due.
    fn calm_step(&mut self) {
        if let Some(message) = self.flight.pop_front() {
            self.at = self.at + WAY;
            self.deliver(message);
        } else {
            self.advance();
        }
        for node in 0..self.hosts.len() {
            self.run_process(node);
        }
    }

    fn deliver(&mut self, message: Message) {
        let to = &self.hosts[message.to];
        let tampered = self.mistake.and_then(|mistake| tamper::delivered(mistake, to, &message.bytes));
        let from = self.hosts[message.from].address;
        self.hosts[message.to].push(Event::Datagram { from, bytes: tampered.unwrap_or(message.bytes) });
    }

    fn advance(&mut self) {
        let due = |host: &Host| host.runs().then(|| host.deadline()).flatten();
        let deadlines = self.hosts.iter().filter_map(due);
        let expiries = self.hosts.iter().filter_map(|h| h.kernel.next_expiry().map(|time| h.clock.when(time)));
        let later = self.later.iter().map(|(at, _)| *at);
        let Some(next) = deadlines.chain(expiries).chain(later).min() else { return };
        self.at = self.at.max(next);
        let mut rest = Vec::new();
        for (at, what) in std::mem::take(&mut self.later) {
            if at > self.at {
                rest.push((at, what));
                continue;
            }
            match what {
                Later::Deliver(message) => self.deliver(message),
                Later::Resume(node) => self.hosts[node].paused = false,
                Later::Start(node) => {
                    self.lives += 1;
                    let seed = self.lives.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ node as u64;
                    self.hosts[node].start(self.at, seed, &mut self.trace);
                }
            }
        }
        self.later.extend(rest);
        for host in &mut self.hosts {
            let now = host.now(self.at);
            host.kernel.expire(now);
        }
    }

    fn run_process(&mut self, node: usize) {
        let mut out = Vec::new();
        for _ in 0..STEPS_MAX {
            match &mut self.pauses[node] {
                Some((0, wait)) => {
                    self.later.push((self.at + *wait, Later::Resume(node)));
                    self.pauses[node] = None;
                    self.hosts[node].paused = true;
                    return;
                }
                Some((steps, _)) => *steps -= 1,
                None => {}
            }
            if !self.hosts[node].step(self.at, &mut out, &mut self.trace) {
                return;
            }
            for output in out.drain(..) {
                let Output::Datagram { to, bytes } = output else { continue };
                if let Some(to) = self.hosts.iter().position(|host| host.address == to) {
                    self.flight.push_back(Message { from: node, to, bytes });
                }
            }
        }
    }
}
