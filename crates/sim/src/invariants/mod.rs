//! What must hold, judged from outside: by what the kernels answer on the wire, never by what a keeper says.

pub mod chatter;
pub mod converged;
pub mod guarded;
pub mod handed_over;
pub mod left;
pub mod one;
pub mod served;
pub mod settled;
pub mod unfenced;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Moment;
use crate::host::Host;
use crate::plan::Plan;

pub use chatter::Chatter;
pub use converged::Converged;
pub use served::Served;
pub use settled::Settled;
pub use unfenced::Unfenced;

/// What part of a run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Faults happen.
    Faults,
    /// They are over; the cluster finds back.
    Recovery,
    /// Nothing may change.
    Steady,
    /// Processes are stopped, one after the other, while a majority stays.
    HandOver,
    /// The rest is stopped.
    Farewell,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub rule: &'static str,
    /// The step of the run.
    pub step: u64,
    /// When.
    pub at: Moment,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?} (step {}): {}", self.rule, self.at, self.step, self.seen)
    }
}

/// Who answers for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answering {
    /// The machine.
    pub node: usize,
    /// Until when, if nothing is renewed.
    pub until: Moment,
    /// It said that it is outside the guarantee when it opened its gate.
    pub alone: bool,
    /// Its kernel ends the answers: it is not `fence: off`, and nobody has removed the tables.
    pub fenced: bool,
}

/// Everybody who answers for an address now.
#[must_use]
pub fn answering(hosts: &[Host], at: Moment, address: IpAddr) -> Vec<Answering> {
    let one = |host: &Host| {
        let until = host.kernel.answers_until(host.now(at), address)?;
        let alone = host.kernel.gates.get(&address).is_some_and(|gate| gate.alone);
        let fenced = host.settings.fence && !host.kernel.flushed;
        Some(Answering { node: host.id, until: host.clock.when(until), alone, fenced })
    };
    hosts.iter().filter_map(one).collect()
}

/// All invariants with what they remember.
#[derive(Clone, Debug)]
pub struct Watch {
    vips: Vec<IpAddr>,
    /// How long each address was served.
    pub served: Served,
    converged: Converged,
    settled: Settled,
    chatter: Chatter,
    unfenced: Unfenced,
    /// The part of the run.
    pub phase: Phase,
    /// The first violation.
    pub violation: Option<Violation>,
}

impl Watch {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Watch {
        Watch {
            vips: plan.vips.clone(),
            served: Served::new(plan.vips.len()),
            converged: Converged::new(plan.vips.len()),
            settled: Settled::default(),
            chatter: Chatter::default(),
            unfenced: Unfenced::new(plan),
            phase: Phase::Faults,
            violation: None,
        }
    }

    /// Notes a violation, the first one only.
    pub fn broken(&mut self, rule: &'static str, step: u64, at: Moment, seen: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, step, at, seen });
        }
    }

    /// Another part of the run begins.
    pub fn enter(&mut self, phase: Phase, at: Moment, hosts: &[Host], step: u64) {
        if self.phase == Phase::Steady {
            let over = self.settled.check(at, hosts).or_else(|| self.chatter.check(at, hosts));
            if let Some((rule, seen)) = over {
                self.broken(rule, step, at, seen);
            }
        }
        self.phase = phase;
        self.settled.begin(at, hosts);
        self.chatter.begin(at, hosts);
    }

    /// Looks at the wire after a step.
    pub fn look(&mut self, at: Moment, step: u64, hosts: &[Host]) {
        if let Some(seen) = guarded::check(hosts) {
            self.broken(guarded::RULE, step, at, seen);
        }
        for index in 0..self.vips.len() {
            let vip = self.vips[index];
            let who = answering(hosts, at, vip);
            if let Some(seen) = one::check(hosts, vip, &who) {
                self.broken(one::RULE, step, at, seen);
            }
            if let Some(seen) = self.unfenced.look(index, at, vip, &who, hosts) {
                self.broken(unfenced::RULE, step, at, seen);
            }
            self.served.look(self.phase, index, at, &who);
            if let Some(seen) = self.converged.look(self.phase, index, at, vip, &who) {
                self.broken(converged::RULE, step, at, seen);
            }
        }
    }
}

/// A duration in milliseconds, for people.
fn ms(d: Duration) -> String {
    format!("{:.3} ms", d.as_secs_f64() * 1e3)
}
