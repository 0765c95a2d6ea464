//! The balancer's data path: workers that move bytes, and the control side that tells them what changed.
//!
//! It decides nothing: who may get traffic comes from `baton-core`'s order over what the health checks said. Workers read
//! snapshots and never wait for the control side.

mod admit;
pub mod check;
mod conn;
mod face;
mod flow;
mod fronts;
pub mod health;
mod http;
mod limits;
pub(crate) mod listen;
mod pools;
mod revive;
mod route;
mod session;
mod slots;
mod target;
mod timers;
pub(crate) mod tls;
mod view;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use baton_core::keeper::Holding;
use baton_core::pool::Pool;
use baton_core::settings::{Balancer, BalancerKind};
use tokio::sync::mpsc;

pub use fronts::Fronted;
pub use pools::id;
pub use target::{BackendId, Counts, Fault, Passive, Took};
pub use view::{BackendView, FrontView, Listening, PoolView, StuckView, View};

use conn::Entry;
use face::Face;
use http::Http;
use limits::Limits;
use listen::Place;
use pools::Group;
use route::StuckTable;
use target::{PASSIVE_MAX, Reports, Target};
use worker::{Command, Mailbox, Worker};

struct Open {
    number: u32,
    /// Of its balancer or front.
    balancer: String,
    entry: Entry,
    kind: BalancerKind,
    /// As bound: differs from what was asked for where that was port 0.
    bound: Place,
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
    /// Fronts by name, in the order of the configuration.
    faces: Vec<(String, Arc<Face>)>,
    /// Listeners by the place asked for.
    open: HashMap<Place, Open>,
    /// Who had which server, by pool.
    tables: BTreeMap<String, StuckTable>,
    /// Counters of backends that are not configured now, should they come back.
    former: HashMap<BackendId, Arc<Target>>,
    numbers: u32,
}

/// How long a change waits for listeners to be closed: workers are busy for microseconds.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Proxy {
    /// Starts the workers. They have nothing to do until [`Proxy::apply`].
    ///
    /// # Errors
    /// When threads or descriptors cannot be had.
    pub fn start(workers: usize) -> io::Result<Proxy> {
        Proxy::start_with(workers, None)
    }

    /// The same with no more connections than `most`.
    ///
    /// # Errors
    /// When threads or descriptors cannot be had.
    pub fn start_with(workers: usize, most: Option<usize>) -> io::Result<Proxy> {
        let mut limits = Limits::from_process();
        limits.connections = most.unwrap_or(limits.connections).min(limits.connections);
        let limits = Arc::new(limits);
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
            faces: Vec::new(),
            open: HashMap::new(),
            tables: BTreeMap::new(),
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

    /// The listeners of one kind.
    fn listeners(&self, kind: BalancerKind) -> impl Iterator<Item = &Open> {
        self.open.values().filter(move |open| open.kind == kind)
    }

    /// Takes over what traffic tells about backends. Once.
    pub fn passive(&mut self) -> Option<mpsc::Receiver<Passive>> {
        self.passive.take()
    }

    /// Makes the listeners and backends what `balancers` says, changing only what differs: connections go on, also
    /// those of balancers and backends that are no longer there. Errors leave the rest in effect; apply again to retry.
    pub fn apply(&mut self, balancers: &[Balancer]) -> Vec<Listening> {
        let pools: Vec<Pool> = balancers.iter().map(Pool::from).collect();
        self.pool(&pools);
        self.faces.clear();
        let wanted: Vec<(Place, BalancerKind)> = balancers
            .iter()
            .flat_map(|b| b.listen.iter().map(move |address| (Place::from(*address), b.kind)))
            .collect();
        self.close_unwanted(&wanted);
        let mut listening = Vec::new();
        for (at, balancer) in balancers.iter().enumerate() {
            for address in &balancer.listen {
                let entry = Entry::Straight(self.groups[at].route.clone());
                listening.push(self.listen(&Place::from(*address), &balancer.name, balancer.kind, entry));
            }
        }
        listening
    }

    fn close_unwanted(&mut self, wanted: &[(Place, BalancerKind)]) {
        let stays = |place: &Place, open: &Open| wanted.iter().any(|(p, kind)| p == place && *kind == open.kind);
        let gone: Vec<Place> = self.open.iter().filter(|(p, o)| !stays(p, o)).map(|(p, _)| p.clone()).collect();
        let (done, all_done) = std::sync::mpsc::channel();
        for place in gone {
            if let Some(open) = self.open.remove(&place) {
                self.tell(|| Command::Close { number: open.number, done: done.clone() });
                self.tell_http(http::Command::Close { number: open.number, done: done.clone() });
            }
        }
        drop(done);
        // A new listener may want the same port. Nothing is sent: the channel ends when all are closed.
        let _ = all_done.recv_timeout(CLOSE_TIMEOUT);
    }

    fn listen(&mut self, place: &Place, name: &str, kind: BalancerKind, entry: Entry) -> Listening {
        let balancer = name.to_owned();
        let address = place.address;
        if let Some(open) = self.open.get_mut(place) {
            let (number, bound) = (open.number, open.bound.address);
            if !open.entry.is(&entry) {
                (open.balancer, open.entry) = (balancer.clone(), entry.clone());
                self.tell(|| Command::Retarget { number, entry: entry.clone() });
                self.tell_http(http::Command::Retarget { number, entry });
            }
            return Listening { balancer, address: bound, error: None };
        }
        self.numbers += 1;
        let number = self.numbers;
        let bound = match kind {
            BalancerKind::Http => self.listen_http(number, place, &entry),
            BalancerKind::Tcp => self.listen_tcp(number, place, &entry),
        };
        match bound {
            Ok(bound) => {
                let at = Place { address: bound, ..place.clone() };
                self.open.insert(place.clone(), Open { number, balancer: balancer.clone(), entry, kind, bound: at });
                Listening { balancer, address: bound, error: None }
            }
            Err(error) => Listening { balancer, address, error: Some(error) },
        }
    }

    fn listen_tcp(&self, number: u32, place: &Place, entry: &Entry) -> io::Result<SocketAddr> {
        let sockets = listen::open(place.clone(), self.mailboxes.len())?;
        let bound = sockets.first().and_then(listen::local).unwrap_or(place.address);
        for (mailbox, fd) in self.mailboxes.iter().zip(sockets) {
            mailbox.post(Command::Listen { number, fd, address: bound, entry: entry.clone() });
        }
        Ok(bound)
    }

    fn listen_http(&mut self, number: u32, place: &Place, entry: &Entry) -> io::Result<SocketAddr> {
        let http = match &mut self.http {
            Some(http) => http,
            None => {
                let (limits, reports) = (self.limits.clone(), self.reports.clone());
                self.http.insert(Http::start(limits, reports, self.mailboxes.len())?)
            }
        };
        let fd = listen::open(place.clone(), 1)?.pop().ok_or(io::ErrorKind::Other)?;
        let bound = listen::local(&fd).unwrap_or(place.address);
        http.tell(http::Command::Listen { number, fd, address: bound, entry: entry.clone() });
        Ok(bound)
    }

    /// Who may use an address has changed: when it is gone, connections on it are reset.
    pub fn holding(&mut self, vip: IpAddr, holding: Holding) {
        if holding == Holding::Gone {
            self.tell(|| Command::Gone(vip));
            self.tell_http(http::Command::Gone(vip));
        }
    }

    /// What the data path is doing now.
    #[must_use]
    pub fn snapshot(&self) -> View {
        let pools: Vec<PoolView> = self.groups.iter().map(Group::view).collect();
        View {
            workers: self.threads.iter().filter(|thread| !thread.is_finished()).count(),
            connections: self.limits.now(),
            connections_max: self.limits.connections,
            refused: pools.iter().map(|pool| (pool.name.clone(), pool.refused)).collect(),
            backends: self.groups.iter().flat_map(|g| g.members.iter().map(pools::Member::view)).collect(),
            pools,
            fronts: self.front_views(),
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

#[cfg(test)]
mod tests {
    //! What outside cannot bring about: a thread that ends.

    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Instant;

    use baton_core::pool::{Front, Listen, Logging};
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
    fn what_changes_nothing_is_not_published() {
        let mut proxy = Proxy::start(1).unwrap();
        proxy.apply(&[settings(BalancerKind::Tcp)]);
        let before = proxy.groups[0].route.snapshot.load_full();
        let id = proxy.groups[0].members[0].target.id.clone();
        proxy.set_connections_max(&id, 0);
        proxy.set_address(&id, Some(Ipv4Addr::LOCALHOST.into()));
        proxy.set_weight(&id, 1);
        proxy.set_up(&id, true);
        assert!(
            Arc::ptr_eq(&before, &proxy.groups[0].route.snapshot.load_full()),
            "who waits would look again each time"
        );
        proxy.set_connections_max(&id, 5);
        assert!(!Arc::ptr_eq(&before, &proxy.groups[0].route.snapshot.load_full()));
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
    fn sessions_of_a_worker_that_died_are_not_counted_any_more() {
        let plain = settings(BalancerKind::Tcp);
        let mut pool = Pool::from(&plain);
        pool.servers[0].connections_max = 1;
        let front = Front {
            name: "f".to_owned(),
            kind: BalancerKind::Tcp,
            listen: vec![Listen {
                address: any(),
                name: String::new(),
                proxy_header: false,
                interface: None,
                six_only: false,
            }],
            pool: Some(pool.name.clone()),
            switches: Vec::new(),
            guards: Vec::new(),
            connections_max: 0,
            client: None,
            client_fin: None,
            inspect: None,
            keep_alive: false,
            log: Logging::default(),
        };
        let mut proxy = Proxy::start(1).unwrap();
        let address = proxy.arrange(&[Fronted { front, lines: None, requests: None }], &[pool])[0].address;
        // One is served, one waits for the only place.
        let open: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
        let counts = |proxy: &Proxy| {
            let view = proxy.snapshot();
            (
                view.fronts[0].sessions[1],
                view.pools[0].sessions[1],
                view.pools[0].queued[0],
                view.backends[0].counts.served,
            )
        };
        eventually(|| counts(&proxy) == (2, 2, 1, 1));
        proxy.mailboxes[0].post(Command::Stop);
        eventually(|| proxy.threads[0].is_finished());
        assert!(matches!(&proxy.revive()[..], [(_, Ok(()))]));
        assert_eq!(counts(&proxy), (0, 0, 0, 0));
        drop(open);
        assert!(served(address));
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
