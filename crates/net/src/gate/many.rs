//! One operation on the gates of many addresses: a batch instead of a system call for each of them.
//!
//! A Lease with hundreds of addresses renews hundreds of gates every few seconds. What a batch cannot do as a whole (an
//! element has run out, the kernel was slow) is done one by one, so that each address gets its own answer.

use std::time::Duration;

use baton_core::Time;
use baton_core::keeper::{GateDone, GateOp};
use baton_core::settings::Vip;

use super::{ATTEMPTS, BOTH, Gate, Gates, Kernel, Refusal, TOLERANCE};
use crate::clock;
use crate::table;

/// Addresses in one batch: at most 1,000 elements in the layout with the most places, because every commit keeps others
/// waiting.
const CHUNK: usize = 160;
/// What the kernel takes for one address, and some more: taken off every end, so that a batch does not outlive it.
const PER_ADDRESS: Duration = Duration::from_micros(20);

impl Gates {
    /// Operates the gates of several addresses; the results come in their order.
    pub fn apply_all(&mut self, vips: &[Vip], op: GateOp) -> Vec<GateDone> {
        let mut all = Vec::with_capacity(vips.len());
        for chunk in vips.chunks(CHUNK) {
            let Some(done) = self.at_once(chunk, op) else {
                all.extend(chunk.iter().map(|vip| self.apply(vip, op)));
                continue;
            };
            for vip in chunk {
                self.note(vip, done);
                all.push(done);
            }
        }
        all
    }

    /// The operation in one batch or two; `None`: it is to be done one by one.
    fn at_once(&mut self, vips: &[Vip], op: GateOp) -> Option<GateDone> {
        let each = PER_ADDRESS * u32::try_from(vips.len()).ok()?;
        if vips.len() < 2 {
            return None;
        }
        let two_ticks = 2 * self.tick;
        let kernel = self.kernel.as_mut()?;
        match op {
            GateOp::Open { end } => {
                // They live long enough for the batch that renews them, which ends as much sooner.
                kernel.add_all(vips, &BOTH, two_ticks + 4 * each).ok()?;
                kernel.renew_by(vips, &BOTH, end, 4 * each)?;
                Some(GateDone::Open { end })
            }
            GateOp::Renew { end } => {
                kernel.renew_by(vips, &BOTH, end, each)?;
                Some(GateDone::Open { end })
            }
            GateOp::Drain { accept_end } => {
                kernel.shut_all(vips, &[Gate::Answer]).ok()?;
                kernel.renew_by(vips, &[Gate::Accept], accept_end, each)?;
                Some(GateDone::AnswerShut)
            }
            GateOp::Keep { .. } => None,
            GateOp::Shut => kernel.shut_all(vips, &BOTH).ok().map(|()| GateDone::Shut),
        }
    }
}

impl Kernel {
    /// Renews them until `end`, reading the clock before and after.
    fn renew_by(&mut self, vips: &[Vip], gates: &[Gate], end: Time, mut reserve: Duration) -> Option<()> {
        for _ in 0..ATTEMPTS {
            let before = clock::now();
            let timeout = end.left(before).saturating_sub(reserve);
            if timeout < Duration::from_millis(1) {
                return None;
            }
            self.renew_all(vips, gates, timeout).ok()?;
            let after = clock::now();
            let delay = after.since(before);
            if after < end && delay <= reserve + TOLERANCE {
                return Some(());
            }
            reserve = 2 * delay;
        }
        None
    }

    fn renew_all(&mut self, vips: &[Vip], gates: &[Gate], timeout: Duration) -> Result<(), Refusal> {
        let mut batch = self.batch();
        for vip in vips {
            let key = table::key(vip.address);
            for place in self.places(vip, gates) {
                batch.delete(place.set(), &key);
                batch.add(place.set(), &key, timeout);
            }
        }
        self.run(batch)
    }

    fn add_all(&mut self, vips: &[Vip], gates: &[Gate], timeout: Duration) -> Result<(), Refusal> {
        let mut batch = self.batch();
        for vip in vips {
            for place in self.places(vip, gates) {
                batch.add(place.set(), &table::key(vip.address), timeout);
            }
        }
        self.run(batch)
    }

    /// Idempotent: what is not there is shut.
    pub(super) fn shut_all(&mut self, vips: &[Vip], gates: &[Gate]) -> Result<(), Refusal> {
        let mut batch = self.batch();
        for vip in vips {
            for place in self.places(vip, gates) {
                batch.clear(place.set(), &table::key(vip.address));
            }
        }
        self.run(batch)
    }
}
