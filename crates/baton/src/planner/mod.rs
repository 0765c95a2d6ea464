//! The planner: everything that may take its time. Health checks, reloads, markers, the log, and what is shown of it all.
//!
//! One task on one thread owns all of it and waits in one place; what takes long runs beside it and comes back as a
//! value. Nothing here delays a renewal: the keeper has a thread of its own.

mod answer;
mod balance;
mod leave;
pub(crate) mod notes;
mod reload;
mod remember;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use baton_core::keeper::Event;
use baton_core::settings::Settings;
use baton_core::time::Time;
use baton_net::clock;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::admin::socket::Socket;
use crate::admin::{self, ASKS, Ask};
use crate::cli::args::Start;
use crate::keeper::{Command, Handle, Report};
use crate::markers::{Markers, Store};
use crate::proxy::Proxy;

use balance::Balance;

/// Listeners that could not be made are tried again this often.
const RETRY: Duration = Duration::from_secs(1);
/// Whether the markers are still there is looked at this often.
const MARKERS: Duration = Duration::from_secs(10);
/// What a hand-over may take beyond the drain time.
const LEAVE: Duration = Duration::from_secs(2);

/// What the start sequence has made.
pub struct Parts {
    /// The command line: a reload reads the same file with the same flags.
    pub options: Start,
    /// Started under the name kube-vip.
    pub as_kube_vip: bool,
    /// What the configuration asks for.
    pub settings: Settings,
    /// Where markers are kept.
    pub markers: Store,
    /// The keeper's thread.
    pub keeper: Handle,
    /// What it tells.
    pub reports: mpsc::Receiver<Report>,
    /// The balancer.
    pub proxy: Proxy,
    /// The control socket, when there is one.
    pub socket: Option<Socket>,
    /// When the process started.
    pub started: Time,
    /// Warnings that `status` goes on showing, by what they are about.
    pub warnings: BTreeMap<&'static str, String>,
}

struct Planner {
    parts: Parts,
    balance: Balance,
    questions: mpsc::Sender<Ask>,
    asked: mpsc::Receiver<Ask>,
    http: Option<(SocketAddr, JoinHandle<()>)>,
    /// When the tables of addresses that are no longer configured may go.
    tidy: Option<Instant>,
    /// What the markers say, as far as this process knows.
    remembered: Markers,
    /// Until when a hand-over may take.
    leaving: Option<Instant>,
}

/// Why the loop ends.
enum End {
    /// Everything is withdrawn.
    Stopped,
    /// A second signal, or the hand-over took too long.
    AtOnce,
    /// The keeper's thread is gone.
    KeeperLost,
}

/// Runs until a signal ends it.
pub async fn run(mut parts: Parts) -> ExitCode {
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => {
            error!("signals cannot be received: {e}");
            leave::withdraw(&parts.settings.ownership).await;
            return ExitCode::from(crate::cli::output::FAILED);
        }
    };
    let (questions, asked) = mpsc::channel(ASKS);
    let balance = Balance::new(parts.proxy.passive().expect("the data path gives it once, at the start"));
    let store = parts.markers.clone();
    let remembered = tokio::task::spawn_blocking(move || store.read()).await.unwrap_or_default();
    let mut planner = Planner { parts, balance, questions, asked, remembered, http: None, tidy: None, leaving: None };
    planner.open_socket();
    planner.open_admin().await;
    planner.apply_balancers();
    let end = planner.work(signals).await;
    planner.leave(end).await
}

struct Signals {
    hup: Signal,
    int: Signal,
    term: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            hup: signal(SignalKind::hangup())?,
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
        })
    }
}

impl Planner {
    async fn work(&mut self, mut signals: Signals) -> End {
        let mut retry = tokio::time::interval(RETRY);
        let mut markers = tokio::time::interval_at(Instant::now() + MARKERS, MARKERS);
        loop {
            let leaving = self.leaving.unwrap_or_else(far);
            let tidy = self.tidy.unwrap_or_else(far);
            let judge = self.balance.deadline().map_or(RETRY, |at| at.left(clock::now()));
            tokio::select! {
                report = self.parts.reports.recv() => match report {
                    Some(Report::Stopped) => return End::Stopped,
                    Some(report) => self.report(report).await,
                    None => return End::KeeperLost,
                },
                change = self.balance.checks.next() => self.backend_changed(change),
                () = tokio::time::sleep(judge), if self.balance.deadline().is_some() => self.judge(),
                Some(question) = self.asked.recv() => self.answer(question),
                _ = signals.hup.recv() => self.reload().await,
                _ = signals.term.recv() => if self.stop("SIGTERM") { return End::AtOnce },
                _ = signals.int.recv() => if self.stop("SIGINT") { return End::AtOnce },
                _ = retry.tick() => self.again().await,
                _ = markers.tick() => self.heal_markers().await,
                () = tokio::time::sleep_until(tidy), if self.tidy.is_some() => self.tidy().await,
                () = tokio::time::sleep_until(leaving), if self.leaving.is_some() => {
                    warn!("the hand-over takes too long: leaving at once");
                    return End::AtOnce;
                }
            }
        }
    }

    async fn report(&mut self, report: Report) {
        match report {
            Report::Note(note) => notes::log(&note),
            Report::Log(level, text) => notes::line(level, "keeper", &text),
            Report::Holding(vip, holding) => self.parts.proxy.holding(vip, holding),
            Report::Remember(marker) => self.remember(marker).await,
            // No address of this daemon hangs on a Lease.
            Report::Leading { .. } | Report::Stopped => {}
        }
    }

    /// What could not be opened before is tried again.
    async fn again(&mut self) {
        self.parts.proxy.revive_and_tell(&mut self.parts.warnings);
        self.listen_again();
        if self.http.is_none() && self.parts.settings.admin.is_some() {
            self.open_admin().await;
        }
    }

    fn open_socket(&mut self) {
        let Some(socket) = &self.parts.socket else { return };
        match socket.listener().and_then(UnixListener::from_std) {
            Ok(listener) => {
                tokio::spawn(admin::http::answer(listener, self.questions.clone()));
            }
            Err(e) => {
                warn!("the control socket cannot be used: {e}");
                self.parts.warnings.insert("socket", format!("the control socket cannot be used: {e}"));
            }
        }
    }

    /// Serves metrics and probes where the settings say; nothing happens when it does already.
    async fn open_admin(&mut self) {
        let wanted = self.parts.settings.admin;
        if self.http.as_ref().map(|(address, _)| *address) == wanted {
            return;
        }
        if let Some((_, task)) = self.http.take() {
            task.abort();
            // Its listener is closed with it.
            let _ = task.await;
        }
        let Some(address) = wanted else { return };
        match TcpListener::bind(address).await {
            Ok(listener) => {
                if self.parts.warnings.remove("admin").is_some() {
                    info!("metrics and probes are served on {address}");
                }
                let task = tokio::spawn(admin::http::serve(listener, self.questions.clone()));
                self.http = Some((address, task));
            }
            Err(e) => {
                let why = format!("metrics and probes are not served: {address}: {e}");
                if self.parts.warnings.insert("admin", why.clone()).as_ref() != Some(&why) {
                    warn!("{why}; tried again every second");
                }
            }
        }
    }

    /// Begins the hand-over. `true`: it had begun before, so this is the second signal.
    fn stop(&mut self, name: &str) -> bool {
        if self.leaving.is_some() {
            warn!("{name} again: leaving at once");
            return true;
        }
        info!("{name}: handing over and leaving");
        self.leaving = Some(Instant::now() + self.parts.settings.ownership.drain + LEAVE);
        !self.parts.keeper.send(Command::Event(Event::Stop))
    }
}

/// A time that never comes, for a branch that is switched off.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}
