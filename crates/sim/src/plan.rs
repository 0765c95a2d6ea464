//! What one seed means: the cluster, its settings, its clocks, its network and the mix of its faults.
//!
//! Each seed leaves some kinds of fault out altogether, since a fault that always happens hides what happens without it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use baton_core::keeper::Mac;
use baton_core::settings::{Key, Ownership, Peer, Source, Vip};

use crate::clock::Clock;
use crate::faults::{Kind, Mix};
use crate::network::Weather;
use crate::rng::Rng;

/// One machine of a plan.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What its process is asked to do.
    pub settings: Ownership,
    /// Its clock.
    pub clock: Clock,
    /// Its timer granularity.
    pub tick: Duration,
    /// Names and link-layer addresses of its links.
    pub links: Vec<(String, Mac)>,
}

/// What one seed means.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The machines.
    pub machines: Vec<Machine>,
    /// The addresses.
    pub vips: Vec<IpAddr>,
    /// The longest lease in any machine's settings.
    pub lease: Duration,
    /// The network while faults happen.
    pub weather: Weather,
    /// How late a process wakes up at most.
    pub latency: Duration,
    /// Faults of which kinds, how often.
    pub mix: Mix,
    /// How long faults happen.
    pub faults: Duration,
    /// How long nothing may change after the cluster has recovered.
    pub steady: Duration,
    /// The planner reports health.
    pub health: bool,
    /// All nodes have the same rights and the right list of voters.
    pub plain: bool,
}

/// The peers' address of a machine.
#[must_use]
pub fn peer_address(id: usize) -> SocketAddr {
    let last = u8::try_from(id + 1).unwrap_or(u8::MAX);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 10_000)
}

/// The other voters of a machine.
fn others(id: usize, size: usize) -> Vec<Peer> {
    (0..size).filter(|other| *other != id).map(peer).collect()
}

fn peer(id: usize) -> Peer {
    Peer { address: peer_address(id), id: format!("n{id}") }
}

impl Plan {
    /// The meaning of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let size = rng.pick(&[1, 2, 3, 3, 3, 3, 5, 5, 7]);
        Plan::sized(seed, size, &mut rng)
    }

    /// The same for a given number of machines.
    #[must_use]
    pub fn sized(seed: u64, size: usize, rng: &mut Rng) -> Plan {
        let lease = Duration::from_millis(rng.pick(&[50, 100, 500, 500, 500, 1000, 3000]));
        let vips = addresses(rng);
        let shared = shared_settings(rng, lease);
        let tick =
            Duration::from_millis(rng.pick(if lease > Duration::from_millis(100) { &[1, 4, 10] } else { &[1, 4] }));
        let machines = (0..size).map(|id| machine(id, size, &vips, &shared, tick, rng)).collect();
        let mut plan = Plan {
            seed,
            machines,
            vips,
            lease,
            weather: weather(rng, lease),
            latency: rng.pick(&[lease / 5000, lease / 500, lease / 100]),
            mix: Mix::random(rng),
            faults: rng.between(lease * 20, lease * 40).clamp(Duration::from_secs(3), Duration::from_secs(40)),
            steady: (lease * 6).max(Duration::from_secs(2)),
            health: rng.chance(500_000),
            plain: true,
        };
        plan.special(rng);
        plan.unfenced(&mut Rng::new(seed ^ 0xfe_9ce0));
        plan
    }

    /// Some clusters run without a fence, or lose it now and then. Drawn apart, so that seeds keep their meaning.
    fn unfenced(&mut self, rng: &mut Rng) {
        if rng.chance(100_000) {
            self.machines.iter_mut().for_each(|machine| machine.settings.fence = false);
        } else if rng.chance(150_000) {
            self.mix.kinds.push(Kind::Flush);
        }
    }

    /// Gives all nodes the same rights and the right list of voters.
    pub fn equalise(&mut self) {
        let size = self.machines.len();
        for (id, machine) in self.machines.iter_mut().enumerate() {
            let settings = &mut machine.settings;
            settings.peers = others(id, size);
            settings.witness = false;
            settings.start_as_leader = false;
            settings.preempt = false;
            settings.fence = true;
            settings.vips.iter_mut().for_each(|vip| vip.priority = 100);
        }
        self.plain = true;
    }

    /// What only some clusters have: a witness, ranks, a mistyped list, `startAsLeader`.
    fn special(&mut self, rng: &mut Rng) {
        let size = self.machines.len();
        if rng.chance(200_000) {
            for machine in &mut self.machines {
                machine.settings.vips.iter_mut().for_each(|vip| vip.priority = rng.pick(&[50, 100, 150]));
            }
        }
        if size > 1 && rng.chance(150_000) {
            self.machines[rng.below(size)].settings.witness = true;
            self.plain = false;
        }
        if size > 2 && rng.chance(200_000) {
            self.plain = false;
            let id = rng.below(size);
            mistype(&mut self.machines[id].settings, rng);
        } else if rng.chance(200_000) {
            self.plain = false;
            self.machines[0].settings.start_as_leader = true;
            self.machines[0].settings.witness = false;
            if size > 1 && rng.chance(300_000) {
                self.machines[0].settings.peers.clear();
            } else if size > 1 && rng.chance(250_000) {
                self.machines[1].settings.start_as_leader = true;
            }
        }
    }
}

/// Spoils a list of voters: one address is wrong, or some are forgotten.
pub fn mistype(settings: &mut Ownership, rng: &mut Rng) {
    if rng.chance(500_000) {
        forget_voters(settings, rng);
    } else if !settings.peers.is_empty() {
        let index = rng.below(settings.peers.len());
        settings.peers[index] = peer(100);
        settings.peers.sort();
    }
}

/// Leaves voters out, never all of the others.
pub fn forget_voters(settings: &mut Ownership, rng: &mut Rng) {
    let keep = 1 + rng.below(settings.peers.len().saturating_sub(1));
    while settings.peers.len() > keep {
        let index = rng.below(settings.peers.len());
        settings.peers.remove(index);
    }
}

fn addresses(rng: &mut Rng) -> Vec<IpAddr> {
    let mut all = vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))];
    if rng.chance(250_000) {
        all.push(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101)));
    }
    if rng.chance(250_000) {
        all.push("fd00::64".parse().expect("a valid address"));
    }
    all
}

/// Settings that all nodes have in common.
fn shared_settings(rng: &mut Rng, lease: Duration) -> Ownership {
    Ownership {
        node: String::new(),
        local: None,
        peers: Vec::new(),
        vips: Vec::new(),
        lease,
        renewal: rng.pick(&[lease / 5, lease / 5, lease / 3]),
        keys: if rng.chance(300_000) { vec![Key(b"a shared secret".to_vec())] } else { Vec::new() },
        start_as_leader: false,
        witness: false,
        preempt: rng.chance(200_000),
        drain: rng.pick(&[Duration::ZERO, Duration::from_millis(300)]),
        refresh: rng.pick(&[None, Some(Duration::from_secs(1)), Some(Duration::from_secs(30))]),
        fence: true,
        force: false,
    }
}

fn machine(id: usize, size: usize, vips: &[IpAddr], shared: &Ownership, tick: Duration, rng: &mut Rng) -> Machine {
    let apart = rng.chance(200_000);
    let number = u8::try_from(id).unwrap_or(u8::MAX);
    let mut links = vec![("eth0".to_string(), [2, 0, 0, 0, 0, number])];
    if apart {
        links.push(("eth1".to_string(), [2, 0, 0, 0, 1, number]));
    }
    let interface = if apart { "eth1" } else { "eth0" };
    let vip = |address: &IpAddr| Vip {
        address: *address,
        prefix: if address.is_ipv4() { 32 } else { 128 },
        interface: interface.into(),
        priority: 100,
        source: Source::Peers,
    };
    let settings = Ownership {
        node: format!("n{id}"),
        local: Some(peer_address(id)),
        peers: others(id, size),
        vips: vips.iter().map(vip).collect(),
        ..shared.clone()
    };
    let rate = match rng.below(4) {
        0 => 900_000,
        1 => 1_100_000,
        _ => 900_000 + u32::try_from(rng.below(200_001)).unwrap_or(0),
    };
    // Far from zero, so that a time before the start can be told.
    let origin = 100_000_000_000 + rng.bits() % 1_000_000_000_000;
    Machine { settings, clock: Clock { origin, rate }, tick, links }
}

fn weather(rng: &mut Rng, lease: Duration) -> Weather {
    let delay_min = Duration::from_micros(20);
    Weather {
        delay_min,
        delay_max: delay_min + rng.pick(&[lease / 1000, lease / 100, lease / 20, lease / 3]),
        loss: rng.pick(&[0, 1_000, 20_000, 200_000]),
        twice: rng.pick(&[0, 10_000, 100_000]),
        late: rng.pick(&[0, 1_000, 20_000]),
        late_max: lease * 4,
    }
}
