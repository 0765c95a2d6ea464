//! What the data path shows of itself.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use baton_core::stick::Shape;

use super::target::{BackendId, Counts, Took};

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
    /// Its share now.
    pub weight: u16,
    /// Where its name leads; `None`: not resolved (yet).
    pub address: Option<SocketAddr>,
    /// Its counters.
    pub counts: Counts,
}

/// A pool's counters.
#[derive(Clone, Debug, Default)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Sessions so far, now, and at most.
    pub sessions: [u64; 3],
    /// Sessions that wait for a server now, and at most.
    pub queued: [u64; 2],
    /// Sessions refused because no server could be had.
    pub refused: u64,
    /// How long sessions took.
    pub took: Took,
    /// Answers in mode http, by the hundreds of their status from 1 to 5, and others.
    pub answers: [u64; 6],
}

/// A table of who had which server.
#[derive(Clone, Debug)]
pub struct StuckView {
    /// Of this pool.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Client, server, and how long that is still remembered.
    pub entries: Vec<(IpAddr, String, Option<Duration>)>,
}

/// A front's counters.
#[derive(Clone, Debug, Default)]
pub struct FrontView {
    /// Its name.
    pub name: String,
    /// Sessions so far, now, and at most.
    pub sessions: [u64; 3],
    /// Connections that rules refused, and sessions.
    pub denied: [u64; 2],
    /// Connections that broke the protocol.
    pub errors: u64,
    /// Bytes from clients, and to them.
    pub bytes: [u64; 2],
    /// Requests in mode http.
    pub requests: u64,
    /// Answers in mode http, by the hundreds of their status from 1 to 5, and others.
    pub answers: [u64; 6],
}

/// What the data path is doing now.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Workers that work: fewer than were started means that one has died, and its share of the connections with it
    /// ([`super::Proxy::revive`]).
    pub workers: usize,
    /// Connections of clients open now.
    pub connections: usize,
    /// Most that fit.
    pub connections_max: usize,
    /// Clients refused because no backend could be had, by balancer.
    pub refused: Vec<(String, u64)>,
    /// Backends in the order of the configuration.
    pub backends: Vec<BackendView>,
    /// Pools in the order of the configuration.
    pub pools: Vec<PoolView>,
    /// Fronts in the order of the configuration.
    pub fronts: Vec<FrontView>,
}
