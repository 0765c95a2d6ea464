//! The keeper's thread: the only place that performs what `core::keeper` decides.
//!
//! It owns the sockets and the machine, shares nothing, and talks to the planner through two bounded queues of values.
//! It does no disk, DNS, TLS or API work, and never waits for the planner.

mod addresses;
mod perform;
mod reports;
mod thread;
mod withdraw;

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use baton_core::keeper::{Event, Holding, Keeper, Level, Marker, Note, Status};
use baton_core::lease::LeaseName;
use baton_core::settings::{Ownership, Vip};
use baton_core::time::Time;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{mpsc, oneshot};

pub(crate) use addresses::Addresses;
pub use thread::World;
pub(crate) use withdraw::remove_marked;
pub use withdraw::withdraw;

/// Commands that wait for the thread; the planner is told when there are more.
const COMMANDS: usize = 256;
/// Reports that wait for the planner. Notes beyond that are counted, not kept.
const REPORTS: usize = 1024;

/// What the planner may ask of the thread.
#[derive(Debug)]
pub enum Command {
    /// Hand this to the machine.
    Event(Event),
    /// Make the tables fit these addresses. Before new settings: those of old and new together; after the hand-over of
    /// what is gone: the new ones.
    Tables(Vec<Vip>, oneshot::Sender<Result<(), String>>),
    /// New settings, with a new socket when the local address changed.
    Configure(Box<Ownership>, Option<UdpSocket>),
    /// Answer with a snapshot.
    Status(oneshot::Sender<Status>),
    /// Shut all gates, remove the addresses and end, at once.
    Leave,
}

/// What the thread tells the planner.
#[derive(Debug)]
pub enum Report {
    /// For the log.
    Note(Note),
    /// Who may use an address.
    Holding(IpAddr, Holding),
    /// Who holds a Lease.
    Leading {
        /// Which one.
        name: LeaseName,
        /// Until when this node may act on it, unless renewed; `None`: it may not.
        until: Option<Time>,
        /// `holderIdentity`; empty: nobody.
        holder: String,
    },
    /// Write a marker.
    Remember(Marker),
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
    pub fn send(&self, command: Command) -> bool {
        let sent = self.commands.try_send(command).is_ok();
        // Adding 1 to an eventfd can only fail when it stands at its maximum, and then the thread is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        sent
    }
}

/// Starts the thread.
///
/// # Errors
/// What making an eventfd or a thread may fail with.
pub fn spawn(keeper: Keeper, world: World) -> io::Result<(Handle, mpsc::Receiver<Report>)> {
    let (commands, inbox) = sync_channel(COMMANDS);
    let (outbox, reports) = mpsc::channel(REPORTS);
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let waker = Arc::clone(&wake);
    let addresses = addresses::Addresses::start()?;
    // Its end closes the queue of reports, which is how the planner learns of it.
    std::thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || thread::Thread::new(keeper, world, addresses, inbox, waker, outbox).run())?;
    Ok((Handle { commands, wake }, reports))
}
