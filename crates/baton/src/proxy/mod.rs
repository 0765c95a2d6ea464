//! The balancer's data path: workers that move bytes, and the control side that tells them what changed.
//!
//! It decides nothing: who may get traffic comes from `baton-core`'s order over what the health checks said. Workers read
//! snapshots and never wait for the control side.

pub mod check;
mod conn;
mod flow;
pub mod health;
mod http;
mod limits;
mod listen;
mod revive;
mod slots;
mod target;
mod tls;
mod worker;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use baton_core::balance::{Candidate, Order};
use baton_core::keeper::Holding;
use baton_core::settings::{Balancer, BalancerKind};
use tokio::sync::mpsc;

pub use target::{BackendId, Counts, Fault, Passive};

use http::Http;
use limits::Limits;
use target::{Choice, PASSIVE_MAX, Reports, Route, Snapshot, Target};
use worker::{Command, Mailbox, Worker};

/// What became of one listening address.
#[derive(Debug)]
pub struct Listening {
    /// The balancer's name.
    pub balancer: String,
    /// The address; with the real port where port 0 was asked for.
    pub address: SocketAddr,
    /// Why nobody listens there.
    pub error: Option<io::Error>,
}

/// A backend's counters and state.
#[derive(Clone, Debug)]
pub struct BackendView {
    /// The backend.
    pub id: BackendId,
    /// May get traffic, as last told.
    pub up: bool,
    /// Where its name leads; `None`: not resolved (yet).
    pub address: Option<SocketAddr>,
    /// Its counters.
    pub counts: Counts,
}

/// What the data path is doing now.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Workers that work: fewer than were started means that one has died, and its share of the connections with it
    /// ([`Proxy::revive`]).
    pub workers: usize,
    /// Connections of clients open now.
    pub connections: usize,
    /// Most that fit.
    pub connections_max: usize,
    /// Clients refused because no backend could be had, by balancer.
    pub refused: Vec<(String, u64)>,
    /// Backends in the order of the configuration.
    pub backends: Vec<BackendView>,
}

struct Member {
    target: Arc<Target>,
    settings: baton_core::settings::Backend,
    address: Option<SocketAddr>,
    up: bool,
}

struct Group {
    settings: Balancer,
    route: Arc<Route>,
    members: Vec<Member>,
}

struct Open {
    number: u32,
    balancer: String,
    kind: BalancerKind,
    /// As bound: differs from what was asked for where that was port 0.
    bound: SocketAddr,
}

/// The balancer.
pub struct Proxy {
    mailboxes: Vec<Arc<Mailbox>>,
    threads: Vec<JoinHandle<()>>,
    limits: Arc<Limits>,
    http: Option<Http>,
    reports: Reports,
    passive: Option<mpsc::Receiver<Passive>>,
    groups: Vec<Group>,
    /// Listeners by the address asked for.
    open: HashMap<SocketAddr, Open>,
    /// Counters of backends that are not configured now, should they come back.
    former: HashMap<BackendId, Arc<Target>>,
    numbers: u32,
}

/// Backends no longer configured whose counters are kept.
const FORMER_MAX: usize = 1024;

/// How long a change waits for listeners to be closed: workers are busy for microseconds.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Proxy {
    /// Starts the workers. They have nothing to do until [`Proxy::apply`].
    ///
    /// # Errors
    /// When threads or descriptors cannot be had.
    pub fn start(workers: usize) -> io::Result<Proxy> {
        let limits = Arc::new(Limits::from_process());
        let (reports, passive) = mpsc::channel(PASSIVE_MAX);
        let workers = workers.max(1);
        let mut proxy = Proxy {
            mailboxes: Vec::new(),
            threads: Vec::new(),
            limits: limits.clone(),
            http: None,
            reports: reports.clone(),
            passive: Some(passive),
            groups: Vec::new(),
            open: HashMap::new(),
            former: HashMap::new(),
            numbers: 0,
        };
        for number in 0..workers {
            let (mailbox, thread) = hire(number, limits.pipes / workers, limits.clone(), reports.clone())?;
            proxy.mailboxes.push(mailbox);
            proxy.threads.push(thread);
        }
        Ok(proxy)
    }

    /// The listeners of one kind, with where their connections go.
    fn listeners(&self, kind: BalancerKind) -> impl Iterator<Item = (&Open, Arc<Route>)> {
        self.open.values().filter(move |open| open.kind == kind).filter_map(|open| {
            let group = self.groups.iter().find(|group| group.settings.name == open.balancer)?;
            Some((open, group.route.clone()))
        })
    }

    /// Takes over what traffic tells about backends. Once.
    pub fn passive(&mut self) -> Option<mpsc::Receiver<Passive>> {
        self.passive.take()
    }

    /// Makes the listeners and backends what `balancers` says, changing only what differs: connections go on, also
    /// those of balancers and backends that are no longer there. Errors leave the rest in effect; apply again to retry.
    pub fn apply(&mut self, balancers: &[Balancer]) -> Vec<Listening> {
        let mut before: HashMap<String, Group> = self.groups.drain(..).map(|g| (g.settings.name.clone(), g)).collect();
        for settings in balancers {
            let group = self.group(settings, before.remove(&settings.name));
            group.publish();
            self.groups.push(group);
        }
        for group in before.into_values() {
            group.members.into_iter().for_each(|m| self.retire(m.target));
        }
        self.close_unwanted(balancers);
        let wanted: Vec<(usize, SocketAddr)> = self
            .groups
            .iter()
            .enumerate()
            .flat_map(|(at, g)| g.settings.listen.iter().map(move |address| (at, *address)))
            .collect();
        wanted.into_iter().map(|(at, address)| self.listen(at, address)).collect()
    }

    fn group(&mut self, settings: &Balancer, before: Option<Group>) -> Group {
        let (route, mut old) = match before {
            Some(group) => (group.route, group.members),
            None => (Arc::new(Route::new()), Vec::new()),
        };
        let mut members = Vec::new();
        for backend in &settings.backends {
            let id = BackendId { balancer: settings.name.clone(), host: backend.host.clone(), port: backend.port };
            if members.iter().any(|m: &Member| m.target.id == id) {
                continue;
            }
            let member = match old.iter().position(|m| m.target.id == id) {
                Some(at) => Member { settings: backend.clone(), ..old.swap_remove(at) },
                None => Member {
                    address: backend.host.parse().ok().map(|ip| SocketAddr::new(ip, backend.port)),
                    settings: backend.clone(),
                    target: self
                        .former
                        .remove(&id)
                        .unwrap_or_else(|| Arc::new(Target::new(id, self.mailboxes.len() + 1))),
                    up: true,
                },
            };
            members.push(member);
        }
        old.into_iter().for_each(|m| self.retire(m.target));
        Group { settings: settings.clone(), route, members }
    }

    fn retire(&mut self, target: Arc<Target>) {
        if self.former.len() < FORMER_MAX {
            self.former.insert(target.id.clone(), target);
        }
    }

    fn close_unwanted(&mut self, balancers: &[Balancer]) {
        let stays = |address: &SocketAddr, open: &Open| {
            balancers.iter().any(|b| b.listen.contains(address) && b.kind == open.kind)
        };
        let gone: Vec<SocketAddr> = self.open.iter().filter(|(a, o)| !stays(a, o)).map(|(a, _)| *a).collect();
        let (done, all_done) = std::sync::mpsc::channel();
        for address in gone {
            if let Some(open) = self.open.remove(&address) {
                self.tell(|| Command::Close { number: open.number, done: done.clone() });
                self.tell_http(http::Command::Close { number: open.number, done: done.clone() });
            }
        }
        drop(done);
        // A new listener may want the same port. Nothing is sent: the channel ends when all are closed.
        let _ = all_done.recv_timeout(CLOSE_TIMEOUT);
    }

    fn listen(&mut self, at: usize, address: SocketAddr) -> Listening {
        let group = &self.groups[at];
        let (balancer, kind, route) = (group.settings.name.clone(), group.settings.kind, group.route.clone());
        if let Some(open) = self.open.get_mut(&address) {
            let (number, bound) = (open.number, open.bound);
            if open.balancer != balancer {
                open.balancer.clone_from(&balancer);
                self.tell(|| Command::Retarget { number, route: route.clone() });
                self.tell_http(http::Command::Retarget { number, route });
            }
            return Listening { balancer, address: bound, error: None };
        }
        self.numbers += 1;
        let number = self.numbers;
        let bound = match kind {
            BalancerKind::Tcp => self.listen_tcp(number, address, &route),
            BalancerKind::Http => self.listen_http(number, address, route),
        };
        match bound {
            Ok(bound) => {
                self.open.insert(address, Open { number, balancer: balancer.clone(), kind, bound });
                Listening { balancer, address: bound, error: None }
            }
            Err(error) => Listening { balancer, address, error: Some(error) },
        }
    }

    fn listen_tcp(&self, number: u32, address: SocketAddr, route: &Arc<Route>) -> io::Result<SocketAddr> {
        let sockets = listen::open(address, self.mailboxes.len())?;
        let bound = sockets.first().and_then(listen::local).unwrap_or(address);
        for (mailbox, fd) in self.mailboxes.iter().zip(sockets) {
            mailbox.post(Command::Listen { number, fd, address: bound, route: route.clone() });
        }
        Ok(bound)
    }

    fn listen_http(&mut self, number: u32, address: SocketAddr, route: Arc<Route>) -> io::Result<SocketAddr> {
        let http = match &mut self.http {
            Some(http) => http,
            None => {
                let (limits, reports) = (self.limits.clone(), self.reports.clone());
                self.http.insert(Http::start(limits, reports, self.mailboxes.len())?)
            }
        };
        let fd = listen::open(address, 1)?.pop().ok_or(io::ErrorKind::Other)?;
        let bound = listen::local(&fd).unwrap_or(address);
        http.tell(http::Command::Listen { number, fd, route });
        Ok(bound)
    }

    /// Who may use an address has changed: when it is gone, connections on it are reset.
    pub fn holding(&mut self, vip: IpAddr, holding: Holding) {
        if holding == Holding::Gone {
            self.tell(|| Command::Gone(vip));
            self.tell_http(http::Command::Gone(vip));
        }
    }

    /// A backend may get traffic from now on, or not. Down cuts its connections where the balancer asks for that.
    pub fn set_up(&mut self, id: &BackendId, up: bool) {
        let Some((group, at)) = self.find(id) else { return };
        let member = &mut group.members[at];
        if member.up == up {
            return;
        }
        member.up = up;
        let cut = (!up && group.settings.cut_on_down).then(|| member.target.clone());
        group.publish();
        if let Some(target) = cut {
            self.tell(|| Command::Cut(target.clone()));
            self.tell_http(http::Command::Cut(target));
        }
    }

    /// The name of a backend leads there now (`None`: nowhere). Connections go on.
    pub fn set_address(&mut self, id: &BackendId, address: Option<IpAddr>) {
        let Some((group, at)) = self.find(id) else { return };
        group.members[at].address = address.map(|ip| SocketAddr::new(ip, id.port));
        group.publish();
    }

    fn find(&mut self, id: &BackendId) -> Option<(&mut Group, usize)> {
        let group = self.groups.iter_mut().find(|g| g.settings.name == id.balancer)?;
        let at = group.members.iter().position(|m| m.target.id == *id)?;
        Some((group, at))
    }

    /// What the data path is doing now.
    #[must_use]
    pub fn snapshot(&self) -> View {
        let member = |m: &Member| BackendView {
            id: m.target.id.clone(),
            up: m.up,
            address: m.address,
            counts: m.target.counts(),
        };
        View {
            workers: self.threads.iter().filter(|thread| !thread.is_finished()).count(),
            connections: self.limits.now(),
            connections_max: self.limits.connections,
            refused: self.groups.iter().map(|g| (g.settings.name.clone(), g.route.refused.load(Relaxed))).collect(),
            backends: self.groups.iter().flat_map(|g| g.members.iter().map(member)).collect(),
        }
    }

    /// Ends the workers, and with them every connection.
    pub fn stop(&mut self) {
        self.tell(|| Command::Stop);
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
        if let Some(http) = &mut self.http {
            http.stop();
        }
    }

    fn tell_http(&self, command: http::Command) {
        if let Some(http) = &self.http {
            http.tell(command);
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for mailbox in &self.mailboxes {
            mailbox.post(command());
        }
    }
}

/// Starts a worker.
fn hire(
    number: usize,
    pipes: usize,
    limits: Arc<Limits>,
    reports: Reports,
) -> io::Result<(Arc<Mailbox>, JoinHandle<()>)> {
    let mailbox = Arc::new(Mailbox::new()?);
    let its = mailbox.clone();
    // Made on its own thread: what it shares among its connections is not counted atomically.
    let (made, was_made) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("proxy-{number}")).spawn(move || {
        match Worker::new(number, pipes, its, limits, reports) {
            Ok(worker) => {
                let _ = made.send(Ok(()));
                worker.run();
            }
            Err(e) => drop(made.send(Err(e))),
        }
    })?;
    was_made.recv().map_err(io::Error::other)??;
    Ok((mailbox, thread))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Group {
    /// Puts a new snapshot where workers find it.
    fn publish(&self) {
        let candidate = |m: &Member| Candidate {
            weight: m.settings.weight,
            backup: m.settings.backup,
            up: m.up && m.address.is_some(),
        };
        let choice = |m: &Member| Choice { target: m.target.clone(), address: m.address, url: m.settings.url.clone() };
        let candidates: Vec<Candidate> = self.members.iter().map(candidate).collect();
        let choices = self.members.iter().map(choice).collect();
        self.route.snapshot.store(Arc::new(Snapshot { choices, order: Order::new(&candidates) }));
    }
}

#[cfg(test)]
mod tests {
    //! What outside cannot bring about: a thread that ends.

    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Instant;

    use baton_core::settings::Backend;

    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    /// A balancer with one backend, which says one byte to everybody.
    fn settings(kind: BalancerKind) -> Balancer {
        let server = TcpListener::bind(any()).unwrap();
        let port = server.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in server.incoming().flatten() {
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 512]);
                    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                });
            }
        });
        let host = Ipv4Addr::LOCALHOST.to_string();
        let backends = vec![Backend { host, port, url: None, weight: 1, backup: false, check: None }];
        let name = "b".to_owned();
        Balancer { name, kind, listen: vec![any()], bind_to_vip: false, backends, cut_on_down: true }
    }

    fn served(address: SocketAddr) -> bool {
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok() && text.contains("204")
    }

    fn eventually(what: impl Fn() -> bool) {
        let began = Instant::now();
        while !what() {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_worker_that_died_is_replaced_and_listens_again() {
        let mut proxy = Proxy::start(2).unwrap();
        let address = proxy.apply(&[settings(BalancerKind::Tcp)])[0].address;
        assert!(proxy.revive().is_empty(), "nobody died");
        for dead in [0, 1] {
            // When the second one goes, only the replacement of the first is there to serve.
            proxy.mailboxes[dead].post(Command::Stop);
            eventually(|| proxy.threads[dead].is_finished());
            assert_eq!(proxy.snapshot().workers, 1);
            assert!((0..8).all(|_| served(address)), "after the death of {dead}");
            let revived = proxy.revive();
            assert!(matches!(&revived[..], [(_, Ok(()))]), "{revived:?}");
            assert_eq!(proxy.snapshot().workers, 2);
            assert!((0..8).all(|_| served(address)));
        }
    }

    #[test]
    fn the_thread_of_type_http_is_replaced_as_well() {
        let mut proxy = Proxy::start(1).unwrap();
        let address = proxy.apply(&[settings(BalancerKind::Http)])[0].address;
        assert!(served(address));
        proxy.tell_http(http::Command::Stop);
        eventually(|| proxy.http.as_ref().is_some_and(Http::is_dead));
        assert!(!served(address));
        let revived = proxy.revive();
        assert!(matches!(&revived[..], [(_, Ok(()))]), "{revived:?}");
        assert!(served(address));
    }
}
