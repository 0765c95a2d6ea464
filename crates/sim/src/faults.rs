//! Faults: which kinds there are, how often they come, and how they end.

use std::net::IpAddr;
use std::time::Duration;

use crate::rng::Rng;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `kill -9`; started again after a while.
    Crash,
    /// The machine loses power; the state directory stays.
    Reboot,
    /// The machine loses power and its state directory.
    Reinstall,
    /// A graceful stop; started again after a while.
    Stop,
    /// New settings by SIGHUP; the old ones come back after a while.
    Reload,
    /// The process stands still.
    Pause,
    /// The machine stands still, its clock goes on.
    Freeze,
    /// Kernel operations fail.
    Refuse,
    /// Nothing passes from one machine to another, in one direction.
    Cut,
    /// Two groups cannot reach each other.
    Partition,
    /// A link goes down.
    LinkDown,
    /// A stranger answers for an address.
    Stranger,
    /// What is behind an address is ill, as one node sees it.
    Ill,
    /// Somebody deletes the address.
    Delete,
    /// Somebody removes the nftables tables.
    Flush,
}

impl Kind {
    /// Those that a mix is drawn from. ([`Kind::Flush`] came later and is drawn apart, so that seeds keep their meaning.)
    pub const ALL: [Kind; 14] = [
        Kind::Crash,
        Kind::Reboot,
        Kind::Reinstall,
        Kind::Stop,
        Kind::Reload,
        Kind::Pause,
        Kind::Freeze,
        Kind::Refuse,
        Kind::Cut,
        Kind::Partition,
        Kind::LinkDown,
        Kind::Stranger,
        Kind::Ill,
        Kind::Delete,
    ];
}

/// Which kinds, how often.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Kinds that happen; more than once makes one more frequent.
    pub kinds: Vec<Kind>,
    /// Time between two, in leases: from, to.
    pub every: (f64, f64),
    /// How long one lasts, in leases: from, to.
    pub lasts: (f64, f64),
    /// How often a process is paused between two of its steps, per million.
    pub pauses: u32,
}

impl Mix {
    /// Nothing happens.
    #[must_use]
    pub fn none() -> Mix {
        Mix { kinds: Vec::new(), every: (1.0, 1.0), lasts: (1.0, 1.0), pauses: 0 }
    }

    /// A random mix.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Mix {
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| rng.chance(400_000)).collect();
        if kinds.is_empty() {
            kinds.push(rng.pick(&Kind::ALL));
        }
        Mix {
            kinds,
            every: rng.pick(&[(0.1, 1.0), (0.5, 2.0), (2.0, 6.0), (5.0, 10.0)]),
            lasts: rng.pick(&[(0.02, 0.5), (0.2, 1.5), (0.8, 3.0), (2.0, 12.0)]),
            pauses: rng.pick(&[0, 0, 300, 3_000]),
        }
    }

    /// Time until the next fault.
    pub fn wait(&self, lease: Duration, rng: &mut Rng) -> Duration {
        rng.between(lease.mul_f64(self.every.0), lease.mul_f64(self.every.1))
    }

    /// How long a fault lasts.
    pub fn length(&self, lease: Duration, rng: &mut Rng) -> Duration {
        rng.between(lease.mul_f64(self.lasts.0), lease.mul_f64(self.lasts.1))
    }
}

/// How a fault ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// A process starts (if none runs).
    Start(usize),
    /// The process goes on.
    Resume(usize),
    /// The machine goes on.
    Thaw(usize),
    /// The original settings come back.
    Restore(usize),
    /// These ways are open again.
    Mend(Vec<(usize, usize)>),
    /// The link is up.
    LinkUp(usize, String),
    /// The stranger is gone.
    Leave(IpAddr),
    /// Well again.
    Heal(usize, IpAddr),
}
