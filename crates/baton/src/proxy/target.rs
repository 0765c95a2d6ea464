//! Backends as the data path sees them: an identity with counters that outlives every snapshot, and the snapshots.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use baton_core::average;
use tokio::sync::mpsc;

/// Names a backend of a balancer for as long as the process lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId {
    /// The balancer's name.
    pub balancer: String,
    /// IP address or host name, as configured.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}/[{}]:{}", self.balancer, self.host, self.port)
        } else {
            write!(f, "{}/{}:{}", self.balancer, self.host, self.port)
        }
    }
}

/// Why a connection to a backend was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens there.
    Refused,
    /// It was reset while being made.
    Reset,
    /// No answer within the connect timeout.
    TimedOut,
    /// The network says that it cannot be reached.
    Unreachable,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Refused => "connection refused",
            Fault::Reset => "connection reset",
            Fault::TimedOut => "no answer to a connect in time",
            Fault::Unreachable => "unreachable",
        })
    }
}

/// What traffic told about a backend: each failed connect, and the first success after one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passive {
    /// The backend.
    pub backend: BackendId,
    /// The outcome of a connect.
    pub outcome: Result<(), Fault>,
}

/// How many passive results wait for the planner; more are dropped, since one in a burst tells as much as all of it.
pub(super) const PASSIVE_MAX: usize = 1024;

/// Where the data path leaves passive results.
pub(super) type Reports = mpsc::Sender<Passive>;

/// One worker's counters of one backend, alone on its cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Cell {
    pub(super) connections: AtomicU64,
    pub(super) active: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) to_backend: AtomicU64,
    pub(super) to_client: AtomicU64,
}

impl Cell {
    /// A connect to the backend worked; `bytes` of its client waited for that.
    pub(super) fn connected(&self, bytes: usize) {
        self.connections.fetch_add(1, Relaxed);
        self.to_backend.fetch_add(bytes as u64, Relaxed);
    }
}

/// The sums over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections (type http: requests) given to it so far.
    pub connections: u64,
    /// Those open now.
    pub active: u64,
    /// Connects that failed.
    pub failures: u64,
    /// Bytes from clients to the backend.
    pub to_backend: u64,
    /// Bytes from the backend to clients.
    pub to_client: u64,
    /// Sessions that it has or is being connected for (pools with dealings).
    pub served: u64,
    /// The most of these.
    pub served_max: u64,
    /// Connects repeated on it.
    pub retries: u64,
    /// Connects that went elsewhere after it had failed.
    pub redispatches: u64,
    /// Transfers that clients broke off.
    pub client_aborts: u64,
    /// Transfers that it broke off.
    pub server_aborts: u64,
    /// When it last got a session, in seconds since the epoch; 0: never.
    pub last: u64,
    /// Sessions that wait for it alone now, and at most.
    pub waiting: [u64; 2],
    /// How long its sessions took.
    pub took: Took,
    /// Answers in mode http, by the hundreds of their status from 1 to 5, and others.
    pub answers: [u64; 6],
}

/// How long sessions took, in milliseconds: in the queue, to connect, for an answer to begin (in mode http), in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// The last ones on average.
    pub mean: [u64; 4],
    /// At most.
    pub most: [u64; 4],
}

/// The same while it is counted. Two that end in the same moment may count as one: it is a mean.
#[derive(Debug, Default)]
pub(super) struct Times {
    events: AtomicU64,
    sums: [AtomicU64; 4],
    most: [AtomicU64; 4],
}

impl Times {
    pub(super) fn add(&self, values: [u64; 4]) {
        let events = self.events.fetch_add(1, Relaxed) + 1;
        for (at, value) in values.into_iter().enumerate() {
            let sum = self.sums[at].load(Relaxed);
            if sum + value > 0 {
                self.sums[at].store(average::add(sum, events, value), Relaxed);
            }
            if value > self.most[at].load(Relaxed) {
                self.most[at].fetch_max(value, Relaxed);
            }
        }
    }

    pub(super) fn took(&self) -> Took {
        let events = self.events.load(Relaxed);
        let of = |counters: &[AtomicU64; 4]| [0, 1, 2, 3].map(|at: usize| counters[at].load(Relaxed));
        Took { mean: of(&self.sums).map(|sum| average::mean(sum, events)), most: of(&self.most) }
    }
}

/// Answers, by the hundreds of their status from 1 to 5, and others.
#[derive(Debug, Default)]
pub(super) struct Answers([AtomicU64; 6]);

impl Answers {
    pub(super) fn count(&self, status: u16) {
        let class = usize::from(status / 100);
        self.0[if (1..=5).contains(&class) { class - 1 } else { 5 }].fetch_add(1, Relaxed);
    }

    pub(super) fn now(&self) -> [u64; 6] {
        self.0.each_ref().map(|count| count.load(Relaxed))
    }
}

/// A backend that outlives snapshots.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: BackendId,
    cells: Box<[Cell]>,
    /// The last connect failed: the next success is worth telling.
    failing: AtomicBool,
    /// Sessions that it has or is being connected for: over all workers, since limits and loads are.
    pub(super) served: AtomicU64,
    /// When it last got or lost one, as the pool counts.
    pub(super) stamp: AtomicU64,
    /// What seldom happens.
    pub(super) rare: Rare,
}

/// What seldom happens to a backend, or is a maximum.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) served_max: AtomicU64,
    /// Connects repeated on it.
    pub(super) retries: AtomicU64,
    /// Connects that went elsewhere after it had failed.
    pub(super) redispatches: AtomicU64,
    pub(super) client_aborts: AtomicU64,
    pub(super) server_aborts: AtomicU64,
    /// When it last got a session, in seconds since the epoch; 0: never.
    pub(super) last: AtomicU64,
    /// Sessions that wait for it alone.
    pub(super) waiting: AtomicU64,
    pub(super) waiting_max: AtomicU64,
    pub(super) times: Times,
    pub(super) answers: Answers,
}

impl Target {
    pub(super) fn new(id: BackendId, workers: usize) -> Target {
        Target {
            id,
            cells: (0..workers).map(|_| Cell::default()).collect(),
            failing: AtomicBool::new(false),
            served: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            rare: Rare::default(),
        }
    }

    pub(super) fn cell(&self, worker: usize) -> &Cell {
        &self.cells[worker]
    }

    pub(super) fn counts(&self) -> Counts {
        let sum =
            |of: fn(&Cell) -> &AtomicU64| self.cells.iter().map(|c| of(c).load(Relaxed)).fold(0, u64::wrapping_add);
        Counts {
            connections: sum(|c| &c.connections),
            active: sum(|c| &c.active),
            failures: sum(|c| &c.failures),
            to_backend: sum(|c| &c.to_backend),
            to_client: sum(|c| &c.to_client),
            served: self.served.load(Relaxed),
            served_max: self.rare.served_max.load(Relaxed),
            retries: self.rare.retries.load(Relaxed),
            redispatches: self.rare.redispatches.load(Relaxed),
            client_aborts: self.rare.client_aborts.load(Relaxed),
            server_aborts: self.rare.server_aborts.load(Relaxed),
            last: self.rare.last.load(Relaxed),
            waiting: [self.rare.waiting.load(Relaxed), self.rare.waiting_max.load(Relaxed)],
            took: self.rare.times.took(),
            answers: self.rare.answers.now(),
        }
    }

    /// A connect worked.
    pub(super) fn connected(&self, reports: &Reports) {
        if self.failing.load(Relaxed) && self.failing.swap(false, Relaxed) {
            self.tell(Ok(()), reports);
        }
    }

    /// A connect failed.
    pub(super) fn failed(&self, worker: usize, fault: Fault, reports: &Reports) {
        self.cell(worker).failures.fetch_add(1, Relaxed);
        self.failing.store(true, Relaxed);
        self.tell(Err(fault), reports);
    }

    fn tell(&self, outcome: Result<(), Fault>, reports: &Reports) {
        // A full queue is not an error: the planner will have seen a thousand like it.
        let _ = reports.try_send(Passive { backend: self.id.clone(), outcome });
    }
}
