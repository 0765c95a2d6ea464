//! What one seed means for a cluster whose addresses hang on Leases.

use std::time::Duration;

use baton_core::lease::{LeaseName, LeaseSettings};
use baton_core::settings::{Ownership, Source, Vip};

use crate::clock::Clock;
use crate::plan::Machine;
use crate::rng::Rng;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`; started again after a while.
    Crash,
    /// The machine loses power.
    Reboot,
    /// A graceful stop; started again after a while.
    Stop,
    /// The process stands still.
    Pause,
    /// The machine stands still, its clock goes on.
    Freeze,
    /// Kernel operations fail.
    Refuse,
    /// The link goes down.
    LinkDown,
    /// Somebody deletes an address.
    Delete,
    /// A node does not reach the API.
    Cut,
    /// Nobody does.
    Outage,
    /// A node's watch shows nothing new for a while.
    Stale,
    /// Somebody writes a label on a Lease.
    Touch,
    /// Somebody deletes a Lease.
    Remove,
    /// A node is not fit to hold.
    Ill,
    /// Another program's candidate is stopped in good order.
    FollowerStops,
    /// Another program's candidate is killed.
    FollowerDies,
    /// It is cut off beyond its time, and releases when it is back.
    FollowerLate,
}

/// Faults of Baton's nodes and of the way to the API.
const OURS: [Fault; 13] = [
    Fault::Crash,
    Fault::Reboot,
    Fault::Stop,
    Fault::Pause,
    Fault::Freeze,
    Fault::Refuse,
    Fault::LinkDown,
    Fault::Delete,
    Fault::Cut,
    Fault::Outage,
    Fault::Stale,
    Fault::Touch,
    Fault::Ill,
];

/// What one seed means.
#[derive(Clone, Debug)]
pub struct LeasePlan {
    /// The seed.
    pub seed: u64,
    /// The machines.
    pub machines: Vec<Machine>,
    /// Clocks of the other program's candidates.
    pub followers: Vec<Clock>,
    /// The Leases, as one of the nodes (without identity) campaigns for them.
    pub leases: Vec<LeaseSettings>,
    /// The addresses.
    pub vips: Vec<Vip>,
    /// Duration of the Leases.
    pub duration: Duration,
    /// Longest way of a request, an answer, an event.
    pub delay: Duration,
    /// Requests or answers that are lost, per million.
    pub loss: u32,
    /// How late a process wakes up at most.
    pub latency: Duration,
    /// Which faults happen.
    pub faults: Vec<Fault>,
    /// Time between two, in durations: from, to.
    pub every: (f64, f64),
    /// How long one lasts, in durations: from, to.
    pub lasts: (f64, f64),
    /// How often a process is paused between two of its steps, per million.
    pub pauses: u32,
    /// How long faults happen.
    pub troubled: Duration,
}

impl LeasePlan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> LeasePlan {
        let mut rng = Rng::new(seed ^ 0x1ea5e);
        let duration = Duration::from_secs(rng.pick(&[1, 2, 3, 8]));
        let leases: Vec<LeaseSettings> = (0..1 + rng.below(2)).map(|n| lease(n, duration)).collect();
        let vips = (0..1 + rng.below(3)).map(|n| vip(n, &leases[n % leases.len()].name)).collect();
        let mixed = rng.chance(400_000);
        let late = mixed && rng.chance(300_000);
        let followers = if late {
            1
        } else if mixed {
            1 + rng.below(2)
        } else {
            0
        };
        let mut faults: Vec<Fault> = OURS.into_iter().filter(|_| !late && rng.chance(400_000)).collect();
        if followers > 0 {
            faults.extend([Fault::FollowerStops, Fault::FollowerDies]);
        }
        if late {
            // What an erased Lease does to nodes that knew nothing of its holder, no program can mend.
            faults = vec![Fault::FollowerLate, Fault::FollowerLate, Fault::FollowerStops, Fault::Touch];
        }
        let size = 2 + rng.below(2);
        LeasePlan {
            seed,
            machines: (0..size).map(|id| machine(id, &mut rng)).collect(),
            followers: (0..followers).map(|_| clock(&mut rng)).collect(),
            leases,
            vips,
            duration,
            delay: rng.pick(&[duration / 1000, duration / 200, duration / 40]),
            loss: if late { 0 } else { rng.pick(&[0, 1_000, 50_000, 200_000]) },
            latency: rng.pick(&[duration / 10_000, duration / 1_000]),
            faults: if faults.is_empty() { vec![Fault::Crash] } else { faults },
            every: rng.pick(&[(0.1, 0.6), (0.5, 2.0), (2.0, 4.0)]),
            lasts: rng.pick(&[(0.02, 0.5), (0.3, 1.5), (1.0, 4.0)]),
            pauses: if late { 0 } else { rng.pick(&[0, 0, 300, 3_000]) },
            troubled: duration * 25,
        }
    }

    /// Clocks as far apart as allowed, and nothing but these faults.
    #[must_use]
    pub fn hunting(seed: u64, faults: &[Fault], lasts: (f64, f64)) -> LeasePlan {
        let mut plan = LeasePlan::new(seed);
        plan.followers.clear();
        plan.faults = faults.to_vec();
        plan.every = (0.3, 2.0);
        plan.lasts = lasts;
        plan.pauses = 0;
        plan.troubled = plan.duration * 40;
        for (machine, rate) in plan.machines.iter_mut().zip([900_000, 1_100_000, 900_000]) {
            machine.clock.rate = rate;
            // What a planted hold is counted by.
            machine.settings.lease = plan.duration;
        }
        plan
    }
}

fn lease(n: usize, duration: Duration) -> LeaseSettings {
    LeaseSettings {
        name: LeaseName { namespace: "kube-system".into(), name: format!("lease-{n}") },
        identity: String::new(),
        duration,
        renew_deadline: duration.mul_f64(0.6),
        retry: duration.mul_f64(0.12),
        preserve: false,
    }
}

fn vip(n: usize, lease: &LeaseName) -> Vip {
    let address = [10, 0, 0, 100 + u8::try_from(n).unwrap_or(0)].into();
    Vip { address, prefix: 32, interface: "eth0".into(), priority: 100, source: Source::Lease(lease.clone()) }
}

fn clock(rng: &mut Rng) -> Clock {
    let rate = match rng.below(4) {
        0 => 900_000,
        1 => 1_100_000,
        _ => 900_000 + u32::try_from(rng.below(200_001)).unwrap_or(0),
    };
    Clock { origin: 100_000_000_000 + rng.bits() % 1_000_000_000_000, rate }
}

fn machine(id: usize, rng: &mut Rng) -> Machine {
    let settings = Ownership {
        node: format!("n{id}"),
        local: None,
        peers: Vec::new(),
        vips: Vec::new(),
        // Of the peers' lease, which nothing here hangs on.
        lease: Duration::from_millis(500),
        renewal: Duration::from_millis(125),
        keys: Vec::new(),
        start_as_leader: false,
        witness: false,
        preempt: false,
        drain: rng.pick(&[Duration::ZERO, Duration::from_millis(300)]),
        refresh: rng.pick(&[None, Some(Duration::from_secs(3))]),
        fence: true,
        force: false,
    };
    let tick = Duration::from_millis(rng.pick(&[1, 4, 10]));
    let mac = [2, 0, 0, 0, 0, u8::try_from(id).unwrap_or(u8::MAX)];
    Machine { settings, clock: clock(rng), tick, links: vec![("eth0".into(), mac)] }
}
