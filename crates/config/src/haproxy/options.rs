//! `option …`: the table of options, where each may stand, and what it sets.

use super::checks;
use super::context::{Context, Line, Prefix};
use super::keywords::{self, not_served};
use super::model::{ForwardFor, HttpClose, LogFormat, Redispatch};
use super::proxy::{HttpOnly, Proxy};
use super::{acl, units};

type Set = fn(&mut Proxy, bool);

/// What an option does.
pub(super) enum How {
    /// On or off.
    Flag(Set),
    /// Has arguments of its own; the second is whether `no` may stand before it.
    Read(fn(&mut Context<'_>, &mut Proxy, &Line), bool),
    /// On or off, and nothing changes with Baton, for this reason.
    Moot(&'static str),
    /// On or off, and Baton does not do it, for this reason.
    Refused(&'static str),
    /// haproxy 2.6 does not know it any more.
    Gone(&'static str),
}

/// An option.
pub(super) struct Choice {
    pub(super) name: &'static str,
    /// As `Entry::place`.
    pub(super) place: &'static str,
    /// Works in mode http alone.
    pub(super) http: bool,
    pub(super) how: How,
}

const fn choice(name: &'static str, place: &'static str, http: bool, how: How) -> Choice {
    Choice { name, place, http, how }
}

const BOTH: &str = "oooo";
const FRONT: &str = "ooow";
const BACK: &str = "owoo";
const SPLICE: &str = "bytes are always moved by the kernel where it can";

/// Every option.
pub(super) const CHOICES: &[Choice] = &[
    choice("abortonclose", BACK, false, How::Flag(|p, on| p.back.abortonclose = on)),
    choice("accept-invalid-http-request", FRONT, true, How::Refused("invalid requests are refused")),
    choice("accept-invalid-http-response", BACK, true, How::Refused("invalid answers are refused")),
    choice("allbackups", BACK, false, How::Flag(|p, on| p.back.allbackups = on)),
    choice("checkcache", BACK, true, How::Refused("answers are not looked through")),
    choice("clitcpka", FRONT, false, How::Flag(|p, on| p.front.clitcpka = on)),
    choice("contstats", FRONT, false, How::Moot("counters always move with the traffic")),
    choice("disable-h2-upgrade", FRONT, true, How::Moot("there is no upgrade to HTTP/2")),
    choice("dontlog-normal", FRONT, false, How::Flag(|p, on| p.front.dontlog_normal = on)),
    choice("dontlognull", FRONT, false, How::Flag(|p, on| p.front.dontlognull = on)),
    choice("forwardfor", BOTH, true, How::Read(forwardfor, true)),
    choice("h1-case-adjust-bogus-client", FRONT, false, How::Refused("names of headers are not changed")),
    choice("h1-case-adjust-bogus-server", BACK, false, How::Refused("names of headers are not changed")),
    choice("http-buffer-request", BOTH, true, How::Refused("bodies are passed on as they come")),
    choice("http-ignore-probes", FRONT, true, How::Flag(|p, on| p.front.http_ignore_probes = on)),
    choice("http-keep-alive", BOTH, false, How::Flag(|p, _| http_close(p, HttpClose::KeepAlive))),
    choice("http-no-delay", BOTH, true, How::Moot("bytes are passed on without delay")),
    choice("http-pretend-keepalive", BACK, true, How::Moot("servers are always told that connections are kept")),
    choice("http-restrict-req-hdr-names", BOTH, false, How::Read(restrict, false)),
    choice("http-server-close", BOTH, false, How::Flag(|p, on| http_close(p, closes(on, HttpClose::ServerClose)))),
    choice("http-use-proxy-header", FRONT, true, How::Moot("it is for clients of before 1997")),
    choice("httpclose", BOTH, false, How::Flag(|p, on| http_close(p, closes(on, HttpClose::Close)))),
    choice("httpchk", BACK, false, How::Read(checks::option, true)),
    choice("httplog", BOTH, false, How::Read(log_format, true)),
    choice("httpslog", BOTH, false, How::Read(log_format, true)),
    choice("idle-close-on-response", FRONT, true, How::Moot("idle connections end after a stop as they are answered")),
    choice("independent-streams", BOTH, false, How::Refused("both directions count as activity")),
    choice("ldap-check", BACK, false, How::Read(checks::option, true)),
    choice("external-check", BACK, false, How::Read(checks::option, true)),
    choice("log-health-checks", BACK, false, How::Flag(|p, on| p.back.log_health_checks = on)),
    choice("log-separate-errors", FRONT, false, How::Flag(|p, on| p.front.log_separate_errors = on)),
    choice("logasap", FRONT, false, How::Flag(|p, on| p.front.logasap = on)),
    choice("mysql-check", BACK, false, How::Read(checks::option, true)),
    choice("nolinger", BOTH, false, How::Flag(|p, on| (p.front.nolinger, p.back.nolinger) = (on, on))),
    choice("originalto", BOTH, true, How::Refused("servers are not told where the client wanted to go")),
    choice("persist", BACK, false, How::Moot("there are no cookies that could name a dead server")),
    choice("pgsql-check", BACK, false, How::Read(checks::option, true)),
    choice("prefer-last-server", BACK, true, How::Moot("each request goes where `balance` says")),
    choice("redispatch", BACK, false, How::Read(redispatch, true)),
    choice("redis-check", BACK, false, How::Read(checks::option, true)),
    choice("smtpchk", BACK, false, How::Read(checks::option, true)),
    choice("socket-stats", FRONT, false, How::Flag(|p, on| p.front.socket_stats = on)),
    choice("splice-auto", BOTH, false, How::Moot(SPLICE)),
    choice("splice-request", BOTH, false, How::Moot(SPLICE)),
    choice("splice-response", BOTH, false, How::Moot(SPLICE)),
    choice("spop-check", BACK, false, How::Read(checks::option, true)),
    choice("srvtcpka", BACK, false, How::Flag(|p, on| p.back.srvtcpka = on)),
    choice("ssl-hello-chk", BACK, false, How::Read(checks::option, true)),
    choice("tcp-check", BACK, false, How::Read(checks::option, true)),
    choice("tcp-smart-accept", FRONT, false, How::Moot("the kernel decides about its acknowledgements")),
    choice("tcp-smart-connect", BACK, false, How::Moot("the kernel decides about its acknowledgements")),
    choice("tcpka", BOTH, false, How::Read(tcpka, false)),
    choice("tcplog", BOTH, false, How::Read(log_format, false)),
    choice("transparent", BACK, false, How::Refused("a `server` with the address `*` says the same")),
    choice("forceclose", BOTH, false, How::Gone("`option httpclose`")),
    choice("http-tunnel", BOTH, false, How::Gone("nothing in its place")),
];

fn closes(on: bool, how: HttpClose) -> HttpClose {
    if on { how } else { HttpClose::KeepAlive }
}

fn http_close(proxy: &mut Proxy, how: HttpClose) {
    proxy.front.http_close = how;
    proxy.back.http_close = how;
}

/// Reads one `option`.
pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let name = line.word(1);
    if name.is_empty() {
        return context.alert(line, 0, "needs the name of an option");
    }
    let Some(choice) = CHOICES.iter().find(|choice| choice.name == name) else {
        return context.alert(line, 1, format!("`{name}` is no option"));
    };
    if let How::Gone(instead) = choice.how {
        return context.alert(line, 1, format!("is gone since haproxy 2.1 or earlier, expected {instead}"));
    }
    let negatable = !matches!(choice.how, How::Read(_, false)) && !checks::KINDS.contains(&name);
    if line.prefix != Prefix::None && (!negatable || matches!(name, "forwardfor" | "httplog" | "httpslog")) {
        return context.alert(line, 0, "`no` and `default` may not stand before this option");
    }
    let full = format!("option {name}");
    if !keywords::placed(context, proxy, line, &full, choice.place) {
        return;
    }
    context.used(&full, line.at(0), &proxy.name);
    let on = line.prefix == Prefix::None;
    if choice.http {
        let refused = match choice.how {
            How::Refused(why) => Some(why),
            _ => None,
        };
        note(proxy, line, &full, choice, on, refused);
    }
    match choice.how {
        How::Flag(set) => {
            context.ends(line, 2);
            set(proxy, on);
        }
        How::Read(read, _) => read(context, proxy, line),
        How::Moot(_) => {
            context.ends(line, 2);
        }
        How::Refused(why) if on && !choice.http => context.refuse(line, 1, not_served(why)),
        How::Refused(_) | How::Gone(_) => {}
    }
}

/// An option that only means anything in mode http.
fn note(proxy: &mut Proxy, line: &Line, full: &str, choice: &Choice, on: bool, refused: Option<&'static str>) {
    proxy.http_only.retain(|other| other.name != full);
    if on {
        let (front, back) = (choice.place != BACK, choice.place != FRONT);
        let at = line.at(0);
        proxy.http_only.push(HttpOnly { name: full.to_owned(), at, front, back, silent: false, refused });
    }
}

fn log_format(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    proxy.log_format = match (line.word(1), line.word(2)) {
        ("tcplog", "") => LogFormat::Tcp,
        ("httplog", "") => LogFormat::Http(false),
        ("httplog", "clf") => LogFormat::Http(true),
        ("httpslog", "") => {
            let why = "there is no TLS whose details could be logged; `option httplog` logs the rest";
            return super::keywords::http_only(proxy, line, "option httpslog", Some(why));
        }
        (_, other) => return context.alert(line, 2, format!("`{other}` is one word too many")),
    };
    proxy.log_format_at = Some(line.at(0));
}

fn restrict(context: &mut Context<'_>, _: &mut Proxy, line: &Line) {
    match line.word(2) {
        "preserve" => {}
        "delete" | "reject" => context.refuse(line, 2, not_served("names of headers are left as they are")),
        other => context.alert(line, 2, format!("`{other}` is not preserve, delete or reject")),
    }
}

fn tcpka(_: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let on = line.prefix == Prefix::None;
    (proxy.front.clitcpka, proxy.back.srvtcpka) = (on, on);
}

fn redispatch(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if line.prefix != Prefix::None {
        proxy.back.redispatch = Redispatch::Never;
        return;
    }
    proxy.back.redispatch = match line.word(2) {
        "" => Redispatch::FromEnd(1),
        word => match units::whole::<i64>(word, -i64::from(u16::MAX), i64::from(u16::MAX)) {
            Ok(0) => Redispatch::Never,
            Ok(n) if n > 0 => Redispatch::Every(u32::try_from(n).unwrap_or(1)),
            Ok(n) => Redispatch::FromEnd(u32::try_from(-n).unwrap_or(1)),
            Err(wrong) => return context.alert(line, 2, wrong),
        },
    };
    context.ends(line, 3);
}

fn forwardfor(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let mut value = ForwardFor { header: "X-Forwarded-For".into(), except: None, if_none: false };
    let mut at = 2;
    while at < line.len() {
        match line.word(at) {
            "except" => {
                match acl::net(line.word(at + 1)) {
                    Some(net) => value.except = Some(net),
                    None => return context.alert(line, at + 1, "`except` needs an address or a network"),
                }
                at += 2;
            }
            "header" => {
                let Some(header) = context.needed(line, at + 1, "the name of a header") else { return };
                value.header = header;
                at += 2;
            }
            "if-none" => {
                value.if_none = true;
                at += 1;
            }
            other => {
                let text = format!("`{other}` is not known here, expected except, header or if-none");
                return context.alert(line, at, text);
            }
        }
    }
    proxy.front.forward_for = Some(value.clone());
    proxy.back.forward_for = Some(value);
}
