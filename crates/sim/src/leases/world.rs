//! Machines, an API server between them, and what happens when, all from one seed.

use std::time::Duration;

use baton_core::keeper::{Event, GateOp};
use baton_core::lease::{LeaseName, LeaseOp, LeaseReply, LeaseSettings};

use super::LeaseMistake;
use super::follower::Follower;
use super::plan::LeasePlan;
use super::store::Store;
use crate::agenda::{Agenda, Entry};
use crate::clock::Moment;
use crate::host::{Host, Output};
use crate::invariants::{Answering, answering, guarded, left, one};
use crate::mistake::Mistake;
use crate::rng::Rng;
use crate::trace::Trace;

/// Steps of one process at one moment; more means that it never comes to rest.
const STEPS_MAX: u32 = 5_000;
/// A sender of requests gives one up after this part of the Lease.
pub(super) const TIMEOUT: u32 = 7;
/// What addresses are guarded for before anything is known about their Lease.
const SHORT_GUARD: Duration = Duration::from_secs(6);
/// How long after its start a process may be told what it is to keep, as part of the Lease.
const NAMED_LATE: f64 = 0.5;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A request arrives, unless it is lost on the way.
    Ask {
        from: usize,
        life: u64,
        name: LeaseName,
        request: u64,
        op: LeaseOp,
    },
    /// Something for a process to take in.
    Tell {
        to: usize,
        life: u64,
        event: Event,
    },
    Fault,
    Undo(super::run::Undo),
    /// Another program's candidate asks, or learns that it has it.
    FollowerAsks(usize, u64),
    FollowerKnows(usize, u64),
}

/// The world.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) plan: LeasePlan,
    pub(super) at: Moment,
    pub(super) hosts: Vec<Host>,
    pub(super) followers: Vec<Follower>,
    /// Which life each candidate of another program is in, and whether it reaches the API.
    pub(super) follower_lives: Vec<(u64, bool)>,
    pub(super) store: Store,
    pub(super) rng: Rng,
    pub(super) trace: Trace,
    pub(super) violation: Option<String>,
    pub(super) mistake: Option<LeaseMistake>,
    /// Until when nodes are cut off from the API, and their watches show nothing.
    pub(super) cut: Vec<Moment>,
    pub(super) stale: Vec<Moment>,
    /// When the last event of a node's watch arrives: they keep their order.
    shown: Vec<Moment>,
    pub(super) lives: Vec<u64>,
    /// Who answered for each address when it was looked at last, and how long somebody did.
    pub(super) answered: Duration,
    pub(super) looked: Duration,
    last: Vec<(Moment, Option<Moment>)>,
    /// Nobody may be without an answer.
    pub(super) steady: bool,
    agenda: Agenda<Action>,
}

impl World {
    pub(super) fn new(plan: LeasePlan, mistake: Option<LeaseMistake>, lines: bool) -> World {
        let from_reply = (mistake == Some(LeaseMistake::UntilFromReply)).then_some(Mistake::ValidityFromReply);
        let guard_most = (mistake == Some(LeaseMistake::ShortGuard)).then_some(SHORT_GUARD);
        let host =
            |(id, machine): (usize, &crate::plan::Machine)| Host { guard_most, ..Host::new(id, machine, from_reply) };
        let hosts: Vec<Host> = plan.machines.iter().enumerate().map(host).collect();
        let follower = |(id, clock): (usize, &crate::clock::Clock)| {
            Follower::new(format!("other-{id}"), *clock, plan.leases[0].name.clone(), plan.duration)
        };
        let size = hosts.len();
        World {
            at: Moment(0),
            followers: plan.followers.iter().enumerate().map(follower).collect(),
            follower_lives: vec![(0, true); plan.followers.len()],
            hosts,
            store: Store::default(),
            rng: Rng::new(plan.seed ^ 0x5eed),
            trace: Trace::new(lines, Vec::new()),
            violation: None,
            mistake,
            cut: vec![Moment(0); size],
            stale: vec![Moment(0); size],
            shown: vec![Moment(0); size],
            lives: vec![0; size],
            answered: Duration::ZERO,
            looked: Duration::ZERO,
            last: vec![(Moment(0), None); plan.vips.len()],
            steady: false,
            agenda: Agenda::new(size),
            plan,
        }
    }

    pub(super) fn after(&mut self, wait: Duration, action: Action) {
        self.agenda.plan(self.at + wait, action);
    }

    pub(super) fn forget_faults(&mut self) {
        self.agenda.retain(|_, action| !matches!(action, Action::Fault | Action::Undo(_)));
    }

    pub(super) fn run_until(&mut self, until: Moment) {
        while self.violation.is_none() {
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

    pub(super) fn broken(&mut self, seen: String) {
        if self.violation.is_none() {
            self.violation = Some(format!("{seen} at {:?}", self.at));
        }
    }

    /// Looks at the wire.
    fn look(&mut self) {
        if let Some(seen) = guarded::check(&self.hosts) {
            self.broken(format!("{}: {seen}", guarded::RULE));
        }
        for index in 0..self.plan.vips.len() {
            let vip = self.plan.vips[index].clone();
            let who: Vec<Answering> = answering(&self.hosts, self.at, vip.address);
            if let Some(seen) = one::check(&self.hosts, vip.address, &who) {
                self.broken(format!("never two answer: {seen}"));
            }
            let leads = self.followers.iter().find(|f| index % self.plan.leases.len() == 0 && f.leads(self.at));
            if let (Some(other), Some(ours)) = (leads, who.first()) {
                let seen = format!("never beside another program: n{} answers, {} leads", ours.node, other.identity);
                self.broken(seen);
            }
            let (last, until) = self.last[index];
            self.looked += self.at.since(last);
            self.answered += until.map_or(Duration::ZERO, |until| until.min(self.at).since(last));
            if self.steady && until.is_none_or(|until| until < self.at) {
                self.broken(format!("exactly one answers after recovery: nobody for {}", vip.address));
            }
            self.last[index] = (self.at, who.iter().map(|one| one.until).max());
        }
    }

    fn expire(&mut self, node: usize) {
        let now = self.hosts[node].now(self.at);
        self.hosts[node].kernel.expire(now);
        self.wake_soon(node);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Ask { from, life, name, request, op } => self.asked(from, life, name, request, op),
            Action::Tell { to, life, event } => {
                if self.lives[to] == life {
                    self.hosts[to].command(event);
                    self.wake_soon(to);
                }
            }
            Action::Fault => self.next_fault(),
            Action::Undo(undo) => self.undo(undo),
            Action::FollowerAsks(id, life) => self.follower_asks(id, life),
            Action::FollowerKnows(id, life) => {
                if self.follower_lives[id] == (life, true) {
                    self.followers[id].succeeded(self.at);
                }
            }
        }
    }

    fn way(&mut self) -> Duration {
        self.rng.between(Duration::from_micros(50), self.plan.delay)
    }

    fn reached(&self, node: usize) -> bool {
        self.cut[node] <= self.at && !self.hosts[node].frozen
    }

    /// A request arrives at the store.
    fn asked(&mut self, from: usize, life: u64, name: LeaseName, request: u64, op: LeaseOp) {
        if self.reached(from) && !self.rng.chance(self.plan.loss / 2) {
            let stamp = self.hosts[from].now(self.at).0;
            let releases = matches!(&op, LeaseOp::Replace { record, .. } if record.holder.is_empty());
            let (reply, written) = match op {
                LeaseOp::Replace { record, .. } if releases && self.mistake == Some(LeaseMistake::LateRelease) => {
                    (self.store.write(&name, record, stamp), true)
                }
                op => self.store.perform(&name, op, stamp),
            };
            if written {
                self.show(&name);
            }
            if !self.rng.chance(self.plan.loss / 2) {
                let wait = self.way();
                return self.tell(wait, from, life, Event::LeaseReplied { name, request, reply });
            }
        }
        let reply = LeaseReply::Unknown("timed out".into());
        let wait = self.plan.duration / TIMEOUT;
        self.tell(wait, from, life, Event::LeaseReplied { name, request, reply });
    }

    fn tell(&mut self, wait: Duration, to: usize, life: u64, event: Event) {
        let event = self.as_seen_by(to, event);
        self.after(wait, Action::Tell { to, life, event });
    }

    /// A node that judges records by its wall clock sees an old one as released.
    fn as_seen_by(&self, node: usize, mut event: Event) -> Event {
        if self.mistake == Some(LeaseMistake::WallClock) {
            let record = match &mut event {
                Event::LeaseSeen { state: Some((record, _)), .. }
                | Event::LeaseReplied { reply: LeaseReply::Stored { record, .. }, .. } => record,
                _ => return event,
            };
            let renewed: u64 = record.renew_time.parse().unwrap_or(u64::MAX);
            let age = self.hosts[node].now(self.at).0.saturating_sub(renewed);
            if Duration::from_nanos(age) > self.plan.duration && record.holder != format!("n{node}") {
                record.holder.clear();
            }
        }
        event
    }

    /// All watches are told, in order.
    pub(super) fn show(&mut self, name: &LeaseName) {
        for node in 0..self.hosts.len() {
            let way = self.way();
            let arrives = (self.at + way)
                .max(self.stale[node])
                .max(self.cut[node])
                .max(self.shown[node] + Duration::from_nanos(1));
            self.shown[node] = arrives;
            let event = Event::LeaseSeen { name: name.clone(), state: self.store.state(name) };
            let (wait, life) = (arrives.since(self.at), self.lives[node]);
            self.tell(wait, node, life, event);
        }
    }

    pub(super) fn wake_soon(&mut self, node: usize) {
        let wait = self.rng.between(Duration::ZERO, self.plan.latency);
        self.agenda.wake_at(self.at, node, self.at + wait);
    }

    fn run_process(&mut self, node: usize) {
        let mut out = Vec::new();
        for _ in 0..STEPS_MAX {
            if self.hosts[node].runs() && self.rng.chance(self.plan.pauses) {
                return self.pause_between(node);
            }
            if !self.hosts[node].step(self.at, &mut out, &mut self.trace) {
                return self.agenda.rest(self.at, &self.hosts[node], self.plan.latency, &mut self.rng);
            }
            self.look();
            for output in out.drain(..) {
                self.output(node, output);
            }
        }
        self.broken(format!("n{node} never comes to rest"));
    }

    fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Lease { name, request, op } => {
                let releases = matches!(&op, LeaseOp::Replace { record, .. } if record.holder.is_empty());
                let late = releases && self.mistake == Some(LeaseMistake::LateRelease);
                let most = if late { self.plan.duration * 2 } else { Duration::ZERO };
                let wait = self.way() + self.rng.between(Duration::ZERO, most);
                let life = self.lives[node];
                self.after(wait, Action::Ask { from: node, life, name, request, op });
            }
            Output::Stopped => {
                let clean = self.hosts[node].failures == 0;
                if clean && let Some(seen) = left::check(&mut self.hosts[node], self.at) {
                    self.broken(format!("nothing is left: {seen}"));
                }
            }
            Output::Probe(_) | Output::Announce(_) | Output::Datagram { .. } | Output::Remember(_) => {}
        }
    }

    /// A process starts, unless one runs.
    pub(super) fn start(&mut self, node: usize) {
        if self.hosts[node].process.is_some() {
            return;
        }
        self.lives[node] += 1;
        let seed = self.rng.bits();
        self.hosts[node].start(self.at, seed, &mut self.trace);
        let campaigns = self.plan.leases.clone().into_iter().map(|lease| {
            let identity = format!("n{node}");
            Event::Campaign(LeaseSettings { identity, ..lease })
        });
        let puts = self.plan.vips.clone().into_iter().map(Event::Put);
        // Leases and addresses become known in any order; addresses maybe later, when they were read from the API.
        if self.rng.chance(250_000) {
            campaigns.for_each(|event| self.hosts[node].command(event));
            for event in puts {
                let wait = self.rng.between(Duration::ZERO, self.plan.duration.mul_f64(NAMED_LATE));
                self.tell(wait, node, self.lives[node], event);
            }
        } else if self.rng.chance(500_000) {
            campaigns.chain(puts).for_each(|event| self.hosts[node].command(event));
        } else {
            puts.chain(campaigns).for_each(|event| self.hosts[node].command(event));
        }
        self.wake_soon(node);
    }

    /// The process is killed. What it asked for is still on its way.
    pub(super) fn kill(&mut self, node: usize) {
        self.hosts[node].process = None;
        self.hosts[node].paused = false;
    }

    /// The driver waits for a graceful stop only so long.
    pub(super) fn leave(&mut self, node: usize, life: u64) {
        if self.lives[node] != life || self.hosts[node].process.is_none() || !self.hosts[node].runs() {
            return;
        }
        for vip in self.plan.vips.clone() {
            self.hosts[node].kernel.remove_address(vip.address);
            let mut call = crate::gate::Call::new(vip, GateOp::Shut, baton_core::Time::ZERO, self.plan.duration, None);
            let now = self.hosts[node].now(self.at);
            call.step(now, &mut self.hosts[node].kernel);
        }
        self.hosts[node].leave();
    }
}
