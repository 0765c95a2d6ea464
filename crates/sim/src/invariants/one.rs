//! Never two nodes answer for one address.
//!
//! Outside the guarantee, as documented: a `startAsLeader` node that held alone and said so when it opened its gate. It
//! may not do that once it knew, when it started, that a majority was ever seen. And a node without a fence: see
//! [`super::unfenced`].

use std::net::IpAddr;

use super::Answering;
use crate::host::Host;

/// The rule.
pub const RULE: &str = "never two answer";

/// What is wrong, if something is.
#[must_use]
pub fn check(hosts: &[Host], vip: IpAddr, who: &[Answering]) -> Option<String> {
    for one in who.iter().filter(|one| one.alone) {
        let knew = hosts[one.node].process.as_ref().is_some_and(|process| process.knew_majority);
        if knew {
            return Some(format!("n{} holds {vip} alone although it knows that a majority was seen", one.node));
        }
    }
    let guaranteed = who.iter().filter(|one| !one.alone && one.fenced).count();
    (guaranteed > 1).then(|| format!("{vip}: {who:?}"))
}
