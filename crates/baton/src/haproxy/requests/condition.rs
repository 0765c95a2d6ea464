//! Conditions about requests: what they look at, and whether they hold.

use std::net::{IpAddr, SocketAddr};

use baton_config::haproxy::model::{Condition, Matching, Net, Sample, Test};
use hyper::http::request::Parts;

/// A number that is known of servers and proxies while requests come.
pub type Live<'a> = &'a dyn Fn(&Sample) -> Option<i64>;

/// Where a request came from and to, and what is known beside it.
#[derive(Clone, Copy)]
pub struct Ends<'a> {
    /// The client.
    pub client: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
    /// Servers and proxies.
    pub live: Live<'a>,
}

/// A value that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number, or a truth.
    Number(i64),
    /// An address.
    Address(IpAddr),
    /// A text.
    Text(String),
}

impl Value {
    /// As it is written.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Value::Number(number) => number.to_string(),
            Value::Address(address) => address.to_string(),
            Value::Text(text) => text.clone(),
        }
    }

    fn number(&self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Address(_) => None,
            Value::Text(text) => text.trim().parse().ok(),
        }
    }

    fn address(&self) -> Option<IpAddr> {
        match self {
            Value::Address(address) => Some(*address),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Number(_) => None,
        }
    }
}

/// Whether a sample can be looked at in a request.
#[must_use]
pub fn is_served(sample: &Sample) -> bool {
    !matches!(
        sample,
        Sample::SslSni
            | Sample::SslHelloType
            | Sample::SslVer
            | Sample::SslAlpn
            | Sample::ReqLen
            | Sample::FeConn(Some(_))
            | Sample::BeConn(None)
            | Sample::SrcCounter(..)
            | Sample::Counter(..)
    )
}

/// Whether all that a condition looks at is there.
#[must_use]
pub fn all_served(condition: Option<&Condition>) -> bool {
    let terms = condition.into_iter().flat_map(|c| c.any.iter().flatten());
    terms.flat_map(|term| &term.any).all(|test| is_served(&test.sample))
}

/// Whether a condition holds; none always does.
#[must_use]
pub fn holds(condition: Option<&Condition>, parts: &Parts, ends: &Ends<'_>) -> bool {
    let Some(condition) = condition else { return true };
    let term = |test: &Test| matches(&look(&test.sample, parts, ends), &test.matching);
    let any = condition.any.is_empty()
        || condition.any.iter().any(|all| all.iter().all(|t| t.any.iter().any(term) != t.negate));
    any != condition.unless
}

/// What a sample is now: none, one, or several of which any may match.
#[must_use]
pub fn look(sample: &Sample, parts: &Parts, ends: &Ends<'_>) -> Vec<Value> {
    let number = |number: i64| vec![Value::Number(number)];
    match sample {
        Sample::Constant(holds) => number((*holds).into()),
        Sample::Text(text) => vec![Value::Text(text.clone())],
        Sample::Src => vec![Value::Address(ends.client.ip().to_canonical())],
        Sample::SrcPort => number(ends.client.port().into()),
        Sample::Dst => vec![Value::Address(ends.local.ip().to_canonical())],
        Sample::DstPort => number(ends.local.port().into()),
        Sample::WaitEnd | Sample::ProtoHttp => number(1),
        Sample::Stopping | Sample::SslFc => number(0),
        Sample::Method => vec![Value::Text(parts.method.as_str().to_owned())],
        Sample::Path => vec![Value::Text(parts.uri.path().to_owned())],
        Sample::Url => vec![Value::Text(parts.uri.to_string())],
        Sample::Header(name, which) => header(parts, name, *which),
        _ => (ends.live)(sample).map(Value::Number).into_iter().collect(),
    }
}

/// The values of a header, of which each may be a list; 0: all of them.
fn header(parts: &Parts, name: &str, which: i32) -> Vec<Value> {
    let lines = parts.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let all: Vec<Value> = lines
        .flat_map(|line| line.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
        .map(Value::Text)
        .collect();
    let count = i32::try_from(all.len()).unwrap_or(i32::MAX);
    let at = match which {
        0 => return all,
        1.. => which - 1,
        _ => count.saturating_add(which),
    };
    usize::try_from(at).ok().and_then(|at| all.get(at).cloned()).into_iter().collect()
}

fn matches(values: &[Value], matching: &Matching) -> bool {
    let text = |wanted: &[String], ignore: bool, how: fn(&str, &str) -> bool| {
        let fold = |text: &str| if ignore { text.to_ascii_lowercase() } else { text.to_owned() };
        values.iter().map(|value| fold(&value.text())).any(|value| wanted.iter().any(|w| how(&value, &fold(w))))
    };
    let within = |ranges: &[(i64, i64)], number: i64| ranges.iter().any(|(from, to)| (*from..=*to).contains(&number));
    match matching {
        Matching::Found => !values.is_empty(),
        Matching::True => values.iter().any(|value| value.number().is_some_and(|n| n != 0)),
        Matching::Number(ranges) => values.iter().filter_map(Value::number).any(|n| within(ranges, n)),
        Matching::Net(nets) => values.iter().filter_map(Value::address).any(|a| nets.iter().any(|net| inside(a, net))),
        Matching::Equal(wanted, ignore) => text(wanted, *ignore, |value, wanted| value == wanted),
        Matching::Begins(wanted, ignore) => text(wanted, *ignore, |value, wanted| value.starts_with(wanted)),
        Matching::Ends(wanted, ignore) => text(wanted, *ignore, |value, wanted| value.ends_with(wanted)),
        Matching::Contains(wanted, ignore) => text(wanted, *ignore, |value, wanted| value.contains(wanted)),
        Matching::Directory(wanted, ignore) => text(wanted, *ignore, |value, wanted| word(value, wanted, "/?")),
        Matching::Domain(wanted, ignore) => text(wanted, *ignore, |value, wanted| word(value, wanted, "/?.:")),
        Matching::Length(ranges) => {
            values.iter().any(|value| within(ranges, i64::try_from(value.text().len()).unwrap_or(i64::MAX)))
        }
    }
}

/// Whether a word stands in a text between these characters or its ends.
fn word(text: &str, wanted: &str, between: &str) -> bool {
    let is_end = |c: char| between.contains(c);
    let wanted = wanted.trim_matches(is_end);
    !wanted.is_empty()
        && text.match_indices(wanted).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + wanted.len()..].chars().next();
            before.is_none_or(is_end) && after.is_none_or(is_end)
        })
}

/// Whether an address is in a network.
#[must_use]
pub fn inside(address: IpAddr, net: &Net) -> bool {
    let prefix = u32::from(net.prefix);
    match (address, net.address) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            (a.to_bits() ^ n.to_bits()) & mask == 0
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            (a.to_bits() ^ n.to_bits()) & mask == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn found(sample: Sample, matching: Matching) -> bool {
        let request = Request::get("/api/v1/pods?watch=1").header("Host", "k8s.example:6443").header("X", "a, b");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let live = |sample: &Sample| matches!(sample, Sample::NbSrv(_)).then_some(2);
        let ends = Ends {
            client: "[::ffff:192.0.2.7]:1".parse().unwrap(),
            local: "192.0.2.1:80".parse().unwrap(),
            live: &live,
        };
        matches(&look(&sample, &parts, &ends), &matching)
    }

    #[test]
    fn what_is_looked_at() {
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let x = || Sample::Header("x".to_owned(), 0);
        for (sample, matching, expected) in [
            (Sample::Path, Matching::Begins(texts(&["/healthz", "/api"]), false), true),
            (Sample::Path, Matching::Begins(texts(&["/API"]), false), false),
            (Sample::Path, Matching::Begins(texts(&["/API"]), true), true),
            (Sample::Path, Matching::Equal(texts(&["/api/v1/pods"]), false), true),
            (Sample::Path, Matching::Directory(texts(&["v1"]), false), true),
            (Sample::Path, Matching::Directory(texts(&["v"]), false), false),
            (Sample::Url, Matching::Ends(texts(&["watch=1"]), false), true),
            (Sample::Path, Matching::Length(vec![(12, 12)]), true),
            (Sample::Header("HOST".to_owned(), 0), Matching::Domain(texts(&["example"]), false), true),
            (Sample::Header("host".to_owned(), 0), Matching::Equal(texts(&["K8S.example:6443"]), true), true),
            (x(), Matching::Equal(texts(&["b"]), false), true),
            (Sample::Header("x".to_owned(), 1), Matching::Equal(texts(&["b"]), false), false),
            (Sample::Header("x".to_owned(), -1), Matching::Equal(texts(&["b"]), false), true),
            (Sample::Header("y".to_owned(), 0), Matching::Found, false),
            (Sample::Method, Matching::Equal(texts(&["GET", "HEAD"]), false), true),
            (Sample::NbSrv("b".to_owned()), Matching::Number(vec![(0, 1)]), false),
            (Sample::NbSrv("b".to_owned()), Matching::Number(vec![(2, 9)]), true),
            (Sample::Src, Matching::Net(vec![Net { address: "192.0.2.0".parse().unwrap(), prefix: 24 }]), true),
            (Sample::Src, Matching::Net(vec![Net { address: "2001:db8::".parse().unwrap(), prefix: 32 }]), false),
            (Sample::DstPort, Matching::Number(vec![(80, 80)]), true),
        ] {
            assert_eq!(found(sample.clone(), matching.clone()), expected, "{sample:?} {matching:?}");
        }
    }
}
