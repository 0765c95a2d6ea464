//! The words of `server` and `default-server` lines.

use super::address::{self, Wrong};
use super::context::{Context, Line};
use super::keywords::not_served;
use super::model::{InitAddr, MarkedDown, MarkedUp, Observe, OnError, ProxyVersion, Target};
use super::server::{Draft, read_source};
use super::{names, units};

/// Most of anything that is counted in 32 bits.
const COUNT_MAX: i64 = i32::MAX as i64;

/// Reads one word; how many arguments it took. `None`: the line is wrong, and that was said.
pub(super) fn read(context: &mut Context<'_>, line: &Line, at: usize, draft: &mut Draft) -> Option<usize> {
    if let Some(taken) = flag(line.word(at), draft) {
        return Some(taken);
    }
    if let Some(taken) = check(context, line, at, draft)? {
        return Some(taken);
    }
    if let Some(taken) = traffic(context, line, at, draft)? {
        return Some(taken);
    }
    if let Some(taken) = connection(context, line, at, draft)? {
        return Some(taken);
    }
    unknown(context, line, at)
}

/// Words without arguments.
fn flag(name: &str, draft: &mut Draft) -> Option<usize> {
    match name {
        "check" => draft.check = true,
        "no-check" => draft.check = false,
        "backup" => draft.backup = true,
        "no-backup" => draft.backup = false,
        "disabled" => draft.disabled = true,
        "enabled" => draft.disabled = false,
        "check-ssl" => draft.check_tls = true,
        "no-check-ssl" => draft.check_tls = false,
        "check-send-proxy" => draft.check_send_proxy = true,
        "no-check-send-proxy" => draft.check_send_proxy = false,
        "agent-check" => draft.agent = true,
        "no-agent-check" => draft.agent = false,
        "send-proxy" => draft.send_proxy = Some(ProxyVersion::V1),
        "send-proxy-v2" => draft.send_proxy = Some(ProxyVersion::V2),
        "no-send-proxy" | "no-send-proxy-v2" => draft.send_proxy = None,
        "ssl" => draft.tls = true,
        "no-ssl" => draft.tls = false,
        "tfo" => draft.tfo = true,
        "no-tfo" => draft.tfo = false,
        "non-stick" => draft.non_stick = true,
        "stick" => draft.non_stick = false,
        // Sessions of TLS are resumed where the server allows it; tickets are not asked for.
        "ssl-reuse" | "no-ssl-reuse" | "tls-tickets" | "no-tls-tickets" => {}
        // Versions of TLS that are never spoken.
        "no-sslv3" | "no-tlsv10" | "no-tlsv11" => {}
        _ => return None,
    }
    Some(0)
}

type Taken = Option<Option<usize>>;

/// Words about checks.
fn check(context: &mut Context<'_>, line: &Line, at: usize, draft: &mut Draft) -> Taken {
    let value = at + 1;
    match line.word(at) {
        "inter" => draft.inter = Some(interval(context, line, value)?),
        "fastinter" => draft.fastinter = Some(interval(context, line, value)?),
        "downinter" => draft.downinter = Some(interval(context, line, value)?),
        "agent-inter" => draft.agent_inter = Some(interval(context, line, value)?),
        "rise" => draft.rise = context.whole(line, value, 1, COUNT_MAX)?,
        "fall" => {
            draft.fall = context.whole(line, value, 1, COUNT_MAX)?;
            draft.fall_given = true;
        }
        "port" => {
            context.needed(line, value, "a port")?;
            draft.check_port = context.whole::<u16>(line, value, 0, 65535).filter(|port| *port > 0);
        }
        "addr" => draft.check_address = Some(target(context, line, value)?),
        "check-sni" => draft.check_sni = Some(context.needed(line, value, "a name")?),
        "check-alpn" => draft.check_alpn = protocols(context, line, value)?,
        "agent-port" => draft.agent_port = Some(context.whole(line, value, 1, 65535)?),
        "agent-addr" => draft.agent_address = Some(target(context, line, value)?),
        "agent-send" => draft.agent_send = Some(context.needed(line, value, "a text")?),
        "track" => draft.track = Some(context.needed(line, value, "a server, as backend/server")?),
        "observe" => {
            draft.observe = Some(match line.word(value) {
                "layer4" => Observe::Layer4,
                "layer7" => Observe::Layer7,
                other => return choice(context, line, value, other, "layer4 or layer7"),
            });
        }
        "error-limit" => draft.error_limit = context.whole(line, value, 1, COUNT_MAX)?,
        "on-error" => {
            draft.on_error = match line.word(value) {
                "fastinter" => OnError::Fastinter,
                "fail-check" => OnError::FailCheck,
                "sudden-death" => OnError::SuddenDeath,
                "mark-down" => OnError::MarkDown,
                other => {
                    return choice(context, line, value, other, "fastinter, fail-check, sudden-death or mark-down");
                }
            };
        }
        "on-marked-down" => match line.word(value) {
            "shutdown-sessions" => draft.on_marked_down = Some(MarkedDown::ShutdownSessions),
            other => return choice(context, line, value, other, "shutdown-sessions"),
        },
        "on-marked-up" => match line.word(value) {
            "shutdown-backup-sessions" => draft.on_marked_up = Some(MarkedUp::ShutdownBackupSessions),
            other => return choice(context, line, value, other, "shutdown-backup-sessions"),
        },
        _ => return Some(None),
    }
    Some(Some(1))
}

/// Words about how much traffic a server gets.
fn traffic(context: &mut Context<'_>, line: &Line, at: usize, draft: &mut Draft) -> Taken {
    let value = at + 1;
    match line.word(at) {
        "weight" => {
            let weight = units::number(line.word(value));
            let Ok(weight @ 0..=256) = u16::try_from(weight) else {
                context.alert(line, value, format!("the weight {weight} is not from 0 to 256"));
                return None;
            };
            if line.word(value).parse::<u16>().is_err() {
                context.warn(line, value, format!("`{}` is no number, 0 is taken", line.word(value)));
            }
            draft.weight = weight;
        }
        "maxconn" => draft.maxconn = limit(context, line, value)?,
        "minconn" => draft.minconn = limit(context, line, value)?,
        "maxqueue" => draft.maxqueue = limit(context, line, value)?,
        "slowstart" => draft.slowstart = Some(context.time_in(line, value, 1000)?).filter(|time| !time.is_zero()),
        "id" if line.word(0) == "default-server" => {
            context.warn(line, at, "is not read here: each server has an id of its own");
        }
        "id" => draft.id = Some(context.whole(line, value, 1, COUNT_MAX)?),
        "cookie" => {
            context.needed(line, value, "a value")?;
            draft.cookie = Some(line.at(at));
        }
        // How many idle connections are kept for HTTP: they are not shared.
        "pool-low-conn" | "pool-max-conn" | "pool-purge-delay" | "max-reuse" => {
            context.needed(line, value, "a value")?;
        }
        _ => return Some(None),
    }
    Some(Some(1))
}

/// Words about connections and addresses.
fn connection(context: &mut Context<'_>, line: &Line, at: usize, draft: &mut Draft) -> Taken {
    let value = at + 1;
    match line.word(at) {
        "source" => {
            let (source, end) = read_source(context, line, value)?;
            draft.source = Some(source);
            return Some(Some(end - at - 1));
        }
        "tcp-ut" => draft.tcp_ut = Some(context.time(line, value)?),
        "verify" => {
            draft.verify = Some(match line.word(value) {
                "none" => false,
                "required" => true,
                other => return choice(context, line, value, other, "none or required"),
            });
        }
        "ca-file" => draft.ca_file = Some(context.needed(line, value, "a file")?),
        "crt" => draft.crt = Some(context.needed(line, value, "a file")?),
        "verifyhost" => draft.verify_host = Some(context.needed(line, value, "a name")?),
        "alpn" => draft.alpn = protocols(context, line, value)?,
        "sni" => {
            let text = context.needed(line, value, "a name, as str(name)")?;
            match text.strip_prefix("str(").and_then(|rest| rest.strip_suffix(')')) {
                Some(name) => draft.sni = Some(name.to_owned()),
                None => context.refuse(line, value, not_served("the name that is asked for is fixed: str(name)")),
            }
        }
        "resolvers" => {
            let name = context.needed(line, value, "a section")?;
            draft.resolvers = Some((name, line.at(value)));
        }
        "resolve-prefer" => match line.word(value) {
            "ipv4" => draft.resolve_prefer_v4 = true,
            "ipv6" => draft.resolve_prefer_v4 = false,
            other => return choice(context, line, value, other, "ipv4 or ipv6"),
        },
        "resolve-opts" => match line.word(value) {
            "ignore-weight" => {}
            other => context.refuse(line, value, format!("`{other}` {}", not_served("each server has one address"))),
        },
        "init-addr" => draft.init_addr = init_addr(context, line, value)?,
        _ => return Some(None),
    }
    Some(Some(1))
}

fn choice<T>(context: &mut Context<'_>, line: &Line, at: usize, found: &str, expected: &str) -> Option<T> {
    context.alert(line, at, format!("`{found}` is not known here, expected {expected}"));
    None
}

fn interval(context: &mut Context<'_>, line: &Line, at: usize) -> Option<std::time::Duration> {
    let time = context.time(line, at)?;
    if time.is_zero() {
        context.alert(line, at, "an interval of 0 is none");
        return None;
    }
    Some(time)
}

/// 0 is "no limit".
fn limit(context: &mut Context<'_>, line: &Line, at: usize) -> Option<Option<u32>> {
    context.whole::<u32>(line, at, 0, COUNT_MAX).map(|n| Some(n).filter(|n| *n > 0))
}

fn protocols(context: &mut Context<'_>, line: &Line, at: usize) -> Option<Vec<String>> {
    let text = context.needed(line, at, "protocols, such as h2,http/1.1")?;
    Some(text.split(',').map(str::to_owned).collect())
}

fn target(context: &mut Context<'_>, line: &Line, at: usize) -> Option<Target> {
    let text = context.needed(line, at, "an address")?;
    let text = address::expand(&text, &|name| context.variable(name));
    match address::server(&text) {
        Ok((target, _)) => Some(target),
        Err(Wrong::Alert(why)) => {
            context.alert(line, at, why);
            None
        }
        Err(Wrong::Refused(why)) => {
            context.refuse(line, at, why);
            None
        }
    }
}

fn init_addr(context: &mut Context<'_>, line: &Line, at: usize) -> Option<Vec<InitAddr>> {
    let text = context.needed(line, at, "last, libc, none or an address")?;
    let mut out = Vec::new();
    for part in text.split(',') {
        out.push(match part {
            "last" => InitAddr::Last,
            "libc" => InitAddr::Libc,
            "none" => InitAddr::None,
            _ => match part.parse() {
                Ok(ip) => InitAddr::Ip(ip),
                Err(_) => return choice(context, line, at, part, "last, libc, none or an address"),
            },
        });
    }
    Some(out)
}

fn unknown(context: &mut Context<'_>, line: &Line, at: usize) -> Option<usize> {
    let name = line.word(at);
    let Some((_, arity)) = names::SERVER.iter().find(|(known, _)| *known == name) else {
        context.alert(line, at, format!("`{name}` is not known on a `{}` line", line.word(0)));
        return None;
    };
    let why = match name {
        "namespace" => "sockets are opened in Baton's own network namespace",
        "socks4" | "check-via-socks4" => "servers are reached directly",
        "redir" => "requests are answered by servers, not redirected",
        "proto" | "check-proto" | "ws" => "servers are spoken to in HTTP/1",
        "log-proto" => "logs go to syslog over UDP",
        "resolve-net" => "names are resolved to addresses of any network",
        "usesrc" => "it belongs behind `source`",
        "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" | "proxy-v2-options" => {
            "TLS ends at the servers, so there is nothing to tell about it; `send-proxy-v2` is served"
        }
        _ => "TLS to servers is spoken in versions 1.2 and 1.3 with rustls' ciphers",
    };
    context.refuse(line, at, format!("`{name}` {}", not_served(why)));
    Some(*arity)
}
