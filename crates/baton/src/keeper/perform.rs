//! Effects become system calls, in order; what a gate operation achieved goes back to the machine at once.

use std::collections::VecDeque;

use baton_core::keeper::{Effect, Event};
use baton_net::clock;
use baton_net::rtnl::Dress;

use super::Report;
use super::thread::Thread;

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
        let kernel = &mut self.kernel;
        match effect {
            Effect::Send { to, bytes } => {
                if let Some(udp) = &self.udp {
                    let sent = udp.send_to(&bytes, to);
                    kernel.outcome(sent, || format!("sending to {to}"));
                }
            }
            Effect::Gate { vip, op } => {
                return Some(Event::Gates { done: kernel.gates(std::slice::from_ref(&vip), op) });
            }
            Effect::Gates { vips, op } => return Some(Event::Gates { done: kernel.gates(&vips, op) }),
            Effect::Guard { vips, timeout } => {
                kernel.guard = timeout;
                kernel.guard(&vips);
            }
            Effect::Unguard { vip } => kernel.unguard(&vip),
            Effect::PutAddress { vip, valid } => kernel.put(&vip, Dress::default(), valid),
            Effect::RemoveAddress { interface, address, prefix } => kernel.remove(interface, address, prefix),
            // Where the kernel cannot stop an announcement that is late, the clock does.
            // What was put is there before anything is announced.
            Effect::Announce { vip } => {
                if kernel.settle() && kernel.sockets.gates.may_announce(&vip) {
                    kernel.on_link("announcing", &vip, |packet, vip| packet.announce(vip));
                }
            }
            Effect::Probe { vip } => kernel.on_link("probing", &vip, |packet, vip| packet.probe(vip)),
            Effect::Lease { name, request, op } => {
                if let Some(leases) = &self.leases {
                    leases.send(name, request, op);
                }
            }
            Effect::Forget { name } => {
                if let Some(leases) = &self.leases {
                    leases.forget(name);
                }
            }
            Effect::Leading { name, until, holder } => kernel.reports.send(Report::Leading { name, until, holder }),
            Effect::Holding { vip, holding } => kernel.reports.send(Report::Holding(vip, holding)),
            Effect::Remember(marker) => kernel.reports.send(Report::Remember(marker)),
            Effect::Note(note) => kernel.reports.send(Report::Note(note)),
            Effect::Stopped => self.stopped = true,
        }
        None
    }
}
