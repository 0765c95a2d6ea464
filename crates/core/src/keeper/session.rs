//! What this node knows of another voter: its incarnation, when it was heard, what it said last.
//!
//! Only a message that names this node's present incarnation proves to be fresh; everything else is at most answered
//! with a greeting. Knows nothing of addresses and grants.

use std::net::SocketAddr;
use std::time::Duration;

use baton_wire::peer::{Digest, Flags, Header, Record};

use super::event::Mac;
use crate::time::Time;

/// A peer's former incarnations that are remembered, so that its late messages are known as such.
const RETIRED_MAX: usize = 8;
/// Greetings to one peer are at least so far apart: two nodes, or an attacker, cannot make each other chatter.
const GREETING_GAP: Duration = Duration::from_millis(2);
/// Records waiting for one peer; a keeper of the most addresses fills less.
const OUTBOX_MAX: usize = 4096;
/// Link-layer addresses kept of one peer.
pub(crate) const MACS_MAX: usize = 16;

/// Another voter.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) address: SocketAddr,
    incarnation: Option<u64>,
    retired: Vec<u64>,
    window: Window,
    /// When a valid message of its incarnation to ours came last.
    pub(crate) heard: Option<Time>,
    /// Heard recently; a change is an event.
    pub(crate) reachable: bool,
    /// How long it had been silent when it was heard last.
    pub(crate) silent: Option<Duration>,
    pub(crate) sent: Time,
    stamp: Option<(u64, Time)>,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) flags: Flags,
    pub(crate) same_voters: bool,
    pub(crate) lease: Option<Duration>,
    /// It said that nothing it holds rests on our predecessor's votes. Stays true: no later hold of it can.
    pub(crate) clear: bool,
    pub(crate) macs: Vec<Mac>,
    /// Its list of voters, and its digest as the last header had it.
    pub(crate) voters: Vec<SocketAddr>,
    pub(crate) digest: Digest,
    pub(crate) outbox: Vec<Record>,
    /// When it was told last what this node is.
    pub(crate) told: Option<Time>,
    /// A datagram is due even if the outbox is empty.
    greet: Option<Greeting>,
    greeted: Option<Time>,
}

/// Which counters were seen: each counts once, and networks may reorder a little (after RFC 4303, section 3.4.3).
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    highest: u64,
    /// Bit n: `highest − n` was seen.
    seen: u64,
}

impl Window {
    /// Notes a counter; says whether it is the newest, or `None` when it was seen or is too old to tell.
    fn admit(&mut self, counter: u64) -> Option<bool> {
        if counter > self.highest {
            let shift = counter - self.highest;
            self.seen = if shift < 64 { self.seen << shift } else { 0 } | 1;
            self.highest = counter;
            return Some(true);
        }
        let bit = 1u64.checked_shl(u32::try_from(self.highest - counter).ok()?)?;
        let fresh = self.seen & bit == 0;
        self.seen |= bit;
        fresh.then_some(false)
    }
}

/// A datagram that is due: to whom, and whose stamp it echoes.
#[derive(Clone, Copy, Debug)]
enum Greeting {
    /// To the incarnation that is known.
    Known,
    /// To one that does not know ours; its stamp comes back, so that it can prove to be the latest.
    Stranger { incarnation: u64, stamp: u64, at: Time },
}

/// What a message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Fresh and in order; its records count.
    Current {
        /// The first of this incarnation.
        first: bool,
        /// None that was sent later came before.
        newest: bool,
    },
    /// It does not name our incarnation: a greeting is due, nothing else changes.
    Greeting,
    /// Old, doubled or of a former incarnation.
    Stale(&'static str),
}

/// This node's clock as it goes out in a header: never 0.
fn stamp(now: Time) -> u64 {
    now.0 / 1000 + 1
}

impl Session {
    pub(crate) fn new(address: SocketAddr, id: String) -> Session {
        Session {
            id,
            address,
            incarnation: None,
            retired: Vec::new(),
            window: Window::default(),
            heard: None,
            reachable: false,
            sent: Time::ZERO,
            stamp: None,
            round_trip: None,
            flags: Flags::default(),
            same_voters: false,
            lease: None,
            clear: false,
            macs: Vec::new(),
            voters: Vec::new(),
            digest: [0; 16],
            outbox: Vec::new(),
            told: None,
            silent: None,
            greet: Some(Greeting::Known),
            greeted: None,
        }
    }

    /// Its present incarnation, once known.
    pub(crate) fn incarnation(&self) -> Option<u64> {
        self.incarnation
    }

    /// Judges a message addressed to `mine` and notes what its header says.
    pub(crate) fn receive(&mut self, now: Time, h: &Header, mine: u64) -> Verdict {
        if self.retired.contains(&h.sender) {
            return Verdict::Stale("of a former incarnation");
        }
        if h.receiver != mine {
            if self.greeted.is_none_or(|t| now.since(t) >= GREETING_GAP) {
                self.greeted = Some(now);
                self.greet = Some(Greeting::Stranger { incarnation: h.sender, stamp: h.stamp, at: now });
            }
            return Verdict::Greeting;
        }
        let first = self.incarnation != Some(h.sender);
        if first && !self.succeeds(h) {
            return Verdict::Stale("of a former incarnation");
        }
        if first {
            self.restarted(h.sender);
        }
        let Some(newest) = self.window.admit(h.counter) else {
            return Verdict::Stale("doubled or far out of order");
        };
        self.silent = self.heard.replace(now).map(|before| now.since(before));
        self.stamp = Some((h.stamp, now));
        self.flags = h.flags;
        self.digest = h.voters;
        self.lease = Some(Duration::from_millis(u64::from(h.lease_ms)));
        if h.echo != 0 {
            let away = stamp(now).saturating_sub(h.echo).saturating_sub(u64::from(h.echo_age));
            self.round_trip = Some(Duration::from_micros(away));
        }
        Verdict::Current { first, newest }
    }

    /// Whether a message of another incarnation than the known one can be of a later one: it answers something that
    /// we sent after the known one was heard last.
    fn succeeds(&self, h: &Header) -> bool {
        match (self.incarnation, self.heard) {
            (Some(_), Some(heard)) => h.echo >= stamp(heard),
            _ => true,
        }
    }

    fn restarted(&mut self, incarnation: u64) {
        if let Some(old) = self.incarnation.replace(incarnation) {
            if self.retired.len() == RETIRED_MAX {
                self.retired.remove(0);
            }
            self.retired.push(old);
        }
        self.round_trip = None;
        self.window = Window::default();
    }

    /// The fields of a header that depend on the receiver: its incarnation, echo and age. Takes a due greeting.
    pub(crate) fn address_to(&mut self, now: Time, header: &mut Header) {
        let (receiver, echo) = match self.greet.take() {
            Some(Greeting::Stranger { incarnation, stamp, at }) => (incarnation, Some((stamp, at))),
            Some(Greeting::Known) | None => (self.incarnation.unwrap_or(0), self.stamp),
        };
        header.receiver = receiver;
        header.stamp = stamp(now);
        if let Some((theirs, at)) = echo {
            header.echo = theirs;
            header.echo_age = u32::try_from(now.since(at).as_micros()).unwrap_or(u32::MAX);
        }
        self.sent = now;
    }

    /// A datagram is due although there may be nothing to say.
    pub(crate) fn greeting_due(&self) -> bool {
        self.greet.is_some()
    }

    /// A datagram is due.
    pub(crate) fn greet(&mut self) {
        self.greet = self.greet.or(Some(Greeting::Known));
    }

    /// Something to tell it with the next datagram. Before its incarnation is known nothing would count.
    pub(crate) fn tell(&mut self, record: Record) {
        if self.incarnation.is_some() && self.outbox.len() < OUTBOX_MAX {
            self.outbox.push(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u64 = 1;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn message(sender: u64, receiver: u64, counter: u64, echo: u64) -> Header {
        Header {
            flags: Flags::default(),
            lease_ms: 500,
            sender,
            receiver,
            counter,
            voters: [0; 16],
            stamp: 1,
            echo,
            echo_age: 0,
            address: "10.0.0.2:1".parse().expect("it is one"),
        }
    }

    fn session() -> Session {
        Session::new("10.0.0.2:1".parse().expect("it is one"), "b".into())
    }

    #[test]
    fn only_messages_that_name_our_incarnation_count() {
        let mut s = session();
        assert_eq!(s.receive(at(1), &message(5, 0, 1, 0), ME), Verdict::Greeting);
        assert_eq!(s.receive(at(1), &message(5, 99, 2, 0), ME), Verdict::Greeting);
        assert_eq!((s.incarnation(), s.heard), (None, None));
        assert_eq!(s.receive(at(2), &message(5, ME, 3, 0), ME), Verdict::Current { first: true, newest: true });
        assert_eq!(s.receive(at(3), &message(5, ME, 5, 0), ME), Verdict::Current { first: false, newest: true });
        assert_eq!(s.receive(at(3), &message(5, ME, 4, 0), ME), Verdict::Current { first: false, newest: false });
        for counter in [3, 4, 5] {
            assert!(matches!(s.receive(at(3), &message(5, ME, counter, 0), ME), Verdict::Stale(_)), "a replay");
        }
        s.receive(at(4), &message(5, ME, 100, 0), ME);
        assert!(matches!(s.receive(at(4), &message(5, ME, 36, 0), ME), Verdict::Stale(_)), "too old to tell");
        assert!(matches!(s.receive(at(4), &message(5, ME, 37, 0), ME), Verdict::Current { .. }));
    }

    #[test]
    fn a_restarted_peer_proves_it_by_an_answer_and_its_predecessor_is_never_heard_again() {
        let mut s = session();
        s.receive(at(10), &message(5, ME, 1, 0), ME);
        let before = stamp(at(9));
        let after = stamp(at(11));
        assert!(matches!(s.receive(at(12), &message(6, ME, 1, before), ME), Verdict::Stale(_)));
        assert_eq!(s.receive(at(12), &message(6, ME, 1, after), ME), Verdict::Current { first: true, newest: true });
        assert!(matches!(s.receive(at(13), &message(5, ME, 9, stamp(at(13))), ME), Verdict::Stale(_)));
    }

    #[test]
    fn greetings_are_bounded_and_answer_the_stranger() {
        let mut s = session();
        s.receive(at(5), &message(7, 0, 1, 0), ME);
        let mut h = message(ME, 0, 1, 0);
        s.address_to(at(5), &mut h);
        assert_eq!(h.receiver, 7);
        assert!(!s.greeting_due());
        s.receive(at(6), &message(7, 0, 2, 0), ME);
        assert!(!s.greeting_due(), "too soon");
        s.receive(at(7), &message(7, 0, 3, 0), ME);
        assert!(s.greeting_due());
    }

    /// A very late message of a predecessor must not make a restarted peer unbelievable for good.
    #[test]
    fn a_late_message_of_a_predecessor_does_not_deafen() {
        let mut s = session();
        s.receive(at(10), &message(5, ME, 1, 0), ME);
        s.receive(at(20), &message(5, ME, 2, 0), ME);
        s.receive(at(21), &Header { stamp: 77, ..message(6, 0, 1, 0) }, ME);
        let mut reply = message(ME, 0, 1, 0);
        s.address_to(at(21), &mut reply);
        assert_eq!((reply.receiver, reply.echo), (6, 77));
        assert!(matches!(s.receive(at(22), &message(6, ME, 2, reply.stamp), ME), Verdict::Current { first: true, .. }));
    }

    #[test]
    fn the_round_trip_excludes_the_time_at_the_peer() {
        let mut s = session();
        let mut h = message(5, ME, 1, stamp(at(10)));
        h.echo_age = 3000;
        s.receive(at(15), &h, ME);
        assert_eq!(s.round_trip, Some(Duration::from_millis(2)));
    }
}
