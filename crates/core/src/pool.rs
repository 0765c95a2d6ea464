//! The balancer as the data path sees it: fronts that clients connect to, and pools of servers behind them.
//!
//! A [`Balancer`] of the plain settings is one front and one pool; haproxy's `frontend` and `backend` sections are these
//! types almost word for word, and bring along limits, timeouts and log lines that plain balancers do not have.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::health::Pace;
use crate::settings::{Backend, Balancer, BalancerKind, Check, Url};

/// Servers, and how connections are spread over them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Unique within an instance.
    pub name: String,
    /// Who gets the next connection.
    pub balance: Algorithm,
    /// Where it goes.
    pub servers: Vec<Server>,
    /// Sessions at which every server may have its whole number of connections.
    pub full: u64,
    /// Servers for connections of which something holds; the first that applies and is up.
    pub picks: Vec<Pick>,
    /// Clients stay at their server.
    pub sticking: Option<Sticking>,
    /// All backups serve when no other is up, not the first one alone.
    pub all_backups: bool,
    /// What applies to connections; `None`: the data path's own rules.
    pub dealings: Option<Dealings>,
}

/// How long things may take, and what happens when a server cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dealings {
    /// For a server to accept a connection.
    pub connect: Option<Duration>,
    /// For a server to say or take something.
    pub server: Option<Duration>,
    /// The same, after this side was told the end.
    pub server_fin: Option<Duration>,
    /// Both sides' silence once a connection is there; in place of the two others.
    pub tunnel: Option<Duration>,
    /// For a server to have room.
    pub queue: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// An attempt may go to another server than the one before.
    pub redispatch: bool,
    /// Servers are asked whether they are still there.
    pub keep_alive: bool,
}

/// Who gets the next connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Each in turn, by weight, turns spread evenly.
    #[default]
    Turns,
    /// Each in turn, by weight, in haproxy's order.
    RoundRobin,
    /// The same from a fixed map.
    StaticRoundRobin,
    /// Who serves the fewest, by weight.
    LeastConnections,
    /// The hash of the client's address, in a map.
    Source,
    /// The same with another mixing.
    SourceMixed,
    /// The same on a ring, where a change of servers moves few clients.
    SourceRing {
        /// Mixed first.
        mixed: bool,
    },
    /// The first that has room.
    First,
    /// Some are drawn, the least loaded of them serves.
    Random(u32),
}

/// One server of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Unique within the pool, with `port`.
    pub name: String,
    /// The same as a number: its place on a ring follows from it.
    pub number: u32,
    /// IP address or host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// For [`BalancerKind::Http`].
    pub url: Option<Url>,
    /// Share of new connections; 0 gets none.
    pub weight: u16,
    /// Used only when no other is up.
    pub backup: bool,
    /// How its health is found out.
    pub check: Option<Check>,
    /// How often, beside the check's own interval.
    pub pace: Pace,
    /// Where checks go instead.
    pub check_at: CheckAt,
    /// Connections at once; 0: any number.
    pub connections_max: u32,
    /// The same while the pool has few sessions; 0: as `connections_max`.
    pub connections_min: u32,
    /// Connections that wait for it alone; 0: any number.
    pub queue_max: u32,
    /// Its connections are cut when it goes down.
    pub cut_on_down: bool,
    /// Clients are not kept at it.
    pub strange: bool,
    /// Where connections to it come from.
    pub source: Option<Source>,
    /// The header that says who the client is.
    pub proxy_header: Option<ProxyHeader>,
    /// Shares of the weight come back over this time after it went up.
    pub slow_start: Option<Duration>,
    /// Configured out of service.
    pub disabled: bool,
}

/// Where connections to a server come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its address; unspecified: the kernel's choice.
    pub address: IpAddr,
    /// The interface.
    pub interface: Option<String>,
}

/// A server for connections of which something holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// What must hold.
    pub when: Condition,
    /// The server's name.
    pub server: String,
}

/// Clients stay at the server that they had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticking {
    /// The pool whose table it is.
    pub table: String,
    /// In this order.
    pub rules: Vec<Stick>,
}

/// One rule about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stick {
    /// Told apart by the address that they came to, not by their own.
    pub by_destination: bool,
    /// A server that is known is taken.
    pub look: bool,
    /// The server that was taken is remembered.
    pub keep: bool,
    /// What must hold.
    pub when: Condition,
}

/// Where checks go instead of the server's own address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckAt {
    /// Another address.
    pub address: Option<IpAddr>,
    /// Another port.
    pub port: Option<u16>,
}

/// The PROXY protocol's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Version 1, text.
    Text,
    /// Version 2, binary.
    Binary,
}

/// What clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// Unique within an instance.
    pub name: String,
    /// How traffic is moved.
    pub kind: BalancerKind,
    /// Addresses to listen on.
    pub listen: Vec<Listen>,
    /// The pool for what no rule sends elsewhere.
    pub pool: Option<String>,
    /// Pools by what the client's first bytes or its address say; the first that applies.
    pub switches: Vec<Switch>,
    /// What is let in at all, in order.
    pub guards: Vec<Guard>,
    /// Connections at once; 0: any number.
    pub connections_max: u32,
    /// For a client to say or take something.
    pub client: Option<Duration>,
    /// The same, after it was told the end.
    pub client_fin: Option<Duration>,
    /// How long the first bytes are waited for where a rule looks at them.
    pub inspect: Option<Duration>,
    /// Clients are asked whether they are still there.
    pub keep_alive: bool,
    /// Which sessions make a log line.
    pub log: Logging,
}

/// Which sessions make a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Whether there are lines at all.
    pub sessions: bool,
    /// Not those in which nothing was said.
    pub not_null: bool,
    /// Not those that went well.
    pub not_normal: bool,
    /// When the connection is made, not when it ends.
    pub early: bool,
}

/// A listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// For people.
    pub name: String,
    /// Clients open with the PROXY protocol's header.
    pub proxy_header: bool,
    /// The one interface that connections may come in by.
    pub interface: Option<String>,
    /// `::` is IPv6 alone.
    pub six_only: bool,
}

/// One test of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The client's address is in one of these networks.
    Source(Vec<(IpAddr, u8)>),
    /// The port that the client connected to.
    Port(Vec<(u16, u16)>),
    /// The server name of a TLS ClientHello is one of these.
    ServerName(Vec<String>),
    /// The same, by its end.
    ServerNameEnd(Vec<String>),
    /// The client's first bytes are a TLS ClientHello.
    Hello,
    /// The client has ended, or the first bytes were waited for long enough.
    WaitedEnough,
    /// The ClientHello names a server.
    Named,
    /// Holds or not, whatever comes.
    Constant(bool),
    /// One of these holds.
    Any(Vec<Test>),
}

/// Tests that must all hold, each perhaps turned round; any of several such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The whole is turned round.
    pub unless: bool,
    /// Any of these, all within one; empty: holds always.
    pub any: Vec<Vec<(bool, Test)>>,
}

/// A pool for connections of which something holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// What must hold.
    pub when: Condition,
    /// The pool's name.
    pub pool: String,
}

/// Lets connections in or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What must hold for the rule to decide.
    pub when: Condition,
    /// Let it in.
    pub accept: bool,
    /// Decided when the connection comes, before its bytes.
    pub early: bool,
}

/// What is known of a connection when a condition is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The client.
    pub source: IpAddr,
    /// The port it connected to.
    pub port: u16,
    /// What its first bytes say; `None`: not enough of them have come to tell.
    pub hello: Option<Option<&'a str>>,
    /// The first bytes are a ClientHello.
    pub is_hello: bool,
    /// No more bytes are waited for.
    pub over: bool,
}

impl Condition {
    /// Whether it holds; `None`: more bytes must come first.
    #[must_use]
    pub fn holds(&self, known: &Known<'_>) -> Option<bool> {
        self.all(known).map(|holds| holds != self.unless)
    }

    fn all(&self, known: &Known<'_>) -> Option<bool> {
        if self.any.is_empty() {
            return Some(true);
        }
        let mut unknown = false;
        for all in &self.any {
            let results = || all.iter().map(|(wanted, test)| test.holds(known).map(|held| held == *wanted));
            if results().any(|result| result == Some(false)) {
                continue;
            }
            if results().all(|result| result == Some(true)) {
                return Some(true);
            }
            unknown = true;
        }
        if unknown { None } else { Some(false) }
    }
}

impl Test {
    fn holds(&self, known: &Known<'_>) -> Option<bool> {
        let name = |matches: &dyn Fn(&str) -> bool| {
            known.hello.map(|name| name.is_some_and(|name| matches(&name.to_ascii_lowercase())))
        };
        match self {
            Test::Constant(holds) => Some(*holds),
            Test::WaitedEnough => known.over.then_some(true),
            Test::Named => known.hello.map(|name| name.is_some()),
            Test::Any(tests) => {
                let mut results = tests.iter().map(|test| test.holds(known));
                let mut unknown = false;
                let holds = results.any(|result| {
                    unknown |= result.is_none();
                    result == Some(true)
                });
                if unknown && !holds { None } else { Some(holds) }
            }
            Test::Source(networks) => {
                let source = known.source.to_canonical();
                Some(networks.iter().any(|(network, length)| within(source, *network, *length)))
            }
            Test::Port(ranges) => Some(ranges.iter().any(|(from, to)| (*from..=*to).contains(&known.port))),
            Test::Hello => known.hello.map(|_| known.is_hello),
            Test::ServerName(names) => name(&|name| names.iter().any(|n| n.eq_ignore_ascii_case(name))),
            Test::ServerNameEnd(ends) => name(&|name| ends.iter().any(|e| name.ends_with(&e.to_ascii_lowercase()))),
        }
    }

    fn reads(&self) -> bool {
        match self {
            Test::Hello | Test::ServerName(_) | Test::ServerNameEnd(_) | Test::Named | Test::WaitedEnough => true,
            Test::Any(tests) => tests.iter().any(Test::reads),
            Test::Source(_) | Test::Port(_) | Test::Constant(_) => false,
        }
    }
}

/// Whether an address is within a network.
fn within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            (a.to_bits() ^ n.to_bits()) & mask == 0
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            (a.to_bits() ^ n.to_bits()) & mask == 0
        }
        _ => false,
    }
}

/// Connections that a server may have while its pool has so many sessions: from `least` at none to `most` at `full`.
#[must_use]
pub fn connections(least: u64, most: u64, sessions: u64, full: u64) -> u64 {
    if least == 0 || least >= most || sessions >= full { most } else { least.max(sessions * most / full.max(1)) }
}

impl Condition {
    /// Whether it looks at the client's first bytes.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.any.iter().flatten().any(|(_, test)| test.reads())
    }
}

impl Front {
    /// Whether a rule looks at the client's first bytes.
    #[must_use]
    pub fn reads(&self) -> bool {
        let guards = self.guards.iter().map(|g| &g.when);
        let conditions = self.switches.iter().map(|s| &s.when).chain(guards);
        conditions.into_iter().any(Condition::reads)
    }
}

impl From<&Backend> for Server {
    fn from(backend: &Backend) -> Server {
        Server {
            name: backend.host.clone(),
            number: 0,
            host: backend.host.clone(),
            port: backend.port,
            url: backend.url.clone(),
            weight: backend.weight,
            backup: backend.backup,
            check: backend.check.clone(),
            pace: Pace::default(),
            check_at: CheckAt::default(),
            connections_max: 0,
            connections_min: 0,
            queue_max: 0,
            cut_on_down: false,
            strange: false,
            source: None,
            proxy_header: None,
            slow_start: None,
            disabled: false,
        }
    }
}

impl From<&Balancer> for Pool {
    fn from(balancer: &Balancer) -> Pool {
        Pool {
            name: balancer.name.clone(),
            balance: Algorithm::Turns,
            servers: balancer
                .backends
                .iter()
                .map(|backend| Server { cut_on_down: balancer.cut_on_down, ..Server::from(backend) })
                .collect(),
            full: 0,
            picks: Vec::new(),
            sticking: None,
            all_backups: true,
            dealings: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(networks: &[&str]) -> Test {
        let network = |text: &&str| {
            let (address, length) = text.split_once('/').unwrap();
            (address.parse().unwrap(), length.parse().unwrap())
        };
        Test::Source(networks.iter().map(network).collect())
    }

    fn holds(any: Vec<Vec<(bool, Test)>>, source: &str, hello: Option<Option<&str>>) -> Option<bool> {
        let is_hello = hello.is_some_and(|h| h.is_some());
        let known = Known { source: source.parse().unwrap(), port: 443, hello, is_hello, over: false };
        Condition { unless: false, any }.holds(&known)
    }

    #[test]
    fn networks() {
        let check = |networks: &[&str], address: &str, expected: bool| {
            assert_eq!(holds(vec![vec![(true, source(networks))]], address, None), Some(expected), "{address}");
        };
        check(&["192.0.2.0/24"], "192.0.2.255", true);
        check(&["192.0.2.0/24"], "192.0.3.0", false);
        check(&["192.0.2.0/24", "2001:db8::/32"], "2001:db8:1::1", true);
        check(&["0.0.0.0/0"], "198.51.100.1", true);
        check(&["0.0.0.0/0"], "::1", false);
        check(&["192.0.2.7/32"], "::ffff:192.0.2.7", true);
    }

    #[test]
    fn connections_rise_with_the_load() {
        let check =
            |(least, most, sessions, full), expected| assert_eq!(connections(least, most, sessions, full), expected);
        check((0, 100, 0, 0), 100);
        check((10, 100, 0, 1000), 10);
        check((10, 100, 50, 1000), 10);
        check((10, 100, 500, 1000), 50);
        check((10, 100, 1000, 1000), 100);
        check((10, 10, 0, 1000), 10);
        check((10, 100, 0, 0), 100);
    }

    #[test]
    fn what_is_unknown_decides_nothing_unless_the_rest_does() {
        let name = || Test::ServerName(vec!["api.example".to_owned()]);
        let near = || source(&["192.0.2.0/24"]);
        let far = "198.51.100.1";
        assert_eq!(holds(vec![vec![(true, name())]], far, None), None);
        assert_eq!(holds(vec![vec![(true, name()), (true, near())]], far, None), Some(false));
        assert_eq!(holds(vec![vec![(true, name())], vec![(false, near())]], far, None), Some(true));
        assert_eq!(holds(vec![vec![(true, name())]], far, Some(Some("API.example"))), Some(true));
        assert_eq!(holds(vec![vec![(true, name())]], far, Some(None)), Some(false));
        assert_eq!(holds(vec![vec![(false, name())]], far, Some(None)), Some(true));
        let end = Test::ServerNameEnd(vec![".example".to_owned()]);
        assert_eq!(holds(vec![vec![(true, end)]], far, Some(Some("a.EXAMPLE"))), Some(true));
        assert_eq!(holds(vec![vec![(true, Test::Port(vec![(400, 443)]))]], far, None), Some(true));
        assert_eq!(holds(vec![], far, None), Some(true));
    }
}
