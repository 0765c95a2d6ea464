//! What one step of one address may look at, and where it puts what it decides.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use baton_wire::peer::Record;

use super::event::{Effect, HostAddress, Link, Mac};
use super::session::Session;
use super::voters::Voters;
use crate::settings::Ownership;
use crate::time::Time;

/// Whom to tell something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    All,
    One(SocketAddr),
}

/// The surroundings of one step.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    /// This node as a voter.
    pub(crate) me: SocketAddr,
    pub(crate) incarnation: u64,
    pub(crate) settings: &'a Ownership,
    pub(crate) voters: &'a Voters,
    pub(crate) sessions: &'a BTreeMap<SocketAddr, Session>,
    pub(crate) links: &'a BTreeMap<String, Link>,
    /// What the host has of addresses that are not kept.
    pub(crate) strays: &'a BTreeMap<IpAddr, Vec<HostAddress>>,
    /// Gates of a predecessor whose addresses have not been named yet, and their ends.
    pub(crate) inherited: &'a mut BTreeMap<IpAddr, Time>,
    pub(crate) tick: Duration,
    /// Duration of a grant now: the smallest that all voters allow.
    pub(crate) lease: Duration,
    pub(crate) renewal: Duration,
    /// This node's vote counts: it is not quiet.
    pub(crate) voting: bool,
    /// `startAsLeader` applies: this node's own vote is enough.
    pub(crate) alone: bool,
    /// How many votes it takes.
    pub(crate) quorum: usize,
    /// Since when a quorum could answer; `None`: it cannot.
    pub(crate) contact: Option<Time>,
    pub(crate) stopping: bool,
    /// This process did not run for a while.
    pub(crate) late: bool,
    pub(crate) out: &'a mut Vec<Effect>,
    pub(crate) post: &'a mut Vec<(To, Record)>,
    pub(crate) rng: &'a mut u64,
}

impl Context<'_> {
    /// The link is there and up.
    pub(crate) fn link_up(&self, interface: &str) -> bool {
        self.links.get(interface).is_some_and(|l| l.up)
    }

    pub(crate) fn own_mac(&self, mac: &Mac) -> bool {
        self.links.values().any(|l| l.mac.as_ref() == Some(mac))
    }

    pub(crate) fn peer_mac(&self, mac: &Mac) -> bool {
        self.sessions.values().any(|s| s.macs.contains(mac))
    }

    pub(crate) fn reachable(&self, peer: SocketAddr) -> bool {
        self.sessions.get(&peer).is_some_and(|s| s.reachable)
    }

    /// How long a candidate waits for each better one: long enough for two round trips, short beside the lease.
    pub(crate) fn stagger(&self) -> Duration {
        let usual = (self.lease / 25).clamp(Duration::from_millis(3), Duration::from_millis(20));
        usual.max(self.round_trip() * 2).min(self.lease / 2)
    }

    /// How long an answer of a quorum may take.
    pub(crate) fn patience(&self, usual: Duration) -> Duration {
        usual.max(self.round_trip() * 3).min(self.lease)
    }

    /// The time after which a quorum has answered, as measured.
    fn round_trip(&self) -> Duration {
        let mut trips: Vec<Duration> =
            self.sessions.values().filter(|s| s.reachable).filter_map(|s| s.round_trip).collect();
        trips.sort_unstable();
        let others = self.voters.majority().saturating_sub(1);
        trips.get(others.saturating_sub(1)).or(trips.last()).copied().unwrap_or(Duration::ZERO)
    }

    /// A random duration below `below`, from the seed.
    pub(crate) fn jitter(&mut self, below: Duration) -> Duration {
        let nanos = u64::try_from(below.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(random(self.rng) % nanos)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the next number of a seeded sequence.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
