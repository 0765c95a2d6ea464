//! What a haproxy.cfg asks for: complete, plain values, so that whoever serves it needs to know nothing of haproxy.
//!
//! `defaults` and `default-server` are merged in, `listen` is a frontend and a backend of one name, references are
//! checked, ACL names are replaced by what they test. A `None` among limits and timeouts means "no limit".

mod check;
mod proxy;
mod rule;
mod server;

use std::net::IpAddr;
use std::time::Duration;

pub use check::{
    AgentCheck, Check, CheckKind, CheckTls, Expect, ExpectKind, HttpRequest, Pattern, Said, Service, Step, Told, Verify,
};
pub use proxy::{
    Backend, BackendTimeouts, Balance, Bind, ForwardFor, Frontend, FrontendTimeouts, Hash, HashFunction, HttpClose,
    Listen, LogFormat, Mode, Redispatch, StatsAuth, StatsPage,
};
pub use rule::{
    Condition, Format, FormatPart, HttpAction, HttpRule, IgnoreCase, Matching, Net, RedirectKind, Sample, Stick,
    StickKind, StickTable, Switch, TcpAction, TcpRule, Term, Test, UseServer,
};
pub use server::{
    Host, InitAddr, MarkedDown, MarkedUp, Observe, OnError, ProxyVersion, Server, ServerPort, Source, Target, Tls,
};

/// Everything that the files ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Paths of the files, as they were given; [`At::file`] counts in it.
    pub files: Vec<String>,
    /// The process.
    pub global: Global,
    /// What is listened on: sections `frontend` and `listen`, in the order of the files. Without disabled ones.
    pub frontends: Vec<Frontend>,
    /// Where traffic goes: sections `backend` and `listen`, in the order of the files. Without disabled ones.
    pub backends: Vec<Backend>,
    /// Sections `resolvers`.
    pub resolvers: Vec<Resolvers>,
    /// Sections `peers`: stick tables are exchanged with these.
    pub peers: Vec<Peers>,
    /// Every directive and word that is used, in the order of the files: for a list of what is not served.
    pub keywords: Vec<Keyword>,
}

/// Where something was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Index into [`Config::files`].
    pub file: usize,
    /// Line, from one.
    pub line: u32,
    /// Column in characters, from one.
    pub column: u32,
}

/// A directive or one of its words: `option tcplog`, `bind accept-proxy`, `server on-marked-down`, `balance leastconn`,
/// `tcp-request content accept`, `fetch req.ssl_sni`, `global nbthread`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// Its name as above; words of `global` are prefixed with it.
    pub name: String,
    /// Where.
    pub at: At,
    /// Name of the proxy; empty in other sections. What a `defaults` section says is listed once, there.
    pub proxy: String,
}

/// The process as a whole: section `global`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Global {
    /// Goes into the background (`daemon`).
    pub daemon: bool,
    /// `master-worker`.
    pub master_worker: bool,
    /// Where the process id is written.
    pub pidfile: Option<String>,
    /// Connections of the whole process; `None`: what the file descriptors allow.
    pub maxconn: Option<u64>,
    /// New connections per second of the whole process.
    pub maxconnrate: Option<u64>,
    /// Threads; `None`: one per core.
    pub nbthread: Option<u32>,
    /// User name or number to become.
    pub user: Option<String>,
    /// Group name or number to become.
    pub group: Option<String>,
    /// Directory to change the root to.
    pub chroot: Option<String>,
    /// `node`, for the statistics page; `None`: the host's name.
    pub node: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// Where the process and every proxy with `log global` logs to.
    pub logs: Vec<LogTarget>,
    /// Tag of log lines.
    pub log_tag: String,
    /// Host name in syslog lines: `None` leaves it out, `Some("")` is this host's own name.
    pub log_send_hostname: Option<String>,
    /// `stats socket`: where the runtime commands are taken.
    pub stats_sockets: Vec<Bind>,
    /// An idle command connection is closed after this.
    pub stats_timeout: Duration,
    /// Command connections at once.
    pub stats_maxconn: u32,
    /// A stopping process ends after this, whatever is still connected.
    pub hard_stop_after: Option<Duration>,
    /// Between the signal to stop and the closing of listeners.
    pub grace: Option<Duration>,
    /// Checks are spread by up to this many percent of their interval.
    pub spread_checks: u32,
    /// `external-check`: programs may be run as checks.
    pub external_check: bool,
    /// Splice is not to be used.
    pub nosplice: bool,
    /// Listeners are not to be shared by SO_REUSEPORT.
    pub noreuseport: bool,
    /// Waits for events by polling.
    pub busy_polling: bool,
    /// Bytes of one buffer (`tune.bufsize`).
    pub bufsize: u32,
    /// Receive buffers of connections of clients and servers.
    pub rcvbuf: (Option<u32>, Option<u32>),
    /// Send buffers of connections of clients and servers.
    pub sndbuf: (Option<u32>, Option<u32>),
    /// `server-state-file`, with `server-state-base` in front.
    pub server_state_file: Option<String>,
    /// Name of this node among peers; `None`: the host's name.
    pub localpeer: Option<String>,
    /// Warnings of `-c` are failures.
    pub zero_warning: bool,
    /// No messages while starting.
    pub quiet: bool,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// Where to.
    pub to: LogTo,
    /// Longest line.
    pub length: u32,
    /// How the line begins.
    pub format: LogFraming,
    /// Syslog facility number: 16 is `local0`.
    pub facility: u8,
    /// Syslog level up to which lines are sent: 7 is `debug`.
    pub level: u8,
    /// Lines that are graver than this are sent as this.
    pub min_level: u8,
    /// Send only these of every `sample_size` lines; empty: all.
    pub sample_ranges: Vec<(u32, u32)>,
    /// See `sample_ranges`.
    pub sample_size: u32,
    /// Where it was written.
    pub at: At,
}

/// Address of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Syslog over UDP: host (address or name) and port.
    Udp {
        /// Address or name.
        host: String,
        /// Port.
        port: u16,
    },
    /// A datagram socket of this host.
    Unix(String),
    /// An inherited file descriptor.
    Fd(i32),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What stands before the text of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFraming {
    /// `<134>Nov 21 18:00:00 haproxy[1]: text`, without a host name (haproxy's `local`; default without host name).
    Local,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// `<134>text`.
    Priority,
    /// `<6>text`, as systemd reads it.
    Short,
    /// Time, then as `Short`.
    Timed,
    /// ISO time, then the text.
    Iso,
    /// The text alone: default for standard output, standard error and file descriptors.
    Raw,
}

/// Section `resolvers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolvers {
    /// Name.
    pub name: String,
    /// Name servers; empty: those of `/etc/resolv.conf`.
    pub nameservers: Vec<(String, Host, u16)>,
    /// `/etc/resolv.conf` is read too.
    pub parse_resolv_conf: bool,
    /// Queries before giving up.
    pub resolve_retries: u32,
    /// Between queries when nothing else is known.
    pub timeout_resolve: Duration,
    /// Between retries.
    pub timeout_retry: Duration,
    /// How long each kind of answer stays: `valid`, `obsolete`, `nx`, `other`, `refused`, `timeout`.
    pub hold: [Duration; 6],
    /// Where it was written.
    pub at: At,
}

/// Section `peers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Peers {
    /// Name.
    pub name: String,
    /// Each peer's name, address and port.
    pub members: Vec<(String, IpAddr, u16)>,
    /// Where it was written.
    pub at: At,
}
