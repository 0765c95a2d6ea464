//! Log lines of sessions, in haproxy's formats: fields and end states as its `tcplog` has them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use baton_config::haproxy::model::{Format, FormatPart, LogFormat, Mode, Sample};

use super::calendar::Moment;
use super::syslog::Target;

/// What a front says about its sessions, and where to.
#[derive(Clone, Debug)]
pub struct Lines {
    /// The text.
    pub format: Format,
    /// Where it goes.
    pub targets: Vec<Target>,
    /// Name of the program in it.
    pub tag: String,
    /// Sessions that ended badly are told as errors.
    pub errors_apart: bool,
    /// The address that clients connected to is in it.
    pub local: bool,
}

/// Whether a format has the address that clients connected to.
#[must_use]
pub fn has_local(format: &Format) -> bool {
    format.parts.iter().any(|part| match part {
        FormatPart::Variable { name, .. } => name == "fi" || name == "fp",
        FormatPart::Sample(sample) => matches!(sample, Sample::Dst | Sample::DstPort),
        FormatPart::Text(_) => false,
    })
}

/// Everything a line may tell of a session.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The client.
    pub client: SocketAddr,
    /// Where it connected to.
    pub local: Option<SocketAddr>,
    /// Where this host connected from, and to.
    pub inner: Option<SocketAddr>,
    /// The server's address.
    pub server_address: Option<SocketAddr>,
    /// When it came.
    pub accepted: SystemTime,
    /// The front.
    pub front: &'a str,
    /// The pool.
    pub pool: &'a str,
    /// The server.
    pub server: &'a str,
    /// Milliseconds in the queue; `None`: it did not get that far.
    pub waited: Option<u64>,
    /// Milliseconds to connect; `None`: it was not connected.
    pub connecting: Option<u64>,
    /// Milliseconds in all.
    pub total: u64,
    /// The total is not over yet: `option logasap`.
    pub early: bool,
    /// Bytes to the client.
    pub to_client: u64,
    /// Bytes from the client.
    pub from_client: u64,
    /// How it ended.
    pub state: [u8; 2],
    /// Connections of the process, front, pool, server.
    pub open: [u64; 4],
    /// Connects repeated.
    pub retries: u32,
    /// The last one went elsewhere.
    pub redispatched: bool,
    /// Who waited before it: for the server, in the pool.
    pub queued: [u64; 2],
    /// In mode http: the request that the line is about.
    pub request: Option<Request<'a>>,
}

/// What a line may tell of a request. Times are milliseconds; `None`: it did not get that far.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// When its first byte came.
    pub began: SystemTime,
    /// Method, target and version; `None`: they could not be read.
    pub head: Option<(&'a str, &'a str, &'a str)>,
    /// Status of the answer.
    pub status: u16,
    /// Between the answer before it and its first byte.
    pub idle: u64,
    /// For its head to come.
    pub received: Option<u64>,
    /// For the server's answer to begin.
    pub answered: Option<u64>,
}

impl Lines {
    /// The text of a line.
    pub fn text(&self, facts: &Facts<'_>, line: &mut String) {
        for part in &self.format.parts {
            match part {
                FormatPart::Text(text) => line.push_str(text),
                FormatPart::Variable { name, quoted, .. } => {
                    if *quoted {
                        line.push('"');
                    }
                    variable(name, facts, line);
                    if *quoted {
                        line.push('"');
                    }
                }
                FormatPart::Sample(sample) => self::sample(sample, facts, line),
            }
        }
    }
}

/// The parts of the format that is meant.
#[must_use]
pub fn format(asked: &LogFormat, mode: Mode) -> Format {
    match (asked, mode) {
        (LogFormat::Custom(format), _) => format.clone(),
        (LogFormat::Short, Mode::Tcp) => known("Connect from %ci:%cp to %fi:%fp (%f/TCP)"),
        (LogFormat::Short, Mode::Http) => known("Connect from %ci:%cp to %fi:%fp (%f/HTTP)"),
        (LogFormat::Http(_), Mode::Http) => {
            let times = "%TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq ";
            let mut format = known(&format!("%ci:%cp [%tr] %ft %b/%s {times}"));
            format.parts.push(FormatPart::Variable { name: "r".to_owned(), quoted: true, hex: false });
            format
        }
        (LogFormat::Tcp | LogFormat::Http(_), _) => {
            known("%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq")
        }
    }
}

/// Whether lines may have a sample.
#[must_use]
pub fn has_sample(sample: &Sample) -> bool {
    matches!(sample, Sample::Src | Sample::SrcPort | Sample::Dst | Sample::DstPort | Sample::Text(_))
}

fn known(text: &str) -> Format {
    let mut parts = Vec::new();
    let mut pieces = text.split('%');
    parts.extend(pieces.next().filter(|first| !first.is_empty()).map(|first| FormatPart::Text(first.to_owned())));
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        parts.push(FormatPart::Variable { name: name.to_owned(), quoted: false, hex: false });
        if !rest.is_empty() {
            parts.push(FormatPart::Text(rest.to_owned()));
        }
    }
    Format { parts }
}

/// Variables that lines of sessions may have. Others are refused with the file.
pub const VARIABLES: &[&str] = &[
    "ci", "cp", "fi", "fp", "bi", "bp", "si", "sp", "t", "T", "Tl", "ts", "ms", "f", "ft", "b", "s", "Th", "Tw", "Tc",
    "Tt", "Tu", "Td", "B", "U", "tsc", "ac", "fc", "bc", "sc", "rc", "sq", "bq", "pid", "H", "Ts", "lc", "rt",
];

/// Variables that lines of requests may have beside these.
pub const OF_REQUESTS: &[&str] =
    &["tr", "TR", "Tr", "Ta", "Ti", "Tq", "ST", "r", "HM", "HP", "HPO", "HQ", "HU", "HV", "CC", "CS", "hr", "hs"];

/// What is particular to a line about a request. `false`: nothing is.
fn of_request(name: &str, request: &Request<'_>, facts: &Facts<'_>, line: &mut String) -> bool {
    let plus = if facts.early { "+" } else { "" };
    let time = |line: &mut String, value: Option<u64>| match value {
        Some(value) => _ = write!(line, "{value}"),
        None => line.push_str("-1"),
    };
    let (method, target, version) = request.head.unwrap_or(("<BADREQ>", "<BADREQ>", "<BADREQ>"));
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    match name {
        "tr" => Moment::local(request.began).session(line),
        "TR" => time(line, request.received),
        "Tr" => time(line, request.answered),
        "Ti" => _ = write!(line, "{}", request.idle),
        "Tq" => time(line, request.received.map(|received| request.idle + received)),
        "Ta" => _ = write!(line, "{plus}{}", facts.total),
        "Tt" => _ = write!(line, "{plus}{}", request.idle + facts.total),
        "Td" => {
            let before = [request.received, facts.waited, facts.connecting, request.answered];
            let whole: Option<u64> = before.into_iter().sum();
            time(line, whole.map(|before| facts.total.saturating_sub(before)));
        }
        "ST" => _ = write!(line, "{}", request.status),
        "r" if request.head.is_none() => line.push_str("<BADREQ>"),
        "r" => _ = write!(line, "{method} {target} {version}"),
        "HM" => line.push_str(method),
        "HU" => line.push_str(target),
        "HP" | "HPO" => line.push_str(path),
        "HQ" => line.push_str(query),
        "HV" => line.push_str(version),
        "CC" | "CS" => line.push('-'),
        // There are no captures.
        "hr" | "hs" => {}
        "tsc" => {
            line.extend(facts.state.map(char::from));
            line.push_str("--");
        }
        _ => return false,
    }
    true
}

fn variable(name: &str, facts: &Facts<'_>, line: &mut String) {
    if facts.request.is_some_and(|request| of_request(name, &request, facts, line)) {
        return;
    }
    let address = |line: &mut String, address: Option<SocketAddr>| match address {
        Some(address) => _ = write!(line, "{}", address.ip().to_canonical()),
        None => line.push('-'),
    };
    let port = |line: &mut String, address: Option<SocketAddr>| match address {
        Some(address) => _ = write!(line, "{}", address.port()),
        None => line.push('-'),
    };
    let time = |line: &mut String, value: Option<u64>| match value {
        Some(value) => _ = write!(line, "{value}"),
        None => line.push_str("-1"),
    };
    let plus = if facts.early { "+" } else { "" };
    match name {
        "ci" => address(line, Some(facts.client)),
        "cp" => port(line, Some(facts.client)),
        "fi" => address(line, facts.local),
        "fp" => port(line, facts.local),
        "bi" => address(line, facts.inner),
        "bp" => port(line, facts.inner),
        "si" => address(line, facts.server_address),
        "sp" => port(line, facts.server_address),
        "t" => Moment::local(facts.accepted).session(line),
        "T" => Moment::utc(facts.accepted).seconds(line),
        "Tl" => Moment::local(facts.accepted).seconds(line),
        "Ts" => _ = write!(line, "{}", Moment::utc(facts.accepted).epoch),
        "ms" => _ = write!(line, "{:03}", Moment::utc(facts.accepted).millis),
        "f" | "ft" => line.push_str(facts.front),
        "b" => line.push_str(facts.pool),
        "s" => line.push_str(facts.server),
        "Th" => line.push('0'),
        "Tw" => time(line, facts.waited),
        "Tc" => time(line, facts.connecting),
        "Td" => time(line, facts.connecting.map(|c| facts.total.saturating_sub(c + facts.waited.unwrap_or(0)))),
        "Tt" | "Tu" => _ = write!(line, "{plus}{}", facts.total),
        "B" => _ = write!(line, "{plus}{}", facts.to_client),
        "U" => _ = write!(line, "{plus}{}", facts.from_client),
        "ts" | "tsc" => line.extend(facts.state.map(char::from)),
        "ac" => _ = write!(line, "{}", facts.open[0]),
        "fc" => _ = write!(line, "{}", facts.open[1]),
        "bc" => _ = write!(line, "{}", facts.open[2]),
        "sc" => _ = write!(line, "{}", facts.open[3]),
        "rc" => _ = write!(line, "{}{}", if facts.redispatched { "+" } else { "" }, facts.retries),
        "sq" => _ = write!(line, "{}", facts.queued[0]),
        "bq" => _ = write!(line, "{}", facts.queued[1]),
        "pid" => _ = write!(line, "{}", std::process::id()),
        "H" => line.push_str(&super::host_name()),
        "lc" | "rt" => line.push('0'),
        _ => line.push('-'),
    }
}

fn sample(sample: &Sample, facts: &Facts<'_>, line: &mut String) {
    match sample {
        Sample::Src => variable("ci", facts, line),
        Sample::SrcPort => variable("cp", facts, line),
        Sample::Dst => variable("fi", facts, line),
        Sample::DstPort => variable("fp", facts, line),
        Sample::Text(text) => line.push_str(text),
        _ => line.push('-'),
    }
}
