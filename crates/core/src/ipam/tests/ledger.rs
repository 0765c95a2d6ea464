//! What a Service gets: tables and scripts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{rules, service, write};
use crate::ipam::{Change, Family, Key, Ledger, Plan, Policy, Protocol, Service, Why};

/// An allocator and the Services as an API server has them.
struct Cluster {
    ledger: Ledger,
    services: BTreeMap<Key, Service>,
    versions: u64,
}

impl Cluster {
    fn new(data: &[(&str, &str)]) -> Cluster {
        Cluster::with_class(data, None)
    }

    fn with_class(data: &[(&str, &str)], class: Option<&str>) -> Cluster {
        let mut ledger = Ledger::new(class.map(Into::into));
        ledger.replace(Vec::new());
        ledger.configure(rules(data));
        Cluster { ledger, services: BTreeMap::new(), versions: 1 }
    }

    fn put(&mut self, mut service: Service) {
        self.versions += 1;
        service.version = self.versions.to_string();
        self.services.insert(service.key.clone(), service.clone());
        self.ledger.observe(service);
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Service)) {
        let mut service = self.get(name).clone();
        edit(&mut service);
        self.put(service);
    }

    fn delete(&mut self, name: &str) {
        let key = self.get(name).key.clone();
        self.services.remove(&key);
        self.ledger.forget(&key);
    }

    fn get(&self, name: &str) -> &Service {
        self.services.values().find(|service| service.key.name == name).expect("a Service of that name")
    }

    /// Everything that is to be done, done; reasons of refusal by name.
    fn settle(&mut self) -> (Vec<(String, Why)>, BTreeMap<String, String>) {
        let (mut done, mut refused) = (Vec::new(), BTreeMap::new());
        while let Some((key, plan)) = self.ledger.next_plan() {
            match plan {
                Plan::Refused { why, .. } => drop(refused.insert(key.name, why)),
                Plan::Write(change) => {
                    done.push((key.name.clone(), change.why));
                    self.write(&change);
                }
            }
        }
        (done, refused)
    }

    fn write(&mut self, change: &Change) {
        let mut service = self.services[&change.key].clone();
        assert_eq!(service.version, change.version);
        write(&mut service, change);
        self.put(service);
    }
}

fn families(text: &str) -> Vec<Family> {
    text.chars().map(|c| if c == '4' { Family::V4 } else { Family::V6 }).collect()
}

#[test]
fn families_and_policies() {
    use Policy::{PreferDualStack as Prefer, RequireDualStack as Require, SingleStack as Single};
    let check = |policy, order: &str, pool: &str, used: &str, want: Result<&str, &str>| {
        let mut cluster = Cluster::new(&[("range-global", pool)]);
        for (i, address) in used.split_whitespace().enumerate() {
            let fixed = service("other", &format!("fixed{i}"));
            cluster.put(Service { annotation: address.into(), label: true, finalizer: true, ..fixed });
        }
        cluster.put(Service { policy, families: families(order), ..service("ns", "web") });
        let (_, refused) = cluster.settle();
        match want {
            Ok(addresses) => {
                let web = cluster.get("web");
                assert_eq!(web.annotation, addresses, "{policy:?} {order} {pool} used: {used}");
                assert_eq!(web.spec_ip, addresses.split(',').next().unwrap());
                assert!(web.label && web.finalizer);
            }
            Err(why) => assert_eq!(refused["web"], why, "{policy:?} {order} {pool} used: {used}"),
        }
    };
    let (v4, v6, both) = ("10.10.10.8-10.10.10.15", "fd00::1-fd00::10", "10.10.10.8-10.10.10.9,fd00::1-fd00::2");
    let (used4, used6) = ("10.10.10.8 10.10.10.9 10.10.10.10 10.10.10.12", "fd00::1 fd00::2 fd00::4");
    check(Single, "", v4, used4, Ok("10.10.10.11"));
    check(Single, "4", v4, used4, Ok("10.10.10.11"));
    check(Single, "", v6, used6, Ok("fd00::3"));
    check(Single, "6", v6, used6, Ok("fd00::3"));
    check(Single, "", both, "", Ok("10.10.10.8"));
    check(Single, "6", both, "", Ok("fd00::1"));
    let unsuitable = "could not find suitable pool for the IP family of the service";
    check(Single, "4", v6, "", Err(unsuitable));
    check(Single, "6", v4, "", Err(unsuitable));
    check(Prefer, "46", v4, used4, Ok("10.10.10.11"));
    check(Prefer, "46", v6, used6, Ok("fd00::3"));
    check(Prefer, "", both, "", Ok("10.10.10.8,fd00::1"));
    check(Prefer, "46", both, "", Ok("10.10.10.8,fd00::1"));
    check(Prefer, "64", both, "", Ok("fd00::1,10.10.10.8"));
    check(Prefer, "46", both, "fd00::1 fd00::2", Ok("10.10.10.8"));
    check(Prefer, "46", both, "10.10.10.8 10.10.10.9", Ok("fd00::1"));
    check(Prefer, "64", both, "fd00::1 fd00::2", Ok("10.10.10.8"));
    let (full4, full6) = (
        "no addresses available in [ns] range [10.10.10.8-10.10.10.9]",
        "no addresses available in [ns] range [fd00::1-fd00::2]",
    );
    let none = format!("could not allocate any IP address for PreferDualStack service: \n\t- {full4}\n\t- {full6}");
    check(Prefer, "46", both, "10.10.10.8 10.10.10.9 fd00::1 fd00::2", Err(&none));
    let only4 = format!("could not allocate any IP address for PreferDualStack service: \n\t- {full4}");
    check(Prefer, "46", "10.10.10.8-10.10.10.9", "10.10.10.8 10.10.10.9", Err(&only4));
    check(Prefer, "46", "10.10.10.8-10.10.10.9,x", "", Err("unable to parse IP range [x]: expected FIRST-LAST"));
    let needs = "service requires dual-stack, but the configuration does not have both IPv4 and IPv6 pools listed for \
                 the namespace";
    check(Require, "46", v4, "", Err(needs));
    check(Require, "46", v6, "", Err(needs));
    check(Require, "46", "", "", Err("could not discover address: pool is not specified"));
    check(Require, "46", both, "", Ok("10.10.10.8,fd00::1"));
    check(Require, "64", both, "", Ok("fd00::1,10.10.10.8"));
    let required = "could not allocate required IP addresses for RequireDualStack service: \n\t- ";
    check(Require, "46", both, "fd00::1 fd00::2", Err(&format!("{required}{full6}")));
    check(Require, "64", both, "10.10.10.8 10.10.10.9", Err(&format!("{required}{full4}")));
    let all = "10.10.10.8 10.10.10.9 fd00::1 fd00::2";
    check(Require, "46", both, all, Err(&format!("{required}{full4}\n\t- {full6}")));
}

#[test]
fn what_is_written_on_a_service() {
    let check = |before: Service, data: &[(&str, &str)], want: Service| {
        let mut cluster = Cluster::new(data);
        cluster.put(before);
        cluster.settle();
        let found = cluster.get("name").clone();
        assert_eq!(Service { version: "1".into(), ..found }, want);
    };
    let pool = [("cidr-global", "192.168.1.1/24")];
    let plain = || service("test", "name");
    let given = |address: &str| Service {
        annotation: address.into(),
        spec_ip: address.into(),
        label: true,
        finalizer: true,
        ..plain()
    };
    check(plain(), &pool, given("192.168.1.1"));
    check(plain(), &[("cidr-global", "fe80::10/126")], given("fe80::10"));
    check(plain(), &[("cidr-global", "0.0.0.0/32")], given("0.0.0.0"));
    let with = |interface: &str| Service { interface: interface.into(), ..given("192.168.1.1") };
    check(plain(), &[pool[0], ("interface-global", "eth0")], with("eth0"));
    check(plain(), &[pool[0], ("interface-global", "eth0"), ("interface-test", "eth1")], with("eth1"));
    check(plain(), &[pool[0], ("interface-what", "eth0")], with(""));

    let asks = Service { spec_ip: "192.168.1.1".into(), ..plain() };
    let adopted = Service { annotation: "192.168.1.1".into(), finalizer: true, ..asks.clone() };
    check(asks, &[], adopted);
    let fixed = Service { annotation: "192.168.1.1".into(), ..plain() };
    check(fixed.clone(), &[], Service { label: true, finalizer: true, ..fixed });

    let dual = Service { policy: Policy::RequireDualStack, families: families("64"), ..plain() };
    let want = Service {
        annotation: "fe80::10,10.120.120.1".into(),
        spec_ip: "fe80::10".into(),
        label: true,
        finalizer: true,
        ..dual.clone()
    };
    check(dual, &[("cidr-global", "10.120.120.1/24,fe80::10/126")], want);

    let other = Service { class: Some("custom-class".into()), ..plain() };
    check(other.clone(), &pool, other);
    let internal = Service { balanced: false, ..plain() };
    check(internal.clone(), &pool, internal);
}

#[test]
fn with_a_class_only_its_services() {
    let class = "kube-vip.io/kube-vip-class";
    let mut cluster = Cluster::with_class(&[("cidr-global", "10.0.0.0/24")], Some(class));
    cluster.put(service("ns", "none"));
    cluster.put(Service { class: Some("other".into()), ..service("ns", "other") });
    cluster.put(Service { class: Some(class.into()), ..service("ns", "mine") });
    assert_eq!(cluster.settle().0, [("mine".into(), Why::Allocated)]);
    cluster.edit("mine", |mine| mine.deleting = true);
    cluster.edit("other", |other| (other.deleting, other.finalizer) = (true, true));
    assert_eq!(cluster.settle().0, [("mine".into(), Why::Deleted)]);
    assert!(!cluster.get("mine").finalizer);
}

#[test]
fn sharing_is_by_protocol_and_port() {
    let mut cluster = Cluster::new(&[("cidr-global", "10.0.0.2/31,2001::0/48"), ("allow-share-global", "true")]);
    let mut check = |name: &str, dual: bool, port, want: Result<&str, &str>| {
        let policy = if dual { Policy::RequireDualStack } else { Policy::SingleStack };
        let wants = Service { policy, ports: vec![port], families: families("46"), ..service("default", name) };
        cluster.put(wants);
        let (_, refused) = cluster.settle();
        match want {
            Ok(addresses) => assert_eq!(cluster.get(name).annotation, addresses, "{name}"),
            Err(why) => assert_eq!(refused[name], why),
        }
    };
    check("udp", true, (Protocol::Udp, 123), Ok("10.0.0.2,2001::"));
    check("tcp", true, (Protocol::Tcp, 345), Ok("10.0.0.2,2001::1"));
    check("sctp", false, (Protocol::Sctp, 1234), Ok("10.0.0.2"));
    check("web", false, (Protocol::Tcp, 80), Ok("10.0.0.2"));
    check("udp80", false, (Protocol::Udp, 80), Ok("10.0.0.2"));
    check("more", false, (Protocol::Tcp, 8080), Ok("10.0.0.2"));
    check("web2", false, (Protocol::Tcp, 80), Ok("10.0.0.3"));
    let full = "no addresses available in [default] cidr [10.0.0.2/31]";
    check("web3", false, (Protocol::Tcp, 80), Err(full));
}

#[test]
fn only_those_share_whose_namespaces_both_may() {
    let pools = [("range-global", "10.0.0.1-10.0.0.9"), ("allow-share-a", "true"), ("allow-share-b", "1")];
    let mut cluster = Cluster::new(&pools);
    for (i, namespace) in ["a", "b", "c"].into_iter().enumerate() {
        let ports = vec![(Protocol::Tcp, 80 + i as u16)];
        cluster.put(Service { ports, ..service(namespace, namespace) });
    }
    cluster.settle();
    let of = |name| cluster.get(name).annotation.as_str();
    assert_eq!((of("a"), of("b"), of("c")), ("10.0.0.1", "10.0.0.1", "10.0.0.2"));
}

#[test]
fn overlapping_pools_of_namespaces_do_not_collide() {
    let mut cluster = Cluster::new(&[("range-a", "10.0.0.1-10.0.0.9"), ("range-b", "10.0.0.1-10.0.0.9")]);
    cluster.put(service("a", "one"));
    cluster.put(service("b", "two"));
    cluster.put(Service { status: vec![IpAddr::from([10, 0, 0, 3])], class: Some("x".into()), ..service("c", "far") });
    cluster.put(service("b", "three"));
    cluster.settle();
    let of = |name| cluster.get(name).annotation.as_str();
    assert_eq!((of("one"), of("two"), of("three")), ("10.0.0.1", "10.0.0.4", "10.0.0.2"));
}

#[test]
fn waiting_services_get_what_becomes_free() {
    let mut cluster = Cluster::new(&[("range-global", "10.0.0.1-10.0.0.1")]);
    cluster.put(Service { created: "2026-01-01T00:00:01Z".into(), ..service("ns", "first") });
    cluster.put(Service { created: "2026-01-01T00:00:03Z".into(), ..service("ns", "aaa") });
    cluster.put(Service { created: "2026-01-01T00:00:02Z".into(), ..service("ns", "bbb") });
    let (_, refused) = cluster.settle();
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["aaa", "bbb"]);
    assert_eq!(cluster.settle(), (vec![], BTreeMap::new()), "nothing is done again without a cause");
    cluster.delete("first");
    assert_eq!(cluster.settle().0, [("bbb".into(), Why::Allocated)], "the older one");
    cluster.ledger.configure(rules(&[("range-global", "10.0.0.1-10.0.0.1,10.0.0.7-10.0.0.8")]));
    assert_eq!(cluster.settle().0, [("aaa".into(), Why::Allocated)]);
    assert_eq!(cluster.get("aaa").annotation, "10.0.0.7");
    cluster.ledger.configure(rules(&[("range-global", "10.9.0.1-10.9.0.1")]));
    assert_eq!(cluster.settle().0, [], "who has an address keeps it when the pool changes");
}

#[test]
fn nothing_is_given_before_everything_is_known() {
    let mut ledger = Ledger::new(None);
    ledger.observe(service("ns", "web"));
    assert_eq!(ledger.next_plan(), None);
    ledger.configure(rules(&[("cidr-global", "10.0.0.0/24")]));
    assert_eq!(ledger.next_plan(), None, "other Services may have the address");
    let taken = Service { annotation: "10.0.0.1".into(), label: true, finalizer: true, ..service("ns", "old") };
    ledger.replace(vec![service("ns", "web"), taken]);
    let Some((_, Plan::Write(change))) = ledger.next_plan() else { panic!("no plan") };
    assert_eq!(change.annotation.as_deref(), Some("10.0.0.2"));
}

#[test]
fn a_promise_holds_until_another_version_is_seen() {
    let mut cluster = Cluster::new(&[("range-global", "10.0.0.1-10.0.0.2")]);
    cluster.put(service("ns", "a"));
    cluster.put(service("ns", "b"));
    let plans: Vec<_> = std::iter::from_fn(|| cluster.ledger.next_plan()).collect();
    let address = |plan: &(Key, Plan)| match &plan.1 {
        Plan::Write(change) => change.annotation.clone().expect("an address"),
        Plan::Refused { why, .. } => panic!("{why}"),
    };
    assert_eq!(plans.iter().map(address).collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.2"]);
    cluster.ledger.again(&plans[0].0);
    assert_eq!(cluster.ledger.next_plan().as_ref(), Some(&plans[0]), "the same promise again");
    cluster.edit("a", |a| a.label = false);
    let again = cluster.ledger.next_plan().expect("a plan");
    assert_eq!(address(&again), "10.0.0.1");
    assert_ne!(again, plans[0], "against the new version");
}

#[test]
fn ports_that_come_to_collide_move_the_one_that_changed() {
    let pools = [("range-global", "10.0.0.1-10.0.0.2"), ("allow-share-global", "true")];
    let mut cluster = Cluster::new(&pools);
    cluster.put(service("ns", "a"));
    cluster.put(Service { ports: vec![(Protocol::Tcp, 81)], ..service("ns", "b") });
    cluster.settle();
    assert_eq!((&*cluster.get("a").annotation, &*cluster.get("b").annotation), ("10.0.0.1", "10.0.0.1"));
    cluster.edit("a", |a| a.ports.push((Protocol::Tcp, 81)));
    assert_eq!(cluster.settle().0, [("a".into(), Why::Moved)]);
    assert_eq!((&*cluster.get("a").annotation, &*cluster.get("b").annotation), ("10.0.0.2", "10.0.0.1"));
    cluster.edit("b", |b| b.ports = vec![(Protocol::Tcp, 82)]);
    assert_eq!(cluster.settle().0, []);
    cluster.put(Service { ports: vec![(Protocol::Tcp, 82)], ..service("ns", "c") });
    cluster.settle();
    assert_eq!(cluster.get("c").annotation, "10.0.0.2", "shares with a");
    cluster.edit("c", |c| c.ports = vec![(Protocol::Tcp, 80), (Protocol::Tcp, 82)]);
    let (done, refused) = cluster.settle();
    assert_eq!(done, []);
    let why = "address 10.0.0.2 is shared, and tcp port 80 of it belongs to service ns/a; no addresses available in \
               [ns] range [10.0.0.1-10.0.0.2]";
    assert_eq!(refused["c"], why);
    cluster.edit("a", |a| a.ports.retain(|port| port.1 != 80));
    assert_eq!(cluster.settle(), (vec![], BTreeMap::new()), "in order again");
}

#[test]
fn a_move_that_was_promised_is_made_though_its_reason_went() {
    let pools = [("range-global", "10.0.0.1-10.0.0.2"), ("allow-share-global", "true")];
    let mut cluster = Cluster::new(&pools);
    cluster.put(service("ns", "a"));
    cluster.put(Service { ports: vec![(Protocol::Tcp, 81)], ..service("ns", "b") });
    cluster.settle();
    cluster.edit("b", |b| b.ports.push((Protocol::Tcp, 80)));
    let (key, moved) = cluster.ledger.next_plan().expect("b is moved");
    cluster.delete("a");
    cluster.ledger.again(&key);
    assert_eq!(cluster.ledger.next_plan(), Some((key, moved)), "the write may have arrived without an answer");
}

#[test]
fn who_chose_an_address_is_told_and_not_moved() {
    let mut cluster = Cluster::new(&[("range-global", "10.0.0.1-10.0.0.9")]);
    cluster.put(service("ns", "given"));
    cluster.settle();
    cluster.put(Service { annotation: "10.0.0.1".into(), ..service("ns", "chosen") });
    let (done, refused) = cluster.settle();
    assert_eq!(done, [("chosen".into(), Why::Marked)]);
    assert_eq!(refused["chosen"], "address 10.0.0.1 is shared, and tcp port 80 of it belongs to service ns/given");
    let mut restarted = Ledger::new(None);
    restarted.configure(rules(&[("range-global", "10.0.0.1-10.0.0.9")]));
    restarted.replace(cluster.services.values().cloned().collect());
    let plans: Vec<_> = std::iter::from_fn(|| restarted.next_plan()).collect();
    assert!(matches!(plans[..], [(_, Plan::Refused { .. })]), "{plans:?}");
}

#[test]
fn what_came_from_a_pool_goes_back_when_the_type_changes() {
    let mut cluster = Cluster::new(&[("range-global", "10.0.0.1-10.0.0.9"), ("interface-global", "eth0")]);
    cluster.put(service("ns", "given"));
    cluster.put(Service { annotation: "10.0.0.7".into(), ..service("ns", "chosen") });
    cluster.settle();
    for name in ["given", "chosen"] {
        cluster.edit(name, |service| service.balanced = false);
    }
    cluster.settle();
    let left = |name| (cluster.get(name).annotation.as_str(), cluster.get(name).finalizer);
    assert_eq!((left("given"), left("chosen")), (("", false), ("10.0.0.7", false)));
    let given = cluster.get("given");
    assert!(given.spec_ip.is_empty() && given.interface.is_empty() && !given.label);
    assert_eq!(cluster.ledger.counts(), (2, 1, 0), "what its owner chose stays said, so nobody else gets it");
    cluster.delete("chosen");
    assert_eq!(cluster.ledger.counts(), (1, 0, 0));
}

#[test]
fn an_address_still_in_the_status_is_taken_again() {
    let mut cluster = Cluster::new(&[("range-global", "10.0.0.1-10.0.0.9")]);
    cluster.put(Service { status: vec![IpAddr::from([10, 0, 0, 5])], ..service("ns", "web") });
    cluster.put(service("ns", "api"));
    cluster.settle();
    assert_eq!((&*cluster.get("web").annotation, &*cluster.get("api").annotation), ("10.0.0.5", "10.0.0.1"));
}

#[test]
fn addresses_follow_the_families_that_a_service_comes_to_want() {
    let mut cluster = Cluster::new(&[("range-global", "10.0.0.1-10.0.0.9,fd00::1-fd00::1")]);
    let dual = |policy| move |web: &mut Service| (web.policy, web.families) = (policy, families("46"));
    for name in ["web", "more"] {
        cluster.put(Service { families: families("4"), ..service("ns", name) });
        cluster.settle();
    }
    cluster.edit("web", dual(Policy::RequireDualStack));
    assert_eq!(cluster.settle().0, [("web".into(), Why::Families)]);
    assert_eq!(cluster.get("web").annotation, "10.0.0.1,fd00::1");
    assert_eq!(cluster.get("web").spec_ip, "10.0.0.1");

    // There is no other, and what it has it keeps. Whether it is told depends on what it wants.
    let full = "could not allocate required IP addresses for RequireDualStack service: \n\t- no addresses available in \
                [ns] range [fd00::1-fd00::1]";
    cluster.edit("more", dual(Policy::RequireDualStack));
    assert_eq!(cluster.settle(), (vec![], BTreeMap::from([("more".to_owned(), full.to_owned())])));
    cluster.edit("more", dual(Policy::PreferDualStack));
    assert_eq!(cluster.settle(), (vec![], BTreeMap::new()));
    cluster.ledger.configure(rules(&[("range-global", "fd00::1-fd00::2")]));
    assert_eq!(cluster.settle().0, [("more".into(), Why::Families)], "a pool that has become larger is noticed");
    assert_eq!(cluster.get("more").annotation, "10.0.0.2,fd00::2");

    cluster.edit("web", |web| (web.policy, web.families) = (Policy::SingleStack, families("4")));
    assert_eq!(cluster.settle().0, [("web".into(), Why::Families)]);
    assert_eq!(cluster.get("web").annotation, "10.0.0.1");
    cluster.put(Service { families: families("6"), ..service("ns", "next") });
    cluster.settle();
    assert_eq!(cluster.get("next").annotation, "fd00::1", "what it wants no longer is free");
    // Who chose an address is not meddled with.
    cluster.put(Service { annotation: "10.0.0.7".into(), families: families("4"), ..service("ns", "chosen") });
    cluster.settle();
    cluster.edit("chosen", dual(Policy::RequireDualStack));
    assert_eq!(cluster.settle(), (vec![], BTreeMap::new()));
}

#[test]
fn names_and_placeholders_are_nobodys_addresses() {
    let mut cluster = Cluster::new(&[("cidr-a", "0.0.0.0/32"), ("cidr-global", "10.0.0.0/24")]);
    cluster.put(Service { annotation: "vip.example.com,10.0.0.1".into(), ..service("b", "name") });
    for name in ["one", "two"] {
        cluster.put(service("a", name));
    }
    cluster.put(service("c", "three"));
    let (_, refused) = cluster.settle();
    assert_eq!(refused, BTreeMap::new());
    let of = |name| cluster.get(name).annotation.as_str();
    assert_eq!((of("one"), of("two"), of("three")), ("0.0.0.0", "0.0.0.0", "10.0.0.2"));
}

#[test]
fn five_thousand_services() {
    let mut cluster = Cluster::new(&[("cidr-global", "10.0.0.0/16,2001:db8::/32")]);
    for i in 0..5000 {
        let policy = Policy::RequireDualStack;
        cluster.put(Service { policy, ..service("ns", &format!("service-{i:04}")) });
    }
    let (done, refused) = cluster.settle();
    assert_eq!((done.len(), refused.len()), (5000, 0));
    assert_eq!(cluster.get("service-4999").annotation, "10.0.19.174,2001:db8::1387");
    assert_eq!(cluster.ledger.counts(), (5000, 10_000, 0));
}
