//! The loop: wait until something can be read or a deadline passes, turn it into events, in a fixed order.
//!
//! Adverts come first, before a deadline that has passed: a process that stood still must hear of its successor before it
//! goes on. What the kernel and the rest of the process have to say comes after, in bounded batches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::mpsc::TryRecvError;

use baton_core::keeper::{self, Level};
use baton_core::settings::Vip;
use baton_core::time::Time;
use baton_core::vrrp::{Event, Name, Routers, Settings};
use baton_net::clock;
use baton_net::vrrp::Vrrp;

use super::perform::vip;
use super::{Command, Report};
use crate::kernel::{Inbox, Kernel};

/// Adverts taken from one socket in one round: all that wait, as far as their number has sense.
const ADVERTS: usize = 2048;
/// The largest packet that is read whole: 255 IPv6 addresses are 4,088 bytes.
const PACKET_MAX: usize = 8192;
/// Commands taken in one round.
const COMMANDS: usize = 64;

pub(super) struct Thread {
    pub(super) routers: Routers,
    pub(super) kernel: Kernel<Report>,
    /// By interface and whether IPv6.
    pub(super) sockets: BTreeMap<(Name, bool), Vrrp>,
    pub(super) stopped: bool,
    log_addresses: bool,
    /// Where adverts are sent and heard: interface, IPv6, group.
    heard: Vec<(Name, bool, Option<IpAddr>)>,
    inbox: Inbox<Command>,
    buffer: Vec<u8>,
}

impl Thread {
    pub(super) fn new(
        routers: Routers,
        kernel: Kernel<Report>,
        (sockets, log_addresses): (BTreeMap<(Name, bool), Vrrp>, bool),
        inbox: Inbox<Command>,
    ) -> Thread {
        let buffer = vec![0; PACKET_MAX];
        Thread { routers, kernel, sockets, stopped: false, log_addresses, heard: Vec::new(), inbox, buffer }
    }

    pub(super) fn run(mut self, settings: &Settings) {
        self.kernel.settle_in();
        self.make_room(settings);
        self.event(Event::Tick);
        while !self.stopped {
            let adverts = self.sockets.values().map(AsFd::as_fd);
            let ready = self.kernel.wait(&self.inbox, self.routers.deadline(), adverts);
            // What the clock said before the sockets were emptied is what counts: a process that is stopped in between
            // must not take its own absence for a master's silence.
            let now = clock::now();
            self.adverts();
            self.tick(now);
            if ready.kernel {
                self.kernel.hear().into_iter().for_each(|event| self.told(event));
            }
            if ready.claims {
                self.claims();
            }
            if ready.commands && self.commands().is_break() {
                self.kernel.leave();
                self.kernel.reports.send(Report::Stopped);
                let _ = self.kernel.reports.flush();
                return;
            }
        }
        self.kernel.end(Report::Stopped);
    }

    /// A deadline that has passed.
    fn tick(&mut self, now: Time) {
        if self.routers.deadline().is_some_and(|t| t <= now) {
            self.event_at(now, Event::Tick);
        }
    }

    fn adverts(&mut self) {
        let places: Vec<(Name, bool)> = self.sockets.keys().cloned().collect();
        for (interface, ipv6) in places {
            for _ in 0..ADVERTS {
                let Some(socket) = self.sockets.get_mut(&(interface.clone(), ipv6)) else { break };
                match socket.read(&mut self.buffer) {
                    Ok(Some(packet)) => {
                        let bytes = packet.payload(&self.buffer).to_vec();
                        let interface = interface.clone();
                        let (source, destination, ttl) = (packet.source, packet.destination, packet.ttl);
                        self.event(Event::Advert { interface, source, destination, ttl, bytes });
                    }
                    Ok(None) => break,
                    Err(e) => {
                        self.kernel.outcome(Err::<(), _>(e), || format!("receiving adverts on {interface}"));
                        break;
                    }
                }
            }
        }
    }

    /// The kernel's word about a link or an address.
    fn told(&mut self, event: keeper::Event) {
        match event {
            keeper::Event::AddressPut(a) => {
                if self.log_addresses {
                    let line = format!("{}/{} is on {}", a.address, a.prefix, a.interface);
                    self.kernel.reports.log(Level::Info, line);
                }
                self.event(Event::AddressPut(a));
            }
            keeper::Event::AddressGone { interface, address } => {
                if self.log_addresses {
                    self.kernel.reports.log(Level::Info, format!("{address} is gone from {interface}"));
                }
                self.event(Event::AddressGone { interface, address });
            }
            keeper::Event::Link(link) => {
                if link.up {
                    self.link_may_be_new(&link.name);
                }
                self.event(Event::Link(link));
            }
            keeper::Event::Rerouted { interface } => self.event(Event::Rerouted { interface }),
            keeper::Event::Addresses(all) => self.event(Event::Addresses(all)),
            // The kernel tells nothing else.
            _ => {}
        }
    }

    /// A link of ours that comes back may be another device under the same name: its sockets and chains are gone with the
    /// old one.
    fn link_may_be_new(&mut self, name: &str) {
        let advertises = self.heard.iter().any(|(interface, ..)| **interface == *name);
        if advertises {
            for socket in self.sockets.iter_mut().filter(|((i, _), _)| **i == *name).map(|(_, s)| s) {
                // It may be gone again.
                let _ = socket.refresh();
            }
            self.open_sockets();
        }
        if self.kernel.has(name) {
            self.kernel.listen_again(name);
            self.install();
            self.kernel.repair_table();
        }
    }

    /// Other hosts that answer or announce.
    fn claims(&mut self) {
        for claim in self.kernel.claims() {
            self.event(Event::Claimed { address: claim.address, mac: claim.mac });
        }
    }

    fn commands(&mut self) -> ControlFlow<()> {
        self.inbox.clear();
        for _ in 0..COMMANDS {
            match self.inbox.take() {
                Ok(Command::Event(event)) => self.event(event),
                Ok(Command::Configure(settings)) => {
                    self.make_room(&settings);
                    self.event(Event::Configure(*settings));
                }
                Ok(Command::Status(answer)) => {
                    // Whoever asked may have given up.
                    let _ = answer.send(self.routers.status());
                }
                Ok(Command::Leave) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
            }
        }
        // The rest comes after the next round of adverts.
        self.inbox.again();
        ControlFlow::Continue(())
    }

    /// Tables and sockets for what the settings name, beside those for what was named before.
    fn make_room(&mut self, settings: &Settings) {
        self.heard.clear();
        for router in &settings.routers {
            for address in router.all_addresses() {
                self.kernel.vips.insert(address.address, vip(address));
            }
            let group = Some(router.group).filter(|_| router.peers.is_empty());
            self.heard.push((router.port.clone(), router.ipv6, group));
            if router.port != router.interface {
                // Switches ask there who is in the group: on the link with the virtual MAC address nothing may be said.
                self.heard.push((router.interface.clone(), router.ipv6, group));
            }
        }
        self.install();
        let routing = settings.routers.iter().filter(|router| !router.accept);
        let routing: Vec<Vip> = routing.flat_map(|router| router.all_addresses().map(vip)).collect();
        let closed = self.kernel.sockets.gates.close(&routing);
        self.kernel.outcome(closed, || "shutting what is for routing only".to_owned());
        let interfaces: BTreeSet<String> = self.kernel.vips.values().map(|vip| vip.interface.clone()).collect();
        for interface in interfaces {
            self.kernel.open_packet(&interface);
        }
        self.sockets.retain(|(interface, ipv6), _| self.heard.iter().any(|(i, v6, _)| i == interface && v6 == ipv6));
        self.open_sockets();
    }

    /// The sockets of links that are there and have none; those of others are opened when the link comes.
    fn open_sockets(&mut self) {
        for (interface, ipv6, group) in self.heard.clone() {
            let key = (interface.clone(), ipv6);
            if !self.sockets.contains_key(&key) {
                match baton_net::vrrp::Vrrp::open(&interface, ipv6) {
                    Ok(socket) => {
                        self.sockets.insert(key.clone(), socket);
                        let works = Ok::<_, std::io::Error>(());
                        self.kernel.outcome(works, || format!("listening for adverts on {interface}"));
                    }
                    Err(e) => {
                        self.kernel.outcome(Err::<(), _>(e), || format!("listening for adverts on {interface}"));
                        continue;
                    }
                }
            }
            if let (Some(group), Some(socket)) = (group, self.sockets.get_mut(&key)) {
                let joined = socket.join(group);
                self.kernel.outcome(joined, || format!("joining {group} on {interface}"));
            }
        }
    }

    /// Makes the tables of the interfaces that are there.
    fn install(&mut self) {
        let there = |vip: &Vip| self.kernel.sockets.rtnl.index(&vip.interface).is_ok();
        let there: Vec<Vip> = self.kernel.vips.values().filter(|vip| there(vip)).cloned().collect();
        let installed = self.kernel.sockets.gates.install(&there);
        self.kernel.outcome(installed, || "making the nftables tables".to_owned());
    }
}
