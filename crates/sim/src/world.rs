//! The world: machines, the network between them, and what happens when, all from one seed.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use baton_core::keeper::{Event, Mac, Marker};

use crate::agenda::{Agenda, Entry};
use crate::clock::Moment;
use crate::faults::Undo;
use crate::host::{Host, Output};
use crate::invariants::{Phase, Watch, left};
use crate::mistake::Mistake;
use crate::network::Network;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::tamper;
use crate::trace::Trace;

/// The stranger's link-layer address.
const STRANGER: Mac = [2, 0xff, 0, 0, 0, 1];
/// Steps of one process at one moment; more means that it never comes to rest.
const STEPS_MAX: u32 = 5_000;
/// The planner writes markers within this time.
const PLANNER_MAX: Duration = Duration::from_millis(50);

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum Action {
    /// A datagram arrives.
    Deliver {
        /// Sender.
        from: usize,
        /// Receiver.
        to: usize,
        /// Payload.
        bytes: Vec<u8>,
    },
    /// Somebody is heard to answer for an address.
    Claim {
        /// Who hears it.
        to: usize,
        /// The address.
        vip: IpAddr,
        /// Who answers.
        mac: Mac,
    },
    /// The planner of a life writes a marker.
    Write(usize, u64, Marker),
    /// The time to leave after a request to stop is over.
    Leave(usize, u64),
    /// The next fault.
    Fault,
    /// A fault ends.
    Undo(Undo),
}

/// The world.
#[derive(Clone, Debug)]
pub struct World {
    /// The plan.
    pub plan: Plan,
    /// True time.
    pub at: Moment,
    /// The machines.
    pub hosts: Vec<Host>,
    /// The network.
    pub network: Network,
    /// Addresses for which a stranger answers.
    pub strangers: BTreeSet<IpAddr>,
    /// What is ill where.
    pub ill: BTreeSet<(usize, IpAddr)>,
    /// Randomness.
    pub rng: Rng,
    /// What happened.
    pub trace: Trace,
    /// The invariants.
    pub watch: Watch,
    /// Steps so far.
    pub step: u64,
    /// What was planted.
    pub mistake: Option<Mistake>,
    agenda: Agenda<Action>,
    /// Which life each machine's process is in.
    pub lives: Vec<u64>,
}

impl World {
    /// The machines of a plan, booted, nothing running.
    #[must_use]
    pub fn new(plan: Plan, mistake: Option<Mistake>, lines: bool) -> World {
        let hosts: Vec<Host> =
            plan.machines.iter().enumerate().map(|(id, machine)| Host::new(id, machine, mistake)).collect();
        World {
            at: Moment(0),
            network: Network { weather: plan.weather.clone(), cuts: BTreeSet::new() },
            strangers: BTreeSet::new(),
            ill: BTreeSet::new(),
            rng: Rng::new(plan.seed ^ 0x5eed),
            trace: Trace::new(lines, plan.machines[0].settings.keys.clone()),
            watch: Watch::new(&plan),
            step: 0,
            mistake,
            agenda: Agenda::new(hosts.len()),
            lives: vec![0; hosts.len()],
            hosts,
            plan,
        }
    }

    /// Something is going to happen after `wait`.
    pub fn after(&mut self, wait: Duration, action: Action) {
        self.agenda.plan(self.at + wait, action);
    }

    /// Lets everything happen until `until`, or until an invariant breaks.
    pub fn run_until(&mut self, until: Moment) {
        while self.watch.violation.is_none() {
            let Some((at, entry)) = self.agenda.next(until) else { break };
            self.at = at;
            match entry {
                Entry::Wake(node) if self.agenda.wakes(node, at) => self.run_process(node),
                Entry::Wake(_) => {}
                Entry::Expire(node) => self.expire(node),
                Entry::Do(action) => self.act(action),
            }
            self.look();
        }
        self.at = self.at.max(until);
        self.look();
    }

    fn look(&mut self) {
        self.watch.look(self.at, self.step, &self.hosts);
    }

    fn expire(&mut self, node: usize) {
        let now = self.hosts[node].now(self.at);
        self.hosts[node].kernel.expire(now);
        self.wake_soon(node);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Deliver { from, to, bytes } => self.deliver(from, to, bytes),
            Action::Claim { to, vip, mac } => {
                if !self.hosts[to].frozen {
                    self.hosts[to].push(Event::Claimed { vip, mac });
                    self.wake_soon(to);
                }
            }
            Action::Write(node, life, marker) => {
                if self.lives[node] == life && self.hosts[node].process.is_some() {
                    self.hosts[node].remember(marker);
                }
            }
            Action::Leave(node, life) => self.leave_late(node, life),
            Action::Fault => self.next_fault(),
            Action::Undo(undo) => self.undo(undo),
        }
    }

    fn deliver(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.hosts[to].frozen || !self.connected(from, to) {
            return;
        }
        let bytes = match self.mistake {
            Some(mistake) => tamper::delivered(mistake, &self.hosts[to], &bytes).unwrap_or(bytes),
            None => bytes,
        };
        let from = self.hosts[from].address;
        self.hosts[to].push(Event::Datagram { from, bytes });
        self.wake_soon(to);
    }

    /// Whether the links of both are up and the way is not cut.
    fn connected(&self, from: usize, to: usize) -> bool {
        let up = |id: usize| self.hosts[id].kernel.links.get("eth0").is_some_and(|link| link.up);
        up(from) && up(to) && self.network.passes(from, to)
    }

    /// The process is scheduled as soon as the machine gets to it.
    pub fn wake_soon(&mut self, node: usize) {
        let wait = self.rng.between(Duration::ZERO, self.plan.latency);
        self.agenda.wake_at(self.at, node, self.at + wait);
    }

    /// Lets a process run until it has nothing to do or is paused.
    fn run_process(&mut self, node: usize) {
        let mut out = Vec::new();
        for _ in 0..STEPS_MAX {
            if self.watch.phase == Phase::Faults && self.rng.chance(self.plan.mix.pauses) && self.hosts[node].runs() {
                self.pause(node);
                return;
            }
            if !self.hosts[node].step(self.at, &mut out, &mut self.trace) {
                self.agenda.rest(self.at, &self.hosts[node], self.plan.latency, &mut self.rng);
                return;
            }
            self.step += 1;
            self.look();
            for output in out.drain(..) {
                self.output(node, output);
            }
        }
        self.watch.broken("effects settle", self.step, self.at, format!("n{node} never comes to rest"));
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Datagram { to, bytes } => self.send(node, to, bytes),
            Output::Announce(vip) => {
                for to in (0..self.hosts.len()).filter(|to| *to != node) {
                    self.claim(node, to, vip);
                }
            }
            Output::Probe(vip) => self.probe(node, vip),
            Output::Remember(marker) => {
                let wait = self.rng.between(Duration::ZERO, PLANNER_MAX);
                self.after(wait, Action::Write(node, self.lives[node], marker));
            }
            // No address of these clusters hangs on a Lease.
            Output::Lease { .. } => {}
            Output::Stopped => {
                let untroubled = self.hosts[node].failures == 0 && self.watch.phase > Phase::Faults;
                if untroubled && let Some(seen) = left::check(&mut self.hosts[node], self.at) {
                    self.watch.broken(left::RULE, self.step, self.at, seen);
                }
            }
        }
    }

    fn send(&mut self, node: usize, to: SocketAddr, bytes: Vec<u8>) {
        let Some(to) = self.hosts.iter().position(|host| host.address == to) else { return };
        if !self.connected(node, to) {
            return;
        }
        for delay in self.network.carry(node, to, &mut self.rng) {
            self.after(delay, Action::Deliver { from: node, to, bytes: bytes.clone() });
        }
    }

    /// Machine `to` hears that machine `from` has an address.
    fn claim(&mut self, from: usize, to: usize, vip: IpAddr) {
        let Some(mac) = self.mac(from, vip) else { return };
        if self.segment(from, to, vip) {
            let delay = self.rng.between(self.plan.weather.delay_min, self.plan.weather.delay_max);
            self.after(delay, Action::Claim { to, vip, mac });
        }
    }

    fn probe(&mut self, node: usize, vip: IpAddr) {
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            let host = &self.hosts[other];
            if !host.frozen && host.kernel.answers_until(host.now(self.at), vip).is_some() {
                self.claim(other, node, vip);
            }
        }
        if self.strangers.contains(&vip) {
            self.after(self.plan.weather.delay_max, Action::Claim { to: node, vip, mac: STRANGER });
        }
    }

    /// The stranger makes itself known.
    pub fn stranger_announces(&mut self, vip: IpAddr) {
        for to in 0..self.hosts.len() {
            self.after(self.plan.weather.delay_min, Action::Claim { to, vip, mac: STRANGER });
        }
    }

    fn interface(&self, node: usize, vip: IpAddr) -> Option<&str> {
        let all = &self.plan.machines[node].settings.vips;
        all.iter().find(|v| v.address == vip).map(|v| v.interface.as_str())
    }

    fn mac(&self, node: usize, vip: IpAddr) -> Option<Mac> {
        self.hosts[node].kernel.links.get(self.interface(node, vip)?)?.mac
    }

    /// Whether two machines hear each other on the segment of an address.
    fn segment(&self, from: usize, to: usize, vip: IpAddr) -> bool {
        let up = |id: usize| {
            let link = self.interface(id, vip).and_then(|name| self.hosts[id].kernel.links.get(name));
            link.is_some_and(|link| link.up)
        };
        up(from) && up(to) && self.network.passes(from, to)
    }

    /// A process starts, unless one runs.
    pub fn start(&mut self, node: usize) {
        if let Some(process) = &self.hosts[node].process {
            if process.stopping {
                self.after(PLANNER_MAX, Action::Undo(Undo::Start(node)));
            }
            return;
        }
        self.lives[node] += 1;
        let seed = self.rng.bits();
        self.hosts[node].start(self.at, seed, &mut self.trace);
        if self.plan.health {
            for vip in self.plan.vips.clone() {
                let healthy = !self.ill.contains(&(node, vip));
                self.hosts[node].command(Event::Health { vip, healthy });
            }
        }
        self.wake_soon(node);
    }

    /// A process is asked to stop.
    pub fn stop(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let wait = host.settings.drain + Duration::from_secs(2);
        host.command(Event::Stop);
        if let Some(process) = &mut host.process {
            process.stopping = true;
        }
        self.after(wait, Action::Leave(node, self.lives[node]));
        self.wake_soon(node);
    }

    /// The driver waits for a graceful stop only so long.
    fn leave_late(&mut self, node: usize, life: u64) {
        if self.lives[node] != life || self.hosts[node].process.is_none() {
            return;
        }
        if !self.hosts[node].runs() {
            return self.after(PLANNER_MAX, Action::Leave(node, life));
        }
        if self.watch.phase >= Phase::HandOver {
            self.watch.broken(left::RULE, self.step, self.at, format!("n{node} was asked to stop and never left"));
        }
        for vip in self.plan.vips.clone() {
            self.hosts[node].kernel.remove_address(vip);
        }
        self.hosts[node].leave();
    }

    /// Drops messages that are on their way for longer than on a normal day.
    pub fn drop_late(&mut self) {
        let limit = self.at + self.plan.weather.delay_max;
        self.agenda.retain(|at, action| at <= limit || !matches!(action, Action::Deliver { .. }));
    }

    /// Takes planned faults and their ends off the queue; the caller ends them all.
    pub fn forget_faults(&mut self) {
        self.agenda.retain(|_, action| !matches!(action, Action::Fault | Action::Undo(_)));
    }
}
