//! When addresses are announced: keepalived's schedule, and again whenever somebody may have a wrong idea.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::event::Effect;
use super::settings::{Address, Garp, Name};
use crate::time::Time;

/// The schedule of one master.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcer {
    /// A burst that is due, and how often each address is announced in it.
    burst: Option<(Time, u32)>,
    refresh: Option<Time>,
    /// When links are announced on from which nothing else is sent.
    extra: Option<Time>,
    /// Frames of a burst that wait for their gap, and when the next one may go.
    queue: VecDeque<Arc<Address>>,
    next: Time,
}

impl Announcer {
    /// The addresses were gained.
    pub(crate) fn gained(&mut self, now: Time, garp: &Garp, addresses: &[Arc<Address>], out: &mut Vec<Effect>) {
        self.send(now, garp, addresses, garp.repeat, out);
        self.again(now, garp.delay, garp.repeat);
        self.refresh = garp.refresh.map(|r| now + r);
        self.extra = garp.extra.map(|r| now + r);
    }

    /// A node that also thought itself master was heard: who believed it must learn again.
    pub(crate) fn healed(&mut self, now: Time, garp: &Garp, addresses: &[Arc<Address>], out: &mut Vec<Effect>) {
        self.send(now, garp, addresses, garp.lower_repeat.max(1), out);
        self.again(now, garp.lower_delay, garp.lower_repeat);
    }

    fn again(&mut self, now: Time, delay: Duration, repeat: u32) {
        self.burst = (!delay.is_zero() && repeat > 0).then(|| (now + delay, repeat));
    }

    /// Announces so often, at once where no gap is asked for.
    pub(crate) fn send(
        &mut self,
        now: Time,
        garp: &Garp,
        addresses: &[Arc<Address>],
        repeat: u32,
        out: &mut Vec<Effect>,
    ) {
        if repeat == 0 || addresses.is_empty() {
            return;
        }
        if garp.arp_gap.is_zero() && garp.na_gap.is_zero() {
            out.push(Effect::Announce { addresses: addresses.to_vec(), repeat });
            return;
        }
        let waiting = !self.queue.is_empty();
        self.queue = (0..repeat).flat_map(|_| addresses.iter().cloned()).collect();
        if !waiting {
            self.next = self.next.max(now);
        }
        self.spaced(now, garp, out);
    }

    fn spaced(&mut self, now: Time, garp: &Garp, out: &mut Vec<Effect>) {
        while now >= self.next
            && let Some(address) = self.queue.pop_front()
        {
            let gap = if address.address.is_ipv4() { garp.arp_gap } else { garp.na_gap };
            self.next = now + gap;
            out.push(Effect::Announce { addresses: vec![address], repeat: 1 });
        }
    }

    /// One address of each link but the one that adverts leave by.
    pub(crate) fn elsewhere(
        &mut self,
        now: Time,
        garp: &Garp,
        (port, addresses): (&Name, &[Arc<Address>]),
        out: &mut Vec<Effect>,
    ) {
        if self.extra.is_none_or(|t| now < t) {
            return;
        }
        self.extra = garp.extra.map(|r| now + r);
        let mut links = BTreeSet::from([port]);
        let firsts: Vec<_> = addresses.iter().filter(|a| links.insert(&a.interface)).cloned().collect();
        self.send(now, garp, &firsts, 1, out);
    }

    /// What is due now.
    pub(crate) fn step(&mut self, now: Time, garp: &Garp, addresses: &[Arc<Address>], out: &mut Vec<Effect>) {
        self.spaced(now, garp, out);
        if let Some((at, repeat)) = self.burst
            && now >= at
        {
            self.burst = None;
            self.send(now, garp, addresses, repeat, out);
        }
        if self.refresh.is_some_and(|t| now >= t) {
            self.refresh = garp.refresh.map(|r| now + r);
            self.send(now, garp, addresses, garp.refresh_repeat, out);
        }
    }

    /// Nothing more is announced.
    pub(crate) fn stop(&mut self) {
        *self = Announcer { next: self.next, ..Announcer::default() };
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let spaced = (!self.queue.is_empty()).then_some(self.next);
        [spaced, self.burst.map(|(at, _)| at), self.refresh, self.extra].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> Arc<Address> {
        Arc::new(Address {
            address: [10, 0, 0, n].into(),
            prefix: 32,
            interface: "eth0".into(),
            label: None,
            broadcast: None,
            scope: 0,
        })
    }

    const GARP: Garp = Garp {
        repeat: 5,
        delay: Duration::from_secs(5),
        refresh: None,
        refresh_repeat: 1,
        lower_repeat: 5,
        lower_delay: Duration::from_secs(5),
        extra: None,
        arp_gap: Duration::ZERO,
        na_gap: Duration::ZERO,
    };

    fn frames(
        garp: &Garp,
        until_ms: u64,
        at: &mut dyn FnMut(u64, &mut Announcer, &mut Vec<Effect>),
    ) -> Vec<(u64, usize)> {
        let addresses = [address(1), address(2)];
        let (mut announcer, mut seen) = (Announcer::default(), Vec::new());
        for ms in 0..until_ms {
            let (mut out, now) = (Vec::new(), Time(ms * 1_000_000));
            if ms == 0 {
                announcer.gained(now, garp, &addresses, &mut out);
            }
            at(ms, &mut announcer, &mut out);
            announcer.step(now, garp, &addresses, &mut out);
            for effect in out {
                let Effect::Announce { addresses, repeat } = effect else { panic!("{effect:?}") };
                seen.push((ms, addresses.len() * repeat as usize));
            }
        }
        seen
    }

    #[test]
    fn five_at_once_and_five_after_the_delay() {
        assert_eq!(frames(&GARP, 12_000, &mut |_, _, _| ()), [(0, 10), (5000, 10)]);
        let refreshed = Garp { refresh: Some(Duration::from_secs(4)), delay: Duration::ZERO, ..GARP };
        assert_eq!(frames(&refreshed, 9_000, &mut |_, _, _| ()), [(0, 10), (4000, 2), (8000, 2)]);
    }

    #[test]
    fn a_gap_is_kept_between_any_two_frames() {
        let spaced = Garp { arp_gap: Duration::from_millis(30), repeat: 2, delay: Duration::from_millis(50), ..GARP };
        // The second burst begins before the first one is over and takes its place.
        let seen = frames(&spaced, 1000, &mut |_, _, _| ());
        assert_eq!(seen, [(0, 1), (30, 1), (60, 1), (90, 1), (120, 1), (150, 1)]);
    }

    #[test]
    fn a_heal_is_announced_even_where_the_file_says_none() {
        let none = Garp { lower_repeat: 0, delay: Duration::ZERO, ..GARP };
        let mut heal = |ms, a: &mut Announcer, out: &mut Vec<Effect>| {
            if ms == 100 {
                a.healed(Time(100_000_000), &none, &[address(1)], out);
            }
        };
        assert_eq!(frames(&none, 9_000, &mut heal), [(0, 10), (100, 1)]);
    }
}
