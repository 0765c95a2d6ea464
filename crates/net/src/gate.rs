//! The two gates of an address: elements with a timeout in nftables sets, so that the kernel ends what a stopped,
//! starved or killed process no longer can.
//!
//! `answer` (ARP, neighbour discovery) is open on one node at a time, `accept` (packets) may stay open a little longer.
//! Every operation carries the absolute end and reads the clock before and after the kernel worked. All of it goes over
//! one socket, because the tables belong to that socket (`owner`): nobody else can flush them while it is open.

mod batch;
mod many;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use baton_core::Time;
use baton_core::keeper::{GateDone, GateOp};
use baton_core::settings::Vip;
use nlink::netlink::{Connection, Nftables};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags};
use tokio::runtime::Runtime;

use crate::clock;
use crate::table::{self, Instance, Layout, Orphan, TableError, Unsupported};
use batch::{Answer, Batch, Expected, Set};

/// How much longer than planned a call may take before its element would outlive the end noticeably. Less than the
/// kernel tick by which every end is shortened already.
const TOLERANCE: Duration = Duration::from_millis(1);
/// A renewal that was delayed in the kernel is repeated with the delay taken into account, so many times.
const ATTEMPTS: usize = 3;
/// Addresses per batch: own transactions stay small, because a renewal waits for every commit.
const CHUNK: usize = 64;
/// How long a table made anew guards its addresses unless it was said before.
const FIRST_GUARD: Duration = Duration::from_secs(6);
/// How long the kernel may take to close what a killed predecessor had open, and how often it is asked.
const PREDECESSOR: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(20);
/// Room for the kernel's answers to one batch.
const ANSWERS: usize = 1 << 20;
/// Sequence numbers of batches; the table library counts its own from 1.
const FIRST_SEQUENCE: u32 = 0x4000_0000;
/// A batch has fewer messages than this.
const STRIDE: u32 = 4096;
/// Where everybody may change the tables, they are looked at before addresses are guarded; so often at most when those come
/// one by one.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One of the two gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Answer,
    Accept,
}

const BOTH: [Gate; 2] = [Gate::Answer, Gate::Accept];

/// Why a batch was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// An element (or its set) is not there.
    NotFound,
    /// Anything else, a lost answer included.
    Other(i32),
}

/// The gates of all addresses, and the socket that owns their tables.
#[derive(Debug)]
pub struct Gates {
    /// `None` with `fence: off`: then nothing but the clock ends anything.
    kernel: Option<Kernel>,
    tick: Duration,
    /// How long addresses were last asked to be guarded.
    guard: Duration,
    /// When the tables were last found whole.
    looked: Time,
    /// The first of the addresses that were last asked to be guarded.
    guarded: Option<IpAddr>,
    /// Until when `answer` is open.
    ends: BTreeMap<IpAddr, Time>,
}

struct Kernel {
    layout: Layout,
    instance: Instance,
    /// What dead instances of another kind guarded when this one first made tables.
    orphans: Option<Vec<Orphan>>,
    /// Addresses whose `accept` never opens.
    closed: BTreeSet<IpAddr>,
    /// Nobody else can change the tables.
    owned: bool,
    connection: Connection<Nftables>,
    runtime: Runtime,
    sequence: u32,
    buffer: Vec<u8>,
    /// Which messages of the last batch met an element that is not there, counted from its beginning.
    missing: Vec<usize>,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        match refusal {
            Refusal::NotFound => io::Error::from_raw_os_error(libc::ENOENT),
            Refusal::Other(errno) => io::Error::from_raw_os_error(errno),
        }
    }
}

impl Gates {
    /// Opens the socket that will own the tables, and finds out how this kernel lets addresses be fenced. Without a fence
    /// every operation succeeds by the clock alone.
    pub fn open(fence: bool) -> Result<Gates, Unsupported> {
        Gates::open_for(Instance::default(), fence)
    }

    /// The same for one of several instances in a network namespace.
    pub fn open_for(instance: Instance, fence: bool) -> Result<Gates, Unsupported> {
        let kernel = if fence { Some(Kernel::open(None, instance)?) } else { None };
        Ok(Gates {
            kernel,
            tick: clock::tick(),
            guard: FIRST_GUARD,
            looked: Time::ZERO,
            guarded: None,
            ends: BTreeMap::new(),
        })
    }

    /// As [`Gates::open`] with a fence, but with the tables laid out as asked, to see how older kernels do it.
    pub fn open_as(layout: Layout) -> Result<Gates, Unsupported> {
        Ok(Gates { kernel: Some(Kernel::open(Some(layout), Instance::default())?), ..Gates::open(false)? })
    }

    /// How the tables are laid out; `None` without a fence.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.kernel.as_ref().map(|kernel| kernel.layout)
    }

    /// The clock says that `answer` is open. To be asked before each announcement: without the egress hook (or a fence) the
    /// kernel would let one out after the end.
    #[must_use]
    pub fn may_announce(&self, vip: &Vip) -> bool {
        self.ends.get(&vip.address).is_some_and(|end| clock::now() < *end)
    }

    /// Makes or updates the tables for these addresses. Waits a moment for a predecessor that is being killed to let go of
    /// them. Idempotent; elements that live stay (a predecessor's gates).
    pub fn install(&mut self, vips: &[Vip]) -> Result<(), TableError> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let give_up = clock::now() + PREDECESSOR;
        loop {
            match kernel.install(vips) {
                Err(TableError::Owned { .. }) if clock::now() < give_up => std::thread::sleep(AGAIN),
                Ok(()) => break,
                Err(error) => return Err(error),
            }
        }
        kernel.owned = kernel.runtime.block_on(table::owned(&kernel.connection, &kernel.instance));
        Ok(())
    }

    /// Addresses whose gates somebody left open, with the longer time left of the two.
    pub fn open_gates(&mut self) -> Vec<(IpAddr, Duration)> {
        let Some(kernel) = &mut self.kernel else { return Vec::new() };
        kernel.runtime.block_on(table::left(&kernel.connection, &kernel.instance, table::GATES)).unwrap_or_default()
    }

    /// Addresses that are guarded, with the time left, whoever guarded them.
    pub fn guarded(&mut self) -> Vec<(IpAddr, Duration)> {
        let Some(kernel) = &mut self.kernel else { return Vec::new() };
        kernel.runtime.block_on(table::left(&kernel.connection, &kernel.instance, table::GUARDS)).unwrap_or_default()
    }

    /// The tables are whole: sets, chains on their links, rules.
    pub fn intact(&mut self, vips: &[Vip]) -> bool {
        let Some(kernel) = &mut self.kernel else { return true };
        kernel.intact(vips)
    }

    /// Makes the tables anew in one transaction, with the gates of what is held (and until when) open from the start.
    pub fn repair(&mut self, vips: &[Vip], held: &[(Vip, Time)]) -> Result<(), TableError> {
        let guard = self.guard;
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let of = (kernel.layout, &kernel.instance);
        kernel.runtime.block_on(table::repair(&kernel.connection, of, vips, held, guard))?;
        // A delay between reading the clock and the commit would have stretched them.
        for (vip, end) in held {
            if self.renew(vip, &BOTH, *end) == GateDone::Lost {
                self.apply(vip, GateOp::Shut);
            }
        }
        Ok(())
    }

    /// Removes the tables, gates and guards; the markers stay.
    pub fn remove(&mut self) -> Result<(), TableError> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let own = |table: &_| kernel.instance.has(table);
        kernel.runtime.block_on(table::remove(&kernel.connection, own)).map(drop)
    }

    /// Guards these addresses for so long: what is not held is silent. Guards end by themselves, so that a dead Baton never
    /// silences another program that follows it. Fails when somebody else changed the tables: they want a repair.
    pub fn guard(&mut self, vips: &[Vip], timeout: Duration) -> io::Result<()> {
        self.guard = timeout;
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let now = clock::now();
        // One address more, of many that come one by one; not the same again.
        let first = vips.first().map(|vip| vip.address);
        let more = vips.len() == 1 && self.guarded != first && now.since(self.looked) < LOOK_AGAIN;
        self.guarded = first;
        // Where everybody may change the tables, a guard is worth nothing unless the rules are there.
        if !kernel.owned && !more {
            if !kernel.intact(vips) {
                return Err(io::Error::new(io::ErrorKind::NotFound, "somebody else changed the nftables tables"));
            }
            self.looked = now;
        }
        for chunk in vips.chunks(CHUNK) {
            kernel.guard(chunk, timeout)?;
        }
        kernel.free(vips);
        Ok(())
    }

    /// An address is kept no more and gone: it needs no guard. What is not guarded is no failure.
    pub fn unguard(&mut self, vip: &Vip) -> io::Result<()> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let mut batch = kernel.batch();
        for (family, table, name, key) in table::guards(kernel.layout, &kernel.instance, vip) {
            batch.clear(Set { family, table: &table, name }, &key);
        }
        match kernel.run(batch) {
            // Without the table there is no guard.
            Ok(()) | Err(Refusal::NotFound) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Operates the gates of one address.
    pub fn apply(&mut self, vip: &Vip, op: GateOp) -> GateDone {
        let done = match op {
            GateOp::Open { end } => self.gain(vip, &BOTH, end),
            GateOp::Renew { end } => self.renew(vip, &BOTH, end),
            GateOp::Drain { accept_end } => self.drain(vip, accept_end),
            GateOp::Keep { accept_end } => self.keep(vip, accept_end),
            GateOp::Shut => self.shut(vip, &BOTH),
        };
        self.note(vip, done);
        done
    }

    fn note(&mut self, vip: &Vip, done: GateDone) {
        match done {
            GateDone::Open { end } => self.ends.insert(vip.address, end),
            _ => self.ends.remove(&vip.address),
        };
    }

    /// Elements of two ticks first, which bound how long a pause between the clock and the renewal can be.
    fn gain(&mut self, vip: &Vip, gates: &[Gate], end: Time) -> GateDone {
        for _ in 0..ATTEMPTS {
            if clock::now() >= end {
                return self.lost(vip, gates);
            }
            let two_ticks = 2 * self.tick;
            if let Some(kernel) = &mut self.kernel {
                let mut batch = kernel.batch();
                for place in kernel.places(vip, gates) {
                    batch.add(place.set(), &table::key(vip.address), two_ticks);
                }
                if kernel.run(batch).is_err() {
                    return GateDone::Failed;
                }
            }
            let done = self.renew(vip, gates, end);
            if done != GateDone::Lost {
                return done;
            }
        }
        GateDone::Lost
    }

    /// Delete and add in one batch: an element that has run out makes it fail as a whole, and nothing opens again.
    fn renew(&mut self, vip: &Vip, gates: &[Gate], end: Time) -> GateDone {
        let mut reserve = Duration::ZERO;
        for _ in 0..ATTEMPTS {
            let before = clock::now();
            let timeout = end.left(before).saturating_sub(reserve);
            if timeout < Duration::from_millis(1) {
                return self.lost(vip, gates);
            }
            if let Some(kernel) = &mut self.kernel {
                match kernel.renew(vip, gates, timeout) {
                    Ok(()) => {}
                    Err(Refusal::NotFound) if kernel.has_sets(vip, gates) => return self.lost(vip, gates),
                    Err(_) => {
                        self.shut(vip, gates);
                        return GateDone::Failed;
                    }
                }
            }
            let after = clock::now();
            if after >= end {
                return self.lost(vip, gates);
            }
            // The element counts from when the kernel added it: at most this much after `before`.
            let delay = after.since(before);
            if delay <= reserve + TOLERANCE {
                return GateDone::Open { end };
            }
            reserve = 2 * delay;
        }
        self.lost(vip, gates)
    }

    fn drain(&mut self, vip: &Vip, accept_end: Time) -> GateDone {
        match self.shut(vip, &[Gate::Answer]) {
            GateDone::Shut => {}
            failed => return failed,
        }
        match self.renew(vip, &[Gate::Accept], accept_end) {
            GateDone::Open { .. } => GateDone::AnswerShut,
            other => other,
        }
    }

    /// Packets are accepted although nothing is answered any more.
    fn keep(&mut self, vip: &Vip, accept_end: Time) -> GateDone {
        match self.shut(vip, &[Gate::Answer]) {
            GateDone::Shut => {}
            failed => return failed,
        }
        match self.gain(vip, &[Gate::Accept], accept_end) {
            GateDone::Open { .. } => GateDone::AnswerShut,
            other => other,
        }
    }

    fn lost(&mut self, vip: &Vip, gates: &[Gate]) -> GateDone {
        match self.shut(vip, gates) {
            GateDone::Shut => GateDone::Lost,
            failed => failed,
        }
    }

    /// Idempotent: what is not there is shut.
    fn shut(&mut self, vip: &Vip, gates: &[Gate]) -> GateDone {
        let Some(kernel) = &mut self.kernel else { return GateDone::Shut };
        match kernel.shut_all(std::slice::from_ref(vip), gates) {
            Ok(()) => GateDone::Shut,
            Err(_) => GateDone::Failed,
        }
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Kernel {
    fn open(layout: Option<Layout>, instance: Instance) -> Result<Kernel, Unsupported> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = {
            let _context = runtime.enter();
            table::connect()?
        };
        let layout = match layout {
            Some(layout) => layout,
            None => runtime.block_on(table::layout(&connection))?,
        };
        // As far as is allowed: a batch that fails is answered for each element that is not there.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(connection.socket(), ANSWERS);
        let (sequence, buffer) = (FIRST_SEQUENCE, vec![0; 16 * 1024]);
        Ok(Kernel {
            layout,
            instance,
            orphans: None,
            owned: false,
            connection,
            runtime,
            sequence,
            buffer,
            missing: Vec::new(),
            closed: BTreeSet::new(),
        })
    }

    fn batch(&self) -> Batch {
        Batch::begin(self.sequence)
    }

    fn renew(&mut self, vip: &Vip, gates: &[Gate], timeout: Duration) -> Result<(), Refusal> {
        let key = table::key(vip.address);
        let mut batch = self.batch();
        for place in self.places(vip, gates) {
            batch.delete(place.set(), &key);
            batch.add(place.set(), &key, timeout);
        }
        self.run(batch)
    }

    /// An element of unknown state gets a fresh timeout: of a guard it does no harm to revive one.
    fn guard(&mut self, vips: &[Vip], timeout: Duration) -> Result<(), Refusal> {
        let mut batch = self.batch();
        for (family, table, name, key) in vips.iter().flat_map(|vip| table::guards(self.layout, &self.instance, vip)) {
            let set = Set { family, table: &table, name };
            batch.clear(set, &key);
            batch.add(set, &key, timeout);
        }
        self.run(batch)
    }

    /// The sets are there, so what was not found had run out.
    fn has_sets(&mut self, vip: &Vip, gates: &[Gate]) -> bool {
        self.places(vip, gates).iter().all(|place| {
            let (bytes, expected) = batch::get_set(self.sequence, place.set());
            self.exchange(&bytes, expected).is_ok()
        })
    }

    /// Where the elements of an address's gates are.
    fn places(&self, vip: &Vip, gates: &[Gate]) -> Vec<Place> {
        let mut places = Vec::with_capacity(4);
        let closed = self.closed.contains(&vip.address);
        for gate in gates.iter().filter(|gate| **gate == Gate::Answer || !closed) {
            let set = match (gate, vip.address) {
                (Gate::Answer, IpAddr::V4(_)) => "answer4",
                (Gate::Answer, IpAddr::V6(_)) => "answer6",
                (Gate::Accept, IpAddr::V4(_)) => "accept4",
                (Gate::Accept, IpAddr::V6(_)) => "accept6",
            };
            let place = |family| Place { family, table: self.instance.gates(&vip.interface), set };
            places.extend(self.layout.places(set).map(place));
        }
        places
    }

    fn run(&mut self, batch: Batch) -> Result<(), Refusal> {
        if batch.is_empty() {
            return Ok(());
        }
        let (bytes, expected) = batch.end();
        self.exchange(&bytes, expected)
    }

    /// The kernel works and answers before `sendto` returns, so there is nothing to wait for: an answer that is not there
    /// was lost.
    fn exchange(&mut self, bytes: &[u8], expected: Expected) -> Result<(), Refusal> {
        self.sequence = if self.sequence > 0x7000_0000 { FIRST_SEQUENCE } else { self.sequence + STRIDE };
        let socket = self.connection.socket();
        rustix::net::sendto(socket, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
            .map_err(|errno| Refusal::Other(errno.raw_os_error()))?;
        let mut answer = Answer::default();
        self.missing.clear();
        loop {
            match rustix::net::recv(socket, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    answer.read(&self.buffer[..length], expected);
                    self.missing.extend(batch::missing(&self.buffer[..length], expected));
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(errno) => return Err(Refusal::Other(errno.raw_os_error())),
            }
        }
        match answer {
            Answer { error: Some(libc::ENOENT), .. } => Err(Refusal::NotFound),
            Answer { error: Some(errno), .. } => Err(Refusal::Other(errno)),
            Answer { acknowledged: true, error: None } => Ok(()),
            Answer { acknowledged: false, error: None } => Err(Refusal::Other(libc::ENOBUFS)),
        }
    }
}

/// Where the element of a gate is.
struct Place {
    family: u8,
    table: String,
    set: &'static str,
}

impl Place {
    fn set(&self) -> Set<'_> {
        Set { family: self.family, table: &self.table, name: self.set }
    }
}
