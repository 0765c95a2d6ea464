//! Servers and what is known of them: checks, names, operators' wishes. Who may get traffic is what comes out.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use baton_config::haproxy::model::{self, Backend, Config, Host, ServerPort, Target};
use baton_core::Time;
use baton_core::agent::Said;
use baton_core::health::{Change, Health, Input, Pace};
use baton_core::settings::{Check, CheckKind};
use baton_net::clock;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::lower::WEIGHT;
use super::probe::{self, Outcome};
use crate::proxy::{BackendId, Passive};

/// A name is looked up again after this long, and after a failure.
const LOOKUP_AGAIN: Duration = Duration::from_secs(10);
const LOOKUP_RETRY: Duration = Duration::from_secs(2);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Results that wait to be taken; a check in flight waits for room.
const RESULTS: usize = 256;

/// What an operator wants of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    /// Ordinary service.
    #[default]
    Ready,
    /// Nothing new.
    Drain,
    /// Nothing at all, and no checks.
    Maint,
}

/// One server.
pub struct Server {
    /// Its name for the data path.
    pub id: BackendId,
    /// What the file says.
    pub settings: model::Server,
    /// Its health.
    pub health: Health,
    /// What an operator wants.
    pub admin: Admin,
    /// Its weight, as the file or an operator says.
    pub weight: u16,
    /// Its most connections, likewise.
    pub connections_max: u32,
    /// The last check.
    pub last: Option<Outcome>,
    /// Checks that failed while it was up, and times that it went down.
    pub fails: u64,
    /// Times that it went down.
    pub downs: u64,
    /// How long it was down, without the present time.
    pub down_for: Duration,
    /// Since when its state is as it is.
    pub changed: Time,
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// Its agent says that it is down.
    pub agent_down: bool,
    /// What its agent said last.
    pub agent_last: Option<Outcome>,
    /// When its agent is asked next.
    pub(super) agent_at: Time,
    pub(super) agent_task: Option<AbortHandle>,
    /// Errors of traffic in a row, and how often there were too many.
    pub(super) errors: u32,
    /// How often there were too many.
    pub error_rounds: u64,
    /// When it came up, while it still grows to its whole weight.
    growing: Option<Time>,
    task: Option<AbortHandle>,
    lookup: Option<AbortHandle>,
    lookup_at: Option<Time>,
    pub(super) version: u64,
}

impl Drop for Server {
    fn drop(&mut self) {
        let tasks = [self.task.take(), self.lookup.take(), self.agent_task.take()];
        tasks.into_iter().flatten().for_each(|task| task.abort());
    }
}

/// What came in.
pub(super) enum Found {
    Checked(Outcome),
    Agent((Result<Said, Outcome>, Duration)),
    Resolved(Result<Vec<IpAddr>, String>),
}

/// What the daemon is told.
#[derive(Debug)]
pub enum News {
    /// A check has come back; it changed the state, or not.
    Checked(BackendId, Option<Change>),
    /// A server went up or down for another reason, in words that follow the state.
    Turned(BackendId, Change, String),
    /// Its agent wants it so.
    Wished(BackendId, Admin),
    /// A name leads somewhere.
    Address(BackendId, IpAddr),
    /// A share has grown.
    Grown,
}

/// All servers.
pub struct Servers {
    /// In the order of the file.
    pub list: Vec<Server>,
    /// What is still to be told.
    pub(super) pending: VecDeque<News>,
    pub(super) sender: mpsc::Sender<(BackendId, u64, Found)>,
    results: mpsc::Receiver<(BackendId, u64, Found)>,
    passive: mpsc::Receiver<Passive>,
    versions: u64,
}

impl Servers {
    /// None yet. `passive` is what clients' connections tell.
    #[must_use]
    pub fn new(passive: mpsc::Receiver<Passive>) -> Servers {
        let (sender, results) = mpsc::channel(RESULTS);
        Servers { list: Vec::new(), pending: VecDeque::new(), sender, results, passive, versions: 0 }
    }

    /// The servers of a new file. What is known of those that stay, stays known.
    pub fn apply(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.list);
        for backend in &config.backends {
            for settings in &backend.servers {
                let id = id(backend, settings);
                let old = before.iter().position(|s| s.id == id).map(|at| before.swap_remove(at));
                let server = self.server(id, settings, old);
                self.list.push(server);
            }
        }
    }

    fn server(&mut self, id: BackendId, settings: &model::Server, old: Option<Server>) -> Server {
        let now = clock::now();
        self.versions += 1;
        let (check, pace) = checks(settings);
        if let Some(mut server) = old {
            if server.settings.check != settings.check || server.settings.target != settings.target {
                server.version = self.versions;
                server.task.take().into_iter().for_each(|task| task.abort());
                // What was known stays; the check that was under way has gone with its task.
                let (up, why) = (server.health.is_up(), server.health.why().to_owned());
                let checked = check.is_some();
                server.health = Health::new(check, now);
                server.health.set_pace(pace);
                if checked {
                    server.health.set(now, up, &why);
                }
            }
            if server.settings.target != settings.target {
                server.address = address(settings);
                server.lookup_at = server.address.is_none().then_some(now);
            }
            if server.settings.weight != settings.weight {
                server.weight = settings.weight;
            }
            if server.settings.maxconn != settings.maxconn {
                server.connections_max = settings.maxconn.unwrap_or(0);
            }
            if server.settings.disabled != settings.disabled {
                server.admin = if settings.disabled { Admin::Maint } else { Admin::Ready };
            }
            server.settings = settings.clone();
            return server;
        }
        let mut health = Health::new(check, now);
        health.set_pace(pace);
        let address = address(settings);
        Server {
            id,
            health,
            admin: if settings.disabled { Admin::Maint } else { Admin::Ready },
            weight: settings.weight,
            connections_max: settings.maxconn.unwrap_or(0),
            last: None,
            fails: 0,
            downs: 0,
            down_for: Duration::ZERO,
            changed: now,
            address,
            agent_down: false,
            agent_last: None,
            agent_at: now,
            agent_task: None,
            errors: 0,
            error_rounds: 0,
            growing: None,
            task: None,
            lookup: None,
            lookup_at: address.is_none().then_some(now),
            version: self.versions,
            settings: settings.clone(),
        }
    }

    /// One by its names.
    pub fn find(&mut self, backend: &str, server: &str) -> Option<&mut Server> {
        self.list.iter_mut().find(|s| s.id.balancer == backend && s.id.host == server)
    }

    /// What happens next. May be dropped while it waits.
    pub async fn next(&mut self) -> News {
        loop {
            self.start_due();
            let now = clock::now();
            self.ask_agents(now);
            self.follow(now);
            if let Some(news) = self.pending.pop_front() {
                return news;
            }
            let wait = self.list.iter().filter_map(Server::deadline).min().map(|at| at.left(now));
            tokio::select! {
                Some((id, version, found)) = self.results.recv() => {
                    if let Some(news) = self.found(&id, version, found) {
                        return news;
                    }
                }
                Some(passive) = self.passive.recv() => self.traffic(&passive),
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    let growing = self.list.iter_mut().filter_map(|server| server.grow().then_some(())).count();
                    if growing > 0 {
                        return News::Grown;
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    fn start_due(&mut self) {
        let now = clock::now();
        for server in &mut self.list {
            if server.lookup_at.is_some_and(|at| at <= now) {
                server.lookup_at = None;
                let Target::Inet(Host::Name(name)) = server.settings.target.clone() else { continue };
                let (sender, id, version, port) =
                    (self.sender.clone(), server.id.clone(), server.version, server.id.port);
                let task = tokio::spawn(async move {
                    // Nobody asks any more, otherwise.
                    let _ = sender.send((id, version, Found::Resolved(lookup(&name, port).await))).await;
                });
                server.lookup = Some(task.abort_handle());
            }
            if server.admin == Admin::Maint || server.address.is_none() {
                continue;
            }
            let (Some(check), Some(address)) = (server.settings.check.clone(), server.address) else { continue };
            if server.health.due(now).is_some() {
                let (sender, id, version) = (self.sender.clone(), server.id.clone(), server.version);
                let task = tokio::spawn(async move {
                    let outcome = probe::run(&check, address).await;
                    let _ = sender.send((id, version, Found::Checked(outcome))).await;
                });
                server.task = Some(task.abort_handle());
            }
        }
    }

    fn found(&mut self, id: &BackendId, version: u64, found: Found) -> Option<News> {
        let now = clock::now();
        let server = self.list.iter_mut().find(|s| s.id == *id && s.version == version)?;
        match found {
            Found::Checked(_) if server.admin == Admin::Maint => None,
            Found::Agent((said, took)) => self.heard(id, said, took),
            Found::Checked(outcome) => {
                let input = if outcome.ok {
                    Input::Passed { took: outcome.took }
                } else {
                    server.fails += u64::from(server.health.is_up());
                    Input::Failed { why: outcome.info.clone() }
                };
                server.last = Some(outcome);
                // While its agent says that it is down, its checks change nothing that anybody sees.
                let change = server.health.handle(now, input).filter(|_| !server.agent_down);
                if let Some(change) = &change {
                    server.turned(change, now);
                }
                Some(News::Checked(id.clone(), change))
            }
            Found::Resolved(Ok(addresses)) => {
                server.lookup_at = Some(now + LOOKUP_AGAIN);
                let prefer = |ip: &&IpAddr| ip.is_ipv4() == server.settings.resolve_prefer_v4;
                if server.address.is_some_and(|at| addresses.contains(&at.ip())) {
                    return None;
                }
                let ip = *addresses.iter().find(prefer).or(addresses.first())?;
                server.address = Some(SocketAddr::new(ip, id.port));
                Some(News::Address(id.clone(), ip))
            }
            Found::Resolved(Err(_)) => {
                server.lookup_at = Some(now + LOOKUP_RETRY);
                None
            }
        }
    }
}

/// What the data path calls a server.
#[must_use]
pub fn id(backend: &Backend, server: &model::Server) -> BackendId {
    let port = match server.port {
        ServerPort::Fixed(port) => port,
        ServerPort::Client(_) => 0,
    };
    BackendId { balancer: backend.name.clone(), host: server.name.clone(), port }
}

fn address(settings: &model::Server) -> Option<SocketAddr> {
    match (&settings.target, settings.port) {
        (Target::Inet(Host::Ip(ip)), ServerPort::Fixed(port)) => Some(SocketAddr::new(*ip, port)),
        _ => None,
    }
}

/// What decides when checks are due and how many count.
fn checks(settings: &model::Server) -> (Option<Check>, Pace) {
    let check = settings.check.as_ref().map(|check| Check {
        // The steps are the driver's.
        kind: CheckKind::Tcp,
        interval: check.inter,
        timeout: check.inter,
        rise: check.rise,
        fall: check.fall,
    });
    let of = |which: fn(&model::Check) -> Option<Duration>| settings.check.as_ref().and_then(which);
    (check, Pace { fast: of(|c| c.fastinter), down: of(|c| c.downinter), connects: false })
}

/// Asks the system's resolver, which blocks a thread of its own.
async fn lookup(name: &str, port: u16) -> Result<Vec<IpAddr>, String> {
    match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(found)) => Ok(found.map(|a| a.ip()).collect()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("no answer from the resolver".to_owned()),
    }
}

impl Server {
    fn deadline(&self) -> Option<Time> {
        let checked = self.settings.check.is_some() && self.admin != Admin::Maint && self.address.is_some();
        let check = checked.then(|| self.health.deadline()).flatten();
        let agent = self.settings.agent.as_ref().map(|_| self.agent_at);
        let grow = self.growing.map(|_| clock::now() + Duration::from_secs(1));
        check.into_iter().chain(agent).chain(self.lookup_at).chain(grow).min()
    }

    pub(super) fn turned(&mut self, change: &Change, now: Time) {
        if change.up {
            self.down_for += now.since(self.changed);
            self.growing = self.settings.slowstart.map(|_| now);
        } else {
            self.downs += 1;
            self.growing = None;
        }
        self.changed = now;
    }

    /// An operator wants it so. Whether that changes anything.
    pub fn set_admin(&mut self, admin: Admin) -> bool {
        let before = std::mem::replace(&mut self.admin, admin);
        if before != admin {
            self.changed = clock::now();
            if before == Admin::Maint {
                // It begins like a server at the start: up, until the first check says otherwise.
                let (check, pace) = checks(&self.settings);
                self.health = Health::new(check, self.changed);
                self.health.set_pace(pace);
            }
        }
        before != admin
    }

    /// Whether its share has grown.
    fn grow(&mut self) -> bool {
        let over = self.growing.zip(self.settings.slowstart).is_some_and(|(at, time)| clock::now().since(at) >= time);
        if over {
            self.growing = None;
            return true;
        }
        self.growing.is_some()
    }

    /// It may get traffic.
    #[must_use]
    pub fn up(&self) -> bool {
        self.admin != Admin::Maint && self.health.is_up() && !self.agent_down && self.address.is_some()
    }

    /// Its connections at once: few at first, where it grows slowly. 0: any number.
    #[must_use]
    pub fn limit(&self) -> u32 {
        match (self.growing, self.settings.slowstart) {
            (Some(since), Some(whole)) if self.connections_max > 0 => {
                let passed = clock::now().since(since).min(whole);
                let percent = passed.as_millis() * 100 / whole.as_millis().max(1);
                let now = u128::from(self.connections_max) * percent / 100;
                u32::try_from(now).unwrap_or(self.connections_max).max(1)
            }
            _ => self.connections_max,
        }
    }

    /// Its share for the data path.
    #[must_use]
    pub fn share(&self) -> u16 {
        if self.admin == Admin::Drain { 0 } else { self.grown() }
    }

    /// Its weight in parts, as far as it has grown.
    #[must_use]
    pub fn grown(&self) -> u16 {
        let parts = match (self.growing, self.settings.slowstart) {
            (Some(since), Some(whole)) => {
                let passed = clock::now().since(since).min(whole);
                let parts = f64::from(WEIGHT) * passed.as_secs_f64() / whole.as_secs_f64();
                // Between one part and all.
                (1..=WEIGHT).rev().find(|part| f64::from(*part) <= parts + 1.0).unwrap_or(1)
            }
            _ => WEIGHT,
        };
        self.weight * parts
    }
}
