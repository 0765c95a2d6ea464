//! `virtual_server`: TCP services, balanced by the data path of this process as `haproxy.cfg` would ask for it.
//!
//! The original programs the kernel (IPVS). Here connections end at this host, so servers see its address, not the client's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use baton_config::haproxy;
use baton_config::keepalived::model::At;
use baton_config::keepalived::model::lvs::{
    Check, CheckKind, HttpCheck, HttpProtocol, Method, Protocol, RealServer, Scheduler, Service, VirtualServer,
};
use baton_config::keepalived::model::{Config, Script, Weight};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::program::Terms;
use super::scripts::{Ran, Scripts};
use crate::haproxy::daemon::{Daemon, Wish};
use crate::haproxy::refuse;
use crate::haproxy::servers::Admin;
use crate::haproxy::start::Options;

/// IPVS forgets an idle connection after that.
const IDLE: &str = "900s";
/// Addresses of one group that are listened on.
const ADDRESSES_MAX: usize = 256;
/// Wishes that wait.
const WISHES: usize = 64;
/// The largest weight of a server there.
const WEIGHT_MAX: u64 = 256;

/// The running balancer of the virtual servers.
pub(super) struct Services {
    over: oneshot::Sender<()>,
    wishes: mpsc::Sender<Wish>,
    task: JoinHandle<ExitCode>,
    misc: Vec<Misc>,
    programs: Option<(Scripts, JoinHandle<()>)>,
}

/// A server that a program checks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Misc {
    script: Script,
    backend: String,
    server: String,
    /// More failures than that in a row count.
    retry: u32,
}

impl Services {
    /// Has the services follow the configuration: what it does not change goes on.
    ///
    /// # Errors
    /// What cannot be listened on, for people.
    pub(super) async fn apply(running: &mut Option<Services>, config: &Config) -> Result<(), String> {
        let wanted = self::config(config)?;
        match (running.as_ref(), wanted) {
            (_, None) => {
                if let Some(running) = running.take() {
                    running.finish().await;
                }
            }
            (None, Some(wanted)) => {
                let daemon = Daemon::start(Options::default(), wanted).await?;
                let (over, told) = oneshot::channel();
                let (wishes, changes) = mpsc::channel(WISHES);
                let task = tokio::spawn(daemon.run_within(told, changes));
                *running = Some(Services { over, wishes, task, misc: Vec::new(), programs: None });
            }
            (Some(running), Some(wanted)) => {
                running
                    .wishes
                    .send(Wish::Balance(Box::new(wanted)))
                    .await
                    .map_err(|_| "the balancer has ended".to_owned())?;
            }
        }
        if let Some(running) = running {
            running.check(config).await;
        }
        Ok(())
    }

    /// Programs check these servers, and no others any more.
    async fn check(&mut self, config: &Config) {
        let misc = programs(config);
        if self.misc == misc {
            return;
        }
        for old in std::mem::replace(&mut self.misc, misc.clone()) {
            // Others may check it now.
            let _ = self.wishes.send(Wish::Serve(old.backend, old.server, Admin::Ready)).await;
        }
        if let Some((_, task)) = self.programs.take() {
            task.abort();
        }
        let (mut scripts, results) = Scripts::new();
        let all: Vec<Script> = misc.iter().map(|misc| misc.script.clone()).collect();
        scripts.configure(&all, &Terms::of(&config.global));
        self.programs = Some((scripts, tokio::spawn(follow(misc, results, self.wishes.clone()))));
    }

    /// Ends it: what is connected is cut.
    pub(super) async fn finish(self) {
        // It may have ended by itself.
        let _ = self.over.send(());
        let _ = self.task.await;
        if let Some((_, task)) = self.programs {
            task.abort();
        }
    }
}

/// What programs find out, as wishes: a failure counts when as many as are asked for followed it.
async fn follow(misc: Vec<Misc>, mut results: mpsc::Receiver<Ran>, wishes: mpsc::Sender<Wish>) {
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
    while let Some(ran) = results.recv().await {
        let Some(one) = misc.iter().find(|misc| misc.script.name == ran.script) else { continue };
        let failed = failures.entry(ran.script).or_default();
        *failed = if ran.well { 0 } else { failed.saturating_add(1) };
        let admin = match *failed {
            0 => Admin::Ready,
            failed if failed > one.retry => Admin::Maint,
            _ => continue,
        };
        if wishes.send(Wish::Serve(one.backend.clone(), one.server.clone(), admin)).await.is_err() {
            return;
        }
    }
}

fn programs(config: &Config) -> Vec<Misc> {
    let mut all = Vec::new();
    for server in served(config) {
        let addresses = addresses(config, server).unwrap_or_default();
        let backend = name(server, &addresses);
        for real in &server.real {
            let Some((check, CheckKind::Misc { command, timeout, .. })) =
                real.checks.first().map(|check| (check, &check.kind))
            else {
                continue;
            };
            let own = server_name(real, &addresses);
            let script = Script {
                name: format!("MISC_CHECK of {own} in {backend}"),
                command: command.clone(),
                native: None,
                interval: check.delay_loop,
                timeout: *timeout,
                weight: Weight::default(),
                rise: 1,
                fall: 1,
                init_fail: false,
                at: check.at.clone(),
            };
            all.push(Misc { script, backend: backend.clone(), server: own, retry: check.retry });
        }
    }
    all
}

fn port(own: u16, addresses: &[SocketAddr]) -> u16 {
    if own == 0 { addresses.first().map_or(0, SocketAddr::port) } else { own }
}

fn server_name(real: &RealServer, addresses: &[SocketAddr]) -> String {
    format!("{}:tcp:{}", real.address, port(real.port, addresses))
}

/// One without servers is passed over, as by the original.
fn served(config: &Config) -> impl Iterator<Item = &VirtualServer> {
    config.servers.iter().filter(|server| !server.real.is_empty())
}

/// What one virtual server asks for and is not done: where, what, and what to do instead.
pub(super) fn refused(config: &Config, all: &mut impl FnMut(bool, &At, &'static str, &'static str)) {
    let instead = "balance with a haproxy.cfg (`baton haproxy`), or start with -P to leave virtual servers out";
    for server in served(config) {
        let at = &server.at;
        let schedule = balance(server).is_none();
        all(server.protocol != Protocol::Tcp, at, "virtual_server of another protocol than TCP", instead);
        all(addresses(config, server).is_none(), at, "virtual_server of a fwmark or without a port", instead);
        all(schedule, at, "this lvs_sched", "lvs_sched rr, wrr, lc, wlc, sed, nq, sh, mh or twos");
        all(server.alpha, at, "alpha", "leave it out: servers are up until their first check");
        all(server.quorum > 1 || server.hysteresis > 0, at, "quorum above 1", instead);
        let scripts = server.quorum_up.is_some() || server.quorum_down.is_some();
        all(scripts, at, "quorum_up, quorum_down", instead);
        let sorry = server.sorry.as_ref().is_some_and(|sorry| sorry.method != Method::Nat);
        all(server.method != Method::Nat || sorry, at, "lvs_method DR or TUN", instead);
        for real in &server.real {
            all(real.method != server.method, &real.at, "lvs_method of a real_server", instead);
            all(real.upper > 0 || real.lower > 0, &real.at, "uthreshold, lthreshold", instead);
            let scripts = real.notify_up.is_some() || real.notify_down.is_some();
            all(scripts, &real.at, "notify_up, notify_down", instead);
            all(real.checks.len() > 1, &real.at, "several checks of one server", "one check");
            real.checks.iter().for_each(|check| of_check(check, all));
            let differs = real.checks.first().zip(first(server)).is_some_and(|(own, one)| !alike(own, one));
            all(differs, &real.at, "checks that differ within one virtual_server", "the same check for all servers");
        }
    }
}

fn of_check(check: &Check, all: &mut impl FnMut(bool, &At, &'static str, &'static str)) {
    let at = &check.at;
    match &check.kind {
        CheckKind::Tcp => {}
        CheckKind::Misc { dynamic, .. } => all(*dynamic, at, "misc_dynamic", "leave it out"),
        CheckKind::Http(http) => {
            all(http.urls.len() != 1, at, "a check of several URLs, or of none", "one url");
            let url = http.urls.first();
            all(url.is_some_and(|url| url.digest.is_some()), at, "digest", "status_code 200");
            all(url.is_some_and(|url| url.regex.is_some()), at, "regex", "status_code 200");
            let odd = |word: &String| word.chars().any(|c| c.is_whitespace() || "\\'\"#$".contains(c));
            all(url.is_some_and(|url| odd(&url.path)), at, "a path with blanks or quotes", "another path");
        }
        _ => all(true, at, "this check", "TCP_CHECK, HTTP_GET, SSL_GET or MISC_CHECK"),
    }
    let from = check.bind_address.is_some() || check.bind_port.is_some() || check.bind_interface.is_some();
    all(from || check.fwmark.is_some(), at, "bindto, bind_port, bind_if, fwmark", "leave it out");
    all(check.alpha, at, "alpha", "leave it out: servers are up until their first check");
}

fn first(server: &VirtualServer) -> Option<&Check> {
    server.real.iter().find_map(|real| real.checks.first())
}

/// One request serves all servers of a service.
fn alike(a: &Check, b: &Check) -> bool {
    let program = |check: &Check| matches!(check.kind, CheckKind::Misc { .. });
    program(a) && program(b) || a.kind == b.kind && a.timeout == b.timeout
}

/// Where clients reach it; `None`: that cannot be listened on.
fn addresses(config: &Config, server: &VirtualServer) -> Option<Vec<SocketAddr>> {
    let ranges = match &server.service {
        Service::Address(address, port) => vec![(*address, *address, *port)],
        Service::Fwmark(_) => return None,
        Service::Group(name) => {
            let group = config.server_groups.iter().find(|group| group.name == *name)?;
            if !group.fwmarks.is_empty() {
                return None;
            }
            group.ranges.clone()
        }
    };
    let mut all = Vec::new();
    for (from, to, port) in ranges {
        let (mut address, last) = (number(from), number(to));
        while address <= last {
            if port == 0 || all.len() >= ADDRESSES_MAX {
                return None;
            }
            all.push(SocketAddr::new(like(from, address), port));
            address += 1;
        }
    }
    (!all.is_empty()).then_some(all)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn like(family: IpAddr, number: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

/// How the data path chooses; `None`: not like that.
fn balance(server: &VirtualServer) -> Option<&'static str> {
    Some(match server.scheduler {
        // One client stays with one server, as long as that one lives.
        _ if server.persistence.is_some() => "source",
        Scheduler::RoundRobin | Scheduler::WeightedRoundRobin => "roundrobin",
        Scheduler::LeastConnections
        | Scheduler::WeightedLeastConnections
        | Scheduler::ShortestDelay
        | Scheduler::NeverQueue => "leastconn",
        Scheduler::SourceHash | Scheduler::MaglevHash => "source",
        Scheduler::PowerOfTwo => "random(2)",
        _ => return None,
    })
}

/// The services as a balancer's configuration; `None`: there are none.
///
/// # Errors
/// What the balancer makes of it, for people.
pub(super) fn config(config: &Config) -> Result<Option<haproxy::Config>, String> {
    if served(config).next().is_none() {
        return Ok(None);
    }
    let file = haproxy::File { path: "virtual_server".to_owned(), text: text(config) };
    let none = |_: &str| Err(String::new());
    let outside = haproxy::Outside { environment: &[], load: &none, local_peer: "baton" };
    let loaded = haproxy::read(&[file], &outside);
    let said: Vec<String> = loaded.findings.iter().map(|finding| finding.message.to_string()).collect();
    match loaded.config {
        Some(read) if refuse::unserved(&read).is_empty() => Ok(Some(read)),
        _ => Err(said.join("\n")),
    }
}

fn text(config: &Config) -> String {
    let mut out = String::from("defaults\n  mode tcp\n  option redispatch\n  retries 1\n");
    let _ = writeln!(out, "  timeout client {IDLE}\n  timeout server {IDLE}");
    for server in served(config) {
        section(&mut out, config, server);
    }
    out
}

/// Writing to a string cannot fail.
fn section(out: &mut String, config: &Config, server: &VirtualServer) {
    let addresses = addresses(config, server).unwrap_or_default();
    let _ = writeln!(out, "listen {}", name(server, &addresses));
    for address in &addresses {
        let _ = writeln!(out, "  bind {address}");
    }
    let _ = writeln!(out, "  balance {}", balance(server).unwrap_or("roundrobin"));
    let check = first(server);
    let timeout = check.map_or(Duration::from_secs(5), |check| check.timeout);
    let _ = writeln!(out, "  timeout connect {}ms\n  timeout check {0}ms", timeout.as_millis().max(1));
    let http = check.and_then(|check| if let CheckKind::Http(http) = &check.kind { Some(http) } else { None });
    if let Some(http) = http {
        request(out, http);
    }
    let heaviest = server.real.iter().map(|real| u64::from(real.weight)).max().unwrap_or(1);
    for real in &server.real {
        let own = u64::from(real.weight);
        let weight = if heaviest > WEIGHT_MAX { (own * WEIGHT_MAX).div_ceil(heaviest) } else { own };
        line(out, &addresses, (real, weight), http);
    }
    if let Some(sorry) = &server.sorry {
        let address = SocketAddr::new(sorry.address, port(sorry.port, &addresses));
        let _ = writeln!(out, "  server sorry {address} backup");
    }
}

/// As the original names it in its log: address, protocol and port.
fn name(server: &VirtualServer, addresses: &[SocketAddr]) -> String {
    match (&server.service, addresses.first()) {
        (Service::Group(name), _) => name.clone(),
        (_, Some(address)) => format!("{}:tcp:{}", address.ip(), address.port()),
        (_, None) => "virtual_server".to_owned(),
    }
}

fn request(out: &mut String, http: &HttpCheck) {
    let Some(url) = http.urls.first() else { return };
    let version = if http.protocol == HttpProtocol::V1_1 { "HTTP/1.1" } else { "HTTP/1.0" };
    let _ = write!(out, "  option httpchk\n  http-check send meth GET uri {} ver {version}", url.path);
    let _ = write!(out, " hdr User-Agent KeepAliveClient");
    if let Some(host) = &url.virtualhost {
        let _ = write!(out, " hdr Host {host}");
    }
    let status: Vec<String> = url.status.iter().map(|(from, to)| format!("{from}-{to}")).collect();
    let status = if status.is_empty() { "200-299".to_owned() } else { status.join(",") };
    let _ = writeln!(out, "\n  http-check expect status {status}");
}

fn line(out: &mut String, addresses: &[SocketAddr], (real, weight): (&RealServer, u64), http: Option<&HttpCheck>) {
    let address = SocketAddr::new(real.address, port(real.port, addresses));
    let _ = write!(out, "  server {} {address} weight {weight}", server_name(real, addresses));
    let Some(check) = real.checks.first().filter(|check| !matches!(check.kind, CheckKind::Misc { .. })) else {
        out.push('\n');
        return;
    };
    let inter = check.delay_loop.as_millis().max(1);
    let fast = check.delay_before_retry.as_millis().max(1);
    let fall = check.retry.saturating_add(1);
    let _ = write!(out, " check inter {inter}ms fastinter {fast}ms downinter {inter}ms fall {fall} rise 1");
    let _ = write!(out, " addr {} port {}", check.address, check.port);
    if let Some(http) = http.filter(|http| http.tls) {
        let _ = write!(out, " check-ssl verify none");
        if let Some(sni) = &http.sni {
            let _ = write!(out, " check-sni {sni}");
        }
    }
    out.push('\n');
}
