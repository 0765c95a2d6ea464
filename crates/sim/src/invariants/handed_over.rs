//! A graceful stop hands over: while a majority stays, the address is without an answer only for some ways of a message.

use std::time::Duration;

use super::ms;
use super::served::Share;
use crate::network::Network;
use crate::plan::Plan;

/// The rule.
pub const RULE: &str = "a graceful stop hands over";
/// Ways of messages between the closed gate and the open one, in two tries: release, permission and grant with their
/// answers, and a way for each message that crosses another.
const WAYS: u32 = 16;
/// Times that a process is scheduled late on the way.
const WAKES: u32 = 24;
/// Gates round down to ticks; a second try comes after a short wait.
const SLACK: Duration = Duration::from_millis(40);

/// The longest gap of a hand-over in which nothing collides.
#[must_use]
pub fn smooth(plan: &Plan, network: &Network) -> Duration {
    network.weather.delay_max * WAYS + plan.latency * WAKES + SLACK
}

/// What is wrong, if something is: candidates may collide now and then, but a hand-over is never worse than a crash.
#[must_use]
pub fn check(plan: &Plan, network: &Network, share: Share) -> Option<String> {
    let allowed = smooth(plan, network) + plan.lease * 2;
    let gap = share.longest_gap;
    (gap > allowed).then(|| format!("nobody answered for {}, {} allowed", ms(gap), ms(allowed)))
}
