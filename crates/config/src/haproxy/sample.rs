//! Samples: `src`, `req.ssl_sni`, `hdr(host),lower` and their like.

use super::model::{At, Sample};
use super::names;
use super::proxy::{Reference, To};

/// What kind of value a sample has, which decides what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bool,
    Number,
    Address,
    Text,
    /// A version such as `3.3`.
    Version,
}

/// From when on a sample can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    Nothing,
    /// Bytes of the client.
    Content,
    /// A request.
    Request,
}

/// A sample that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) sample: Sample,
    pub(super) shape: Shape,
    pub(super) needs: Needs,
    /// Small and capital letters are the same, by a converter.
    pub(super) lowered: bool,
    pub(super) references: Vec<Reference>,
}

/// What was found instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Alert(String),
    Refused(String),
}

/// Counters of tables that can be asked for.
const COUNTERS: &[&str] = &[
    "conn_cnt",
    "conn_cur",
    "conn_rate",
    "sess_cnt",
    "sess_rate",
    "bytes_in_rate",
    "bytes_out_rate",
    "http_req_cnt",
    "http_req_rate",
];

/// Reads `name(arguments),converter`. `at` is where, `key` which directive it is in.
pub(super) fn read(text: &str, at: At, key: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Read, Wrong> {
    let (name, arguments, rest) = call(text)?;
    let mut read = match fetch(name, arguments, at, key, environment)? {
        Some(read) => read,
        None if names::has(names::FETCHES, name) => {
            return Err(Wrong::Refused(format!("the sample `{name}` is not served by Baton")));
        }
        None => return Err(Wrong::Alert(format!("`{name}` is no sample"))),
    };
    let mut rest = rest;
    while let Some(next) = rest.strip_prefix(',') {
        let (converter, _, after) = call(next)?;
        match converter {
            "lower" | "upper" if read.shape == Shape::Text => read.lowered = true,
            _ if names::has(names::CONVERTERS, converter) => {
                return Err(Wrong::Refused(format!("the converter `{converter}` is not served by Baton")));
            }
            _ => return Err(Wrong::Alert(format!("`{converter}` is no converter"))),
        }
        rest = after;
    }
    if rest.is_empty() { Ok(read) } else { Err(Wrong::Alert(format!("`{rest}` after the sample cannot be read"))) }
}

/// Cuts `name(arguments)` off.
fn call(text: &str) -> Result<(&str, Option<&str>, &str), Wrong> {
    let end = text.find(['(', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix('(') {
        Some(inside) => match inside.split_once(')') {
            Some((arguments, rest)) => Ok((name, Some(arguments), rest)),
            None => Err(Wrong::Alert(format!("the parenthesis of `{name}` is not closed"))),
        },
        None => Ok((name, None, rest)),
    }
}

fn fetch(
    name: &str,
    arguments: Option<&str>,
    at: At,
    key: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Read>, Wrong> {
    use Needs::{Content, Nothing, Request};
    use Shape::{Address, Bool, Number, Text, Version};
    let first = arguments.unwrap_or("");
    let mut references = Vec::new();
    let mut refer = |to: To| references.push(Reference { at, key: key.to_owned(), to });
    let missing = || Wrong::Alert(format!("`{name}` needs an argument in parentheses"));
    let needed = || if first.is_empty() { Err(missing()) } else { Ok(first.to_owned()) };
    let (sample, shape, needs) = match name {
        "always_true" => (Sample::Constant(true), Bool, Nothing),
        "always_false" => (Sample::Constant(false), Bool, Nothing),
        "bool" => (Sample::Constant(matches!(first, "1" | "true")), Bool, Nothing),
        "str" => (Sample::Text(first.to_owned()), Text, Nothing),
        "int" => (Sample::Text(first.to_owned()), Number, Nothing),
        "env" => (Sample::Text(environment(first).unwrap_or_default()), Text, Nothing),
        "src" => (Sample::Src, Address, Nothing),
        "src_port" => (Sample::SrcPort, Number, Nothing),
        "dst" => (Sample::Dst, Address, Nothing),
        "dst_port" => (Sample::DstPort, Number, Nothing),
        "req.ssl_sni" | "req_ssl_sni" => (Sample::SslSni, Text, Content),
        "req.ssl_hello_type" | "req_ssl_hello_type" => (Sample::SslHelloType, Number, Content),
        "req.ssl_ver" | "req_ssl_ver" => (Sample::SslVer, Version, Content),
        "req.ssl_alpn" => (Sample::SslAlpn, Text, Content),
        "req.len" | "req_len" => (Sample::ReqLen, Number, Content),
        "wait_end" => (Sample::WaitEnd, Bool, Content),
        "req.proto_http" | "req_proto_http" => (Sample::ProtoHttp, Bool, Content),
        "stopping" => (Sample::Stopping, Bool, Nothing),
        "ssl_fc" => (Sample::SslFc, Bool, Nothing),
        "method" => (Sample::Method, Text, Request),
        "path" => (Sample::Path, Text, Request),
        "url" | "pathq" => (Sample::Url, Text, Request),
        "hdr" | "req.hdr" | "req.fhdr" => (header(&needed()?)?, Text, Request),
        // Without a name, the section's own.
        "nbsrv" => (Sample::NbSrv(backend(first, &mut refer)), Number, Nothing),
        "queue" => (Sample::Queue(backend(first, &mut refer)), Number, Nothing),
        "fe_conn" => (Sample::FeConn(arguments.map(str::to_owned)), Number, Nothing),
        "be_conn" => (Sample::BeConn(arguments.map(|name| backend(name, &mut refer))), Number, Nothing),
        "srv_is_up" | "srv_conn" => {
            let text = needed()?;
            let Some((backend, server)) = text.split_once('/') else {
                return Err(Wrong::Alert(format!("`{name}` needs a backend and a server, as {name}(backend/server)")));
            };
            refer(To::Server(Some(backend.to_owned()), server.to_owned()));
            let (backend, server) = (backend.to_owned(), server.to_owned());
            match name {
                "srv_conn" => (Sample::SrvConn(backend, server), Number, Nothing),
                _ => (Sample::SrvIsUp(backend, server), Bool, Nothing),
            }
        }
        _ => match counter(name, arguments, &mut refer) {
            Some(sample) => (sample, Number, Nothing),
            None => return Ok(None),
        },
    };
    Ok(Some(Read { sample, shape, needs, lowered: false, references }))
}

fn backend(name: &str, refer: &mut impl FnMut(To)) -> String {
    if !name.is_empty() {
        refer(To::Backend(name.to_owned()));
    }
    name.to_owned()
}

/// `hdr(name)`, `hdr(name,-1)`.
fn header(text: &str) -> Result<Sample, Wrong> {
    let (name, which) = text.split_once(',').unwrap_or((text, "0"));
    match which.trim().parse() {
        Ok(which) => Ok(Sample::Header(name.to_owned(), which)),
        Err(_) => Err(Wrong::Alert(format!("`{which}` is no number of a header"))),
    }
}

/// `src_conn_cur(table)`, `sc0_conn_rate(table)`, `sc_conn_rate(0)`.
fn counter(name: &str, arguments: Option<&str>, refer: &mut impl FnMut(To)) -> Option<Sample> {
    let table = arguments.filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(datum) = name.strip_prefix("src_").filter(|datum| COUNTERS.contains(datum)) {
        refer(To::Table(table.clone()));
        return Some(Sample::SrcCounter(datum.to_owned(), table));
    }
    for number in 0..3u8 {
        if let Some(datum) = name.strip_prefix(&format!("sc{number}_")).filter(|datum| COUNTERS.contains(datum)) {
            return table.is_none().then(|| Sample::Counter(datum.to_owned(), number));
        }
    }
    let datum = name.strip_prefix("sc_").filter(|datum| COUNTERS.contains(datum))?;
    let number = arguments?.parse().ok().filter(|number| *number < 3)?;
    Some(Sample::Counter(datum.to_owned(), number))
}
