//! The kernel side of addresses, for the threads that decide about them: gates, guards, tables, addresses, packet sockets,
//! and what the kernel tells.
//!
//! It decides nothing: what an operation achieved is returned, for the thread to hand to its machine. No disk, no name and
//! no API is waited for here.

mod addresses;
mod inbox;
mod perform;
mod reports;
mod withdraw;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use baton_core::keeper::{Event, GateOp, HostAddress, Level, Link, Mac};
use baton_core::settings::Vip;
use baton_core::time::Time;
use baton_net::gate::Gates;
use baton_net::monitor::{Monitor, Overflow};
use baton_net::packet::Packet;
use baton_net::rtnl::Rtnl;
use baton_net::table::Watch;
use baton_net::{clock, process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use addresses::Addresses;
pub use inbox::Handle;
pub(crate) use inbox::{Inbox, channel};
pub(crate) use reports::{Reports, Told};
pub use withdraw::withdraw;

/// Batches of claims taken from one interface in one round.
const CLAIMS: usize = 16;
/// How soon a full report queue is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// What is opened before the thread starts, so that what is missing is refused at once.
pub struct Sockets {
    /// Gates of the addresses.
    pub gates: Gates,
    /// Addresses of the host.
    pub rtnl: Rtnl,
    /// What the kernel tells about links and addresses.
    pub monitor: Monitor,
    /// Who deletes tables of ours; `None` without a fence.
    pub watch: Option<Watch>,
    /// Announcing and hearing others, by interface.
    pub packets: BTreeMap<String, Packet>,
}

impl Sockets {
    /// Opens what the gates and the packet sockets need beside them. Before the host is looked at: no change falls between.
    ///
    /// # Errors
    /// What making a socket may fail with.
    pub fn open(gates: Gates, packets: BTreeMap<String, Packet>) -> io::Result<Sockets> {
        let watch = if gates.layout().is_some() { Some(Watch::open()?) } else { None };
        Ok(Sockets { gates, rtnl: Rtnl::open()?, monitor: Monitor::open()?, watch, packets })
    }

    /// The host's links and addresses.
    ///
    /// # Errors
    /// What netlink may fail with.
    pub fn look(&mut self) -> io::Result<(Vec<Link>, Vec<HostAddress>)> {
        Ok((self.rtnl.links()?, self.rtnl.addresses()?))
    }
}

fn input(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

/// Another host that answers or announces.
pub(crate) struct Claim {
    pub(crate) address: IpAddr,
    pub(crate) mac: Mac,
}

/// What can be read.
pub(crate) struct Ready {
    pub(crate) commands: bool,
    pub(crate) kernel: bool,
    pub(crate) claims: bool,
}

pub(crate) struct Kernel<R> {
    pub(crate) sockets: Sockets,
    pub(crate) reports: Reports<R>,
    addresses: Addresses,
    /// Ends of the gates that are open, as the kernel confirmed them.
    open: BTreeMap<IpAddr, (Vip, Time)>,
    /// What went wrong last, by what was tried: told when it changes, not every time.
    troubles: BTreeMap<String, String>,
    /// All addresses, those of the last settings included until they are gone.
    pub(crate) vips: BTreeMap<IpAddr, Vip>,
    /// How long addresses are guarded.
    pub(crate) guard: Duration,
    /// On which interface each address is guarded, and until when at least.
    guarded: BTreeMap<IpAddr, (String, Time)>,
    /// Which ones the kernel did not take the last time.
    unguarded: BTreeMap<IpAddr, Vip>,
}

impl<R: Told> Kernel<R> {
    pub(crate) fn new(sockets: Sockets, vips: Vec<Vip>, outbox: mpsc::Sender<R>) -> io::Result<Kernel<R>> {
        Ok(Kernel {
            sockets,
            reports: Reports::new(outbox),
            addresses: Addresses::start()?,
            open: BTreeMap::new(),
            troubles: BTreeMap::new(),
            vips: vips.into_iter().map(|vip| (vip.address, vip)).collect(),
            guard: Duration::ZERO,
            guarded: BTreeMap::new(),
            unguarded: BTreeMap::new(),
        })
    }

    /// To be called first on the thread that serves it: it is never swapped out, and scheduled before others.
    pub(crate) fn settle_in(&mut self) {
        if let Err(e) = process::lock_memory() {
            self.reports.log(Level::Debug, format!("memory is not locked: {e}"));
        }
        if !process::realtime() {
            self.reports.log(Level::Debug, "no SCHED_FIFO: scheduled like everybody else".to_owned());
        }
    }

    /// Sleeps until something can be read or the deadline passes; says what can be read. What the thread's `own` sockets
    /// have is always tried.
    pub(crate) fn wait<'a, C>(
        &mut self,
        inbox: &Inbox<C>,
        deadline: Option<Time>,
        own: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> Ready {
        let waiting = self.reports.flush();
        let until = deadline.map(|t| t.left(clock::now()));
        let timeout = if waiting { Some(until.map_or(RETRY, |t| t.min(RETRY))) } else { until };
        let timeout = timeout.and_then(|d| Timespec::try_from(d).ok());
        let mut fds = vec![input(inbox.as_fd()), input(self.sockets.monitor.as_fd())];
        fds.extend(self.sockets.watch.iter().map(|w| input(w.as_fd())));
        let kernel = 1..fds.len();
        fds.extend(self.sockets.packets.values().map(|p| input(p.as_fd())));
        let claims = kernel.end..fds.len();
        for fd in own {
            fds.push(input(fd));
        }
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

    /// What happened to links and addresses. Tables that were removed are put back; after a lost notification everything is
    /// read again, as after a start.
    pub(crate) fn hear(&mut self) -> Vec<Event> {
        if self.sockets.watch.as_mut().is_some_and(Watch::read) {
            self.repair_table();
        }
        for (what, result) in self.addresses.outcomes() {
            self.outcome(result, || what);
        }
        let events = match self.sockets.monitor.read() {
            Ok(events) => events,
            Err(Overflow) => return self.read_again(),
        };
        for event in &events {
            if let Event::AddressGone { address, .. } = event {
                self.addresses.gone(*address);
            }
        }
        events
    }

    fn read_again(&mut self) -> Vec<Event> {
        match self.sockets.look() {
            Ok((links, addresses)) => {
                let links = links.into_iter().map(Event::Link);
                links.chain([Event::Addresses(addresses)]).collect()
            }
            Err(e) => {
                self.outcome(Err::<(), _>(e), || "reading links and addresses".to_owned());
                Vec::new()
            }
        }
    }

    /// Other hosts that answer or announce addresses of ours on their interfaces.
    pub(crate) fn claims(&mut self) -> Vec<Claim> {
        let mut heard = Vec::new();
        for (interface, packet) in &mut self.sockets.packets {
            for _ in 0..CLAIMS {
                // A link that is gone tells so by its own event.
                let claims = packet.read().unwrap_or_default();
                if claims.is_empty() {
                    break;
                }
                let claims = claims.into_iter().map(|c| Claim { address: c.address, mac: c.mac });
                heard.extend(
                    claims.filter(|c| self.vips.get(&c.address).is_some_and(|vip| vip.interface == *interface)),
                );
            }
        }
        heard
    }

    /// Addresses are to be on this interface.
    pub(crate) fn has(&self, interface: &str) -> bool {
        self.vips.values().any(|v| v.interface == interface)
    }

    pub(crate) fn all(&self) -> Vec<Vip> {
        self.vips.values().cloned().collect()
    }

    /// The machine has left: the tables go, and `last` is told.
    pub(crate) fn end(mut self, last: R) {
        self.remove_tables();
        self.reports.send(last);
        while self.reports.flush() {
            std::thread::sleep(RETRY);
        }
    }

    /// Out at once: the gates first, those that are open before all, then the addresses.
    pub(crate) fn leave(&mut self) {
        let open: Vec<Vip> = std::mem::take(&mut self.open).into_values().map(|(vip, _)| vip).collect();
        for vips in [open, self.all()] {
            let _ = self.sockets.gates.apply_all(&vips, GateOp::Shut);
        }
        self.remove_tables();
    }

    /// An address without a table answers: the tables go only when no address of ours is left, whatever became of the
    /// operations before, and whether or not it was this process that put it. Those that stay end by themselves.
    fn remove_tables(&mut self) {
        self.addresses.finish();
        let left = withdraw::remove_marked(&self.all(), &self.sockets.gates.guarded());
        if left.is_empty() {
            let removed = self.sockets.gates.remove();
            return self.outcome(removed, || "removing the nftables tables".to_owned());
        }
        let line = format!("the nftables tables stay, `baton cleanup` removes them: {}", left.join("; "));
        self.reports.log(Level::Error, line);
    }
}
