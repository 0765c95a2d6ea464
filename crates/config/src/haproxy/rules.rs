//! `tcp-request`, `tcp-response`, `http-request`, `http-response`, `redirect`, `use_backend`, `use-server`.

use super::acl::{self, PHASE_CONNECTION, PHASE_CONTENT};
use super::context::{Context, Line};
use super::format;
use super::keywords::not_served;
use super::model::{HttpAction, HttpRule, RedirectKind, Switch, TcpAction, TcpRule, UseServer};
use super::proxy::{Kind, Proxy, Reference, To};
use super::sample::Needs;

pub(super) fn tcp_request(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let front = proxy.kind != Kind::Backend;
    let phase = match line.word(1) {
        "" => return context.alert(line, 0, "expected connection, session, content or inspect-delay"),
        "inspect-delay" => {
            context.used("tcp-request inspect-delay", line.at(0), &proxy.name);
            let delay = context.time(line, 2);
            context.ends(line, 3);
            (proxy.front.inspect_delay, proxy.back.inspect_delay) = (delay, delay);
            return;
        }
        "connection" | "session" if !front => {
            let text = format!("{} has no side towards clients, expected tcp-request content", proxy.title());
            return context.alert(line, 1, text);
        }
        "connection" | "session" => PHASE_CONNECTION,
        "content" => PHASE_CONTENT,
        other => {
            let text = format!("`{other}` is not known here, expected connection, session, content or inspect-delay");
            return context.alert(line, 1, text);
        }
    };
    context.used(&format!("tcp-request {} {}", line.word(1), line.word(2)), line.at(0), &proxy.name);
    let Some((action, next)) = tcp_action(context, proxy, line) else { return };
    let Some(condition) = acl::condition(context, proxy, line, next, phase) else { return };
    let rule = TcpRule { action, condition, at: line.at(0) };
    match (line.word(1), proxy.kind) {
        ("connection", _) => proxy.front.connection_rules.push(rule),
        ("session", _) => proxy.front.session_rules.push(rule),
        (_, Kind::Backend) => proxy.back.content_rules.push(rule),
        // Those of a `listen` are looked at once, on the client's side.
        (_, Kind::Defaults) => {
            proxy.front.content_rules.push(rule.clone());
            proxy.back.content_rules.push(rule);
        }
        _ => proxy.front.content_rules.push(rule),
    }
}

/// The action from the third word on, and where it ends.
fn tcp_action(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) -> Option<(TcpAction, usize)> {
    const KNOWN: &[&str] = &[
        "capture",
        "do-resolve",
        "expect-netscaler-cip",
        "ot-group",
        "sc-inc-gpc",
        "sc-inc-gpc0",
        "sc-inc-gpc1",
        "sc-set-gpt",
        "sc-set-gpt0",
        "send-spoe-group",
        "set-dst",
        "set-dst-port",
        "set-log-level",
        "set-mark",
        "set-nice",
        "set-priority-class",
        "set-priority-offset",
        "set-src",
        "set-src-port",
        "set-tos",
        "set-var",
        "set-var-fmt",
        "switch-mode",
        "unset-var",
        "use-service",
    ];
    let word = line.word(2);
    Some(match word {
        "accept" => (TcpAction::Accept, 3),
        "reject" => (TcpAction::Reject, 3),
        "close" if line.word(0) == "tcp-response" => (TcpAction::Close, 3),
        "silent-drop" => (TcpAction::SilentDrop, 3),
        "expect-proxy" if line.word(1) == "connection" => {
            if line.word(3) != "layer4" {
                context.alert(line, 3, "expected `expect-proxy layer4`");
                return None;
            }
            (TcpAction::ExpectProxy, 4)
        }
        _ if word.starts_with("track-sc") => return track(context, proxy, line),
        _ => {
            let name = word.split('(').next().unwrap_or(word);
            match KNOWN.contains(&name) {
                true => context.refuse(line, 2, format!("`{name}` is not served by Baton")),
                false => context.alert(line, 2, format!("`{word}` is no action, expected accept or reject")),
            }
            return None;
        }
    })
}

/// `track-sc0 KEY [table NAME]`.
fn track(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) -> Option<(TcpAction, usize)> {
    let counter = match line.word(2).strip_prefix("track-sc").and_then(|n| n.parse::<u8>().ok()) {
        Some(counter @ 0..3) => counter,
        _ => {
            context.alert(line, 2, format!("`{}` is none of track-sc0, track-sc1 and track-sc2", line.word(2)));
            return None;
        }
    };
    context.needed(line, 3, "what is counted, such as src")?;
    let (key, _) = acl::sample(context, proxy, line, 3)?;
    let (table, next) = match line.word(4) {
        "table" => (Some(context.needed(line, 5, "the section of a table")?), 6),
        _ => (None, 4),
    };
    proxy.references.push(Reference { at: line.at(2), key: line.key(), to: To::Table(table.clone()) });
    Some((TcpAction::Track { counter, key, table }, next))
}

pub(super) fn tcp_response(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    match line.word(1) {
        "inspect-delay" => {
            context.time(line, 2);
            context.refuse(line, 1, not_served("answers are not waited for: rules see what is there"));
        }
        "content" => {
            context.used(&format!("tcp-response content {}", line.word(2)), line.at(0), &proxy.name);
            let Some((action, next)) = tcp_action(context, proxy, line) else { return };
            let Some(condition) = acl::condition(context, proxy, line, next, PHASE_CONTENT) else { return };
            proxy.back.response_rules.push(TcpRule { action, condition, at: line.at(0) });
        }
        other => context.alert(line, 1, format!("`{other}` is not known here, expected content or inspect-delay")),
    }
}

pub(super) fn http_request(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    http_rule(context, proxy, line, true);
}

pub(super) fn http_response(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    http_rule(context, proxy, line, false);
}

fn http_rule(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line, request: bool) {
    if line.len() < 2 {
        return context.alert(line, 0, "needs an action");
    }
    context.used(&line.key(), line.at(0), &proxy.name);
    let Some((action, next)) = http_action(context, proxy, line, request) else { return };
    let Some(condition) = acl::condition(context, proxy, line, next, PHASE_CONTENT) else { return };
    let rule = HttpRule { action, condition, at: line.at(0) };
    if proxy.kind.is_front() || proxy.kind == Kind::Defaults {
        let rules = if request { &mut proxy.front.http_rules } else { &mut proxy.front.http_response_rules };
        rules.push(rule.clone());
    }
    if matches!(proxy.kind, Kind::Backend | Kind::Defaults) {
        let rules = if request { &mut proxy.back.http_rules } else { &mut proxy.back.http_response_rules };
        rules.push(rule);
    }
}

fn http_action(
    context: &mut Context<'_>,
    proxy: &mut Proxy,
    line: &Line,
    request: bool,
) -> Option<(HttpAction, usize)> {
    let word = line.word(1);
    Some(match word {
        "allow" => (HttpAction::Allow, 2),
        "silent-drop" => (HttpAction::SilentDrop, 2),
        "deny" => match line.word(2) {
            "deny_status" | "status" => (HttpAction::Deny(context.whole(line, 3, 200, 599)?), 4),
            "" | "if" | "unless" => (HttpAction::Deny(if request { 403 } else { 502 }), 2),
            _ => {
                context.refuse(line, 2, not_served("a denial has a status alone; `http-request return` has a text"));
                return None;
            }
        },
        "return" if request => returned(context, proxy, line)?,
        "redirect" if request => redirection(context, proxy, line, 2)?,
        "set-header" | "add-header" => {
            let name = context.needed(line, 2, "a header and a value")?;
            let value = format::read(context, proxy, line, 3)?;
            match word {
                "set-header" => (HttpAction::SetHeader(name, value), 4),
                _ => (HttpAction::AddHeader(name, value), 4),
            }
        }
        "del-header" => {
            let name = context.needed(line, 2, "a header")?;
            if line.word(3) == "-m" {
                context.refuse(line, 3, not_served("a header is named as a whole"));
                return None;
            }
            (HttpAction::DelHeader(name), 3)
        }
        "use-service" if request => match line.word(2) {
            "prometheus-exporter" => (HttpAction::PrometheusExporter, 3),
            other => {
                context.alert(line, 2, format!("`{other}` is no service, expected prometheus-exporter"));
                return None;
            }
        },
        _ => {
            let name = word.split('(').next().unwrap_or(word);
            match is_known(name, request) {
                true => context.refuse(line, 1, format!("`{name}` is not served by Baton")),
                false => context.alert(line, 1, format!("`{word}` is no action")),
            }
            return None;
        }
    })
}

/// Actions that haproxy has.
fn is_known(name: &str, request: bool) -> bool {
    const BOTH: &str = "add-acl capture del-acl del-map do-resolve ot-group redirect replace-header replace-value return \
        sc-inc-gpc sc-inc-gpc0 sc-inc-gpc1 sc-set-gpt sc-set-gpt0 send-spoe-group set-log-level set-map set-mark set-nice \
        set-tos set-var set-var-fmt strict-mode track-sc0 track-sc1 track-sc2 unset-var wait-for-body";
    const REQUEST: &str = "auth cache-use disable-l7-retry early-hint normalize-uri reject replace-path replace-pathq \
        replace-uri set-dst set-dst-port set-method set-path set-pathq set-priority-class set-priority-offset set-query \
        set-src set-src-port set-timeout set-uri tarpit use-service wait-for-handshake";
    const RESPONSE: &str = "cache-store set-status";
    let has = super::names::has;
    has(BOTH, name) || has(if request { REQUEST } else { RESPONSE }, name)
}

/// `return status N content-type T string S hdr N V`.
fn returned(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) -> Option<(HttpAction, usize)> {
    let (mut status, mut content_type, mut body, mut headers) = (200, None, None, Vec::new());
    let mut at = 2;
    loop {
        match line.word(at) {
            "status" => status = context.whole(line, at + 1, 200, 599)?,
            "content-type" => content_type = Some(context.needed(line, at + 1, "a type")?),
            "string" => {
                let text = context.needed(line, at + 1, "a text")?;
                body = Some(format::plain(text));
            }
            "lf-string" => body = Some(format::read(context, proxy, line, at + 1)?),
            "file" => {
                let path = context.needed(line, at + 1, "a file")?;
                match (context.outside.load)(&path) {
                    Ok(text) => body = Some(format::plain(text)),
                    Err(why) => context.alert(line, at + 1, format!("the file {path} cannot be read: {why}")),
                }
            }
            "hdr" => {
                let name = context.needed(line, at + 1, "a header")?;
                headers.push((name, format::read(context, proxy, line, at + 2)?));
                at += 1;
            }
            "errorfile" | "errorfiles" | "lf-file" | "default-errorfiles" => {
                context.refuse(line, at, not_served("an answer is a text or a file with a body"));
                return None;
            }
            _ => return Some((HttpAction::Return { status, content_type, body, headers }, at)),
        }
        at += 2;
    }
}

/// `location TO`, `prefix TO`, `scheme TO`, with `code N`.
fn redirection(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line, first: usize) -> Option<(HttpAction, usize)> {
    let (mut kind, mut to, mut status) = (RedirectKind::Location, None, 302);
    let mut at = first;
    loop {
        let found = match line.word(at) {
            "location" => Some(RedirectKind::Location),
            "prefix" => Some(RedirectKind::Prefix),
            "scheme" => Some(RedirectKind::Scheme),
            _ => None,
        };
        match (found, line.word(at)) {
            (Some(found), _) => {
                kind = found;
                to = Some(format::read(context, proxy, line, at + 1)?);
                at += 2;
            }
            (None, "code") => {
                status = context.whole(line, at + 1, 301, 308)?;
                if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                    context.alert(line, at + 1, "expected 301, 302, 303, 307 or 308");
                }
                at += 2;
            }
            (None, "drop-query" | "append-slash" | "set-cookie" | "clear-cookie" | "ignore-empty") => {
                context.refuse(line, at, not_served("a redirection has a target and a status"));
                return None;
            }
            _ => break,
        }
    }
    match to {
        Some(to) => Some((HttpAction::Redirect { kind, status, to }, at)),
        None => {
            context.alert(line, first, "needs location, prefix or scheme");
            None
        }
    }
}

pub(super) fn redirect(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let Some((action, next)) = redirection(context, proxy, line, 1) else { return };
    let Some(condition) = acl::condition(context, proxy, line, next, PHASE_CONTENT) else { return };
    let rule = HttpRule { action, condition, at: line.at(0) };
    match proxy.kind {
        Kind::Backend => proxy.back.http_rules.push(rule),
        _ => proxy.front.http_rules.push(rule),
    }
}

pub(super) fn use_backend(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let Some(backend) = context.needed(line, 1, "the name of a backend") else { return };
    if backend.contains("%[") {
        let name = backend.split("%[").nth(1).and_then(|rest| rest.split([',', '(', ']']).next()).unwrap_or("");
        let known = super::names::has(super::names::FETCHES, name);
        return match known {
            true => context.refuse(line, 1, not_served("a backend has a fixed name")),
            false => context.alert(line, 1, format!("`{name}` is no sample")),
        };
    }
    let Some(condition) = acl::condition(context, proxy, line, 2, Needs::Request) else { return };
    proxy.references.push(Reference { at: line.at(1), key: line.key(), to: To::Backend(backend.clone()) });
    proxy.front.switches.push(Switch { backend, condition, at: line.at(0) });
}

pub(super) fn use_server(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let Some(server) = context.needed(line, 1, "the name of a server") else { return };
    if !matches!(line.word(2), "if" | "unless") {
        return context.alert(line, 2, "needs a condition, if or unless");
    }
    let Some(condition) = acl::condition(context, proxy, line, 2, Needs::Request) else { return };
    proxy.references.push(Reference { at: line.at(1), key: line.key(), to: To::Server(None, server.clone()) });
    proxy.back.use_servers.push(UseServer { server, condition, at: line.at(0) });
}
