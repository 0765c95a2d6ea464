//! Rules and conditions: what is looked at, what it is compared with, what then happens.
//!
//! Names of ACLs are gone: a [`Term`] carries what its name tested.

use std::net::IpAddr;
use std::time::Duration;

use super::At;

/// `if …`, `unless …`: holds when one of the lists does, each of which needs all of its terms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// The whole is inverted (`unless`).
    pub unless: bool,
    /// Any of these; each all of its terms.
    pub any: Vec<Vec<Term>>,
}

/// One name or anonymous test of a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Written with `!`.
    pub negate: bool,
    /// Holds when one of these does (an ACL may be declared several times).
    pub any: Vec<Test>,
}

/// A sample and what it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// What is looked at. Not there: the test fails (with [`Matching::Found`], that is what is asked).
    pub sample: Sample,
    /// What it is compared with.
    pub matching: Matching,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// `always_true`, `always_false`.
    Constant(bool),
    /// A fixed text (`str(…)`), number (`int(…)`) included.
    Text(String),
    /// The client's address (after PROXY).
    Src,
    /// Its port.
    SrcPort,
    /// The address that it came to.
    Dst,
    /// The port that it came to.
    DstPort,
    /// Name in the ClientHello, of bytes that are passed on.
    SslSni,
    /// Type of the TLS handshake message: 1 is ClientHello.
    SslHelloType,
    /// Version of the TLS record, as a number: 0x0303 is 3.3, compared as major × 65536 + minor.
    SslVer,
    /// Protocols in the ClientHello.
    SslAlpn,
    /// Bytes of the request that are there.
    ReqLen,
    /// Holds when the inspect delay is over (or the client closed).
    WaitEnd,
    /// The request is HTTP (`HTTP`, `req.proto_http`).
    ProtoHttp,
    /// Servers of a backend that are up.
    NbSrv(String),
    /// A server is up (backend, server).
    SrvIsUp(String, String),
    /// Connections of a frontend.
    FeConn(Option<String>),
    /// Connections of a backend.
    BeConn(Option<String>),
    /// Connections of a server.
    SrvConn(String, String),
    /// Connections that wait in a backend.
    Queue(String),
    /// The process is stopping.
    Stopping,
    /// Method of the request.
    Method,
    /// Path of the request, without the query.
    Path,
    /// Path and query.
    Url,
    /// A header of the request: its name, and which one (−1 is the last; 0: any of them, or the last where one is needed).
    Header(String, i32),
    /// The connection is TLS.
    SslFc,
    /// Entries of a stick table about the client's address: which datum, of which table (`None`: this section's).
    SrcCounter(String, Option<String>),
    /// Entries of a stick counter: which datum, of which counter.
    Counter(String, u8),
}

/// What a sample is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// It is true, or a number other than 0.
    True,
    /// It is there.
    Found,
    /// A number in one of these inclusive ranges.
    Number(Vec<(i64, i64)>),
    /// An address in one of these.
    Net(Vec<Net>),
    /// Equal to one of these.
    Equal(Vec<String>, IgnoreCase),
    /// Begins with one of these.
    Begins(Vec<String>, IgnoreCase),
    /// Ends with one of these.
    Ends(Vec<String>, IgnoreCase),
    /// Contains one of these.
    Contains(Vec<String>, IgnoreCase),
    /// Contains one of these between slashes or at the ends.
    Directory(Vec<String>, IgnoreCase),
    /// Contains one of these between dots or at the ends.
    Domain(Vec<String>, IgnoreCase),
    /// Length in one of these inclusive ranges.
    Length(Vec<(i64, i64)>),
}

/// Small and capital letters are the same.
pub type IgnoreCase = bool;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Net {
    /// Any address in it.
    pub address: IpAddr,
    /// Bits that count.
    pub prefix: u8,
}

/// A rule about bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpRule {
    /// What happens.
    pub action: TcpAction,
    /// If this holds; `None`: always.
    pub condition: Option<Condition>,
    /// Where it was written.
    pub at: At,
}

/// What a rule about bytes does.
#[derive(Clone, Debug, PartialEq)]
pub enum TcpAction {
    /// No further rule is looked at.
    Accept,
    /// The connection is closed.
    Reject,
    /// It is forgotten without a word to the client.
    SilentDrop,
    /// A PROXY header has to come.
    ExpectProxy,
    /// The connection is counted: counter, key, table (`None`: this section's).
    Track {
        /// 0 to 2.
        counter: u8,
        /// What it is counted under.
        key: Sample,
        /// In which table.
        table: Option<String>,
    },
    /// `tcp-response content close`.
    Close,
}

/// A rule about requests or answers.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRule {
    /// What happens.
    pub action: HttpAction,
    /// If this holds; `None`: always.
    pub condition: Option<Condition>,
    /// Where it was written.
    pub at: At,
}

/// What a rule about requests or answers does.
#[derive(Clone, Debug, PartialEq)]
pub enum HttpAction {
    /// No further rule is looked at.
    Allow,
    /// Answered with this status.
    Deny(u16),
    /// The connection is forgotten without a word.
    SilentDrop,
    /// Answered with this.
    Return {
        /// Status.
        status: u16,
        /// `Content-Type`.
        content_type: Option<String>,
        /// Text.
        body: Option<Format>,
        /// More headers.
        headers: Vec<(String, Format)>,
    },
    /// Answered with a redirection: status and `Location`.
    Redirect {
        /// How `to` becomes the location.
        kind: RedirectKind,
        /// 302 unless said otherwise.
        status: u16,
        /// Text.
        to: Format,
    },
    /// The header gets this value, whatever it was.
    SetHeader(String, Format),
    /// One more header.
    AddHeader(String, Format),
    /// The header is removed.
    DelHeader(String),
    /// Answered with the figures of this process for Prometheus.
    PrometheusExporter,
}

/// How a redirection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    /// The text is the location.
    Location,
    /// The text comes before the request's path and query.
    Prefix,
    /// The text is the scheme.
    Scheme,
}

/// `use_backend NAME if …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    /// Backend.
    pub backend: String,
    /// If this holds; `None`: always.
    pub condition: Option<Condition>,
    /// Where it was written.
    pub at: At,
}

/// `use-server NAME if …`.
#[derive(Clone, Debug, PartialEq)]
pub struct UseServer {
    /// Server.
    pub server: String,
    /// If this holds; `None`: always.
    pub condition: Option<Condition>,
    /// Where it was written.
    pub at: At,
}

/// A table of what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickTable {
    /// `ip`, `ipv6`, `integer`, `string`, `binary`.
    pub key: String,
    /// Length of a string or binary key.
    pub key_length: u32,
    /// Entries.
    pub size: u64,
    /// An entry without use goes after this.
    pub expire: Option<Duration>,
    /// Old entries are not removed for new ones.
    pub nopurge: bool,
    /// What is counted, as written: `conn_cur`, `conn_rate(10s)`.
    pub store: Vec<String>,
    /// Section `peers` that it is exchanged with.
    pub peers: Option<String>,
    /// Where it was written.
    pub at: At,
}

/// `stick on`, `stick match`, `stick store-request`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stick {
    /// Which of them.
    pub kind: StickKind,
    /// Key.
    pub key: Sample,
    /// Table's section, if not this one.
    pub table: Option<String>,
    /// If this holds; `None`: always.
    pub condition: Option<Condition>,
    /// Where it was written.
    pub at: At,
}

/// What a stick rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StickKind {
    /// Looks up, and stores.
    On,
    /// Looks up.
    Match,
    /// Stores when the connection is made.
    StoreRequest,
    /// Stores when the server answers.
    StoreResponse,
}

/// A text with variables: log lines, values of headers. Empty: no line is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// In this order.
    pub parts: Vec<FormatPart>,
}

/// A part of a [`Format`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatPart {
    /// As it is.
    Text(String),
    /// A variable of the log, without `%`: `ci`, `Tt`, `ts`.
    Variable {
        /// Name.
        name: String,
        /// In quotes (`%{+Q}`).
        quoted: bool,
        /// In hexadecimal (`%{+X}`).
        hex: bool,
    },
    /// A sample: `%[src]`.
    Sample(Sample),
}
