//! The thread that performs what `core::vrrp` decides: adverts, gates, addresses, announcements.
//!
//! As the keeper's thread does for leases, it owns the sockets and the machine, shares nothing, and talks to the rest of
//! the process through two bounded queues of values. No disk, no script, no name is waited for here.

mod perform;
mod reports;
mod thread;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use baton_core::keeper::{HostAddress, Level, Link};
use baton_core::vrrp::{Event, Name, Note, Notice, Routers, Settings, Status, Subject};
use baton_net::clock;
use baton_net::gate::Gates;
use baton_net::monitor::Monitor;
use baton_net::packet::Packet;
use baton_net::rtnl::Rtnl;
use baton_net::table::Watch;
use baton_net::vrrp::Vrrp;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{mpsc, oneshot};

use crate::keeper::Addresses;
pub(crate) use perform::vip;

/// Commands that wait for the thread.
const COMMANDS: usize = 1024;
/// Reports that wait for the other side. Lines beyond that are counted, not kept.
const REPORTS: usize = 4096;

/// What the thread may be asked.
#[derive(Debug)]
pub enum Command {
    /// Hand this to the machine.
    Event(Event),
    /// New settings: sockets and tables first, then the machine.
    Configure(Box<Settings>),
    /// Answer with a snapshot.
    Status(oneshot::Sender<Status>),
    /// Shut all gates, remove the addresses and end, at once.
    Leave,
}

/// What the thread tells.
#[derive(Debug)]
pub enum Report {
    /// For the log.
    Note(Note),
    /// For scripts and fifos.
    Notify {
        /// Whom it is about.
        of: Subject,
        /// Its name.
        name: Name,
        /// What is said.
        what: Notice,
        /// Effective priority.
        priority: u8,
    },
    /// What the thread itself has to say.
    Log(Level, String),
    /// Everything is withdrawn.
    Stopped,
}

/// The running thread.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: SyncSender<Command>,
    wake: Arc<OwnedFd>,
}

impl Handle {
    /// Sends a command. `false`: the queue is full or the thread is gone.
    #[must_use]
    pub fn send(&self, command: Command) -> bool {
        let sent = self.commands.try_send(command).is_ok();
        // Adding 1 to an eventfd can only fail when it stands at its maximum, and then the thread is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        sent
    }
}

/// The sockets that the thread owns, and what the host was like when they were opened.
pub struct World {
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
    /// Adverts, by interface and whether IPv6.
    pub sockets: BTreeMap<(Name, bool), Vrrp>,
    /// Addresses that come and go are logged.
    pub log_addresses: bool,
}

impl World {
    /// Opens what needs no interface. With `fence`, refused where the kernel has no gates.
    ///
    /// # Errors
    /// For people.
    pub fn open(fence: bool, log_addresses: bool) -> Result<World, String> {
        // Before the host is looked at, so that nothing is missed in between.
        let monitor = Monitor::open().map_err(|e| format!("listening to the kernel: {e}"))?;
        let watch = match fence {
            true => Some(Watch::open().map_err(|e| format!("listening to nftables: {e}"))?),
            false => None,
        };
        Ok(World {
            gates: Gates::open(fence).map_err(|e| e.to_string())?,
            rtnl: Rtnl::open().map_err(|e| format!("route netlink: {e}"))?,
            monitor,
            watch,
            packets: BTreeMap::new(),
            sockets: BTreeMap::new(),
            log_addresses,
        })
    }

    /// The host's links and addresses.
    ///
    /// # Errors
    /// What netlink may fail with.
    pub fn look(&mut self) -> io::Result<(Vec<Link>, Vec<HostAddress>)> {
        Ok((self.rtnl.links()?, self.rtnl.addresses()?))
    }
}

/// Starts the thread, which first makes tables and sockets for these settings.
///
/// # Errors
/// What making an eventfd or a thread may fail with, and what the kernel says of the host.
pub fn spawn(settings: Settings, mut world: World) -> io::Result<(Handle, mpsc::Receiver<Report>)> {
    let (commands, inbox) = sync_channel(COMMANDS);
    let (outbox, reports) = mpsc::channel(REPORTS);
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let waker = Arc::clone(&wake);
    let addresses = Addresses::start()?;
    let (links, here) = world.look()?;
    let routers = Routers::new(settings.clone(), links, here, clock::tick(), clock::now());
    let thread = thread::Thread::new(routers, world, addresses, inbox, waker, outbox);
    // Its end closes the queue of reports, which is how the other side learns of it.
    std::thread::Builder::new().name("vrrp".to_owned()).spawn(move || thread.run(&settings))?;
    Ok((Handle { commands, wake }, reports))
}
