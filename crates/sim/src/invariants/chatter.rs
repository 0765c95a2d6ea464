//! A bound on messages: a cluster at rest exchanges what the renewals need, whatever happened before.

use std::time::Duration;

use super::ms;
use crate::clock::Moment;
use crate::host::Host;

/// The rule.
pub const RULE: &str = "messages are bounded";
/// Peers with nothing to say greet each other at least so often.
const HELLO: Duration = Duration::from_millis(500);
/// Messages that one renewal time may cost between two nodes, in one direction: one renewal or answer for all
/// addresses, one statement of the node's own state, and one for rounding.
const PER_RENEWAL: u64 = 3;

/// The counts when the steady part began.
#[derive(Clone, Debug, Default)]
pub struct Chatter {
    since: Moment,
    sent: Vec<u64>,
}

impl Chatter {
    /// Counting begins.
    pub fn begin(&mut self, at: Moment, hosts: &[Host]) {
        self.since = at;
        self.sent = hosts.iter().map(|host| host.counts.sent).collect();
    }

    /// What is wrong, if something is.
    #[must_use]
    pub fn check(&self, at: Moment, hosts: &[Host]) -> Option<(&'static str, String)> {
        let time = at.since(self.since);
        for (host, before) in hosts.iter().zip(&self.sent) {
            let shortest = hosts.iter().map(|h| h.settings.renewal.min(HELLO)).min().unwrap_or(HELLO);
            // Fast clocks renew more often.
            let renewals = (time.as_secs_f64() * 1.1 / shortest.as_secs_f64().max(1e-3)).ceil() as u64 + 2;
            let allowed = renewals * PER_RENEWAL * (hosts.len() as u64 - 1);
            let sent = host.counts.sent - before;
            if sent > allowed {
                return Some((RULE, format!("n{}: {sent} messages in {}, {allowed} allowed", host.id, ms(time))));
            }
        }
        None
    }
}
