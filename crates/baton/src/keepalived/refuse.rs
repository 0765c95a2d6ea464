//! What a `keepalived.conf` may ask for and this program does not do: the one list, by name and line.
//!
//! Nothing is ignored silently: what would change who answers for an address, or what an address can do, is refused; what
//! only asks for a detail of the original's is told as a warning by the reader.

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
    let nowhere = At::default();
    let global = &config.global;
    refuse(!global.startup_delay.is_zero(), &nowhere, "vrrp_startup_delay", "start the service later");
    refuse(global.fifo_states_on_reload, &nowhere, "fifo_write_vrrp_states_on_reload", "ask with SIGUSR1");
    for route in &config.static_routes {
        refuse(true, &route.at, "static_routes", "give it to the host's own network configuration");
    }
    for address in &config.static_addresses {
        refuse(true, &address.at, "static_ipaddress", "give it to the host's own network configuration");
    }
    refuse(!config.track_groups.is_empty(), &nowhere, "track_group", "use `track_interface`");
    refuse(!config.delays.is_empty(), &nowhere, "interface_up_down_delays", "use a `vrrp_script` with rise and fall");
    for server in config.servers.iter().filter(|_| !vrrp_only) {
        let instead = "balance with a haproxy.cfg (`baton haproxy`), or start with -P to leave virtual servers out";
        refuse(true, &server.at, "virtual_server", instead);
    }
    for instance in &config.instances {
        of_instance(instance, &mut refuse);
    }
    all
}

fn of_instance(i: &Instance, refuse: &mut impl FnMut(bool, &At, &'static str, &'static str)) {
    refuse(i.interface.is_none(), &i.at, "an instance without interface", "name the interface of its addresses");
    refuse(i.vmac.is_some(), &i.at, "use_vmac", "leave it out: moves are announced to neighbours");
    refuse(i.track_source, &i.at, "track_src_ip", "leave it out: without a source address the instance is in FAULT");
    refuse(
        i.fault_without_peers && i.unicast_peers.is_empty(),
        &i.at,
        "unicast_fault_no_peer without peers",
        "name the peers",
    );
    refuse(i.unicast_ttl != 255, &i.at, "unicast_ttl", "leave it out: adverts have TTL 255");
    refuse(i.checksum == Checksum::OldUnicast, &i.at, "old_unicast_checksum", "leave it out: every form is accepted");
    refuse(!i.accept && !i.strict, &i.at, "no_accept", "filter the address's ports with nftables");
    refuse(i.higher_prio_send_advert, &i.at, "higher_prio_send_advert", "leave it out");
    refuse(i.promote_secondaries, &i.at, "promote_secondaries", "set the sysctl of that name");
    refuse(i.garp.extra_if.is_some(), &i.at, "garp_extra_if", "use `garp_master_refresh`");
    for route in &i.routes {
        refuse(true, &route.at, "virtual_routes", "add it by a notify script");
    }
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
