//! Whether a backend may get traffic, and whether an address is served well from this node.
//!
//! One [`Health`] per backend: results of checks and of clients' connects go in, changes come out. One [`Steady`] per
//! address, so that it does not move for a hiccup. Neither checks anything itself.

use std::time::Duration;

use crate::settings::{Check, CheckKind};
use crate::time::Time;

/// Failed connects in a row that make a backend without a check of its own go down.
const FAULTS: u32 = 3;
/// A failed connect asks for a check at once, but not sooner after the last one.
const HURRY: Duration = Duration::from_millis(100);

/// What is found out while a backend without a check of its own is down: whether it accepts connections again.
#[must_use]
pub fn recovery() -> Check {
    Check {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        rise: 2,
        fall: FAULTS,
    }
}

/// How often is checked, beside the check's own interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// While results speak against the present state.
    pub fast: Option<Duration>,
    /// While down, and nothing speaks against that.
    pub down: Option<Duration>,
    /// Clients' connects decide as well; otherwise one that fails brings the next check forward, and no more.
    pub connects: bool,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { fast: None, down: None, connects: true }
    }
}

/// What was learned about a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A check passed.
    Passed {
        /// How long it took.
        took: Duration,
    },
    /// A check failed.
    Failed {
        /// For people.
        why: String,
    },
    /// A client's connection was made, after others had failed.
    Connected,
    /// A client's connection could not be made.
    NotConnected {
        /// For people.
        why: String,
    },
}

/// What errors of traffic lead to when there were too many (`on-error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// It is checked soon.
    Looks,
    /// It counts as a failed check.
    Fails,
    /// So it does, and one more would make it down.
    Doubts,
    /// It is down.
    Down,
}

/// A backend went up or down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// It may get traffic from now on.
    pub up: bool,
    /// What decided it.
    pub why: String,
    /// How long the state before had lasted.
    pub lasted: Duration,
}

/// The health of one backend.
#[derive(Clone, Debug)]
pub struct Health {
    check: Option<Check>,
    pace: Pace,
    up: bool,
    /// No check has come back yet: the first one decides alone.
    unchecked: bool,
    /// Results in a row that speak against the present state.
    against: u32,
    why: String,
    since: Time,
    took: Option<Duration>,
    /// When the last check began.
    began: Option<Time>,
    next: Time,
    running: bool,
}

impl Health {
    /// Believed up until something says otherwise; the first check is due at once.
    #[must_use]
    pub fn new(check: Option<Check>, now: Time) -> Health {
        let why = String::from(if check.is_some() { "not checked yet" } else { "no check; believed up" });
        Health {
            unchecked: check.is_some(),
            check,
            pace: Pace::default(),
            up: true,
            against: 0,
            why,
            since: now,
            took: None,
            began: None,
            next: now,
            running: false,
        }
    }

    /// The settings have changed: what is known stays, and the new check is due at once.
    pub fn configure(&mut self, check: Option<Check>, now: Time) {
        if self.check != check {
            self.check = check;
            self.against = 0;
            self.next = now;
            self.running = false;
        }
    }

    /// How often is checked.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// It is as if a check had decided this: what is known comes from elsewhere.
    pub fn set(&mut self, now: Time, up: bool, why: &str) {
        (self.up, self.against, self.unchecked) = (up, 0, false);
        (self.since, self.why) = (now, why.to_owned());
    }

    /// Traffic had too many errors: what that means for one that is up.
    pub fn suspect(&mut self, now: Time, suspicion: Suspicion, why: String) -> Option<Change> {
        if !self.up {
            return None;
        }
        let most = self.active().map_or(FAULTS, |check| check.fall);
        match suspicion {
            Suspicion::Looks | Suspicion::Fails => {}
            Suspicion::Doubts => self.against = self.against.max(most.saturating_sub(2)),
            Suspicion::Down => self.against = most,
        }
        let change = if suspicion == Suspicion::Looks { None } else { self.result(now, false, why, false) };
        if let Some(fast) = self.pace.fast {
            self.next = self.next.min(now + fast);
        }
        change
    }

    /// Results in a row that speak against the present state.
    #[must_use]
    pub fn against(&self) -> u32 {
        self.against
    }

    /// The time between two checks now.
    fn interval(&self, check: &Check) -> Duration {
        let fast = (self.against > 0).then_some(self.pace.fast).flatten();
        let down = (!self.up && self.against == 0).then_some(self.pace.down).flatten();
        fast.or(down).unwrap_or(check.interval)
    }

    /// A result may bring the next check forward.
    fn hasten(&mut self) {
        if let (Some(check), Some(began)) = (&self.check, self.began)
            && (self.pace.fast.is_some() || self.pace.down.is_some())
        {
            self.next = began + self.interval(check);
        }
    }

    /// Takes a result.
    pub fn handle(&mut self, now: Time, input: Input) -> Option<Change> {
        match input {
            Input::Passed { took } => {
                self.running = false;
                self.took = Some(took);
                let why = format!("check passed in {:.1} ms", took.as_secs_f64() * 1e3);
                let change = self.result(now, true, why, true);
                self.hasten();
                change
            }
            Input::Failed { why } => {
                self.running = false;
                let change = self.result(now, false, why, true);
                self.hasten();
                change
            }
            Input::Connected => {
                if self.up {
                    self.against = 0;
                }
                None
            }
            Input::NotConnected { why } => {
                if !self.up {
                    return None;
                }
                let earliest = self.began.map_or(now, |began| (began + HURRY).max(now));
                self.next = self.next.min(earliest);
                if self.pace.connects { self.result(now, false, why, false) } else { None }
            }
        }
    }

    fn result(&mut self, now: Time, good: bool, why: String, decides: bool) -> Option<Change> {
        let first = decides && self.unchecked;
        self.unchecked &= !decides;
        if good == self.up {
            self.against = 0;
            self.why = why;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = self.active().map_or(FAULTS, |check| if good { check.rise } else { check.fall });
        if !first && self.against < needed {
            return None;
        }
        let lasted = now.since(self.since);
        (self.up, self.against, self.since) = (good, 0, now);
        self.why.clone_from(&why);
        Some(Change { up: good, why, lasted })
    }

    /// The check that applies now: a backend without one gets one while it is down.
    fn active(&self) -> Option<Check> {
        self.check.clone().or_else(|| (!self.up).then(recovery))
    }

    /// When a check is to be started; `None`: not before something happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        (!self.running && (self.check.is_some() || !self.up)).then_some(self.next)
    }

    /// The check to start now, if one is due. Its result must come back.
    pub fn due(&mut self, now: Time) -> Option<Check> {
        if self.deadline()? > now {
            return None;
        }
        let check = self.active()?;
        self.running = true;
        self.began = Some(now);
        self.next = now + self.interval(&check);
        Some(check)
    }

    /// May get traffic.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Its state is a belief: no check has come back yet.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        self.unchecked
    }

    /// What was learned last that agrees with the state.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Since when it is up or down.
    #[must_use]
    pub fn since(&self) -> Time {
        self.since
    }

    /// How long the last passed check took.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.took
    }
}

/// How long an address must be served badly before that counts: a restarting backend is no reason to move it.
pub const BAD_AFTER: Duration = Duration::from_secs(1);
/// How long it must be served well again before that counts: what flaps does not come back at once.
pub const GOOD_AFTER: Duration = Duration::from_secs(3);

/// A yes or no that changes only when it has been different for a while.
#[derive(Clone, Debug)]
pub struct Steady {
    good: bool,
    /// The other value was seen; when it will count.
    turns: Option<Time>,
}

impl Default for Steady {
    fn default() -> Steady {
        Steady { good: true, turns: None }
    }
}

impl Steady {
    /// What is the case now. The change, when it counts from now on.
    pub fn handle(&mut self, now: Time, good: bool) -> Option<bool> {
        if good == self.good {
            self.turns = None;
            return None;
        }
        let at = *self.turns.get_or_insert(now + if good { GOOD_AFTER } else { BAD_AFTER });
        if now < at {
            return None;
        }
        (self.good, self.turns) = (good, None);
        Some(good)
    }

    /// When [`Steady::handle`] should be asked again.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.turns
    }

    /// What counts now.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rise: u32, fall: u32) -> Check {
        Check { kind: CheckKind::Tcp, interval: Duration::from_secs(2), timeout: Duration::from_secs(1), rise, fall }
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    /// `p` passed, `f` failed, `c` connected, `n` not connected, one every 10 ms; `+` and `-` are the changes that follow.
    fn script(check: Option<Check>, script: &str) {
        let mut health = Health::new(check, at(0));
        let mut told = None;
        for (step, letter) in (0u64..).zip(script.chars()) {
            let input = match letter {
                'p' => Input::Passed { took: Duration::from_millis(1) },
                'f' => Input::Failed { why: "no".to_owned() },
                'c' => Input::Connected,
                'n' => Input::NotConnected { why: "refused".to_owned() },
                change => {
                    assert_eq!(told.take(), Some(change == '+'), "{script} at {step}");
                    continue;
                }
            };
            assert_eq!(told, None, "{script} at {step}: an unexpected change");
            told = health.handle(at(10 * step), input).map(|c| c.up);
        }
        assert_eq!(told, None, "{script}: an unexpected change at the end");
    }

    #[test]
    fn rise_and_fall() {
        script(Some(check(2, 3)), "pffpff");
        script(Some(check(2, 3)), "pfff-pfpp+");
        // The first check decides at once, whichever way.
        script(Some(check(2, 3)), "f-ffpp+");
        script(Some(check(2, 3)), "pff");
        script(Some(check(1, 1)), "pf-p+f-");
    }

    #[test]
    fn connects_count() {
        script(Some(check(2, 3)), "pnnn-nnnpp+");
        script(Some(check(2, 3)), "pnfn-");
        script(Some(check(2, 3)), "pnncnn");
        script(Some(check(2, 3)), "pnnpnn");
        script(None, "nncnnn-npp+");
        script(None, "cccnnc");
        // Before the first check a failed connect does not decide alone.
        script(Some(check(2, 3)), "nnf-");
        script(Some(check(2, 3)), "nf-");
    }

    #[test]
    fn errors_of_traffic() {
        let check = |suspicion, times: usize, expected: &[bool]| {
            let mut health = Health::new(Some(check(2, 3)), at(0));
            health.handle(at(0), Input::Passed { took: Duration::ZERO });
            let downs = (0..times).filter_map(|_| health.suspect(at(1), suspicion, "errors".to_owned()).map(|c| c.up));
            assert_eq!(downs.collect::<Vec<_>>(), expected, "{suspicion:?}");
            assert_eq!(health.is_up(), expected.is_empty());
        };
        check(Suspicion::Looks, 9, &[]);
        check(Suspicion::Fails, 2, &[]);
        check(Suspicion::Fails, 9, &[false]);
        check(Suspicion::Doubts, 1, &[]);
        check(Suspicion::Doubts, 2, &[false]);
        check(Suspicion::Down, 1, &[false]);
    }

    #[test]
    fn checks_are_due_in_time_and_one_at_a_time() {
        let mut health = Health::new(Some(check(1, 2)), at(0));
        assert!(health.due(at(0)).is_some());
        assert_eq!((health.deadline(), health.due(at(9000))), (None, None), "one is running");
        health.handle(at(100), Input::Passed { took: Duration::from_millis(100) });
        assert_eq!(health.deadline(), Some(at(2000)), "counted from the start of the last");
        assert!(health.due(at(1999)).is_none());
        // A failed connect hurries it.
        health.handle(at(1000), Input::NotConnected { why: "refused".to_owned() });
        assert!(health.due(at(1000)).is_some());
        health.handle(at(1001), Input::Passed { took: Duration::from_millis(1) });
        health.handle(at(1002), Input::NotConnected { why: "refused".to_owned() });
        assert_eq!(health.deadline(), Some(at(1100)), "but not again and again");
    }

    #[test]
    fn without_a_check_it_is_checked_only_while_down() {
        let mut health = Health::new(None, at(0));
        assert_eq!(health.deadline(), None);
        for _ in 0..3 {
            health.handle(at(50), Input::NotConnected { why: "refused".to_owned() });
        }
        assert!(!health.is_up() && health.why() == "refused");
        assert_eq!(health.due(at(1000)), Some(recovery()));
        health.handle(at(1001), Input::Passed { took: Duration::ZERO });
        assert!(health.due(at(2000)).is_some());
        let change = health.handle(at(2050), Input::Passed { took: Duration::ZERO }).expect("up again");
        assert_eq!((change.up, change.lasted), (true, Duration::from_secs(2)));
        assert_eq!(health.deadline(), None);
    }

    #[test]
    fn a_changed_check_keeps_what_is_known() {
        let mut health = Health::new(Some(check(2, 1)), at(0));
        health.due(at(0));
        health.handle(at(1), Input::Failed { why: "no".to_owned() });
        health.configure(Some(check(1, 1)), at(500));
        assert!(!health.is_up());
        assert!(health.due(at(500)).is_some());
        assert!(health.handle(at(501), Input::Passed { took: Duration::ZERO }).is_some_and(|c| c.up));
    }

    #[test]
    fn a_hiccup_does_not_count() {
        let mut steady = Steady::default();
        assert_eq!(steady.handle(at(0), false), None);
        assert_eq!(steady.handle(at(900), true), None);
        assert_eq!(steady.deadline(), None);
        assert_eq!(steady.handle(at(1000), false), None);
        assert_eq!(steady.deadline(), Some(at(2000)));
        assert_eq!(steady.handle(at(2000), false), Some(false));
        assert_eq!(steady.handle(at(2001), true), None);
        assert_eq!(steady.handle(at(5000), true), None);
        assert_eq!(steady.handle(at(5001), true), Some(true));
        assert!(steady.is_good());
    }
}
