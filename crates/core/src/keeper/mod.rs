//! Who holds what until when: the one machine that owns addresses.
//!
//! [`Keeper::handle`] takes an event and the time and appends effects; [`Keeper::deadline`] says when to come back
//! with [`Event::Tick`]. It must not know sockets, threads, clocks or files.

mod acceptor;
mod address;
mod announce;
mod configure;
mod conflict;
mod context;
mod dispute;
mod elector;
pub mod event;
mod group;
mod leased;
pub mod note;
mod peers;
mod place;
mod proposer;
mod session;
pub mod status;
mod take;
mod together;
mod voters;

pub use event::{Effect, Event, GateDone, GateOp, Holding, HostAddress, Link, Mac, Marker, Memory};
pub use note::{Level, Note, Reason};
pub use status::Status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use baton_wire::peer::Record;

use crate::settings::{LEASE_MAX, LEASE_MIN, Ownership, Source, Vip};
use crate::time::Time;
use context::{Context, To, random};
use group::Group;
use leased::Leased;
use session::Session;
use voters::Voters;

/// Transitions remembered for people.
const TRANSITIONS_MAX: usize = 10;

/// Who holds what until when.
#[derive(Clone, Debug)]
pub struct Keeper {
    settings: Ownership,
    me: SocketAddr,
    voters: Voters,
    incarnation: u64,
    counter: u64,
    rng: u64,
    tick: Duration,
    started: Time,
    /// This node may have voted before it started; until then it does not vote.
    quiet_until: Time,
    voting: bool,
    /// The predecessor's gates are shut from then on.
    gates_shut: Time,
    majority_seen: bool,
    alone: bool,
    /// The list of peers was adopted from a peer, not configured.
    adopted: bool,
    stopping: bool,
    stopped: bool,
    contact: Option<Time>,
    sessions: BTreeMap<SocketAddr, Session>,
    groups: BTreeMap<IpAddr, Group>,
    leased: Leased,
    /// Addresses whose source changed: put there when they are gone from where they were.
    moving: BTreeMap<IpAddr, Vip>,
    /// What the host has of addresses that are not kept.
    strays: BTreeMap<IpAddr, Vec<HostAddress>>,
    /// Gates of a predecessor whose addresses have not been named yet.
    inherited: BTreeMap<IpAddr, Time>,
    links: BTreeMap<String, Link>,
    /// When addresses are guarded again; `None`: now.
    guard_at: Option<Time>,
    /// How long: twice as long as any address may stay that this process has put, and no less than its predecessor said. It
    /// never becomes less, since the kernel may still have what was put for longer.
    guarded_for: Duration,
    ran: Time,
    transitions: VecDeque<status::Transition>,
    dropped: BTreeMap<&'static str, u64>,
    complained: BTreeSet<(IpAddr, &'static str)>,
    no_key_said: bool,
    lag: Duration,
    lag_max: Duration,
}

/// How long an address is guarded that is held by a lease of this duration: when its guard ends, the kernel has removed it.
fn guard_of(lease: Duration) -> Duration {
    address::lifetime(lease) * 2
}

impl Keeper {
    /// A keeper that has just started. `seed` is random (incarnations are drawn from it); `tick` is the kernel's timer
    /// granularity. The first [`Event::Tick`] is due at once.
    #[must_use]
    pub fn new(settings: Ownership, memory: Memory, seed: u64, tick: Duration, now: Time) -> Keeper {
        let me = settings.local.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let voters = Voters::new(me, settings.peers.iter().map(|p| p.address));
        let sessions = settings.peers.iter().map(|p| (p.address, Session::new(p.address, p.id.clone()))).collect();
        let mut inherited: BTreeMap<IpAddr, Time> = BTreeMap::new();
        for (address, left) in &memory.open_gates {
            let end = inherited.entry(*address).or_insert(Time::ZERO);
            *end = (now + *left).max(*end);
        }
        let mut group = |v: &Vip| Group::new(v.clone(), now, inherited.remove(&v.address).unwrap_or(Time::ZERO));
        let groups: BTreeMap<IpAddr, Group> = settings.vips.iter().map(|v| (v.address, group(v))).collect();
        let mut rng = seed;
        let longest = memory.longest_lease.unwrap_or(LEASE_MAX).min(LEASE_MAX);
        let mut keeper = Keeper {
            me,
            voting: false,
            voters,
            incarnation: random(&mut rng).max(1),
            counter: 0,
            rng,
            tick,
            started: now,
            // The clock that counted the forgotten grant may have been the slowest, ours the fastest.
            quiet_until: now + longest * 10 / 9,
            gates_shut: memory.open_gates.iter().map(|(_, left)| now + *left + tick).max().unwrap_or(now),
            majority_seen: memory.majority_seen,
            alone: false,
            adopted: false,
            stopping: false,
            stopped: false,
            contact: None,
            sessions,
            groups,
            leased: Leased::default(),
            moving: BTreeMap::new(),
            strays: BTreeMap::new(),
            inherited,
            links: memory.links.into_iter().map(|l| (l.name.clone(), l)).collect(),
            guard_at: None,
            guarded_for: memory.guarded.max(guard_of(settings.lease)),
            ran: now,
            transitions: VecDeque::new(),
            dropped: BTreeMap::new(),
            complained: BTreeSet::new(),
            no_key_said: false,
            lag: Duration::ZERO,
            lag_max: Duration::ZERO,
            settings,
        };
        memory.addresses.into_iter().for_each(|a| keeper.address_put(a));
        keeper
    }

    /// One step: takes an event, appends what is to be done, in order.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        if self.stopped {
            return;
        }
        let mut post = Vec::new();
        let first_effect = out.len();
        self.guard(now, out);
        self.measure_lag(now);
        let late = now.since(self.ran) > self.settings.renewal * 2;
        self.ran = now;
        self.take(now, late, event, out, &mut post);
        // The event may let addresses stay for longer than before: they are guarded before one is put.
        self.guard(now, out);
        self.contacts(now, out);
        self.settle(now, out);
        let all: Vec<IpAddr> = self.groups.keys().copied().collect();
        for vip in all {
            self.with(now, late, vip, out, &mut post, |g, cx| g.step(cx));
        }
        self.on_leased(now, late, out, &mut post, Leased::step);
        self.majority(now, out);
        self.tell_states(now, late, out, &mut post);
        self.deliver(post);
        self.flush(now, out);
        together::together(out, first_effect);
        self.remember_transitions(now, &out[first_effect..]);
        self.leave_if_done(now, out);
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.stopped {
            return None;
        }
        let groups = self.groups.values().map(|g| g.wake);
        let sessions = self.sessions.values().map(|s| self.session_due(s));
        let quiet = (!self.voting || self.alone_possible()).then_some(self.quiet_until.max(self.ran + self.tick));
        let shut = (!self.voting && self.ran < self.gates_shut).then_some(self.gates_shut);
        groups.chain(sessions).chain(quiet).chain(shut).chain(self.guard_at).chain(self.leased.deadline()).min()
    }

    /// Runs `f` on one address with its surroundings.
    fn with(
        &mut self,
        now: Time,
        late: bool,
        vip: IpAddr,
        out: &mut Vec<Effect>,
        post: &mut Vec<(To, Record)>,
        f: impl FnOnce(&mut Group, &mut Context<'_>),
    ) {
        let mut groups = std::mem::take(&mut self.groups);
        if let Some(group) = groups.get_mut(&vip) {
            f(group, &mut self.context(now, late, out, post));
        }
        self.groups = groups;
    }

    /// Runs `f` on the Leases and their addresses with their surroundings.
    fn on_leased<T>(
        &mut self,
        now: Time,
        late: bool,
        out: &mut Vec<Effect>,
        post: &mut Vec<(To, Record)>,
        f: impl FnOnce(&mut Leased, &mut Context<'_>) -> T,
    ) -> T {
        let mut leased = std::mem::take(&mut self.leased);
        let result = f(&mut leased, &mut self.context(now, late, out, post));
        self.leased = leased;
        result
    }

    fn context<'a>(
        &'a mut self,
        now: Time,
        late: bool,
        out: &'a mut Vec<Effect>,
        post: &'a mut Vec<(To, Record)>,
    ) -> Context<'a> {
        let (lease, quorum) = (self.lease(), self.quorum());
        Context {
            now,
            me: self.me,
            incarnation: self.incarnation,
            settings: &self.settings,
            voters: &self.voters,
            sessions: &self.sessions,
            links: &self.links,
            strays: &self.strays,
            inherited: &mut self.inherited,
            tick: self.tick,
            lease,
            renewal: self.settings.renewal.min(lease / 3),
            voting: self.voting,
            alone: self.alone,
            quorum,
            contact: self.contact,
            stopping: self.stopping,
            late,
            out,
            post,
            rng: &mut self.rng,
        }
    }

    /// The duration of a grant now: the smallest that all voters allow.
    fn lease(&self) -> Duration {
        let theirs = self.sessions.values().filter(|s| s.same_voters).filter_map(|s| s.lease);
        theirs.min().map_or(self.settings.lease, |l| l.min(self.settings.lease)).max(LEASE_MIN)
    }

    fn quorum(&self) -> usize {
        match (self.alone, self.first()) {
            (true, _) => 1,
            // A first node without a list does not know how many it takes: more than itself.
            (false, true) => 2,
            (false, false) => self.voters.majority(),
        }
    }

    /// Guards the configured addresses before anything else is done, and keeps them guarded.
    fn guard(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.guard_at.is_some_and(|t| now < t) {
            return;
        }
        let timeout = self.guarded_for;
        let leased = self.leased.places.values().map(|t| &t.place.vip);
        let vips: Vec<Vip> = self.settings.vips.iter().chain(leased).cloned().collect();
        self.guard_at = (!vips.is_empty()).then(|| now + timeout / 4);
        if !vips.is_empty() {
            out.push(Effect::Guard { vips, timeout });
        }
        if self.settings.keys.is_empty() && self.voters.len() > 1 && !self.no_key_said {
            self.no_key_said = true;
            out.push(Effect::Note(Note::NoKey));
        }
    }

    /// Addresses of this lease are going to be put.
    fn guard_for(&mut self, lease: Duration) {
        let wanted = guard_of(lease);
        if wanted > self.guarded_for {
            self.guarded_for = wanted;
            self.guard_at = None;
        }
    }

    fn measure_lag(&mut self, now: Time) {
        let lag = self.groups.values().filter_map(|g| g.renewal_lag(now)).max().max(self.leased.lag.take());
        if let Some(lag) = lag {
            self.lag = lag;
            self.lag_max = self.lag_max.max(lag);
        }
    }

    /// Ends the quiet time when it is over or nobody can hold by a forgotten vote, and begins `startAsLeader`.
    fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        let others = || self.voters.list().iter().filter(|v| **v != self.me);
        let clear = || others().all(|v| self.sessions.get(v).is_some_and(|s| s.clear && s.same_voters));
        // The predecessor's own hold may rest on the vote that it gave to itself.
        if !self.voting && now >= self.gates_shut && (now >= self.quiet_until || !self.first() && clear()) {
            self.voting = true;
            out.push(Effect::Note(Note::Voting { after: now.since(self.started) }));
            // Whatever was promised before this life has run out.
            out.push(Effect::Remember(Marker::LongestLease(self.settings.lease)));
        }
        let heard = |s: &Session| s.heard.is_some();
        if !self.alone
            && self.alone_possible()
            && now >= self.quiet_until
            && !self.sessions.values().any(heard)
            && self.groups.values().all(|g| g.place.conflict.stranger(now).is_none())
        {
            self.alone = true;
        }
        if self.alone && self.sessions.values().any(|s| s.flags.start_as_leader && heard(s)) {
            self.alone = false;
        }
        let votes =
            usize::from(self.voting) + others().filter(|v| self.sessions.get(*v).is_some_and(|s| s.reachable)).count();
        self.contact = (votes >= self.quorum()).then(|| self.contact.unwrap_or(now));
    }

    /// `startAsLeader` could still apply.
    fn alone_possible(&self) -> bool {
        let others = self.voters.len() > 1 || self.first();
        self.settings.start_as_leader && !self.majority_seen && !self.alone && others
    }

    /// Notes the first majority, which ends `startAsLeader` for good.
    fn majority(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.voters.len() == 1 {
            return;
        }
        let majority = self.voters.majority();
        let held = |g: &Group| g.place.held();
        let granted = |g: &Group| g.proposer.granted_by(now) >= majority;
        let every = self.groups.values().filter(|g| held(g)).all(granted);
        let some = self.groups.values().any(|g| held(g) && granted(g));
        let to_another = |g: &Group| g.acceptor.grant(now).is_some_and(|grant| grant.owner != self.me);
        // A grant to another node is as good: it is asked for by who needs a majority.
        let seen = some || self.groups.values().any(to_another);
        if self.alone && every && seen {
            self.alone = false;
        }
        if !self.alone && !self.majority_seen && seen {
            self.majority_seen = true;
            out.push(Effect::Remember(Marker::MajoritySeen));
        }
    }

    fn remember_transitions(&mut self, now: Time, effects: &[Effect]) {
        for e in effects {
            let t = match e {
                Effect::Note(Note::Gained { vip, reason, took }) => (*vip, true, *reason, *took),
                Effect::Note(Note::Lost { vip, reason, held }) => (*vip, false, *reason, *held),
                _ => continue,
            };
            if self.transitions.len() == TRANSITIONS_MAX {
                self.transitions.pop_front();
            }
            let (vip, gained, reason, duration) = t;
            self.transitions.push_back(status::Transition { at: now, vip, gained, reason, duration });
        }
    }

    fn leave_if_done(&mut self, now: Time, out: &mut Vec<Effect>) {
        let over = |_: &IpAddr, g: &mut Group| g.place.removed && g.finished(now);
        for (_, g) in self.groups.extract_if(.., over) {
            out.push(Effect::Unguard { vip: g.place.vip });
        }
        self.put_moved(now, out);
        let left = self.groups.values().all(|g| g.place.left()) && self.leased.left(now);
        if self.stopping && left {
            self.stopped = true;
            out.push(Effect::Stopped);
        }
    }
}

#[cfg(test)]
mod tests;
