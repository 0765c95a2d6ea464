//! What is remembered of a connection whose front has rules, limits or a log: where it comes from, how far it got and
//! when, how long it may go on, and how it ended.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton_core::pool::Dealings;

use super::conn::Context;
use super::face::{Face, Plan};
use super::flow::Flow;
use super::route::{Choice, Route, Wish};
use super::target::Target;
use super::timers::Tick;
use crate::haproxy::lines::Facts;
use crate::haproxy::syslog::Level;

/// How a session ended: who ended it, and when, in the letters of haproxy's log.
pub(super) type State = [u8; 2];

/// It went well.
pub(super) const WELL: State = *b"--";

pub(super) struct Session {
    pub(super) face: Arc<Face>,
    pub(super) plan: Arc<Plan>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) dealings: Option<Arc<Dealings>>,
    /// The server that counts it as served.
    pub(super) choice: Option<Choice>,
    /// What it wants of its pool.
    pub(super) wish: Option<Box<Wish>>,
    pub(super) source: SocketAddr,
    pub(super) destination: Option<SocketAddr>,
    /// The listener's address, where that is one.
    pub(super) local: Option<SocketAddr>,
    accepted: SystemTime,
    began: Tick,
    /// When it had a server, and when that had accepted it.
    pub(super) served: Option<Tick>,
    pub(super) connected: Option<Tick>,
    pub(super) from_client: AtomicU64,
    pub(super) to_client: AtomicU64,
    told: [u64; 2],
    /// When something last moved.
    pub(super) active: Tick,
    /// When the present phase ends, if not by silence.
    pub(super) until: Option<Tick>,
    /// When its timer is set.
    pub(super) armed: Option<Tick>,
    pub(super) attempts: u32,
    pub(super) redispatched: bool,
    pub(super) queued: [u64; 2],
    pub(super) state: State,
    /// Bytes of the header that we put before the client's.
    pub(super) header: usize,
    /// The client's own header is still to come.
    pub(super) header_due: bool,
    /// It counts among the pool's.
    in_pool: bool,
    logged: bool,
}

impl Session {
    pub(super) fn new(face: &Arc<Face>, source: SocketAddr, header_due: bool, now: Tick) -> Session {
        face.enter();
        Session {
            face: face.clone(),
            plan: face.plan.load_full(),
            route: None,
            dealings: None,
            choice: None,
            wish: None,
            source,
            destination: None,
            local: None,
            accepted: SystemTime::now(),
            began: now,
            served: None,
            connected: None,
            from_client: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            told: [0; 2],
            active: now,
            until: None,
            armed: None,
            attempts: 0,
            redispatched: false,
            queued: [0; 2],
            state: WELL,
            header: 0,
            header_due,
            in_pool: false,
            logged: false,
        }
    }

    /// How long the first bytes are waited for: those that rules look at come after the PROXY protocol's header.
    pub(super) fn wait_for_first(&mut self, now: Tick) {
        let settings = &self.plan.settings;
        let inspects = self.plan.reads && !self.header_due;
        let wait = if inspects { Some(settings.inspect.unwrap_or_default()) } else { settings.client };
        self.until = Session::after(now, wait);
    }

    pub(super) fn source_ip(&self) -> IpAddr {
        self.source.ip().to_canonical()
    }

    /// It goes to this pool.
    pub(super) fn enter(&mut self, route: Arc<Route>) {
        self.dealings = route.snapshot.load().dealings.clone();
        route.sessions.fetch_add(1, Relaxed);
        let open = route.open.fetch_add(1, Relaxed) + 1;
        if open > route.open_max.load(Relaxed) {
            route.open_max.fetch_max(open, Relaxed);
        }
        self.in_pool = true;
        self.route = Some(route);
    }

    /// The end of a time that may be unlimited.
    pub(super) fn after(now: Tick, time: Option<Duration>) -> Option<Tick> {
        time.map(|time| now + u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2))
    }

    /// A duration of the pool.
    pub(super) fn of(&self, which: fn(&Dealings) -> Option<Duration>) -> Option<Duration> {
        self.dealings.as_deref().and_then(which)
    }

    /// When silence ends an open connection, and whose silence it is. `ended`: the client's and the server's bytes.
    pub(super) fn silence(&self, ended: (bool, bool)) -> Option<(Tick, u8)> {
        let settings = &self.plan.settings;
        let tunnel = self.of(|d| d.tunnel);
        let (from_client, from_server) = ended;
        let client = if from_server { settings.client_fin.or(settings.client) } else { tunnel.or(settings.client) };
        let server_time = self.of(|d| d.server);
        let server = if from_client { self.of(|d| d.server_fin).or(server_time) } else { tunnel.or(server_time) };
        let client = Session::after(self.active, client).map(|at| (at, b'c'));
        let server = Session::after(self.active, server).map(|at| (at, b's'));
        // Of equals the client's.
        client.into_iter().chain(server).min_by_key(|(at, _)| *at)
    }

    /// The server has accepted it; so many bytes of the client have waited for that.
    pub(super) fn open(&mut self, waited: usize, target: &Target, with: &mut Context<'_>) {
        (self.connected, self.active) = (Some(with.now), with.now);
        self.from_client.fetch_add(waited as u64, Relaxed);
        self.told[0] += waited as u64;
        self.face.from_clients.fetch_add(waited as u64, Relaxed);
        let passed = Duration::from_millis(with.now.saturating_sub(self.began));
        let last = (self.accepted + passed).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        target.rare.last.store(last, Relaxed);
        if let Some(key) = self.wish.as_ref().and_then(|wish| wish.key)
            && let (Some(route), Some(choice)) = (&self.route, &self.choice)
        {
            route.keep(key, choice);
        }
        if self.plan.settings.log.early {
            self.log(with, true, target.served.load(Relaxed));
        }
    }

    /// Adds what was moved to the counters.
    pub(super) fn account(&mut self, now: Tick, cell: &super::target::Cell) {
        let totals = [self.from_client.load(Relaxed), self.to_client.load(Relaxed)];
        let [up, down] = [totals[0] - self.told[0], totals[1] - self.told[1]];
        if up + down > 0 {
            self.active = now;
            self.told = totals;
            cell.to_backend.fetch_add(up, Relaxed);
            cell.to_client.fetch_add(down, Relaxed);
            self.face.from_clients.fetch_add(up, Relaxed);
            self.face.to_clients.fetch_add(down, Relaxed);
        }
    }

    /// Its server has one less.
    pub(super) fn leave_server(&mut self) {
        if let (Some(choice), Some(route)) = (self.choice.take(), &self.route) {
            let _ = route.leave(&choice.target);
        }
    }

    /// It is over.
    pub(super) fn finish(&mut self, early: &Flow, with: &mut Context<'_>) {
        if self.connected.is_none() {
            // What was read counts although nobody got it.
            let read = early.held().saturating_sub(self.header) as u64;
            self.from_client.fetch_add(read, Relaxed);
            self.face.from_clients.fetch_add(read, Relaxed);
        }
        if let Some(choice) = &self.choice {
            match self.state[0] {
                b'C' => drop(choice.target.rare.client_aborts.fetch_add(1, Relaxed)),
                b'S' if self.connected.is_some() => drop(choice.target.rare.server_aborts.fetch_add(1, Relaxed)),
                _ => {}
            }
        }
        if let (Some(served), Some(connected), Some(choice), Some(route)) =
            (self.served, self.connected, &self.choice, &self.route)
        {
            let took = [served - self.began, connected - served, 0, with.now.saturating_sub(self.began)];
            route.times.add(took);
            choice.target.rare.times.add(took);
        }
        self.leave_pool();
        let left = self.choice.as_ref().zip(self.route.as_ref()).map_or(0, |(c, route)| route.leave(&c.target));
        self.log(with, false, left);
        self.choice = None;
    }

    fn leave_pool(&mut self) {
        if let Some(route) = self.route.as_ref().filter(|_| std::mem::take(&mut self.in_pool)) {
            route.open.fetch_sub(1, Relaxed);
        }
    }

    fn log(&mut self, with: &mut Context<'_>, early: bool, server_open: u64) {
        let plan = self.plan.clone();
        let logging = plan.settings.log;
        let Some(lines) = plan.lines.as_ref().filter(|_| logging.sessions && !self.logged) else { return };
        if logging.not_null && self.from_client.load(Relaxed) == 0 {
            return;
        }
        let bad = self.state != WELL || self.redispatched || self.attempts > 0;
        if logging.not_normal && !bad {
            return;
        }
        self.logged = true;
        let facts = self.facts(with, early, server_open);
        with.line.clear();
        lines.text(&facts, with.line);
        let level = if lines.errors_apart && bad { Level::Error } else { Level::Info };
        with.logs.write(&lines.targets, level, &lines.tag, with.line);
    }

    fn facts(&self, with: &Context<'_>, early: bool, server_open: u64) -> Facts<'_> {
        let target = self.choice.as_ref().map(|c| &c.target);
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let pool_open = self.route.as_ref().map_or(0, |route| count(&route.open));
        Facts {
            client: self.source,
            local: self.destination.or(self.local),
            inner: None,
            server_address: self.choice.as_ref().and_then(|c| c.address),
            accepted: self.accepted,
            front: &self.plan.settings.name,
            pool: self.route.as_ref().map_or(self.plan.settings.name.as_str(), |route| route.name.as_str()),
            server: target.map_or("<NOSRV>", |target| target.id.host.as_str()),
            waited: self.served.map(|at| at - self.began),
            connecting: self.connected.zip(self.served).map(|(at, from)| at - from),
            total: with.now.saturating_sub(self.began),
            early,
            to_client: count(&self.to_client),
            from_client: count(&self.from_client),
            state: self.state,
            open: [with.limits.now() as u64, count(&self.face.open), pool_open, server_open],
            retries: self.attempts,
            redispatched: self.redispatched,
            queued: self.queued,
            request: None,
        }
    }
}

/// However it ended, with its worker perhaps: nobody counts it any more.
impl Drop for Session {
    fn drop(&mut self) {
        self.leave_pool();
        self.leave_server();
        self.face.open.fetch_sub(1, Relaxed);
    }
}
