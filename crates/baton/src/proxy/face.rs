//! A front as the data path sees it: the plan that sessions follow, and its counters, which outlive every plan.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use baton_core::pool::{Condition, Front, Known};
use tokio::sync::Notify;

use super::route::Route;
use super::target::Answers;
use crate::haproxy::lines::Lines;
use crate::haproxy::requests::Requests;

/// What sessions of a front follow from when they come. Replaced as a whole, never changed.
pub(super) struct Plan {
    pub(super) settings: Front,
    /// A rule looks at the first bytes.
    pub(super) reads: bool,
    pub(super) switches: Vec<(Condition, Arc<Route>)>,
    pub(super) otherwise: Option<Arc<Route>>,
    /// Where its log lines go.
    pub(super) lines: Option<Arc<Lines>>,
    /// In mode http: what becomes of requests, and the pools that they may go to.
    pub(super) requests: Option<Arc<Requests>>,
    pub(super) pools: Vec<Arc<Route>>,
}

/// A front.
pub(super) struct Face {
    pub(super) plan: ArcSwap<Plan>,
    /// Sessions so far, now, and at most.
    pub(super) sessions: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) open_max: AtomicU64,
    /// Connections that a rule refused before a session, and sessions that one refused.
    pub(super) denied_connections: AtomicU64,
    pub(super) denied_sessions: AtomicU64,
    /// Connections that broke the PROXY protocol, or went away before they said what they want.
    pub(super) request_errors: AtomicU64,
    pub(super) from_clients: AtomicU64,
    pub(super) to_clients: AtomicU64,
    /// In mode http.
    pub(super) requests: AtomicU64,
    pub(super) answers: Answers,
    /// It is no longer configured: idle clients of mode http are sent away.
    pub(super) closed: AtomicBool,
    pub(super) closing: Notify,
}

impl fmt::Debug for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Face").field("name", &self.plan.load().settings.name).finish_non_exhaustive()
    }
}

/// Where the rules send a session.
pub(super) enum Way {
    /// There.
    To(Arc<Route>),
    /// Nowhere: it is refused.
    Denied,
    /// There is no pool for it.
    Nowhere,
    /// More bytes must come first.
    Unknown,
}

impl Face {
    pub(super) fn new(plan: Plan) -> Face {
        Face {
            plan: ArcSwap::from_pointee(plan),
            sessions: AtomicU64::new(0),
            open: AtomicU64::new(0),
            open_max: AtomicU64::new(0),
            denied_connections: AtomicU64::new(0),
            denied_sessions: AtomicU64::new(0),
            request_errors: AtomicU64::new(0),
            from_clients: AtomicU64::new(0),
            to_clients: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            answers: Answers::default(),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }

    /// Whether one more session fits.
    pub(super) fn has_room(&self) -> bool {
        let most = u64::from(self.plan.load().settings.connections_max);
        most == 0 || self.open.load(Relaxed) < most
    }

    /// No server gets any of its requests.
    pub(super) fn is_alone(&self) -> bool {
        self.plan.load().requests.as_ref().is_some_and(|requests| requests.is_alone())
    }

    /// It is no longer configured.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.closing.notify_waiters();
    }

    pub(super) fn enter(&self) {
        self.sessions.fetch_add(1, Relaxed);
        let open = self.open.fetch_add(1, Relaxed) + 1;
        if open > self.open_max.load(Relaxed) {
            self.open_max.fetch_max(open, Relaxed);
        }
    }
}

impl Plan {
    /// Whether a connection may become a session at all.
    pub(super) fn lets_in(&self, source: IpAddr, port: u16) -> bool {
        let known = Known { source, port, hello: Some(None), is_hello: false, over: true };
        let rule = self.settings.guards.iter().find(|g| g.early && g.when.holds(&known) == Some(true));
        rule.is_none_or(|rule| rule.accept)
    }

    /// Where a session goes by what is known of it.
    pub(super) fn way(&self, known: &Known<'_>) -> Way {
        for guard in self.settings.guards.iter().filter(|g| !g.early) {
            match guard.when.holds(known) {
                Some(true) if guard.accept => break,
                Some(true) => return Way::Denied,
                Some(false) => {}
                None => return Way::Unknown,
            }
        }
        for (when, route) in &self.switches {
            match when.holds(known) {
                Some(true) => return Way::To(route.clone()),
                Some(false) => {}
                None => return Way::Unknown,
            }
        }
        self.otherwise.clone().map_or(Way::Nowhere, Way::To)
    }
}
