//! The keeper's thread: the only place that performs what `core::keeper` decides.
//!
//! It owns the sockets and the machine, shares nothing, and talks to the planner through two bounded queues of values.
//! It does no disk, DNS, TLS or API work, and never waits for the planner.

mod perform;
mod thread;

use std::io;
use std::net::{IpAddr, UdpSocket};

use baton_core::keeper::{Event, Holding, Keeper, Level, Marker, Note, Status};
use baton_core::lease::LeaseName;
use baton_core::settings::{Ownership, Vip};
use baton_core::time::Time;
use tokio::sync::{mpsc, oneshot};

use crate::kernel::{self, Kernel, Told};
pub use thread::World;

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

impl Told for Report {
    fn log(level: Level, line: String) -> Report {
        Report::Log(level, line)
    }

    fn may_be_lost(&self) -> bool {
        matches!(self, Report::Note(_) | Report::Log(..))
    }

    fn replaces(&self, earlier: &Report) -> bool {
        match (earlier, self) {
            (Report::Holding(a, _), Report::Holding(b, _)) => a == b,
            (Report::Leading { name: a, .. }, Report::Leading { name: b, .. }) => a == b,
            (Report::Remember(a), Report::Remember(b)) => a == b,
            _ => false,
        }
    }
}

/// The running thread.
pub type Handle = kernel::Handle<Command>;

/// Starts the thread.
///
/// # Errors
/// What making an eventfd or a thread may fail with.
pub fn spawn(keeper: Keeper, world: World) -> io::Result<(Handle, mpsc::Receiver<Report>)> {
    let (handle, inbox) = kernel::channel(COMMANDS)?;
    let (outbox, reports) = mpsc::channel(REPORTS);
    let World { udp, sockets, vips, leases } = world;
    let kernel = Kernel::new(sockets, vips, outbox)?;
    // Its end closes the queue of reports, which is how the planner learns of it.
    std::thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || thread::Thread { keeper, kernel, udp, leases, stopped: false, inbox }.run())?;
    Ok((handle, reports))
}
