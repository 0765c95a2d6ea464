//! Links, addresses and packets, as `ip`, `nft` and the neighbours see them.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Instant;

use baton_core::keeper::Event;
use baton_core::settings::Vip;
use baton_net::monitor::Monitor;
use baton_net::packet::{Claim, ClaimKind, Packet};
use baton_net::rtnl::{Change, Dress, MacvlanMode, Rtnl};

use crate::host::{Wire, inside, ms, run, succeeds, vip};

const V4: &str = "10.7.0.100";
const V6: &str = "fd07::100";
const HERE: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const THERE: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_address_has_a_lifetime_a_mark_and_is_never_a_source() {
    inside("links::an_address_has_a_lifetime_a_mark_and_is_never_a_source", || {
        let wire = Wire::new();
        let mut rtnl = Rtnl::open().unwrap();
        for address in [V4, V6] {
            rtnl.put_address(&vip(address), ms(2_500)).unwrap();
            rtnl.put_address(&vip(address), ms(3_500)).unwrap();
            let found = rtnl.addresses().unwrap().into_iter().find(|a| a.address == ip(address)).unwrap();
            assert!(found.mine && !found.permanent && !found.secondary, "{found:?}");
            assert_eq!((found.interface.as_str(), found.prefix), ("e0", vip(address).prefix));
            let shown = run(&format!("ip addr show dev e0 to {address}"));
            assert!(shown.contains("deprecated") && shown.contains("preferred_lft 0sec"), "{shown}");
            assert!(shown.contains("scope global") && shown.contains("valid_lft 4sec"), "{shown}");
        }
        assert!(wire.reaches(V4) && wire.reaches(V6), "at once, without duplicate address detection");
        let route = run("ip route get 10.7.0.2; ip route get fd07::2");
        assert!(route.contains("src 10.7.0.1") && !route.contains("::100"), "{route}");
        let own = rtnl.addresses().unwrap().into_iter().find(|a| a.address == ip("10.7.0.1")).unwrap();
        assert!(!own.mine && own.permanent, "{own:?}");

        rtnl.remove_address("e0", ip(V4), 32).unwrap();
        rtnl.remove_address("e0", ip(V4), 32).unwrap();
        rtnl.remove_address("nowhere", ip(V4), 32).unwrap();
        assert!(!run("ip addr").contains(V4));
        sleep(ms(4_500));
        assert!(!run("ip addr").contains(V6), "outlives its lifetime");
        assert_eq!(rtnl.put_own_address("nowhere", ip(V4), 24).unwrap_err().raw_os_error(), Some(19));
    });
}

#[test]
fn many_addresses_come_and_go_together_and_each_has_its_own_result() {
    inside("links::many_addresses_come_and_go_together_and_each_has_its_own_result", || {
        let _wire = Wire::new();
        let mut rtnl = Rtnl::open().unwrap();
        let addresses: Vec<String> = (0..200).map(|n| format!("10.8.0.{n}")).collect();
        let put = |address: &String| Change::Put(vip(address), Dress::default(), ms(60_000));
        let mut changes: Vec<Change> = addresses.iter().map(put).collect();
        let mut nowhere = vip(V4);
        nowhere.interface = "nowhere".to_owned();
        changes.insert(70, Change::Put(nowhere, Dress::default(), ms(1_000)));
        changes.insert(7, Change::Put(vip(V6), Dress::default(), ms(60_000)));
        // The kernel refuses this one.
        changes.insert(8, Change::Put(Vip { prefix: 33, ..vip(V4) }, Dress::default(), ms(1_000)));
        let results = rtnl.change_addresses(&changes);
        let failed: Vec<usize> = (0..results.len()).filter(|at| results[*at].is_err()).collect();
        assert_eq!((results.len(), failed), (203, vec![8, 72]), "{results:?}");
        assert_eq!(run("ip -o addr show dev e0").matches("10.8.0.").count(), 200);

        let remove = |address: &String| Change::Remove("e0".to_owned(), ip(address), 32);
        let changes: Vec<Change> = addresses.iter().chain(&addresses).map(remove).collect();
        assert!(rtnl.change_addresses(&changes).iter().all(Result::is_ok), "gone already is fine");
        assert!(!run("ip -o addr show dev e0").contains("10.8.0."));
        assert_eq!(rtnl.addresses().unwrap().iter().filter(|a| a.mine).count(), 1, "answers do not get mixed up");
    });
}

#[test]
fn the_monitor_tells_of_addresses_and_links() {
    inside("links::the_monitor_tells_of_addresses_and_links", || {
        let wire = Wire::new();
        let mut monitor = Monitor::open().unwrap();
        assert_eq!(monitor.read(), Ok(vec![]));
        Rtnl::open().unwrap().put_address(&vip(V4), ms(60_000)).unwrap();
        let events = monitor.read().unwrap();
        assert!(matches!(&events[..], [Event::AddressPut(a)] if a.address == ip(V4) && a.mine), "{events:?}");
        run(&format!("ip addr del {V4}/32 dev e0"));
        let gone = Event::AddressGone { interface: "e0".to_owned(), address: ip(V4) };
        assert_eq!(monitor.read(), Ok(vec![gone]));

        wire.there("ip link set e0 down");
        let states = |monitor: &mut Monitor| -> Vec<bool> {
            sleep(ms(300));
            let link = |event| match event {
                Event::Link(link) if link.name == "e0" => Some(link.up),
                _ => None,
            };
            monitor.read().unwrap().into_iter().filter_map(link).collect()
        };
        assert_eq!(states(&mut monitor).last(), Some(&false), "carrier lost");
        wire.there("ip link set e0 up");
        assert_eq!(states(&mut monitor).last(), Some(&true), "carrier back");
        run("ip link set e0 down");
        assert_eq!(states(&mut monitor).last(), Some(&false), "taken down");
        run("ip link set e0 name e9");
        let events = monitor.read().unwrap();
        assert!(events.iter().any(|e| matches!(e, Event::Link(l) if l.name == "e9")), "{events:?}");
        run("ip link del e9");
        sleep(ms(100));
        let events = monitor.read().unwrap();
        assert!(events.iter().any(|e| matches!(e, Event::Link(l) if l.name == "e9" && !l.up)), "{events:?}");
    });
}

#[test]
fn a_storm_of_notifications_is_an_overflow_and_then_goes_on() {
    inside("links::a_storm_of_notifications_is_an_overflow_and_then_goes_on", || {
        let _wire = Wire::new();
        let mut monitor = Monitor::open().unwrap();
        let mut rtnl = Rtnl::open().unwrap();
        let mut overflown = false;
        for _ in 0..20_000 {
            rtnl.put_address(&vip(V4), ms(60_000)).unwrap();
        }
        for _ in 0..2_000 {
            match monitor.read() {
                Ok(events) if events.is_empty() => break,
                Ok(events) => assert!(events.len() <= 64, "unbounded: {}", events.len()),
                Err(_) => overflown = true,
            }
        }
        assert!(overflown, "20,000 notifications fitted");
        rtnl.remove_address("e0", ip(V4), 32).unwrap();
        assert_eq!(monitor.read().unwrap().len(), 1);
    });
}

#[test]
fn labs_can_be_built() {
    inside("links::labs_can_be_built", || {
        let wire = Wire::new();
        let mut rtnl = Rtnl::open().unwrap();
        rtnl.add_bridge("br0").unwrap();
        rtnl.add_veth("p1", "p2").unwrap();
        rtnl.add_veth_into("q1", "q2", wire.namespace()).unwrap();
        rtnl.set_master("p1", Some("br0")).unwrap();
        rtnl.set_isolated("p1", true).unwrap();
        rtnl.add_macvlan("m0", "e0", MacvlanMode::Bridge).unwrap();
        rtnl.set_mac("p2", [2, 0, 0, 0, 1, 1]).unwrap();
        for link in ["br0", "p1", "p2", "q1", "m0"] {
            rtnl.set_up(link, true).unwrap();
        }
        assert!(run("ip -d link show p1").contains("master br0") && run("ip -d link show p1").contains("isolated on"));
        assert!(run("ip -d link show m0").contains("macvlan mode bridge"));
        assert!(run("ip link show p2").contains("02:00:00:00:01:01"));
        assert!(wire.there("ip link").contains("q2"));
        rtnl.move_to_netns("p2", wire.namespace()).unwrap();
        assert!(wire.there("ip link").contains("p2") && !run("ip link").contains("p2:"));
        rtnl.set_isolated("p1", false).unwrap();
        rtnl.set_master("p1", None).unwrap();
        assert!(!run("ip -d link show p1").contains("master"));

        rtnl.put_own_address("p1", ip("10.8.0.1"), 24).unwrap();
        rtnl.add_route((ip("10.9.0.0"), 16), Some(ip("10.8.0.9")), None).unwrap();
        rtnl.add_route((ip("0.0.0.0"), 0), Some(ip("10.7.0.2")), None).unwrap();
        rtnl.add_route((ip("fd99::"), 64), Some(ip("fd07::2")), Some("e0")).unwrap();
        assert!(run("ip route").contains("10.9.0.0/16 via 10.8.0.9 dev p1"));
        assert!(run("ip route").contains("default via 10.7.0.2"));
        assert!(run("ip -6 route").contains("fd99::/64 via fd07::2"));
        rtnl.delete_route((ip("10.9.0.0"), 16), Some(ip("10.8.0.9")), None).unwrap();
        rtnl.delete_route((ip("10.9.0.0"), 16), Some(ip("10.8.0.9")), None).unwrap();
        assert!(!run("ip route").contains("10.9.0.0"));

        assert!(succeeds("ping -c1 -W1 10.7.0.2"));
        let known = rtnl.neighbours("e0").unwrap();
        assert!(known.iter().any(|n| n.address == ip("10.7.0.2") && n.mac == Some(THERE)), "{known:?}");
        rtnl.flush_neighbours("e0").unwrap();
        assert!(rtnl.neighbours("e0").unwrap().iter().all(|n| n.mac.is_none()));
        rtnl.put_neighbour("e0", ip("10.7.0.7"), THERE).unwrap();
        assert!(run("ip neigh show dev e0").contains("10.7.0.7 lladdr 02:00:00:00:00:0b PERMANENT"));
        rtnl.flush_addresses("p1").unwrap();
        assert!(!run("ip addr show dev p1").contains("10.8.0.1"));
        rtnl.delete_link("br0").unwrap();
        rtnl.delete_link("br0").unwrap();
        let names: Vec<String> = rtnl.links().unwrap().into_iter().map(|link| link.name).collect();
        assert!(names.contains(&"e0".to_owned()) && !names.contains(&"br0".to_owned()), "{names:?}");
        let e0 = rtnl.links().unwrap().into_iter().find(|link| link.name == "e0").unwrap();
        assert_eq!((e0.up, e0.mac), (true, Some(HERE)));
    });
}

/// Counts on the other host the frames that match each description, in nft's words.
fn count(wire: &Wire, descriptions: &[&str]) {
    let rules: String = descriptions.iter().map(|rule| format!("{rule} counter\n")).collect();
    let hook = "type filter hook ingress device \"e0\" priority 0;";
    wire.there(&format!("nft 'table netdev watch {{ chain in {{ {hook}\n{rules} }}\n}}'"));
}

/// How often each description was met, in their order.
fn counted(wire: &Wire) -> Vec<u64> {
    let listing = wire.there("nft -j list table netdev watch; nft delete table netdev watch");
    let listing: serde_json::Value = serde_json::from_str(&listing).unwrap();
    let rules = listing["nftables"].as_array().unwrap().iter().filter_map(|object| object.get("rule"));
    let counter =
        |rule: &serde_json::Value| rule["expr"].as_array()?.iter().find_map(|e| e["counter"]["packets"].as_u64());
    rules.filter_map(counter).collect()
}

#[test]
fn announcements_and_probes_are_what_they_should_be() {
    inside("links::announcements_and_probes_are_what_they_should_be", || {
        let wire = Wire::new();
        let mut packet = Packet::open("e0").unwrap();
        let arp = "ether saddr 02:00:00:00:00:0a ether daddr ff:ff:ff:ff:ff:ff arp htype 1 arp hlen 6 arp plen 4 \
                   arp saddr ether 02:00:00:00:00:0a arp daddr ip 10.7.0.100";
        count(
            &wire,
            &[
                &format!("{arp} arp operation request arp saddr ip 10.7.0.100"),
                &format!("{arp} arp operation reply arp saddr ip 10.7.0.100 arp daddr ether 02:00:00:00:00:0a"),
                &format!("{arp} arp operation request arp saddr ip 0.0.0.0 arp daddr ether 00:00:00:00:00:00"),
                "meta protocol arp",
            ],
        );
        packet.announce(&vip(V4)).unwrap();
        packet.probe(&vip(V4)).unwrap();
        assert_eq!(counted(&wire), [1, 1, 1, 3]);

        for (forwarding, flags) in [("0", "0x20000000"), ("1", "0xa0000000")] {
            std::fs::write("/proc/sys/net/ipv6/conf/e0/forwarding", forwarding).unwrap();
            let target = "@th,64,128 0xfd070000000000000000000000000100";
            count(
                &wire,
                &[
                    &format!(
                        "ether daddr 33:33:00:00:00:01 ip6 saddr fd07::100 ip6 daddr ff02::1 ip6 hoplimit 255 \
                     icmpv6 type nd-neighbor-advert icmpv6 code 0 {target} @th,32,32 {flags} @th,192,64 0x020102000000000a"
                    ),
                    &format!(
                        "ether daddr 33:33:ff:00:01:00 ip6 saddr :: ip6 daddr ff02::1:ff00:100 ip6 hoplimit 255 ip6 length 24 \
                     icmpv6 type nd-neighbor-solicit icmpv6 code 0 {target}"
                    ),
                ],
            );
            packet.announce(&vip(V6)).unwrap();
            packet.probe(&vip(V6)).unwrap();
            assert_eq!(counted(&wire), [1, 1], "forwarding {forwarding}");
        }
    });
}

#[test]
fn announcements_correct_what_a_neighbour_believes() {
    inside("links::announcements_correct_what_a_neighbour_believes", || {
        let wire = Wire::new();
        let mut packet = Packet::open("e0").unwrap();
        for address in [V4, V6] {
            wire.there(&format!("ip neigh replace {address} lladdr 02:00:00:00:00:99 dev e0 nud stale"));
            packet.announce(&vip(address)).unwrap();
            sleep(ms(50));
            let believed = wire.there(&format!("ip neigh show {address}"));
            assert!(believed.contains("02:00:00:00:00:0a"), "{believed}");
        }
    });
}

/// Everything that is claimed within a second, or until `wanted` claims came.
fn claims(packet: &mut Packet, wanted: usize) -> Vec<Claim> {
    let (start, mut all) = (Instant::now(), Vec::new());
    while all.len() < wanted && start.elapsed() < ms(1_000) {
        all.extend(packet.read().unwrap());
        sleep(ms(5));
    }
    all
}

#[test]
fn claims_of_others_are_heard_and_nothing_else() {
    inside("links::claims_of_others_are_heard_and_nothing_else", || {
        let wire = Wire::new();
        let mut packet = Packet::open("e0").unwrap();
        // Many addresses, so that the kernel's filter has several to compare with.
        let vips: Vec<_> = ["10.7.0.99", V4, "fd07::99", "fd08::100", V6, "fd07::1:100"].map(vip).to_vec();
        packet.watch(&vips).unwrap();
        wire.there(&format!("ip addr add {V4}/32 dev e0; ip addr add {V6}/128 dev e0 nodad"));

        for (address, kind) in [(V4, ClaimKind::ArpReply), (V6, ClaimKind::Advertisement)] {
            packet.probe(&vip(address)).unwrap();
            let claim = Claim { address: ip(address), mac: THERE, kind };
            assert_eq!(claims(&mut packet, 1), [claim], "an answer to a probe for {address}");
        }
        wire.there(&format!("arping -q -c1 -U -I e0 {V4}; arping -q -c1 -A -I e0 {V4}"));
        let kinds: Vec<ClaimKind> = claims(&mut packet, 2).into_iter().map(|claim| claim.kind).collect();
        assert_eq!(kinds, [ClaimKind::ArpRequest, ClaimKind::ArpReply], "gratuitous");
        wire.there(&format!("ip neigh flush dev e0; ping -q -c1 -W1 -I {V6} fd07::1"));
        let kinds: Vec<ClaimKind> = claims(&mut packet, 1).into_iter().map(|claim| claim.kind).collect();
        assert!(kinds.contains(&ClaimKind::Solicitation), "as source of a question: {kinds:?}");
        sleep(ms(50));
        let _ = packet.read();

        // Nobody's business: other addresses, probes, our own announcements.
        wire.there("arping -q -c1 -U -I e0 10.7.0.2; arping -q -D -c1 -w1 -I e0 10.7.0.100 || true");
        packet.announce(&vip(V4)).unwrap();
        packet.announce(&vip(V6)).unwrap();
        assert_eq!(claims(&mut packet, 1), []);

        packet.watch(&[]).unwrap();
        wire.there(&format!("arping -q -c1 -U -I e0 {V4}"));
        assert_eq!(claims(&mut packet, 1), [], "no longer watched");
    });
}

#[test]
fn every_watched_address_passes_the_filter_however_many_there_are() {
    inside("links::every_watched_address_passes_the_filter_however_many_there_are", || {
        let wire = Wire::new();
        let mut packet = Packet::open("e0").unwrap();
        let mut vips: Vec<_> = (0..128).map(|n| vip(&format!("10.7.1.{n}"))).collect();
        vips.extend((0..128).map(|n| vip(&format!("fd07::1:{n:x}"))));
        packet.watch(&vips).unwrap();
        wire.there("ip addr add 10.7.1.127/32 dev e0; ip addr add fd07::1:7f/128 dev e0 nodad");
        for address in ["10.7.1.127", "fd07::1:7f"] {
            packet.probe(&vip(address)).unwrap();
            assert_eq!(claims(&mut packet, 1).first().map(|claim| claim.address), Some(ip(address)));
        }
        let many: Vec<_> = (0..256).map(|n| vip(&format!("fd07::1:{n:x}"))).collect();
        packet.watch(&many).unwrap();
        packet.probe(&vip("fd07::1:7f")).unwrap();
        assert_eq!(claims(&mut packet, 1).len(), 1);
    });
}

#[test]
fn a_link_made_anew_is_found_again() {
    inside("links::a_link_made_anew_is_found_again", || {
        let wire = Wire::new();
        let mut packet = Packet::open("e0").unwrap();
        packet.watch(&[vip(V4)]).unwrap();
        run("ip link del e0");
        assert_eq!(packet.read().map_err(|e| e.to_string()), Ok(vec![]));
        assert!(packet.announce(&vip(V4)).is_err(), "nowhere to send to");
        wire.join();
        packet.announce(&vip(V4)).unwrap();
        wire.there(&format!(
            "arping -q -c1 -U -s 10.7.0.2 -I e0 10.7.0.2; ip addr add {V4}/32 dev e0; arping -q -c1 -U -I e0 {V4}"
        ));
        assert_eq!(claims(&mut packet, 1).len(), 1);
    });
}
