//! An address of ours is guarded for longer than it stays: what a dead process leaves behind is silent until it goes.

use crate::host::Host;

/// The rule.
pub const RULE: &str = "guarded for longer than it stays";

/// What is wrong, if something is. Without a fence, or where somebody has removed the tables, nothing is guarded.
#[must_use]
pub fn check(hosts: &[Host]) -> Option<String> {
    let fenced = hosts.iter().filter(|host| host.settings.fence && !host.kernel.flushed);
    fenced.filter_map(|host| Some((host, host.kernel.outlives_its_guard()?))).map(seen).next()
}

fn seen((host, address): (&Host, std::net::IpAddr)) -> String {
    let (assigned, guard) = (host.kernel.addresses.get(&address), host.kernel.guards.get(&address));
    format!("n{}: {address} is {assigned:?}, guarded until {guard:?}", host.id)
}
