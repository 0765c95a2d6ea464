//! Effects become system calls, in order; what they achieved goes back to the machine when the step is performed.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use baton_core::settings::{Source, Vip};
use baton_core::time::Time;
use baton_core::vrrp::settings::Address;
use baton_core::vrrp::{Effect, Event, Name};
use baton_net::clock;
use baton_net::rtnl::Dress;

use super::Report;
use super::thread::Thread;

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
            Effect::Send { router, interface, source, destination, ttl, bytes } => {
                let left = self.send(&interface, (source, destination), ttl, &bytes);
                *sent.entry(router).or_default() |= left;
            }
            Effect::Gates { router, addresses, op } => {
                let vips: Vec<Vip> = addresses.iter().map(|address| vip(address)).collect();
                return Some(Event::Gates { router, done: self.kernel.gates(&vips, op) });
            }
            Effect::Guard { addresses, timeout } => {
                self.kernel.guard = timeout;
                let vips: Vec<Vip> = addresses.iter().map(|address| vip(address)).collect();
                self.kernel.guard(&vips);
            }
            Effect::Unguard { address } => self.kernel.unguard(&vip(&address)),
            Effect::PutAddress { address, valid } => self.put(&address, valid),
            Effect::RemoveAddress { interface, address, prefix } => self.kernel.remove(interface, address, prefix),
            Effect::Announce { addresses, repeat } => self.announce(&addresses, repeat),
            Effect::Notify { of, name, what, priority } => {
                self.kernel.reports.send(Report::Notify { of, name, what, priority });
            }
            // Told to scripts by notifications; no balancer stands behind these addresses in this process.
            Effect::Holding { .. } => {}
            Effect::Note(note) => self.kernel.reports.send(Report::Note(note)),
            Effect::Stopped => self.stopped = true,
        }
        None
    }

    fn send(&mut self, interface: &Name, way: (IpAddr, IpAddr), ttl: u8, bytes: &[u8]) -> bool {
        let destination = way.1;
        let left = match self.sockets.get_mut(&(interface.clone(), destination.is_ipv6())) {
            Some(socket) => socket.send(way, ttl, bytes),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        let ok = left.is_ok();
        self.kernel.outcome(left, || format!("sending adverts to {destination} on {interface}"));
        ok
    }

    fn put(&mut self, address: &Arc<Address>, valid: Duration) {
        self.kernel.guard = self.kernel.guard.max(valid * 2);
        self.kernel.put(&vip(address), dress(address), valid);
    }

    /// Round after round. Where the kernel cannot stop an announcement that is late, the clock does; what was put is there
    /// before anything is announced.
    fn announce(&mut self, addresses: &[Arc<Address>], repeat: u32) {
        if !self.kernel.settle() {
            return;
        }
        for _ in 0..repeat {
            for address in addresses {
                let vip = vip(address);
                let fenced = self.kernel.sockets.watch.is_some();
                if !fenced || self.kernel.sockets.gates.may_announce(&vip) {
                    self.kernel.on_link("announcing", &vip, |packet, vip| packet.announce_once(vip.address));
                }
            }
        }
    }
}
