//! What is known of servers by other means than their own checks: errors of traffic (`observe`), their agents' word
//! (`agent-check`), and other servers (`track`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_config::haproxy::model::{self, AgentCheck, Host, OnError, Target};
use baton_core::Time;
use baton_core::agent::{self, Said, Wish};
use baton_core::health::{Change, Input, Suspicion};
use baton_net::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::notes;
use super::probe::{self, Outcome};
use super::servers::{Admin, Found, News, Server, Servers};
use crate::proxy::{BackendId, Passive};

/// Most bytes of an agent's line.
const LINE_MAX: usize = 4096;

impl Servers {
    /// Clients' connections tell something.
    pub(super) fn traffic(&mut self, passive: &Passive) {
        let Some(server) = self.list.iter_mut().find(|s| s.id == passive.backend) else { return };
        let now = clock::now();
        let good = passive.outcome.is_ok();
        if server.settings.observe.is_none() || server.settings.check.is_none() {
            let input = match passive.outcome {
                Ok(()) => Input::Connected,
                Err(fault) => Input::NotConnected { why: fault.to_string() },
            };
            // It brings the next check forward, and no more.
            server.health.handle(now, input);
            return;
        }
        if server.admin == Admin::Maint {
            return;
        }
        server.errors = if good { 0 } else { server.errors + 1 };
        if server.errors < server.settings.error_limit.max(1) {
            return;
        }
        let info = format!("Detected {} consecutive errors, last one was: L4 unsuccessful connection", server.errors);
        (server.errors, server.error_rounds) = (0, server.error_rounds + 1);
        let suspicion = match server.settings.on_error {
            OnError::Fastinter => Suspicion::Looks,
            OnError::FailCheck => Suspicion::Fails,
            OnError::SuddenDeath => Suspicion::Doubts,
            OnError::MarkDown => Suspicion::Down,
        };
        let change = server.health.suspect(now, suspicion, info.clone());
        if suspicion != Suspicion::Looks {
            server.fails += 1;
            server.last = Some(Outcome { ok: false, status: "HANA", code: 0, info, took: Duration::ZERO });
        }
        if let Some(change) = change {
            server.turned(&change, now);
            let id = server.id.clone();
            self.pending.push_back(News::Checked(id, Some(change)));
        }
    }

    /// Servers that follow another one do so.
    pub(super) fn follow(&mut self, now: Time) {
        // A server that is followed may follow another one itself.
        for _ in 0..self.list.len() {
            let mut moved = false;
            for at in 0..self.list.len() {
                let Some((backend, name)) = followed(&self.list[at]) else { continue };
                let leader = self.list.iter().find(|s| s.id.balancer == backend && s.id.host == name);
                let Some(up) = leader.map(|leader| leader.health.is_up() && !leader.agent_down) else { continue };
                let server = &mut self.list[at];
                if server.health.is_up() == up {
                    continue;
                }
                let lasted = now.since(server.changed);
                server.health.set(now, up, &format!("as {backend}/{name}"));
                let change = Change { up, why: String::new(), lasted };
                server.turned(&change, now);
                let why = format!(" via {backend}/{name}");
                self.pending.push_back(News::Turned(server.id.clone(), change, why));
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    /// Names of those that follow a server.
    pub fn followers(&self, backend: &str, name: &str) -> Vec<(String, String)> {
        let follows = |server: &&Server| followed(server).is_some_and(|(b, n)| b == backend && n == name);
        let names = |server: &Server| (server.id.balancer.clone(), server.id.host.clone());
        self.list.iter().filter(follows).map(names).collect()
    }

    /// Asks the agents whose turn it is.
    pub(super) fn ask_agents(&mut self, now: Time) {
        for server in &mut self.list {
            let Some(settings) = server.settings.agent.clone() else { continue };
            let (Some(at), true) = (agent_address(&settings, server.address), server.agent_at <= now) else { continue };
            server.agent_at = now + settings.inter;
            let reply = (self.sender.clone(), server.id.clone(), server.version);
            let task = tokio::spawn(async move {
                let said = ask(&settings, at).await;
                // Nobody asks any more, otherwise.
                let _ = reply.0.send((reply.1, reply.2, Found::Agent(said))).await;
            });
            server.agent_task = Some(task.abort_handle());
        }
    }

    /// An agent has answered.
    pub(super) fn heard(&mut self, id: &BackendId, said: Result<Said, Outcome>, took: Duration) -> Option<News> {
        let now = clock::now();
        let server = self.list.iter_mut().find(|s| s.id == *id)?;
        let said = match said {
            Ok(said) => said,
            // One that does not answer says nothing about its server, which has checks for that.
            Err(outcome) => {
                server.agent_last = Some(outcome);
                return None;
            }
        };
        if let Some(percent) = said.weight {
            let weight = u32::from(server.settings.weight) * percent / 100;
            server.weight = u16::try_from(weight.min(256)).unwrap_or(256);
        }
        if let Some(most) = said.connections {
            server.connections_max = most;
        }
        if let Some(wish) = said.wish {
            let admin = match wish {
                Wish::Ready => Admin::Ready,
                Wish::Drain => Admin::Drain,
                Wish::Maintenance => Admin::Maint,
            };
            if admin != server.admin {
                self.pending.push_back(News::Wished(id.clone(), admin));
            }
        }
        let outcome = told(&said, took);
        let change = said.health.and_then(|(_, up)| server.by_agent(up, now));
        let why = notes::reason(&outcome);
        server.agent_last = Some(outcome);
        Some(match change {
            Some(change) => News::Turned(id.clone(), change, why),
            None => News::Grown,
        })
    }
}

impl Server {
    /// Its agent says that it is up, or not.
    fn by_agent(&mut self, up: bool, now: Time) -> Option<Change> {
        let before = self.health.is_up() && !self.agent_down;
        let lasted = now.since(self.changed);
        self.agent_down = !up;
        if self.settings.check.is_some() && self.health.is_up() != up {
            self.health.set(now, up, "its agent says so");
        }
        let change = (before != up).then(|| Change { up, why: String::new(), lasted })?;
        self.turned(&change, now);
        Some(change)
    }
}

/// Whom a server follows.
fn followed(server: &Server) -> Option<(String, String)> {
    let (backend, name) = server.settings.track.clone()?;
    Some((if backend.is_empty() { server.id.balancer.clone() } else { backend }, name))
}

fn agent_address(agent: &AgentCheck, server: Option<SocketAddr>) -> Option<SocketAddr> {
    match &agent.address {
        Some(Target::Inet(Host::Ip(ip))) => Some(SocketAddr::new(*ip, agent.port)),
        Some(_) => None,
        None => Some(SocketAddr::new(server?.ip(), agent.port)),
    }
}

/// One question to an agent.
async fn ask(settings: &model::AgentCheck, at: SocketAddr) -> (Result<Said, Outcome>, Duration) {
    let began = Instant::now();
    let result = tokio::time::timeout(settings.inter, dialogue(settings, at)).await;
    let took = began.elapsed();
    let failed = |status, info| Outcome { ok: false, status, code: 0, info, took };
    let said = match result {
        Ok(Ok(said)) => Ok(said),
        Ok(Err((status, info))) => Err(failed(status, info)),
        Err(_) => Err(failed("L7TOUT", String::new())),
    };
    (said, took)
}

async fn dialogue(settings: &model::AgentCheck, at: SocketAddr) -> Result<Said, (&'static str, String)> {
    let mut stream = TcpStream::connect(at).await.map_err(|e| ("L4CON", probe::plain(&e)))?;
    if let Some(text) = &settings.send {
        stream.write_all(text.as_bytes()).await.map_err(|e| ("L7RSP", probe::plain(&e)))?;
    }
    let mut line = Vec::new();
    loop {
        if let Some(said) = agent::read(&line) {
            return Ok(said);
        }
        let mut buffer = [0; 512];
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 && line.len() < LINE_MAX => line.extend_from_slice(&buffer[..n]),
            _ => return Err(("L7RSP", "Ignoring incomplete line from agent".to_owned())),
        }
    }
}

/// What an agent said, as the outcome of a check.
fn told(said: &Said, took: Duration) -> Outcome {
    let (status, ok, info) = match (&said.health, &said.unknown) {
        (Some((word, up)), unknown) => {
            let more = unknown.as_ref().filter(|_| *up || said.why.is_empty()).unwrap_or(&said.why);
            let more = if more.is_empty() { String::new() } else { format!(" ({more})") };
            (if *up { "L7OK" } else { "L7STS" }, *up, format!("via agent : {word}{more}"))
        }
        (None, Some(word)) => ("CHECKED", true, format!("agent reports an error : {word}")),
        (None, None) => ("CHECKED", true, String::new()),
    };
    Outcome { ok, status, code: 0, info, took }
}
