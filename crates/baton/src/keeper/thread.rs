//! The loop: wait until something can be read or a deadline passes, turn it into events, in a fixed order.
//!
//! Datagrams come first, because a renewal may be among them; a deadline that is due goes before each of them; what the
//! kernel and the planner have to say comes after, in bounded batches, so that no flood of one kind starves another.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::mpsc::TryRecvError;

use baton_core::keeper::{Event, Keeper, Memory};
use baton_core::settings::{Ownership, Vip};
use baton_net::clock;

use super::{Command, Report};
use crate::kernel::{Inbox, Kernel, Sockets};
use crate::kube::lease::Requests;

/// Datagrams taken in one round.
const DATAGRAMS: usize = 64;
/// Longer than any message of the peers.
const DATAGRAM_MAX: usize = 2048;
/// Commands taken in one round.
const COMMANDS: usize = 64;

/// What the thread owns. All of it is opened before it starts, so that what is missing is refused at once.
pub struct World {
    /// The peers' port; `None` without peers.
    pub udp: Option<UdpSocket>,
    /// The kernel's side of the addresses.
    pub sockets: Sockets,
    /// The addresses.
    pub vips: Vec<Vip>,
    /// Where requests about Leases go; `None` without Kubernetes.
    pub leases: Option<Requests>,
}

impl World {
    /// What a predecessor left on the host and in the kernel; the markers are read elsewhere.
    ///
    /// # Errors
    /// What reading links or addresses may fail with.
    pub fn memory(&mut self) -> std::io::Result<Memory> {
        let (links, addresses) = self.sockets.look()?;
        let gates = &mut self.sockets.gates;
        Ok(Memory {
            addresses,
            links,
            open_gates: gates.open_gates(),
            guarded: gates.guarded().into_iter().map(|(_, left)| left).max().unwrap_or_default(),
            ..Memory::default()
        })
    }
}

pub(super) struct Thread {
    pub(super) keeper: Keeper,
    pub(super) kernel: Kernel<Report>,
    pub(super) udp: Option<UdpSocket>,
    pub(super) leases: Option<Requests>,
    pub(super) stopped: bool,
    pub(super) inbox: Inbox<Command>,
}

impl Thread {
    pub(super) fn run(mut self) {
        self.kernel.settle_in();
        self.tick();
        while !self.stopped {
            let peers = self.udp.iter().map(AsFd::as_fd);
            let ready = self.kernel.wait(&self.inbox, self.keeper.deadline(), peers);
            self.datagrams();
            if ready.kernel {
                self.hear();
            }
            if ready.claims {
                self.claims();
            }
            if ready.commands && self.commands().is_break() {
                self.kernel.leave();
                let _ = self.kernel.reports.flush();
                return;
            }
            self.tick();
        }
        self.kernel.end(Report::Stopped);
    }

    /// A deadline that has passed goes before everything else.
    fn tick(&mut self) {
        if self.keeper.deadline().is_some_and(|t| t <= clock::now()) {
            self.event(Event::Tick);
        }
    }

    fn datagrams(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX];
        for _ in 0..DATAGRAMS {
            self.tick();
            let Some(udp) = &self.udp else { return };
            match udp.recv_from(&mut buffer) {
                Ok((n, from)) => self.event(Event::Datagram { from, bytes: buffer[..n].to_vec() }),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return self.kernel.outcome(Err::<(), _>(e), || "receiving from peers".to_owned()),
            }
        }
    }

    /// Links and addresses.
    fn hear(&mut self) {
        for event in self.kernel.hear() {
            self.link_may_be_new(&event);
            self.event(event);
            self.tick();
        }
    }

    /// A link of ours that comes back may be another device under the same name: its packet socket and its chains are
    /// gone with the old one.
    fn link_may_be_new(&mut self, event: &Event) {
        let Event::Link(link) = event else { return };
        if link.up && self.kernel.has(&link.name) {
            self.kernel.listen_again(&link.name);
            self.kernel.repair_table();
        }
    }

    /// Other hosts that answer or announce.
    fn claims(&mut self) {
        for claim in self.kernel.claims() {
            self.event(Event::Claimed { vip: claim.address, mac: claim.mac });
            self.tick();
        }
    }

    fn commands(&mut self) -> ControlFlow<()> {
        self.inbox.clear();
        for _ in 0..COMMANDS {
            match self.inbox.take() {
                Ok(Command::Event(Event::Put(vip))) => self.put(vip),
                Ok(Command::Event(event)) => self.event(event),
                Ok(Command::Tables(vips, answer)) => {
                    let installed = self.kernel.sockets.gates.install(&vips).map_err(|e| e.to_string());
                    if installed.is_ok() {
                        self.kernel.vips = vips.into_iter().map(|vip| (vip.address, vip)).collect();
                    }
                    let _ = answer.send(installed);
                }
                Ok(Command::Configure(settings, udp)) => self.configure(*settings, udp),
                Ok(Command::Status(answer)) => {
                    // Whoever asked may have given up.
                    let _ = answer.send(self.keeper.status(clock::now()));
                }
                Ok(Command::Leave) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
            }
            self.tick();
        }
        // The rest comes after the next round of datagrams.
        self.inbox.again();
        ControlFlow::Continue(())
    }

    fn configure(&mut self, settings: Ownership, udp: Option<UdpSocket>) {
        if udp.is_some() || settings.local.is_none() {
            self.udp = udp;
        }
        let interfaces: Vec<String> = settings.vips.iter().map(|v| v.interface.clone()).collect();
        // Sockets of interfaces that are no longer asked for stay: a hand-over may need them.
        for interface in interfaces {
            self.kernel.open_packet(&interface);
        }
        self.event(Event::Configure(settings));
    }

    /// One more address, or one otherwise: its interface gets what it needs with its first address.
    fn put(&mut self, vip: Vip) {
        let (address, interface) = (vip.address, vip.interface.clone());
        let kernel = &mut self.kernel;
        let first = !kernel.has(&interface);
        let before = kernel.vips.insert(address, vip.clone());
        if before.is_some_and(|b| b.interface != interface) {
            // It is to be heard on its old interface until it is gone from there.
            kernel.open_packet(&interface);
        }
        if first {
            let installed = kernel.sockets.gates.install(std::slice::from_ref(&vip));
            kernel.outcome(installed, || format!("making the tables of {interface}"));
        }
        match kernel.sockets.packets.get_mut(&interface) {
            Some(packet) => {
                let watched = packet.watch_one(address);
                kernel.outcome(watched, || format!("listening on {interface}"));
            }
            None => kernel.open_packet(&interface),
        }
        self.event(Event::Put(vip));
    }
}
