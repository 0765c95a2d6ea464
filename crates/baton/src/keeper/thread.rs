//! The loop: wait until something can be read or a deadline passes, turn it into events, in a fixed order.
//!
//! Datagrams come first, because a renewal may be among them; a deadline that is due goes before each of them; what the
//! kernel and the planner have to say comes after, in bounded batches, so that no flood of one kind starves another.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::ops::{ControlFlow, Range};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use baton_core::keeper::{Event, GateOp, Keeper, Level, Memory};
use baton_core::settings::{Ownership, Vip};
use baton_core::time::Time;
use baton_net::clock;
use baton_net::gate::Gates;
use baton_net::monitor::Monitor;
use baton_net::packet::Packet;
use baton_net::process;
use baton_net::rtnl::Rtnl;
use baton_net::table::Watch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::addresses::Addresses;
use super::reports::Reports;
use super::withdraw::remove_marked;
use super::{Command, Report};
use crate::kube::lease::Requests;

/// Datagrams taken in one round.
const DATAGRAMS: usize = 64;
/// Longer than any message of the peers.
const DATAGRAM_MAX: usize = 2048;
/// Commands taken in one round.
const COMMANDS: usize = 64;
/// Batches of claims taken from one interface in one round.
const CLAIMS: usize = 16;
/// How soon a full report queue is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// The sockets that the thread owns. All are opened before it starts, so that what is missing is refused at once.
pub struct World {
    /// The peers' port; `None` without peers.
    pub udp: Option<UdpSocket>,
    /// Gates of the addresses.
    pub gates: Gates,
    /// Addresses of the host.
    pub rtnl: Rtnl,
    /// What the kernel tells about links and addresses.
    pub monitor: Monitor,
    /// Who deletes tables of ours; `None` without a fence.
    pub watch: Option<Watch>,
    /// The addresses' links.
    pub packets: BTreeMap<String, Packet>,
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
        Ok(Memory {
            addresses: self.rtnl.addresses()?,
            links: self.rtnl.links()?,
            open_gates: self.gates.open_gates(),
            guarded: self.gates.guarded().into_iter().map(|(_, left)| left).max().unwrap_or_default(),
            ..Memory::default()
        })
    }
}

pub(super) struct Thread {
    pub(super) keeper: Keeper,
    pub(super) world: World,
    pub(super) addresses: Addresses,
    pub(super) reports: Reports,
    /// Ends of the gates that are open, as the kernel confirmed them.
    pub(super) open: BTreeMap<IpAddr, (Vip, Time)>,
    /// What went wrong last, by what was tried: told when it changes, not every time.
    pub(super) troubles: BTreeMap<String, String>,
    /// All addresses.
    pub(super) vips: BTreeMap<IpAddr, Vip>,
    /// How long addresses are guarded, and which ones the kernel did not take the last time.
    pub(super) guard: Duration,
    /// On which interface each address is guarded, and until when at least.
    pub(super) guarded: BTreeMap<IpAddr, (String, Time)>,
    pub(super) unguarded: BTreeMap<IpAddr, Vip>,
    pub(super) stopped: bool,
    inbox: Receiver<Command>,
    wake: Arc<OwnedFd>,
}

/// What can be read.
struct Ready {
    commands: bool,
    kernel: bool,
    claims: bool,
}

impl Thread {
    pub(super) fn new(
        keeper: Keeper,
        world: World,
        addresses: Addresses,
        inbox: Receiver<Command>,
        wake: Arc<OwnedFd>,
        outbox: mpsc::Sender<Report>,
    ) -> Thread {
        let reports = Reports::new(outbox);
        let vips = world.vips.iter().map(|vip| (vip.address, vip.clone())).collect();
        let (open, troubles) = (BTreeMap::new(), BTreeMap::new());
        Thread {
            keeper,
            world,
            addresses,
            reports,
            open,
            troubles,
            vips,
            guard: Duration::ZERO,
            guarded: BTreeMap::new(),
            unguarded: BTreeMap::new(),
            stopped: false,
            inbox,
            wake,
        }
    }

    pub(super) fn run(mut self) {
        if let Err(e) = process::lock_memory() {
            self.reports.log(Level::Debug, format!("memory is not locked: {e}"));
        }
        if !process::realtime() {
            self.reports.log(Level::Debug, "no SCHED_FIFO: scheduled like everybody else".to_owned());
        }
        self.tick();
        while !self.stopped {
            let ready = self.wait();
            self.datagrams();
            if ready.kernel {
                self.kernel();
            }
            if ready.claims {
                self.claims();
            }
            if ready.commands && self.commands().is_break() {
                return self.leave();
            }
            self.tick();
        }
        self.remove_tables();
        self.reports.send(Report::Stopped);
        while self.reports.flush() {
            std::thread::sleep(RETRY);
        }
    }

    /// An address without a table answers: the tables go only when no address of ours is left, whatever became of the
    /// operations before, and whether or not it was this process that put it. Those that stay end by themselves.
    fn remove_tables(&mut self) {
        self.addresses.finish();
        let left = remove_marked(&self.all(), &self.world.gates.guarded());
        if left.is_empty() {
            let removed = self.world.gates.remove();
            return self.outcome(removed, || "removing the nftables tables".to_owned());
        }
        let line = format!("the nftables tables stay, `baton cleanup` removes them: {}", left.join("; "));
        self.reports.log(Level::Error, line);
    }

    /// Sleeps until something can be read or a deadline passes; says what can be read. (The peers' port is always tried.)
    fn wait(&mut self) -> Ready {
        let now = clock::now();
        let waiting = self.reports.flush();
        let until = self.keeper.deadline().map(|t| t.left(now));
        let timeout = if waiting { Some(until.map_or(RETRY, |t| t.min(RETRY))) } else { until };
        let timeout = timeout.and_then(|d| Timespec::try_from(d).ok());
        let input = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![input(self.wake.as_fd()), input(self.world.monitor.as_fd())];
        fds.extend(self.world.watch.iter().map(|w| input(w.as_fd())));
        let kernel = 1..fds.len();
        fds.extend(self.world.packets.values().map(|p| input(p.as_fd())));
        let claims = kernel.end..fds.len();
        fds.extend(self.world.udp.iter().map(|udp| input(udp.as_fd())));
        let polled = poll(&mut fds, timeout.as_ref());
        let any = |range: Range<usize>| fds[range].iter().any(|fd| !fd.revents().is_empty());
        let ready = Ready { commands: any(0..1), kernel: any(kernel), claims: any(claims) };
        match polled {
            // A signal in between is no matter: the round finds nothing to read.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => {
                self.outcome(Err::<(), _>(e), || "waiting for events".to_owned());
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        ready
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
            let Some(udp) = &self.world.udp else { return };
            match udp.recv_from(&mut buffer) {
                Ok((n, from)) => self.event(Event::Datagram { from, bytes: buffer[..n].to_vec() }),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return self.outcome(Err::<(), _>(e), || "receiving from peers".to_owned()),
            }
        }
    }

    /// Tables, links and addresses. After a lost notification everything is read again.
    fn kernel(&mut self) {
        if self.world.watch.as_mut().is_some_and(Watch::read) {
            self.repair_table();
        }
        for (what, result) in self.addresses.outcomes() {
            self.outcome(result, || what);
        }
        match self.world.monitor.read() {
            Ok(events) => {
                for event in events {
                    if let Event::AddressGone { address, .. } = &event {
                        self.addresses.gone(*address);
                    }
                    self.link_may_be_new(&event);
                    self.event(event);
                    self.tick();
                }
            }
            Err(baton_net::monitor::Overflow) => self.read_again(),
        }
    }

    /// Everything about the host, as after a start.
    fn read_again(&mut self) {
        match self.world.rtnl.links() {
            Ok(links) => links.into_iter().for_each(|link| self.event(Event::Link(link))),
            Err(e) => self.outcome(Err::<(), _>(e), || "reading the links".to_owned()),
        }
        match self.world.rtnl.addresses() {
            Ok(addresses) => self.event(Event::Addresses(addresses)),
            Err(e) => self.outcome(Err::<(), _>(e), || "reading the addresses".to_owned()),
        }
    }

    /// A link of ours that comes back may be another device under the same name: its packet socket and its chains are
    /// gone with the old one.
    fn link_may_be_new(&mut self, event: &Event) {
        let Event::Link(link) = event else { return };
        if !link.up || !self.vips.values().any(|v| v.interface == link.name) {
            return;
        }
        match self.world.packets.get_mut(&link.name) {
            Some(packet) => {
                let refreshed = packet.refresh();
                self.outcome(refreshed, || format!("listening on {}", link.name));
            }
            None => self.open_packet(&link.name),
        }
        self.repair_table();
    }

    /// Other hosts that answer or announce.
    fn claims(&mut self) {
        let mut heard = Vec::new();
        for (interface, packet) in &mut self.world.packets {
            for _ in 0..CLAIMS {
                // A link that is gone tells so by its own event.
                let claims = packet.read().unwrap_or_default();
                if claims.is_empty() {
                    break;
                }
                heard.extend(claims.into_iter().map(|c| (interface.clone(), c)));
            }
        }
        for (interface, claim) in heard {
            if self.vips.get(&claim.address).is_some_and(|v| v.interface == interface) {
                self.event(Event::Claimed { vip: claim.address, mac: claim.mac });
                self.tick();
            }
        }
    }

    fn commands(&mut self) -> ControlFlow<()> {
        let mut count = [0; 8];
        // Only clears the eventfd; whether it was set makes no difference.
        let _ = rustix::io::read(&self.wake, &mut count);
        for taken in 0..COMMANDS {
            match self.inbox.try_recv() {
                Ok(Command::Event(Event::Put(vip))) => self.put(vip),
                Ok(Command::Event(event)) => self.event(event),
                Ok(Command::Tables(vips, answer)) => {
                    let installed = self.world.gates.install(&vips).map_err(|e| e.to_string());
                    if installed.is_ok() {
                        self.vips = vips.into_iter().map(|vip| (vip.address, vip)).collect();
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
            if taken + 1 == COMMANDS {
                // The rest comes after the next round of datagrams.
                let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
            }
        }
        ControlFlow::Continue(())
    }

    fn configure(&mut self, settings: Ownership, udp: Option<UdpSocket>) {
        if udp.is_some() || settings.local.is_none() {
            self.world.udp = udp;
        }
        let interfaces: Vec<String> = settings.vips.iter().map(|v| v.interface.clone()).collect();
        // Sockets of interfaces that are no longer asked for stay: a hand-over may need them.
        for interface in interfaces {
            self.open_packet(&interface);
        }
        self.event(Event::Configure(settings));
    }

    /// One more address, or one otherwise: its interface gets what it needs with its first address.
    fn put(&mut self, vip: Vip) {
        let (address, interface) = (vip.address, vip.interface.clone());
        let first = !self.vips.values().any(|v| v.interface == interface);
        let before = self.vips.insert(address, vip.clone());
        if before.is_some_and(|b| b.interface != interface) {
            // It is to be heard on its old interface until it is gone from there.
            self.open_packet(&interface);
        }
        if first {
            let installed = self.world.gates.install(std::slice::from_ref(&vip));
            self.outcome(installed, || format!("making the tables of {interface}"));
        }
        match self.world.packets.get_mut(&interface) {
            Some(packet) => {
                let watched = packet.watch_one(address);
                self.outcome(watched, || format!("listening on {interface}"));
            }
            None => self.open_packet(&interface),
        }
        self.event(Event::Put(vip));
    }

    /// An address that is kept no more has gone.
    pub(super) fn unguard(&mut self, vip: &Vip) {
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

    pub(super) fn all(&self) -> Vec<Vip> {
        self.vips.values().cloned().collect()
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

    /// Out at once: the gates first, then the addresses.
    fn leave(&mut self) {
        let open = std::mem::take(&mut self.open);
        for (vip, _) in open.values() {
            let _ = self.world.gates.apply(vip, GateOp::Shut);
        }
        let all = self.all();
        let _ = self.world.gates.apply_all(&all, GateOp::Shut);
        self.remove_tables();
        let _ = self.reports.flush();
    }
}
