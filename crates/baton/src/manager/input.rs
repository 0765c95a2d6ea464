//! Everything that the manager waits for, in one place.

use std::time::Duration;

use baton_net::clock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};

use super::apiserver;
use super::face::Question;
use super::{Manager, names, objects};
use crate::keeper::Report;
use crate::kube::watch::Change;
use crate::kube::write::Written;
use crate::proxy::health;

/// What could not be done is tried again this often, and the host looked at.
const RETRY: Duration = Duration::from_secs(1);
/// How soon events that the keeper had no room for are sent again.
const AGAIN: Duration = Duration::from_millis(5);

/// Something happened.
pub(super) enum Input {
    Report(Report),
    KeeperLost,
    Services(Change<objects::Service>),
    Slices(Change<objects::Slice>),
    Nodes(Change<objects::Node>),
    Written(Written),
    Resolved(names::Answer),
    Local(apiserver::Answer),
    /// Whether another API server answers.
    Elsewhere(Result<String, String>),
    Backend(health::Change),
    Asked(Question),
    Stop(&'static str),
    Dump,
    Hup,
    /// Some time has passed.
    Retry,
    LookUp,
    Tidy,
    Deadline,
    Flush,
    TooLong,
}

/// Where things come from.
pub(super) struct Inputs {
    pub(super) services: Option<mpsc::Receiver<Change<objects::Service>>>,
    pub(super) slices: Option<mpsc::Receiver<Change<objects::Slice>>>,
    pub(super) nodes: Option<mpsc::Receiver<Change<objects::Node>>>,
    pub(super) written: mpsc::Receiver<Written>,
    pub(super) resolved: mpsc::Receiver<names::Answer>,
    pub(super) local: Option<mpsc::Receiver<apiserver::Answer>>,
    pub(super) elsewhere: mpsc::Receiver<Result<String, String>>,
    pub(super) asked: mpsc::Receiver<Question>,
    pub(super) signals: Signals,
    pub(super) retry: Interval,
    pub(super) look_up: Interval,
}

pub(super) struct Signals {
    term: Signal,
    int: Signal,
    usr1: Signal,
    hup: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            usr1: signal(SignalKind::user_defined1())?,
            hup: signal(SignalKind::hangup())?,
        })
    }
}

/// Ticks that were missed are not made up for.
pub(super) fn every(period: Duration) -> Interval {
    let mut every = interval(period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

pub(super) fn retry() -> Interval {
    every(RETRY)
}

async fn next<T>(from: &mut Option<mpsc::Receiver<T>>) -> T {
    if let Some(receiver) = from
        && let Some(input) = receiver.recv().await
    {
        return input;
    }
    *from = None;
    std::future::pending().await
}

impl Manager {
    /// Waits for what happens next.
    pub(super) async fn next(&mut self) -> Input {
        let deadline = self.serving.as_ref().and_then(|s| s.state.deadline());
        let deadline = deadline.map(|at| at.left(clock::now()));
        let (waits, tidy, leaving) = (self.outbox.waits(), self.tidy_at, self.leaving);
        let resolving = self.resolves();
        let Inputs { services, slices, nodes, written, resolved, local, elsewhere, asked, signals, retry, look_up } =
            &mut self.inputs;
        tokio::select! {
            report = self.parts.reports.recv() => report.map_or(Input::KeeperLost, Input::Report),
            _ = signals.term.recv() => Input::Stop("SIGTERM"),
            _ = signals.int.recv() => Input::Stop("SIGINT"),
            _ = signals.usr1.recv() => Input::Dump,
            _ = signals.hup.recv() => Input::Hup,
            change = next(services) => Input::Services(change),
            change = next(slices) => Input::Slices(change),
            change = next(nodes) => Input::Nodes(change),
            Some(done) = written.recv() => Input::Written(done),
            Some(answer) = resolved.recv() => Input::Resolved(answer),
            answer = next(local) => Input::Local(answer),
            Some(found) = elsewhere.recv() => Input::Elsewhere(found),
            Some(question) = asked.recv() => Input::Asked(question),
            change = backend(&mut self.balancing) => Input::Backend(change),
            _ = retry.tick() => Input::Retry,
            _ = look_up.tick(), if resolving => Input::LookUp,
            () = sleep_until(tidy.unwrap_or_else(Instant::now)), if tidy.is_some() => Input::Tidy,
            () = sleep(deadline.unwrap_or(RETRY)), if deadline.is_some() => Input::Deadline,
            () = sleep(AGAIN), if waits => Input::Flush,
            () = sleep_until(leaving.unwrap_or_else(Instant::now)), if leaving.is_some() => Input::TooLong,
        }
    }

    fn resolves(&self) -> bool {
        let of_control_plane = self.control_plane.as_ref().is_some_and(|c| c.names().next().is_some());
        of_control_plane || self.serving.as_ref().is_some_and(|s| s.state.names().next().is_some())
    }
}

async fn backend(balancing: &mut Option<super::balancer::Balancing>) -> health::Change {
    match balancing {
        Some(balancing) => balancing.checks.next().await,
        None => std::future::pending().await,
    }
}
