//! `virtual_server` and `real_server`: what is balanced, and how servers are checked.

use std::net::IpAddr;
use std::time::Duration;

use super::{At, Command, Family, Weight};

/// What clients reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// An address and a port; port 0: all, which needs persistence.
    Address(IpAddr, u16),
    /// Packets with that mark.
    Fwmark(u32),
    /// A [`ServerGroup`] by name.
    Group(String),
}

/// Transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP; what keepalived takes when nothing is written.
    Udp,
    /// SCTP.
    Sctp,
}

/// `lvs_sched`, `lb_algo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// `rr`
    RoundRobin,
    /// `wrr`
    WeightedRoundRobin,
    /// `lc`
    LeastConnections,
    /// `wlc`, the default
    WeightedLeastConnections,
    /// `lblc`
    LocalityLeastConnections,
    /// `lblcr`
    LocalityLeastConnectionsReplicated,
    /// `sh`
    SourceHash,
    /// `mh`
    MaglevHash,
    /// `dh`
    DestinationHash,
    /// `fo`
    WeightedFailover,
    /// `ovf`
    WeightedOverflow,
    /// `sed`
    ShortestDelay,
    /// `nq`
    NeverQueue,
    /// `twos`
    PowerOfTwo,
}

/// Header around a packet to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation, to a port.
    Gue(u16),
    /// GRE.
    Gre,
}

/// `lvs_method`, `lb_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Addresses are rewritten both ways; the default.
    Nat,
    /// The server has the address itself and answers directly.
    Direct,
    /// Like that, through a tunnel.
    Tunnel(Tunnel),
}

/// `virtual_server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// Where it was written.
    pub at: At,
    /// What clients reach.
    pub service: Service,
    /// Transport.
    pub protocol: Protocol,
    /// How a server is chosen.
    pub scheduler: Scheduler,
    /// `sh-port`, `mh-port`, `ops`, `flag-1` and the like, as written.
    pub flags: Vec<String>,
    /// How packets get there, unless a server says otherwise.
    pub method: Method,
    /// One client stays with one server for so long.
    pub persistence: Option<Duration>,
    /// What counts as one client: prefix length of its address.
    pub granularity: Option<u8>,
    /// `virtualhost`.
    pub virtualhost: Option<String>,
    /// `ip_family` of a mark.
    pub family: Option<Family>,
    /// Servers start down.
    pub alpha: bool,
    /// At the end, scripts for servers and quorum run.
    pub omega: bool,
    /// `ha_suspend`: checks rest while the address is elsewhere.
    pub ha_suspend: bool,
    /// Sum of weights that must be alive.
    pub quorum: u32,
    /// How far the sum may leave the quorum before that counts.
    pub hysteresis: u32,
    /// When the quorum is reached.
    pub quorum_up: Option<Command>,
    /// When it is lost.
    pub quorum_down: Option<Command>,
    /// Instead of all servers while the quorum is lost.
    pub sorry: Option<Sorry>,
    /// The servers.
    pub real: Vec<RealServer>,
}

/// `sorry_server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorry {
    /// Address.
    pub address: IpAddr,
    /// Port; 0: that of the service.
    pub port: u16,
    /// How packets get there.
    pub method: Method,
    /// Weight 0 instead of removal.
    pub inhibit: bool,
}

/// `real_server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// Where it was written.
    pub at: At,
    /// Address.
    pub address: IpAddr,
    /// Port; 0: that of the service.
    pub port: u16,
    /// Share of connections.
    pub weight: u32,
    /// How packets get there.
    pub method: Method,
    /// Weight 0 instead of removal when it fails.
    pub inhibit: bool,
    /// Most connections; 0: no limit.
    pub upper: u32,
    /// Below that, new ones again after the limit.
    pub lower: u32,
    /// `virtualhost`.
    pub virtualhost: Option<String>,
    /// When it is up.
    pub notify_up: Option<Command>,
    /// When it is down.
    pub notify_down: Option<Command>,
    /// All must pass. Empty: believed up.
    pub checks: Vec<Check>,
}

/// A check of a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where it was written.
    pub at: At,
    /// What is tried.
    pub kind: CheckKind,
    /// Address that is tried.
    pub address: IpAddr,
    /// Port that is tried.
    pub port: u16,
    /// Address it comes from.
    pub bind_address: Option<IpAddr>,
    /// Port it comes from.
    pub bind_port: Option<u16>,
    /// Interface it leaves through.
    pub bind_interface: Option<String>,
    /// Mark of its packets.
    pub fwmark: Option<u32>,
    /// How long it may take.
    pub timeout: Duration,
    /// More tries before a failure counts.
    pub retry: u32,
    /// Between those.
    pub delay_before_retry: Duration,
    /// The first one comes after a random part of this.
    pub warmup: Duration,
    /// Between two checks.
    pub delay_loop: Duration,
    /// Down until it passed once.
    pub alpha: bool,
    /// Each failure is logged.
    pub log_all_failures: bool,
}

/// What a check tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// `TCP_CHECK`: connects.
    Tcp,
    /// `HTTP_GET`, `SSL_GET`.
    Http(HttpCheck),
    /// `SMTP_CHECK`: with the name for `HELO`.
    Smtp(Option<String>),
    /// `DNS_CHECK`.
    Dns {
        /// Type of the record.
        kind: String,
        /// Name that is asked for.
        name: String,
    },
    /// `MISC_CHECK`: a program.
    Misc {
        /// What runs.
        command: Command,
        /// `misc_timeout`.
        timeout: Duration,
        /// `misc_dynamic`: exit status less two is the weight.
        dynamic: bool,
    },
    /// `PING_CHECK`.
    Ping,
    /// `UDP_CHECK`.
    Udp(UdpCheck),
    /// `FILE_CHECK`.
    File {
        /// Name of a `track_file`.
        file: String,
        /// Factor.
        weight: Weight,
        /// The number changes the server's weight.
        dynamic: bool,
    },
    /// `BFD_CHECK`: name of an instance. Not available.
    Bfd(String),
}

/// `HTTP_GET`, `SSL_GET`. Certificates are not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Over TLS.
    pub tls: bool,
    /// The TLS handshake names the host.
    pub sni: Option<String>,
    /// Version of the request line, and whether `Connection: close` goes with it.
    pub protocol: HttpProtocol,
    /// No delay between URLs after a failure.
    pub fast_recovery: bool,
    /// All must pass, one per turn.
    pub urls: Vec<Url>,
}

/// `http_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpProtocol {
    /// `1.0`, the default.
    V1_0,
    /// `1.0C`: with `Connection: close`.
    V1_0Close,
    /// `1.1`.
    V1_1,
}

/// One URL of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// Path and query.
    pub path: String,
    /// Accepted statuses, inclusive ranges. Empty: any, because only the body counts.
    pub status: Vec<(u16, u16)>,
    /// MD5 of the body.
    pub digest: Option<[u8; 16]>,
    /// `virtualhost` of the URL, the server or the service.
    pub virtualhost: Option<String>,
    /// The body must match, or must not.
    pub regex: Option<Regex>,
}

/// `regex` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regex {
    /// Perl-compatible pattern.
    pub pattern: String,
    /// A match is the failure.
    pub no_match: bool,
    /// `regex_options`, as written.
    pub options: Vec<String>,
    /// Where in the body a match may begin.
    pub offsets: (Option<u32>, Option<u32>),
}

/// `UDP_CHECK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpCheck {
    /// What is sent; empty: something.
    pub payload: Vec<u8>,
    /// An answer is needed.
    pub require_reply: bool,
    /// What it begins with: value and mask of each byte.
    pub reply: Vec<(u8, u8)>,
    /// Shortest answer.
    pub min_reply: u16,
    /// Longest answer.
    pub max_reply: u16,
}

/// `virtual_server_group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerGroup {
    /// Its name.
    pub name: String,
    /// Where it was written.
    pub at: At,
    /// First and last address of a range, and port.
    pub ranges: Vec<(IpAddr, IpAddr, u16)>,
    /// Marks.
    pub fwmarks: Vec<u32>,
}
