//! Health checks as they really run: of several check options the last one has won, defaults are filled in.

use std::time::Duration;

pub use baton_core::answers::Service;

use super::{ServerPort, Target};

/// How the health of one server is found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is tried.
    pub kind: CheckKind,
    /// Where, if not at the server's own address.
    pub address: Option<Target>,
    /// Port, if not the server's own.
    pub port: Option<ServerPort>,
    /// The check's connection speaks TLS.
    pub tls: Option<CheckTls>,
    /// A PROXY header is sent first.
    pub send_proxy: bool,
    /// Its steps are those of `tcp-check` rules: results name them.
    pub told: bool,
    /// Between checks of a server whose state is settled.
    pub inter: Duration,
    /// Between checks while the state is changing; `None`: as `inter`.
    pub fastinter: Option<Duration>,
    /// Between checks of a server that is down; `None`: as `inter`.
    pub downinter: Option<Duration>,
    /// The connection has to be there within this.
    pub connect_timeout: Duration,
    /// After the connection is there: the answer; `None`: both together within `connect_timeout`.
    pub answer_timeout: Option<Duration>,
    /// Successes in a row that make a server up.
    pub rise: u32,
    /// Failures in a row that make it down. (The first result after the start decides alone.)
    pub fall: u32,
    /// 404 means "up, but nothing new": `http-check disable-on-404`.
    pub disable_on_404: bool,
    /// A header about the server's state goes with each check: `http-check send-state`.
    pub send_state: bool,
}

/// What a check tries.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// A connection (with [`Check::tls`]: and a handshake).
    Connect,
    /// A fixed ClientHello is answered by anything that begins like TLS: `option ssl-hello-chk`.
    SslHello,
    /// Steps one after the other: `httpchk` and `http-check`, `tcp-check`.
    Steps(Vec<Step>),
    /// A program decides: `option external-check`.
    External {
        /// The program.
        command: String,
        /// `PATH` that it gets.
        path: Option<String>,
    },
}

/// One step of a check. Where no `Connect` comes first, there is one to the check's own address before the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A new connection.
    Connect {
        /// Address, if not the check's own.
        address: Option<Target>,
        /// Port, if not the check's own.
        port: Option<u16>,
        /// TLS as it is said here.
        tls: Option<CheckTls>,
        /// A PROXY header first.
        send_proxy: bool,
        /// Everything about the connection as the server's own check options say.
        default: bool,
        /// Ended by a reset.
        linger: bool,
    },
    /// Bytes to send.
    Send(Vec<u8>),
    /// An HTTP request.
    Request(HttpRequest),
    /// What has to come back.
    Expect(Expect),
}

/// The request of an HTTP check.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    /// Method, `OPTIONS` if nothing else is said.
    pub method: String,
    /// Target, `/` if nothing else is said.
    pub uri: String,
    /// `HTTP/1.0` unless said otherwise.
    pub version: String,
    /// Headers in their order. `Connection: close` is added by the driver for HTTP/1.1, `Content-Length` for a body.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Option<String>,
}

/// What has to come back.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// What is looked at.
    pub kind: ExpectKind,
    /// It must not be so.
    pub negate: bool,
    /// At least so many bytes before looking.
    pub min_recv: Option<u32>,
    /// `comment`, for the log of a failure.
    pub comment: Option<String>,
    /// How the result is told.
    pub told: Told,
}

impl Expect {
    /// Nothing but what is looked at.
    #[must_use]
    pub fn new(kind: ExpectKind) -> Expect {
        Expect { kind, negate: false, min_recv: None, comment: None, told: Told::default() }
    }
}

/// How a result is told, where that differs from what is usual.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// `ok-status`
    pub ok_status: Option<&'static str>,
    /// `error-status`
    pub error_status: Option<&'static str>,
    /// `tout-status`
    pub tout_status: Option<&'static str>,
    /// `on-success`
    pub on_success: Option<Said>,
    /// `on-error`
    pub on_error: Option<Said>,
    /// The answer begins with a code of three digits.
    pub code: bool,
}

/// A text about a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// This one.
    Text(String),
    /// The answer from this byte on, up to the end of its line.
    Answer(usize),
}

/// A regular expression over bytes. Equal when its text is.
#[derive(Clone, Debug)]
pub struct Pattern(pub regex::bytes::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// What an answer is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectKind {
    /// Status in one of these inclusive ranges. (Without any `expect`: 200 to 399.)
    Status(Vec<(u16, u16)>),
    /// Status matches this regular expression.
    StatusRegex(Pattern),
    /// The body (of tcp checks: what was received) contains this.
    Contains(Vec<u8>),
    /// The body (of tcp checks: what was received) matches this regular expression.
    Regex(Pattern),
    /// What was received, in hexadecimal digits, matches this regular expression.
    HexRegex(Pattern),
    /// What a database or directory answers.
    Answer(Service),
}

/// TLS of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckTls {
    /// Name that is asked for.
    pub sni: Option<String>,
    /// Protocols that are offered.
    pub alpn: Vec<String>,
    /// How the certificate is judged.
    pub verify: Verify,
}

/// How a server's certificate is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Not at all.
    #[default]
    None,
    /// By these authorities (PEM file or directory), and by name where one is given.
    Required {
        /// File or directory.
        ca_file: String,
        /// Name that has to be in it.
        host: Option<String>,
    },
}

/// `agent-check`: the server's own word about its weight and state.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentCheck {
    /// Where, if not at the server's own address.
    pub address: Option<Target>,
    /// Port.
    pub port: u16,
    /// Between questions.
    pub inter: Duration,
    /// Sent first.
    pub send: Option<String>,
}
