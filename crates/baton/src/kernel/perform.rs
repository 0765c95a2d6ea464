//! Operations on gates, guards, addresses and links, with what they need to be right: tables that are whole, guards before
//! addresses, addresses before announcements.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use baton_core::keeper::{GateDone, GateOp, Level};
use baton_core::settings::Vip;
use baton_net::clock;
use baton_net::packet::Packet;
use baton_net::rtnl::Dress;

use super::{Kernel, Told};

/// Failures remembered so that they are told once.
const TROUBLES: usize = 1024;

impl<R: Told> Kernel<R> {
    /// Adds an address or refreshes it. It must not outlive its guard: without it, it would answer. Some of the guard's time
    /// may be over, because this process stood still, or the guard may be another interface's.
    pub(crate) fn put(&mut self, vip: &Vip, dress: Dress, valid: Duration) {
        let gone = clock::now() + valid * 3 / 2;
        let guarded = self.guarded.get(&vip.address).is_some_and(|(on, end)| *on == vip.interface && gone < *end);
        let guarded = guarded && !self.unguarded.contains_key(&vip.address);
        if !guarded && !self.guard(std::slice::from_ref(vip)) {
            return;
        }
        let asked = self.addresses.put(vip, dress, valid);
        self.outcome(asked, || format!("adding {} to {}", vip.address, vip.interface));
    }

    pub(crate) fn remove(&mut self, interface: String, address: IpAddr, prefix: u8) {
        let what = format!("removing {address} from {interface}");
        let removed = self.addresses.remove(interface, address, prefix);
        self.outcome(removed, || what);
    }

    /// Waits until what was put is there. `false`: nothing is to be announced.
    pub(crate) fn settle(&mut self) -> bool {
        self.addresses.settle().is_ok()
    }

    /// Guards addresses for as long as was said. What the kernel did not take is tried again before their gates open.
    pub(crate) fn guard(&mut self, vips: &[Vip]) -> bool {
        let until = clock::now() + self.guard;
        let mut guarded = self.sockets.gates.guard(vips, self.guard);
        if guarded.is_err() && self.repair_table() {
            guarded = self.sockets.gates.guard(vips, self.guard);
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
    pub(crate) fn unguard(&mut self, vip: &Vip) {
        let unguarded = self.sockets.gates.unguard(vip);
        self.outcome(unguarded, || format!("taking the guard off {}", vip.address));
        self.unguarded.remove(&vip.address);
        self.guarded.remove(&vip.address);
        if self.vips.get(&vip.address).is_some_and(|v| v.interface == vip.interface) {
            self.vips.remove(&vip.address);
        }
        if let Some(packet) = self.sockets.packets.get_mut(&vip.interface) {
            let unwatched = packet.unwatch(vip.address);
            self.outcome(unwatched, || format!("listening on {}", vip.interface));
        }
    }

    /// Gate operations. When the table itself is gone, somebody flushed the rules of the host: they are put back, what is
    /// held first, and what failed is tried once more.
    pub(crate) fn gates(&mut self, vips: &[Vip], op: GateOp) -> Vec<(IpAddr, GateDone)> {
        // An address that is not guarded would answer without a gate, and after its end.
        if matches!(op, GateOp::Open { .. }) && vips.iter().any(|vip| self.unguarded.contains_key(&vip.address)) {
            let waiting: Vec<Vip> = self.unguarded.values().cloned().collect();
            if !self.guard(&waiting) {
                return vips.iter().map(|vip| (vip.address, GateDone::Failed)).collect();
            }
        }
        let mut all = self.sockets.gates.apply_all(vips, op);
        if all.contains(&GateDone::Failed) && self.repair_table() {
            let (failed, places): (Vec<Vip>, Vec<&mut GateDone>) =
                vips.iter().cloned().zip(&mut all).filter(|(_, done)| **done == GateDone::Failed).unzip();
            for (done, again) in places.into_iter().zip(self.sockets.gates.apply_all(&failed, op)) {
                *done = again;
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
    pub(crate) fn repair_table(&mut self) -> bool {
        let vips = self.all();
        if self.sockets.gates.intact(&vips) {
            return false;
        }
        let before = clock::now();
        let held: Vec<_> = self.open.values().filter(|(_, end)| *end > before).cloned().collect();
        let repaired = self.sockets.gates.repair(&vips, &held);
        let works = repaired.is_ok();
        if works {
            let took = clock::now().since(before).as_secs_f64() * 1e3;
            let line = format!("the nftables tables were removed by somebody else: put back (took {took:.1} ms)");
            self.reports.log(Level::Warn, line);
        }
        self.outcome(repaired, || "putting the nftables tables back".to_owned());
        works
    }

    /// Opens the link's packet socket, or tells the one that is there what to watch.
    pub(crate) fn open_packet(&mut self, interface: &str) {
        let vips = self.all();
        let opened = match self.sockets.packets.get_mut(interface) {
            Some(packet) => packet.watch(&vips),
            None => Packet::open(interface).and_then(|mut packet| {
                packet.watch(&vips)?;
                self.sockets.packets.insert(interface.to_owned(), packet);
                Ok(())
            }),
        };
        self.outcome(opened, || format!("listening on {interface}"));
    }

    /// A link that comes back may be another device under the same name: its packet socket is gone with the old one.
    pub(crate) fn listen_again(&mut self, interface: &str) {
        match self.sockets.packets.get_mut(interface) {
            Some(packet) => {
                let refreshed = packet.refresh();
                self.outcome(refreshed, || format!("listening on {interface}"));
            }
            None => self.open_packet(interface),
        }
    }

    /// Sends something about an address on its link.
    pub(crate) fn on_link(
        &mut self,
        what: &'static str,
        vip: &Vip,
        send: impl Fn(&mut Packet, &Vip) -> io::Result<()>,
    ) {
        let sent = match self.sockets.packets.get_mut(&vip.interface) {
            Some(packet) => send(packet, vip),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        self.outcome(sent, || format!("{what} {} on {}", vip.address, vip.interface));
    }

    /// Tells a failure when it is new, and its end.
    pub(crate) fn outcome<T, E: Display>(&mut self, result: Result<T, E>, what: impl FnOnce() -> String) {
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
