//! Servers as they leave: numbers, checks with their timeouts, TLS, what they refer to.

use std::collections::BTreeSet;
use std::time::Duration;

use super::checks::Chosen;
use super::context::Context;
use super::model::{AgentCheck, Check, CheckKind, CheckTls, Mode, Server, ServerPort, Step, Target, Tls, Verify};
use super::proxy::{Kind, Proxy};
use super::reader::Draft as Whole;
use super::server::Draft;

/// Interval of checks where nothing is said.
const INTER: Duration = Duration::from_secs(2);

/// The servers of a section.
pub(super) fn servers(context: &mut Context<'_>, whole: &Whole, proxy: &Proxy) -> Vec<Server> {
    let taken: BTreeSet<u32> = proxy.servers.iter().filter_map(|draft| draft.id).collect();
    let kind = proxy.checking.kind();
    let mut next = 1;
    let mut out = Vec::new();
    for draft in &proxy.servers {
        let id = draft.id.unwrap_or_else(|| {
            while taken.contains(&next) {
                next += 1;
            }
            next += 1;
            next - 1
        });
        refers(context, whole, proxy, draft);
        let check = match (&kind, draft.check) {
            (Some(kind), true) => check(context, whole, proxy, draft, kind),
            _ => None,
        };
        out.push(server(context, whole, draft, id, check));
    }
    out
}

fn server(context: &mut Context<'_>, whole: &Whole, draft: &Draft, id: u32, check: Option<Check>) -> Server {
    let tls = draft.tls.then(|| Tls {
        sni: draft.sni.clone(),
        alpn: draft.alpn.clone(),
        verify: verify(whole, draft),
        crt: draft.crt.clone(),
    });
    if draft.tls {
        ca(context, whole, draft, "ssl");
    }
    let track = draft.track.as_ref().map(|text| match text.split_once('/') {
        Some((backend, server)) => (backend.to_owned(), server.to_owned()),
        None => (String::new(), text.clone()),
    });
    // As haproxy: a lower limit alone is the limit.
    let maxconn = match (draft.minconn, draft.maxconn) {
        (Some(min), max) => Some(max.map_or(min, |max| max.max(min))),
        (None, max) => max,
    };
    Server {
        name: draft.name.clone(),
        id,
        at: draft.at,
        target: draft.target.clone(),
        port: draft.port,
        weight: draft.weight,
        backup: draft.backup,
        disabled: draft.disabled,
        maxconn,
        minconn: draft.minconn,
        maxqueue: draft.maxqueue,
        slowstart: draft.slowstart,
        check,
        agent: agent(context, draft),
        track,
        observe: draft.observe,
        error_limit: draft.error_limit,
        on_error: draft.on_error,
        on_marked_down: draft.on_marked_down,
        on_marked_up: draft.on_marked_up,
        send_proxy: draft.send_proxy,
        source: draft.source.clone(),
        tls,
        tcp_ut: draft.tcp_ut,
        tfo: draft.tfo,
        resolvers: draft.resolvers.as_ref().map(|(name, _)| name.clone()),
        resolve_prefer_v4: draft.resolve_prefer_v4,
        init_addr: draft.init_addr.clone(),
        non_stick: draft.non_stick,
    }
}

/// What a server refers to, and what it cannot have together.
fn refers(context: &mut Context<'_>, whole: &Whole, proxy: &Proxy, draft: &Draft) {
    let key = format!("server {}", draft.name);
    if let Some((name, at)) = &draft.resolvers
        && !whole.resolvers.iter().any(|resolvers| resolvers.name == *name)
    {
        context.says.alert(*at, &key, format!("there is no section resolvers {name}"));
    }
    if let (Some(at), Mode::Tcp) = (draft.cookie, proxy.mode) {
        context.says.warn(at, &key, format!("the cookie is ignored by {}, which is not in mode http", proxy.title()));
    }
    let Some(track) = &draft.track else { return };
    if draft.check {
        return context.says.alert(draft.at, &key, "`check` and `track` exclude each other");
    }
    let (backend, name) = match track.split_once('/') {
        Some((backend, name)) => (Some(backend), name),
        None => (None, track.as_str()),
    };
    let section = match backend {
        Some(backend) => whole.proxies.iter().find(|other| other.kind.is_back() && other.name == backend),
        None => Some(proxy),
    };
    let Some(other) = section.and_then(|section| section.servers.iter().find(|other| other.name == name)) else {
        return context.says.alert(draft.at, &key, format!("there is no server {track} to track"));
    };
    if !other.check && !other.agent && other.track.is_none() {
        context.says.alert(
            draft.at,
            &key,
            format!("the server {track} is not checked, so its state cannot be tracked"),
        );
    }
    if circle(whole, proxy, draft) {
        context.says.alert(draft.at, &key, "tracks itself through others");
    }
}

/// Whether following `track` leads back.
fn circle(whole: &Whole, proxy: &Proxy, draft: &Draft) -> bool {
    let start = (proxy.name.clone(), draft.name.clone());
    let (mut section, mut current) = (proxy, draft);
    for _ in 0..whole.proxies.iter().map(|proxy| proxy.servers.len()).sum() {
        let Some(track) = &current.track else { return false };
        let name = match track.split_once('/') {
            Some((backend, name)) => {
                match whole.proxies.iter().find(|other| other.kind.is_back() && other.name == backend) {
                    Some(found) => section = found,
                    None => return false,
                }
                name
            }
            None => track,
        };
        match section.servers.iter().find(|other| other.name == name) {
            Some(found) => current = found,
            None => return false,
        }
        if (section.name.as_str(), current.name.as_str()) == (start.0.as_str(), start.1.as_str()) {
            return true;
        }
    }
    false
}

fn agent(context: &mut Context<'_>, draft: &Draft) -> Option<AgentCheck> {
    if !draft.agent {
        return None;
    }
    let Some(port) = draft.agent_port else {
        context.says.alert(draft.at, &format!("server {}", draft.name), "`agent-check` needs `agent-port`");
        return None;
    };
    let inter = draft.agent_inter.or(draft.inter).unwrap_or(INTER);
    Some(AgentCheck { address: draft.agent_address.clone(), port, inter, send: draft.agent_send.clone() })
}

/// How certificates are judged.
fn verify(whole: &Whole, draft: &Draft) -> Verify {
    if !draft.verify.unwrap_or(!whole.extra.verify_none) {
        return Verify::None;
    }
    let file = draft.ca_file.clone().unwrap_or_default();
    let ca_file = match &whole.extra.ca_base {
        Some(base) if !file.starts_with('/') && !file.starts_with('@') => format!("{base}/{file}"),
        _ => file,
    };
    Verify::Required { ca_file, host: draft.verify_host.clone() }
}

/// Judging needs authorities.
fn ca(context: &mut Context<'_>, whole: &Whole, draft: &Draft, word: &str) {
    if draft.ca_file.is_none() && draft.verify.unwrap_or(!whole.extra.verify_none) {
        let text = format!("`{word}` needs `verify none` or `ca-file`: certificates are verified by default");
        context.says.alert(draft.at, &format!("server {}", draft.name), text);
    }
}

fn check(context: &mut Context<'_>, whole: &Whole, proxy: &Proxy, draft: &Draft, kind: &CheckKind) -> Option<Check> {
    let elsewhere = draft.check_port.is_some() || draft.check_address.is_some();
    let tls = draft.check_tls || draft.tls && !elsewhere;
    let verify = verify(whole, draft);
    let mut kind = kind.clone();
    let mut connects = false;
    if let CheckKind::Steps(steps) = &mut kind {
        for step in steps {
            if let Step::Connect { tls: Some(tls), port, .. } = step {
                connects |= port.is_some();
                tls.verify = verify.clone();
                ca(context, whole, draft, "connect ssl");
            } else if let Step::Connect { port: Some(_), .. } = step {
                connects = true;
            }
        }
    }
    if tls && !draft.tls {
        ca(context, whole, draft, "check-ssl");
    }
    let needs_port = !matches!(draft.target, Target::Unix(_) | Target::Abstract(_)) && draft.check_port.is_none();
    let external = matches!(kind, CheckKind::External { .. });
    if needs_port && !connects && !external && !matches!(draft.port, ServerPort::Fixed(_)) {
        let text = "has neither a port nor a port for its checks (`port`)";
        context.says.alert(draft.at, &format!("server {}", draft.name), text);
        return None;
    }
    let inter = draft.inter.unwrap_or(INTER);
    let timeouts = &proxy.back.timeouts;
    let connect_timeout = match (timeouts.check, timeouts.connect) {
        (Some(_), Some(connect)) => connect.min(inter),
        _ => inter,
    };
    let sni = draft.check_sni.clone();
    let http = proxy.checking.chosen == Chosen::Http && proxy.kind != Kind::Frontend;
    Some(Check {
        kind,
        address: draft.check_address.clone(),
        port: draft.check_port.map(ServerPort::Fixed),
        tls: tls.then(|| CheckTls { sni, alpn: draft.check_alpn.clone(), verify }),
        send_proxy: draft.check_send_proxy || draft.send_proxy.is_some() && !elsewhere,
        told: proxy.checking.chosen == Chosen::Tcp,
        inter,
        fastinter: draft.fastinter,
        downinter: draft.downinter,
        connect_timeout,
        answer_timeout: timeouts.check,
        rise: draft.rise,
        fall: draft.fall,
        disable_on_404: http && proxy.checking.disable_on_404,
        send_state: http && proxy.checking.send_state,
    })
}
