//! How the world brings faults about, and ends them.

use std::net::IpAddr;
use std::time::Duration;

use baton_core::keeper::Event;
use baton_core::settings::{LEASE_MAX, LEASE_MIN, Ownership};

use crate::faults::{Kind, Undo};
use crate::plan;
use crate::world::{Action, World};

/// On a calm network so many ways of a message fit into a lease.
const CALM_WAYS: u32 = 20;
/// The longest way on a calm network.
const CALM_MAX: Duration = Duration::from_millis(20);

impl World {
    /// Brings one fault about and plans the next.
    pub(crate) fn next_fault(&mut self) {
        let wait = self.plan.mix.wait(self.plan.lease, &mut self.rng);
        self.after(wait, Action::Fault);
        if self.plan.mix.kinds.is_empty() {
            return;
        }
        let index = self.rng.below(self.plan.mix.kinds.len());
        let kind = self.plan.mix.kinds[index];
        let node = self.victim();
        self.trace.world(self.at, node, &format!("{kind:?}"));
        let length = self.plan.mix.length(self.plan.lease, &mut self.rng);
        self.bring(kind, node, length);
    }

    /// Often the node that answers: that is where faults matter.
    fn victim(&mut self) -> usize {
        let random = self.rng.below(self.hosts.len());
        if self.rng.chance(500_000) {
            return random;
        }
        let index = self.rng.below(self.plan.vips.len());
        let vip = self.plan.vips[index];
        let answers = |host: &&crate::host::Host| host.kernel.answers_until(host.now(self.at), vip).is_some();
        self.hosts.iter().find(answers).map_or(random, |host| host.id)
    }

    fn undo_after(&mut self, length: Duration, undo: Undo) {
        self.after(length, Action::Undo(undo));
    }

    fn bring(&mut self, kind: Kind, node: usize, length: Duration) {
        match kind {
            Kind::Crash => {
                self.hosts[node].process = None;
                self.hosts[node].paused = false;
                self.start_again(node, length);
            }
            Kind::Reboot | Kind::Reinstall => {
                self.hosts[node].reboot(kind == Kind::Reboot);
                self.start_again(node, length);
            }
            Kind::Stop => {
                if self.hosts[node].process.is_some() {
                    self.stop(node);
                    self.undo_after(length, Undo::Start(node));
                }
            }
            Kind::Reload => {
                let settings = self.other_settings(node);
                self.hosts[node].configure(settings);
                self.wake_soon(node);
                self.undo_after(length, Undo::Restore(node));
            }
            Kind::Pause => {
                self.hosts[node].paused = self.hosts[node].process.is_some();
                self.undo_after(length, Undo::Resume(node));
            }
            Kind::Freeze => {
                self.hosts[node].frozen = true;
                self.undo_after(length, Undo::Thaw(node));
            }
            Kind::Refuse => self.hosts[node].failures += 1 + u32::try_from(self.rng.below(4)).unwrap_or(0),
            Kind::Cut | Kind::Partition => self.cut(kind, node, length),
            Kind::LinkDown => self.link_down(node, length),
            Kind::Stranger => {
                let vip = self.some_vip();
                self.strangers.insert(vip);
                self.stranger_announces(vip);
                self.undo_after(length, Undo::Leave(vip));
            }
            Kind::Ill => {
                let vip = self.some_vip();
                self.set_health(node, vip, false);
                self.undo_after(length, Undo::Heal(node, vip));
            }
            Kind::Delete => {
                let vip = self.some_vip();
                self.hosts[node].kernel.remove_address(vip);
                self.wake_soon(node);
            }
            Kind::Flush => {
                if self.hosts[node].settings.fence {
                    self.hosts[node].flush();
                    self.wake_soon(node);
                }
            }
        }
    }

    /// A supervisor starts the process at once, or somebody does so later.
    fn start_again(&mut self, node: usize, length: Duration) {
        let soon = Duration::from_millis(5);
        let wait = if self.rng.chance(300_000) { soon } else { length };
        self.undo_after(wait, Undo::Start(node));
    }

    /// Pauses a process where it is, maybe between a decision and its effect.
    pub(crate) fn pause(&mut self, node: usize) {
        let length = self.plan.mix.length(self.plan.lease, &mut self.rng);
        self.trace.world(self.at, node, "paused between two steps");
        self.hosts[node].paused = true;
        self.undo_after(length, Undo::Resume(node));
    }

    fn some_vip(&mut self) -> IpAddr {
        let index = self.rng.below(self.plan.vips.len());
        self.plan.vips[index]
    }

    fn set_health(&mut self, node: usize, vip: IpAddr, healthy: bool) {
        if !self.plan.health {
            return;
        }
        if healthy {
            self.ill.remove(&(node, vip));
        } else {
            self.ill.insert((node, vip));
        }
        self.hosts[node].command(Event::Health { vip, healthy });
        self.wake_soon(node);
    }

    fn cut(&mut self, kind: Kind, node: usize, length: Duration) {
        let size = self.hosts.len();
        let mut ways = Vec::new();
        if kind == Kind::Cut {
            let other = self.rng.below(size);
            ways.push(if self.rng.chance(500_000) { (node, other) } else { (other, node) });
            if self.rng.chance(300_000) {
                ways.push((ways[0].1, ways[0].0));
            }
        } else {
            let side: Vec<bool> = (0..size).map(|id| id == node || self.rng.chance(400_000)).collect();
            for from in 0..size {
                ways.extend((0..size).filter(|to| side[from] != side[*to]).map(|to| (from, to)));
            }
        }
        self.trace.world(self.at, node, &format!("cut {ways:?}"));
        self.network.cuts.extend(ways.iter().copied());
        self.undo_after(length, Undo::Mend(ways));
    }

    fn link_down(&mut self, node: usize, length: Duration) {
        let links: Vec<String> = self.hosts[node].kernel.links.keys().cloned().collect();
        let name = links[self.rng.below(links.len())].clone();
        self.hosts[node].kernel.set_link(&name, false);
        self.wake_soon(node);
        self.undo_after(length, Undo::LinkUp(node, name));
    }

    /// What somebody may have written into the file.
    fn other_settings(&mut self, node: usize) -> Ownership {
        let mut settings = self.plan.machines[node].settings.clone();
        match self.rng.below(6) {
            0 => settings.vips.iter_mut().for_each(|vip| vip.priority = self.rng.pick(&[50, 100, 150])),
            1 | 2 => {
                settings.lease = self.rng.pick(&[settings.lease / 2, settings.lease * 2]).clamp(LEASE_MIN, LEASE_MAX);
                settings.renewal = settings.lease / 5;
            }
            3 => settings.preempt = !settings.preempt,
            4 => {
                let index = self.rng.below(settings.vips.len());
                settings.vips.remove(index);
            }
            _ => plan::mistype(&mut settings, &mut self.rng),
        }
        self.trace.world(self.at, node, &format!("settings {settings:?}"));
        settings
    }

    /// Ends one fault.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Start(node) => self.start(node),
            Undo::Resume(node) => {
                self.hosts[node].paused = false;
                self.wake_soon(node);
            }
            Undo::Thaw(node) => {
                self.hosts[node].frozen = false;
                self.wake_soon(node);
            }
            Undo::Restore(node) => {
                let settings = self.plan.machines[node].settings.clone();
                self.hosts[node].configure(settings);
                self.wake_soon(node);
            }
            Undo::Mend(ways) => ways.iter().for_each(|way| {
                self.network.cuts.remove(way);
            }),
            Undo::LinkUp(node, name) => {
                self.hosts[node].kernel.set_link(&name, true);
                self.wake_soon(node);
            }
            Undo::Leave(vip) => {
                self.strangers.remove(&vip);
            }
            Undo::Heal(node, vip) => self.set_health(node, vip, true),
        }
    }

    /// Ends all faults.
    pub(crate) fn end_faults(&mut self) {
        self.forget_faults();
        self.drop_late();
        self.network.weather = self.plan.weather.calm((self.plan.lease / CALM_WAYS).min(CALM_MAX));
        self.network.cuts.clear();
        self.strangers.clear();
        for (node, vip) in std::mem::take(&mut self.ill) {
            self.ill.insert((node, vip));
            self.set_health(node, vip, true);
        }
        for node in 0..self.hosts.len() {
            self.hosts[node].failures = 0;
            self.hosts[node].paused = false;
            self.hosts[node].frozen = false;
            let names: Vec<String> = self.hosts[node].kernel.links.keys().cloned().collect();
            names.iter().for_each(|name| self.hosts[node].kernel.set_link(name, true));
            if self.hosts[node].settings != self.plan.machines[node].settings {
                self.undo(Undo::Restore(node));
            }
            self.start(node);
            self.wake_soon(node);
        }
    }
}
