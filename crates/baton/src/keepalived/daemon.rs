//! The daemon beside the VRRP thread: signals, reload, scripts, notifications, dumps, the log.

use std::process::ExitCode;
use std::time::Duration;

use baton_config::keepalived::Config;
use baton_core::settings::Vip;
use baton_core::vrrp::{Event, Found, Notice, Status, Subject};
use baton_net::clock;
use baton_net::table::Instance;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::assemble::{self, Kind};
use super::dump::{self, Zero};
use super::load;
use super::network::Network;
use super::notify::Notifier;
use super::options::{self, Options};
use super::program::{Ended, Program, Terms};
use super::scripts::{Ran, Scripts};
use super::services::Services;
use super::trackers::{self, Trackers};
use crate::cli::output::FAILED;
use crate::planner::notes;
use crate::vrrp::{Command, Handle, Report, World};
use crate::{systemd, vrrp};

/// How long the thread may take to give everything up before it is told to leave at once.
const LEAVE: Duration = Duration::from_secs(3);
/// How long notify scripts are waited for at the end.
const SCRIPTS: Duration = Duration::from_secs(5);

/// The running daemon.
pub(super) struct Daemon {
    options: Options,
    config: Config,
    /// Whose tables the kernel has for it.
    instance: Instance,
    fence: bool,
    thread: Handle,
    reports: mpsc::Receiver<Report>,
    scripts: Scripts,
    results: mpsc::Receiver<Ran>,
    notifier: Notifier,
    trackers: Trackers,
    zero: Zero,
    network: Network,
    /// Instances whose routes are there.
    masters: Vec<String>,
    services: Option<Services>,
    /// When the first instance starts.
    start: Instant,
    leaving: Option<Instant>,
    /// What the balancer in this process can do.
    serving: Option<watch::Receiver<bool>>,
    /// That balancer has ended.
    deserted: bool,
}

/// How it came to its end.
enum End {
    Stopped,
    AtOnce,
    Lost,
}

/// Runs until a signal ends it. `serving`: what the balancer in this process can do, if there is one. `started`: what to
/// do when everything runs.
pub(super) async fn run(
    options: Options,
    config: Config,
    serving: Option<watch::Receiver<bool>>,
    started: impl FnOnce(),
) -> ExitCode {
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => return failed(&format!("signals: {e}")),
    };
    if let Some((command, timeout)) = &config.global.startup {
        startup("startup_script", command, *timeout, &config).await;
    }
    // Its sockets are made by a small runtime of their own.
    let (instance, address_monitoring) = (instance(&options, &config), options.address_monitoring);
    let own = instance.clone();
    let opened = tokio::task::spawn_blocking(move || open_world(&own, address_monitoring)).await;
    let (world, fence) = match opened.unwrap_or_else(|e| Err(e.to_string())) {
        Ok(opened) => opened,
        Err(why) => return failed(&why),
    };
    let (network, services) = match surroundings(&config).await {
        Ok(running) => running,
        Err(why) => return failed(&why),
    };
    let spawned = vrrp::spawn(assemble::settings(&config, fence, serving.is_some()), world);
    let (thread, reports) = match spawned {
        Ok(running) => running,
        Err(e) => return failed(&format!("the VRRP thread: {e}")),
    };
    let (scripts, results) = Scripts::new();
    let notifier = Notifier::new(&config);
    let trackers = Trackers::default();
    let (zero, leaving, deserted) = (Zero::new(), None, false);
    let start = Instant::now() + config.global.startup_delay;
    let mut daemon = Daemon {
        options,
        config,
        instance,
        fence,
        thread,
        reports,
        scripts,
        results,
        notifier,
        trackers,
        zero,
        network,
        masters: Vec::new(),
        services,
        start,
        leaving,
        serving,
        deserted,
    };
    daemon.watch();
    daemon.served();
    daemon.delay_over();
    started();
    // Nobody may be there to be told.
    let _ = systemd::notify("READY=1");
    let end = daemon.work(signals).await;
    daemon.leave(end).await
}

/// What runs beside the VRRP thread: adverts may come from a static address, and a service is there before its address.
async fn surroundings(config: &Config) -> Result<(Network, Option<Services>), String> {
    let network = Network::start().map_err(|e| format!("the host's network: {e}"))?;
    // Nothing but its end can keep it from answering.
    let _ = network.want(config, &[]).await;
    let mut services = None;
    Services::apply(&mut services, config).await?;
    Ok((network, services))
}

fn failed(why: &str) -> ExitCode {
    error!("{why}");
    ExitCode::from(FAILED)
}

/// Several run beside each other as the original's do: those that are not told apart by their pid files are refused.
fn instance(options: &Options, config: &Config) -> Instance {
    let name = config.global.instance.as_deref();
    let file = options.pid_files.first().filter(|_| options.own_pid_file).map(|file| file.display().to_string());
    let parts = ["keepalived"].into_iter().chain(name).chain(file.as_deref());
    Instance::of([parts.collect::<Vec<_>>().join(".")])
}

/// Without nftables it runs as the original does: an address stays where a process was killed.
fn open_world(instance: &Instance, address_monitoring: bool) -> Result<(World, bool), String> {
    match World::open(instance.clone(), true, address_monitoring) {
        Ok(world) => Ok((world, true)),
        Err(why) => {
            let world = World::open(instance.clone(), false, address_monitoring)?;
            warn!("{why}; so nothing ends what this process holds when it is killed, as with the original");
            Ok((world, false))
        }
    }
}

async fn startup(what: &str, command: &baton_config::keepalived::model::Command, timeout: Duration, config: &Config) {
    let ended = match Program::find(command, &Terms::of(&config.global)) {
        Ok(program) => program.run(timeout).await,
        Err(why) => Ended::NotStarted(why),
    };
    match ended {
        Ended::Code(0) => {}
        Ended::Code(code) => warn!("{what} exited with status {code}"),
        Ended::Signal => warn!("{what} was ended by a signal"),
        Ended::TimedOut => warn!("{what} was ended: it took longer than {timeout:?}"),
        Ended::NotStarted(why) => warn!("{what}: {why}"),
    }
}

struct Signals {
    hup: Signal,
    int: Signal,
    term: Signal,
    data: Signal,
    stats: Signal,
    json: Signal,
    clear: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let of = |name: &str| signal(SignalKind::from_raw(options::signal_number(name).unwrap_or(0)));
        Ok(Signals {
            hup: of("RELOAD")?,
            int: signal(SignalKind::interrupt())?,
            term: of("STOP")?,
            data: of("DATA")?,
            stats: of("STATS")?,
            json: of("JSON")?,
            clear: of("STATS_CLEAR")?,
        })
    }
}

/// Waits for a change. False: none can come any more.
async fn changed(serving: Option<&mut watch::Receiver<bool>>) -> bool {
    match serving {
        Some(serving) => serving.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

impl Daemon {
    /// Scripts, files and processes, as the configuration has them now.
    fn watch(&mut self) {
        let tracked = |name: &str| {
            let of = |tracks: &baton_config::keepalived::model::Tracks| tracks.scripts.iter().any(|t| t.name == name);
            self.config.instances.iter().any(|i| of(&i.tracks)) || self.config.groups.iter().any(|g| of(&g.tracks))
        };
        let scripts: Vec<_> = self.config.scripts.iter().filter(|script| tracked(&script.name)).cloned().collect();
        self.scripts.configure(&scripts, &Terms::of(&self.config.global));
        for problem in self.trackers.configure(&self.config) {
            warn!("{problem}");
        }
    }

    async fn work(&mut self, mut signals: Signals) -> End {
        let (mut files, mut processes) = (every(trackers::FILES), every(trackers::PROCESSES));
        loop {
            let leaving = self.leaving.unwrap_or_else(Instant::now);
            let (has_files, has_processes) = self.trackers.any();
            let (start, delayed) = (self.start, self.start > Instant::now());
            tokio::select! {
                report = self.reports.recv() => match report {
                    Some(Report::Stopped) => return End::Stopped,
                    Some(report) => self.report(report),
                    None => return End::Lost,
                },
                Some(ran) = self.results.recv() => self.ran(&ran),
                there = changed(self.serving.as_mut()), if !self.deserted => {
                    self.deserted = !there;
                    self.served();
                }
                _ = files.tick(), if has_files => {
                    let events = self.trackers.look_at_files();
                    self.checked(events);
                }
                _ = processes.tick(), if has_processes => {
                    let events = self.trackers.look_at_processes(std::time::Instant::now());
                    self.checked(events);
                }
                Some((group, there)) = self.network.groups.recv() => self.tracked(&group, there),
                () = tokio::time::sleep_until(start), if delayed => self.delay_over(),
                _ = signals.hup.recv() => self.reload().await,
                _ = signals.data.recv() => self.dump("data").await,
                _ = signals.stats.recv() => self.dump("stats").await,
                _ = signals.json.recv() => self.dump("json").await,
                _ = signals.clear.recv() => self.clear().await,
                _ = signals.term.recv() => if self.stop("SIGTERM") { return End::AtOnce },
                _ = signals.int.recv() => if self.stop("SIGINT") { return End::AtOnce },
                () = tokio::time::sleep_until(leaving), if self.leaving.is_some() => {
                    warn!("giving up takes too long: leaving at once");
                    return End::AtOnce;
                }
            }
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Note(note) => notes::line(note.level(), "vrrp", &note.to_string()),
            Report::Log(level, text) => notes::line(level, "vrrp", &text),
            Report::Notify { of, name, what, priority } => {
                self.moved(of, &name, what);
                self.notifier.tell(of, &name, what, priority);
            }
            Report::Stopped => {}
        }
    }

    /// A master has its routes.
    fn moved(&mut self, of: Subject, name: &str, what: Notice) {
        let had = self.masters.len();
        match what {
            _ if of == Subject::Group => {}
            Notice::Master if !self.masters.iter().any(|master| master == name) => self.masters.push(name.to_owned()),
            Notice::Backup | Notice::Fault | Notice::Stop | Notice::Deleted => {
                self.masters.retain(|master| master != name);
            }
            _ => {}
        }
        if self.masters.len() != had {
            self.network.want(&self.config, &self.masters);
        }
    }

    /// What a `track_group` stands for is there, or not.
    fn tracked(&mut self, group: &str, there: bool) {
        let found = if there { Found::Well } else { Found::Failed };
        self.checked(vec![Event::Checked { tracker: assemble::tracker(Kind::Group, group), found }]);
    }

    /// `vrrp_startup_delay` is over: instances begin.
    fn delay_over(&mut self) {
        if !self.config.global.startup_delay.is_zero() && self.start <= Instant::now() {
            self.checked(vec![Event::Checked { tracker: assemble::STARTUP.into(), found: Found::Well }]);
        }
    }

    fn ran(&mut self, ran: &Ran) {
        let found = if ran.well { Found::Well } else { Found::Failed };
        self.checked(vec![Event::Checked { tracker: assemble::tracker(Kind::Script, &ran.script), found }]);
    }

    /// A node whose balancer can serve nobody is not fit to hold the address.
    fn served(&mut self) {
        let Some(serving) = &mut self.serving else { return };
        let fit = *serving.borrow_and_update() && !self.deserted;
        let found = if fit { Found::Well } else { Found::Failed };
        self.checked(vec![Event::Checked { tracker: assemble::BALANCER.into(), found }]);
    }

    fn checked(&mut self, events: Vec<Event>) {
        for event in events {
            if !self.thread.send(Command::Event(event)) {
                warn!("the VRRP thread is busy: the result of a check is lost");
            }
        }
    }

    /// The difference between the old file and the new one. A file that is refused changes nothing.
    async fn reload(&mut self) {
        // Nobody may be there to be told.
        let _ = systemd::notify("RELOADING=1");
        match load::load(&self.options) {
            Ok(loaded) => {
                loaded.say();
                if load::process_differs(&loaded.config.global, &self.config.global) {
                    info!(
                        "what the file says of the process itself (network namespace, pid files) stays until a restart"
                    );
                }
                let settings = assemble::settings(&loaded.config, self.fence, self.serving.is_some());
                if self.thread.send(Command::Configure(Box::new(settings))) {
                    self.config = loaded.config;
                    self.notifier.configure(&self.config);
                    self.watch();
                    self.network.want(&self.config, &self.masters);
                    self.delay_over();
                    if self.config.global.fifo_states_on_reload
                        && let Some(status) = self.status().await
                    {
                        self.notifier.states(&status);
                    }
                    if let Err(why) = Services::apply(&mut self.services, &self.config).await {
                        error!("{why}");
                    }
                    info!("the configuration was read again");
                } else {
                    error!("the VRRP thread is busy: the old configuration stays; try again");
                }
            }
            Err(refused) => {
                error!("the old configuration stays:");
                refused.say();
            }
        }
        let _ = systemd::notify("READY=1");
    }

    async fn status(&mut self) -> Option<Status> {
        let (answer, status) = oneshot::channel();
        if !self.thread.send(Command::Status(answer)) {
            return None;
        }
        status.await.ok()
    }

    async fn dump(&mut self, kind: &str) {
        let Some(status) = self.status().await else {
            return warn!("the VRRP thread is busy: nothing was written");
        };
        let now = clock::now();
        let text = match kind {
            "data" => dump::data(&self.config, &status, now),
            "stats" => dump::stats(&self.config, &status, &self.zero),
            _ => dump::json(&self.config, &status, &self.zero, now),
        };
        match dump::write(&dump::name(&self.config, kind), &text) {
            Ok(path) => info!("wrote {}", path.display()),
            Err(e) => warn!("the dump ({kind}): {e}"),
        }
    }

    /// Counters begin anew.
    async fn clear(&mut self) {
        if let Some(status) = self.status().await {
            self.zero = status.routers.iter().map(|r| (r.name.to_string(), r.counters)).collect();
        }
    }

    /// Begins to give up. `true`: it had begun before, so this is the second signal.
    fn stop(&mut self, name: &str) -> bool {
        if self.leaving.is_some() {
            warn!("{name} again: leaving at once");
            return true;
        }
        info!("{name}: giving up what is held, and leaving");
        let _ = systemd::notify("STOPPING=1");
        self.leaving = Some(Instant::now() + LEAVE);
        !self.thread.send(Command::Event(Event::Stop))
    }

    async fn leave(mut self, end: End) -> ExitCode {
        let code = match end {
            End::Stopped => ExitCode::SUCCESS,
            End::AtOnce => {
                if !self.leave_at_once().await {
                    self.withdraw().await;
                }
                ExitCode::SUCCESS
            }
            End::Lost => {
                error!("the VRRP thread has ended: removing what it held");
                self.withdraw().await;
                ExitCode::from(FAILED)
            }
        };
        drop(self.network);
        if let Some(services) = self.services.take() {
            services.finish().await;
        }
        self.notifier.finish(SCRIPTS).await;
        drop(self.scripts);
        if let Some((command, timeout)) = &self.config.global.shutdown {
            startup("shutdown_script", command, *timeout, &self.config).await;
        }
        code
    }

    /// `false`: it does not answer.
    async fn leave_at_once(&mut self) -> bool {
        if !self.thread.send(Command::Leave) {
            return false;
        }
        let gone = async { while !matches!(self.reports.recv().await, None | Some(Report::Stopped)) {} };
        tokio::time::timeout(LEAVE, gone).await.is_ok()
    }

    async fn withdraw(&self) {
        let settings = assemble::settings(&self.config, self.fence, false);
        let addresses = settings.routers.iter().flat_map(|router| router.all_addresses());
        let vips: Vec<Vip> = addresses.map(vrrp::vip).collect();
        let (instance, fence) = (self.instance.clone(), self.fence);
        let withdrawn = tokio::task::spawn_blocking(move || crate::kernel::withdraw(&instance, &vips, fence)).await;
        for failure in withdrawn.unwrap_or_else(|e| vec![e.to_string()]) {
            warn!("{failure}");
        }
    }
}
