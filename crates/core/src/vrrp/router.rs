//! One virtual router: INIT, BACKUP, MASTER and FAULT (RFC 9568 section 6.4, with keepalived's ways).
//!
//! A master sends an advert, and only when it left are gates opened or renewed: until when is counted from that advert.

mod receive;
mod send;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::event::{Effect, Notice, Subject};
use super::garp::Announcer;
use super::hold::{Hold, Turn};
use super::note::{Note, Reject, Why};
use super::settings::{Preempt, Router, Version};
use super::status::{Counters, RouterStatus, State};
use crate::keeper::GateDone;
use crate::time::Time;

/// Gates refused so often in a row make a fault, so that another node takes over.
const REFUSALS: u32 = 8;
/// That fault is over by itself after so long: the kernel is asked again.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// One virtual router.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) settings: Arc<Router>,
    /// What it becomes when nothing is left of what it was.
    pub(crate) successor: Option<Arc<Router>>,
    pub(crate) state: State,
    since: Time,
    pub(crate) priority: u8,
    pub(crate) faults: BTreeSet<Why>,
    /// A watch that could end eligibility is not known yet.
    pub(crate) waiting: bool,
    /// Its sync group is not ready: no member takes over.
    pub(crate) blocked: bool,
    pub(crate) source: Option<IpAddr>,
    master: Option<(IpAddr, u8)>,
    master_interval: Duration,
    /// BACKUP: the master-down timer. MASTER: the advert timer.
    due: Option<Time>,
    /// With a preempt delay: adverts of a lower priority count until then.
    preempt_at: Option<Time>,
    /// The master gave up: why the timer is short.
    released: bool,
    /// The last advert of a lower priority that did not count, and when it came.
    lower: Option<(IpAddr, Time)>,
    /// It took over from a living master: nothing opens before that one's last advert, or before then; `None`: what was
    /// heard so far may have left before that one could know.
    awaits: Option<(IpAddr, Option<Time>)>,
    /// Until when gates may be open, and since when: a gain waits until all that had come in before was heard.
    granted: Option<(Time, Time)>,
    pub(crate) hold: Hold,
    announcer: Announcer,
    /// When the adverts that were asked for were decided on; `None`: nothing follows from them.
    sent: VecDeque<Option<Time>>,
    send_failed: bool,
    refusals: u32,
    refused_until: Option<Time>,
    /// Priority 0 is owed as soon as nothing answers any more.
    owes_release: bool,
    answered: Option<Time>,
    defended: Option<Time>,
    /// The list that the group speaks, where it differs from the file's.
    spoken: Option<Vec<IpAddr>>,
    said: BTreeSet<(IpAddr, Reject)>,
    said_list: BTreeSet<IpAddr>,
    said_owners: BTreeSet<IpAddr>,
    pub(crate) told: Option<Notice>,
    /// It moved by itself in this step: its sync group follows.
    pub(crate) moved: bool,
    pub(crate) removed: bool,
    pub(crate) stopping: bool,
    /// What it depends on has not been looked at yet.
    pub(crate) fresh: bool,
    counters: Counters,
    /// The index by deadline has it there.
    pub(crate) wake: Option<Time>,
}

impl Machine {
    pub(crate) fn new(settings: Arc<Router>, now: Time) -> Machine {
        Machine {
            state: State::Init,
            successor: None,
            since: now,
            priority: settings.priority,
            faults: BTreeSet::new(),
            waiting: false,
            blocked: false,
            source: None,
            master: None,
            master_interval: settings.interval,
            due: None,
            preempt_at: None,
            released: false,
            lower: None,
            awaits: None,
            granted: None,
            hold: Hold::default(),
            announcer: Announcer::default(),
            sent: VecDeque::new(),
            send_failed: false,
            refusals: 0,
            refused_until: None,
            owes_release: false,
            answered: None,
            defended: None,
            spoken: None,
            said: BTreeSet::new(),
            said_list: BTreeSet::new(),
            said_owners: BTreeSet::new(),
            told: None,
            moved: false,
            removed: false,
            stopping: false,
            fresh: true,
            counters: Counters::default(),
            wake: None,
            settings,
        }
    }

    /// `Skew_Time`.
    fn skew(&self) -> Duration {
        let unit = match self.settings.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.master_interval,
        };
        unit * (256 - u32::from(self.priority)) / 256
    }

    /// `Master_Down_Interval` (`Active_Down_Interval` in RFC 9568).
    fn master_down(&self) -> Duration {
        self.master_interval * u32::from(self.settings.down_adverts) + self.skew()
    }

    fn enter(&mut self, cx: &mut Context<'_>, to: State, why: Why) {
        let from = std::mem::replace(&mut self.state, to);
        self.since = cx.now;
        self.moved = true;
        cx.out.push(Effect::Note(Note::Entered { router: self.settings.name.clone(), from, to, why }));
    }

    pub(crate) fn notify(&mut self, cx: &mut Context<'_>, what: Notice) {
        if matches!(what, Notice::Master | Notice::Backup | Notice::Fault) {
            if self.told == Some(what) {
                return;
            }
            self.told = Some(what);
        }
        let (name, priority) = (self.settings.name.clone(), self.priority);
        cx.out.push(Effect::Notify { of: Subject::Instance, name, what, priority });
    }

    /// It is in INIT and nothing keeps it there.
    pub(crate) fn begins(&self) -> bool {
        let over = self.stopping || self.removed || self.successor.is_some();
        self.state == State::Init && !over && (self.fresh || !self.waiting)
    }

    /// Leaves INIT when what it watches is known.
    fn begin(&mut self, cx: &mut Context<'_>) {
        if !self.begins() {
            return;
        }
        if let Some(why) = self.faults.first().copied() {
            self.enter(cx, State::Fault, why);
            self.notify(cx, Notice::Fault);
        } else if self.settings.priority == u8::MAX && self.settings.start_master && !self.blocked {
            self.become_master(cx, Why::Start);
        } else {
            self.become_backup(cx, Why::Start);
        }
    }

    fn become_backup(&mut self, cx: &mut Context<'_>, why: Why) {
        let fresh = self.state != State::Master;
        self.enter(cx, State::Backup, why);
        if fresh {
            self.master = None;
            self.master_interval = self.settings.interval;
        }
        self.preempt_at = match self.settings.preempt {
            Preempt::After(delay) if fresh => Some(cx.now + delay),
            _ => None,
        };
        (self.released, self.lower) = (false, None);
        self.due = Some(cx.now + self.master_down());
        self.notify(cx, Notice::Backup);
    }

    pub(crate) fn become_master(&mut self, cx: &mut Context<'_>, why: Why) {
        self.enter(cx, State::Master, why);
        self.counters.became_master += 1;
        self.master = None;
        self.owes_release = false;
        let living = self.lower.take().filter(|(_, heard)| cx.now.since(*heard) < self.master_down());
        self.awaits = living.map(|(source, _)| (source, None));
        self.advertise(cx, self.priority);
        self.due = Some(cx.now + self.settings.interval);
    }

    /// Shuts the gates. What was held is drained if it is given up in good order.
    fn leave_master(&mut self, cx: &mut Context<'_>, drain: Duration, release: bool) {
        self.counters.released_master += 1;
        (self.awaits, self.granted) = (None, None);
        self.announcer.stop();
        self.sent.iter_mut().for_each(|at| *at = None);
        self.hold.shut(cx, &self.settings.name, drain);
        self.owes_release = release;
        self.master_interval = self.settings.interval;
        self.due = None;
    }

    /// From MASTER to BACKUP because its sync group moved.
    pub(crate) fn yield_to_group(&mut self, cx: &mut Context<'_>) {
        let drain = cx.drain;
        self.leave_master(cx, drain, false);
        self.become_backup(cx, Why::SyncGroup);
    }

    /// Takes part, or takes no part because of `why`.
    pub(crate) fn fault(&mut self, cx: &mut Context<'_>, why: Why, is: bool) {
        if !is {
            let over = self.faults.remove(&why) && self.faults.is_empty();
            if over && self.state == State::Fault && !self.stopping && !self.removed {
                self.become_backup(cx, Why::Fit);
            }
            return;
        }
        self.faults.insert(why);
        if !matches!(self.state, State::Backup | State::Master) {
            return;
        }
        if self.state == State::Master {
            let drain = if why == Why::Interface { Duration::ZERO } else { cx.drain };
            self.leave_master(cx, drain, true);
        }
        self.due = None;
        self.enter(cx, State::Fault, why);
        self.notify(cx, Notice::Fault);
    }

    /// The effective priority changed.
    pub(crate) fn set_priority(&mut self, cx: &mut Context<'_>, priority: u8) {
        let from = std::mem::replace(&mut self.priority, priority);
        if from == priority {
            return;
        }
        let router = self.settings.name.clone();
        cx.out.push(Effect::Note(Note::Priority { router, from, to: priority }));
        if self.state == State::Backup
            && let Some(due) = self.due.filter(|_| !self.released)
        {
            let (now, unit) = (self.skew(), self.master_interval);
            let unit = if self.settings.version == Version::V2 { Duration::from_secs(1) } else { unit };
            let before = unit * (256 - u32::from(from)) / 256;
            self.due = Some((due + now) - before);
        }
        if self.settings.notify_priority {
            match self.state {
                State::Master => self.notify(cx, Notice::MasterPriority),
                State::Backup => self.notify(cx, Notice::BackupPriority),
                State::Init | State::Fault => {}
            }
        }
    }

    pub(crate) fn gates(&mut self, cx: &mut Context<'_>, done: &[(IpAddr, GateDone)]) {
        let turn = self.hold.gates_done(cx, &self.settings, done);
        self.turn(cx, turn);
    }

    fn turn(&mut self, cx: &mut Context<'_>, turn: Turn) {
        let router = self.settings.name.clone();
        match turn {
            Turn::Opened(addresses) if self.state == State::Master => {
                self.refusals = 0;
                let first = self.told != Some(Notice::Master);
                if first {
                    let garp = self.settings.garp;
                    self.announcer.gained(cx.now, &garp, &addresses, cx.out);
                    cx.out.push(Effect::Note(Note::Gained { router, took: cx.now.since(self.since) }));
                    self.notify(cx, Notice::Master);
                } else {
                    let garp = self.settings.garp;
                    self.announcer.send(cx.now, &garp, &addresses, garp.repeat, cx.out);
                }
            }
            Turn::Lost if self.state == State::Master => self.starved(cx),
            Turn::Refused if self.state == State::Master => {
                self.refusals += 1;
                if self.refusals == 1 {
                    cx.out.push(Effect::Note(Note::GateRefused { router }));
                }
                if self.refusals >= REFUSALS {
                    self.refusals = 0;
                    self.refused_until = Some(cx.now + REFUSED_FOR);
                    self.fault(cx, Why::KernelRefused, true);
                }
            }
            _ => {}
        }
    }

    /// What was held ended by itself: a backup may have taken over, so this node is one now.
    fn starved(&mut self, cx: &mut Context<'_>) {
        self.leave_master(cx, Duration::ZERO, false);
        self.become_backup(cx, Why::Starved);
    }

    /// What ends by itself does so before anything else is looked at.
    pub(crate) fn lapse(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Master && self.hold.until().is_some_and(|until| cx.now >= until) {
            self.starved(cx);
        }
    }

    /// Gives up for good: it is no longer configured, or the program stops.
    pub(crate) fn retire(&mut self, cx: &mut Context<'_>, what: Option<Notice>, why: Why) {
        if self.state == State::Master {
            let drain = cx.drain;
            self.leave_master(cx, drain, true);
        }
        self.due = None;
        if self.state != State::Init {
            self.enter(cx, State::Init, why);
        }
        if let Some(what) = what {
            self.notify(cx, what);
        }
        self.told = None;
    }

    /// Takes new settings of the same virtual router.
    pub(crate) fn configure(&mut self, cx: &mut Context<'_>, settings: Arc<Router>) {
        let listed = |r: &Router| r.addresses.iter().map(|a| a.address).collect::<Vec<_>>();
        let old = self.spoken.take().unwrap_or_else(|| listed(&self.settings));
        let kept: Vec<IpAddr> = old.into_iter().filter(|a| settings.all_addresses().any(|b| b.address == *a)).collect();
        // Members that were not told yet go on understanding what a master says.
        if self.state == State::Master && !kept.is_empty() && kept != listed(&settings) {
            self.spoken = Some(kept);
        }
        if self.master.is_none() || settings.version == Version::V2 {
            self.master_interval = settings.interval;
        }
        self.said.clear();
        self.said_list.clear();
        self.said_owners.clear();
        self.settings = settings;
        self.hold.configure(cx, &self.settings);
        // The next step tells the others, when the new priority is known.
        if self.state == State::Master {
            self.due = Some(cx.now);
        }
    }

    /// What is due.
    pub(crate) fn step(&mut self, cx: &mut Context<'_>) {
        self.lapse(cx);
        self.begin(cx);
        if self.refused_until.is_some_and(|t| cx.now >= t) {
            self.refused_until = None;
            self.fault(cx, Why::KernelRefused, false);
        }
        if let Some(due) = self.due.filter(|due| cx.now >= *due) {
            match self.state {
                // An advert may wait to be read.
                State::Backup if !cx.heard_all => {}
                State::Backup if self.blocked => self.due = Some(cx.now + self.master_down()),
                State::Backup => {
                    let why = if self.released { Why::Released } else { Why::MasterDown };
                    self.become_master(cx, why);
                }
                State::Master => {
                    self.advertise(cx, self.priority);
                    let interval = self.settings.interval;
                    self.due = Some((due + interval).max(cx.now + interval / 2));
                }
                State::Init | State::Fault => self.due = None,
            }
        }
        self.open(cx);
        self.hold.step(cx, &self.settings);
        if self.state == State::Master {
            let (garp, addresses) = (self.settings.garp, self.hold.answering());
            self.announcer.step(cx.now, &garp, &addresses, cx.out);
            self.announcer.elsewhere(cx.now, &garp, (&self.settings.port, &addresses), cx.out);
        }
        if self.owes_release && self.hold.silent(cx) {
            self.owes_release = false;
            self.advertise(cx, 0);
        }
        self.succeed(cx);
    }

    /// Becomes what it is to be when nothing is left of what it was.
    fn succeed(&mut self, cx: &mut Context<'_>) {
        if self.successor.is_none() || !self.left(cx) || self.stopping {
            return;
        }
        let Some(settings) = self.successor.take() else { return };
        *self = Machine { counters: self.counters, wake: self.wake, ..Machine::new(settings, cx.now) };
        self.hold.configure(cx, &self.settings);
    }

    /// Nothing of it is left on this host.
    pub(crate) fn left(&self, cx: &Context<'_>) -> bool {
        self.state != State::Master && !self.owes_release && self.hold.left(cx)
    }

    /// The earliest time at which something is due by itself.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let announce = self.announcer.deadline().filter(|_| self.state == State::Master);
        let awaits = self.granted.map(|(_, since)| self.awaits.and_then(|(_, then)| then).unwrap_or(since));
        [self.due, announce, awaits, self.refused_until, self.hold.wake(&self.settings)].into_iter().flatten().min()
    }

    pub(crate) fn status(&self) -> RouterStatus {
        RouterStatus {
            name: self.settings.name.clone(),
            state: self.state,
            since: self.since,
            priority: self.priority,
            source: self.source,
            master: self.master,
            master_interval: self.master_interval,
            master_down: self.master_down(),
            until: self.hold.until().filter(|_| self.hold.held),
            present: self.hold.present(),
            counters: self.counters,
        }
    }
}
