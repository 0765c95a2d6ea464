//! What a `keepalived.conf` asks for beside the group: compared on two hosts, one with real keepalived.

use std::fs;
use std::time::{Duration, Instant};

use baton_lab::backend::Backend;
use baton_lab::harness::{Skipped, need};
use baton_lab::lab::{INTERFACE, v4, v6};

use nix::sys::signal::Signal;

use crate::vrrp::{Pair, Program::Baton, Program::Keepalived};
use crate::world::shell;

fn plain(lines: &str) -> String {
    format!("  version 3\n  advert_int 0.1\n{lines}  virtual_ipaddress {{\n    {}\n  }}\n", v4(100))
}

/// What of a host's network the file made: addresses, routes of all tables, rules; without what every start makes anew.
fn made(pair: &Pair, place: usize) -> String {
    let host = &pair.hosts[place];
    let addresses = shell(host, "ip -o addr show dev lo scope global; ip -o addr show dev lo scope host");
    let routes = shell(host, "ip route show table all proto keepalived; ip -6 route show table all proto keepalived");
    let rules = shell(host, "ip rule; ip -6 rule");
    format!("{addresses}{routes}{rules}")
}

pub(crate) fn addresses_routes_and_rules_are_the_originals() -> Result<(), Skipped> {
    need(&["ip", "keepalived"])?;
    let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
    let head = format!(
        "static_ipaddress {{\n  192.0.2.7/24 dev lo scope global\n  2001:db8::7/64 dev lo\n}}\n\
         static_routes {{\n  198.51.100.0/24 via {} dev {INTERFACE}\n  blackhole 203.0.113.0/24 table 100 metric 7\n  \
         192.0.2.128/25 dev {INTERFACE} scope link mtu 1400\n}}\n\
         static_rules {{\n  from 198.51.100.0/24 table 100 preference 500\n}}\n",
        v4(2)
    );
    pair.heads = pair.heads.clone().map(|first| format!("{first}{head}"));
    let moved = format!(
        "  virtual_routes {{\n    198.51.100.128/25 dev {INTERFACE} src {} table 7\n    192.0.2.192/26 via {} dev {INTERFACE}\n  }}\n  \
         virtual_rules {{\n    to 203.0.113.0/24 lookup 100 priority 501\n  }}\n",
        v4(100),
        v4(1)
    );
    let lines = plain(&moved);
    let bare = [made(&pair, 0), made(&pair, 1)];
    pair.start(1, 100, &lines);
    pair.until_master(1);
    let original = made(&pair, 1);
    pair.start(0, 150, &lines);
    pair.until_master(0);
    pair.until("what moves has moved", || made(&pair, 0) == original && made(&pair, 1).len() < original.len());
    // What another program removes comes back.
    shell(&pair.hosts[0], "ip route del 198.51.100.0/24");
    pair.until("the route is put back", || made(&pair, 0) == original);
    let rest = made(&pair, 1);
    pair.terminate(0);
    pair.until_master(1);
    assert_eq!(made(&pair, 0), bare[0], "{}", pair.words());
    // A backup has what stays, as the original has.
    pair.start(0, 50, &lines);
    pair.until("what stays is there", || made(&pair, 0) == rest);
    assert_ne!(rest, bare[1]);
    Ok(())
}

/// The link with the virtual MAC address, and who is asked for on the wire.
pub(crate) fn a_virtual_mac_is_the_originals() -> Result<(), Skipped> {
    need(&["ip", "keepalived", "tcpdump"])?;
    for xmit_base in ["", "  vmac_xmit_base\n"] {
        let lines = plain(&format!("  use_vmac\n{xmit_base}"));
        let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
        let looks = |pair: &Pair, place: usize| {
            let link = shell(
                &pair.hosts[place],
                "ip -d link show vrrp.51 | grep -o -E 'macvlan mode [a-z]+|ether [0-9a-f:]+'",
            );
            let conf = "for k in arp_ignore rp_filter accept_local promote_secondaries; do cat /proc/sys/net/ipv4/conf/vrrp.51/$k; done";
            format!("{link}{}", shell(&pair.hosts[place], conf))
        };
        pair.start(1, 100, &lines);
        pair.until_master(1);
        let original = looks(&pair, 1);
        pair.start(0, 150, &lines);
        pair.until_master(0);
        assert_eq!(looks(&pair, 0), original, "{}", pair.words());
        // The other node, which may be the only one that answers for its own address, finds it under the same MAC address.
        let answered =
            shell(&pair.hosts[1], &format!("ping -c1 -W2 {} >/dev/null; ip neigh show {}", v4(100), v4(100)));
        assert!(answered.contains("00:00:5e:00:01:33"), "{answered}\n{}", pair.words());
        let since = Instant::now();
        pair.kill(0);
        pair.until_master(1);
        pair.never_two(since);
        pair.start(0, 150, &lines);
        pair.until_master(0);
        pair.terminate(0);
        pair.until_master(1);
        assert!(!shell(&pair.hosts[0], "ip link").contains("vrrp.51"), "{}", pair.words());
    }
    Ok(())
}

/// Addresses for routing only: neighbours find them, and no packet to them is accepted.
pub(crate) fn an_address_that_accepts_nothing_is_found() -> Result<(), Skipped> {
    need(&["ip", "keepalived", "ping"])?;
    for (vip, again) in
        [(std::net::IpAddr::from(v4(100)), v4(100).to_string()), (v6(0x64).into(), v6(0x64).to_string())]
    {
        let lines = format!("  version 3\n  advert_int 0.1\n  no_accept\n  virtual_ipaddress {{\n    {again}\n  }}\n");
        let mut pair = Pair::new([Baton, Keepalived], vip);
        pair.start(0, 150, &lines);
        pair.until_master(0);
        let found = shell(
            &pair.hosts[1],
            &format!("ping -c2 -W1 {again} | grep -c 'bytes from' || true; ip neigh show {again}"),
        );
        assert!(found.starts_with("0\n") && found.contains("lladdr"), "{found}\n{}", pair.words());
    }
    Ok(())
}

/// Adverts with the TTL that the peer asks for, and an instance that waits.
pub(crate) fn ttl_and_startup_delay() -> Result<(), Skipped> {
    need(&["ip", "keepalived"])?;
    let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
    let ways = |own: u8, other: u8| {
        plain(&format!(
            "  unicast_ttl 64\n  unicast_src_ip {}\n  track_src_ip\n  unicast_peer {{\n    {} min_ttl 64 max_ttl 64\n  }}\n",
            v4(own),
            v4(other)
        ))
    };
    pair.start(1, 100, &ways(2, 1));
    pair.until_master(1);
    pair.heads[0] = "global_defs {\n  vrrp_startup_delay 2\n}\n".to_owned();
    let begin = Instant::now();
    pair.start(0, 150, &ways(1, 2));
    pair.until_master(0);
    assert!(begin.elapsed() > Duration::from_secs(2), "{:?}", begin.elapsed());
    Ok(())
}

/// A static address that is tracked takes the node out while it is missing, and a link's absence counts when it lasts.
pub(crate) fn what_is_tracked_takes_the_node_out() -> Result<(), Skipped> {
    need(&["ip", "keepalived"])?;
    let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
    shell(&pair.hosts[0], "ip link add other type veth peer name end && ip link set other up && ip link set end up");
    pair.heads[0] = "interface_up_down_delays {\n  other 2 1\n}\ntrack_group both {\n  group {\n    lab\n  }\n}\n\
                     static_ipaddress {\n  192.0.2.7/24 dev other track_group both\n}\n"
        .to_owned();
    let lines = plain("");
    pair.start(1, 100, &lines);
    pair.until_master(1);
    pair.start(0, 150, &plain("  track_interface {\n    other\n  }\n"));
    pair.until_master(0);
    shell(&pair.hosts[0], "ip addr del 192.0.2.7/24 dev other");
    pair.until_master(1);
    pair.until_master(0);
    let begin = Instant::now();
    shell(&pair.hosts[0], "ip link set end down");
    pair.until_master(1);
    assert!(begin.elapsed() > Duration::from_secs(2), "{:?}", begin.elapsed());
    shell(&pair.hosts[0], "ip link set end up");
    pair.until_master(0);
    Ok(())
}

/// TCP services: servers take turns, one that dies is left out, and a program decides about another.
pub(crate) fn virtual_servers_are_balanced() -> Result<(), Skipped> {
    need(&["ip", "bash", "keepalived"])?;
    let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
    let (first, second) = (
        Backend::start(&pair.hosts[0], 7001, b'a').expect("a server"),
        Backend::start(&pair.hosts[0], 7002, b'b').expect("a server"),
    );
    let good = pair.hosts[0].directory().join("good");
    fs::write(&good, "").expect("a file");
    let real = |port: u16, check: &str| format!("  real_server {} {port} {{\n    weight 1\n    {check}\n  }}\n", v4(1));
    let service = |second: &str| {
        let connect = "TCP_CHECK {\n      connect_timeout 1\n      retry 0\n      delay_loop 1\n    }";
        format!(
            "global_defs {{\n  script_user root\n}}\nvirtual_server_group web {{\n  {} 80\n}}\nvirtual_server group web {{\n  \
             delay_loop 1\n  lvs_sched rr\n  lvs_method NAT\n  protocol TCP\n{}{}}}\n",
            v4(100),
            real(7001, connect),
            real(7002, second)
        )
    };
    let connect = "TCP_CHECK {\n      connect_timeout 1\n      retry 0\n      delay_loop 1\n    }";
    pair.heads[0] = service(connect);
    pair.vrrp_only = false;
    pair.start(0, 150, &plain(""));
    pair.until_master(0);
    let ask = |pair: &Pair| {
        let one = format!("exec 3<>/dev/tcp/{}/80 && printf x >&3 && head -c1 <&3", v4(100));
        shell(&pair.hosts[1], &format!("for i in 1 2 3 4; do timeout 3 bash -c '{one}' || true; done"))
    };
    pair.until("both serve", || matches!(ask(&pair).as_str(), "abab" | "baba"));
    drop(first);
    pair.until("the one that is left serves", || ask(&pair) == "bbbb");
    // A reload changes the check and cuts nothing; the program says no.
    let _first = Backend::start(&pair.hosts[0], 7001, b'a').expect("a server");
    pair.heads[0] = service(&format!("MISC_CHECK {{\n      misc_path \"/usr/bin/test -e {}\"\n    }}", good.display()))
        .replace(&real(7001, connect), &real(7001, "MISC_CHECK {\n      misc_path \"/usr/bin/true\"\n    }"));
    pair.write(0, 150, &plain(""));
    pair.signal(0, Signal::SIGHUP);
    pair.until("both serve again", || matches!(ask(&pair).as_str(), "abab" | "baba"));
    fs::remove_file(&good).expect("it was there");
    pair.until("the program's word counts", || ask(&pair) == "aaaa");
    drop(second);
    Ok(())
}
