//! The daemon: one task owns configuration, servers and counters, and waits in one place.

use std::process::ExitCode;
use std::time::Duration;

use baton_config::haproxy::Config;
use baton_core::Time;
use baton_core::health::Change;
use baton_core::stick::Shape;
use baton_net::clock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::lower::{Lowered, lower};
use super::notes;
use super::rates::Rates;
use super::servers::{Admin, News, Servers};
use super::socket::{self, Ask};
use super::start::{Options, read};
use super::syslog::{Level, Sockets};
use crate::proxy::{BackendId, Listening, Proxy};

/// Questions that wait for an answer.
const ASKS: usize = 64;
/// How often counters are looked at, and what failed is tried again.
const SECOND: Duration = Duration::from_secs(1);

/// What another part of this process wants of it.
#[derive(Debug)]
pub enum Wish {
    /// This is to be balanced.
    Balance(Box<Config>),
    /// A server gets traffic, or none: its backend, its name, and which.
    Serve(String, String, Admin),
}

/// A running balancer.
pub struct Daemon {
    /// How it was started: a reload reads the same files.
    pub options: Options,
    /// What the files say.
    pub config: Config,
    /// The data path.
    pub proxy: Proxy,
    /// The servers.
    pub servers: Servers,
    /// Sessions per second.
    pub rates: Rates,
    /// When it started.
    pub started: Time,
    /// Sessions that commands asked for, so far.
    pub asked_so_far: u64,
    /// Times that the files were read again.
    pub reloads: u64,
    /// A command wants that.
    pub reload_asked: bool,
    lowered: Lowered,
    listening: Vec<Listening>,
    logs: Sockets,
    questions: mpsc::Sender<Ask>,
    asked: mpsc::Receiver<Ask>,
    sockets: socket::Sockets,
    /// It ends when nobody is connected any more, or then.
    leaving: Option<Option<Instant>>,
    serving: watch::Sender<bool>,
}

/// Waits to be told; that nobody can tell any more is as good.
async fn told(over: Option<&mut oneshot::Receiver<()>>) {
    match over {
        Some(over) => drop(over.await),
        None => std::future::pending().await,
    }
}

async fn wished(wishes: Option<&mut mpsc::Receiver<Wish>>) -> Option<Wish> {
    match wishes {
        Some(wishes) => wishes.recv().await,
        None => std::future::pending().await,
    }
}

struct Signals {
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
    int: Signal,
    term: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
        })
    }
}

impl Daemon {
    /// Opens the listeners. Everything that may be refused has been.
    ///
    /// # Errors
    /// What cannot be listened on, or threads that cannot be had.
    pub async fn start(options: Options, config: Config) -> Result<Daemon, String> {
        let workers = config.global.nbthread.map_or_else(cores, |n| usize::try_from(n).unwrap_or(1));
        let most = options.connections.or(config.global.maxconn);
        let most = most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let mut proxy = Proxy::start_with(workers, most).map_err(|e| format!("the workers: {e}"))?;
        let passive = proxy.passive().ok_or("the data path gives it once")?;
        let (questions, asked) = mpsc::channel(ASKS);
        let sockets = socket::Sockets::new(&config.global);
        let mut daemon = Daemon {
            options,
            config,
            proxy,
            servers: Servers::new(passive),
            rates: Rates::default(),
            started: clock::now(),
            asked_so_far: 0,
            reloads: 0,
            reload_asked: false,
            lowered: Lowered::default(),
            listening: Vec::new(),
            logs: Sockets::default(),
            questions,
            asked,
            sockets,
            leaving: None,
            serving: watch::Sender::new(true),
        };
        let failed = daemon.apply().await;
        if failed.is_empty() { Ok(daemon) } else { Err(failed.join("\n")) }
    }

    /// Has everything follow the configuration; what could not be done.
    async fn apply(&mut self) -> Vec<String> {
        self.lowered = lower(&self.config, &self.questions);
        self.servers.apply(&self.config);
        self.proxy.shape_tables(&self.lowered.tables);
        self.listening = self.proxy.arrange(&self.lowered.fronts, &self.lowered.pools);
        self.push();
        let mut failed: Vec<String> = self.listening.iter().filter_map(complaint).collect();
        failed.extend(self.sockets.apply(&self.config.global, &self.questions).await);
        failed
    }

    /// The tables of who had which server.
    pub fn lowered_tables(&self) -> &[(String, Shape)] {
        &self.lowered.tables
    }

    /// Tells the data path who may get traffic, and how much.
    pub fn push(&mut self) {
        for server in &self.servers.list {
            if let Some(address) = server.address {
                self.proxy.set_address(&server.id, Some(address.ip()));
            }
            self.proxy.set_connections_max(&server.id, server.limit());
            self.proxy.set_weight(&server.id, server.share());
            self.proxy.set_up(&server.id, server.up());
        }
        self.tell();
    }

    /// Whether anybody could be served, to whom it concerns.
    fn tell(&mut self) {
        let servers = &self.servers.list;
        let up = servers.is_empty() || servers.iter().any(|server| server.up());
        let serving = up && self.listening.iter().all(|listening| listening.error.is_none());
        self.serving.send_if_modified(|before| std::mem::replace(before, serving) != serving);
    }

    /// Whether anybody could be served here: somebody listens, and not all servers are down. Told when it changes.
    pub fn serving(&self) -> watch::Receiver<bool> {
        self.serving.subscribe()
    }

    /// Runs until a signal ends it.
    pub async fn run(self) -> ExitCode {
        self.run_until(None, None).await
    }

    /// The same beside a part of this process that decides when it is over, and that signals are for.
    pub async fn run_beside(self, over: oneshot::Receiver<()>) -> ExitCode {
        self.run_until(Some(over), None).await
    }

    /// The same without files: the other part says what is to be balanced.
    pub async fn run_within(self, over: oneshot::Receiver<()>, wishes: mpsc::Receiver<Wish>) -> ExitCode {
        self.run_until(Some(over), Some(wishes)).await
    }

    async fn run_until(
        mut self,
        mut over: Option<oneshot::Receiver<()>>,
        mut wishes: Option<mpsc::Receiver<Wish>>,
    ) -> ExitCode {
        let (beside, files) = (over.is_some(), wishes.is_none());
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(e) => {
                error!("signals cannot be received: {e}");
                return ExitCode::FAILURE;
            }
        };
        let mut second = tokio::time::interval(SECOND);
        loop {
            if std::mem::take(&mut self.reload_asked) {
                self.reload("reload").await;
            }
            let until = self.leaving.flatten();
            tokio::select! {
                news = self.servers.next() => self.news(news),
                Some(ask) = self.asked.recv() => self.answer(ask),
                _ = second.tick() => if self.second() { break },
                _ = signals.hup.recv(), if files => self.reload("SIGHUP").await,
                _ = signals.usr2.recv(), if files => self.reload("SIGUSR2").await,
                _ = signals.usr1.recv(), if !beside => self.leave(),
                _ = signals.term.recv(), if !beside => break,
                _ = signals.int.recv(), if !beside => break,
                () = told(over.as_mut()), if beside => break,
                Some(wish) = wished(wishes.as_mut()) => match wish {
                    Wish::Balance(config) => self.change("virtual servers", *config).await,
                    Wish::Serve(backend, server, admin) => drop(self.wish(&backend, &server, admin)),
                },
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
            }
        }
        self.proxy.stop();
        self.sockets.remove();
        if let Some(path) = &self.options.pidfile {
            // It may have been removed by who reads it.
            let _ = std::fs::remove_file(path);
        }
        ExitCode::SUCCESS
    }

    fn news(&mut self, news: News) {
        match news {
            News::Checked(id, None) => {
                let backend = self.config.backends.iter().find(|b| b.name == id.balancer);
                let server = self.servers.list.iter().find(|s| s.id == id);
                let text = server.zip(backend).and_then(|(server, b)| notes::checked(server, b));
                return text.into_iter().for_each(|text| self.say(&id, Level::Notice, &text));
            }
            News::Checked(id, Some(change)) => {
                let server = self.servers.list.iter().find(|s| s.id == id);
                let why = server.and_then(|s| s.last.as_ref()).map(notes::reason).unwrap_or_default();
                self.turned(&id, &change, &why);
            }
            News::Turned(id, change, why) => self.turned(&id, &change, &why),
            News::Wished(id, admin) => _ = self.wish(&id.balancer, &id.host, admin),
            News::Address(..) | News::Grown => {}
        }
        self.push();
    }

    /// A server went up or down.
    fn turned(&mut self, id: &BackendId, change: &Change, why: &str) {
        let Some(at) = self.servers.list.iter().position(|s| s.id == *id) else { return };
        self.relieve(at, change);
        let sessions = self.proxy.snapshot().backends.iter().find(|b| b.id == *id).map_or(0, |b| b.counts.served);
        let left = notes::counts(self.servers.list.iter().filter(|s| s.id.balancer == id.balancer));
        let (level, text) = notes::turned(&self.servers.list[at], change, why, left, sessions);
        self.say(id, level, &text);
        if !change.up && left == (0, 0) {
            self.say(id, Level::Emergency, &format!("backend {} has no server available!", id.balancer));
        }
    }

    /// A server that is up again may want what its backups have.
    fn relieve(&mut self, at: usize, change: &Change) {
        let server = &self.servers.list[at];
        if !change.up || server.settings.on_marked_up.is_none() || server.settings.backup || server.share() == 0 {
            return;
        }
        let backups = self.servers.list.iter().filter(|s| s.id.balancer == server.id.balancer && s.settings.backup);
        backups.for_each(|backup| self.proxy.cut(&backup.id, b'U'));
    }

    /// A line about a server: to this process's own log, and to where its backend logs.
    pub fn say(&mut self, id: &BackendId, level: Level, text: &str) {
        if level >= Level::Notice {
            info!(event = "server", "{text}");
        } else {
            warn!(event = "server", "{text}");
        }
        let targets = self.lowered.logs.get(&id.balancer).map_or(&[][..], Vec::as_slice);
        self.logs.write(targets, level, &self.config.global.log_tag, text);
    }

    fn answer(&mut self, ask: Ask) {
        self.asked_so_far += 1;
        let answer = self.command(&ask.line, ask.level);
        // Nobody waits any more, otherwise.
        let _ = ask.reply.send(answer);
    }

    /// An operator's wish about a server.
    pub fn wish(&mut self, backend: &str, server: &str, admin: Admin) -> bool {
        let Some(found) = self.servers.find(backend, server) else { return false };
        let before = found.admin;
        if found.set_admin(admin) {
            let (id, text) = (found.id.clone(), notes::wished(found, before));
            self.say(&id, if admin == Admin::Ready { Level::Notice } else { Level::Alert }, &text);
            self.push();
        }
        for (backend, name) in self.servers.followers(backend, server) {
            self.wish(&backend, &name, admin);
        }
        true
    }

    /// What every second brings. Whether it is over.
    fn second(&mut self) -> bool {
        let mut warnings = std::collections::BTreeMap::new();
        self.proxy.revive_and_tell(&mut warnings);
        let view = self.proxy.snapshot();
        self.rates.tick(&view);
        if self.leaving.is_some() {
            return view.connections == 0;
        }
        if self.listening.iter().any(|l| l.error.is_some()) {
            self.listening = self.proxy.arrange(&self.lowered.fronts, &self.lowered.pools);
            self.tell();
        }
        false
    }

    /// Reads the files again and does what is different. Files that are refused change nothing.
    async fn reload(&mut self, signal: &str) {
        if self.leaving.is_some() {
            return warn!(event = "reload", "{signal}: not read again, since this process is about to end");
        }
        let (config, said) = read(&self.options);
        for line in said.lines() {
            warn!("{line}");
        }
        let Some(config) = config else {
            error!(event = "reload", "{signal}: the configuration is refused; everything goes on as it was");
            return;
        };
        if config.global.nbthread != self.config.global.nbthread {
            warn!(event = "reload", "`nbthread` has changed: it counts from the next start");
        }
        if config.global.maxconn != self.config.global.maxconn {
            warn!(event = "reload", "`maxconn` of `global` has changed: it counts from the next start");
        }
        self.change(signal, config).await;
    }

    /// Does what is different.
    async fn change(&mut self, why: &str, config: Config) {
        self.config = config;
        self.reloads += 1;
        for failed in self.apply().await {
            error!(event = "reload", "{failed}");
        }
        info!(event = "reload", "{why}: the configuration was read again; what it does not change goes on");
    }

    /// Nobody new is served; it ends when nobody is connected any more.
    fn leave(&mut self) {
        info!(event = "stopping", "SIGUSR1: no new connections; waiting for those that are open");
        self.proxy.arrange(&[], &self.lowered.pools);
        self.leaving = Some(self.config.global.hard_stop_after.map(|after| Instant::now() + after));
    }
}

/// Why an address is not listened on.
fn complaint(listening: &Listening) -> Option<String> {
    let error = listening.error.as_ref()?;
    Some(format!("{} cannot listen on {}: {error}", listening.balancer, listening.address))
}

/// One worker for each core that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
