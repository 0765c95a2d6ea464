//! `timeout …`.

use super::context::{Context, Line};
use super::proxy::{Kind, Proxy};

/// Names, and the side that they are about: clients, servers, both.
const NAMES: &[(&str, Option<bool>)] = &[
    ("client", Some(true)),
    ("client-fin", Some(true)),
    ("connect", Some(false)),
    ("server", Some(false)),
    ("server-fin", Some(false)),
    ("queue", Some(false)),
    ("check", Some(false)),
    ("tunnel", Some(false)),
    ("http-request", None),
    ("http-keep-alive", None),
    ("tarpit", None),
];

pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let Some((name, client)) = NAMES.iter().find(|(name, _)| *name == line.word(1)) else {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        return context.alert(line, 1, format!("`{}` is no timeout, expected {}", line.word(1), names.join(", ")));
    };
    context.used(&format!("timeout {name}"), line.at(0), &proxy.name);
    let Some(time) = context.time(line, 2) else { return };
    if !context.ends(line, 3) {
        return;
    }
    let title = proxy.title();
    match (client, proxy.kind) {
        (Some(true), Kind::Backend) => {
            context.warn(line, 1, format!("is ignored: {title} has no side towards clients"));
        }
        (Some(false), Kind::Frontend) => {
            context.warn(line, 1, format!("is ignored: {title} has no side towards servers"));
        }
        _ => {}
    }
    if !proxy.timeouts_set.insert(name) {
        context.warn(line, 1, "is set twice in this section: the last one counts");
    }
    // 0 is "no limit".
    let time = Some(time).filter(|time| !time.is_zero());
    let (front, back) = (&mut proxy.front.timeouts, &mut proxy.back.timeouts);
    match *name {
        "client" => front.client = time,
        "client-fin" => front.client_fin = time,
        "connect" => back.connect = time,
        "server" => back.server = time,
        "server-fin" => back.server_fin = time,
        "queue" => back.queue = time,
        "check" => back.check = time,
        "tunnel" => back.tunnel = time,
        "http-request" => proxy.timeout_http_request = time,
        "http-keep-alive" => proxy.timeout_http_keep_alive = time,
        // Nothing is tarpitted.
        _ => {}
    }
}
