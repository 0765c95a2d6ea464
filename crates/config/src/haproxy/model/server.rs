//! One server of a backend, with everything from `default-server` merged in.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{AgentCheck, At, Check, Verify};

/// One server.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Name, unique in its backend.
    pub name: String,
    /// Number, unique in its backend: `id`, or counted from one.
    pub id: u32,
    /// Where it was written.
    pub at: At,
    /// Address.
    pub target: Target,
    /// Port.
    pub port: ServerPort,
    /// 0 to 256; 0 gets nothing new.
    pub weight: u16,
    /// Used only when no other server is up.
    pub backup: bool,
    /// Begins in maintenance.
    pub disabled: bool,
    /// Connections at once; more wait in the queue.
    pub maxconn: Option<u32>,
    /// Limit at low load; rises to `maxconn` as the backend approaches `fullconn`.
    pub minconn: Option<u32>,
    /// Connections that may wait for this server; more are redispatched.
    pub maxqueue: Option<u32>,
    /// Time in which a server that came up grows to its whole weight.
    pub slowstart: Option<Duration>,
    /// How its health is found out; `None`: believed up.
    pub check: Option<Check>,
    /// The server's own word.
    pub agent: Option<AgentCheck>,
    /// Takes its state from this server (backend, name).
    pub track: Option<(String, String)>,
    /// Traffic is judged too.
    pub observe: Option<Observe>,
    /// Failures of traffic until `on_error` happens.
    pub error_limit: u32,
    /// What then happens.
    pub on_error: OnError,
    /// What happens to sessions of a server that goes down.
    pub on_marked_down: Option<MarkedDown>,
    /// What happens to other sessions when it comes up.
    pub on_marked_up: Option<MarkedUp>,
    /// A PROXY header begins each connection.
    pub send_proxy: Option<ProxyVersion>,
    /// Connections come from here.
    pub source: Option<Source>,
    /// Connections speak TLS.
    pub tls: Option<Tls>,
    /// Unacknowledged data may wait this long.
    pub tcp_ut: Option<Duration>,
    /// TCP fast open.
    pub tfo: bool,
    /// Section `resolvers` that follows the name.
    pub resolvers: Option<String>,
    /// Family that is preferred, as `ipv4` or `ipv6`.
    pub resolve_prefer_v4: bool,
    /// How the name becomes an address at the start, in this order.
    pub init_addr: Vec<InitAddr>,
    /// Not entered into stick tables.
    pub non_stick: bool,
}

/// Address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By network.
    Inet(Host),
    /// Socket of this host.
    Unix(String),
    /// Abstract socket of this host.
    Abstract(String),
    /// Where the client wanted to go (`0.0.0.0` or `*`).
    Destination,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Its address.
    Ip(IpAddr),
    /// Its name.
    Name(String),
}

/// Port of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerPort {
    /// This one.
    Fixed(u16),
    /// The one that the client came to, plus this.
    Client(i32),
}

/// A PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Address that connections come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Address; unspecified: the kernel's choice.
    pub address: SocketAddr,
    /// Ports from `address.port()` to this are used.
    pub last_port: u16,
    /// `usesrc client` or `clientip`: the client's own address (the former with its port).
    pub transparent: Option<bool>,
    /// Interface.
    pub interface: Option<String>,
}

/// What of traffic is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observe {
    /// Connections.
    Layer4,
    /// Answers.
    Layer7,
}

/// What happens when traffic fails too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Checked at `fastinter`.
    Fastinter,
    /// Counts as a failed check.
    FailCheck,
    /// The next failed check makes it down.
    SuddenDeath,
    /// Down.
    MarkDown,
}

/// `on-marked-down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkedDown {
    /// Its sessions are ended.
    ShutdownSessions,
}

/// `on-marked-up`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkedUp {
    /// Sessions of backup servers are ended.
    ShutdownBackupSessions,
}

/// TLS to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Name that is asked for, if it is a constant (`sni str(name)`).
    pub sni: Option<String>,
    /// Protocols that are offered.
    pub alpn: Vec<String>,
    /// How the certificate is judged.
    pub verify: Verify,
    /// Own certificate and key (PEM).
    pub crt: Option<String>,
}

/// How a name becomes an address at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitAddr {
    /// The last one known (state file).
    Last,
    /// By the system's resolver.
    Libc,
    /// Not at all: the server begins in maintenance until it is resolved.
    None,
    /// This one.
    Ip(IpAddr),
}
