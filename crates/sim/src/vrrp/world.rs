//! The network between the nodes, faults, and one run of one seed: faults, recovery, rest.

mod judge;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use baton_core::vrrp::{Effect, Event};
use baton_wire::vrrp::{Advert, GROUP_V4};

use super::keepalived::Act;
use super::node::{Node, Process};
use super::plan::{Fault, GroupPlan};
use super::{GroupMistake, GroupReport};
use crate::clock::Moment;
use crate::rng::Rng;

/// Faults go on for so many intervals, and at least for so long.
const FAULTS: (u32, Duration) = (60, Duration::from_secs(15));
/// Packets that wait for a process.
const INBOX: usize = 64;
/// Lines of the trace that are kept.
const LINES: usize = 200;
/// Chance that a packet is lost while some are, per million.
const LOSS: u32 = 300_000;
/// A node whose kernel refused gates asks again after this: rest lasts longer.
const REFUSED: Duration = Duration::from_secs(11);

#[derive(Clone, Debug)]
enum Action {
    Wake(usize),
    Deliver(usize, IpAddr, Vec<u8>),
    /// The client hears an announcement.
    Learn(usize),
    Fault,
    Undo(Undo),
    /// All faults are over.
    Calm,
    /// The end.
    Rest,
}

#[derive(Clone, Debug)]
enum Undo {
    Start(usize),
    Resume(usize),
    LinkUp(usize),
    Unmute(usize),
}

struct World {
    plan: GroupPlan,
    rng: Rng,
    at: Moment,
    number: u64,
    queue: BTreeMap<(Moment, u64), Action>,
    nodes: Vec<Node>,
    wakes: Vec<Option<Moment>>,
    /// From, to; the last one is the client.
    cut: Vec<Vec<Moment>>,
    loss: Moment,
    /// When an advert from one to another was last lost.
    trouble: Vec<Vec<Option<Moment>>>,
    /// Where the client believes the address to be, and since when.
    client: Option<(usize, Moment)>,
    /// When an advert of a node last failed to reach all others.
    unsaid: Vec<Option<Moment>>,
    /// When an announcement of a node last failed to reach the client.
    unheard: Vec<Option<Moment>>,
    calm: bool,
    over: bool,
    violation: Option<String>,
    answered: Duration,
    looked: Duration,
    lines: VecDeque<String>,
}

/// One run of one plan.
#[must_use]
pub fn run(plan: GroupPlan) -> GroupReport {
    let mut world = World::new(plan);
    while !world.over && world.violation.is_none() {
        let Some(((at, _), action)) = world.queue.pop_first() else { break };
        world.pass(at);
        world.act(action);
        world.judge();
    }
    let World { plan, violation, answered, looked, lines, .. } = world;
    GroupReport { seed: plan.seed, violation, answered, looked, lines: lines.into() }
}

impl World {
    fn new(plan: GroupPlan) -> World {
        let nodes: Vec<Node> =
            plan.nodes.iter().enumerate().map(|(i, (kind, prio, clock))| Node::new(i, *kind, *prio, *clock)).collect();
        let n = nodes.len();
        let mut world = World {
            rng: Rng::new(plan.seed ^ 0x0076_7272_7000),
            at: Moment::default(),
            number: 0,
            queue: BTreeMap::new(),
            wakes: vec![None; n],
            cut: vec![vec![Moment::default(); n + 1]; n + 1],
            loss: Moment::default(),
            trouble: vec![vec![None; n]; n],
            client: None,
            unsaid: vec![None; n],
            unheard: vec![None; n],
            calm: false,
            over: false,
            violation: None,
            answered: Duration::ZERO,
            looked: Duration::ZERO,
            lines: VecDeque::new(),
            nodes,
            plan,
        };
        for node in 0..n {
            let later = world.rng.between(Duration::ZERO, world.plan.interval * 4);
            world.after(later, Action::Undo(Undo::Start(node)));
        }
        let faults = (world.plan.interval * FAULTS.0).max(FAULTS.1);
        world.after(world.plan.interval * 5, Action::Fault);
        world.after(faults, Action::Calm);
        world
    }

    /// No advert for so long and a backup has certainly taken over, by the slowest clock.
    fn window(&self) -> Duration {
        self.plan.interval * 5
    }

    fn after(&mut self, wait: Duration, action: Action) {
        self.number += 1;
        self.queue.insert((self.at + wait, self.number), action);
    }

    fn say(&mut self, what: &str) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:?} {what}", self.at));
    }

    fn pass(&mut self, at: Moment) {
        let span = at.since(self.at);
        if !self.calm && self.at.0 > 0 {
            self.looked += span;
            if self.nodes.iter().any(|n| n.answers(self.at)) {
                self.answered += span;
            }
        }
        self.at = at;
        for node in self.nodes.iter_mut().filter(|n| n.paused || matches!(n.process, Process::None)) {
            node.absent = Some(at);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Wake(node) => {
                if self.wakes[node] == Some(self.at) {
                    self.wakes[node] = None;
                    self.work(node);
                }
            }
            Action::Deliver(node, source, bytes) => self.deliver(node, source, bytes),
            Action::Learn(node) => self.client = Some((node, self.at)),
            Action::Fault if !self.calm => self.next_fault(),
            Action::Fault => {}
            Action::Undo(undo) => self.undo(&undo),
            Action::Calm => self.quieten(),
            Action::Rest => self.rest(),
        }
    }

    fn deliver(&mut self, node: usize, source: IpAddr, bytes: Vec<u8>) {
        let n = &mut self.nodes[node];
        if matches!(n.process, Process::None) || !n.link {
            return;
        }
        if n.inbox.len() == INBOX {
            n.inbox.pop_front();
            self.trouble.iter_mut().for_each(|from| from[node] = Some(self.at));
        }
        let destination = GROUP_V4.into();
        n.inbox.push_back(Event::Advert { interface: "eth0".into(), source, destination, ttl: 255, bytes });
        self.work(node);
    }

    /// Lets a process do what it can do now.
    fn work(&mut self, node: usize) {
        while !self.nodes[node].paused {
            let at = self.at;
            let n = &mut self.nodes[node];
            if let Some((effect, decided)) = n.backlog.pop_front() {
                if self.plan.between > 0 && !self.calm && self.rng.chance(self.plan.between) {
                    self.nodes[node].backlog.push_front((effect, decided));
                    self.pause(node);
                    break;
                }
                self.perform(node, &effect, decided);
                continue;
            }
            let due = n.deadline().is_some_and(|d| d <= at);
            let early = due && self.plan.mistake == Some(GroupMistake::TimersFirst);
            let next = n.results.pop_front();
            let event = match next {
                Some(event) => event,
                None if early => Event::Tick,
                None => match n.inbox.pop_front() {
                    Some(event) => event,
                    None if due => Event::Tick,
                    None => break,
                },
            };
            self.step(node, event);
        }
        self.wake(node);
    }

    fn step(&mut self, node: usize, event: Event) {
        let n = &mut self.nodes[node];
        let now = n.now(self.at);
        let mut acts = Vec::new();
        let mut stopped = false;
        match &mut n.process {
            Process::None => n.results.clear(),
            Process::Baton(routers) => {
                let mut out = Vec::new();
                routers.handle(now, event, &mut out);
                stopped = out.contains(&Effect::Stopped);
                n.backlog.extend(out.into_iter().map(|effect| (effect, now)));
            }
            Process::Keepalived(k) => match event {
                Event::Advert { source, destination, bytes, .. } => {
                    if let Ok(advert) = Advert::parse(&bytes, source, destination) {
                        k.hear(now, source, &advert, &mut acts);
                    }
                }
                Event::Stop => {
                    k.stop(&mut acts);
                    stopped = true;
                }
                _ => k.tick(now, &mut acts),
            },
        }
        self.act_as_keepalived(node, acts);
        if stopped {
            // What is decided before the end is done.
            while let Some((effect, decided)) = self.nodes[node].backlog.pop_front() {
                self.perform(node, &effect, decided);
            }
            self.say(&format!("{node} left"));
            self.nodes[node].kill();
        }
    }

    fn act_as_keepalived(&mut self, node: usize, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Send(advert) => {
                    let bytes = advert.emit(self.nodes[node].own, GROUP_V4.into());
                    self.transmit(node, &bytes);
                }
                Act::Address(there) => self.nodes[node].set_address(there),
                Act::Announce => self.announce(node),
            }
        }
    }

    fn perform(&mut self, node: usize, effect: &Effect, decided: baton_core::Time) {
        match effect {
            Effect::Send { router, bytes, .. } => {
                let left = self.transmit(node, bytes);
                let ok = left || self.plan.mistake == Some(GroupMistake::SentAnyway);
                self.nodes[node].results.push_back(Event::Sent { router: router.clone(), ok });
            }
            Effect::Announce { .. } => self.announce(node),
            Effect::Note(note) => self.say(&format!("{node}: {note}")),
            Effect::Notify { what, priority, .. } => self.say(&format!("{node}: {what:?} {priority}")),
            _ => {
                let (at, mistake) = (self.at, self.plan.mistake);
                self.nodes[node].perform(effect, decided, at, mistake);
            }
        }
    }

    /// False when the packet did not leave.
    fn transmit(&mut self, from: usize, bytes: &[u8]) -> bool {
        let n = &self.nodes[from];
        if n.mute || !n.link {
            self.unsaid[from] = Some(self.at);
            return false;
        }
        let source = n.own;
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let lost = self.at < self.loss && self.rng.chance(LOSS);
            if lost || self.at < self.cut[from][to] || !self.nodes[to].link {
                self.trouble[from][to] = Some(self.at);
                self.unsaid[from] = Some(self.at);
                continue;
            }
            let way = self.rng.between(Duration::ZERO, self.plan.delay);
            self.after(way, Action::Deliver(to, source, bytes.to_vec()));
        }
        true
    }

    fn announce(&mut self, from: usize) {
        // The gate is in its way, too.
        if !self.nodes[from].answers(self.at) {
            return;
        }
        if self.at < self.cut[from][self.nodes.len()] {
            self.unheard[from] = Some(self.at);
        } else {
            self.after(self.plan.delay, Action::Learn(from));
        }
    }

    fn wake(&mut self, node: usize) {
        let n = &self.nodes[node];
        let lapse = n.lapses().filter(|at| *at > self.at);
        let Some(at) = n.deadline().into_iter().chain(lapse).min().map(|at| at.max(self.at)) else { return };
        if self.wakes[node].is_none_or(|known| at < known || known < self.at) {
            self.wakes[node] = Some(at);
            self.number += 1;
            self.queue.insert((at, self.number), Action::Wake(node));
        }
    }

    fn length(&mut self) -> Duration {
        let (from, to) = self.plan.lasts;
        self.rng.between(self.plan.interval.mul_f64(from), self.plan.interval.mul_f64(to))
    }

    fn pause(&mut self, node: usize) {
        let length = self.length();
        self.say(&format!("{node} pauses for {length:?}"));
        self.nodes[node].paused = true;
        self.after(length, Action::Undo(Undo::Resume(node)));
    }

    fn next_fault(&mut self) {
        let (from, to) = self.plan.every;
        let wait = self.rng.between(self.plan.interval.mul_f64(from), self.plan.interval.mul_f64(to));
        self.after(wait, Action::Fault);
        let fault = self.plan.faults[self.rng.below(self.plan.faults.len())];
        let holder = self.nodes.iter().position(|n| n.answers(self.at));
        let random = self.rng.below(self.nodes.len());
        let node = if self.rng.chance(600_000) { holder.unwrap_or(random) } else { random };
        let length = self.length();
        self.say(&format!("{fault:?} at {node} for {length:?}"));
        self.bring(fault, node, length);
        self.work(node);
    }

    fn bring(&mut self, fault: Fault, node: usize, length: Duration) {
        let end = self.at + length;
        match fault {
            Fault::Crash => {
                self.nodes[node].kill();
                self.after(length, Action::Undo(Undo::Start(node)));
            }
            Fault::Stop => {
                if !matches!(self.nodes[node].process, Process::None) && !self.nodes[node].paused {
                    self.step(node, Event::Stop);
                }
                self.after(length + Duration::from_secs(4), Action::Undo(Undo::Start(node)));
            }
            Fault::Pause => self.pause(node),
            Fault::Partition => {
                // The client is on one of the sides.
                let side: Vec<bool> = (0..=self.nodes.len()).map(|i| i == node || self.rng.chance(500_000)).collect();
                for from in 0..side.len() {
                    for to in 0..side.len() {
                        if side[from] != side[to] {
                            self.cut[from][to] = end;
                        }
                    }
                }
            }
            Fault::OneWay => {
                let to = self.rng.below(self.nodes.len());
                self.cut[node][to] = end;
            }
            Fault::Loss => self.loss = end,
            Fault::Mute => {
                self.nodes[node].mute = true;
                self.after(length, Action::Undo(Undo::Unmute(node)));
            }
            Fault::LinkDown => {
                self.set_link(node, false);
                self.after(length, Action::Undo(Undo::LinkUp(node)));
            }
            Fault::Refuse => self.nodes[node].failures = 1 + u32::try_from(self.rng.below(4)).unwrap_or(0),
            Fault::Delete => self.nodes[node].delete(),
        }
    }

    fn set_link(&mut self, node: usize, up: bool) {
        let n = &mut self.nodes[node];
        n.link = up;
        if matches!(n.process, Process::Baton(_)) {
            let event = Event::Link(n.link_event());
            n.results.push_back(event);
        }
        for other in 0..self.nodes.len() {
            self.trouble[node][other] = Some(self.at);
            self.trouble[other][node] = Some(self.at);
        }
    }

    fn undo(&mut self, undo: &Undo) {
        let node = match *undo {
            Undo::Start(node) => {
                if matches!(self.nodes[node].process, Process::None) {
                    let (plan, at) = (self.plan.clone(), self.at);
                    self.nodes[node].start(&plan, at);
                    self.say(&format!("{node} starts"));
                }
                node
            }
            Undo::Resume(node) => {
                self.nodes[node].paused = false;
                node
            }
            Undo::LinkUp(node) => {
                self.set_link(node, true);
                node
            }
            Undo::Unmute(node) => {
                self.nodes[node].mute = false;
                node
            }
        };
        self.work(node);
    }

    fn quieten(&mut self) {
        self.say("calm");
        self.calm = true;
        self.loss = self.at;
        self.cut.iter_mut().flatten().for_each(|until| *until = self.at);
        for node in 0..self.nodes.len() {
            self.nodes[node].failures = 0;
            if !self.nodes[node].link {
                self.undo(&Undo::LinkUp(node));
            }
            self.undo(&Undo::Unmute(node));
            self.undo(&Undo::Resume(node));
            self.undo(&Undo::Start(node));
        }
        // A process that is still leaving is started again within four seconds and the length of its fault.
        let settle = self.plan.interval * 24 + REFUSED + Duration::from_secs(8);
        self.after(settle, Action::Rest);
    }
}
