//! Faults and their ends, and one run of one seed: faults, recovery, rest, farewell.

use std::time::Duration;

use baton_core::keeper::Event;
use baton_core::lease::LeaseName;

use super::plan::{Fault, LeasePlan};
use super::world::{Action, World};
use super::{LeaseMistake, LeaseReport};
use crate::clock::Moment;
use crate::invariants::left;

/// Asked to stop, a process has so long.
const STOP: Duration = Duration::from_secs(3);

/// How a fault ends.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    Start(usize),
    Resume(usize),
    Thaw(usize),
    LinkUp(usize),
    Fit(usize),
    Leave(usize, u64),
    /// Another program's candidate starts; or is back after its time, and releases.
    Follower(usize),
    FollowerLate(usize),
}

impl World {
    pub(super) fn next_fault(&mut self) {
        let (from, to) = self.plan.every;
        let wait = self.rng.between(self.plan.duration.mul_f64(from), self.plan.duration.mul_f64(to));
        self.after(wait, Action::Fault);
        let fault = self.plan.faults[self.rng.below(self.plan.faults.len())];
        let node = self.victim();
        let (from, to) = self.plan.lasts;
        let length = self.rng.between(self.plan.duration.mul_f64(from), self.plan.duration.mul_f64(to));
        self.trace.world(self.at, node, &format!("{fault:?} for {length:?}"));
        self.bring(fault, node, length);
    }

    /// Often the node that answers.
    fn victim(&mut self) -> usize {
        let random = self.rng.below(self.hosts.len());
        if self.rng.chance(500_000) {
            return random;
        }
        let vip = self.plan.vips[0].address;
        self.hosts.iter().find(|h| h.kernel.answers_until(h.now(self.at), vip).is_some()).map_or(random, |h| h.id)
    }

    fn bring(&mut self, fault: Fault, node: usize, length: Duration) {
        let end = self.at + length;
        let soon = if self.rng.chance(300_000) { Duration::from_millis(5) } else { length };
        match fault {
            Fault::Crash => {
                self.kill(node);
                self.after(soon, Action::Undo(Undo::Start(node)));
            }
            Fault::Reboot => {
                self.hosts[node].reboot(true);
                self.after(length, Action::Undo(Undo::Start(node)));
            }
            Fault::Stop => self.stop(node, length),
            Fault::Pause => self.pause(node, length),
            Fault::Freeze => {
                self.hosts[node].frozen = true;
                self.after(length, Action::Undo(Undo::Thaw(node)));
            }
            Fault::Refuse => self.hosts[node].failures += 1 + u32::try_from(self.rng.below(4)).unwrap_or(0),
            Fault::LinkDown => {
                self.hosts[node].kernel.set_link("eth0", false);
                self.after(length, Action::Undo(Undo::LinkUp(node)));
            }
            Fault::Delete => {
                let index = self.rng.below(self.plan.vips.len());
                self.hosts[node].kernel.remove_address(self.plan.vips[index].address);
            }
            Fault::Cut => self.cut[node] = self.cut[node].max(end),
            Fault::Outage => self.cut.iter_mut().for_each(|cut| *cut = end.max(*cut)),
            Fault::Stale => self.stale[node] = self.stale[node].max(end),
            Fault::Touch => {
                let name = self.some_lease();
                if self.store.touch(&name) {
                    self.show(&name);
                }
            }
            Fault::Remove => {
                let name = self.some_lease();
                if self.store.remove(&name) {
                    self.show(&name);
                }
            }
            Fault::Ill => {
                self.fit(node, true);
                self.after(length, Action::Undo(Undo::Fit(node)));
            }
            Fault::FollowerStops | Fault::FollowerDies | Fault::FollowerLate => self.follower_fault(fault, length),
        }
        self.wake_soon(node);
    }

    fn some_lease(&mut self) -> LeaseName {
        let index = self.rng.below(self.plan.leases.len());
        self.plan.leases[index].name.clone()
    }

    fn fit(&mut self, node: usize, ill: bool) {
        for lease in self.plan.leases.clone() {
            self.hosts[node].command(Event::Yield { lease: lease.name, ill });
        }
        self.wake_soon(node);
    }

    fn pause(&mut self, node: usize, length: Duration) {
        self.hosts[node].paused = self.hosts[node].process.is_some();
        self.after(length, Action::Undo(Undo::Resume(node)));
    }

    /// Pauses a process where it is, maybe between a decision and its effect.
    pub(super) fn pause_between(&mut self, node: usize) {
        let (from, to) = self.plan.lasts;
        let length = self.rng.between(self.plan.duration.mul_f64(from), self.plan.duration.mul_f64(to));
        self.trace.world(self.at, node, "paused between two steps");
        self.pause(node, length);
    }

    fn stop(&mut self, node: usize, length: Duration) {
        if self.hosts[node].process.is_none() {
            return;
        }
        self.hosts[node].command(Event::Stop);
        self.after(STOP, Action::Undo(Undo::Leave(node, self.lives[node])));
        self.after(length, Action::Undo(Undo::Start(node)));
        self.wake_soon(node);
    }

    fn follower_fault(&mut self, fault: Fault, length: Duration) {
        let id = self.rng.below(self.followers.len());
        if !self.follower_lives[id].1 {
            return;
        }
        self.follower_lives[id].0 += 1;
        self.follower_lives[id].1 = false;
        match fault {
            Fault::FollowerStops => {
                if self.followers[id].release(self.at, &mut self.store) {
                    let name = self.plan.leases[0].name.clone();
                    self.show(&name);
                }
                self.followers[id].forget();
                self.after(length, Action::Undo(Undo::Follower(id)));
            }
            Fault::FollowerLate => {
                let away = self.plan.duration.mul_f64(1.6) + length;
                self.after(away, Action::Undo(Undo::FollowerLate(id)));
            }
            _ => {
                self.followers[id].forget();
                self.after(length, Action::Undo(Undo::Follower(id)));
            }
        }
    }

    pub(super) fn follower_asks(&mut self, id: usize, life: u64) {
        if self.follower_lives[id] != (life, true) {
            return;
        }
        let jitter = 1.0 + f64::from(u32::try_from(self.rng.below(200)).unwrap_or(0)) / 1000.0;
        let wait = self.followers[id].retry().mul_f64(jitter);
        self.after(wait, Action::FollowerAsks(id, life));
        if self.followers[id].attempt(self.at, &mut self.store) {
            let name = self.plan.leases[0].name.clone();
            self.show(&name);
            let way = self.rng.between(Duration::ZERO, self.plan.delay);
            self.after(way, Action::FollowerKnows(id, life));
        }
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Start(node) if self.hosts[node].process.is_some() => {
                // It is still on its way out, or somebody else was quicker.
            }
            Undo::Start(node) => self.start(node),
            Undo::Resume(node) => {
                self.hosts[node].paused = false;
                self.wake_soon(node);
            }
            Undo::Thaw(node) => {
                self.hosts[node].frozen = false;
                self.wake_soon(node);
            }
            Undo::LinkUp(node) => {
                self.hosts[node].kernel.set_link("eth0", true);
                self.wake_soon(node);
            }
            Undo::Fit(node) => self.fit(node, false),
            Undo::Leave(node, life) => {
                self.leave(node, life);
                self.after(Duration::from_millis(1), Action::Undo(Undo::Start(node)));
            }
            Undo::Follower(id) => {
                self.follower_lives[id].1 = true;
                let life = self.follower_lives[id].0;
                self.after(Duration::ZERO, Action::FollowerAsks(id, life));
            }
            Undo::FollowerLate(id) => {
                self.trace.world(self.at, 99, "a late release");
                if self.followers[id].release(self.at, &mut self.store) {
                    let name = self.plan.leases[0].name.clone();
                    self.show(&name);
                }
                self.followers[id].forget();
                let wait = self.plan.duration * 2;
                self.after(wait, Action::Undo(Undo::Follower(id)));
            }
        }
    }

    /// Ends all faults. Other programs leave: what they hold runs out.
    fn end_faults(&mut self) {
        let at = self.at;
        self.forget_faults();
        self.plan.loss = 0;
        self.plan.pauses = 0;
        self.cut.iter_mut().chain(&mut self.stale).for_each(|end| *end = at);
        for id in 0..self.followers.len() {
            self.follower_lives[id].0 += 1;
            self.follower_lives[id].1 = false;
            self.followers[id].forget();
        }
        for node in 0..self.hosts.len() {
            let host = &mut self.hosts[node];
            (host.failures, host.paused, host.frozen) = (0, false, false);
            host.kernel.set_link("eth0", true);
            self.fit(node, false);
            self.start(node);
            self.wake_soon(node);
        }
        // Who is on its way out is started again when it has left.
        for node in 0..self.hosts.len() {
            self.after(STOP + Duration::from_secs(1), Action::Undo(Undo::Start(node)));
        }
    }
}

/// Runs a plan.
#[must_use]
pub fn run(plan: LeasePlan, mistake: Option<LeaseMistake>, lines: bool) -> LeaseReport {
    let mut world = faults(plan, mistake, lines);
    let share = (world.answered, world.looked);
    world.end_faults();
    let recovered = world.at + world.plan.duration * 2 + STOP * 2;
    world.run_until(recovered);
    world.steady = true;
    let rested = world.at + world.plan.duration * 4;
    world.run_until(rested);
    world.steady = false;
    for node in 0..world.hosts.len() {
        world.hosts[node].command(Event::Stop);
        world.wake_soon(node);
        let next = world.at + STOP;
        world.run_until(next);
        if world.hosts[node].process.is_some() {
            world.broken(format!("n{node} was asked to stop and never left"));
        }
    }
    for node in 0..world.hosts.len() {
        let at = world.at;
        if let Some(seen) = left::check(&mut world.hosts[node], at) {
            world.broken(format!("nothing is left: {seen}"));
        }
    }
    report(world, share)
}

/// Runs the part in which faults happen.
#[must_use]
pub fn run_faults(plan: LeasePlan, mistake: Option<LeaseMistake>, lines: bool) -> LeaseReport {
    let world = faults(plan, mistake, lines);
    let share = (world.answered, world.looked);
    report(world, share)
}

fn faults(plan: LeasePlan, mistake: Option<LeaseMistake>, lines: bool) -> World {
    let mut world = World::new(plan, mistake, lines);
    for node in 0..world.hosts.len() {
        let wait = world.rng.between(Duration::ZERO, world.plan.duration);
        world.after(wait, Action::Undo(Undo::Start(node)));
    }
    for id in 0..world.followers.len() {
        world.after(Duration::from_millis(10), Action::FollowerAsks(id, 0));
    }
    // By then every node has looked at its Leases.
    let first = world.plan.duration * 3 / 2;
    world.after(first, Action::Fault);
    let end = Moment(0) + world.plan.troubled;
    world.run_until(end);
    world
}

fn report(world: World, (answered, looked): (Duration, Duration)) -> LeaseReport {
    LeaseReport {
        seed: world.plan.seed,
        hash: world.trace.hash(),
        lines: world.trace.lines().map(str::to_owned).collect(),
        answered,
        looked,
        violation: world.violation,
    }
}
