//! What a file may ask for and what this driver does in another way: said as warnings, so that nothing is passed over
//! in silence.

use baton_config::haproxy::model::{At, Config, InitAddr, LogTo};
use baton_config::haproxy::{Class, Finding};

use super::refuse;

/// Words of the file, and what happens instead.
const MOOT: &[(&str, &str)] = &[
    ("global user", "this process keeps its user"),
    ("global group", "this process keeps its group"),
    ("global uid", "this process keeps its user"),
    ("global gid", "this process keeps its group"),
    ("global chroot", "the root directory stays: the files are read again on a reload"),
    ("global spread-checks", "checks begin at their own times"),
    ("global busy-polling", "events are waited for"),
    ("global nosplice", "bytes are moved by the kernel where that is cheaper"),
    ("global noreuseport", "each worker has a socket of its own"),
    ("global grace", "listeners close at once"),
    ("global localpeer", "there are no peers"),
    ("bind tfo", "connections are opened the ordinary way"),
    ("bind defer-accept", "connections are accepted when they are made"),
    ("bind tcp-ut", "unacknowledged bytes may wait 30 s"),
    ("bind backlog", "as many may wait as the kernel lets (net.core.somaxconn)"),
    ("backlog", "as many may wait as the kernel lets (net.core.somaxconn)"),
    ("server tfo", "connections are opened the ordinary way"),
    ("server tcp-ut", "unacknowledged bytes may wait 30 s"),
    ("clitcpka-cnt", "clients are asked after 30 s of silence, then three times every 5 s"),
    ("clitcpka-idle", "clients are asked after 30 s of silence, then three times every 5 s"),
    ("clitcpka-intvl", "clients are asked after 30 s of silence, then three times every 5 s"),
    ("srvtcpka-cnt", "servers are asked after 30 s of silence, then three times every 5 s"),
    ("srvtcpka-idle", "servers are asked after 30 s of silence, then three times every 5 s"),
    ("srvtcpka-intvl", "servers are asked after 30 s of silence, then three times every 5 s"),
    ("option abortonclose", "a client that has said all it will say goes on waiting for its server"),
    ("option socket-stats", "sessions are counted by frontend, not by address"),
    ("bind transparent", "addresses that this host does not have need no word; traffic for others is not taken"),
    ("stats show-legends", "the page has none"),
    ("stats show-modules", "the page has none"),
    ("http-reuse", "connections to servers are shared by what follows a client's first request, as `safe` has it"),
    ("max-keep-alive-queue", "each request goes where `balance` says"),
    ("max-session-srv-conns", "connections to servers are shared among clients"),
    ("server resolvers", "names are looked up by the system's resolver, every 10 s"),
];

/// What there is to say.
#[must_use]
pub fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut said: Vec<&str> = Vec::new();
    for keyword in &config.keywords {
        let Some((name, instead)) = MOOT.iter().find(|(name, _)| *name == keyword.name) else { continue };
        if !said.contains(name) {
            said.push(name);
            findings.push(refuse::finding(
                config,
                keyword.at,
                name,
                &format!("has no effect: {instead}"),
                Class::Warning,
            ));
        }
    }
    for server in config.backends.iter().flat_map(|b| &b.servers) {
        if server.init_addr.iter().any(|from| matches!(from, InitAddr::Ip(_))) {
            let text = "has no effect: a server whose name is not known is down until it is";
            findings.push(refuse::finding(config, server.at, "server init-addr", text, Class::Warning));
        }
    }
    let fronts = config.frontends.iter().flat_map(|f| &f.logs);
    let logs = config.global.logs.iter().chain(fronts).chain(config.backends.iter().flat_map(|b| &b.logs));
    let mut places: Vec<At> = Vec::new();
    for log in logs {
        let text = match &log.to {
            LogTo::Fd(fd) if !matches!(fd, 1 | 2) => {
                "goes nowhere: inherited descriptors other than 1 and 2 are not used"
            }
            _ if !log.sample_ranges.is_empty() => "gets every line: `sample` has no effect",
            _ => continue,
        };
        if !places.contains(&log.at) {
            places.push(log.at);
            findings.push(refuse::finding(config, log.at, "log", text, Class::Warning));
        }
    }
    findings
}
