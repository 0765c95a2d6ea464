//! Gates: closed is silent, open is reachable, and the end comes by itself.

use std::process::Command;
use std::thread::sleep;

use baton_core::keeper::{GateDone, GateOp};
use baton_core::settings::Vip;
use baton_net::clock::now;
use baton_net::gate::Gates;
use baton_net::packet::Packet;
use baton_net::rtnl::Rtnl;
use baton_net::table::Layout;

use crate::host::{Wire, inside, ms, open_gates, run, succeeds, vip};

const V4: &str = "10.7.0.100";
const V6: &str = "fd07::100";

/// Both addresses on the host, guarded, with gates shut.
fn guarded() -> (Wire, Gates) {
    guarded_as(Layout::Egress)
}

fn guarded_as(layout: Layout) -> (Wire, Gates) {
    let wire = Wire::new();
    let vips = [vip(V4), vip(V6)];
    let mut gates = Gates::open_as(layout).unwrap();
    assert_eq!(gates.layout(), Some(layout));
    gates.install(&vips).unwrap();
    gates.guard(&vips, ms(60_000)).unwrap();
    let mut rtnl = Rtnl::open().unwrap();
    for vip in &vips {
        rtnl.put_address(vip, ms(60_000)).unwrap();
    }
    (wire, gates)
}

/// Names of the sets in which an address is, as nft lists them.
fn sets_with(address: &str) -> Vec<String> {
    let ruleset: serde_json::Value = serde_json::from_str(&run("nft -j list ruleset")).unwrap();
    let sets = ruleset["nftables"].as_array().unwrap().iter().filter_map(|object| object.get("set"));
    let has = |set: &serde_json::Value| set["elem"].to_string().contains(&format!("\"{address}\""));
    sets.filter(|set| set["family"] == "netdev" && has(set))
        .map(|set| set["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn shut_is_silent_open_is_reachable_and_other_addresses_are_untouched() {
    inside("gates::shut_is_silent_open_is_reachable_and_other_addresses_are_untouched", || {
        shut_is_silent_open_is_reachable(Layout::Egress);
    });
}

#[test]
fn so_it_is_without_the_egress_hook() {
    inside("gates::so_it_is_without_the_egress_hook", || shut_is_silent_open_is_reachable(Layout::Output));
}

fn shut_is_silent_open_is_reachable(layout: Layout) {
    let (wire, mut gates) = guarded_as(layout);
    for address in [V4, V6] {
        assert!(!wire.is_answered(address), "{address} is answered for while shut");
        assert!(!wire.reaches(address), "{address} is reachable while shut");
        wire.there(&format!("ip neigh replace {address} lladdr 02:00:00:00:00:0a dev e0"));
        assert!(!wire.pings(address), "{address} accepts packets while shut");
        wire.there(&format!("ip neigh del {address} dev e0"));
        let out = format!("ping -c1 -W0.3 -I {address} {}", if address == V4 { "10.7.0.2" } else { "fd07::2" });
        assert!(!succeeds(&out), "packets from {address} leave while shut");

        let end = now() + ms(60_000);
        assert_eq!(gates.apply(&vip(address), GateOp::Open { end }), GateDone::Open { end });
        assert!(wire.is_answered(address), "{address} is not answered for while open");
        assert!(wire.reaches(address), "{address} is not reachable while open");
        assert!(succeeds(&out), "packets from {address} do not leave while open");

        assert_eq!(gates.apply(&vip(address), GateOp::Shut), GateDone::Shut);
        assert!(!wire.reaches(address), "{address} is reachable after shutting");
        assert_eq!(gates.apply(&vip(address), GateOp::Shut), GateDone::Shut, "twice");
    }
    assert!(wire.reaches("10.7.0.1") && wire.reaches("fd07::1"), "the host's own addresses");
    assert!(succeeds("ping -c1 -W1 -I 10.7.0.1 10.7.0.2"), "out of the host");
}

#[test]
fn a_gate_ends_by_itself_and_cannot_be_renewed_afterwards() {
    inside("gates::a_gate_ends_by_itself_and_cannot_be_renewed_afterwards", || {
        let (wire, mut gates) = guarded();
        for address in [V4, V6] {
            let end = now() + ms(1_500);
            assert_eq!(gates.apply(&vip(address), GateOp::Open { end }), GateDone::Open { end });
            assert!(wire.reaches(address));
            sleep(end.left(now()));
            assert_eq!(sets_with(address).len(), 1, "only the guard is left of {address}");
            assert!(!wire.reaches(address), "{address} outlives its end");

            let end = now() + ms(5_000);
            assert_eq!(gates.apply(&vip(address), GateOp::Renew { end }), GateDone::Lost);
            assert_eq!(sets_with(address).len(), 1, "nothing opens again");
            let past = now();
            assert_eq!(gates.apply(&vip(address), GateOp::Open { end: past }), GateDone::Lost);
            assert_eq!(sets_with(address).len(), 1);
        }
    });
}

#[test]
fn a_gate_never_outlives_its_end_and_is_at_most_three_ticks_short() {
    inside("gates::a_gate_never_outlives_its_end_and_is_at_most_three_ticks_short", || {
        let (_wire, mut gates) = guarded();
        let short = baton_net::clock::tick() * 3;
        for round in 0..40 {
            let first = now() + ms(40 + 7 * round);
            let opened = gates.apply(&vip(V4), GateOp::Open { end: first });
            let end = first + ms(30);
            let renewed = gates.apply(&vip(V4), GateOp::Renew { end });
            // A busy machine may have kept this thread waiting past the first end; then the round says nothing.
            if first.left(now()) <= short {
                sleep(end.left(now()));
                continue;
            }
            assert_eq!((opened, renewed), (GateDone::Open { end: first }, GateDone::Open { end }));
            let margin = ms(3);
            sleep(end.left(now()).saturating_sub(short + margin));
            let before_end = now();
            let open = open_gates().iter().any(|(_, left)| *left > ms(0));
            // The look itself may have been delayed past the end on a busy machine; then it says nothing.
            if now() < end && short < end.left(now()) {
                assert!(open, "shut {:?} before its end", end.left(before_end));
            }
            sleep(end.left(now()));
            assert_eq!(open_gates(), [], "open after its end in round {round}");
        }
    });
}

#[test]
fn draining_answers_no_question_and_serves_those_who_know_the_way() {
    inside("gates::draining_answers_no_question_and_serves_those_who_know_the_way", || drain(Layout::Egress));
}

#[test]
fn draining_works_without_the_egress_hook() {
    inside("gates::draining_works_without_the_egress_hook", || drain(Layout::Output));
}

fn drain(layout: Layout) {
    let (wire, mut gates) = guarded_as(layout);
    for address in [V4, V6] {
        let end = now() + ms(60_000);
        assert_eq!(gates.apply(&vip(address), GateOp::Open { end }), GateDone::Open { end });
        assert!(wire.reaches(address));
        let accept_end = now() + ms(2_500);
        assert_eq!(gates.apply(&vip(address), GateOp::Drain { accept_end }), GateDone::AnswerShut);
        assert!(wire.pings(address), "{address} is cut off from those who know the way");
        assert!(!wire.is_answered(address), "{address} is answered for while draining");
        sleep(accept_end.left(now()));
        wire.there(&format!("ip neigh replace {address} lladdr 02:00:00:00:00:0a dev e0"));
        assert!(!wire.pings(address), "{address} is served after the drain");
    }
}

#[test]
fn what_runs_out_and_what_is_gone_are_told_apart() {
    inside("gates::what_runs_out_and_what_is_gone_are_told_apart", || {
        let (_wire, mut gates) = guarded();
        let end = now() + ms(5_000);
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end }), GateDone::Lost, "never opened");
        assert_eq!(gates.apply(&vip(V4), GateOp::Drain { accept_end: end }), GateDone::Lost, "never opened");
        gates.remove().unwrap();
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end }), GateDone::Failed, "no table");
        assert_eq!(gates.apply(&vip(V4), GateOp::Open { end }), GateDone::Failed, "no table");
        assert_eq!(gates.apply(&vip(V4), GateOp::Shut), GateDone::Failed, "no table");
    });
}

#[test]
fn without_a_fence_only_the_clock_ends_anything() {
    inside("gates::without_a_fence_only_the_clock_ends_anything", || {
        let mut gates = Gates::open(false).unwrap();
        gates.install(&[vip(V4)]).unwrap();
        let end = now() + ms(1_000);
        assert_eq!(gates.apply(&vip(V4), GateOp::Open { end }), GateDone::Open { end });
        assert_eq!(gates.apply(&vip(V4), GateOp::Renew { end: now() }), GateDone::Lost);
        assert_eq!(gates.apply(&vip(V4), GateOp::Shut), GateDone::Shut);
        assert_eq!(run("nft list ruleset"), "", "nothing was made");
    });
}

#[test]
fn guards_end_so_that_a_successor_is_not_silenced() {
    inside("gates::guards_end_so_that_a_successor_is_not_silenced", || {
        let (wire, mut gates) = guarded();
        assert!(!wire.reaches(V4) && !wire.reaches(V6));
        gates.guard(&[vip(V4), vip(V6)], ms(300)).unwrap();
        sleep(ms(320));
        assert!(wire.reaches(V4) && wire.reaches(V6), "guarded after the guard's end");
        gates.guard(&[vip(V4), vip(V6)], ms(60_000)).unwrap();
        assert!(!wire.reaches(V4) && !wire.reaches(V6), "not guarded again");
    });
}

#[test]
fn renewals_hold_while_another_process_loads_a_large_map() {
    inside("gates::renewals_hold_while_another_process_loads_a_large_map", || {
        let (_wire, mut gates) = guarded();
        let elements: Vec<String> =
            (0..65_537).map(|slot| format!("{slot} : 10.0.{}.{}", slot >> 8 & 255, slot & 255)).collect();
        let file = std::env::temp_dir().join(format!("baton-net-map-{}.nft", std::process::id()));
        let text =
            format!("table ip big {{ map m {{ type mark : ipv4_addr; elements = {{ {} }} }} }}\n", elements.join(", "));
        std::fs::write(&file, text).unwrap();
        let load = format!("for i in 1 2 3; do nft -f {0}; nft delete table ip big; done", file.display());
        let lease = ms(450);
        let mut end = now() + lease;
        assert_eq!(gates.apply(&vip(V4), GateOp::Open { end }), GateDone::Open { end });
        let mut loader = Command::new("sh").args(["-c", &load]).spawn().unwrap();
        let (mut renewals, mut longest) = (0, ms(0));
        while loader.try_wait().unwrap().is_none() {
            let last = now();
            sleep(ms(100));
            let before = now();
            end = before + lease;
            let done = gates.apply(&vip(V4), GateOp::Renew { end });
            longest = longest.max(now().since(before));
            if done == GateDone::Lost && now().since(last) > lease / 2 {
                // On a machine so busy that the loader itself hardly gets on, the kernel lets nobody else change rules either.
                println!("renewal {renewals} came {:?} after the last one", now().since(last));
                end = now() + lease;
                gates.apply(&vip(V4), GateOp::Open { end });
                continue;
            }
            assert_eq!(done, GateDone::Open { end }, "renewal {renewals}");
            renewals += 1;
        }
        std::fs::remove_file(&file).unwrap();
        println!("{renewals} renewals, the longest took {longest:?}");
        assert!(renewals > 3, "nothing was loaded");
        sleep(end.left(now()));
        assert_eq!(open_gates(), [], "a delayed renewal outlives its end");
    });
}

#[test]
fn an_announcement_leaves_only_through_an_open_gate_a_probe_always() {
    inside("gates::an_announcement_leaves_only_through_an_open_gate_a_probe_always", || {
        let (wire, mut gates) = guarded();
        let mut packet = Packet::open("e0").unwrap();
        // In the other host's words, so that what else goes over the wire does not count.
        let announced =
            "arp saddr ip 10.7.0.100 counter\n icmpv6 type nd-neighbor-advert @th,184,8 0 ip6 saddr fd07::100 counter";
        let probed = "arp saddr ip 0.0.0.0 counter\n icmpv6 type nd-neighbor-solicit ip6 saddr :: ip6 daddr ff02::1:ff00:100 counter";
        for (name, rules) in [("announced", announced), ("probed", probed)] {
            let hook = "type filter hook ingress device \"e0\" priority 0";
            wire.there(&format!("nft 'table netdev {name} {{ chain in {{ {hook}\n {rules}\n }}\n}}'"));
        }
        let counted = |table: &str| -> u64 {
            let listing: serde_json::Value =
                serde_json::from_str(&wire.there(&format!("nft -j list table netdev {table}"))).unwrap();
            let expressions =
                listing["nftables"].as_array().unwrap().iter().filter_map(|o| o["rule"]["expr"].as_array());
            expressions.flatten().filter_map(|e| e["counter"]["packets"].as_u64()).sum()
        };
        let mut so_far = 0;
        for (address, frames) in [(V4, 2), (V6, 1)] {
            assert!(!gates.may_announce(&vip(address)));
            // The kernel may tell a packet socket that its frame was dropped; either way nothing may leave.
            let _ = packet.announce(&vip(address));
            assert_eq!(counted("announced"), so_far, "announced {address} while shut");
            let before = counted("probed");
            packet.probe(&vip(address)).unwrap();
            assert_eq!(counted("probed"), before + 1, "no probe for {address} while shut");
            let end = now() + ms(60_000);
            assert_eq!(gates.apply(&vip(address), GateOp::Open { end }), GateDone::Open { end });
            assert!(gates.may_announce(&vip(address)));
            packet.announce(&vip(address)).unwrap();
            so_far += frames;
            assert_eq!(counted("announced"), so_far, "no announcement of {address} while open");
            assert_eq!(gates.apply(&vip(address), GateOp::Drain { accept_end: end }), GateDone::AnswerShut);
            assert!(!gates.may_announce(&vip(address)));
            let _ = packet.announce(&vip(address));
            assert_eq!(counted("announced"), so_far, "announced {address} while draining");
        }
    });
}

/// How many addresses a set has.
fn elements(set: &str) -> usize {
    let listed: serde_json::Value =
        serde_json::from_str(&run(&format!("nft -j list set netdev baton-e0 {set}"))).unwrap();
    let sets = listed["nftables"].as_array().unwrap().iter().filter_map(|object| object.get("set"));
    sets.filter_map(|set| set["elem"].as_array()).map(Vec::len).sum()
}

#[test]
fn hundreds_of_gates_open_renew_and_shut_together() {
    inside("gates::hundreds_of_gates_open_renew_and_shut_together", || {
        let _wire = Wire::new();
        let vips: Vec<_> = (0..500).map(|n| vip(&format!("10.9.{}.{}", n / 250, n % 250 + 1))).collect();
        let mut gates = Gates::open(true).unwrap();
        gates.install(&vips[..1]).unwrap();
        gates.guard(&vips, ms(60_000)).unwrap();
        let end = now() + ms(60_000);
        assert_eq!(gates.apply_all(&vips, GateOp::Open { end }), vec![GateDone::Open { end }; 500]);
        assert_eq!((elements("answer4"), elements("accept4"), elements("guard4")), (500, 500, 500));
        let later = end + ms(5_000);
        assert_eq!(gates.apply_all(&vips, GateOp::Renew { end: later }), vec![GateDone::Open { end: later }; 500]);
        // One that has ended spoils nothing for the others.
        assert_eq!(gates.apply(&vips[7], GateOp::Shut), GateDone::Shut);
        let done = gates.apply_all(&vips, GateOp::Renew { end: later });
        let lost: Vec<usize> = (0..500).filter(|n| done[*n] != GateDone::Open { end: later }).collect();
        assert_eq!((lost, done[7]), (vec![7], GateDone::Lost));
        // Nor do hundreds.
        let (ended, others): (Vec<_>, Vec<_>) = vips.iter().cloned().enumerate().partition(|(n, _)| n % 3 == 0);
        let ended: Vec<Vip> = ended.into_iter().map(|(_, vip)| vip).collect();
        gates.apply_all(&ended, GateOp::Shut);
        let before = now();
        let done = gates.apply_all(&vips, GateOp::Renew { end: later });
        println!("renewed beside {} that had ended in {:?}", ended.len(), now().since(before));
        let lost: Vec<usize> = (0..500).filter(|n| done[*n] == GateDone::Lost).collect();
        let expected: Vec<usize> = (0..500).filter(|n| n % 3 == 0 || *n == 7).collect();
        assert_eq!(lost, expected);
        assert!(others.iter().all(|(n, _)| *n == 7 || done[*n] == GateDone::Open { end: later }));
        assert_eq!((elements("answer4"), elements("accept4")), (332, 332), "nothing opened again");
        assert_eq!(gates.apply_all(&ended, GateOp::Open { end: later }), vec![GateDone::Open { end: later }; 167]);
        let others: Vec<_> = vips.iter().filter(|v| v.address != vips[7].address).cloned().collect();
        let drain = GateOp::Drain { accept_end: now() + ms(60_000) };
        assert_eq!(gates.apply_all(&others, drain), vec![GateDone::AnswerShut; 499]);
        assert_eq!((elements("answer4"), elements("accept4")), (0, 499));
        assert_eq!(gates.apply_all(&vips, GateOp::Shut), vec![GateDone::Shut; 500]);
        assert_eq!((elements("answer4"), elements("accept4")), (0, 0));
        gates_that_have_ended_are_shut_together(&mut gates, &vips[..50]);
        gates.unguard(&vips[0]).unwrap();
        gates.unguard(&vips[0]).unwrap();
        assert_eq!(elements("guard4"), 499);
    });
}

/// At the end of a drain they have all ended by themselves. What shuts them in one batch must not open them again.
fn gates_that_have_ended_are_shut_together(gates: &mut Gates, vips: &[Vip]) {
    let end = now() + ms(400);
    gates.apply_all(vips, GateOp::Open { end });
    sleep(end.left(now()) + ms(20));
    assert_eq!(gates.apply_all(vips, GateOp::Shut), vec![GateDone::Shut; vips.len()]);
    assert_eq!((elements("answer4"), elements("accept4")), (0, 0));
    // Nothing came back by that, and each opens again as ever.
    let end = now() + ms(60_000);
    assert_eq!(gates.apply_all(&vips[..2], GateOp::Renew { end }), [GateDone::Lost; 2]);
    assert_eq!((elements("answer4"), elements("accept4")), (0, 0));
    assert_eq!(gates.apply_all(vips, GateOp::Open { end }), vec![GateDone::Open { end }; vips.len()]);
    assert_eq!(gates.apply_all(vips, GateOp::Shut), vec![GateDone::Shut; vips.len()]);
}

/// An address that outlives its Lease is reached and not answered for, although both gates had ended.
#[test]
fn accept_opens_alone_after_the_end() {
    inside("gates::accept_opens_alone_after_the_end", || {
        let _wire = Wire::new();
        let vip = vip(V4);
        let mut gates = Gates::open(true).unwrap();
        gates.install(std::slice::from_ref(&vip)).unwrap();
        gates.guard(std::slice::from_ref(&vip), ms(60_000)).unwrap();
        let end = now() + ms(200);
        assert_eq!(gates.apply(&vip, GateOp::Open { end }), GateDone::Open { end });
        sleep(ms(250));
        assert_eq!((elements("answer4"), elements("accept4")), (0, 0));
        let keep = GateOp::Keep { accept_end: now() + ms(60_000) };
        assert_eq!(gates.apply(&vip, keep), GateDone::AnswerShut);
        assert_eq!((elements("answer4"), elements("accept4")), (0, 1));
    });
}
