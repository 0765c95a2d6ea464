//! Hosts that keep an address, a client that uses it, servers behind it, and an observer of the wire.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::backend::Backend;
use crate::client::{Client, INTERVAL, Seen, TIMEOUT};
use crate::enter;
use crate::host::{Host, gone};
use crate::lab::{INTERFACE, Part, Port, Switch, v4, v6};
use crate::observer::{Answering, Observer};
use crate::subject::{Subject, Task, log};

/// Number of the client's host.
const CLIENT: u8 = 10;
/// Numbers of the servers' hosts begin here.
const BACKENDS: u8 = 20;
/// The virtual address's number.
pub const VIP: u8 = 100;
/// The service's port.
pub const PORT: u16 = 6443;

/// One host that may hold the address.
pub struct Node {
    /// Its number: its addresses, its port at the observer, its name `n1` …
    pub number: u8,
    powered: Option<Powered>,
}

/// What a host has while it has power.
struct Powered {
    // Servers first: they live in the host's namespace.
    server: Option<Backend>,
    port: Port,
    daemon: Option<Pid>,
    host: Host,
}

/// How a cluster is made.
pub struct Plan {
    /// What the names of its hosts begin with, where there are several clusters.
    pub name: &'static str,
    /// What keeps the address.
    pub subject: Subject,
    /// How many hosts keep it.
    pub nodes: u8,
    /// How many servers are behind it.
    pub backends: u8,
    /// The addresses; the client uses the first.
    pub vips: Vec<IpAddr>,
    /// Time between the client's connections.
    pub interval: Duration,
    /// Whether the wire is watched: that is traffic, too.
    pub observed: bool,
}

impl Plan {
    /// Three hosts, two servers, one IPv4 address, a connection every 5 ms.
    #[must_use]
    pub fn new(subject: Subject) -> Plan {
        Plan {
            name: "",
            subject,
            nodes: 3,
            backends: 2,
            vips: vec![IpAddr::V4(v4(VIP))],
            interval: INTERVAL,
            observed: true,
        }
    }

    /// The same beside another cluster.
    #[must_use]
    pub fn named(name: &'static str, subject: Subject) -> Plan {
        Plan { name, ..Plan::new(subject) }
    }

    /// The same with an IPv4 and an IPv6 address.
    #[must_use]
    pub fn dual_stack(subject: Subject) -> Plan {
        Plan { vips: vec![IpAddr::V4(v4(VIP)), IpAddr::V6(v6(VIP))], ..Plan::new(subject) }
    }
}

/// A running lab.
pub struct Cluster {
    client: Client,
    observer: Observer,
    nodes: Vec<Node>,
    backends: Vec<(Host, Option<Backend>)>,
    client_host: Host,
    client_port: Port,
    switch: Switch,
    subject: Subject,
    task: Task,
    name: &'static str,
}

/// What client and observer saw between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The client's view.
    pub client: Seen,
    /// The wire's view, the worst over all addresses.
    pub answering: Answering,
}

impl Cluster {
    /// Lays the cables and switches everything on, daemons included.
    pub fn start(plan: Plan) -> io::Result<Cluster> {
        let switch = Switch::new()?;
        let observer = Observer::start(if plan.observed { &plan.vips } else { &[] })?;
        let client_host = Host::new(&format!("{}client", plan.name))?;
        let client_port = switch.connect(&client_host, INTERFACE, CLIENT)?;
        let mut backends = Vec::new();
        let mut behind = Vec::new();
        for place in 0..plan.backends {
            let host = Host::new(&format!("{}b{}", plan.name, place + 1))?;
            switch.connect(&host, INTERFACE, BACKENDS + place)?;
            backends.push((host, None));
            behind.push(SocketAddr::from((v4(BACKENDS + place), PORT)));
        }
        let task = Task { nodes: (1..=plan.nodes).collect(), vips: plan.vips, port: PORT, backends: behind };
        let target = SocketAddr::from((task.vips[0], PORT));
        let client = Client::start(&client_host, target, plan.interval)?;
        let nodes = task.nodes.iter().map(|number| Node { number: *number, powered: None }).collect();
        let mut cluster = Cluster {
            client,
            observer,
            nodes,
            backends,
            client_host,
            client_port,
            switch,
            subject: plan.subject,
            task,
            name: plan.name,
        };
        for place in 0..cluster.backends.len() {
            cluster.start_backend(place)?;
        }
        for place in 0..cluster.nodes.len() {
            // Factory-new disks: nothing of an earlier cluster with these names.
            let _ = fs::remove_dir_all(Path::new(enter::DIR).join(cluster.name(place)));
            cluster.power_on(place)?;
        }
        Ok(cluster)
    }

    /// The hosts that may hold the address.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The first virtual address.
    #[must_use]
    pub fn vip(&self) -> IpAddr {
        self.task.vips[0]
    }

    /// Every virtual address.
    #[must_use]
    pub fn vips(&self) -> &[IpAddr] {
        &self.task.vips
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client's host.
    #[must_use]
    pub fn client_host(&self) -> &Host {
        &self.client_host
    }

    /// The observer of the wire.
    #[must_use]
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// The switch, for more hosts.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The host of a node that has power.
    #[must_use]
    pub fn host(&self, place: usize) -> Option<&Host> {
        self.nodes[place].powered.as_ref().map(|powered| &powered.host)
    }

    /// The daemon of a node, if one was started and not killed since.
    #[must_use]
    pub fn daemon(&self, place: usize) -> Option<Pid> {
        self.nodes[place].powered.as_ref()?.daemon
    }

    /// A node's name.
    #[must_use]
    pub fn name(&self, place: usize) -> String {
        format!("{}n{}", self.name, self.nodes[place].number)
    }

    /// Which node answers for the first address, by the wire.
    #[must_use]
    pub fn holder(&self) -> Option<usize> {
        let number = self.observer.holder(self.vip(), Duration::from_millis(50))?;
        self.nodes.iter().position(|node| node.number == number)
    }

    /// Waits until somebody answers, at most `patience`.
    #[must_use]
    pub fn wait_for_holder(&self, patience: Duration) -> Option<usize> {
        let from = Instant::now();
        loop {
            let holder = self.holder();
            if holder.is_some() || from.elapsed() > patience {
                return holder;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the daemon of node `place` says that it is ready, at most `patience`.
    #[must_use]
    pub fn wait_until_ready(&self, place: usize, patience: Duration) -> bool {
        let from = Instant::now();
        while from.elapsed() < patience {
            if self.host(place).is_some_and(|host| self.subject.ready(host)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// What was seen from `from` to `to`. Waits until every attempt begun by then is over.
    #[must_use]
    pub fn report(&self, from: Instant, to: Instant) -> Report {
        let settled = to + TIMEOUT + Duration::from_millis(50);
        std::thread::sleep(settled.saturating_duration_since(Instant::now()));
        let mut answering = Answering::default();
        for vip in &self.task.vips {
            let one = self.observer.answering(*vip, from, to);
            answering.most = answering.most.max(one.most);
            answering.two = answering.two.max(one.two);
            answering.nobody = answering.nobody.max(one.nobody);
            answering.blind = answering.blind.max(one.blind);
            answering.requests += one.requests;
        }
        Report { client: self.client.seen(from, to), answering }
    }

    /// Starts the server on backend `place`.
    pub fn start_backend(&mut self, place: usize) -> io::Result<()> {
        let name = b"abcdefgh".get(place).copied().unwrap_or(b'?');
        let (host, backend) = &mut self.backends[place];
        if backend.is_none() {
            *backend = Some(Backend::start(host, PORT, name)?);
        }
        Ok(())
    }

    /// Ends the server on backend `place`, and its connections.
    pub fn stop_backend(&mut self, place: usize) {
        self.backends[place].1 = None;
    }

    /// Gives a node power, a cable and its daemon. Its disk is what it was; what was in memory is gone.
    pub fn power_on(&mut self, place: usize) -> io::Result<()> {
        let number = self.nodes[place].number;
        if self.nodes[place].powered.is_some() {
            return Ok(());
        }
        let host = Host::new(&self.name(place))?;
        let _ = fs::remove_dir_all(host.directory().join("run"));
        let port = self.switch.connect(&host, INTERFACE, number)?;
        self.observer.watch(&self.switch, &port, number)?;
        let server = if self.subject.balances() { None } else { Some(Backend::start(&host, PORT, b'0' + number)?) };
        self.nodes[place].powered = Some(Powered { server, port, daemon: None, host });
        self.start_daemon(place)
    }

    /// Takes a node's power: everything stops in the middle of what it did.
    pub fn power_off(&mut self, place: usize) -> io::Result<()> {
        let Some(mut powered) = self.nodes[place].powered.take() else { return Ok(()) };
        if let Some(daemon) = powered.daemon {
            let _ = kill(daemon, Signal::SIGKILL);
        }
        let cut = self.switch.disconnect(&powered.port);
        self.observer.forget(self.nodes[place].number);
        powered.host.kill_all();
        powered.server = None;
        cut
    }

    /// Starts a node's daemon, if it is not running.
    pub fn start_daemon(&mut self, place: usize) -> io::Result<()> {
        let number = self.nodes[place].number;
        let Some(powered) = &mut self.nodes[place].powered else { return Ok(()) };
        if powered.daemon.is_some_and(|daemon| !gone(daemon)) {
            return Ok(());
        }
        powered.daemon = Some(self.subject.start(&powered.host, number, &self.task)?);
        Ok(())
    }

    /// Gives a node's daemon a file with other addresses, and tells it so.
    pub fn reload(&mut self, place: usize, vips: &[IpAddr]) -> io::Result<()> {
        let Some(powered) = &self.nodes[place].powered else { return Ok(()) };
        let task = Task { vips: vips.to_vec(), ..self.task.clone() };
        self.subject.write(&powered.host, self.nodes[place].number, &task)?;
        if let Some(daemon) = powered.daemon {
            kill(daemon, Signal::SIGHUP)?;
        }
        Ok(())
    }

    /// Sends a signal to every process of a node.
    pub fn signal(&mut self, place: usize, signal: Signal) {
        if let Some(powered) = &self.nodes[place].powered {
            match powered.daemon {
                Some(daemon) if self.subject.balances() => drop(kill(daemon, signal)),
                _ => powered.host.signal_all(signal),
            }
        }
    }

    /// `kill -9` of every process of a node. They are gone when it returns: as a supervisor does, one waits for the daemon
    /// itself, whose last thread may hold its sockets when its first has ended.
    pub fn kill(&mut self, place: usize) {
        self.signal(place, Signal::SIGKILL);
        if let Some(powered) = &mut self.nodes[place].powered {
            if let Some(daemon) = powered.daemon.take() {
                let _ = waitpid(daemon, None);
            }
            powered.host.kill_all();
        }
    }

    /// Asks a node's daemon to end and waits for it, at most `patience`. True when it is gone.
    #[must_use]
    pub fn terminate(&mut self, place: usize, patience: Duration) -> bool {
        let Some(powered) = &mut self.nodes[place].powered else { return true };
        let Some(daemon) = powered.daemon else { return true };
        let _ = kill(daemon, Signal::SIGTERM);
        let from = Instant::now();
        while !gone(daemon) {
            if from.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        powered.daemon = None;
        true
    }

    /// Pulls a node's cable, or puts it back.
    pub fn set_cable(&mut self, place: usize, plugged: bool) -> io::Result<()> {
        let Some(powered) = &self.nodes[place].powered else { return Ok(()) };
        self.switch.set_cable(&powered.port, plugged)
    }

    /// Moves a node to the island or back.
    pub fn set_part(&mut self, place: usize, part: Part) -> io::Result<()> {
        let Some(powered) = &self.nodes[place].powered else { return Ok(()) };
        self.switch.set_part(&powered.port, part)
    }

    /// Moves the client to the island or back.
    pub fn set_client_part(&mut self, part: Part) -> io::Result<()> {
        self.switch.set_part(&self.client_port, part)
    }

    /// The last lines that a node's daemon wrote.
    #[must_use]
    pub fn last_words(&self, place: usize, lines: usize) -> String {
        let Some(host) = self.host(place) else { return String::new() };
        let text = fs::read_to_string(log(host)).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for place in 0..self.nodes.len() {
            let _ = self.power_off(place);
        }
    }
}
