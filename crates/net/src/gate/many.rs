//! One operation on the gates of many addresses: a batch instead of a system call for each of them.
//!
//! A Lease with hundreds of addresses renews hundreds of gates every few seconds. A batch that fails costs an RCU grace
//! period, so the elements that have run out are found from the kernel's answer, and the rest is renewed without them. What a
//! batch cannot do (the kernel was slow) is done one by one, so that each address gets its own answer.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
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
    /// Packets to these addresses are never accepted, only neighbour discovery: they are for routing. What was open before
    /// is shut.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn close(&mut self, vips: &[Vip]) -> io::Result<()> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let closed: BTreeSet<IpAddr> = vips.iter().map(|vip| vip.address).collect();
        let open = std::mem::take(&mut kernel.closed);
        let fresh: Vec<Vip> = vips.iter().filter(|vip| !open.contains(&vip.address)).cloned().collect();
        let shut = kernel.shut_all(&fresh, &[Gate::Accept]);
        kernel.closed = closed;
        match shut {
            // Without the table nothing is open.
            Ok(()) | Err(Refusal::NotFound) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Operates the gates of several addresses; the results come in their order.
    pub fn apply_all(&mut self, vips: &[Vip], op: GateOp) -> Vec<GateDone> {
        let mut all = Vec::with_capacity(vips.len());
        for chunk in vips.chunks(CHUNK) {
            let Some(done) = self.at_once(chunk, op) else {
                all.extend(chunk.iter().map(|vip| self.apply(vip, op)));
                continue;
            };
            for (vip, done) in chunk.iter().zip(done) {
                self.note(vip, done);
                all.push(done);
            }
        }
        all
    }

    /// The operation in a few batches; `None`: it is to be done one by one.
    fn at_once(&mut self, vips: &[Vip], op: GateOp) -> Option<Vec<GateDone>> {
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
                kernel.renew_by(vips, &BOTH, end, 4 * each).ok()?;
                Some(vec![GateDone::Open { end }; vips.len()])
            }
            GateOp::Renew { end } => kernel.renew_living(vips, &BOTH, (end, each), GateDone::Open { end }),
            GateOp::Drain { accept_end } => {
                kernel.shut_all(vips, &[Gate::Answer]).ok()?;
                kernel.renew_living(vips, &[Gate::Accept], (accept_end, each), GateDone::AnswerShut)
            }
            GateOp::Keep { .. } => None,
            GateOp::Shut => kernel.shut_all(vips, &BOTH).ok().map(|()| vec![GateDone::Shut; vips.len()]),
        }
    }
}

/// Which addresses had a gate that was not there; none: it failed for another reason.
type Gone = Vec<usize>;

impl Kernel {
    /// Renews what has not run out, which is `done` then; what has is lost.
    fn renew_living(
        &mut self,
        vips: &[Vip],
        gates: &[Gate],
        (end, reserve): (Time, Duration),
        done: GateDone,
    ) -> Option<Vec<GateDone>> {
        let mut all = vec![done; vips.len()];
        let Err(gone) = self.renew_by(vips, gates, end, reserve) else { return Some(all) };
        if !self.has_sets(&vips[*gone.first()?], gates) {
            return Some(vec![GateDone::Failed; vips.len()]);
        }
        let of = |wanted: bool| -> Vec<Vip> {
            let named = vips.iter().enumerate().filter(|(at, _)| gone.contains(at) == wanted);
            named.map(|(_, vip)| vip.clone()).collect()
        };
        let (lost, living) = (of(true), of(false));
        if !living.is_empty() {
            self.renew_by(&living, gates, end, reserve).ok()?;
        }
        let shut = self.shut_all(&lost, gates).map_or(GateDone::Failed, |()| GateDone::Lost);
        gone.iter().for_each(|at| all[*at] = shut);
        Some(all)
    }

    /// Renews them until `end`, reading the clock before and after.
    fn renew_by(&mut self, vips: &[Vip], gates: &[Gate], end: Time, mut reserve: Duration) -> Result<(), Gone> {
        for _ in 0..ATTEMPTS {
            let before = clock::now();
            let timeout = end.left(before).saturating_sub(reserve);
            if timeout < Duration::from_millis(1) {
                break;
            }
            self.renew_all(vips, gates, timeout)?;
            let after = clock::now();
            let delay = after.since(before);
            if after < end && delay <= reserve + TOLERANCE {
                return Ok(());
            }
            reserve = 2 * delay;
        }
        Err(Gone::new())
    }

    fn renew_all(&mut self, vips: &[Vip], gates: &[Gate], timeout: Duration) -> Result<(), Gone> {
        let mut batch = self.batch();
        // Whose each message of the batch is, from the first behind its beginning.
        let mut whose = Vec::new();
        for (at, vip) in vips.iter().enumerate() {
            let key = table::key(vip.address);
            for place in self.places(vip, gates) {
                batch.delete(place.set(), &key);
                batch.add(place.set(), &key, timeout);
                whose.extend([at, at]);
            }
        }
        match self.run(batch) {
            Ok(()) => Ok(()),
            Err(Refusal::NotFound) => {
                let mut gone: Gone = self.missing.iter().filter_map(|nth| whose.get(nth - 1).copied()).collect();
                gone.dedup();
                Err(gone)
            }
            Err(Refusal::Other(_)) => Err(Gone::new()),
        }
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
