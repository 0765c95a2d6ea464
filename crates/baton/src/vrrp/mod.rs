//! The thread that performs what `core::vrrp` decides: adverts, gates, addresses, announcements.
//!
//! As the keeper's thread does for leases, it owns the sockets and the machine, shares nothing, and talks to the rest of
//! the process through two bounded queues of values. No disk, no script, no name is waited for here.

mod perform;
mod thread;

use std::collections::BTreeMap;
use std::io;

use baton_core::keeper::Level;
use baton_core::vrrp::{Event, Name, Note, Notice, Routers, Settings, Status, Subject};
use baton_net::clock;
use baton_net::gate::Gates;
use baton_net::table::Instance;
use baton_net::vrrp::Vrrp;
use tokio::sync::{mpsc, oneshot};

use crate::kernel::{self, Kernel, Sockets, Told};
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

impl Told for Report {
    fn log(level: Level, line: String) -> Report {
        Report::Log(level, line)
    }

    fn may_be_lost(&self) -> bool {
        matches!(self, Report::Note(_) | Report::Log(..))
    }

    /// Scripts run for every change.
    fn replaces(&self, _: &Report) -> bool {
        false
    }
}

/// The running thread.
pub type Handle = kernel::Handle<Command>;

/// What the thread owns.
pub struct World {
    /// The kernel's side of the addresses.
    pub sockets: Sockets,
    /// Adverts, by interface and whether IPv6.
    pub adverts: BTreeMap<(Name, bool), Vrrp>,
    /// Addresses that come and go are logged.
    pub log_addresses: bool,
}

impl World {
    /// Opens what needs no interface. With `fence`, refused where the kernel has no gates.
    ///
    /// # Errors
    /// For people.
    pub fn open(instance: Instance, fence: bool, log_addresses: bool) -> Result<World, String> {
        let gates = Gates::open_for(instance, fence).map_err(|e| e.to_string())?;
        let sockets = Sockets::open(gates, BTreeMap::new()).map_err(|e| format!("listening to the kernel: {e}"))?;
        Ok(World { sockets, adverts: BTreeMap::new(), log_addresses })
    }
}

/// Starts the thread, which first makes tables and sockets for these settings.
///
/// # Errors
/// What making an eventfd or a thread may fail with, and what the kernel says of the host.
pub fn spawn(settings: Settings, world: World) -> io::Result<(Handle, mpsc::Receiver<Report>)> {
    let (handle, inbox) = kernel::channel(COMMANDS)?;
    let (outbox, reports) = mpsc::channel(REPORTS);
    let World { sockets, adverts, log_addresses } = world;
    let mut kernel = Kernel::new(sockets, Vec::new(), outbox)?;
    let (links, here) = kernel.sockets.look()?;
    let routers = Routers::new(settings.clone(), links, here, clock::tick(), clock::now());
    let thread = thread::Thread::new(routers, kernel, (adverts, log_addresses), inbox);
    // Its end closes the queue of reports, which is how the other side learns of it.
    std::thread::Builder::new().name("vrrp".to_owned()).spawn(move || thread.run(&settings))?;
    Ok((handle, reports))
}
