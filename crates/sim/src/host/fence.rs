//! What the process does about its fence: gates, guards, and the addresses behind them.

use std::net::IpAddr;
use std::time::Duration;

use baton_core::Time;
use baton_core::keeper::GateDone;
use baton_core::keeper::status::Guarantee;
use baton_core::settings::Vip;

use super::Host;
use crate::clock::Moment;
use crate::gate::Call;

impl Host {
    /// Somebody removes the tables.
    pub fn flush(&mut self) {
        self.kernel.flush();
        if let Some(process) = &mut self.process {
            process.flushed = true;
        }
    }

    /// Puts the tables back, what is held first.
    pub(super) fn repair(&mut self, now: Time) {
        let (Some(process), Some((vips, timeout))) = (&self.process, &self.guard) else { return };
        if self.kernel.flushed {
            let held = process.open.clone();
            self.kernel.repair(now, vips, *timeout, &held);
            held.keys().for_each(|address| self.mark_alone(now, *address));
        }
    }

    pub(super) fn begin_gate(&mut self, at: Moment, mut call: Call) {
        self.counts.opened += u64::from(call.gains());
        self.counts.shut += u64::from(!call.opens());
        if !self.settings.fence {
            let now = self.now(at);
            self.kernel.gates.entry(call.vip.address).or_default();
            self.mark_alone(now, call.vip.address);
            return self.result(call.vip.address, call.by_the_clock(now));
        }
        self.repair(self.now(at));
        if call.gains() && !self.guarded(at, call.vip.address) {
            return self.result(call.vip.address, GateDone::Failed);
        }
        let Some(performed) = self.refused() else { return self.gate_step(at, call) };
        if performed {
            let now = self.now(at);
            while call.step(now, &mut self.kernel).is_none() {}
            self.mark_alone(now, call.vip.address);
        }
        self.result(call.vip.address, GateDone::Failed);
    }

    /// No gate is opened for an address that is not guarded: it would answer when the gate shuts.
    fn guarded(&mut self, at: Moment, address: IpAddr) -> bool {
        let now = self.now(at);
        if self.kernel.guards.get(&address).is_none_or(|ends| *ends <= now)
            && let Some((vips, timeout)) = self.guard.clone()
            && self.refused() != Some(false)
        {
            self.kernel.guard(now, &vips, timeout);
        }
        self.kernel.guards.contains_key(&address)
    }

    /// An address must not outlive its guard: without it, it would answer. Some of the guard's time may be over, because the
    /// process stood still between the decision and this.
    pub(super) fn put_address(&mut self, now: Time, vip: &Vip, valid: Duration) {
        self.counts.put += 1;
        let ended =
            self.settings.fence && self.kernel.guards.get(&vip.address).is_none_or(|end| *end <= now + valid * 3 / 2);
        if (self.unguarded || ended)
            && let Some((vips, timeout)) = self.guard.clone()
        {
            self.guard_again(now, &vips, timeout);
        }
        if !self.unguarded && self.refused() != Some(false) {
            self.kernel.put_address(now, vip, valid);
        }
    }

    pub(super) fn guard_again(&mut self, now: Time, vips: &[Vip], timeout: Duration) {
        let refused = self.refused();
        if refused != Some(false) {
            self.kernel.guard(now, vips, timeout);
        }
        self.unguarded = refused.is_some();
    }

    /// Remembers with the gate whether its holder said that it stands outside the guarantee.
    pub(super) fn mark_alone(&mut self, now: Time, address: IpAddr) {
        if !self.settings.start_as_leader {
            return;
        }
        let Some(process) = &self.process else { return };
        let status = process.keeper.status(now);
        let alone = status.vips.iter().any(|v| v.address == address && v.guarantee == Guarantee::Alone);
        if let Some(gate) = self.kernel.gates.get_mut(&address) {
            gate.alone = alone;
        }
    }
}
