//! Nothing is left on a stopped node, the markers aside: at once after a graceful stop, and by itself when the process
//! was killed.

use std::time::Duration;

use crate::clock::Moment;
use crate::host::Host;

/// The rule.
pub const RULE: &str = "nothing is left";

/// How long a killed process's things may last: guards stay for twice the lifetime of the addresses.
#[must_use]
pub fn lasts(lease: Duration) -> Duration {
    let valid = (lease + Duration::from_secs(2)).max(Duration::from_secs(3));
    (valid * 2).mul_f64(1.2) + Duration::from_millis(200)
}

/// What is left, if something is.
#[must_use]
pub fn check(host: &mut Host, at: Moment) -> Option<String> {
    let now = host.now(at);
    host.kernel.expire(now);
    let kernel = &host.kernel;
    let open = kernel.open_gates(now);
    let clean = kernel.addresses.values().all(|a| !a.mine) && open.is_empty() && kernel.guards.is_empty();
    (!clean)
        .then(|| format!("n{}: addresses {:?}, gates {open:?}, guards {:?}", host.id, kernel.addresses, kernel.guards))
}
