//! One fault: from a healthy cluster, through the fault and its repair, back to a healthy cluster.

use std::io;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Report};
use crate::dice::Dice;
use crate::fault::Fault;

/// Answers in a row that make a client well again.
const WELL: usize = 20;

/// What a trial allows and how long it looks.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The fault comes at a random moment within this time, so that it meets every phase of renewals and adverts.
    pub phase: Duration,
    /// How long the service may stay away, and a node may take until it is ready.
    pub patience: Duration,
    /// How long the fault lasts at least.
    pub lasting: Duration,
    /// How long one looks on after the repair.
    pub after: Duration,
}

impl Limits {
    /// For a lease of half a second.
    pub const DEFAULT: Limits = Limits {
        phase: Duration::from_millis(500),
        patience: Duration::from_secs(8),
        lasting: Duration::from_millis(1000),
        after: Duration::from_millis(500),
    };
}

/// What a trial brought.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Who held the address.
    pub before: usize,
    /// Who held it when the fault was over.
    pub during: Option<usize>,
    /// From the fault to its repair.
    pub fault: Report,
    /// From the repair on.
    pub repair: Report,
    /// The client was served again in time, both times, and the node was ready again in time.
    pub recovered: bool,
}

impl Trial {
    /// Most hosts that answered at one moment.
    #[must_use]
    pub fn most_answering(&self) -> u32 {
        self.fault.answering.most.max(self.repair.answering.most)
    }

    /// Time during which two answered.
    #[must_use]
    pub fn two_answering(&self) -> Duration {
        self.fault.answering.two + self.repair.answering.two
    }

    /// No promise was broken.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.recovered && self.most_answering() <= 1
    }
}

/// Breaks the holder (or the node `victim`) by `fault`, watches, repairs it, watches.
pub fn run(
    cluster: &mut Cluster,
    fault: Fault,
    victim: Option<usize>,
    limits: Limits,
    dice: &mut Dice,
) -> io::Result<Trial> {
    let nobody = || io::Error::new(io::ErrorKind::TimedOut, "nobody holds the address before the fault");
    cluster.wait_for_holder(limits.patience).ok_or_else(nobody)?;
    let _ = cluster.client().wait_for_answers(WELL, limits.patience);
    std::thread::sleep(dice.time(limits.phase));
    let before = cluster.wait_for_holder(limits.patience).ok_or_else(nobody)?;
    let victim = victim.unwrap_or(before);

    let struck = Instant::now();
    fault.strike(cluster, victim)?;
    let mut recovered = served(cluster, struck, limits);
    std::thread::sleep(limits.lasting.saturating_sub(struck.elapsed()));
    let during = cluster.holder();

    let repaired = Instant::now();
    fault.repair(cluster, victim)?;
    recovered &= cluster.wait_until_ready(victim, limits.patience);
    std::thread::sleep(limits.after.saturating_sub(repaired.elapsed()));
    recovered &= served(cluster, repaired, limits);
    let end = Instant::now();
    let repair = cluster.report(repaired, end);
    Ok(Trial { before, during, fault: cluster.report(struck, repaired), repair, recovered })
}

/// The client is served again. A gap that has not begun yet must not be overlooked, so one waits for what a fault takes to be felt.
fn served(cluster: &Cluster, since: Instant, limits: Limits) -> bool {
    let felt = Duration::from_millis(250);
    std::thread::sleep(felt.saturating_sub(since.elapsed()));
    cluster.client().wait_for_answers(WELL, limits.patience)
}
