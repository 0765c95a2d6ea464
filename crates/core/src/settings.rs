//! What one instance is asked to do: checked, complete, plain values.
//!
//! Front ends (crate `baton-config`) make these from files, flags and environment; nothing here is "not given".
//! A reload is a new `Settings`. This file knows no file format and no default that depends on one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::lease::LeaseName;

/// Everything that `baton start` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who may hold which address, and how that is decided.
    pub ownership: Ownership,
    /// What is listened on and where it goes.
    pub balancers: Vec<Balancer>,
    /// Address of `/metrics`, `/healthz`, `/readyz`, `/livez`; `None` serves nothing.
    pub admin: Option<SocketAddr>,
}

/// Who may hold which address, and how that is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// This node's name, for people and logs.
    pub node: String,
    /// This node's address on the peers' network; `None` when there are no peers and none can come (`singleNode`).
    pub local: Option<SocketAddr>,
    /// The other voters: sorted by address, without the local one, without duplicates.
    pub peers: Vec<Peer>,
    /// The addresses to keep, sorted by address.
    pub vips: Vec<Vip>,
    /// How long one grant lasts: [`LEASE_MIN`]..=[`LEASE_MAX`].
    pub lease: Duration,
    /// How often it is renewed: at most a third of `lease`.
    pub renewal: Duration,
    /// Keys of the peers' messages: the first signs, all verify. Empty: no authentication.
    pub keys: Vec<Key>,
    /// Holds alone, outside the guarantee, until a majority was seen once.
    pub start_as_leader: bool,
    /// Votes, never holds: interfaces of `vips` need not exist on its host.
    pub witness: bool,
    /// A standby with a higher priority asks the holder to hand over.
    pub preempt: bool,
    /// How long `accept` stays open after a hand-over.
    pub drain: Duration,
    /// Slow repetition of gratuitous ARP and unsolicited NA while holding; `None`: only bursts.
    pub refresh: Option<Duration>,
    /// The kernel enforces the end (nftables gates). `false` gives that guarantee up.
    pub fence: bool,
    /// Take an address even while a stranger answers for it.
    pub force: bool,
}

/// Shortest lease that can be configured.
pub const LEASE_MIN: Duration = Duration::from_millis(50);
/// The protocol's bound: longer leases are refused, and an acceptor that knows nothing waits this long.
pub const LEASE_MAX: Duration = Duration::from_secs(5);
/// Most voters in a list, the local one included.
pub const VOTERS_MAX: usize = 15;
/// Most addresses kept by one instance.
pub const VIPS_MAX: usize = 256;

/// Another voter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Where its messages come from and go to.
    pub address: SocketAddr,
    /// Its name, for people.
    pub id: String,
}

/// A virtual IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The address itself; also the name of its lease.
    pub address: IpAddr,
    /// Prefix length it is added with (32 or 128 unless asked otherwise).
    pub prefix: u8,
    /// Where it goes.
    pub interface: String,
    /// This node's rank for it: higher is preferred. 100 unless asked otherwise.
    pub priority: u16,
    /// What decides who holds it.
    pub source: Source,
}

/// What decides who holds an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The peers, by the quorum lease.
    #[default]
    Peers,
    /// A Kubernetes Lease: who holds it holds all its addresses.
    Lease(LeaseName),
}

/// A shared secret. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// One listener and its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// For people, logs and metric labels; unique within an instance.
    pub name: String,
    /// How traffic is moved.
    pub kind: BalancerKind,
    /// Addresses to listen on; more than one with several VIPs. The unspecified address (`::`, dual-stack) for all.
    pub listen: Vec<SocketAddr>,
    /// Bound to the VIPs (only they reach it) rather than to all addresses.
    pub bind_to_vip: bool,
    /// Where it goes. Never empty for a balancer that can work; empty refuses every connection.
    pub backends: Vec<Backend>,
    /// Cut the connections of a backend that goes down.
    pub cut_on_down: bool,
}

/// How a balancer moves traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalancerKind {
    /// Bytes in both directions.
    Tcp,
    /// HTTP/1.1 requests, each to the next backend.
    Http,
}

/// Where a balancer sends traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    /// IP address or host name (resolved by the driver).
    pub host: String,
    /// Port.
    pub port: u16,
    /// For [`BalancerKind::Http`]: the whole origin and path prefix, `http://host:port/prefix`.
    pub url: Option<Url>,
    /// Share of new connections, 1..=256. 0: gets nothing new.
    pub weight: u16,
    /// Used only when no other backend is up.
    pub backup: bool,
    /// How its health is found out; `None`: believed up unless connects fail.
    pub check: Option<Check>,
}

/// Origin of an HTTP backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    /// `https`, not `http`.
    pub tls: bool,
    /// Prefix put before the request's path; empty or begins with `/` and does not end with it.
    pub prefix: String,
}

/// An active health check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Check {
    /// What is tried.
    pub kind: CheckKind,
    /// Time between the starts of two checks.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Successes in a row that make a backend up.
    pub rise: u32,
    /// Failures in a row that make it down.
    pub fall: u32,
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// A connection is accepted.
    Tcp,
    /// A TLS handshake completes (certificates are not verified).
    Tls,
    /// `GET path` answers with one of the expected statuses.
    Http {
        /// Over TLS (certificates are not verified).
        tls: bool,
        /// Path and query.
        path: String,
        /// Accepted statuses, inclusive ranges.
        expect: Vec<(u16, u16)>,
    },
}
