//! Tables: who may change them, what a successor finds, how they heal, and what stays.

use std::net::IpAddr;

use baton_core::keeper::{GateDone, GateOp, Marker};
use baton_net::clock::now;
use baton_net::gate::Gates;
use baton_net::rtnl::Rtnl;
use baton_net::table::{self, Instance, Layout, Markers, TableError, Watch};

use crate::host::{Wire, inside, ms, open_gates, run, succeeds, vip};

const V4: &str = "10.7.0.100";
const V6: &str = "fd07::100";

#[test]
fn support_leaves_nothing_behind() {
    inside("tables::support_leaves_nothing_behind", || {
        assert_eq!(Gates::open(true).unwrap().layout(), Some(Layout::Egress));
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn without_the_capability_it_says_so() {
    inside("tables::without_the_capability_it_says_so", || {
        let refused = std::thread::spawn(|| {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective.remove(rustix::thread::CapabilitySet::NET_ADMIN);
            rustix::thread::set_capabilities(None, sets).unwrap();
            Gates::open(true).unwrap_err().to_string()
        });
        assert_eq!(refused.join().unwrap(), "this process may not use nftables: it needs CAP_NET_ADMIN");
    });
}

#[test]
fn a_predecessor_that_is_about_to_die_is_waited_for() {
    inside("tables::a_predecessor_that_is_about_to_die_is_waited_for", || {
        let _wire = Wire::new();
        let mut before = Gates::open(true).unwrap();
        before.install(&[vip(V4)]).unwrap();
        let dying = std::thread::spawn(move || {
            std::thread::sleep(ms(200));
            drop(before);
        });
        Gates::open(true).unwrap().install(&[vip(V4)]).unwrap();
        dying.join().unwrap();
    });
}

#[test]
fn nobody_else_changes_the_tables_of_a_running_instance() {
    inside("tables::nobody_else_changes_the_tables_of_a_running_instance", || {
        let wire = Wire::new();
        let vips = [vip(V4), vip(V6)];
        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips).unwrap();
        gates.guard(&vips, ms(60_000)).unwrap();
        Rtnl::open().unwrap().put_address(&vip(V4), ms(60_000)).unwrap();
        let end = now() + ms(60_000);
        assert_eq!(gates.apply(&vip(V4), GateOp::Open { end }), GateDone::Open { end });

        run("nft flush ruleset");
        assert!(gates.intact(&vips), "flushed");
        assert!(!succeeds("nft delete table netdev baton-e0") && !succeeds("nft flush set netdev baton-e0 answer4"));
        assert!(matches!(table::cleanup(), Err(TableError::Owned { .. })), "cleaned up under a running instance");
        let mut second = Gates::open(true).unwrap();
        let refused = second.install(&vips).unwrap_err();
        assert!(matches!(refused, TableError::Owned { .. }), "{refused}");
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end }), GateDone::Open { end });
        assert!(wire.reaches(V4));
        gates.install(&vips).unwrap();
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end }), GateDone::Open { end }, "installed twice");
    });
}

fn instance(claims: &[&str]) -> Instance {
    Instance::of(claims.iter().map(|claim| (*claim).to_owned()))
}

#[test]
fn instances_that_do_different_things_keep_out_of_each_others_way() {
    inside("tables::instances_that_do_different_things_keep_out_of_each_others_way", || {
        let wire = Wire::new();
        let other = "10.7.0.101";
        let (one, two) = (instance(&["cp"]), instance(&["svcs", "more"]));
        let mut rtnl = Rtnl::open().unwrap();
        let mut made = |instance: &Instance, address: &str| {
            let mut gates = Gates::open_for(instance.clone(), true).unwrap();
            gates.install(&[vip(address)]).unwrap();
            gates.guard(&[vip(address)], ms(60_000)).unwrap();
            rtnl.put_address(&vip(address), ms(60_000)).unwrap();
            gates
        };
        let (mut first, mut second) = (made(&one, V4), made(&two, other));
        assert!(!wire.reaches(V4) && !wire.reaches(other), "both are shut");
        let end = now() + ms(60_000);
        assert_eq!(first.apply(&vip(V4), GateOp::Open { end }), GateDone::Open { end });
        assert!(wire.reaches(V4) && !wire.reaches(other), "each opens its own");
        assert_eq!(second.apply(&vip(other), GateOp::Open { end }), GateDone::Open { end });
        assert!(wire.reaches(V4) && wire.reaches(other));
        assert_eq!(first.open_gates().len(), 1);
        assert_eq!(table::guarded_by_others(&one).unwrap(), [other.parse().unwrap()].into());

        for same in [&["cp"][..], &["cp", "svcs"], &["new", "more"]] {
            let refused = Gates::open_for(instance(same), true).unwrap().install(&[]).unwrap_err();
            assert!(matches!(refused, TableError::Owned { .. }), "{same:?}: {refused}");
        }
        assert_eq!(first.apply(&vip(V4), GateOp::Shut), GateDone::Shut);
        assert!(!wire.reaches(V4) && wire.reaches(other));
        first.remove().unwrap();
        assert!(second.intact(&[vip(other)]) && wire.reaches(other));
        second.remove().unwrap();
        drop((first, second));
        // What was refused above had made the tables of its other claims.
        assert_eq!(table::owned_by_others().unwrap(), Vec::<String>::new());
        assert_eq!(table::cleanup().unwrap(), ["arp baton/new"]);
        assert_eq!(run("nft list tables"), "");
    });
}

#[test]
fn a_dead_instance_of_another_kind_does_not_silence_who_has_the_address_now() {
    inside("tables::a_dead_instance_of_another_kind_does_not_silence_who_has_the_address_now", || {
        let wire = Wire::new();
        let other = "10.7.0.101";
        let vips = [vip(V4), vip(other)];
        let mut dead = Gates::open(true).unwrap();
        dead.install(&vips).unwrap();
        dead.guard(&vips, ms(60_000)).unwrap();
        vips.iter().for_each(|vip| Rtnl::open().unwrap().put_address(vip, ms(60_000)).unwrap());
        drop(dead);

        let mut gates = Gates::open_for(instance(&["cp"]), true).unwrap();
        gates.install(&[vip(V4)]).unwrap();
        gates.guard(&[vip(V4)], ms(60_000)).unwrap();
        assert!(!wire.reaches(V4), "guarded by its new owner");
        let end = now() + ms(60_000);
        assert_eq!(gates.apply(&vip(V4), GateOp::Open { end }), GateDone::Open { end });
        assert!(wire.reaches(V4) && !wire.reaches(other), "what is nobody's stays silent");
        assert_eq!(table::guarded_by_others(&instance(&["cp"])).unwrap(), [].into(), "it is dead");
    });
}

#[test]
fn a_successor_finds_and_renews_what_its_predecessor_left() {
    inside("tables::a_successor_finds_and_renews_what_its_predecessor_left", || {
        let _wire = Wire::new();
        let vips = [vip(V4), vip(V6)];
        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips).unwrap();
        gates.guard(&vips, ms(60_000)).unwrap();
        let end = now() + ms(20_000);
        assert_eq!(gates.apply(&vip(V6), GateOp::Open { end }), GateDone::Open { end });
        assert_eq!(gates.apply(&vip(V6), GateOp::Drain { accept_end: end }), GateDone::AnswerShut);
        assert_eq!(gates.apply(&vip(V4), GateOp::Open { end }), GateDone::Open { end });
        drop(gates);

        let mut left = open_gates();
        left.sort();
        let addresses: Vec<IpAddr> = left.iter().map(|(address, _)| *address).collect();
        assert_eq!(addresses, [V4.parse::<IpAddr>().unwrap(), V6.parse().unwrap()]);
        assert!(left.iter().all(|(_, left)| *left > ms(15_000) && *left <= ms(20_000)), "{left:?}");

        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips).unwrap();
        let end = now() + ms(30_000);
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end }), GateDone::Open { end }, "taken over");
        assert!(run("nft list table netdev baton-e0").contains("flags owner"), "owned again");
    });
}

#[test]
fn a_foreign_flush_heals_in_one_transaction() {
    inside("tables::a_foreign_flush_heals_in_one_transaction", || {
        let wire = Wire::new();
        let vips = [vip(V4), vip(V6)];
        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips).unwrap();
        drop(gates);
        // Without its owner (or on a kernel without owners) anybody may flush.
        run("nft flush ruleset");
        let mut gates = Gates::open(true).unwrap();
        assert!(!gates.intact(&vips));
        let mut rtnl = Rtnl::open().unwrap();
        for vip in &vips {
            rtnl.put_address(vip, ms(60_000)).unwrap();
        }
        let end = now() + ms(60_000);
        gates.repair(&vips, &[(vip(V4), end)]).unwrap();
        assert!(gates.intact(&vips));
        assert!(wire.reaches(V4), "what is held is open");
        assert!(!wire.reaches(V6), "what is not held is guarded");
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end }), GateDone::Open { end });
        let past = now();
        gates.repair(&vips, &[(vip(V4), past)]).unwrap();
        assert_eq!(open_gates(), [], "what has ended meanwhile stays shut");
    });
}

#[test]
fn damage_is_seen_and_installing_mends_it_without_shutting_what_is_open() {
    inside("tables::damage_is_seen_and_installing_mends_it_without_shutting_what_is_open", || {
        let _wire = Wire::new();
        let vips = [vip(V4)];
        for damage in [
            "nft flush chain netdev baton-e0 out",
            "nft flush table netdev baton-e0",
            "nft flush table arp baton",
            "nft delete table arp baton",
            "nft flush chain netdev baton-e0 in; nft delete chain netdev baton-e0 in",
        ] {
            let mut gates = Gates::open(true).unwrap();
            gates.install(&vips).unwrap();
            let end = now() + ms(20_000);
            assert_eq!(gates.apply(&vip(V4), GateOp::Open { end }), GateDone::Open { end });
            drop(gates);
            run(damage);
            let mut gates = Gates::open(true).unwrap();
            assert!(!gates.intact(&vips), "not seen: {damage}");
            gates.install(&vips).unwrap();
            assert!(gates.intact(&vips), "not mended: {damage}");
            assert_eq!(
                gates.apply(&vip(V4), GateOp::Renew { end }),
                GateDone::Open { end },
                "shut by mending: {damage}"
            );
        }
    });
}

#[test]
fn where_tables_have_no_owner_a_guard_looks_at_the_rules() {
    inside("tables::where_tables_have_no_owner_a_guard_looks_at_the_rules", || {
        let _wire = Wire::new();
        let vips = [vip(V4)];
        let mut before = Gates::open(true).unwrap();
        before.install(&vips).unwrap();
        drop(before);
        // As a kernel without owners would have made them.
        // (This nft cannot read what it writes about advertisements.)
        let ruleset = run("nft list ruleset").replace("@th,64,128 @guard6 @th,64,128 != @answer6", "");
        let plain: Vec<&str> =
            ruleset.lines().filter(|line| !line.contains("flags") || line.contains("timeout")).collect();
        let file = std::env::temp_dir().join(format!("baton-net-plain-{}.nft", std::process::id()));
        std::fs::write(&file, format!("flush ruleset\n{}\n", plain.join("\n"))).unwrap();
        run(&format!("nft -f {}", file.display()));
        std::fs::remove_file(&file).unwrap();

        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips).unwrap();
        assert!(!run("nft list tables; nft list table netdev baton-e0").contains("owner"));
        gates.guard(&vips, ms(60_000)).unwrap();
        run("nft flush chain netdev baton-e0 out");
        assert!(gates.guard(&vips, ms(60_000)).is_err(), "guards without rules");
        gates.repair(&vips, &[]).unwrap();
        gates.guard(&vips, ms(60_000)).unwrap();
    });
}

#[test]
fn deletions_are_noticed_and_renewals_are_not() {
    inside("tables::deletions_are_noticed_and_renewals_are_not", || {
        let _wire = Wire::new();
        let vips = [vip(V4)];
        let mut watch = Watch::open().unwrap();
        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips).unwrap();
        gates.guard(&vips, ms(60_000)).unwrap();
        while watch.read() {}
        let readable = |watch: &Watch| {
            let mut fds = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
        };
        assert!(!readable(&watch));
        let end = now() + ms(60_000);
        assert_eq!(gates.apply(&vip(V4), GateOp::Open { end }), GateDone::Open { end });
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end }), GateDone::Open { end });
        gates.guard(&vips, ms(60_000)).unwrap();
        run("nft 'add table ip other; add set ip other s { type ipv4_addr; elements = { 10.0.0.1 } }'");
        run("nft 'add element ip other s { 10.0.0.2 }'");
        assert!(!watch.read(), "renewals and other tables");
        run("nft 'add element ip other s { 10.0.0.3 }'");
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end }), GateDone::Open { end });
        assert!(!readable(&watch), "elements wake nobody");
        run("nft delete table ip other");
        assert!(!watch.read(), "deleted from another table");
        drop(gates);
        for damage in [
            "nft flush chain netdev baton-e0 out",
            "nft delete chain netdev baton-e0 out",
            "nft flush table arp baton",
            "nft delete table netdev baton-e0",
        ] {
            run(damage);
            assert!(watch.read(), "not noticed: {damage}");
            assert!(!watch.read(), "noticed twice: {damage}");
        }
    });
}

#[test]
fn another_layout_is_taken_over_with_what_is_open() {
    inside("tables::another_layout_is_taken_over_with_what_is_open", || {
        let wire = Wire::new();
        let vips = [vip(V4), vip(V6)];
        for vip in &vips {
            Rtnl::open().unwrap().put_address(vip, ms(60_000)).unwrap();
        }
        let end = now() + ms(60_000);
        let mut before = Gates::open_as(Layout::Output).unwrap();
        before.install(&vips).unwrap();
        before.guard(&vips, ms(60_000)).unwrap();
        assert_eq!(before.apply(&vips[0], GateOp::Open { end }), GateDone::Open { end });
        drop(before);
        for layout in [Layout::Egress, Layout::Output, Layout::Egress] {
            assert_eq!(open_gates().len(), 1);
            let mut after = Gates::open_as(layout).unwrap();
            assert!(!after.intact(&vips));
            after.install(&vips).unwrap();
            assert!(after.intact(&vips));
            let end = end - ms(10);
            assert_eq!(after.apply(&vips[0], GateOp::Renew { end }), GateDone::Open { end });
            assert!(wire.reaches(V4) && !wire.reaches(V6), "{layout:?}");
        }
        let tables = run("nft list tables");
        assert_eq!(tables.lines().count(), 2, "{tables}");
    });
}

#[test]
fn removing_leaves_the_markers_and_only_them() {
    inside("tables::removing_leaves_the_markers_and_only_them", || {
        let _wire = Wire::new();
        run("nft add table inet foreign");
        assert_eq!(table::markers().unwrap(), Markers::default());
        for lease in [500, 100, 100, 2_000] {
            table::mark(Marker::LongestLease(ms(lease))).unwrap();
            assert_eq!(table::markers().unwrap().longest_lease, Some(ms(lease)), "longer or not, it is replaced");
        }
        table::mark(Marker::MajoritySeen).unwrap();
        table::mark(Marker::MajoritySeen).unwrap();
        let marks = Markers { longest_lease: Some(ms(2_000)), majority_seen: true };
        assert_eq!(table::markers().unwrap(), marks);
        let mut gates = Gates::open(true).unwrap();
        gates.install(&[vip(V4)]).unwrap();
        gates.remove().unwrap();
        assert_eq!(table::markers().unwrap(), marks);
        let tables: Vec<String> = run("nft list tables").lines().map(str::to_owned).collect();
        assert_eq!(tables, ["table inet foreign", "table inet baton-marks"]);

        gates.install(&[vip(V4)]).unwrap();
        drop(gates);
        assert_eq!(table::cleanup().unwrap().len(), 2, "what a dead instance left");
        assert_eq!(table::cleanup().unwrap(), Vec::<String>::new());
        assert!(table::forget().unwrap() && !table::forget().unwrap());
        assert_eq!(run("nft list tables").trim(), "table inet foreign");
    });
}

#[test]
fn a_link_made_anew_is_fenced_again() {
    inside("tables::a_link_made_anew_is_fenced_again", || {
        let wire = Wire::new();
        let vips = [vip(V4)];
        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips).unwrap();
        gates.guard(&vips, ms(60_000)).unwrap();
        run("ip link del e0");
        wire.join();
        // Recent kernels hook a chain to whatever link comes by the name; on others the chain went with the link.
        if !gates.intact(&vips) {
            gates.install(&vips).unwrap();
        }
        Rtnl::open().unwrap().put_address(&vips[0], ms(60_000)).unwrap();
        assert!(!wire.reaches(V4), "shut");
        let end = now() + ms(60_000);
        assert_eq!(gates.apply(&vips[0], GateOp::Open { end }), GateDone::Open { end });
        assert!(wire.reaches(V4), "open");
    });
}

#[test]
fn arp_leaves_on_the_address_own_interface_only() {
    inside("tables::arp_leaves_on_the_address_own_interface_only", || {
        let wire = Wire::new();
        // A second interface in the same segment: both of this host's go to one bridge there.
        wire.there("ip link add name br0 type bridge; ip link set e0 master br0; ip link set br0 up");
        run(&format!("ip link add e1 type veth peer name e1 netns {}", wire.pid()));
        wire.there("ip link set e1 master br0 up; ip addr del 10.7.0.2/24 dev e0; ip addr add 10.7.0.2/24 dev br0");
        run("ip link set e1 address 02:00:00:00:00:1a up; ip addr add 10.7.0.11/24 dev e1");
        let vips = [vip(V4)];
        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips).unwrap();
        gates.guard(&vips, ms(60_000)).unwrap();
        Rtnl::open().unwrap().put_address(&vips[0], ms(60_000)).unwrap();
        let asked = "arping -c3 -w3 -I br0 10.7.0.100 | grep -o '\\[.*\\]' | sort -u";
        assert_eq!(wire.there(asked), "", "shut");
        let end = now() + ms(60_000);
        assert_eq!(gates.apply(&vips[0], GateOp::Open { end }), GateDone::Open { end });
        assert_eq!(wire.there(asked).trim().to_lowercase(), "[02:00:00:00:00:0a]", "open");
        // The kernel asks for a neighbour in the name of the address that it wants to send from.
        wire.there("nft 'table netdev w { chain c { type filter hook ingress device \"e1\" priority 0\n arp saddr ip 10.7.0.100 counter\n }\n}'");
        run("ip route add 10.7.0.78/32 dev e1");
        assert!(!succeeds("ping -c1 -W1 -I 10.7.0.100 10.7.0.78"));
        assert!(
            wire.there("nft list table netdev w").contains("packets 0"),
            "asked in its name on the other interface"
        );
    });
}
