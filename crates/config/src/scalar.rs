//! Text → typed values, by YAML's rules in files and by Go's in flags and environment.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use baton_core::strconv::parse_bool;

use crate::keys::Shape;
use crate::tree::Value;

/// Where a text comes from decides what it can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Unquoted in a file.
    Plain,
    /// Quoted in a file: it is text, never a number or boolean.
    Quoted,
    /// From a flag or the environment.
    Outside,
}

/// Why a text is not a value.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) what: &'static str,
    pub(crate) expected: String,
}

/// Reads a scalar. `Ok(None)`: not given.
pub(crate) fn read(text: &str, style: Style, shape: &Shape) -> Result<Option<Value>, Wrong> {
    if is_nothing(text, style == Style::Plain) {
        return Ok(None);
    }
    let wrong = |what| Wrong { what, expected: expects(shape, style) };
    let value = match shape {
        Shape::Text => Value::Text(text.to_owned()),
        Shape::Bool => Value::Bool(bool(text, style).ok_or_else(|| wrong(not_bool(text, style)))?),
        Shape::Int(min, max) => Value::Int(int(text, style, *min, *max).map_err(wrong)?),
        Shape::Time(min, max, off) => time(text, *min, *max, *off).map_err(wrong)?,
        Shape::Ip => Value::Ip(ip(text).map_err(wrong)?),
        Shape::Listen => listen(text).ok_or_else(|| wrong("is not an address to listen on"))?,
        Shape::Choice(names) => {
            let name = names.iter().find(|name| name.eq_ignore_ascii_case(text));
            if text.eq_ignore_ascii_case("udp") {
                return Err(wrong("is a type that is not balanced, and never worked in kube-vip 0.1 either"));
            }
            Value::Text((*name.ok_or_else(|| wrong("is not a known type"))?).to_owned())
        }
        Shape::Statuses => Value::Statuses(vec![status(text).ok_or_else(|| wrong("is not an HTTP status"))?]),
        Shape::Map(_) | Shape::List(..) | Shape::Either(_) | Shape::Any => return Err(wrong("is a single value")),
    };
    Ok(Some(value))
}

/// Whether a scalar is "not given".
pub(crate) fn is_nothing(text: &str, plain: bool) -> bool {
    text.is_empty() || (plain && matches!(text, "~" | "null" | "Null" | "NULL"))
}

/// What a shape wants, for people.
pub(crate) fn expects(shape: &Shape, style: Style) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Bool if style == Style::Outside => {
            "1, t, T, true, True, TRUE, 0, f, F, false, False or FALSE".to_owned()
        }
        Shape::Bool => "true or false".to_owned(),
        Shape::Int(min, max) => format!("a whole number from {min} to {max}"),
        Shape::Time(min, max, off) => {
            let off = if *off { ", or off" } else { "" };
            format!("a duration from {} to {}{off}", duration(*min), duration(*max))
        }
        Shape::Ip => "an IPv4 or IPv6 address such as 192.0.2.10".to_owned(),
        Shape::Listen => "address:port such as 127.0.0.1:2112, :2112 for all addresses, or off".to_owned(),
        Shape::Choice(names) => format!("one of {}", names.join(", ")),
        Shape::Statuses => "a status such as 200, a range such as 200-399, or a list of them".to_owned(),
        Shape::Map(keys) => {
            let names: Vec<&str> =
                keys.iter().filter(|k| !matches!(k.standing, crate::keys::Standing::Idle(_))).map(|k| k.name).collect();
            format!("a mapping with keys such as {}", names[..names.len().min(3)].join(", "))
        }
        Shape::List(of, _) => format!("a list, each item {}", expects(of, style)),
        Shape::Either(shapes) => shapes.iter().map(|s| expects(s, style)).collect::<Vec<_>>().join(", or "),
        Shape::Any => "anything".to_owned(),
    }
}

/// A duration as it would be written.
pub(crate) fn duration(d: Duration) -> String {
    let millis = d.as_millis();
    match millis {
        0 if !d.is_zero() => format!("{}us", d.as_micros()),
        _ if !millis.is_multiple_of(1000) => format!("{millis}ms"),
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ => format!("{}s", millis / 1000),
    }
}

fn bool(text: &str, style: Style) -> Option<bool> {
    match (style, text) {
        (Style::Outside, _) => parse_bool(text),
        (Style::Plain, "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "y" | "Y" | "on" | "On" | "ON") => Some(true),
        (Style::Plain, "false" | "False" | "FALSE" | "no" | "No" | "NO" | "n" | "N" | "off" | "Off" | "OFF") => {
            Some(false)
        }
        _ => None,
    }
}

fn not_bool(text: &str, style: Style) -> &'static str {
    if style == Style::Quoted && bool(text, Style::Plain).is_some() {
        "is quoted, so it is text and not a boolean"
    } else {
        "is not a boolean"
    }
}

fn int(text: &str, style: Style, min: u64, max: u64) -> Result<u64, &'static str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not a whole number");
    }
    if style == Style::Quoted {
        return Err("is quoted, so it is text and not a number");
    }
    if style == Style::Plain && digits.len() > 1 && digits.starts_with('0') {
        return Err("begins with a zero, which some readers take for octal");
    }
    let number: Option<u64> = digits.parse().ok().filter(|n| *n == 0 || !text.starts_with('-'));
    number.filter(|n| (min..=max).contains(n)).ok_or("is out of range")
}

fn time(text: &str, min: Duration, max: Duration, off: bool) -> Result<Value, &'static str> {
    if off && text.eq_ignore_ascii_case("off") {
        return Ok(Value::Off);
    }
    if text != "0" && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err("has no unit");
    }
    let time = if text == "0" { Duration::ZERO } else { parse_duration(text).ok_or("is not a duration")? };
    if (min..=max).contains(&time) { Ok(Value::Time(time)) } else { Err("is out of range") }
}

/// Go's notation: `500ms`, `1.5s`, `1m30s`.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, more) = rest.split_at(number);
        let unit = more.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(more.len());
        let (unit, more) = more.split_at(unit);
        let scale: u64 = match unit {
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') || part.len() > 9 {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos = nanos.checked_add(whole.checked_mul(scale)?)?;
        if !part.is_empty() {
            let tenths = 10u64.pow(u32::try_from(part.len()).ok()?);
            nanos = nanos.checked_add(
                part.parse::<u64>().ok()?.checked_mul(scale.min(1_000_000_000))? / tenths
                    * (scale / scale.min(1_000_000_000)),
            )?;
        }
        rest = more;
    }
    Some(Duration::from_nanos(nanos))
}

fn ip(text: &str) -> Result<IpAddr, &'static str> {
    if text.contains(',') {
        return Err("is more than one address (several go into vips)");
    }
    if let Some((address, _)) = text.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        return Err("has a prefix length (it goes into prefix)");
    }
    if text.contains('%') {
        return Err("is an address with a zone");
    }
    let ip: IpAddr = text.parse().map_err(|_| "is not an IP address")?;
    Ok(ip.to_canonical())
}

fn listen(text: &str) -> Option<Value> {
    if text.eq_ignore_ascii_case("off") || text.eq_ignore_ascii_case("false") {
        return Some(Value::Off);
    }
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().ok().filter(|port| *port != 0)?;
        return Some(Value::Socket(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)));
    }
    let socket: SocketAddr = text.parse().ok()?;
    (socket.port() != 0).then_some(Value::Socket(socket))
}

/// `200` or `200-399`.
pub(crate) fn status(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|n| (100..=599).contains(n));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(host) => host,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port))
}
