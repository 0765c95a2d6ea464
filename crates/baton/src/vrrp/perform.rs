//! Effects become system calls, in order; what they achieved goes back to the machine when the step is performed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use baton_core::keeper::{GateDone, GateOp, Level};
use baton_core::settings::{Source, Vip};
use baton_core::time::Time;
use baton_core::vrrp::settings::Address;
use baton_core::vrrp::{Effect, Event, Name};
use baton_net::clock;
use baton_net::packet::Packet;
use baton_net::rtnl::Dress;

use super::Report;
use super::thread::Thread;

/// Failures remembered so that they are told once.
const TROUBLES: usize = 1024;

/// As gates, tables and packet sockets know an address.
pub(crate) fn vip(address: &Address) -> Vip {
    Vip {
        address: address.address,
        prefix: address.prefix,
        interface: address.interface.to_string(),
        // Neither matters to the kernel.
        priority: 0,
        source: Source::Peers,
    }
}

fn dress(address: &Address) -> Dress {
    let broadcast = match address.broadcast {
        Some(IpAddr::V4(broadcast)) => Some(broadcast),
        _ => None,
    };
    Dress { label: address.label.as_ref().map(ToString::to_string), broadcast, scope: address.scope }
}

impl Thread {
    /// Hands an event to the machine and performs what it asks for, in the order in which it was decided. What came of it
    /// goes back when the rest of its step is performed.
    pub(super) fn event(&mut self, event: Event) {
        self.event_at(clock::now(), event);
    }

    /// The same at a time that was read before.
    pub(super) fn event_at(&mut self, at: Time, event: Event) {
        let mut answers = VecDeque::from([(at, event)]);
        while let Some((at, event)) = answers.pop_front() {
            let mut effects = Vec::new();
            self.routers.handle(at, event, &mut effects);
            let mut sent: BTreeMap<Name, bool> = BTreeMap::new();
            let mut more = Vec::new();
            for effect in effects {
                more.extend(self.perform(effect, &mut sent));
            }
            more.extend(sent.into_iter().map(|(router, ok)| Event::Sent { router, ok }));
            let now = clock::now();
            answers.extend(more.into_iter().map(|event| (now, event)));
        }
    }

    fn perform(&mut self, effect: Effect, sent: &mut BTreeMap<Name, bool>) -> Option<Event> {
        match effect {
            Effect::Send { router, interface, source, destination, bytes } => {
                let left = self.send(&interface, source, destination, &bytes);
                *sent.entry(router).or_default() |= left;
            }
            Effect::Gates { router, addresses, op } => {
                let vips: Vec<Vip> = addresses.iter().map(|address| vip(address)).collect();
                return Some(Event::Gates { router, done: self.gates(&vips, op) });
            }
            Effect::Guard { addresses, timeout } => {
                self.guard = timeout;
                let vips: Vec<Vip> = addresses.iter().map(|address| vip(address)).collect();
                self.guard(&vips);
            }
            Effect::Unguard { address } => self.unguard(&vip(&address)),
            Effect::PutAddress { address, valid } => self.put(&address, valid),
            Effect::RemoveAddress { interface, address, prefix } => {
                let what = format!("removing {address} from {interface}");
                let removed = self.addresses.remove(interface, address, prefix);
                self.outcome(removed, || what);
            }
            Effect::Announce { addresses, repeat } => self.announce(&addresses, repeat),
            Effect::Notify { of, name, what, priority } => {
                self.reports.send(Report::Notify { of, name, what, priority });
            }
            // Told to scripts by notifications; no balancer stands behind these addresses in this process.
            Effect::Holding { .. } => {}
            Effect::Note(note) => self.reports.send(Report::Note(note)),
            Effect::Stopped => self.stopped = true,
        }
        None
    }

    fn send(&mut self, interface: &Name, source: IpAddr, destination: IpAddr, bytes: &[u8]) -> bool {
        let left = match self.world.sockets.get_mut(&(interface.clone(), destination.is_ipv6())) {
            Some(socket) => socket.send(source, destination, bytes),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        let ok = left.is_ok();
        self.outcome(left, || format!("sending adverts to {destination} on {interface}"));
        ok
    }

    /// An address must not outlive its guard: without it, it would answer. Some of the guard's time may be over, because
    /// this process stood still, or the guard may be another interface's.
    fn put(&mut self, address: &Arc<Address>, valid: Duration) {
        let put = vip(address);
        let gone = clock::now() + valid * 3 / 2;
        let guarded = self.guarded.get(&put.address).is_some_and(|(on, end)| *on == put.interface && gone < *end);
        let guarded = guarded && !self.unguarded.contains_key(&put.address);
        self.guard = self.guard.max(valid * 2);
        if !guarded && !self.guard(std::slice::from_ref(&put)) {
            return;
        }
        let asked = self.addresses.put_dressed(&put, dress(address), valid);
        self.outcome(asked, || format!("adding {} to {}", put.address, put.interface));
    }

    /// Round after round. Where the kernel cannot stop an announcement that is late, the clock does; what was put is there
    /// before anything is announced.
    fn announce(&mut self, addresses: &[Arc<Address>], repeat: u32) {
        if self.addresses.settle().is_err() {
            return;
        }
        for _ in 0..repeat {
            for address in addresses {
                let vip = vip(address);
                if self.world.watch.is_some() && !self.world.gates.may_announce(&vip) {
                    continue;
                }
                let sent = match self.world.packets.get_mut(&vip.interface) {
                    Some(packet) => packet.announce_once(vip.address),
                    None => Err(std::io::ErrorKind::NotConnected.into()),
                };
                self.outcome(sent, || format!("announcing {} on {}", vip.address, vip.interface));
            }
        }
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

    /// An address that is kept no more has gone.
    fn unguard(&mut self, vip: &Vip) {
        let unguarded = self.world.gates.unguard(vip);
        self.outcome(unguarded, || format!("taking the guard off {}", vip.address));
        self.unguarded.remove(&vip.address);
        self.guarded.remove(&vip.address);
        if self.vips.get(&vip.address).is_some_and(|v| v.interface == vip.interface) {
            self.vips.remove(&vip.address);
        }
        if let Some(packet) = self.world.packets.get_mut(&vip.interface) {
            let unwatched = packet.unwatch(vip.address);
            self.outcome(unwatched, || format!("listening on {}", vip.interface));
        }
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
                _ => self.open.remove(&vip.address),
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
            let line = "the nftables tables were removed by somebody else: put back".to_owned();
            self.reports.log(Level::Warn, line);
        }
        self.outcome(repaired, || "putting the nftables tables back".to_owned());
        works
    }

    /// Opens the link's packet socket, or tells the one that is there what to watch.
    pub(super) fn open_packet(&mut self, interface: &str) {
        let vips = self.all();
        let opened = match self.world.packets.get_mut(interface) {
            Some(packet) => packet.watch(&vips),
            None => Packet::open(interface).and_then(|mut packet| {
                packet.watch(&vips)?;
                self.world.packets.insert(interface.to_owned(), packet);
                Ok(())
            }),
        };
        self.outcome(opened, || format!("listening on {interface}"));
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
