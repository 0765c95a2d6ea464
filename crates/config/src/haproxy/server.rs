//! `server`, `server-template`, `default-server`, `source`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::address::{self, Wrong};
use super::context::{Context, Line};
use super::keywords::not_served;
use super::model::{At, InitAddr, MarkedDown, MarkedUp, Observe, OnError, ProxyVersion, ServerPort, Source, Target};
use super::proxy::{Kind, Proxy, Reference, To};
use super::{server_words, units};

/// What a `server` line and the `default-server` lines before it say.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) target: Target,
    pub(super) port: ServerPort,
    pub(super) id: Option<u32>,
    pub(super) weight: u16,
    pub(super) backup: bool,
    pub(super) disabled: bool,
    pub(super) maxconn: Option<u32>,
    pub(super) minconn: Option<u32>,
    pub(super) maxqueue: Option<u32>,
    pub(super) slowstart: Option<Duration>,
    pub(super) check: bool,
    pub(super) check_address: Option<Target>,
    pub(super) check_port: Option<u16>,
    pub(super) check_tls: bool,
    pub(super) check_sni: Option<String>,
    pub(super) check_alpn: Vec<String>,
    pub(super) check_send_proxy: bool,
    pub(super) inter: Option<Duration>,
    pub(super) fastinter: Option<Duration>,
    pub(super) downinter: Option<Duration>,
    pub(super) rise: u32,
    pub(super) fall: u32,
    pub(super) fall_given: bool,
    pub(super) agent: bool,
    pub(super) agent_address: Option<Target>,
    pub(super) agent_port: Option<u16>,
    pub(super) agent_inter: Option<Duration>,
    pub(super) agent_send: Option<String>,
    pub(super) track: Option<String>,
    pub(super) observe: Option<Observe>,
    pub(super) error_limit: u32,
    pub(super) on_error: OnError,
    pub(super) on_marked_down: Option<MarkedDown>,
    pub(super) on_marked_up: Option<MarkedUp>,
    pub(super) send_proxy: Option<ProxyVersion>,
    pub(super) source: Option<Source>,
    pub(super) tls: bool,
    pub(super) sni: Option<String>,
    pub(super) alpn: Vec<String>,
    /// `verify none` and `verify required`; `None`: as the whole process has it.
    pub(super) verify: Option<bool>,
    pub(super) ca_file: Option<String>,
    pub(super) verify_host: Option<String>,
    pub(super) crt: Option<String>,
    pub(super) tcp_ut: Option<Duration>,
    pub(super) tfo: bool,
    pub(super) resolvers: Option<(String, At)>,
    pub(super) resolve_prefer_v4: bool,
    pub(super) init_addr: Vec<InitAddr>,
    pub(super) non_stick: bool,
    pub(super) cookie: Option<At>,
}

impl Draft {
    /// A server that nothing was said about.
    pub(super) fn new(name: &str, at: At) -> Draft {
        Draft {
            name: name.to_owned(),
            at,
            target: Target::Destination,
            port: ServerPort::Client(0),
            id: None,
            weight: 1,
            backup: false,
            disabled: false,
            maxconn: None,
            minconn: None,
            maxqueue: None,
            slowstart: None,
            check: false,
            check_address: None,
            check_port: None,
            check_tls: false,
            check_sni: None,
            check_alpn: Vec::new(),
            check_send_proxy: false,
            inter: None,
            fastinter: None,
            downinter: None,
            rise: 2,
            fall: 3,
            fall_given: false,
            agent: false,
            agent_address: None,
            agent_port: None,
            agent_inter: None,
            agent_send: None,
            track: None,
            observe: None,
            error_limit: 10,
            on_error: OnError::FailCheck,
            on_marked_down: None,
            on_marked_up: None,
            send_proxy: None,
            source: None,
            tls: false,
            sni: None,
            alpn: Vec::new(),
            verify: None,
            ca_file: None,
            verify_host: None,
            crt: None,
            tcp_ut: None,
            tfo: false,
            resolvers: None,
            resolve_prefer_v4: false,
            init_addr: vec![InitAddr::Last, InitAddr::Libc],
            non_stick: false,
            cookie: None,
        }
    }
}

/// Characters of names, as haproxy allows them.
pub(super) fn bad_character(name: &str) -> Option<char> {
    name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.')))
}

pub(super) fn default_server(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if line.len() == 1 {
        return context.alert(line, 0, "needs the words that are to hold for all servers");
    }
    let mut draft = proxy.default_server.clone();
    if words(context, line, 1, &mut draft, proxy) {
        proxy.default_server = draft;
    }
}

/// Most servers of one backend, as with haproxy's limit for `roundrobin`.
const SERVERS_MAX: usize = 4095;

pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let Some(draft) = read(context, proxy, line, 2) else { return };
    let name = line.word(1).to_owned();
    add(context, proxy, line, Draft { name, ..draft });
}

pub(super) fn template(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let range = line.word(2);
    let (first, last) = range.split_once('-').unwrap_or(("1", range));
    let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
        return context.alert(line, 2, format!("`{range}` is neither a number of servers nor a range"));
    };
    if first == 0 || first > last || last - first >= u32::try_from(SERVERS_MAX).unwrap_or(0) {
        return context.alert(line, 2, format!("`{range}` is no range, expected 1-{SERVERS_MAX} or a part of it"));
    }
    let Some(draft) = read(context, proxy, line, 3) else { return };
    for number in first..=last {
        add(context, proxy, line, Draft { name: format!("{}{number}", line.word(1)), ..draft.clone() });
    }
}

fn add(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line, draft: Draft) {
    if proxy.kind == Kind::Defaults {
        return;
    }
    if let Some(twin) = proxy.servers.iter().find(|other| other.name == draft.name) {
        let text = format!("a server {} is in line {} already, expected distinct names", draft.name, twin.at.line);
        return context.alert(line, 1, text);
    }
    if proxy.servers.len() >= SERVERS_MAX {
        return context.refuse(line, 0, format!("more than {SERVERS_MAX} servers in one section"));
    }
    proxy.servers.push(draft);
}

/// Reads a name, an address at `at` and the words after it.
fn read(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line, at: usize) -> Option<Draft> {
    let name = context.needed(line, 1, "a name and an address")?;
    if let Some(c) = bad_character(&name) {
        context.alert(line, 1, format!("`{c}` may not be in a name, `{name}`"));
        return None;
    }
    let text = context.needed(line, at, "an address, and mostly a port, such as 10.0.0.1:6443")?;
    let text = address::expand(&text, &|name| context.variable(name));
    let mut draft = proxy.default_server.clone();
    draft.at = line.at(0);
    match address::server(&text) {
        Ok((target, port)) => (draft.target, draft.port) = (target, port),
        Err(Wrong::Alert(why)) => {
            context.alert(line, at, why);
            return None;
        }
        Err(Wrong::Refused(why)) => {
            context.refuse(line, at, why);
            return None;
        }
    }
    words(context, line, at + 1, &mut draft, proxy).then_some(draft)
}

/// Reads the words of a line into a draft.
fn words(context: &mut Context<'_>, line: &Line, first: usize, draft: &mut Draft, proxy: &mut Proxy) -> bool {
    let mut at = first;
    while at < line.len() {
        let name = line.word(at).to_owned();
        let Some(taken) = server_words::read(context, line, at, draft) else { return false };
        context.used(&format!("server {name}"), line.at(at), &proxy.name);
        if name == "track" {
            let (backend, server) = match line.word(at + 1).split_once('/') {
                Some((backend, server)) => (Some(backend.to_owned()), server),
                None => (None, line.word(at + 1)),
            };
            // What `default-server` says is looked at with the servers that it makes.
            if line.word(0) != "default-server" {
                let to = To::Server(backend, server.to_owned());
                proxy.references.push(Reference { at: line.at(at), key: line.key(), to });
            }
        }
        at += 1 + taken;
    }
    true
}

/// `source` of a backend.
pub(super) fn source(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    if let Some((source, end)) = read_source(context, line, 1) {
        context.ends(line, end);
        proxy.back.source = Some(source);
    }
}

/// `ADDRESS[:PORT[-PORT]] [usesrc …] [interface NAME]` at `at`; where it ends.
pub(super) fn read_source(context: &mut Context<'_>, line: &Line, at: usize) -> Option<(Source, usize)> {
    let text = context.needed(line, at, "an address")?;
    let text = address::expand(&text, &|name| context.variable(name));
    let (host, ports) = match text.parse::<IpAddr>() {
        Ok(_) => (text.as_str(), None),
        Err(_) => text.rsplit_once(':').map_or((text.as_str(), None), |(host, ports)| (host, Some(ports))),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = match bare {
        "" | "*" => Some(Ipv4Addr::UNSPECIFIED.into()),
        _ => bare.parse::<IpAddr>().ok(),
    };
    let Some(ip) = ip else {
        context.refuse(line, at, format!("`{host}` {}", not_served("connections come from a fixed address")));
        return None;
    };
    let (first, last) = match ports.filter(|ports| !ports.is_empty()) {
        None => (0, 0),
        Some(ports) => {
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            match (units::whole(first, 0, 65535), units::whole(last, 0, 65535)) {
                (Ok(first), Ok(last)) if first <= last => (first, last),
                _ => {
                    context.alert(line, at, format!("`{ports}` is neither a port nor a range of ports"));
                    return None;
                }
            }
        }
    };
    let address = SocketAddr::new(ip, first);
    let mut source = Source { address, last_port: last, transparent: None, interface: None };
    let mut at = at + 1;
    loop {
        match line.word(at) {
            "usesrc" => match line.word(at + 1) {
                "client" => source.transparent = Some(true),
                "clientip" => source.transparent = Some(false),
                _ => {
                    let why = "connections come from a fixed address or the client's";
                    context.refuse(line, at + 1, not_served(why));
                    return None;
                }
            },
            "interface" => source.interface = Some(context.needed(line, at + 1, "an interface")?),
            _ => return Some((source, at)),
        }
        at += 2;
    }
}
