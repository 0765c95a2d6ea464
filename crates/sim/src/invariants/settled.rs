//! Effects reach a fixed point: what holds is kept up, and nothing is put and removed without end.

use std::time::Duration;

use super::ms;
use crate::clock::Moment;
use crate::host::{Counts, Host};

/// The rule.
pub const RULE: &str = "effects settle";
/// `valid_lft` is at least three seconds and refreshed at half of it; a clock may be fast.
const REFRESH_MIN: Duration = Duration::from_millis(1300);

/// The counts when the steady part began.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    since: Moment,
    counts: Vec<Counts>,
}

impl Settled {
    /// Counting begins.
    pub fn begin(&mut self, at: Moment, hosts: &[Host]) {
        self.since = at;
        self.counts = hosts.iter().map(|host| host.counts).collect();
    }

    /// What is wrong, if something is.
    #[must_use]
    pub fn check(&self, at: Moment, hosts: &[Host]) -> Option<(&'static str, String)> {
        let time = at.since(self.since);
        for (host, before) in hosts.iter().zip(&self.counts) {
            let vips = host.settings.vips.len() as u64;
            let refreshes = (time.as_millis() / REFRESH_MIN.as_millis()) as u64 + 1;
            let changes = [
                ("addresses removed", host.counts.removed - before.removed, 0),
                ("gates opened", host.counts.opened - before.opened, 0),
                ("gates shut", host.counts.shut - before.shut, 0),
                ("addresses put", host.counts.put - before.put, refreshes * vips),
            ];
            for (what, count, allowed) in changes {
                if count > allowed {
                    return Some((RULE, format!("n{}: {count} {what} in {}, {allowed} allowed", host.id, ms(time))));
                }
            }
        }
        None
    }
}
