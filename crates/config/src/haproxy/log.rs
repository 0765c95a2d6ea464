//! `log` lines, here and in `global`, and formats of log lines.

use super::address::{self, is_host_name};
use super::context::{Context, Line, Prefix};
use super::format;
use super::keywords::not_served;
use super::model::{LogFormat, LogFraming, LogTarget, LogTo};
use super::proxy::{Log, Proxy};

/// Syslog facilities, in the order of their numbers.
const FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp", "audit",
    "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Syslog levels, in the order of their numbers.
const LEVELS: &[&str] = &["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Longest line where nothing is said.
const LENGTH: u32 = 1024;

pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if line.prefix != Prefix::None {
        proxy.logs.clear();
        context.ends(line, 1);
        return;
    }
    if line.word(1) == "global" && line.len() == 2 {
        return proxy.logs.push(Log::Global);
    }
    if let Some(target) = read(context, line) {
        proxy.logs.push(Log::Target(target));
    }
}

fn position(list: &[&str], name: &str) -> Option<u8> {
    list.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok())
}

/// Reads `log ADDRESS [len N] [format F] [sample R] FACILITY [LEVEL [MIN]]`.
pub(super) fn read(context: &mut Context<'_>, line: &Line) -> Option<LogTarget> {
    if line.word(1) == "global" {
        context.alert(line, 1, "`log global` stands in other sections than this, and alone");
        return None;
    }
    if line.len() < 3 {
        context.alert(line, 1, "needs an address and a facility, such as /dev/log local0");
        return None;
    }
    let to = target(context, line)?;
    let mut format = match to {
        LogTo::Stdout | LogTo::Stderr | LogTo::Fd(_) => LogFraming::Raw,
        _ => LogFraming::Local,
    };
    let mut length = LENGTH;
    let (mut sample_ranges, mut sample_size) = (Vec::new(), 1);
    let mut at = 2;
    loop {
        match line.word(at) {
            "len" => length = context.whole(line, at + 1, 80, 65535)?,
            "format" => format = framing(context, line, at + 1)?,
            "sample" => (sample_ranges, sample_size) = sampling(context, line, at + 1)?,
            _ => break,
        }
        at += 2;
    }
    let Some(facility) = position(FACILITIES, line.word(at)) else {
        context.alert(line, at, format!("`{}` is no facility, expected one such as local0", line.word(at)));
        return None;
    };
    let mut level = |index: usize, default: u8| match line.word(index) {
        "" => Some(default),
        word => position(LEVELS, word).or_else(|| {
            context.alert(line, index, format!("`{word}` is no level, expected {}", LEVELS.join(", ")));
            None
        }),
    };
    let (most, least) = (level(at + 1, 7)?, level(at + 2, 0)?);
    if !context.ends(line, at + 3) {
        return None;
    }
    Some(LogTarget {
        to,
        length,
        format,
        facility,
        level: most,
        min_level: least,
        sample_ranges,
        sample_size,
        at: line.at(0),
    })
}

fn target(context: &mut Context<'_>, line: &Line) -> Option<LogTo> {
    let text = address::expand(line.word(1), &|name| context.variable(name));
    let wrong = |context: &mut Context<'_>, why: String| {
        context.alert(line, 1, why);
        None
    };
    let text = match text.split_once('@') {
        Some(("fd", number)) => {
            return match number.parse() {
                Ok(fd) => Some(LogTo::Fd(fd)),
                Err(_) => wrong(context, format!("`{number}` is no file descriptor")),
            };
        }
        Some(("ring" | "tcp" | "tcp4" | "tcp6" | "stream+ipv4", _)) => {
            context.refuse(line, 1, not_served("logs go to syslog over UDP, to a socket of this host or to a stream"));
            return None;
        }
        Some(("ipv4" | "ipv6" | "udp" | "udp4" | "udp6" | "dgram+ipv4" | "unix" | "uxdg", rest)) => rest.to_owned(),
        Some((other, _)) => return wrong(context, format!("`{other}@` is no address of a log")),
        None => text,
    };
    match text.as_str() {
        "stdout" => return Some(LogTo::Stdout),
        "stderr" => return Some(LogTo::Stderr),
        _ if text.starts_with('/') => return Some(LogTo::Unix(text)),
        _ => {}
    }
    let (host, port) = match text.parse::<std::net::IpAddr>() {
        Ok(ip) => (ip.to_string(), "514"),
        Err(_) => {
            let (host, port) = text.rsplit_once(':').unwrap_or((&text, "514"));
            (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port)
        }
    };
    let host = if host.is_empty() || host == "*" { "127.0.0.1".to_owned() } else { host };
    let Ok(port) = port.parse() else { return wrong(context, format!("`{port}` is no port")) };
    if host.parse::<std::net::IpAddr>().is_err() && !is_host_name(&host) {
        return wrong(context, format!("`{host}` is neither an address nor a host's name"));
    }
    Some(LogTo::Udp { host, port })
}

fn framing(context: &mut Context<'_>, line: &Line, at: usize) -> Option<LogFraming> {
    Some(match line.word(at) {
        "local" => LogFraming::Local,
        "rfc3164" => LogFraming::Rfc3164,
        "rfc5424" => LogFraming::Rfc5424,
        "priority" => LogFraming::Priority,
        "short" => LogFraming::Short,
        "timed" => LogFraming::Timed,
        "iso" => LogFraming::Iso,
        "raw" => LogFraming::Raw,
        other => {
            context.alert(line, at, format!("`{other}` is no format, expected rfc3164, rfc5424, short or raw"));
            return None;
        }
    })
}

/// `1,3-4:5`: of five lines the first, third and fourth.
fn sampling(context: &mut Context<'_>, line: &Line, at: usize) -> Option<(Vec<(u32, u32)>, u32)> {
    let parsed = line.word(at).split_once(':').and_then(|(ranges, size)| {
        let size: u32 = size.parse().ok().filter(|size| *size > 0)?;
        let mut out = Vec::new();
        for part in ranges.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            out.push((first, last));
            if first == 0 || first > last || last > size {
                return None;
            }
        }
        Some((out, size))
    });
    if parsed.is_none() {
        context.alert(line, at, format!("`{}` is no sampling, expected one such as 1:10", line.word(at)));
    }
    parsed
}

/// `log-format`.
pub(super) fn format(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if !context.ends(line, 2) {
        return;
    }
    if let Some(format) = format::read(context, proxy, line, 1) {
        proxy.log_format = LogFormat::Custom(format);
        proxy.log_format_at = Some(line.at(0));
    }
}

/// `log-tag`.
pub(super) fn tag(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    proxy.front.log_tag = context.needed(line, 1, "a tag");
}
