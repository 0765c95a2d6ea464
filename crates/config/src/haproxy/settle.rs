//! Sections put together: references, what only the whole can tell, and the model as it leaves.

use std::collections::BTreeSet;

use super::context::Context;
use super::fix::Edit;
use super::keywords::not_served;
use super::model::{At, Backend, Config, Frontend, Global, HttpClose, LogFormat, LogTarget, Mode};
use super::proxy::{Kind, Log, Proxy, Reference, To};
use super::reader::Draft;
use super::{lint, settle_server};

/// Makes the model. What is wrong is said; the model is of no use then.
pub(super) fn settle(context: &mut Context<'_>, mut draft: Draft, paths: &[&str]) -> (Config, Vec<Edit>) {
    number(&mut draft.proxies);
    for proxy in &draft.proxies {
        if !proxy.disabled {
            references(context, &draft, proxy);
            backends(context, &draft, proxy);
            checks(context, &draft.global, proxy);
            sides(context, proxy);
        }
    }
    ruled(context, &draft.proxies);
    for peers in &draft.peers {
        if !peers.members.iter().any(|(name, ..)| name == context.outside.local_peer) {
            let text =
                format!("no peer is called {}, as this host: the section is ignored", context.outside.local_peer);
            context.says.warn(peers.at, "peers", text);
        }
    }
    let (mut frontends, mut backends) = (Vec::new(), Vec::new());
    for proxy in draft.proxies.iter().filter(|proxy| !proxy.disabled) {
        let logs = logs(&draft.global, proxy);
        if proxy.kind.is_front() {
            frontends.push(front(proxy, &logs));
        }
        if proxy.kind.is_back() {
            backends.push(back(context, &draft, proxy, &logs));
        }
    }
    if frontends.iter().all(|frontend| frontend.binds.is_empty()) {
        context.says.alert(
            At::default(),
            "bind",
            "nothing is listened on: there is no `bind` in a section that is enabled",
        );
    }
    let edits = lint::lint(context, &draft);
    let Draft { global, resolvers, peers, .. } = draft;
    let config = Config {
        files: paths.iter().map(|&path| path.to_owned()).collect(),
        global,
        frontends,
        backends,
        resolvers,
        peers,
        keywords: std::mem::take(&mut context.keywords),
    };
    (config, edits)
}

/// Rules of a `defaults` section are for frontends or for backends.
fn ruled(context: &mut Context<'_>, proxies: &[Proxy]) {
    for (index, proxy) in proxies.iter().enumerate() {
        let Some(defaults) = proxy.ruled_by else { continue };
        if proxy.kind == Kind::Listen {
            let text = format!("a `listen` cannot begin with the rules of the `defaults` in line {}", defaults.line);
            context.says.alert(proxy.at, "listen", text);
        }
        let other = |other: &&Proxy| other.ruled_by == Some(defaults) && other.kind != proxy.kind;
        if let Some(other) = proxies[..index].iter().find(other) {
            let text = format!(
                "begins with the rules of the `defaults` in line {}, as {} does: rules are for one kind of section",
                defaults.line,
                other.title()
            );
            context.says.alert(proxy.at, proxy.kind.word(), text);
        }
    }
}

/// Gives numbers to sections that have none: the next that is free.
fn number(proxies: &mut [Proxy]) {
    let taken: BTreeSet<u32> = proxies.iter().filter_map(|proxy| proxy.id).collect();
    let mut next = 1;
    for proxy in proxies {
        let id = proxy.id.unwrap_or_else(|| {
            while taken.contains(&next) {
                next += 1;
            }
            next += 1;
            next - 1
        });
        proxy.id = Some(id);
        (proxy.front.id, proxy.back.id) = (id, id);
    }
}

fn find<'a>(draft: &'a Draft, name: &str, side: fn(Kind) -> bool) -> Option<&'a Proxy> {
    draft.proxies.iter().find(|proxy| proxy.name == name && side(proxy.kind))
}

/// Whether what a section refers to is there.
fn references(context: &mut Context<'_>, draft: &Draft, proxy: &Proxy) {
    for Reference { at, key, to } in &proxy.references {
        match to {
            To::Backend(name) => {
                if find(draft, name, Kind::is_back).is_none() {
                    context.says.alert(*at, key, format!("there is no backend {name}"));
                }
            }
            To::Server(backend, server) => {
                let section = match backend {
                    Some(name) => find(draft, name, Kind::is_back),
                    None => Some(proxy),
                };
                if !section.is_some_and(|section| section.servers.iter().any(|other| other.name == *server)) {
                    let name = backend.as_deref().unwrap_or(&proxy.name);
                    context.says.alert(*at, key, format!("there is no server {server} in {name}"));
                }
            }
            To::Table(name) => {
                let found = match name {
                    Some(name) => draft.proxies.iter().any(|p| p.name == *name && p.front.stick_table.is_some()),
                    None => proxy.front.stick_table.is_some(),
                };
                if !found {
                    let name = name.as_deref().unwrap_or(&proxy.name);
                    context.says.alert(*at, key, format!("there is no stick-table in {name}"));
                }
            }
            To::Peers(name) => match draft.peers.iter().any(|peers| peers.name == *name) {
                false => context.says.alert(*at, key, format!("there is no section peers {name}")),
                true => context.says.refuse(*at, key, not_served("tables are not exchanged between nodes")),
            },
            To::HttpMode => {
                if proxy.mode == Mode::Tcp && key.starts_with("variable") {
                    context.says.alert(*at, key, "is about requests: expected `mode http`");
                } else if proxy.mode == Mode::Tcp {
                    let text = "requests are not looked at in mode tcp by Baton: expected `mode http`";
                    context.says.refuse(*at, key, text);
                }
            }
        }
    }
}

/// Where a frontend's traffic goes.
fn backends(context: &mut Context<'_>, draft: &Draft, proxy: &Proxy) {
    if !proxy.kind.is_front() {
        return;
    }
    let mut names: Vec<(&str, At, &str)> =
        proxy.front.switches.iter().map(|switch| (switch.backend.as_str(), switch.at, "use_backend")).collect();
    if let Some(name) = &proxy.front.default_backend {
        names.push((name, proxy.default_backend_at, "default_backend"));
        if find(draft, name, Kind::is_back).is_none() {
            let text = format!("there is no backend {name}");
            context.says.alert(proxy.default_backend_at, "default_backend", text);
        }
    }
    for (name, at, key) in names {
        let Some(backend) = find(draft, name, Kind::is_back) else { continue };
        match (proxy.mode, backend.mode) {
            (Mode::Http, Mode::Tcp) => {
                let text = format!("{} is in mode http and {} in mode tcp", proxy.title(), backend.title());
                context.says.alert(at, key, text);
            }
            (Mode::Tcp, Mode::Http) => {
                let text = format!(
                    "is not served by Baton: {} is in mode tcp and {} in mode http, expected one mode",
                    proxy.title(),
                    backend.title()
                );
                context.says.refuse(at, key, text);
            }
            _ if backend.disabled => {
                context.says.warn(at, key, format!("{} is disabled: nothing is served", backend.title()));
            }
            _ => {}
        }
    }
}

/// What is wrong about the checks of a section as a whole.
fn checks(context: &mut Context<'_>, global: &Global, proxy: &Proxy) {
    let checking = &proxy.checking;
    if !proxy.kind.is_back() {
        return;
    }
    for (at, rules, option) in
        [(checking.unused_http, "http-check", "option httpchk"), (checking.unused_tcp, "tcp-check", "option tcp-check")]
    {
        if let Some(at) = at {
            let text = format!("has no effect: {} has no `{option}` above", proxy.title());
            context.says.warn(at, rules, text);
        }
    }
    let external = checking.chosen == super::checks::Chosen::External;
    if external && !global.external_check {
        context.says.alert(checking.chosen_at, "option external-check", "needs `external-check` in `global`");
    }
    if external && !context.keywords.iter().any(|keyword| keyword.name == "global insecure-fork-wanted") {
        let text = "`insecure-fork-wanted` is not in `global`";
        context.says.warn(checking.chosen_at, "option external-check", text);
    }
    if external && checking.command.is_none() {
        context.says.alert(checking.chosen_at, "option external-check", "needs `external-check command`");
    }
    if !external && (checking.command.is_some() || checking.path.is_some()) {
        let text = "has no effect without `option external-check`";
        context.says.warn(checking.command_at, "external-check", text);
    }
}

/// What does not fit the section's mode, and what it should have.
fn sides(context: &mut Context<'_>, proxy: &Proxy) {
    let kind = proxy.kind;
    for only in &proxy.http_only {
        if !(only.front && kind.is_front() || only.back && kind.is_back()) {
            continue;
        }
        match (proxy.mode, only.refused) {
            (Mode::Tcp, _) if only.silent => {}
            (Mode::Tcp, _) => {
                let text = format!("is ignored by {}, which is not in mode http", proxy.title());
                context.says.warn(only.at, &only.name, text);
            }
            (Mode::Http, Some(why)) => context.says.refuse(only.at, &only.name, not_served(why)),
            (Mode::Http, None) => {}
        }
    }
    let front = &proxy.front;
    if kind.is_front() && front.binds.is_empty() {
        context.says.warn(proxy.at, kind.word(), format!("{} has no `bind`: it serves nobody", proxy.title()));
    }
    let mut missing = Vec::new();
    if kind.is_front() && front.timeouts.client.is_none() {
        missing.push("client");
    }
    if kind.is_back() && !proxy.servers.is_empty() {
        if proxy.back.timeouts.connect.is_none() {
            missing.push("connect");
        }
        let tunnel = proxy.mode == Mode::Tcp && proxy.back.timeouts.tunnel.is_some();
        if proxy.back.timeouts.server.is_none() && !tunnel {
            missing.push("server");
        }
    }
    if !missing.is_empty() {
        let text = format!("{} has no timeout {}: what hangs hangs for ever", proxy.title(), missing.join(", "));
        context.says.warn(proxy.at, "timeout", text);
    }
    let Some(at) = proxy.log_format_at else { return };
    let own = at.file == proxy.at.file && at.line > proxy.at.line;
    match kind {
        Kind::Backend if own => context.says.warn(at, "log format", "has no effect in a backend"),
        Kind::Backend | Kind::Defaults => {}
        _ if proxy.logs.is_empty() => {
            context.says.warn(at, "log format", format!("has no effect: {} has no `log`", proxy.title()));
        }
        _ if matches!(proxy.log_format, LogFormat::Http(_)) && proxy.mode == Mode::Tcp => {
            let text = format!("{} is not in mode http: option tcplog is taken", proxy.title());
            context.says.warn(at, "option httplog", text);
        }
        _ => {}
    }
}

/// Where a section logs to.
fn logs(global: &Global, proxy: &Proxy) -> Vec<LogTarget> {
    let mut out = Vec::new();
    for log in &proxy.logs {
        match log {
            Log::Global => out.extend(global.logs.iter().cloned()),
            Log::Target(target) => out.push(target.clone()),
        }
    }
    out
}

fn front(proxy: &Proxy, logs: &[LogTarget]) -> Frontend {
    let mut front = proxy.front.clone();
    front.mode = proxy.mode;
    front.logs = logs.to_vec();
    front.stats.clone_from(&proxy.stats);
    front.log_format = proxy.log_format.clone();
    front.timeouts.http_request = proxy.timeout_http_request;
    front.timeouts.http_keep_alive = proxy.timeout_http_keep_alive;
    if proxy.kind == Kind::Listen && front.default_backend.is_none() {
        front.default_backend = Some(proxy.name.clone());
    }
    if proxy.mode == Mode::Tcp {
        front.stats = None;
        front.monitor_uri = None;
        front.monitor_fail.clear();
        front.http_rules.clear();
        front.http_response_rules.clear();
        front.forward_for = None;
        front.http_close = HttpClose::KeepAlive;
        front.http_ignore_probes = false;
        front.error_files.clear();
        if matches!(front.log_format, LogFormat::Http(_)) {
            front.log_format = LogFormat::Tcp;
        }
    }
    front
}

fn back(context: &mut Context<'_>, draft: &Draft, proxy: &Proxy, logs: &[LogTarget]) -> Backend {
    let mut back = proxy.back.clone();
    back.mode = proxy.mode;
    back.listen = proxy.kind == Kind::Listen;
    back.logs = logs.to_vec();
    back.stats.clone_from(&proxy.stats);
    back.timeouts.http_keep_alive = proxy.timeout_http_keep_alive;
    back.servers = settle_server::servers(context, draft, proxy);
    if proxy.mode == Mode::Tcp {
        back.stats = None;
        back.http_rules.clear();
        back.http_response_rules.clear();
        back.forward_for = None;
        back.http_close = HttpClose::KeepAlive;
        back.error_files.clear();
    }
    back
}
