//! One gate operation as the driver performs it: small steps between which a process may be paused or killed.
//!
//! An element's timeout is relative, so a pause between reading the clock and the kernel's work stretches it. A gain is
//! bounded by the elements of two ticks that it adds first; a renewal reads the clock again and repeats the batch.

use std::time::Duration;

use baton_core::Time;
use baton_core::keeper::{GateDone, GateOp};
use baton_core::settings::Vip;

use crate::kernel::Kernel;
use crate::mistake::{self, Mistake};

/// Attempts at one operation.
const ATTEMPTS: u32 = 3;
/// How much longer than planned a batch may take before it is repeated.
const TOLERANCE: Duration = Duration::from_millis(1);

/// An operation on its way.
#[derive(Clone, Debug)]
pub struct Call {
    /// The address.
    pub vip: Vip,
    op: GateOp,
    decided: Time,
    lease: Duration,
    mistake: Option<Mistake>,
    stage: Stage,
    /// Taken off the timeout, because the last batch was that late.
    reserve: Duration,
    gains: u32,
    batches: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Begin,
    Read,
    Batch { before: Time, timeout: Duration },
    Check { before: Time },
}

impl Call {
    /// An operation that was decided at `decided` and begins now.
    #[must_use]
    pub fn new(vip: Vip, op: GateOp, decided: Time, lease: Duration, mistake: Option<Mistake>) -> Call {
        Call { vip, op, decided, lease, mistake, stage: Stage::Begin, reserve: Duration::ZERO, gains: 0, batches: 0 }
    }

    /// Whether this opens or renews.
    #[must_use]
    pub fn opens(&self) -> bool {
        matches!(self.op, GateOp::Open { .. } | GateOp::Renew { .. })
    }

    /// Whether this is a gain.
    #[must_use]
    pub fn gains(&self) -> bool {
        matches!(self.op, GateOp::Open { .. })
    }

    /// What it achieves where there are no gates (`fence: off`).
    #[must_use]
    pub fn by_the_clock(&self, now: Time) -> GateDone {
        match self.op {
            GateOp::Shut => GateDone::Shut,
            GateOp::Drain { .. } | GateOp::Keep { .. } => GateDone::AnswerShut,
            GateOp::Open { end } | GateOp::Renew { end } if end.left(now) >= TOLERANCE => GateDone::Open { end },
            GateOp::Open { .. } | GateOp::Renew { .. } => GateDone::Lost,
        }
    }

    /// The next step; the result when it was the last.
    pub fn step(&mut self, now: Time, kernel: &mut Kernel) -> Option<GateDone> {
        let address = self.vip.address;
        match self.op {
            GateOp::Shut => {
                kernel.gate_shut(address);
                Some(GateDone::Shut)
            }
            GateOp::Drain { accept_end } => {
                kernel.gate_drain(now, address, accept_end.left(now));
                Some(GateDone::AnswerShut)
            }
            GateOp::Keep { accept_end } => {
                kernel.gate_keep(now, address, accept_end.left(now));
                Some(GateDone::AnswerShut)
            }
            GateOp::Open { end } => self.open_step(now, end, true, kernel),
            GateOp::Renew { end } => self.open_step(now, end, false, kernel),
        }
    }

    fn open_step(&mut self, now: Time, end: Time, gain: bool, kernel: &mut Kernel) -> Option<GateDone> {
        let address = self.vip.address;
        let lost = |kernel: &mut Kernel| {
            kernel.gate_shut(address);
            Some(GateDone::Lost)
        };
        match self.stage {
            Stage::Begin => {
                self.gains += 1;
                if gain {
                    if now >= end && self.mistake.is_none() {
                        return lost(kernel);
                    }
                    kernel.gate_open_briefly(now, address);
                }
                self.stage = Stage::Read;
            }
            Stage::Read => {
                let timeout = self.timeout(end, now, kernel.tick);
                if timeout < TOLERANCE {
                    return lost(kernel);
                }
                self.stage = Stage::Batch { before: now, timeout };
            }
            Stage::Batch { before, timeout } => {
                self.batches += 1;
                if kernel.gate_renew(now, address, timeout) {
                    self.stage = Stage::Check { before };
                } else if gain && self.gains < ATTEMPTS {
                    self.stage = Stage::Begin;
                } else {
                    return lost(kernel);
                }
            }
            Stage::Check { before } => {
                let delay = now.since(before);
                if self.mistake.is_some() || now < end && delay <= self.reserve + TOLERANCE {
                    return Some(GateDone::Open { end });
                }
                if now >= end || self.batches == ATTEMPTS {
                    return lost(kernel);
                }
                self.reserve = delay * 2;
                self.stage = Stage::Read;
            }
        }
        None
    }

    /// The timeout of the elements: what is left until the end. This is where the mistakes about ends sit.
    fn timeout(&self, end: Time, now: Time, tick: Duration) -> Duration {
        let right = end.left(now).saturating_sub(self.reserve);
        match self.mistake {
            Some(Mistake::ValidityFromReply) => mistake::validity(self.lease).saturating_sub(tick),
            Some(Mistake::RemainingBeforePause) => end.left(self.decided),
            Some(Mistake::NoEnd) => Duration::from_secs(365 * 24 * 3600),
            Some(Mistake::OneSidedMargin) => {
                right + (mistake::one_sided(self.lease).saturating_sub(mistake::validity(self.lease)))
            }
            _ => right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::settings::Source;
    use std::net::{IpAddr, Ipv4Addr};

    const MS: Duration = Duration::from_millis(1);
    const TICK: Duration = Duration::from_millis(4);
    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));

    fn vip() -> Vip {
        Vip { address: VIP, prefix: 32, interface: "eth0".into(), priority: 100, source: Source::Peers }
    }

    /// Performs an operation with a pause before each of its steps. Gives the end of the gate that it leaves.
    fn perform(op: GateOp, pauses: [u64; 4], mistake: Option<Mistake>) -> Option<Time> {
        let mut kernel = Kernel::boot(TICK, &[]);
        let mut now = Time(1_000_000_000);
        let decided = now;
        if let GateOp::Renew { .. } = op {
            kernel.gate_open_briefly(now, VIP);
            assert!(kernel.gate_renew(now, VIP, 200 * MS));
        }
        let mut call = Call::new(vip(), op, decided, 500 * MS, mistake);
        for step in 0..64 {
            now = now + pauses.get(step).copied().unwrap_or(0) as u32 * MS;
            if call.step(now, &mut kernel).is_some() {
                return kernel.answer_open_until(now, VIP);
            }
        }
        panic!("it never ends");
    }

    /// The latest end over all placements of pauses.
    fn latest(mistake: Option<Mistake>, end: Time) -> Time {
        let lengths = [0, 1, 3, 7, 50, 190, 400];
        let mut latest = Time::ZERO;
        for op in [GateOp::Open { end }, GateOp::Renew { end }] {
            for a in lengths {
                for b in lengths {
                    for c in lengths {
                        for d in lengths {
                            latest = latest.max(perform(op, [a, b, c, d], mistake).unwrap_or(Time::ZERO));
                        }
                    }
                }
            }
        }
        latest
    }

    #[test]
    fn no_pause_leaves_a_gate_that_outlives_its_end_by_more_than_a_tick() {
        let end = Time(1_000_000_000) + 300 * MS;
        let latest = latest(None, end);
        assert!(latest <= end + TICK, "{latest:?}");
        assert!(latest + 5 * TICK > end, "it does open: {latest:?}");
    }

    #[test]
    fn a_remaining_time_from_before_a_pause_does() {
        let end = Time(1_000_000_000) + 300 * MS;
        assert!(latest(Some(Mistake::RemainingBeforePause), end) > end + TICK);
    }
}
