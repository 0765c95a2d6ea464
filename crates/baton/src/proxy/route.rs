//! A pool as the data path sees it: the snapshot that connections choose from, whose turn it is, and who waits for room.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use baton_core::balance::{Ask, Load, Pick, Table};
use baton_core::pool::{Dealings, ProxyHeader};
use baton_core::settings::Url;

use super::slots::Key;
use super::target::Target;
use super::worker::{Command, Mailbox};

/// A backend within a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) target: Arc<Target>,
    /// Where it is; `None`: its name is not resolved, so it is not in the order.
    pub(super) address: Option<SocketAddr>,
    /// For type http.
    pub(super) url: Option<Url>,
    /// Sessions at once; 0: any number.
    pub(super) connections_max: u64,
    /// What each connection opens with.
    pub(super) proxy_header: Option<ProxyHeader>,
}

/// What a balancer chooses from now. Replaced as a whole, never changed.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) choices: Vec<Choice>,
    pub(super) table: Table,
    pub(super) dealings: Option<Arc<Dealings>>,
}

/// A connection that waits for room.
pub(super) struct Waiter {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) key: Key,
    /// The one server that it waits for; `None`: any.
    pub(super) target: Option<Arc<Target>>,
}

/// What becomes of a session's wish for a server.
pub(super) enum Turn {
    /// This one; it is counted as served.
    Now(Choice),
    /// It has to wait, for this one server or for any.
    Wait(Option<Arc<Target>>),
    /// Nobody is up.
    Nobody,
}

/// A balancer as the data path sees it.
pub(super) struct Route {
    pub(super) name: String,
    pub(super) snapshot: ArcSwap<Snapshot>,
    /// Whose turn it is, for all cores.
    turn: AtomicUsize,
    /// Counts what servers get and lose, so that of equals the one that has waited longest is known.
    stamps: AtomicU64,
    /// Clients refused because no backend could be had.
    pub(super) refused: AtomicU64,
    waiters: Mutex<VecDeque<Waiter>>,
    /// How many wait.
    pub(super) waiting: AtomicUsize,
    pub(super) waiting_max: AtomicUsize,
    /// Sessions so far, now, and at most.
    pub(super) sessions: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) open_max: AtomicU64,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Route {
    pub(super) fn new(name: &str) -> Route {
        Route {
            name: name.to_owned(),
            snapshot: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            stamps: AtomicU64::new(1),
            refused: AtomicU64::new(0),
            waiters: Mutex::default(),
            waiting: AtomicUsize::new(0),
            waiting_max: AtomicUsize::new(0),
            sessions: AtomicU64::new(0),
            open: AtomicU64::new(0),
            open_max: AtomicU64::new(0),
        }
    }

    /// The backend whose turn it is. `None`: all are dead, refuse.
    pub(super) fn next(&self) -> Option<(Arc<Target>, SocketAddr)> {
        let snapshot = self.snapshot.load();
        let index = snapshot.table.order().at(self.turn.fetch_add(1, Relaxed))?;
        let choice = &snapshot.choices[index];
        Some((choice.target.clone(), choice.address?))
    }

    /// Another backend than those tried. Takes nobody's turn.
    pub(super) fn after(&self, tried: impl Fn(&Arc<Target>) -> bool) -> Option<(Arc<Target>, SocketAddr)> {
        let snapshot = self.snapshot.load();
        let index = snapshot.table.order().after(self.turn.load(Relaxed), |i| tried(&snapshot.choices[i].target))?;
        let choice = &snapshot.choices[index];
        Some((choice.target.clone(), choice.address?))
    }

    /// The backend for a request: the one whose turn it is, or another than those tried.
    pub(super) fn choose(&self, tried: &[Arc<Target>]) -> Option<Choice> {
        let snapshot = self.snapshot.load();
        let order = snapshot.table.order();
        let index = if tried.is_empty() {
            order.at(self.turn.fetch_add(1, Relaxed))
        } else {
            let was_tried = |i: usize| tried.iter().any(|t| Arc::ptr_eq(t, &snapshot.choices[i].target));
            order.after(self.turn.load(Relaxed), was_tried)
        };
        index.map(|index| snapshot.choices[index].clone())
    }

    /// The server for a session, by the pool's algorithm and the servers' limits.
    pub(super) fn take(&self, source: IpAddr, tried: &[Arc<Target>]) -> Turn {
        let snapshot = self.snapshot.load();
        let turn = self.turn.fetch_add(1, Relaxed);
        let load = |i: usize| {
            let choice = &snapshot.choices[i];
            let served = choice.target.served.load(Relaxed);
            let room = choice.connections_max == 0 || served < choice.connections_max;
            Load { serving: served, room, stamp: choice.target.stamp.load(Relaxed) }
        };
        let was_tried = |i: usize| tried.iter().any(|t| Arc::ptr_eq(t, &snapshot.choices[i].target));
        let ask = Ask { turn, source: Some(source), draw: turn as u64, tried: &was_tried, load: &load };
        // Another worker may be faster where room is scarce: then the question is asked again.
        for _ in 0..=snapshot.choices.len() {
            match snapshot.table.pick(&ask) {
                Pick::Now(index) => {
                    let choice = &snapshot.choices[index];
                    if choice.enter(self.stamp()) {
                        return Turn::Now(choice.clone());
                    }
                }
                Pick::Later(index) => return Turn::Wait(Some(snapshot.choices[index].target.clone())),
                Pick::Anybody => return Turn::Wait(None),
                Pick::Nobody => return Turn::Nobody,
            }
        }
        Turn::Wait(None)
    }

    /// The same server again, if it may still be used and has room.
    pub(super) fn again(&self, target: &Arc<Target>) -> Option<Choice> {
        let snapshot = self.snapshot.load();
        let choice = snapshot.choices.iter().find(|c| Arc::ptr_eq(&c.target, target))?;
        choice.enter(self.stamp()).then(|| choice.clone())
    }

    fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Relaxed)
    }

    /// A session leaves its server: somebody who waits may come. How many the server has left.
    pub(super) fn leave(&self, target: &Arc<Target>) -> u64 {
        let left = target.served.fetch_sub(1, SeqCst) - 1;
        target.stamp.store(self.stamp(), Relaxed);
        if self.waiting.load(SeqCst) > 0 {
            self.wake(|waiter| waiter.target.as_ref().is_none_or(|wanted| Arc::ptr_eq(wanted, target)), 1);
        }
        left
    }

    /// Queues a connection; how many waited before it.
    pub(super) fn queue(&self, waiter: Waiter) -> usize {
        let mut waiters = self.waiters.lock().expect("nobody panics while holding it");
        waiters.push_back(waiter);
        self.waiting_max.fetch_max(waiters.len(), Relaxed);
        self.waiting.store(waiters.len(), SeqCst);
        waiters.len() - 1
    }

    /// A connection does not wait any more. `false`: it had been told that there may be room.
    pub(super) fn unqueue(&self, mailbox: &Arc<Mailbox>, key: Key) -> bool {
        let mut waiters = self.waiters.lock().expect("nobody panics while holding it");
        let before = waiters.len();
        waiters.retain(|w| !(w.key == key && Arc::ptr_eq(&w.mailbox, mailbox)));
        self.waiting.store(waiters.len(), SeqCst);
        waiters.len() < before
    }

    /// Tells those who wait that there may be room. They ask again, and wait again if they were wrong.
    pub(super) fn wake(&self, whom: impl Fn(&Waiter) -> bool, most: usize) {
        let mut waiters = self.waiters.lock().expect("nobody panics while holding it");
        for _ in 0..most {
            let Some(at) = waiters.iter().position(&whom) else { break };
            if let Some(waiter) = waiters.remove(at) {
                waiter.mailbox.post(Command::Turn(waiter.key));
            }
        }
        self.waiting.store(waiters.len(), SeqCst);
    }

    /// A worker has died: its connections do not wait any more, and what it may have been told of is somebody else's.
    pub(super) fn desert(&self, mailbox: &Arc<Mailbox>) {
        let mut waiters = self.waiters.lock().expect("nobody panics while holding it");
        waiters.retain(|waiter| !Arc::ptr_eq(&waiter.mailbox, mailbox));
        self.waiting.store(waiters.len(), SeqCst);
        drop(waiters);
        self.wake_all();
    }

    /// The snapshot has changed: who waits looks again.
    pub(super) fn wake_all(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.wake(|_| true, usize::MAX);
        }
    }
}

impl Choice {
    /// One more session, if it has room.
    fn enter(&self, stamp: u64) -> bool {
        let target = &self.target;
        let served = target.served.fetch_add(1, SeqCst);
        if self.connections_max > 0 && served >= self.connections_max {
            target.served.fetch_sub(1, SeqCst);
            return false;
        }
        target.stamp.store(stamp, Relaxed);
        if target.rare.served_max.load(Relaxed) <= served {
            target.rare.served_max.fetch_max(served + 1, Relaxed);
        }
        true
    }
}
