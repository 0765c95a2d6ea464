//! From what the file says to what the data path and the checks do.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use baton_config::haproxy::Config;
use baton_config::haproxy::model::{
    Backend, Balance, Condition, Frontend, Host, Listen, LogFormat, LogTarget, LogTo, Matching, Mode, ProxyVersion,
    Redispatch, Sample, Server, ServerPort, StickKind, Target, TcpAction, TcpRule, Test,
};
use baton_core::health::Pace;
use baton_core::pool::{self, Algorithm, Dealings, Front, Guard, Logging, Pool, ProxyHeader, Switch};
use baton_core::settings::BalancerKind;
use baton_core::stick::Shape;
use tokio::sync::mpsc;
use tracing::warn;

use super::lines::{self, Lines};
use super::requests::Requests;
use super::socket::Ask;
use super::{host_name, syslog};
use crate::proxy::Fronted;

/// Parts of a weight: haproxy's, so that a server that comes up slowly can have less than one.
pub const WEIGHT: u16 = 16;

/// What the data path is asked to do.
#[derive(Clone, Debug, Default)]
pub struct Lowered {
    /// All fronts.
    pub fronts: Vec<Fronted>,
    /// All pools.
    pub pools: Vec<Pool>,
    /// Where backends log, by name.
    pub logs: BTreeMap<String, Vec<syslog::Target>>,
    /// Tables of who had which server, by backend.
    pub tables: Vec<(String, Shape)>,
}

/// Makes it. What cannot be expressed has been refused before ([`super::refuse`]).
#[must_use]
pub fn lower(config: &Config, questions: &mpsc::Sender<Ask>) -> Lowered {
    let mut hosts = Hosts::default();
    let backs: Arc<[Backend]> = config.backends.as_slice().into();
    let requests = |front: &Frontend| {
        let (front, backs, questions) = (front.clone(), backs.clone(), questions.clone());
        (front.mode == Mode::Http).then(|| Arc::new(Requests { front, backs, questions }))
    };
    let fronted =
        |f: &Frontend| Fronted { front: front(config, f), lines: lines(config, f, &mut hosts), requests: requests(f) };
    Lowered {
        fronts: config.frontends.iter().map(fronted).collect(),
        pools: config.backends.iter().map(|back| pool(config, back)).collect(),
        tables: config.backends.iter().filter_map(table).collect(),
        logs: config.backends.iter().map(|b| (b.name.clone(), targets(config, &b.logs, &mut hosts))).collect(),
    }
}

fn table(back: &Backend) -> Option<(String, Shape)> {
    let table = back.stick_table.as_ref()?;
    Some((back.name.clone(), Shape { size: table.size, expire: table.expire, keeps: table.nopurge }))
}

/// Hosts that take log lines: each is looked up once, since that waits for the resolver.
#[derive(Debug, Default)]
struct Hosts(BTreeMap<(String, u16), Option<SocketAddr>>);

impl Hosts {
    fn find(&mut self, host: &str, port: u16) -> Option<SocketAddr> {
        let look_up = || {
            let found = (host, port).to_socket_addrs().ok().and_then(|mut found| found.next());
            if found.is_none() {
                warn!(event = "log", "{host}, where lines of the log go, is not known: it gets none until a reload");
            }
            found
        };
        *self.0.entry((host.to_owned(), port)).or_insert_with(look_up)
    }
}

/// The targets of log lines.
fn targets(config: &Config, logs: &[LogTarget], hosts: &mut Hosts) -> Vec<syslog::Target> {
    let host = match config.global.log_send_hostname.as_deref() {
        None => None,
        Some("") => Some(host_name()),
        Some(name) => Some(name.to_owned()),
    };
    let mut address = |to: &LogTo| match to {
        LogTo::Udp { host, port } => hosts.find(host, *port),
        _ => None,
    };
    logs.iter().filter_map(|log| syslog::Target::new(log, address(&log.to), host.clone())).collect()
}

fn lines(config: &Config, front: &Frontend, hosts: &mut Hosts) -> Option<Arc<Lines>> {
    let format = lines::format(&front.log_format, front.mode);
    if front.logs.is_empty() || format.parts.is_empty() {
        return None;
    }
    Some(Arc::new(Lines {
        local: lines::has_local(&format),
        format,
        targets: targets(config, &front.logs, hosts),
        tag: front.log_tag.clone().unwrap_or_else(|| config.global.log_tag.clone()),
        errors_apart: front.log_separate_errors,
    }))
}

fn front(config: &Config, from: &Frontend) -> Front {
    let listen = from.binds.iter().filter_map(|bind| match &bind.listen {
        Listen::Inet { ip, port } => Some(pool::Listen {
            address: SocketAddr::new(*ip, *port),
            name: bind.name.clone().unwrap_or_default(),
            proxy_header: bind.accept_proxy,
            interface: bind.interface.clone(),
            six_only: bind.v6only,
        }),
        _ => None,
    });
    let backend = from.default_backend.as_deref().and_then(|name| config.backends.iter().find(|b| b.name == name));
    // Rules of the backend are looked at like those of the frontend, which most files have them in.
    let late = from.session_rules.iter().chain(&from.content_rules);
    let late = late.chain(backend.into_iter().filter(|_| from.switches.is_empty()).flat_map(|b| &b.content_rules));
    let guards = from.connection_rules.iter().map(|rule| (rule, true)).chain(late.map(|rule| (rule, false)));
    // Those of mode http look at requests.
    let switches = from.switches.iter().filter(|_| from.mode == Mode::Tcp).map(|s| Switch {
        when: s.condition.as_ref().and_then(condition).unwrap_or_default(),
        pool: s.backend.clone(),
    });
    Front {
        name: from.name.clone(),
        kind: if from.mode == Mode::Http { BalancerKind::Http } else { BalancerKind::Tcp },
        listen: listen.collect(),
        pool: from.default_backend.clone(),
        switches: switches.collect(),
        guards: guards.filter_map(|(rule, early)| guard(rule, early)).collect(),
        connections_max: from.maxconn.unwrap_or(0),
        client: from.timeouts.client,
        client_fin: from.timeouts.client_fin,
        inspect: from.inspect_delay.or(backend.and_then(|b| b.inspect_delay)),
        keep_alive: from.clitcpka,
        log: Logging {
            sessions: !from.logs.is_empty(),
            not_null: from.dontlognull,
            not_normal: from.dontlog_normal,
            early: from.logasap || from.log_format == LogFormat::Short,
        },
    }
}

fn guard(rule: &TcpRule, early: bool) -> Option<Guard> {
    let accept = match rule.action {
        TcpAction::Accept => true,
        TcpAction::Reject => false,
        _ => return None,
    };
    let when = match &rule.condition {
        None => pool::Condition::default(),
        Some(asked) => condition(asked)?,
    };
    Some(Guard { when, accept, early })
}

/// A condition. `None`: something in it is not looked at.
#[must_use]
pub fn condition(from: &Condition) -> Option<pool::Condition> {
    let mut any = Vec::new();
    for all in &from.any {
        let terms = all.iter().map(|term| {
            let tests: Vec<pool::Test> = term.any.iter().map(test).collect::<Option<_>>()?;
            Some((!term.negate, pool::Test::Any(tests)))
        });
        any.push(terms.collect::<Option<Vec<_>>>()?);
    }
    Some(pool::Condition { unless: from.unless, any })
}

fn test(from: &Test) -> Option<pool::Test> {
    let ranges = |numbers: &[(i64, i64)]| -> Vec<(u16, u16)> {
        let bound = |n: i64| u16::try_from(n.clamp(0, 65_535)).unwrap_or(0);
        numbers.iter().filter(|(_, to)| *to >= 0).map(|(from, to)| (bound(*from), bound(*to))).collect()
    };
    Some(match (&from.sample, &from.matching) {
        (Sample::Constant(holds), Matching::True) => pool::Test::Constant(*holds),
        (Sample::Src, Matching::Net(nets)) => {
            pool::Test::Source(nets.iter().map(|net| (net.address, net.prefix)).collect())
        }
        (Sample::DstPort, Matching::Number(numbers)) => pool::Test::Port(ranges(numbers)),
        (Sample::SslHelloType, Matching::Number(numbers)) => {
            let hello = numbers.iter().any(|(from, to)| (*from..=*to).contains(&1));
            if hello { pool::Test::Hello } else { return None }
        }
        (Sample::SslSni, Matching::Equal(names, true)) => pool::Test::ServerName(names.clone()),
        (Sample::SslSni, Matching::Ends(names, true)) => pool::Test::ServerNameEnd(names.clone()),
        // Names of hosts know no capital letters, and clients send none.
        (Sample::SslSni, Matching::Equal(names, false)) => pool::Test::ServerName(names.clone()),
        (Sample::SslSni, Matching::Ends(names, false)) => pool::Test::ServerNameEnd(names.clone()),
        (Sample::SslSni, Matching::Found) => pool::Test::Named,
        (Sample::WaitEnd, Matching::True) => pool::Test::WaitedEnough,
        _ => return None,
    })
}

/// Sessions at which servers may have all their connections: a tenth of what may come, where nothing is said.
fn full(config: &Config, back: &Backend) -> u64 {
    if let Some(full) = back.fullconn {
        return full.into();
    }
    let of_process = || {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(0);
        config.global.maxconn.unwrap_or(descriptors / 2)
    };
    let goes = |front: &&Frontend| {
        front.default_backend.as_ref() == Some(&back.name) || front.switches.iter().any(|s| s.backend == back.name)
    };
    let all = config.frontends.iter().filter(goes).map(|front| front.maxconn.map_or_else(of_process, u64::from));
    (all.sum::<u64>() / 10).max(1)
}

/// How clients are kept at their servers.
fn sticking(from: &Backend) -> Option<pool::Sticking> {
    let first = from.sticks.first()?;
    let rule = |stick: &baton_config::haproxy::model::Stick| pool::Stick {
        by_destination: stick.key == Sample::Dst,
        look: matches!(stick.kind, StickKind::On | StickKind::Match),
        keep: matches!(stick.kind, StickKind::On | StickKind::StoreRequest),
        when: stick.condition.as_ref().and_then(condition).unwrap_or_default(),
    };
    Some(pool::Sticking {
        table: first.table.clone().unwrap_or_else(|| from.name.clone()),
        rules: from.sticks.iter().map(rule).collect(),
    })
}

fn pool(config: &Config, from: &Backend) -> Pool {
    let picks = from.use_servers.iter().map(|rule| pool::Pick {
        when: rule.condition.as_ref().and_then(condition).unwrap_or_default(),
        server: rule.server.clone(),
    });
    Pool {
        name: from.name.clone(),
        balance: match &from.balance {
            Balance::RoundRobin | Balance::Hash(_) => Algorithm::RoundRobin,
            Balance::StaticRr => Algorithm::StaticRoundRobin,
            Balance::LeastConn => Algorithm::LeastConnections,
            Balance::First => Algorithm::First,
            Balance::Source if from.hash.consistent => Algorithm::SourceRing { mixed: from.hash.avalanche },
            Balance::Source if from.hash.avalanche => Algorithm::SourceMixed,
            Balance::Source => Algorithm::Source,
            Balance::Random(draws) => Algorithm::Random(*draws),
        },
        servers: from.servers.iter().map(|one| server(from, one)).collect(),
        full: full(config, from),
        picks: picks.collect(),
        sticking: sticking(from),
        all_backups: from.allbackups,
        dealings: Some(Dealings {
            connect: from.timeouts.connect,
            server: from.timeouts.server,
            server_fin: from.timeouts.server_fin,
            tunnel: from.timeouts.tunnel,
            queue: from.timeouts.queue,
            retries: from.retries,
            redispatch: from.redispatch != Redispatch::Never,
            keep_alive: from.srvtcpka,
        }),
    }
}

fn server(back: &Backend, from: &Server) -> pool::Server {
    let host = match &from.target {
        Target::Inet(Host::Ip(ip)) => ip.to_string(),
        Target::Inet(Host::Name(name)) => name.clone(),
        _ => String::new(),
    };
    let source = from.source.as_ref().or(back.source.as_ref());
    let source = source.map(|s| pool::Source { address: s.address.ip(), interface: s.interface.clone() });
    let ServerPort::Fixed(port) = from.port else { return pool::Server { disabled: true, ..plain(from, host, 0) } };
    pool::Server { source, ..plain(from, host, port) }
}

fn plain(from: &Server, host: String, port: u16) -> pool::Server {
    pool::Server {
        name: from.name.clone(),
        number: from.id,
        host,
        port,
        url: None,
        weight: from.weight * WEIGHT,
        backup: from.backup,
        check: None,
        pace: Pace { fast: None, down: None, connects: false },
        check_at: pool::CheckAt::default(),
        connections_max: from.maxconn.unwrap_or(0),
        connections_min: from.minconn.unwrap_or(0),
        queue_max: from.maxqueue.unwrap_or(0),
        cut_on_down: from.on_marked_down.is_some(),
        strange: from.non_stick,
        source: None,
        proxy_header: from.send_proxy.map(|version| match version {
            ProxyVersion::V1 => ProxyHeader::Text,
            ProxyVersion::V2 => ProxyHeader::Binary,
        }),
        slow_start: from.slowstart.filter(|time| *time > Duration::ZERO),
        disabled: from.disabled,
    }
}
