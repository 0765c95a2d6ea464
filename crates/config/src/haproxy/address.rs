//! Addresses: where to listen, where servers are. Their variables need no quotes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::model::{Host, Listen, ServerPort, Target};

/// Most ports of one range of `bind`: each is a socket.
const RANGE_MAX: u32 = 4096;

/// Replaces `$NAME` and `${NAME}`; a variable that is not there is nothing.
pub(super) fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (brace, after) = match after.strip_prefix('{') {
            Some(after) => (true, after),
            None => (false, after),
        };
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
        out.push_str(&variable(&after[..end]).unwrap_or_default());
        rest = &after[end..];
        if brace {
            rest = rest.strip_prefix('}').unwrap_or(rest);
        }
    }
    out.push_str(rest);
    out
}

/// What stands before `@`.
fn prefixed(text: &str) -> (Option<&str>, &str) {
    match text.split_once('@') {
        Some((prefix, rest)) if prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') => (Some(prefix), rest),
        _ => (None, text),
    }
}

/// Host and what follows its last colon.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    if let Some(end) = text.strip_prefix('[').and_then(|t| t.find(']')) {
        let (host, rest) = (&text[1..=end], &text[end + 2..]);
        return (host, rest.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// What was found instead of an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// haproxy refuses it too.
    Alert(String),
    /// Baton has no such thing.
    Refused(String),
}

fn alert<T>(text: String) -> Result<T, Wrong> {
    Err(Wrong::Alert(text))
}

/// Addresses of `bind`: a list, each perhaps with a range of ports.
pub(super) fn listens(text: &str) -> Result<Vec<Listen>, Wrong> {
    let mut out = Vec::new();
    for part in text.split(',') {
        listen(part, &mut out)?;
    }
    Ok(out)
}

fn listen(text: &str, out: &mut Vec<Listen>) -> Result<(), Wrong> {
    let (prefix, rest) = prefixed(text);
    let v6 = match prefix {
        None if text.starts_with('/') => {
            out.push(Listen::Unix(text.to_owned()));
            return Ok(());
        }
        None => None,
        Some("ipv4" | "tcp4" | "stream+ipv4") => Some(false),
        Some("ipv6" | "tcp6" | "stream+ipv6") => Some(true),
        Some("tcp" | "stream") => None,
        Some("unix" | "uxst" | "stream+unix") => {
            out.push(Listen::Unix(rest.to_owned()));
            return Ok(());
        }
        Some("abns" | "stream+abns") => {
            out.push(Listen::Abstract(rest.to_owned()));
            return Ok(());
        }
        Some("fd") => {
            let Ok(fd) = rest.parse() else { return alert(format!("`{rest}` is no file descriptor")) };
            out.push(Listen::Fd(fd));
            return Ok(());
        }
        Some("sockpair") => return Err(Wrong::Refused("`sockpair@` is for haproxy's own processes".into())),
        Some(other) if other.starts_with("quic") => {
            return alert(format!("`{other}@` needs QUIC, which is not there"));
        }
        Some(other) => return alert(format!("`{other}@` is no address to listen on for connections")),
    };
    let (host, port) = host_and_port(rest);
    let Some(ports) = port.filter(|port| !port.is_empty()) else {
        return alert(format!("`{text}` has no port, expected address:port"));
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        return alert(format!("`{ports}` is no port, expected 1 to 65535 or a range of them"));
    };
    if first > last {
        return alert(format!("the range of ports `{ports}` is the wrong way round"));
    }
    if u32::from(last - first) >= RANGE_MAX {
        return Err(Wrong::Refused(format!("the range of ports `{ports}` is longer than {RANGE_MAX}")));
    }
    let ip = match host {
        "" | "*" if v6 == Some(true) => Some(Ipv6Addr::UNSPECIFIED.into()),
        "" | "*" => Some(Ipv4Addr::UNSPECIFIED.into()),
        _ => host.parse::<IpAddr>().ok(),
    };
    if let (Some(ip), Some(v6)) = (ip, v6)
        && ip.is_ipv6() != v6
    {
        return alert(format!("`{host}` is of the other family than `{text}` says"));
    }
    if ip.is_none() && !is_host_name(host) {
        return alert(format!("`{host}` is neither an address nor a host's name"));
    }
    out.extend((first..=last).map(|port| match ip {
        Some(ip) => Listen::Inet { ip, port },
        None => Listen::Name { host: host.to_owned(), port },
    }));
    Ok(())
}

/// Whether a resolver could know it.
pub(super) fn is_host_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(allowed)
        // Four numbers are an address, or a mistyped one.
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Address of a server. The port is `Client(0)` where none is given.
pub(super) fn server(text: &str) -> Result<(Target, ServerPort), Wrong> {
    let (prefix, rest) = prefixed(text);
    match prefix {
        None if text.starts_with('/') => return Ok((Target::Unix(text.to_owned()), ServerPort::Fixed(0))),
        Some("unix" | "uxst" | "stream+unix") => return Ok((Target::Unix(rest.to_owned()), ServerPort::Fixed(0))),
        Some("abns" | "stream+abns") => return Ok((Target::Abstract(rest.to_owned()), ServerPort::Fixed(0))),
        None | Some("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6" | "stream" | "stream+ipv4" | "stream+ipv6") => {}
        Some("sockpair") => return Err(Wrong::Refused("`sockpair@` is for haproxy's own processes".into())),
        Some("fd") => return alert("a server cannot be a file descriptor".into()),
        Some(other) => return alert(format!("`{other}@` is no address of a server")),
    }
    let (host, port) = host_and_port(rest);
    let port = match port {
        None | Some("") => ServerPort::Client(0),
        Some(port) if port.contains('-') && !port.starts_with('-') => {
            return alert(format!("a server has one port, not `{port}`"));
        }
        Some(port) => {
            let number = port.strip_prefix('+').unwrap_or(port).parse::<i32>();
            match number.ok().filter(|n| (-65535..=65535).contains(n)) {
                Some(offset) if port.starts_with(['+', '-']) => ServerPort::Client(offset),
                Some(0) => ServerPort::Client(0),
                Some(number) => ServerPort::Fixed(u16::try_from(number).unwrap_or(0)),
                None => return alert(format!("`{port}` is no port")),
            }
        }
    };
    let target = match host {
        "" | "*" | "0.0.0.0" | "::" => Target::Destination,
        _ => match host.parse() {
            Ok(ip) => Target::Inet(Host::Ip(ip)),
            Err(_) if is_host_name(host) => Target::Inet(Host::Name(host.to_owned())),
            Err(_) => return alert(format!("`{host}` is neither an address nor a host's name")),
        },
    };
    Ok((target, port))
}
