//! Pools and the search in them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::rules;
use crate::ipam::{Family, Order, Pool};

fn all(text: &str, skip_ends: bool) -> Vec<String> {
    let pool = Pool::parse(text, skip_ends).expect("a pool");
    let families = [Family::V4, Family::V6].into_iter();
    let spans = families.flat_map(|family| pool.spans(family, Order::Ascending).collect::<Vec<_>>());
    spans
        .flat_map(|span| {
            let (mut at, mut list) = (*span.start(), vec![]);
            while at <= *span.end() && list.len() < 64 {
                list.push(at.to_string());
                at = match at {
                    IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() + 1).into()),
                    IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() + 1).into()),
                };
            }
            list
        })
        .collect()
}

#[test]
fn what_a_pool_holds() {
    let check = |text: &str, skip: bool, want: &str| {
        assert_eq!(all(text, skip).join(" "), want, "{text} skip={skip}");
    };
    check("192.168.0.10-192.168.0.10", false, "192.168.0.10");
    check("192.168.0.10-192.168.0.12", false, "192.168.0.10 192.168.0.11 192.168.0.12");
    check(
        "192.168.0.253-192.168.1.2",
        false,
        "192.168.0.253 192.168.0.254 192.168.0.255 192.168.1.0 192.168.1.1 192.168.1.2",
    );
    check(
        "192.168.0.10-192.168.0.11,192.168.0.10-192.168.0.13",
        false,
        "192.168.0.10 192.168.0.11 192.168.0.12 192.168.0.13",
    );
    check("fe80::ffff-fe80::1:3", false, "fe80::ffff fe80::1:0 fe80::1:1 fe80::1:2 fe80::1:3");
    check("fe80::10-fe80::12,fe81::13-fe81::14", false, "fe80::10 fe80::11 fe80::12 fe81::13 fe81::14");
    check("192.168.0.200/32", false, "192.168.0.200");
    check("192.168.0.200/32", true, "192.168.0.200");
    check("192.168.0.200/30", false, "192.168.0.200 192.168.0.201 192.168.0.202 192.168.0.203");
    check("192.168.0.200/30", true, "192.168.0.201 192.168.0.202");
    check("192.168.0.200/31", true, "192.168.0.200 192.168.0.201");
    check(
        "192.168.0.200/30,192.168.0.200/29",
        true,
        "192.168.0.201 192.168.0.202 192.168.0.203 192.168.0.204 192.168.0.205 192.168.0.206",
    );
    check("fe80::10/127,fe80::fe/127", true, "fe80::10 fe80::11 fe80::fe fe80::ff");
    check("fe80::10/126, fe80::12/127", false, "fe80::10 fe80::11 fe80::12 fe80::13");
}

#[test]
fn how_messages_name_a_pool() {
    let check = |text: &str, v4: &str, v6: &str| {
        let pool = Pool::parse(text, false).expect("a pool");
        assert_eq!((pool.name(Family::V4).as_str(), pool.name(Family::V6).as_str()), (v4, v6), "{text}");
    };
    check("192.168.0.200/30", "cidr [192.168.0.200/30]", "cidr []");
    check(
        "192.168.0.201/30,192.168.1.200/30,fe80::10/127,fe80::fe/127",
        "cidr [192.168.0.200/30,192.168.1.200/30]",
        "cidr [fe80::10/127,fe80::fe/127]",
    );
    check("10.0.0.0/25,10.0.0.128/25", "cidr [10.0.0.0/24]", "cidr []");
    check("10.0.0.0/32,10.0.0.1/32,10.0.0.2/32", "cidr [10.0.0.0/31,10.0.0.2/32]", "cidr []");
    check("0.0.0.0/0,::/0", "cidr [0.0.0.0/0]", "cidr [::/0]");
    check(
        "192.168.0.10-192.168.0.12,192.168.0.100-192.168.0.120,fe80::13-fe80::14",
        "range [192.168.0.10-192.168.0.12,192.168.0.100-192.168.0.120]",
        "range [fe80::13-fe80::14]",
    );
}

#[test]
fn what_is_no_pool() {
    let check = |text: &str, want: &str| assert_eq!(Pool::parse(text, false), Err(want.into()), "{text}");
    check("", "could not discover address: pool is not specified");
    check("10.0.0.0/33", "unable to parse IP cidr [10.0.0.0/33]: expected ADDRESS/LENGTH");
    check("10.0.0.0/+8", "unable to parse IP cidr [10.0.0.0/+8]: expected ADDRESS/LENGTH");
    check("10.0.0/24", "unable to parse IP cidr [10.0.0/24]: expected ADDRESS/LENGTH");
    check("10.0.0.0/24,", "unable to parse IP cidr []: expected ADDRESS/LENGTH");
    check("10.0.0.1-10.0.0.2,invalid-pool", "unable to parse IP range [invalid-pool]: expected FIRST-LAST");
    check("10.0.0.1", "unable to parse IP range [10.0.0.1]: expected FIRST-LAST");
    check("10.0.0.2-10.0.0.1", "unable to parse IP range [10.0.0.2-10.0.0.1]: the first address is above the last");
    check("10.0.0.1-fe80::1", "unable to parse IP range [10.0.0.1-fe80::1]: both ends must be of one IP family");
}

#[test]
fn the_first_free_address() {
    let check = |text: &str, skip: bool, order: Order, used: &str, want: Option<&str>| {
        let used: BTreeSet<IpAddr> = used.split_whitespace().map(|a| a.parse().expect("an address")).collect();
        let pool = Pool::parse(text, skip).expect("a pool");
        let family = if pool.has(Family::V4) { Family::V4 } else { Family::V6 };
        let free = pool.free(family, order, None, |address| used.contains(&address));
        assert_eq!(free.map(|a| a.to_string()).as_deref(), want, "{text} {order:?} {used:?}");
    };
    let (up, down) = (Order::Ascending, Order::Descending);
    check("192.168.0.10-192.168.0.10", false, up, "", Some("192.168.0.10"));
    check("192.168.0.10-192.168.0.12", false, down, "", Some("192.168.0.12"));
    check("192.168.0.253-192.168.1.2", false, up, "192.168.0.253 192.168.0.254", Some("192.168.1.1"));
    check("192.168.0.253-192.168.1.2", false, down, "192.168.1.1 192.168.1.2", Some("192.168.0.254"));
    check("192.168.0.10-192.168.0.11,192.168.1.20-192.168.1.21", false, up, "192.168.0.10", Some("192.168.0.11"));
    let two = "192.168.0.10-192.168.0.11,192.168.1.20-192.168.1.22";
    check(two, false, down, "192.168.1.21 192.168.1.22", Some("192.168.1.20"));
    check("fe80::ffff-fe80::1:3", false, up, "fe80::ffff", Some("fe80::1:0"));
    check("fe80::ffff-fe80::1:3", false, down, "fe80::1:0 fe80::1:1 fe80::1:2 fe80::1:3", Some("fe80::ffff"));
    check("192.168.0.200/30", false, up, "", Some("192.168.0.200"));
    check("192.168.0.200/30", true, up, "", Some("192.168.0.201"));
    check("192.168.0.200/30", false, down, "", Some("192.168.0.203"));
    check("192.168.0.200/30", true, down, "", Some("192.168.0.202"));
    check("192.168.0.220/29", true, down, "", Some("192.168.0.222"));
    check("192.168.0.10/24", false, up, "", Some("192.168.0.1"));
    check("192.168.0.10/24", false, down, "", Some("192.168.0.254"));
    check("192.168.0.255/30", false, up, "192.168.0.252 192.168.0.253 192.168.0.254", None);
    check("192.168.0.255/30", false, down, "192.168.0.252 192.168.0.253 192.168.0.254", None);
    check("192.168.0.200/30,192.168.0.200/29", true, up, "192.168.0.201 192.168.0.202", Some("192.168.0.203"));
    check("192.168.0.200/30,192.168.0.200/29", false, down, "192.168.0.201", Some("192.168.0.207"));
    check("2001::49fe/127", true, up, "", Some("2001::49fe"));
    check("2001::49fe/127", false, down, "", Some("2001::49ff"));
    check("2001::49fe/127", false, up, "2001::49fe 2001::49ff", None);
    check("2001::10/126,2001::12/127", false, down, "2001::10 2001::11", Some("2001::13"));
    check("2001:db8::/32", false, down, "", Some("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
    check("::/0", false, down, "", Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    check("10.0.0.0/8", false, up, "10.0.0.1", Some("10.0.0.2"));
}

#[test]
fn which_pool_a_namespace_draws_from() {
    let map = rules(&[
        ("cidr-dummystart", "172.16.0.1/24"),
        ("cidr-global", "192.168.1.1/24"),
        ("cidr-system", "10.10.10.8/29"),
        ("allow-share-system", "true"),
        ("range-system", "10.9.9.1-10.9.9.2"),
        ("cidr-ipv6", "2001::10/127"),
        ("interface-global", "eth0"),
        ("interface-system", "eth1"),
    ]);
    let check = |namespace: &str, family, pool: &str, share: bool, interface: &str| {
        assert_eq!(map.pool(namespace).expect("a pool").name(family), pool);
        assert_eq!((map.share(namespace), map.interface(namespace)), (share, Some(interface)), "{namespace}");
    };
    check("system", Family::V4, "cidr [10.10.10.8/29]", true, "eth1");
    check("ipv6", Family::V6, "cidr [2001::10/127]", false, "eth0");
    check("basic", Family::V4, "cidr [192.168.1.0/24]", false, "eth0");

    let map = rules(&[("range-system", "10.10.10.8-10.10.10.15"), ("range-global", "192.168.1.1-192.168.1.254")]);
    assert_eq!(map.pool("system").expect("a pool").name(Family::V4), "range [10.10.10.8-10.10.10.15]");
    assert_eq!(map.pool("basic").expect("a pool").name(Family::V4), "range [192.168.1.1-192.168.1.254]");
    let both = rules(&[("cidr-global", "10.0.0.0/24"), ("range-system", "10.10.10.8-10.10.10.15")]);
    assert_eq!(both.pool("system").expect("a pool").name(Family::V4), "cidr [10.0.0.0/24]", "every cidr before ranges");
    let ranges = rules(&[("cidr-system", "2001::10-2001::20")]);
    assert_eq!(ranges.pool("system").expect("a pool").name(Family::V6), "range [2001::10-2001::20]");
    assert_eq!(rules(&[]).pool("default"), Err("no address pools could be found".into()));
}

#[test]
fn complaints() {
    let map = rules(&[
        ("cidr-global", "10.0.0.0/40"),
        ("cird-test", "10.0.0.0/24"),
        ("search-order", "down"),
        ("skip-end-ips-in-cidr", "true"),
        ("allow-share-a", "yes"),
        ("interface-a", ""),
    ]);
    let want = [
        "cidr-global: unable to parse IP cidr [10.0.0.0/40]: expected ADDRESS/LENGTH",
        "allow-share-a: yes, expected true or false",
        "cird-test: not a key of this ConfigMap, ignored",
        "interface-a: , expected an interface's name",
        "search-order: down, expected asc or desc",
    ];
    assert_eq!(map.complaints(), want);
}

proptest! {
    /// Nothing panics on what somebody may write, and what is found lies in the pool.
    #[test]
    fn any_text(text in "[0-9a-f.:/, -]{0,40}", skip: bool) {
        if let Ok(pool) = Pool::parse(&text, skip) {
            for family in [Family::V4, Family::V6] {
                let up = pool.free(family, Order::Ascending, None, |_| false);
                let down = pool.free(family, Order::Descending, None, |_| false);
                prop_assert_eq!(up.is_some(), down.is_some());
                for address in up.into_iter().chain(down).filter(|a| !a.is_unspecified()) {
                    prop_assert!(pool.contains(address), "{address} of {text}");
                }
            }
        }
    }

    /// A pool of random ranges holds exactly their union.
    #[test]
    fn ranges_are_their_union(spans in prop::collection::vec((0u8..=255, 0u8..=40), 1..6), probe: u8) {
        let text: Vec<String> = spans.iter().map(|(a, n)| format!("10.1.1.{a}-10.1.1.{}", a.saturating_add(*n))).collect();
        let pool = Pool::parse(&text.join(","), false).expect("ranges");
        let inside = spans.iter().any(|(a, n)| (*a..=a.saturating_add(*n)).contains(&probe));
        let edge = matches!(probe, 0 | 255);
        prop_assert_eq!(pool.contains(IpAddr::from([10, 1, 1, probe])), inside && !edge);
    }

    /// CIDRs cover themselves, however they overlap; the prefixes that name them are at most two for each bit.
    #[test]
    fn prefixes_cover(parts in prop::collection::vec((any::<u32>(), 16u32..=32), 1..5), probe: u32) {
        let text: Vec<String> =
            parts.iter().map(|(a, len)| format!("{}/{len}", std::net::Ipv4Addr::from_bits(*a))).collect();
        let pool = Pool::parse(&text.join(","), false).expect("cidrs");
        let probe = parts[0].0 ^ (probe & 0x1_ffff);
        let inside = parts.iter().any(|(a, len)| (a ^ probe).checked_shr(32 - len).unwrap_or(0) == 0);
        let address = std::net::Ipv4Addr::from_bits(probe);
        let edge = matches!(address.octets()[3], 0 | 255);
        prop_assert_eq!(pool.contains(address.into()), inside && !edge, "{} in {:?}", address, text);
        prop_assert!(pool.name(Family::V4).split(',').count() <= 64 * parts.len());
    }
}
