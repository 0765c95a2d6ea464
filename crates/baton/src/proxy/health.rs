//! Runs the checks of all backends and finds out where their names lead. Results are values; who may get traffic is
//! decided in `baton_core::health`, and carried out by [`super::Proxy`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use baton_core::Time;
use baton_core::health::{Health, Input};
use baton_core::settings::{Backend, Balancer, Check};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::check;
use super::target::{BackendId, Passive};

/// A name that resolved is looked up again after this long.
const LOOKUP_AGAIN: Duration = Duration::from_secs(30);
/// One that did not.
const LOOKUP_RETRY: Duration = Duration::from_secs(5);
/// A lookup that takes longer has failed.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Results that wait to be taken; a check in flight waits for room.
const RESULTS: usize = 256;

/// What the planner is told, and tells the proxy ([`super::Proxy::set_up`], [`super::Proxy::set_address`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A backend went up or down.
    State {
        /// The backend.
        id: BackendId,
        /// It may get traffic.
        up: bool,
        /// What decided it.
        why: String,
        /// How long the state before had lasted.
        lasted: Duration,
    },
    /// A backend's name leads somewhere else. (A name that can no longer be looked up keeps its last address.)
    Address {
        /// The backend.
        id: BackendId,
        /// Where it is.
        address: IpAddr,
    },
}

/// What is known of a backend, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// It may get traffic.
    pub up: bool,
    /// That is a belief: no check has come back yet.
    pub unchecked: bool,
    /// What was learned last.
    pub why: String,
    /// Since when it is up or down.
    pub since: Time,
    /// How long the last passed check took.
    pub took: Option<Duration>,
}

enum Found {
    Checked(Result<Duration, String>),
    Resolved(Result<Vec<IpAddr>, String>),
}

struct Entry {
    backend: Backend,
    health: Health,
    address: Option<IpAddr>,
    check: Option<AbortHandle>,
    lookup: Option<AbortHandle>,
    /// When the name is to be looked up; `None`: it is an address, or a lookup runs.
    lookup_at: Option<Time>,
    /// Results of former settings carry another.
    version: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.check.take().into_iter().chain(self.lookup.take()).for_each(|task| task.abort());
    }
}

/// The checks of all backends. Lives on a tokio runtime.
pub struct Checks {
    entries: BTreeMap<BackendId, Entry>,
    passive: mpsc::Receiver<Passive>,
    sender: mpsc::Sender<(BackendId, u64, Found)>,
    results: mpsc::Receiver<(BackendId, u64, Found)>,
    clock: fn() -> Time,
    versions: u64,
}

impl Checks {
    /// `passive` is what [`super::Proxy::passive`] gave.
    #[must_use]
    pub fn new(passive: mpsc::Receiver<Passive>, clock: fn() -> Time) -> Checks {
        let (sender, results) = mpsc::channel(RESULTS);
        Checks { entries: BTreeMap::new(), passive, sender, results, clock, versions: 0 }
    }

    /// The backends to check. What is known of those that stay, stays known.
    pub fn apply(&mut self, balancers: &[Balancer]) {
        let now = (self.clock)();
        let mut before = std::mem::take(&mut self.entries);
        for balancer in balancers {
            for backend in &balancer.backends {
                let id = BackendId { balancer: balancer.name.clone(), host: backend.host.clone(), port: backend.port };
                let old = before.remove(&id);
                let entry = self.entry(backend, old, now);
                self.entries.entry(id).or_insert(entry);
            }
        }
    }

    fn entry(&mut self, backend: &Backend, old: Option<Entry>, now: Time) -> Entry {
        if let Some(mut entry) = old {
            if entry.backend.check != backend.check {
                self.versions += 1;
                entry.version = self.versions;
                entry.check.take().into_iter().for_each(|task| task.abort());
                entry.health.configure(backend.check.clone(), now);
            }
            entry.backend = backend.clone();
            return entry;
        }
        self.versions += 1;
        let address = backend.host.parse().ok();
        Entry {
            backend: backend.clone(),
            health: Health::new(backend.check.clone(), now),
            address,
            check: None,
            lookup: None,
            lookup_at: address.is_none().then_some(now),
            version: self.versions,
        }
    }

    /// The next change. May be dropped while it waits.
    pub async fn next(&mut self) -> Change {
        loop {
            self.start_due();
            let deadline = self.entries.values().filter_map(Entry::deadline).min();
            let wait = deadline.map(|at| at.left((self.clock)()));
            let found = tokio::select! {
                Some((id, version, found)) = self.results.recv() => self.found(&id, version, found),
                Some(passive) = self.passive.recv() => self.traffic(passive),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => None,
                else => std::future::pending().await,
            };
            if let Some(change) = found {
                return change;
            }
        }
    }

    fn start_due(&mut self) {
        let now = (self.clock)();
        for (id, entry) in &mut self.entries {
            let reply = (self.sender.clone(), id.clone(), entry.version);
            if entry.lookup_at.is_some_and(|at| at <= now) {
                entry.lookup_at = None;
                let (host, port) = (entry.backend.host.clone(), entry.backend.port);
                let (sender, id, version) = reply.clone();
                let task = tokio::spawn(async move {
                    let found = Found::Resolved(lookup(&host, port).await);
                    // Nobody asks any more, otherwise.
                    let _ = sender.send((id, version, found)).await;
                });
                entry.lookup = Some(task.abort_handle());
            }
            if let Some(check) = entry.health.due(now) {
                entry.check = Some(start(check, entry, reply));
            }
        }
    }

    fn found(&mut self, id: &BackendId, version: u64, found: Found) -> Option<Change> {
        let now = (self.clock)();
        let entry = self.entries.get_mut(id)?;
        match found {
            Found::Checked(result) => {
                if version != entry.version {
                    return None;
                }
                let input = match result {
                    Ok(took) => Input::Passed { took },
                    Err(why) => Input::Failed { why },
                };
                entry.handle(id, now, input)
            }
            Found::Resolved(Ok(addresses)) => {
                entry.lookup_at = Some(now + LOOKUP_AGAIN);
                let stays = entry.address.is_some_and(|address| addresses.contains(&address));
                let address = addresses.first().copied().filter(|_| !stays)?;
                entry.address = Some(address);
                Some(Change::Address { id: id.clone(), address })
            }
            Found::Resolved(Err(why)) => {
                entry.lookup_at = Some(now + LOOKUP_RETRY);
                if entry.address.is_some() {
                    return None;
                }
                entry.handle(id, now, Input::Failed { why })
            }
        }
    }

    fn traffic(&mut self, passive: Passive) -> Option<Change> {
        let entry = self.entries.get_mut(&passive.backend)?;
        let input = match passive.outcome {
            Ok(()) => Input::Connected,
            Err(fault) => Input::NotConnected { why: fault.to_string() },
        };
        entry.handle(&passive.backend, (self.clock)(), input)
    }

    /// What is known of a backend.
    #[must_use]
    pub fn known(&self, id: &BackendId) -> Option<Known> {
        let health = &self.entries.get(id)?.health;
        Some(Known {
            up: health.is_up(),
            unchecked: health.is_unchecked(),
            why: health.why().to_owned(),
            since: health.since(),
            took: health.took(),
        })
    }

    /// Whether a backend of a balancer may get traffic.
    #[must_use]
    pub fn any_up(&self, balancer: &Balancer) -> bool {
        let of = |id: &BackendId| id.balancer == balancer.name;
        self.entries.iter().any(|(id, e)| of(id) && e.health.is_up() && e.address.is_some() && e.backend.weight > 0)
    }
}

impl Entry {
    fn deadline(&self) -> Option<Time> {
        self.health.deadline().into_iter().chain(self.lookup_at).min()
    }

    fn handle(&mut self, id: &BackendId, now: Time, input: Input) -> Option<Change> {
        let change = self.health.handle(now, input)?;
        Some(Change::State { id: id.clone(), up: change.up, why: change.why, lasted: change.lasted })
    }
}

fn start(check: Check, entry: &Entry, reply: (mpsc::Sender<(BackendId, u64, Found)>, BackendId, u64)) -> AbortHandle {
    let (host, address) = (entry.backend.host.clone(), entry.address);
    let port = entry.backend.port;
    let (sender, id, version) = reply;
    let task = tokio::spawn(async move {
        let result = match address {
            Some(ip) => check::run(&check, SocketAddr::new(ip, port), &host).await,
            None => {
                // The lookup says why.
                tokio::time::sleep(check.timeout).await;
                Err(format!("{host} is not resolved"))
            }
        };
        // Nobody asks any more, otherwise.
        let _ = sender.send((id, version, Found::Checked(result))).await;
    });
    task.abort_handle()
}

/// Asks the system's resolver, which blocks a thread of its own.
async fn lookup(host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
    match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let addresses: Vec<IpAddr> = found.map(|a| a.ip()).collect();
            if addresses.is_empty() { Err(format!("{host} has no address")) } else { Ok(addresses) }
        }
        Ok(Err(e)) => Err(format!("{host} cannot be resolved: {e}")),
        Err(_) => Err(format!("{host} cannot be resolved: no answer from the resolver")),
    }
}
