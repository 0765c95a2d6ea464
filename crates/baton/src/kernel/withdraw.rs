//! The way out when the thread cannot do it any more: it panicked, or hangs.

use std::net::IpAddr;
use std::time::Duration;

use baton_core::keeper::GateOp;
use baton_core::settings::Vip;
use baton_net::gate::Gates;
use baton_net::rtnl::Rtnl;
use baton_net::table::Instance;

/// Shuts every gate and removes every address, on sockets of its own. Tables that still belong to the thread's socket
/// cannot be removed: their gates end by themselves. Goes on after a failure and returns all of them.
#[must_use]
pub fn withdraw(instance: &Instance, vips: &[Vip], fence: bool) -> Vec<String> {
    let mut failures = Vec::new();
    match Gates::open_for(instance.clone(), fence) {
        Ok(mut gates) => {
            for vip in vips {
                gates.apply(vip, GateOp::Shut);
            }
            // An address without a table answers: the table goes only after the addresses.
            failures.extend(remove_marked(vips, &gates.guarded()));
            if failures.is_empty()
                && let Err(e) = gates.remove()
            {
                failures.push(format!(
                    "the nftables tables, whose gates end by themselves (`baton cleanup` removes them): {e}"
                ));
            }
        }
        Err(e) => {
            failures.push(format!("the gates: {e}"));
            failures.extend(remove_marked(vips, &[]));
        }
    }
    failures
}

/// Only what carries our mark: the same address of somebody else's making stays. What our tables guard is ours, too: a
/// predecessor may have left it, and nobody have named it since.
pub(super) fn remove_marked(vips: &[Vip], guarded: &[(IpAddr, Duration)]) -> Vec<String> {
    let opened = Rtnl::open().and_then(|mut rtnl| rtnl.addresses().map(|all| (rtnl, all)));
    let (mut rtnl, all) = match opened {
        Ok(opened) => opened,
        Err(e) => return vec![format!("the addresses: {e}")],
    };
    let mut failures = Vec::new();
    for found in all {
        let ours = |v: &Vip| v.address == found.address && v.interface == found.interface;
        if !found.mine || !vips.iter().any(ours) && !guarded.iter().any(|(address, _)| *address == found.address) {
            continue;
        }
        if let Err(e) = rtnl.remove_address(&found.interface, found.address, found.prefix) {
            failures.push(format!("{} on {}: {e}", found.address, found.interface));
        }
    }
    failures
}
