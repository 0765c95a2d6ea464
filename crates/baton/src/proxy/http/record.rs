//! What is remembered of a request until it is over: how far it got and when, how it ended, and its line in the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::Frame;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::Extensions;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::super::face::Plan;
use super::super::route::{Choice, Route};
use super::super::session::{State, WELL};
use super::client::Client;
use crate::haproxy::lines::{self, Facts};
use crate::haproxy::requests::version;
use crate::haproxy::syslog::Level;

/// How a request's body moves.
pub(super) struct Upload {
    client: Arc<Client>,
    pub(super) bytes: AtomicU64,
    /// When something of it last went to the server.
    moved: Mutex<Instant>,
}

impl Upload {
    /// Something was asked of the body.
    pub(super) fn polled(&self, polled: &Poll<Option<Result<Frame<Bytes>, hyper::Error>>>) {
        let mut clock = self.client.clock();
        let Poll::Ready(ready) = polled else {
            clock.body.get_or_insert_with(Instant::now);
            return;
        };
        clock.body = None;
        drop(clock);
        *self.moved.lock().expect("nobody panics while holding it") = Instant::now();
        if let Some(Ok(frame)) = ready
            && let Some(data) = frame.data_ref()
        {
            self.count(data.len() as u64);
        }
    }

    fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.client.face.from_clients.fetch_add(bytes, Relaxed);
    }

    /// Since when the server is silent; `None`: it is the client that is waited for.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let waits = self.client.clock().body.is_some();
        (!waits).then(|| *self.moved.lock().expect("nobody panics while holding it"))
    }
}

/// One request.
pub(super) struct Record {
    pub(super) client: Arc<Client>,
    pub(super) plan: Arc<Plan>,
    pub(super) upload: Arc<Upload>,
    head: Option<(String, String, &'static str)>,
    /// When its first byte came.
    began: Instant,
    accepted: SystemTime,
    idle: u64,
    pub(super) received: Option<Instant>,
    pub(super) route: Option<Arc<Route>>,
    choice: Option<Choice>,
    /// Who answers in place of a server.
    pub(super) own: Option<&'static str>,
    pub(super) served: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) answered: Option<Instant>,
    pub(super) status: u16,
    pub(super) state: State,
    pub(super) attempts: u32,
    pub(super) redispatched: bool,
    pub(super) queued: [u64; 2],
    down: u64,
    logged: bool,
    over: bool,
}

impl Record {
    /// A request that has just come.
    pub(super) fn new(client: &Arc<Client>, plan: Arc<Plan>, parts: &Parts) -> Record {
        let head = (parts.method.to_string(), parts.uri.to_string(), version(parts.version));
        let mut record = Record::begin(client, plan, Some(head));
        record.received = Some(Instant::now());
        client.face.requests.fetch_add(1, Relaxed);
        record.upload.count(request_size(parts));
        record
    }

    fn begin(client: &Arc<Client>, plan: Arc<Plan>, head: Option<(String, String, &'static str)>) -> Record {
        let mut clock = client.clock();
        let (began, accepted) = clock.begun.take().unwrap_or_else(|| (Instant::now(), SystemTime::now()));
        let idle = if clock.requests > 0 { millis(clock.since, began) } else { 0 };
        (clock.busy, clock.requests) = (true, clock.requests + 1);
        drop(clock);
        Record {
            client: client.clone(),
            plan,
            upload: Arc::new(Upload {
                client: client.clone(),
                bytes: AtomicU64::new(0),
                moved: Mutex::new(Instant::now()),
            }),
            head,
            began,
            accepted,
            idle,
            received: None,
            route: None,
            choice: None,
            own: None,
            served: None,
            connected: None,
            answered: None,
            status: 0,
            state: WELL,
            attempts: 0,
            redispatched: false,
            queued: [0; 2],
            down: 0,
            logged: false,
            over: false,
        }
    }

    /// The line of what never became a request. `heard`: some bytes of it came.
    pub(super) fn refused(client: &Arc<Client>, status: u16, state: State, heard: bool) {
        let plan = client.face.plan.load_full();
        let since = client.clock().since;
        let mut record = Record::begin(client, plan, None);
        if !heard {
            (record.began, record.accepted) = (since, client.accepted);
        }
        client.face.answers.count(status);
        (record.status, record.state, record.logged) = (status, state, !heard && record.plan.settings.log.not_null);
    }

    /// It goes to this pool.
    pub(super) fn enter(&mut self, route: &Arc<Route>) {
        route.sessions.fetch_add(1, Relaxed);
        let open = route.open.fetch_add(1, Relaxed) + 1;
        route.open_max.fetch_max(open, Relaxed);
        self.route = Some(route.clone());
    }

    /// It has a server.
    pub(super) fn serve(&mut self, choice: Choice) {
        let cell = self.client.shared.cell;
        choice.target.cell(cell).active.fetch_add(1, Relaxed);
        self.served.get_or_insert_with(Instant::now);
        self.choice = Some(choice);
    }

    /// Its server has one less; how many it has left.
    pub(super) fn leave(&mut self) -> u64 {
        let Some((choice, route)) = self.choice.take().zip(self.route.as_ref()) else { return 0 };
        choice.target.cell(self.client.shared.cell).active.fetch_sub(1, Relaxed);
        route.leave(&choice.target)
    }

    /// The server has got the request.
    pub(super) fn sent(&self) {
        let Some(choice) = &self.choice else { return };
        choice.target.cell(self.client.shared.cell).connected(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        choice.target.rare.last.store(now, Relaxed);
    }

    /// An answer begins.
    pub(super) fn answer(&mut self, status: StatusCode, headers: &HeaderMap, extensions: &Extensions) {
        self.status = status.as_u16();
        self.count();
        self.down(answer_size(status, headers, extensions));
        if self.plan.settings.log.early {
            let open = self.choice.as_ref().map_or(0, |c| c.target.served.load(Relaxed));
            self.log(true, open);
        }
    }

    fn count(&self) {
        self.client.face.answers.count(self.status);
        if let Some(route) = &self.route {
            route.answers.count(self.status);
        }
        if let Some(choice) = self.choice.as_ref().filter(|_| self.answered.is_some()) {
            choice.target.rare.answers.count(self.status);
        }
    }

    /// So much of the answer has passed.
    pub(super) fn down(&mut self, bytes: u64) {
        self.down += bytes;
        self.client.face.to_clients.fetch_add(bytes, Relaxed);
        if let Some(choice) = &self.choice {
            choice.target.cell(self.client.shared.cell).to_client.fetch_add(bytes, Relaxed);
        }
    }

    /// It is no request after all.
    pub(super) fn unreadable(mut self, mut answer: Response<Bytes>) -> Response<Bytes> {
        answer.headers_mut().append(header::CONNECTION, HeaderValue::from_static("close"));
        (self.head, self.received) = (None, None);
        (self.status, self.state) = (answer.status().as_u16(), *b"PR");
        self.client.face.request_errors.fetch_add(1, Relaxed);
        self.count();
        answer
    }

    /// It leaves no trace.
    pub(super) fn forget(mut self) {
        self.logged = true;
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if self.status == 0 && self.state == WELL {
            // The client went away, or was too late, before there was an answer.
            let stage = match (&self.route, self.served, self.connected) {
                (_, _, Some(_)) => b'H',
                (_, Some(_), _) => b'C',
                (Some(_), ..) => b'Q',
                _ => b'R',
            };
            self.state = [if self.client.clock().late { b'c' } else { b'C' }, stage];
        }
        if let Some(choice) = &self.choice {
            let cell = choice.target.cell(self.client.shared.cell);
            cell.to_backend.fetch_add(self.upload.bytes.load(Relaxed), Relaxed);
            match self.state[0] {
                b'C' => drop(choice.target.rare.client_aborts.fetch_add(1, Relaxed)),
                b'S' if self.connected.is_some() => drop(choice.target.rare.server_aborts.fetch_add(1, Relaxed)),
                _ => {}
            }
        }
        if let Some(route) = &self.route {
            route.open.fetch_sub(1, Relaxed);
        }
        self.took();
        // The line tells how many others there are.
        let left = match (&self.choice, &self.route) {
            (Some(choice), Some(route)) => {
                choice.target.cell(self.client.shared.cell).active.fetch_sub(1, Relaxed);
                route.leave(&choice.target)
            }
            _ => 0,
        };
        self.log(false, left);
        let mut clock = self.client.clock();
        (clock.busy, clock.since, clock.body) = (false, Instant::now(), None);
    }

    /// Adds to the averages, once a server has answered.
    fn took(&self) {
        if let (Some(received), Some(served), Some(connected), Some(answered), Some(choice), Some(route)) =
            (self.received, self.served, self.connected, self.answered, &self.choice, &self.route)
        {
            let whole = millis(self.began, Instant::now());
            let took = [millis(received, served), millis(served, connected), millis(connected, answered), whole];
            route.times.add(took);
            choice.target.rare.times.add(took);
        }
    }

    fn log(&mut self, early: bool, server_open: u64) {
        let plan = self.plan.clone();
        let logging = plan.settings.log;
        let Some(lines) = plan.lines.as_ref().filter(|_| logging.sessions && !self.logged) else { return };
        let own = self.state[0] == b'L' || self.state == WELL;
        let bad = !own || self.redispatched || self.attempts > 0 || self.status >= 500;
        if logging.not_normal && !bad {
            return;
        }
        self.logged = true;
        let mut text = String::new();
        lines.text(&self.facts(early, server_open), &mut text);
        let level = if lines.errors_apart && bad { Level::Error } else { Level::Info };
        let mut logs = self.client.shared.logs.lock().expect("nobody panics while holding it");
        logs.write(&lines.targets, level, &lines.tag, &text);
    }

    fn facts(&self, early: bool, server_open: u64) -> Facts<'_> {
        let open = |counter: &AtomicU64| counter.load(Relaxed);
        let front = self.plan.settings.name.as_str();
        let between = |from: Option<Instant>, to: Option<Instant>| from.zip(to).map(|(from, to)| millis(from, to));
        // Answers of this process pass all stages at once.
        let own = self.own.map(|_| 0);
        Facts {
            client: self.client.source,
            local: Some(self.client.destination),
            inner: None,
            server_address: self.choice.as_ref().and_then(|c| c.address),
            accepted: self.client.accepted,
            front,
            pool: self.route.as_ref().map_or(front, |route| route.name.as_str()),
            server: self.choice.as_ref().map_or(self.own.unwrap_or("<NOSRV>"), |c| c.target.id.host.as_str()),
            waited: between(self.received, self.served).or(own),
            connecting: between(self.served, self.connected).or(own),
            total: millis(self.began, Instant::now()),
            early,
            to_client: self.down,
            from_client: open(&self.upload.bytes),
            state: self.state,
            open: [
                self.client.shared.limits.now() as u64,
                open(&self.client.face.open),
                self.route.as_ref().map_or(0, |route| open(&route.open)),
                server_open,
            ],
            retries: self.attempts,
            redispatched: self.redispatched,
            queued: self.queued,
            request: Some(lines::Request {
                began: self.accepted,
                head: self.head.as_ref().map(|(method, target, version)| (method.as_str(), target.as_str(), *version)),
                status: self.status,
                idle: self.idle,
                received: self.received.map(|at| millis(self.began, at)),
                answered: between(self.connected, self.answered).or(own),
            }),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.finish();
    }
}

fn millis(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

/// What haproxy counts for the first line of a message beside its words, and for the end of its head.
const LINE: usize = 20;
const END: usize = 1;

fn headers_size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

fn answer_size(status: StatusCode, headers: &HeaderMap, extensions: &Extensions) -> u64 {
    let said = extensions.get::<ReasonPhrase>().map(|reason| reason.as_bytes().len());
    let reason = said.or(status.canonical_reason().map(str::len)).unwrap_or(0);
    (LINE + "HTTP/1.1200".len() + reason + headers_size(headers) + END) as u64
}

fn request_size(parts: &Parts) -> u64 {
    let line = parts.method.as_str().len() + parts.uri.to_string().len() + "HTTP/1.1".len();
    (LINE + line + headers_size(&parts.headers) + END) as u64
}
