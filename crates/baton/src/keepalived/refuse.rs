//! What a `keepalived.conf` may ask for and this program does not do: the one list, by name and line.
//!
//! Nothing is ignored silently: what would change who answers for an address, or what an address can do, is refused; what
//! only asks for a detail of the original's is told as a warning by the reader.

use super::services;
use baton_config::keepalived::model::{Address, At, Checksum, Config, Instance};

/// One thing that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) at: At,
    /// The keyword.
    pub(super) key: &'static str,
    /// What to do instead.
    pub(super) instead: &'static str,
}

/// Everything that is asked for and not done, in the order of the model.
pub(super) fn not_done(config: &Config, vrrp_only: bool) -> Vec<Refusal> {
    let mut all = Vec::new();
    let mut refuse = |asked: bool, at: &At, key, instead| {
        if asked {
            all.push(Refusal { at: at.clone(), key, instead });
        }
    };
    if !vrrp_only {
        services::refused(config, &mut refuse);
    }
    for instance in &config.instances {
        of_instance(instance, &mut refuse);
    }
    all
}

fn of_instance(i: &Instance, refuse: &mut impl FnMut(bool, &At, &'static str, &'static str)) {
    refuse(
        i.interface.is_none(),
        &i.at,
        "an instance without interface",
        "name one, or have unicast_src_ip on this host at the start",
    );
    let elsewhere = i.vmac.as_ref().is_some_and(|vmac| vmac.for_addresses);
    refuse(elsewhere, &i.at, "use_vmac_addr", "leave it out: moves are announced to neighbours");
    refuse(
        i.fault_without_peers && i.unicast_peers.is_empty(),
        &i.at,
        "unicast_fault_no_peer without peers",
        "name the peers",
    );
    refuse(i.checksum == Checksum::OldUnicast, &i.at, "old_unicast_checksum", "leave it out: every form is accepted");
    for address in i.addresses.iter().chain(&i.excluded) {
        of_address(address, refuse);
    }
}

fn of_address(a: &Address, refuse: &mut impl FnMut(bool, &At, &'static str, &'static str)) {
    refuse(a.peer.is_some(), &a.at, "peer", "write the address with its prefix");
    refuse(a.vmac, &a.at, "use_vmac", "leave it out");
    refuse(a.home, &a.at, "home", "leave it out");
    refuse(a.mngtmpaddr, &a.at, "mngtmpaddr", "leave it out");
    refuse(a.noprefixroute, &a.at, "noprefixroute", "write the address with /32 or /128");
    refuse(a.autojoin, &a.at, "autojoin", "leave it out");
    let lasting = a.preferred.is_some_and(|preferred| preferred != Some(0));
    refuse(lasting, &a.at, "preferred_lft", "leave it out: a virtual address is never a source by itself");
}
