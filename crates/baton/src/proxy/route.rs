//! A pool as the data path sees it: the snapshot that connections choose from, whose turn it is, and who waits for room.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use baton_core::balance::{Ask, Load, Pick, Table};
use baton_core::pool::{Condition, Dealings, Known, ProxyHeader, Source, Stick, connections};
use baton_core::settings::Url;
use baton_core::stick::Table as Stuck;
use baton_net::clock;
use tokio::sync::Notify;

use super::slots::Key;
use super::target::{Answers, Target, Times};
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
    /// The same while the pool has few; 0: as many.
    pub(super) connections_min: u64,
    /// Sessions that may wait for it alone; 0: any number.
    pub(super) queue_max: u64,
    /// What each connection opens with.
    pub(super) proxy_header: Option<ProxyHeader>,
    /// It may get traffic.
    pub(super) up: bool,
    /// Where connections to it come from.
    pub(super) source: Option<Arc<Source>>,
    /// Clients are not kept at it.
    pub(super) strange: bool,
}

/// Who had which server, by name: a pool's own, or another's.
pub(super) type StuckTable = Arc<Mutex<Stuck<Arc<str>>>>;

/// What a session wants of its pool.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// This server.
    pub(super) target: Option<Arc<Target>>,
    /// That its server is remembered under this.
    pub(super) key: Option<IpAddr>,
}

/// What a balancer chooses from now. Replaced as a whole, never changed.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) choices: Vec<Choice>,
    pub(super) table: Table,
    pub(super) dealings: Option<Arc<Dealings>>,
    /// Sessions at which servers may have all their connections.
    pub(super) full: u64,
    /// Which of them a condition asks for.
    pub(super) picks: Vec<(Condition, usize)>,
    /// How clients are kept at their servers, and where that is remembered.
    pub(super) sticking: Option<(Vec<Stick>, StuckTable)>,
    /// Servers that may get traffic: without backups while there are others, as haproxy counts.
    pub(super) usable: usize,
}

/// How who waits is told.
#[derive(Clone)]
pub(super) enum Bell {
    /// A session of a worker.
    Session(Arc<Mailbox>, Key),
    /// A request.
    Request(Arc<Notify>),
}

impl Bell {
    fn is(&self, other: &Bell) -> bool {
        match (self, other) {
            (Bell::Session(a, x), Bell::Session(b, y)) => x == y && Arc::ptr_eq(a, b),
            (Bell::Request(a), Bell::Request(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    fn ring(&self) {
        match self {
            Bell::Session(mailbox, key) => mailbox.post(Command::Turn(*key)),
            Bell::Request(notify) => notify.notify_one(),
        }
    }
}

/// A connection or request that waits for room.
pub(super) struct Waiter {
    pub(super) bell: Bell,
    /// The one server that it waits for; `None`: any.
    pub(super) target: Option<Arc<Target>>,
}

/// What becomes of a session's wish for a server.
pub(super) enum Turn {
    /// This one; it is counted as served.
    Now(Choice),
    /// It has to wait, for this one server or for any.
    Wait(Option<Arc<Target>>),
    /// Too many wait for the one server that it has to be.
    Full,
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
    /// How many of them for any server, and at most.
    pub(super) waiting_any: AtomicU64,
    pub(super) waiting_max: AtomicU64,
    /// Sessions so far, now, and at most.
    pub(super) sessions: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) open_max: AtomicU64,
    /// How long its sessions took.
    pub(super) times: Times,
    /// In mode http.
    pub(super) answers: Answers,
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
            waiting_any: AtomicU64::new(0),
            waiting_max: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            open: AtomicU64::new(0),
            open_max: AtomicU64::new(0),
            times: Times::default(),
            answers: Answers::default(),
        }
    }

    /// What a session wants, by what is known of it; nothing, in most pools.
    pub(super) fn wish(&self, known: &Known<'_>, destination: impl Fn() -> Option<IpAddr>) -> Option<Box<Wish>> {
        let snapshot = self.snapshot.load();
        if snapshot.picks.is_empty() && snapshot.sticking.is_none() {
            return None;
        }
        let applies = |when: &Condition| when.holds(known) == Some(true);
        let pick = snapshot.picks.iter().find(|(when, at)| snapshot.table.is_up(*at) && applies(when));
        let mut wish = Wish { target: pick.map(|(_, at)| snapshot.choices[*at].target.clone()), key: None };
        if let Some((rules, table)) = &snapshot.sticking {
            for rule in rules.iter().filter(|rule| applies(&rule.when)) {
                let key = if rule.by_destination { destination() } else { Some(known.source) };
                let Some(key) = key.map(|key| key.to_canonical()) else { continue };
                if rule.look && wish.target.is_none() {
                    let name = table.lock().expect("nobody panics while holding it").get(key, clock::now());
                    let server = name.and_then(|name| snapshot.choices.iter().find(|c| *c.target.id.host == *name));
                    wish.target = server.map(|choice| choice.target.clone());
                }
                if rule.keep {
                    wish.key.get_or_insert(key);
                }
            }
        }
        Some(Box::new(wish))
    }

    /// Remembers where a session went.
    pub(super) fn keep(&self, key: IpAddr, choice: &Choice) {
        if let Some((_, table)) = self.snapshot.load().sticking.as_ref().filter(|_| !choice.strange) {
            let name = Arc::from(choice.target.id.host.as_str());
            table.lock().expect("nobody panics while holding it").put(key, name, clock::now());
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
    pub(super) fn take(&self, source: IpAddr, tried: &[Arc<Target>], wish: Option<&Wish>) -> Turn {
        let snapshot = self.snapshot.load();
        let turn = self.turn.fetch_add(1, Relaxed);
        let load = |i: usize| {
            let choice = &snapshot.choices[i];
            let served = choice.target.served.load(Relaxed);
            let most = self.most(choice, &snapshot);
            let crowded = choice.queue_max > 0 && choice.target.rare.waiting.load(Relaxed) >= choice.queue_max;
            let stamp = choice.target.stamp.load(Relaxed);
            Load { serving: served, room: most == 0 || served < most, crowded, stamp }
        };
        let wanted = wish.and_then(|wish| wish.target.as_ref());
        let wanted = wanted.and_then(|target| snapshot.choices.iter().position(|c| Arc::ptr_eq(&c.target, target)));
        let yields = snapshot.dealings.as_ref().is_some_and(|dealings| dealings.redispatch);
        let was_tried = |i: usize| tried.iter().any(|t| Arc::ptr_eq(t, &snapshot.choices[i].target));
        let ask = Ask { turn, source: Some(source), draw: turn as u64, wanted, yields, tried: &was_tried, load: &load };
        // Another worker may be faster where room is scarce: then the question is asked again.
        for _ in 0..=snapshot.choices.len() {
            match snapshot.table.pick(&ask) {
                Pick::Now(index) => {
                    let choice = &snapshot.choices[index];
                    if choice.enter(self.stamp(), self.most(choice, &snapshot)) {
                        return Turn::Now(choice.clone());
                    }
                }
                Pick::Later(index) => return Turn::Wait(Some(snapshot.choices[index].target.clone())),
                Pick::Anybody => return Turn::Wait(None),
                Pick::Full => return Turn::Full,
                Pick::Nobody => return Turn::Nobody,
            }
        }
        Turn::Wait(None)
    }

    /// The same server again, if it may still be used and has room.
    pub(super) fn again(&self, target: &Arc<Target>) -> Option<Choice> {
        let snapshot = self.snapshot.load();
        let choice = snapshot.choices.iter().find(|c| Arc::ptr_eq(&c.target, target))?;
        choice.enter(self.stamp(), self.most(choice, &snapshot)).then(|| choice.clone())
    }

    /// Sessions that a server may have now; 0: any number.
    fn most(&self, choice: &Choice, snapshot: &Snapshot) -> u64 {
        if choice.connections_min == 0 {
            return choice.connections_max;
        }
        connections(choice.connections_min, choice.connections_max, self.open.load(Relaxed), snapshot.full)
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
        let (now, most) = match &waiter.target {
            Some(target) => (&target.rare.waiting, &target.rare.waiting_max),
            None => (&self.waiting_any, &self.waiting_max),
        };
        most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
        waiters.push_back(waiter);
        self.waiting.store(waiters.len(), SeqCst);
        waiters.len() - 1
    }

    /// A connection does not wait any more. `false`: it had been told that there may be room.
    pub(super) fn unqueue(&self, bell: &Bell) -> bool {
        let mut waiters = self.waiters.lock().expect("nobody panics while holding it");
        let gone = waiters.iter().position(|w| w.bell.is(bell)).and_then(|at| waiters.remove(at));
        gone.iter().for_each(|waiter| self.leaves(waiter));
        self.waiting.store(waiters.len(), SeqCst);
        gone.is_some()
    }

    /// Tells those who wait that there may be room. They ask again, and wait again if they were wrong.
    pub(super) fn wake(&self, whom: impl Fn(&Waiter) -> bool, most: usize) {
        let mut waiters = self.waiters.lock().expect("nobody panics while holding it");
        for _ in 0..most {
            let Some(at) = waiters.iter().position(&whom) else { break };
            if let Some(waiter) = waiters.remove(at) {
                self.leaves(&waiter);
                waiter.bell.ring();
            }
        }
        self.waiting.store(waiters.len(), SeqCst);
    }

    /// A worker has died: its connections do not wait any more, and what it may have been told of is somebody else's.
    pub(super) fn desert(&self, mailbox: &Arc<Mailbox>) {
        let mut waiters = self.waiters.lock().expect("nobody panics while holding it");
        waiters.retain(|waiter| {
            let stays = !matches!(&waiter.bell, Bell::Session(its, _) if Arc::ptr_eq(its, mailbox));
            if !stays {
                self.leaves(waiter);
            }
            stays
        });
        self.waiting.store(waiters.len(), SeqCst);
        drop(waiters);
        self.wake_all();
    }

    /// It waits no more.
    fn leaves(&self, waiter: &Waiter) {
        waiter.target.as_ref().map_or(&self.waiting_any, |target| &target.rare.waiting).fetch_sub(1, Relaxed);
    }

    /// The snapshot has changed: who waits looks again.
    pub(super) fn wake_all(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.wake(|_| true, usize::MAX);
        }
    }
}

impl Choice {
    /// One more session, if it has room: `most`, 0 for any number.
    fn enter(&self, stamp: u64, most: u64) -> bool {
        let target = &self.target;
        let served = target.served.fetch_add(1, SeqCst);
        if most > 0 && served >= most {
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
