//! Effects become system calls, in order; what a gate operation achieved goes back to the machine at once.

use std::collections::VecDeque;
use std::fmt::Display;
use std::net::IpAddr;

use baton_core::keeper::{Effect, Event, GateDone, GateOp, Level};
use baton_core::settings::Vip;
use baton_net::clock;

use super::Report;
use super::thread::Thread;

/// Failures remembered so that they are told once.
const TROUBLES: usize = 1024;

impl Thread {
    /// Hands an event to the machine and performs what it asks for, in the order in which it was decided. What a gate
    /// operation achieved goes back when the rest of its step is performed.
    pub(super) fn event(&mut self, event: Event) {
        let mut answers = VecDeque::from([event]);
        while let Some(event) = answers.pop_front() {
            let mut effects = Vec::new();
            self.keeper.handle(clock::now(), event, &mut effects);
            answers.extend(effects.into_iter().filter_map(|effect| self.perform(effect)));
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Send { to, bytes } => {
                if let Some(udp) = &self.world.udp {
                    let sent = udp.send_to(&bytes, to);
                    self.outcome(sent, || format!("sending to {to}"));
                }
            }
            Effect::Gate { vip, op } => {
                let done = self.gates(std::slice::from_ref(&vip), op);
                return Some(Event::Gates { done });
            }
            Effect::Guard { vips, timeout } => {
                self.guard = timeout;
                self.guard(&vips);
            }
            Effect::PutAddress { vip, valid } => {
                // An address must not outlive its guard: without it, it would answer. Some of the guard's time may be over,
                // because this process stood still, or the guard may be another interface's.
                let gone = clock::now() + valid * 3 / 2;
                let guarded =
                    self.guarded.get(&vip.address).is_some_and(|(on, end)| *on == vip.interface && gone < *end);
                let guarded = guarded && !self.unguarded.contains_key(&vip.address);
                if !guarded && !self.guard(std::slice::from_ref(&vip)) {
                    return None;
                }
                let put = self.addresses.put(&vip, valid);
                self.outcome(put, || format!("adding {} to {}", vip.address, vip.interface));
            }
            Effect::RemoveAddress { interface, address, prefix } => {
                let what = format!("removing {address} from {interface}");
                let removed = self.addresses.remove(interface, address, prefix);
                self.outcome(removed, || what);
            }
            // Where the kernel cannot stop an announcement that is late, the clock does.
            // What was put is there before anything is announced.
            Effect::Announce { .. } if self.addresses.settle().is_err() => {}
            Effect::Announce { vip } if !self.world.gates.may_announce(&vip) => {}
            Effect::Announce { vip } => self.on_link("announcing", &vip, |packet, vip| packet.announce(vip)),
            Effect::Probe { vip } => self.on_link("probing", &vip, |packet, vip| packet.probe(vip)),
            Effect::Gates { vips, op } => {
                let done = self.gates(&vips, op);
                return Some(Event::Gates { done });
            }
            Effect::Unguard { vip } => self.unguard(&vip),
            Effect::Lease { name, request, op } => {
                if let Some(leases) = &self.world.leases {
                    leases.send(name, request, op);
                }
            }
            Effect::Forget { name } => {
                if let Some(leases) = &self.world.leases {
                    leases.forget(name);
                }
            }
            Effect::Leading { name, until, holder } => self.reports.send(Report::Leading { name, until, holder }),
            Effect::Holding { vip, holding } => self.reports.send(Report::Holding(vip, holding)),
            Effect::Remember(marker) => self.reports.send(Report::Remember(marker)),
            Effect::Note(note) => self.reports.send(Report::Note(note)),
            Effect::Stopped => {
                self.stopped = true;
            }
        }
        None
    }

    /// Guards addresses. What the kernel did not take is tried again before their gates open.
    fn guard(&mut self, vips: &[Vip]) -> bool {
        let until = clock::now() + self.guard;
        let mut guarded = self.world.gates.guard(vips, self.guard);
        if guarded.is_err() && self.repair_table() {
            guarded = self.world.gates.guard(vips, self.guard);
        }
        for vip in vips {
            match guarded {
                Ok(()) => {
                    self.unguarded.remove(&vip.address);
                    self.guarded.insert(vip.address, (vip.interface.clone(), until));
                }
                Err(_) => {
                    self.unguarded.insert(vip.address, vip.clone());
                }
            }
        }
        let works = guarded.is_ok();
        self.outcome(guarded, || "guarding the addresses".to_owned());
        works
    }

    /// Gate operations. When the table itself is gone, somebody flushed the rules of the host: they are put back, what is
    /// held first, and what failed is tried once more.
    fn gates(&mut self, vips: &[Vip], op: GateOp) -> Vec<(IpAddr, GateDone)> {
        // An address that is not guarded would answer without a gate, and after its end.
        if matches!(op, GateOp::Open { .. }) && vips.iter().any(|vip| self.unguarded.contains_key(&vip.address)) {
            let waiting: Vec<Vip> = self.unguarded.values().cloned().collect();
            if !self.guard(&waiting) {
                return vips.iter().map(|vip| (vip.address, GateDone::Failed)).collect();
            }
        }
        let mut all = self.world.gates.apply_all(vips, op);
        if all.contains(&GateDone::Failed) && self.repair_table() {
            for (vip, done) in vips.iter().zip(&mut all).filter(|(_, done)| **done == GateDone::Failed) {
                *done = self.world.gates.apply(vip, op);
            }
        }
        for (vip, done) in vips.iter().zip(&all) {
            match done {
                GateDone::Open { end } => self.open.insert(vip.address, (vip.clone(), *end)),
                GateDone::AnswerShut | GateDone::Shut | GateDone::Lost | GateDone::Failed => {
                    self.open.remove(&vip.address)
                }
            };
        }
        vips.iter().map(|vip| vip.address).zip(all).collect()
    }

    /// Puts the tables back when they are gone or not whole. `true`: they were, and are whole again.
    pub(super) fn repair_table(&mut self) -> bool {
        let vips = self.all();
        if self.world.gates.intact(&vips) {
            return false;
        }
        let before = clock::now();
        let held: Vec<_> = self.open.values().filter(|(_, end)| *end > before).cloned().collect();
        let repaired = self.world.gates.repair(&vips, &held);
        let works = repaired.is_ok();
        if works {
            let took = clock::now().since(before).as_secs_f64() * 1e3;
            let line = format!("the nftables tables were removed by somebody else: put back (took {took:.1} ms)");
            self.reports.log(Level::Warn, line);
        }
        self.outcome(repaired, || "putting the nftables tables back".to_owned());
        works
    }

    fn on_link(
        &mut self,
        what: &'static str,
        vip: &Vip,
        send: impl Fn(&mut baton_net::packet::Packet, &Vip) -> std::io::Result<()>,
    ) {
        let sent = match self.world.packets.get_mut(&vip.interface) {
            Some(packet) => send(packet, vip),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        self.outcome(sent, || format!("{what} {} on {}", vip.address, vip.interface));
    }

    /// Tells a failure when it is new, and its end.
    pub(super) fn outcome<T, E: Display>(&mut self, result: Result<T, E>, what: impl FnOnce() -> String) {
        match result {
            Ok(_) if self.troubles.is_empty() => {}
            Ok(_) => {
                let what = what();
                if self.troubles.remove(&what).is_some() {
                    self.reports.log(Level::Info, format!("{what}: works again"));
                }
            }
            Err(e) => {
                let (what, why) = (what(), e.to_string());
                if self.troubles.get(&what) == Some(&why) {
                    return;
                }
                self.reports.log(Level::Warn, format!("{what}: {why}"));
                if self.troubles.len() >= TROUBLES {
                    self.troubles.clear();
                }
                self.troubles.insert(what, why);
            }
        }
    }
}
