//! The loop: wait until something can be read or a deadline passes, turn it into events, in a fixed order.
//!
//! Adverts come first, before a deadline that has passed: a process that stood still must hear of its successor before it
//! goes on. What the kernel and the rest of the process have to say comes after, in bounded batches.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::{ControlFlow, Range};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use baton_core::keeper::{self, GateOp, Level};
use baton_core::settings::Vip;
use baton_core::time::Time;
use baton_core::vrrp::{Event, Name, Routers, Settings};
use baton_net::table::Watch;
use baton_net::{clock, process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::perform::vip;
use super::reports::Reports;
use super::{Command, Report, World};
use crate::keeper::{Addresses, remove_marked};

/// Adverts taken from one socket in one round: all that wait, as far as their number has sense.
const ADVERTS: usize = 2048;
/// The largest packet that is read whole: 255 IPv6 addresses are 4,088 bytes.
const PACKET_MAX: usize = 8192;
/// Commands taken in one round.
const COMMANDS: usize = 64;
/// Batches of claims taken from one interface in one round.
const CLAIMS: usize = 16;
/// How soon a full report queue is tried again.
const RETRY: Duration = Duration::from_millis(10);

pub(super) struct Thread {
    pub(super) routers: Routers,
    pub(super) world: World,
    pub(super) addresses: Addresses,
    pub(super) reports: Reports,
    /// Ends of the gates that are open, as the kernel confirmed them.
    pub(super) open: BTreeMap<IpAddr, (Vip, Time)>,
    /// What went wrong last, by what was tried: told when it changes, not every time.
    pub(super) troubles: BTreeMap<String, String>,
    /// All addresses, those of the last settings included until they are gone.
    pub(super) vips: BTreeMap<IpAddr, Vip>,
    /// How long addresses are guarded, on which interface each is and until when at least, and which ones the kernel did
    /// not take the last time.
    pub(super) guard: Duration,
    pub(super) guarded: BTreeMap<IpAddr, (String, Time)>,
    pub(super) unguarded: BTreeMap<IpAddr, Vip>,
    pub(super) stopped: bool,
    /// Where adverts are sent and heard: interface, IPv6, group.
    heard: Vec<(Name, bool, Option<IpAddr>)>,
    inbox: Receiver<Command>,
    wake: Arc<OwnedFd>,
    buffer: Vec<u8>,
}

/// What can be read.
struct Ready {
    commands: bool,
    kernel: bool,
    claims: bool,
}

impl Thread {
    pub(super) fn new(
        routers: Routers,
        world: World,
        addresses: Addresses,
        inbox: Receiver<Command>,
        wake: Arc<OwnedFd>,
        outbox: mpsc::Sender<Report>,
    ) -> Thread {
        Thread {
            routers,
            world,
            addresses,
            reports: Reports::new(outbox),
            open: BTreeMap::new(),
            troubles: BTreeMap::new(),
            vips: BTreeMap::new(),
            guard: Duration::ZERO,
            guarded: BTreeMap::new(),
            unguarded: BTreeMap::new(),
            stopped: false,
            heard: Vec::new(),
            inbox,
            wake,
            buffer: vec![0; PACKET_MAX],
        }
    }

    pub(super) fn run(mut self, settings: &Settings) {
        if let Err(e) = process::lock_memory() {
            self.reports.log(Level::Debug, format!("memory is not locked: {e}"));
        }
        if !process::realtime() {
            self.reports.log(Level::Debug, "no SCHED_FIFO: scheduled like everybody else".to_owned());
        }
        self.make_room(settings);
        self.event(Event::Tick);
        while !self.stopped {
            let ready = self.wait();
            // What the clock said before the sockets were emptied is what counts: a process that is stopped in between
            // must not take its own absence for a master's silence.
            let now = clock::now();
            self.adverts();
            self.tick(now);
            if ready.kernel {
                self.kernel();
            }
            if ready.claims {
                self.claims();
            }
            if ready.commands && self.commands().is_break() {
                return self.leave();
            }
        }
        self.remove_tables();
        self.reports.send(Report::Stopped);
        while self.reports.flush() {
            std::thread::sleep(RETRY);
        }
    }

    /// Sleeps until something can be read or a deadline passes; says what can be read. (Adverts are always tried.)
    fn wait(&mut self) -> Ready {
        let now = clock::now();
        let waiting = self.reports.flush();
        let until = self.routers.deadline().map(|t| t.left(now));
        let timeout = if waiting { Some(until.map_or(RETRY, |t| t.min(RETRY))) } else { until };
        let timeout = timeout.and_then(|d| Timespec::try_from(d).ok());
        let input = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![input(self.wake.as_fd()), input(self.world.monitor.as_fd())];
        fds.extend(self.world.watch.iter().map(|w| input(w.as_fd())));
        let kernel = 1..fds.len();
        fds.extend(self.world.packets.values().map(|p| input(p.as_fd())));
        let claims = kernel.end..fds.len();
        fds.extend(self.world.sockets.values().map(|s| input(s.as_fd())));
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

    /// A deadline that has passed.
    fn tick(&mut self, now: Time) {
        if self.routers.deadline().is_some_and(|t| t <= now) {
            self.event_at(now, Event::Tick);
        }
    }

    fn adverts(&mut self) {
        let places: Vec<(Name, bool)> = self.world.sockets.keys().cloned().collect();
        for (interface, ipv6) in places {
            for _ in 0..ADVERTS {
                let Some(socket) = self.world.sockets.get_mut(&(interface.clone(), ipv6)) else { break };
                match socket.read(&mut self.buffer) {
                    Ok(Some(packet)) => {
                        let bytes = packet.payload(&self.buffer).to_vec();
                        let interface = interface.clone();
                        let (source, destination, ttl) = (packet.source, packet.destination, packet.ttl);
                        self.event(Event::Advert { interface, source, destination, ttl, bytes });
                    }
                    Ok(None) => break,
                    Err(e) => {
                        self.outcome(Err::<(), _>(e), || format!("receiving adverts on {interface}"));
                        break;
                    }
                }
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
                    self.told(event);
                }
            }
            Err(baton_net::monitor::Overflow) => self.read_again(),
        }
    }

    /// The kernel's word about a link or an address.
    fn told(&mut self, event: keeper::Event) {
        match event {
            keeper::Event::AddressPut(a) => {
                if self.world.log_addresses {
                    let line = format!("{}/{} is on {}", a.address, a.prefix, a.interface);
                    self.reports.log(Level::Info, line);
                }
                self.event(Event::AddressPut(a));
            }
            keeper::Event::AddressGone { interface, address } => {
                if self.world.log_addresses {
                    self.reports.log(Level::Info, format!("{address} is gone from {interface}"));
                }
                self.addresses.gone(address);
                self.event(Event::AddressGone { interface, address });
            }
            keeper::Event::Link(link) => {
                if link.up {
                    self.link_may_be_new(&link.name);
                }
                self.event(Event::Link(link));
            }
            keeper::Event::Rerouted { interface } => self.event(Event::Rerouted { interface }),
            // The monitor tells nothing else.
            _ => {}
        }
    }

    /// Everything about the host, as after a start.
    fn read_again(&mut self) {
        match self.world.look() {
            Ok((links, addresses)) => {
                links.into_iter().for_each(|link| self.told(keeper::Event::Link(link)));
                self.event(Event::Addresses(addresses));
            }
            Err(e) => self.outcome(Err::<(), _>(e), || "reading links and addresses".to_owned()),
        }
    }

    /// A link of ours that comes back may be another device under the same name: its sockets and chains are gone with the
    /// old one.
    fn link_may_be_new(&mut self, name: &str) {
        let advertises = self.heard.iter().any(|(interface, ..)| **interface == *name);
        if advertises {
            for socket in self.world.sockets.iter_mut().filter(|((i, _), _)| **i == *name).map(|(_, s)| s) {
                // It may be gone again.
                let _ = socket.refresh();
            }
            self.open_sockets();
        }
        if self.vips.values().any(|v| v.interface == name) {
            self.open_packet(name);
            if let Some(packet) = self.world.packets.get_mut(name) {
                let refreshed = packet.refresh();
                self.outcome(refreshed, || format!("listening on {name}"));
            }
            self.install();
            self.repair_table();
        }
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
                self.event(Event::Claimed { address: claim.address, mac: claim.mac });
            }
        }
    }

    fn commands(&mut self) -> ControlFlow<()> {
        let mut count = [0; 8];
        // Only clears the eventfd; whether it was set makes no difference.
        let _ = rustix::io::read(&self.wake, &mut count);
        for taken in 0..COMMANDS {
            match self.inbox.try_recv() {
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
            if taken + 1 == COMMANDS {
                // The rest comes after the next round of adverts.
                let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
            }
        }
        ControlFlow::Continue(())
    }

    /// Tables and sockets for what the settings name, beside those for what was named before.
    fn make_room(&mut self, settings: &Settings) {
        self.heard.clear();
        for router in &settings.routers {
            for address in router.all_addresses() {
                self.vips.insert(address.address, vip(address));
            }
            let group = Some(router.group).filter(|_| router.peers.is_empty());
            self.heard.push((router.interface.clone(), router.ipv6, group));
        }
        self.install();
        let interfaces: std::collections::BTreeSet<String> =
            self.vips.values().map(|vip| vip.interface.clone()).collect();
        for interface in interfaces {
            self.open_packet(&interface);
        }
        self.world
            .sockets
            .retain(|(interface, ipv6), _| self.heard.iter().any(|(i, v6, _)| i == interface && v6 == ipv6));
        self.open_sockets();
    }

    /// The sockets of links that are there and have none; those of others are opened when the link comes.
    fn open_sockets(&mut self) {
        for (interface, ipv6, group) in self.heard.clone() {
            let key = (interface.clone(), ipv6);
            if !self.world.sockets.contains_key(&key) {
                match baton_net::vrrp::Vrrp::open(&interface, ipv6) {
                    Ok(socket) => {
                        self.world.sockets.insert(key.clone(), socket);
                        self.outcome(Ok::<_, std::io::Error>(()), || format!("listening for adverts on {interface}"));
                    }
                    Err(e) => {
                        self.outcome(Err::<(), _>(e), || format!("listening for adverts on {interface}"));
                        continue;
                    }
                }
            }
            if let (Some(group), Some(socket)) = (group, self.world.sockets.get_mut(&key)) {
                let joined = socket.join(group);
                self.outcome(joined, || format!("joining {group} on {interface}"));
            }
        }
    }

    /// Makes the tables of the interfaces that are there.
    fn install(&mut self) {
        let there: Vec<Vip> =
            self.vips.values().filter(|vip| self.world.rtnl.index(&vip.interface).is_ok()).cloned().collect();
        let installed = self.world.gates.install(&there);
        self.outcome(installed, || "making the nftables tables".to_owned());
    }

    pub(super) fn all(&self) -> Vec<Vip> {
        self.vips.values().cloned().collect()
    }

    /// An address without a table answers: the tables go only when no address of ours is left, whatever became of the
    /// operations before. Those that stay end by themselves.
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

    /// Out at once: the gates first, then the addresses.
    fn leave(&mut self) {
        let all = self.all();
        let _ = self.world.gates.apply_all(&all, GateOp::Shut);
        self.remove_tables();
        self.reports.send(Report::Stopped);
        let _ = self.reports.flush();
    }
}
