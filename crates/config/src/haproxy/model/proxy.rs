//! Frontends and backends, with everything from `defaults` merged in.

use std::net::IpAddr;
use std::time::Duration;

use super::{
    At, Condition, Format, HttpRule, LogTarget, Net, Sample, Server, Source, Stick, StickTable, Switch, TcpRule,
    UseServer,
};

/// How traffic is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Bytes in both directions.
    #[default]
    Tcp,
    /// HTTP/1 requests.
    Http,
}

/// What is listened on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frontend {
    /// Name.
    pub name: String,
    /// Number: `id`, or counted over all proxies from one (that of a `listen` is its backend's too; backends that stand
    /// between have theirs, so there are gaps).
    pub id: u32,
    /// Where the section begins.
    pub at: At,
    /// `description`.
    pub description: Option<String>,
    /// How traffic is moved.
    pub mode: Mode,
    /// Sockets, ranges of ports and lists written out.
    pub binds: Vec<Bind>,
    /// Connections at once; more wait in the kernel's backlog. `None`: the process's limit alone.
    pub maxconn: Option<u32>,
    /// Length of the kernel's queue; `None`: as `maxconn`.
    pub backlog: Option<u32>,
    /// New sessions per second (`rate-limit sessions`).
    pub rate_limit: Option<u32>,
    /// Where sessions are logged.
    pub logs: Vec<LogTarget>,
    /// Format of a session's line.
    pub log_format: LogFormat,
    /// Tag, if not the process's.
    pub log_tag: Option<String>,
    /// Sessions without data are not logged.
    pub dontlognull: bool,
    /// Sessions without errors are not logged.
    pub dontlog_normal: bool,
    /// Logged when the server is known, not at the end.
    pub logasap: bool,
    /// Errors are logged at level `err`.
    pub log_separate_errors: bool,
    /// Timeouts.
    pub timeouts: FrontendTimeouts,
    /// Keep-alive probes to clients.
    pub clitcpka: bool,
    /// Their number, idle time and interval; `None`: the kernel's.
    pub clitcpka_tuning: (Option<u32>, Option<Duration>, Option<Duration>),
    /// Connections are ended by a reset.
    pub nolinger: bool,
    /// Requests for this path are answered at once.
    pub monitor_uri: Option<String>,
    /// And with 503 if one of these holds.
    pub monitor_fail: Vec<Condition>,
    /// The statistics page.
    pub stats: Option<StatsPage>,
    /// `tcp-request connection`: before anything is read.
    pub connection_rules: Vec<TcpRule>,
    /// `tcp-request session`: after PROXY and TLS.
    pub session_rules: Vec<TcpRule>,
    /// `tcp-request content`: with what the client sent.
    pub content_rules: Vec<TcpRule>,
    /// Longest wait for content; `None`: rules see what is there at once.
    pub inspect_delay: Option<Duration>,
    /// `http-request`, `redirect`, `block`.
    pub http_rules: Vec<HttpRule>,
    /// `http-response`.
    pub http_response_rules: Vec<HttpRule>,
    /// `use_backend`: the first that holds.
    pub switches: Vec<Switch>,
    /// Otherwise this one. A `listen` has itself; `None`: there is nowhere to go (503 or closed).
    pub default_backend: Option<String>,
    /// A header with the client's address.
    pub forward_for: Option<ForwardFor>,
    /// Requests are one per connection (`httpclose`) or per server connection (`http-server-close`).
    pub http_close: HttpClose,
    /// Connections that end without a request are neither answered nor logged.
    pub http_ignore_probes: bool,
    /// The table of this section.
    pub stick_table: Option<StickTable>,
    /// What is answered for these statuses: whole answers, head and body.
    pub error_files: Vec<(u16, String)>,
    /// The bind addresses' counters are kept one by one (`option socket-stats`).
    pub socket_stats: bool,
}

/// Format of a session's line.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LogFormat {
    /// Short, written when the connection begins.
    #[default]
    Short,
    /// `option tcplog`.
    Tcp,
    /// `option httplog`; `true`: with `clf`.
    Http(bool),
    /// `log-format`.
    Custom(Format),
}

/// When connections of HTTP end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpClose {
    /// Both sides are kept.
    #[default]
    KeepAlive,
    /// The server's side is closed after each answer.
    ServerClose,
    /// Both sides are closed after each answer.
    Close,
}

/// Timeouts of the client's side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontendTimeouts {
    /// Silence of the client.
    pub client: Option<Duration>,
    /// Silence of a client whose side is half closed; `None`: as `client`.
    pub client_fin: Option<Duration>,
    /// A complete request; `None`: as `client`.
    pub http_request: Option<Duration>,
    /// The next request; `None`: as `http_request`.
    pub http_keep_alive: Option<Duration>,
}

/// One socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Where.
    pub listen: Listen,
    /// Where it was written.
    pub at: At,
    /// Name, for logs and statistics.
    pub name: Option<String>,
    /// Number.
    pub id: Option<u32>,
    /// Interface that it is bound to.
    pub interface: Option<String>,
    /// Addresses that this host does not have are allowed.
    pub transparent: bool,
    /// IPv4 and IPv6 (of `::`).
    pub v4v6: bool,
    /// IPv6 only.
    pub v6only: bool,
    /// A PROXY header begins each connection.
    pub accept_proxy: bool,
    /// Connections at once.
    pub maxconn: Option<u32>,
    /// Length of the kernel's queue.
    pub backlog: Option<u32>,
    /// TCP fast open.
    pub tfo: bool,
    /// Accepted when data is there.
    pub defer_accept: bool,
    /// Largest segment; negative: less than the kernel's by this.
    pub mss: Option<i32>,
    /// Unacknowledged data may wait this long.
    pub tcp_ut: Option<Duration>,
    /// Of a Unix socket: permission bits.
    pub unix_mode: Option<u32>,
    /// Of a Unix socket: owner's name or number.
    pub unix_user: Option<String>,
    /// Of a Unix socket: group's name or number.
    pub unix_group: Option<String>,
    /// Of `stats socket`: what may be done: `user`, `operator` (default), `admin`.
    pub level: Option<String>,
    /// Of `stats socket`: listeners are handed over.
    pub expose_fd: bool,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Address and port.
    Inet {
        /// `0.0.0.0` for `*`, `::` for `::`.
        ip: IpAddr,
        /// Port.
        port: u16,
    },
    /// A name, which has to be looked up.
    Name {
        /// Host.
        host: String,
        /// Port.
        port: u16,
    },
    /// Socket of this host.
    Unix(String),
    /// Abstract socket of this host.
    Abstract(String),
    /// Inherited.
    Fd(i32),
}

/// The statistics page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatsPage {
    /// Path; `/haproxy?stats` unless said otherwise.
    pub uri: String,
    /// Realm that a browser shows.
    pub realm: Option<String>,
    /// Users; empty: everybody.
    pub auth: Vec<StatsAuth>,
    /// The page reloads itself after this.
    pub refresh: Option<Duration>,
    /// No version is shown.
    pub hide_version: bool,
    /// Host name, or what is said, is shown.
    pub show_node: Option<String>,
    /// Description, or what is said, is shown.
    pub show_desc: Option<String>,
    /// More is shown.
    pub show_legends: bool,
    /// Proxies that are shown; empty: all; `.` is the one of the page.
    pub scope: Vec<String>,
    /// Changing is allowed if one holds.
    pub admin: Vec<Condition>,
}

/// Who may see the statistics.
#[derive(Clone, PartialEq, Eq)]
pub struct StatsAuth {
    /// User.
    pub user: String,
    /// Password. Never printed.
    pub password: String,
}

impl std::fmt::Debug for StatsAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StatsAuth({}, …)", self.user)
    }
}

/// `option forwardfor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardFor {
    /// Header; `X-Forwarded-For`.
    pub header: String,
    /// Clients in here get none.
    pub except: Option<Net>,
    /// Only if the client sent none.
    pub if_none: bool,
}

/// Where traffic goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    /// Name.
    pub name: String,
    /// Number, as [`Frontend::id`].
    pub id: u32,
    /// Where the section begins.
    pub at: At,
    /// `description`.
    pub description: Option<String>,
    /// It is the backend of a `listen` section.
    pub listen: bool,
    /// How traffic is moved.
    pub mode: Mode,
    /// Which server gets a connection.
    pub balance: Balance,
    /// How hashes become servers.
    pub hash: Hash,
    /// Servers, in their order, templates written out.
    pub servers: Vec<Server>,
    /// Attempts after the first that failed.
    pub retries: u32,
    /// When another server is tried.
    pub redispatch: Redispatch,
    /// Load at which `minconn` has become `maxconn`.
    pub fullconn: Option<u32>,
    /// All backup servers are used, not the first alone.
    pub allbackups: bool,
    /// A client that left is not served from the queue.
    pub abortonclose: bool,
    /// Results of checks are logged.
    pub log_health_checks: bool,
    /// Where state changes are logged, and sessions of a `listen`.
    pub logs: Vec<LogTarget>,
    /// Timeouts.
    pub timeouts: BackendTimeouts,
    /// Keep-alive probes to servers.
    pub srvtcpka: bool,
    /// Their number, idle time and interval; `None`: the kernel's.
    pub srvtcpka_tuning: (Option<u32>, Option<Duration>, Option<Duration>),
    /// Connections are ended by a reset.
    pub nolinger: bool,
    /// Connections come from here.
    pub source: Option<Source>,
    /// `tcp-request content`.
    pub content_rules: Vec<TcpRule>,
    /// Longest wait for content.
    pub inspect_delay: Option<Duration>,
    /// `tcp-response content`.
    pub response_rules: Vec<TcpRule>,
    /// `http-request`, `redirect`.
    pub http_rules: Vec<HttpRule>,
    /// `http-response`.
    pub http_response_rules: Vec<HttpRule>,
    /// `use-server`: the first that holds and is up.
    pub use_servers: Vec<UseServer>,
    /// The table of this section.
    pub stick_table: Option<StickTable>,
    /// `stick …`.
    pub sticks: Vec<Stick>,
    /// The statistics page, where the backend has one (that of a `listen` is its frontend's too).
    pub stats: Option<StatsPage>,
    /// A header with the client's address.
    pub forward_for: Option<ForwardFor>,
    /// When connections of HTTP end.
    pub http_close: HttpClose,
    /// What is answered for these statuses: whole answers, head and body.
    pub error_files: Vec<(u16, String)>,
}

/// When another server is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redispatch {
    /// Never.
    #[default]
    Never,
    /// Every so many retries, counted from the first.
    Every(u32),
    /// So many retries before the last: 1 is the last.
    FromEnd(u32),
}

/// Timeouts of the server's side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendTimeouts {
    /// Until the connection is there.
    pub connect: Option<Duration>,
    /// Silence of the server.
    pub server: Option<Duration>,
    /// Silence of a server whose side is half closed; `None`: as `server`.
    pub server_fin: Option<Duration>,
    /// Silence of both once bytes flow in both directions; `None`: as `client` and `server`.
    pub tunnel: Option<Duration>,
    /// In the queue; `None`: as `connect`.
    pub queue: Option<Duration>,
    /// The answer of a check.
    pub check: Option<Duration>,
    /// `timeout tarpit`, `http-request`, `http-keep-alive` of a backend, for HTTP.
    pub http_keep_alive: Option<Duration>,
}

/// Which server gets a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Balance {
    /// In turn, by weight, smoothly; weights may change.
    #[default]
    RoundRobin,
    /// In turn, by a table.
    StaticRr,
    /// The one with the fewest.
    LeastConn,
    /// The first with a free slot, by number.
    First,
    /// By the client's address.
    Source,
    /// The less loaded of so many random ones.
    Random(u32),
    /// By a sample.
    Hash(Sample),
}

/// How hashes become servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// A ring, not a table.
    pub consistent: bool,
    /// The function.
    pub function: HashFunction,
    /// It is followed by another mixing.
    pub avalanche: bool,
    /// Most load of one server in percent of the mean; 0: no limit.
    pub balance_factor: u32,
}

impl Default for Hash {
    fn default() -> Hash {
        Hash { consistent: false, function: HashFunction::Sdbm, avalanche: false, balance_factor: 0 }
    }
}

/// Hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFunction {
    /// `sdbm`.
    Sdbm,
    /// `djb2`.
    Djb2,
    /// `wt6`.
    Wt6,
    /// `crc32`.
    Crc32,
    /// The number itself.
    None,
}
