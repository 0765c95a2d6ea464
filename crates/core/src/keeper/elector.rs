//! A candidate for one Kubernetes Lease: client-go's rules (`tools/leaderelection`), on values.
//!
//! The store compares `resourceVersion`s, so of several candidates one succeeds. Nobody compares wall clocks: another
//! holder's time is counted by this node's clock from when its record was last seen to change, this node's own from when
//! the request **left** that the store accepted, less the clock-rate margin. A release replaces the very record that this
//! node wrote, before its own end, or is not sent.

use std::time::Duration;

use super::proposer::grant_end;
use crate::lease::{LeaseOp, LeaseRecord, LeaseReply, LeaseSettings};
use crate::time::Time;

/// What another node may have changed is read again so soon.
const READ_AGAIN: Duration = Duration::from_millis(20);
/// What has to follow at once is not repeated faster than this, should every answer invite it.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Other programs release a Lease and then remove the address (client-go's order): what they released is used so much later.
const AFTER_OTHERS: Duration = Duration::from_millis(250);

/// What the node wants of the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To hold it.
    Hold,
    /// To be rid of it; nothing answers by it any more (`shut`), or something still does.
    Leave { shut: bool },
}

/// A record as it was seen last.
#[derive(Clone, Debug)]
struct Seen {
    record: LeaseRecord,
    version: String,
    /// Since when it has been the same.
    since: Time,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    Hold,
    Release,
}

/// A request under way.
#[derive(Clone, Debug)]
struct Flight {
    request: u64,
    sent: Time,
    purpose: Purpose,
    /// The version that was known when it left.
    base: String,
}

/// This node holds the Lease.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    /// On this node's clock, unless renewed.
    pub(crate) until: Time,
    /// When the request left by which it was gained.
    pub(crate) began: Time,
    /// It is not acted on before.
    opens: Time,
    /// When the request left by which it was renewed last.
    renewed: Time,
    /// Another program erased its record: it is to be written anew at once.
    erased: bool,
    /// `acquireTime`, which tells this term from every other one.
    acquired: String,
}

/// How a term began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gain {
    /// Nobody held it.
    Free,
    /// The record was this node's already.
    Resumed,
    /// The last holder released it.
    Released,
    /// The last holder's time ran out.
    Expired,
}

/// A candidate.
#[derive(Clone, Debug)]
pub(crate) struct Elector {
    pub(crate) settings: LeaseSettings,
    /// The store's record is known, or that there is none.
    known: bool,
    seen: Option<Seen>,
    /// A record that is gone still binds until then: somebody deleted it while its holder may answer.
    bound: Time,
    flight: Option<Flight>,
    pub(crate) term: Option<Term>,
    /// How the next term will begin, or the last one did.
    pub(crate) gain: Gain,
    /// It was another program that released what this node asks for.
    by_others: bool,
    next: Time,
    /// Failures in a row.
    failures: u32,
    requests: u64,
    /// What the store said when it last failed.
    pub(crate) trouble: Option<String>,
    /// A part of the time between renewals that is left out, so that many Leases do not stay in step.
    spread: Duration,
}

impl Elector {
    pub(crate) fn new(settings: LeaseSettings, now: Time) -> Elector {
        Elector {
            settings,
            known: false,
            seen: None,
            bound: Time::ZERO,
            flight: None,
            term: None,
            gain: Gain::Free,
            by_others: false,
            next: now,
            failures: 0,
            requests: 0,
            trouble: None,
            spread: Duration::ZERO,
        }
    }

    /// Until when this node holds it.
    pub(crate) fn until(&self, now: Time) -> Option<Time> {
        self.term.as_ref().map(|t| t.until).filter(|until| now < *until)
    }

    /// Until when this node may act on it.
    pub(crate) fn usable(&self, now: Time) -> Option<Time> {
        let term = self.term.as_ref().filter(|t| t.opens <= now && now < t.until)?;
        Some(term.until)
    }

    /// When it comes to be usable.
    pub(crate) fn opens(&self, now: Time) -> Option<Time> {
        self.term.as_ref().map(|t| t.opens).filter(|opens| now < *opens)
    }

    /// `holderIdentity` as seen last; empty: nobody.
    pub(crate) fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |s| s.record.holder.as_str())
    }

    /// Somebody else is known to hold it: nothing that a predecessor on this host held rests on it any more.
    pub(crate) fn is_anothers(&self) -> bool {
        self.known && !matches!(self.holder(), "") && self.holder() != self.settings.identity
    }

    /// Until when the record that was seen last keeps others from taking it, by this node's clock.
    pub(crate) fn taken_until(&self) -> Time {
        let Some(seen) = self.seen.as_ref().filter(|s| !s.record.holder.is_empty()) else { return Time::ZERO };
        seen.since + Duration::from_secs(u64::try_from(seen.record.duration_seconds).unwrap_or(0))
    }

    /// A request is under way.
    pub(crate) fn asks(&self) -> bool {
        self.flight.is_some()
    }

    /// Whole seconds, as the record has them.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds().unsigned_abs().into())
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.settings.duration.as_secs()).unwrap_or(i32::MAX).max(1)
    }

    /// Time between renewals, and after which an answer is no longer waited for.
    fn third(&self) -> Duration {
        self.duration() / 3
    }

    /// Time between tries that fail.
    fn retry(&self) -> Duration {
        self.settings.retry.min(self.duration() / 6).max(READ_AGAIN)
    }

    /// When [`Elector::step`] has something to do by itself.
    pub(crate) fn wake(&self, now: Time, wish: Wish) -> Option<Time> {
        if let Some(f) = &self.flight {
            return Some(f.sent + self.third());
        }
        self.due(now, wish).map(|t| t.max(self.next))
    }

    /// When the next request is due; `None`: nothing is to be asked until something happens.
    fn due(&self, now: Time, wish: Wish) -> Option<Time> {
        if !self.known {
            return Some(now);
        }
        match (wish, &self.term) {
            (Wish::Leave { shut }, Some(term)) if now < term.until => shut.then_some(now),
            (Wish::Leave { .. }, _) => None,
            // There is none: this node's own is made anew at once, another holder's when its time is over.
            (Wish::Hold, _) if self.seen.is_none() => Some(self.bound),
            (Wish::Hold, Some(term)) if now < term.until && term.erased => Some(now),
            (Wish::Hold, Some(term)) if now < term.until => {
                Some(term.renewed + self.third().saturating_sub(self.spread))
            }
            (Wish::Hold, _) if self.holder() == self.settings.identity => Some(now),
            (Wish::Hold, _) => Some(self.taken_until()),
        }
    }

    /// The request that is due, with its number. `lag`: by how much it is late.
    pub(crate) fn step(&mut self, now: Time, wish: Wish) -> Option<(u64, LeaseOp, Duration)> {
        let patience = self.third();
        if let Some(f) = self.flight.take_if(|f| now >= f.sent + patience) {
            self.lost(now, &f, "no answer");
        }
        let due = self.due(now, wish)?.max(self.next);
        if self.flight.is_some() || now < due {
            return None;
        }
        let (purpose, op) = if !self.known {
            (Purpose::Read, LeaseOp::Get)
        } else if matches!(wish, Wish::Hold) {
            (Purpose::Hold, self.hold_op(now))
        } else if let Some(op) = self.release_op() {
            (Purpose::Release, op)
        } else {
            // Somebody else wrote it meanwhile: there is nothing of ours to give up.
            self.term = None;
            return None;
        };
        self.requests += 1;
        let base = self.seen.as_ref().map(|s| s.version.clone()).unwrap_or_default();
        self.flight = Some(Flight { request: self.requests, sent: now, purpose, base });
        let renews = purpose == Purpose::Hold && self.until(now).is_some();
        Some((self.requests, op, if renews { now.since(due) } else { Duration::ZERO }))
    }

    /// Takes the Lease, or renews it.
    fn hold_op(&mut self, now: Time) -> LeaseOp {
        let mut record = LeaseRecord {
            holder: self.settings.identity.clone(),
            duration_seconds: self.seconds(),
            author: Some(self.settings.identity.clone()),
            ..LeaseRecord::default()
        };
        let Some(seen) = &self.seen else {
            (self.gain, self.by_others) = (Gain::Free, false);
            return LeaseOp::Create(record);
        };
        if seen.record.holder == self.settings.identity {
            record.transitions = seen.record.transitions;
            record.acquire_time.clone_from(&seen.record.acquire_time);
            if self.until(now).is_none() {
                (self.gain, self.by_others) = (Gain::Resumed, false);
            }
        } else {
            record.transitions = seen.record.transitions.saturating_add(1);
            self.gain = if seen.record.holder.is_empty() { Gain::Released } else { Gain::Expired };
            self.by_others = self.gain == Gain::Released && seen.record.author.as_deref() != Some("");
        }
        LeaseOp::Replace { record, version: seen.version.clone() }
    }

    /// Replaces the very record that this node wrote by one that names nobody; as client-go, for one second.
    fn release_op(&self) -> Option<LeaseOp> {
        let seen = self.seen.as_ref().filter(|s| self.is_own(&s.record))?;
        let transitions = seen.record.transitions;
        let author = Some(String::new());
        let record = LeaseRecord { duration_seconds: 1, transitions, author, ..LeaseRecord::default() };
        Some(LeaseOp::Replace { record, version: seen.version.clone() })
    }

    /// The record is of this node's present term.
    fn is_own(&self, record: &LeaseRecord) -> bool {
        let acquired = self.term.as_ref().map(|t| t.acquired.as_str());
        record.holder == self.settings.identity && acquired == Some(record.acquire_time.as_str())
    }

    /// What came of a request. False when it is none that is waited for.
    pub(crate) fn replied(&mut self, now: Time, request: u64, reply: LeaseReply, tick: Duration) -> bool {
        let Some(flight) = self.flight.take_if(|f| f.request == request) else { return false };
        match (flight.purpose, reply) {
            (_, LeaseReply::Unknown(why)) => self.lost(now, &flight, &why),
            (_, LeaseReply::Refused(why)) => self.failed(now, &why),
            (Purpose::Read, LeaseReply::Stored { record, version }) => {
                self.trouble = None;
                self.see(now, record, version);
            }
            (Purpose::Hold, LeaseReply::Stored { record, version }) => {
                self.works(now);
                self.stored(now, &flight, record, version, tick);
            }
            (Purpose::Release, LeaseReply::Stored { record, version }) => {
                self.works(now);
                self.term = None;
                self.see(now, record, version);
            }
            (Purpose::Release, LeaseReply::Absent | LeaseReply::Conflict | LeaseReply::Exists) => {
                // It is not the record that this node wrote any more.
                self.term = None;
                self.read_again(now, READ_AGAIN);
            }
            (_, LeaseReply::Absent) => {
                self.works(now);
                self.gone();
                self.next = now + if flight.purpose == Purpose::Read { Duration::ZERO } else { AT_ONCE };
            }
            (_, reply @ (LeaseReply::Conflict | LeaseReply::Exists)) => {
                // Whose it is will be read; should it be gone by then, it was somebody's.
                if reply == LeaseReply::Exists && self.term.is_none() {
                    self.bound = now + self.duration();
                }
                let wait = if self.until(now).is_some() { AT_ONCE } else { self.retry() / 2 };
                self.failures += 1;
                self.read_again(now, wait.max(READ_AGAIN * self.failures.min(10).saturating_sub(1)));
            }
        }
        true
    }

    /// The store took a record that names this node.
    fn stored(&mut self, now: Time, flight: &Flight, record: LeaseRecord, version: String, tick: Duration) {
        let until = grant_end(flight.sent, self.duration(), tick);
        let term = self.term.as_ref().filter(|t| now < t.until);
        let began = term.map_or(flight.sent, |t| t.began);
        let first = if self.by_others { now + AFTER_OTHERS } else { Time::ZERO };
        let opens = term.map_or(first, |t| t.opens);
        let acquired = record.acquire_time.clone();
        self.see(now, record, version);
        // Another node's record in this answer would mean that it was not this node's that was stored.
        if self.holder() == self.settings.identity {
            self.term = Some(Term { until, began, opens, renewed: flight.sent, erased: false, acquired });
        }
    }

    /// A watch or a list shows the Lease. What it shows may be old.
    pub(crate) fn shown(&mut self, now: Time, state: Option<(LeaseRecord, String)>) {
        let concerns = self.until(now).is_some() || self.flight.as_ref().is_some_and(|f| f.purpose != Purpose::Read);
        match state {
            Some((_, version)) if self.seen.as_ref().is_some_and(|s| s.version == version) => {}
            Some((record, version)) => match self.seen.as_ref().map(|s| newer(&version, &s.version)) {
                Some(Some(false)) => {}
                // Versions that cannot be compared: what this node rests on is worth a question.
                Some(None) if concerns => self.read_again(now, Duration::ZERO),
                Some(_) | None => self.see(now, record, version),
            },
            // A deletion has no version: it may be older than what this node has written since.
            None if concerns => self.read_again(now, Duration::ZERO),
            None => {
                self.gone();
                self.next = now;
            }
        }
    }

    /// There is no record. Whoever it named may not know yet: it holds until its time is over, or writes it anew.
    fn gone(&mut self) {
        if self.holder() != self.settings.identity && !self.holder().is_empty() {
            self.bound = self.taken_until();
        }
        self.seen = None;
        self.known = true;
    }

    /// The record of the store, newer than what was known.
    fn see(&mut self, now: Time, record: LeaseRecord, version: String) {
        let record = self.unerased(record);
        if record.holder != self.settings.identity {
            self.term = None;
        }
        let since = self.seen.as_ref().filter(|s| s.record == record).map_or(now, |s| s.since);
        self.bound = Time::ZERO;
        self.seen = Some(Seen { record, version, since });
        if !self.known {
            self.known = true;
            self.next = now;
        }
    }

    /// client-go's release, when it comes late, erases a successor that it has just read. If that is a Baton it did not
    /// give up, so it still holds: the record is read as it was, and its holder writes it anew at once.
    fn unerased(&mut self, record: LeaseRecord) -> LeaseRecord {
        let author = record.author.as_deref().unwrap_or_default();
        if !record.holder.is_empty() || author.is_empty() {
            return record;
        }
        match &self.seen {
            Some(seen) if seen.record.holder == author => {
                if let Some(term) = self.term.as_mut().filter(|_| author == self.settings.identity) {
                    term.erased = true;
                }
                seen.record.clone()
            }
            Some(_) => record,
            // What was there before is not known: the author may hold it.
            None => LeaseRecord { holder: author.to_owned(), duration_seconds: self.seconds(), ..record },
        }
    }

    fn read_again(&mut self, now: Time, wait: Duration) {
        self.known = false;
        self.next = now + wait;
    }

    fn works(&mut self, now: Time) {
        self.failures = 0;
        self.trouble = None;
        self.next = now;
    }

    fn failed(&mut self, now: Time, why: &str) {
        self.failures += 1;
        self.trouble = Some(why.to_owned());
        // The first failure is one server's: the next request goes to another one. After that there is nobody to hurry to.
        self.next = now + if self.failures == 1 { READ_AGAIN } else { self.retry() };
    }

    /// No answer: it may have been performed, so read again; unless a watch has shown meanwhile what there is.
    fn lost(&mut self, now: Time, flight: &Flight, why: &str) {
        self.failed(now, why);
        self.known = flight.purpose != Purpose::Read && self.seen.as_ref().is_some_and(|s| s.version != flight.base);
    }

    /// Renewals come sooner by this part of their interval.
    pub(crate) fn spread(&mut self, part: Duration) {
        self.spread = part;
    }
}

/// Whether one `resourceVersion` is later than another. They are numbers in every store in use, and since Kubernetes 1.35
/// said to be; `None` when they are not.
fn newer(version: &str, than: &str) -> Option<bool> {
    Some(version.parse::<u64>().ok()? > than.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::LeaseName;

    const TICK: Duration = Duration::from_millis(4);

    fn at(ms: u64) -> Time {
        Time(1_000_000_000 + ms * 1_000_000)
    }

    fn candidate(identity: &str) -> Elector {
        let name = LeaseName { namespace: "kube-system".into(), name: "plndr-cp-lock".into() };
        let (duration, renew_deadline, retry) =
            (Duration::from_secs(15), Duration::from_secs(10), Duration::from_secs(2));
        let identity = identity.to_owned();
        Elector::new(LeaseSettings { name, identity, duration, renew_deadline, retry, preserve: false }, at(0))
    }

    fn record(holder: &str, author: Option<&str>) -> LeaseRecord {
        let (holder, author) = (holder.to_owned(), author.map(str::to_owned));
        LeaseRecord { holder, duration_seconds: 15, author, ..LeaseRecord::default() }
    }

    /// A follower that saw `before` and a second later a record that names nobody.
    fn free_at(before: Option<LeaseRecord>, author: Option<&str>) -> Time {
        let mut follower = candidate("n3");
        if let Some(before) = before {
            follower.shown(at(0), Some((before, "1".into())));
        }
        follower.shown(at(1000), Some((record("", author), "2".into())));
        follower.taken_until()
    }

    #[test]
    fn who_erases_a_holder_without_having_been_it_frees_nothing() {
        // n2 is a Baton and was erased: it may hold until its time is over.
        assert_eq!(free_at(Some(record("n2", Some("n2"))), Some("n2")), at(15_000));
        // It released by itself.
        assert_eq!(free_at(Some(record("n2", Some("n2"))), Some("")), Time::ZERO);
        // Another program held, and released as it does; n2's name is from before.
        assert_eq!(free_at(Some(record("n1", Some("n2"))), Some("n2")), Time::ZERO);
        assert_eq!(free_at(Some(record("n1", None)), None), Time::ZERO);
        // What was there before is not known.
        assert_eq!(free_at(None, Some("n2")), at(16_000));
        assert_eq!(free_at(None, None), Time::ZERO);
    }

    /// When a node that took a Lease 5 ms after it was released may act on it.
    fn usable_after(author: Option<&str>) -> Time {
        let mut node = candidate("n3");
        node.shown(at(0), Some((record("", author), "1".into())));
        let (request, op, _) = node.step(at(0), Wish::Hold).expect("a request");
        let LeaseOp::Replace { record, .. } = op else { panic!("{op:?}") };
        // The watch may be quicker than the answer.
        node.shown(at(4), Some((record.clone(), "2".into())));
        node.replied(at(5), request, LeaseReply::Stored { record, version: "2".into() }, TICK);
        let first = (5..1000).map(at).find(|now| node.usable(*now).is_some()).expect("a term");
        assert!(first == at(5) || node.wake(at(5), Wish::Hold).is_some() && node.opens(at(5)) == Some(first));
        first
    }

    #[test]
    fn other_programs_have_time_to_remove_the_address_after_they_released() {
        assert_eq!(usable_after(Some("")), at(5));
        assert_eq!(usable_after(None), at(255));
    }

    #[test]
    fn a_lease_that_somebody_deletes_is_its_holders_until_its_time_is_over() {
        let due = |follower: &Elector, ms: u64| follower.wake(at(ms), Wish::Hold);
        let mut follower = candidate("n3");
        follower.shown(at(0), Some((record("n1", Some("n1")), "1".into())));
        follower.shown(at(1000), None);
        assert_eq!(due(&follower, 1000), Some(at(15_000)));
        // A second look tells nothing new.
        follower.shown(at(2000), None);
        assert_eq!(due(&follower, 2000), Some(at(15_000)));
        // Its holder makes it anew, and releases it.
        follower.shown(at(3000), Some((record("n1", Some("n1")), "2".into())));
        assert_eq!(due(&follower, 3000), Some(at(18_000)));
        follower.shown(at(4000), Some((record("", Some("")), "3".into())));
        follower.shown(at(4500), None);
        assert_eq!(due(&follower, 4500), Some(at(4500)));
    }

    #[test]
    fn a_lease_that_was_there_and_is_gone_was_somebodys() {
        let mut node = candidate("n2");
        node.shown(at(0), None);
        let (request, ..) = node.step(at(0), Wish::Hold).expect("a request");
        node.replied(at(5), request, LeaseReply::Exists, TICK);
        let again = node.wake(at(5), Wish::Hold).expect("a question");
        let (request, op, _) = node.step(again, Wish::Hold).expect("a question");
        assert_eq!(op, LeaseOp::Get);
        node.replied(again, request, LeaseReply::Absent, TICK);
        assert_eq!(node.wake(again, Wish::Hold), Some(at(15_005)));
    }

    #[test]
    fn a_holder_makes_its_deleted_lease_anew_at_once() {
        let mut holder = candidate("n2");
        holder.shown(at(0), None);
        let (request, op, _) = holder.step(at(0), Wish::Hold).expect("a request");
        let LeaseOp::Create(own) = op else { panic!("{op:?}") };
        holder.replied(at(5), request, LeaseReply::Stored { record: own, version: "1".into() }, TICK);
        holder.shown(at(1000), None);
        let (request, op, _) = holder.step(at(1000), Wish::Hold).expect("a question");
        assert_eq!(op, LeaseOp::Get);
        holder.replied(at(1005), request, LeaseReply::Absent, TICK);
        assert!(matches!(holder.step(at(1005), Wish::Hold), Some((_, LeaseOp::Create(_), _))));
    }

    #[test]
    fn a_holder_that_was_erased_goes_on_and_writes_its_record_anew_at_once() {
        let mut holder = candidate("n2");
        holder.shown(at(0), None);
        let (request, op, _) = holder.step(at(0), Wish::Hold).expect("a request");
        let LeaseOp::Create(own) = op else { panic!("{op:?}") };
        holder.replied(at(5), request, LeaseReply::Stored { record: own.clone(), version: "1".into() }, TICK);
        let until = holder.until(at(5)).expect("a term");
        assert!(holder.wake(at(5), Wish::Hold).is_some_and(|wake| wake > at(4000)));
        holder.shown(at(1000), Some((record("", Some("n2")), "2".into())));
        assert_eq!(holder.until(at(1000)), Some(until));
        let (_, op, lag) = holder.step(at(1000), Wish::Hold).expect("a request");
        let LeaseOp::Replace { record, version } = op else { panic!("{op:?}") };
        assert_eq!((record.holder.as_str(), record.author.as_deref(), version.as_str()), ("n2", Some("n2"), "2"));
        assert_eq!((record.transitions, lag), (own.transitions, Duration::ZERO));
        // Its own release says so.
        let mut holder = candidate("n2");
        holder.shown(at(0), None);
        let (request, ..) = holder.step(at(0), Wish::Hold).expect("a request");
        holder.replied(at(5), request, LeaseReply::Stored { record: own, version: "1".into() }, TICK);
        let (_, op, _) = holder.step(at(1000), Wish::Leave { shut: true }).expect("a request");
        assert!(matches!(op, LeaseOp::Replace { record, .. } if record.author.as_deref() == Some("")));
    }
}
