//! One machine: its clock, its kernel, its state directory, and the process with the keeper in it.
//!
//! The process performs effects in order and one step at a time, so that the world can pause or kill it between any
//! two. What the kernel holds stays when the process is gone.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use baton_core::Time;
use baton_core::keeper::{Effect, Event, GateDone, Keeper, Mac, Marker, Memory};
use baton_core::lease::{LeaseName, LeaseOp};
use baton_core::settings::{LEASE_MAX, Ownership, Vip};

use crate::clock::{Clock, Moment};
use crate::gate::Call;
use crate::kernel::{Kernel, Markers};
use crate::message;
use crate::mistake::Mistake;
use crate::plan::{Machine, peer_address};
use crate::trace::Trace;

mod fence;

/// Datagrams and notifications that wait for a process; more are dropped, as by a socket.
const INBOX_MAX: usize = 512;

/// What a machine does to the outside.
#[derive(Clone, Debug)]
pub enum Output {
    /// A datagram leaves.
    Datagram {
        /// Destination.
        to: SocketAddr,
        /// Payload.
        bytes: Vec<u8>,
    },
    /// An announcement passed the gate.
    Announce(IpAddr),
    /// A probe.
    Probe(IpAddr),
    /// A request about a Lease.
    Lease {
        /// Which one.
        name: LeaseName,
        /// Its number.
        request: u64,
        /// What is asked.
        op: LeaseOp,
    },
    /// The planner is to write a marker, soon.
    Remember(Marker),
    /// The process left after a graceful stop.
    Stopped,
}

/// A running process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The keeper.
    pub keeper: Keeper,
    inbox: VecDeque<Event>,
    work: VecDeque<(Effect, Time)>,
    call: Option<Call>,
    results: VecDeque<Event>,
    /// Notifications were lost.
    overflow: bool,
    /// The kernel told that tables were removed.
    flushed: bool,
    /// Ends of the gates that are open, as the kernel confirmed them.
    open: BTreeMap<IpAddr, Time>,
    /// Asked to stop.
    pub stopping: bool,
    /// The marker of a majority was there when it started.
    pub knew_majority: bool,
}

/// How often each effect was performed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams.
    pub sent: u64,
    /// Addresses put.
    pub put: u64,
    /// Addresses removed.
    pub removed: u64,
    /// Gates opened for a gain.
    pub opened: u64,
    /// Gates drained or shut.
    pub shut: u64,
    /// Effects of all kinds.
    pub effects: u64,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its place in the cluster.
    pub id: usize,
    /// Its address on the peers' network.
    pub address: SocketAddr,
    /// Names and link-layer addresses of its links.
    pub links: Vec<(String, Mac)>,
    /// Its clock.
    pub clock: Clock,
    /// Its kernel.
    pub kernel: Kernel,
    /// Its state directory.
    pub disk: Markers,
    /// What its process is asked to do.
    pub settings: Ownership,
    /// Its process, if one runs.
    pub process: Option<Process>,
    /// The process is stopped (SIGSTOP, or starved).
    pub paused: bool,
    /// The whole machine stands still, its clock goes on.
    pub frozen: bool,
    /// Kernel operations that are going to fail.
    pub failures: u32,
    /// The addresses that the keeper wants guarded, and for how long.
    pub guard: Option<(Vec<Vip>, Duration)>,
    /// The kernel refused that the last time.
    pub unguarded: bool,
    /// What was planted.
    pub mistake: Option<Mistake>,
    /// Planted, too: addresses are guarded no longer than this, whatever the keeper wants.
    pub guard_most: Option<Duration>,
    /// What it did so far.
    pub counts: Counts,
    /// The incarnation that its process last spoke as.
    pub incarnation: u64,
}

impl Host {
    /// A machine that has booted; nothing runs.
    #[must_use]
    pub fn new(id: usize, machine: &Machine, mistake: Option<Mistake>) -> Host {
        Host {
            id,
            address: peer_address(id),
            links: machine.links.clone(),
            clock: machine.clock,
            kernel: Kernel::boot(machine.tick, &machine.links),
            disk: Markers::default(),
            settings: machine.settings.clone(),
            process: None,
            paused: false,
            frozen: false,
            failures: 0,
            guard: None,
            unguarded: false,
            mistake,
            guard_most: None,
            counts: Counts::default(),
            incarnation: 0,
        }
    }

    /// The machine's clock now.
    #[must_use]
    pub fn now(&self, at: Moment) -> Time {
        self.clock.at(at)
    }

    /// The machine boots: the kernel holds nothing, the state directory may be lost, too.
    pub fn reboot(&mut self, keep_disk: bool) {
        self.process = None;
        self.paused = false;
        self.kernel = Kernel::boot(self.kernel.tick, &self.links);
        if !keep_disk {
            self.disk = Markers::default();
        }
    }

    /// The markers as a starting process finds them: the longer of both places.
    fn markers(&self) -> Markers {
        Markers {
            longest_lease: self.kernel.markers.longest_lease.max(self.disk.longest_lease),
            majority_seen: self.kernel.markers.majority_seen || self.disk.majority_seen,
        }
    }

    /// Writes the marker of the longest lease in both places.
    fn mark_lease(&mut self, lease: Duration) {
        self.kernel.markers.longest_lease = Some(lease);
        self.disk.longest_lease = Some(lease);
    }

    /// The planner writes a marker in both places; never a shorter lease than it has configured since.
    pub fn remember(&mut self, marker: Marker) {
        match marker {
            Marker::LongestLease(lease) => self.mark_lease(lease.max(self.settings.lease)),
            Marker::MajoritySeen => {
                self.kernel.markers.majority_seen = true;
                self.disk.majority_seen = true;
            }
        }
    }

    /// A process starts.
    pub fn start(&mut self, at: Moment, seed: u64, trace: &mut Trace) {
        let now = self.now(at);
        self.kernel.expire(now);
        self.kernel.notices.clear();
        (self.guard, self.unguarded) = (None, false);
        let markers = self.markers();
        let memory = Memory {
            longest_lease: match self.mistake {
                Some(Mistake::NoQuietPeriod) => Some(Duration::ZERO),
                _ => markers.longest_lease,
            },
            majority_seen: markers.majority_seen,
            open_gates: self.kernel.open_gates(now),
            guarded: self.kernel.guarded(now),
            addresses: self.kernel.addresses.keys().filter_map(|a| self.kernel.host_address(*a)).collect(),
            links: self.kernel.links.values().cloned().collect(),
        };
        trace.world(at, self.id, &format!("start {memory:?}"));
        // An unknown marker becomes the bound: should the process die in its quiet time, its successor knows no more.
        self.mark_lease(markers.longest_lease.unwrap_or(LEASE_MAX).max(self.settings.lease));
        let keeper = Keeper::new(self.settings.clone(), memory, seed, self.kernel.tick, now);
        self.process = Some(Process {
            keeper,
            inbox: VecDeque::new(),
            work: VecDeque::new(),
            call: None,
            results: VecDeque::new(),
            overflow: false,
            flushed: false,
            open: BTreeMap::new(),
            stopping: false,
            knew_majority: markers.majority_seen,
        });
    }

    /// New settings, as after SIGHUP.
    pub fn configure(&mut self, settings: Ownership) {
        self.settings = settings;
        let lease = self.settings.lease;
        self.mark_lease(self.markers().longest_lease.unwrap_or(LEASE_MAX).max(lease));
        self.command(Event::Configure(self.settings.clone()));
    }

    /// Something that the planner hands to the process: never lost while there is one.
    pub fn command(&mut self, event: Event) {
        if let Some(process) = &mut self.process {
            process.inbox.push_back(event);
        }
    }

    /// Something for the process to read from a socket; lost when it is full.
    pub fn push(&mut self, event: Event) {
        if let Some(process) = &mut self.process
            && process.inbox.len() < INBOX_MAX
        {
            process.inbox.push_back(event);
        }
    }

    /// Whether the process is there and may run.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some() && !self.paused && !self.frozen
    }

    /// When the process has something to do by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.process.as_ref()?.keeper.deadline().map(|time| self.clock.when(time))
    }

    /// One step of the process: part of an effect, or one event. False when there is nothing to do.
    pub fn step(&mut self, at: Moment, out: &mut Vec<Output>, trace: &mut Trace) -> bool {
        let now = self.now(at);
        self.kernel.expire(now);
        if !self.runs() {
            return false;
        }
        self.read_notices();
        let Some(process) = &mut self.process else { return false };
        if let Some(call) = process.call.take() {
            self.gate_step(at, call);
        } else if let Some((effect, decided)) = process.work.pop_front() {
            self.perform(at, effect, decided, out);
        } else if let Some(result) = process.results.pop_front() {
            self.handle(at, result, trace);
        } else if process.keeper.deadline().is_some_and(|due| due <= now) {
            self.handle(at, Event::Tick, trace);
        } else if std::mem::take(&mut process.flushed) {
            self.repair(now);
        } else if let Some(event) = process.inbox.pop_front() {
            self.handle(at, event, trace);
        } else {
            return false;
        }
        true
    }

    /// What a gate operation achieved goes back to the keeper after all effects of this step.
    fn result(&mut self, vip: IpAddr, done: GateDone) {
        if let Some(process) = &mut self.process {
            match done {
                GateDone::Open { end } => process.open.insert(vip, end),
                _ => process.open.remove(&vip),
            };
            process.results.push_back(Event::Gate { vip, done });
        }
    }

    /// The kernel's notifications; after an overflow of their socket everything is read anew.
    fn read_notices(&mut self) {
        let notices = std::mem::take(&mut self.kernel.notices);
        let Some(process) = &mut self.process else { return };
        process.overflow |= !notices.is_empty() && process.inbox.len() + notices.len() > INBOX_MAX;
        if !process.overflow {
            process.inbox.extend(notices);
        } else if process.inbox.len() < INBOX_MAX / 2 {
            process.overflow = false;
            let all = self.kernel.addresses.keys().filter_map(|address| self.kernel.host_address(*address)).collect();
            process.inbox.push_back(Event::Addresses(all));
            process.inbox.extend(self.kernel.links.values().cloned().map(Event::Link));
        }
    }

    fn handle(&mut self, at: Moment, event: Event, trace: &mut Trace) {
        let now = self.now(at);
        let Some(process) = &mut self.process else { return };
        trace.event(at, self.id, &event);
        let mut effects = Vec::new();
        process.keeper.handle(now, event, &mut effects);
        effects.iter().for_each(|effect| trace.effect(at, self.id, effect));
        process.work.extend(effects.into_iter().map(|effect| (effect, now)));
    }

    /// True when the kernel refuses an operation; every second refused one was performed all the same.
    fn refused(&mut self) -> Option<bool> {
        if self.failures == 0 {
            return None;
        }
        self.failures -= 1;
        Some(self.failures % 2 == 1)
    }

    fn gate_step(&mut self, at: Moment, mut call: Call) {
        let now = self.now(at);
        match call.step(now, &mut self.kernel) {
            Some(done) => {
                if call.opens() {
                    self.mark_alone(now, call.vip.address);
                }
                self.result(call.vip.address, done);
            }
            None => {
                if let Some(process) = &mut self.process {
                    process.call = Some(call);
                }
            }
        }
    }

    fn perform(&mut self, at: Moment, effect: Effect, decided: Time, out: &mut Vec<Output>) {
        let now = self.now(at);
        self.counts.effects += 1;
        match effect {
            Effect::Send { to, bytes } => {
                self.counts.sent += 1;
                if self.mistake.is_some() {
                    self.incarnation = message::sender(&bytes, &self.settings.keys).unwrap_or(0);
                }
                out.push(Output::Datagram { to, bytes });
            }
            Effect::Gate { vip, op } => {
                let call = Call::new(vip, op, decided, self.settings.lease, self.mistake);
                self.begin_gate(at, call);
            }
            Effect::Guard { vips, timeout } => {
                let before = self.guard.take().map(|(vips, _)| vips).unwrap_or_default();
                let others = before.into_iter().filter(|b| vips.iter().all(|v| v.address != b.address));
                let all = others.chain(vips.iter().cloned()).collect();
                let timeout = self.guard_most.map_or(timeout, |most| most.min(timeout));
                self.guard = Some((all, timeout));
                self.repair(now);
                if self.settings.fence {
                    self.guard_again(now, &vips, timeout);
                }
            }
            Effect::PutAddress { vip, valid } => self.put_address(now, &vip, valid),
            Effect::RemoveAddress { address, .. } => {
                self.counts.removed += 1;
                if self.refused() != Some(false) {
                    self.kernel.remove_address(address);
                }
            }
            Effect::Announce { vip } => {
                if self.kernel.answers_until(now, vip.address).is_some() {
                    out.push(Output::Announce(vip.address));
                }
            }
            Effect::Probe { vip } => out.push(Output::Probe(vip.address)),
            Effect::Gates { vips, op } => {
                // One batch or many: what may happen between two of them is the harder case.
                if let Some(process) = &mut self.process {
                    let each = vips.into_iter().rev().map(|vip| (Effect::Gate { vip, op }, decided));
                    each.for_each(|gate| process.work.push_front(gate));
                }
            }
            Effect::Unguard { vip } => {
                self.kernel.guards.remove(&vip.address);
                if let Some((vips, _)) = &mut self.guard {
                    vips.retain(|v| v.address != vip.address);
                }
            }
            Effect::Lease { name, request, op } => out.push(Output::Lease { name, request, op }),
            Effect::Forget { .. } | Effect::Leading { .. } => {}
            Effect::Holding { .. } | Effect::Note(_) => {}
            Effect::Remember(marker) => out.push(Output::Remember(marker)),
            Effect::Stopped => {
                self.leave();
                out.push(Output::Stopped);
            }
        }
    }

    /// The process leaves in order, with what a predecessor left and nobody has named since. Its table goes, unless an address
    /// is left that would then answer unguarded.
    pub fn leave(&mut self) {
        self.process = None;
        let named = |address: &IpAddr| self.guard.iter().flat_map(|(vips, _)| vips).any(|v| v.address == *address);
        self.kernel.addresses.retain(|address, assigned| !assigned.mine || named(address));
        if self.kernel.addresses.values().all(|assigned| !assigned.mine) {
            self.kernel.flushed = false;
            self.kernel.gates.clear();
            self.kernel.guards.clear();
        }
    }
}
