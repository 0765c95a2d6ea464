//! Where addresses come from, which Services are ours, what is refused, and where an address goes.

use super::*;

fn claims(service: Service) -> Vec<String> {
    let mut node = Node::new(options());
    let key = service.key.clone();
    node.backed(service);
    let plan = node.services.plan(&key).expect("known");
    plan.addresses.iter().map(|planned| planned.address.to_string()).collect()
}

#[test]
fn addresses_come_from_the_annotation_then_a_newer_spec_then_status_then_spec() {
    let spec = |ip: &str| Service { load_balancer_ip: ip.into(), ..service("web") };
    assert_eq!(claims(service("web").at("10.0.0.5")), ["10.0.0.5"]);
    assert_eq!(claims(spec("10.0.0.6")), ["10.0.0.6"]);
    assert_eq!(claims(service("web").status(&["10.0.0.7"])), ["10.0.0.7"]);
    // The annotation is above all, status above an equal spec, a spec that differs from status above status.
    assert_eq!(claims(spec("10.0.0.6").at("10.0.0.5").status(&["10.0.0.7"])), ["10.0.0.5"]);
    assert_eq!(claims(spec("10.0.0.6").status(&["10.0.0.7"])), ["10.0.0.6"]);
    assert_eq!(claims(spec("10.0.0.7").status(&["10.0.0.7", "fd00::7"])), ["10.0.0.7", "fd00::7"]);
    // Another family in status says nothing about whether spec was changed.
    assert_eq!(claims(spec("10.0.0.6").status(&["fd00::7"])), ["fd00::7"]);
    // An empty annotation is none.
    assert_eq!(claims(spec("10.0.0.6").at(" ")), ["10.0.0.6"]);
    assert_eq!(
        claims(service("web").at("10.0.0.5, fd00::5 ,10.0.0.5,::ffff:10.0.0.8")),
        ["10.0.0.5", "fd00::5", "10.0.0.8"]
    );
    assert!(claims(service("web")).is_empty());
}

#[test]
fn a_service_without_address_waits_alone() {
    let mut node = Node::new(options());
    node.backed(service("empty"));
    node.backed(service("web").at("10.0.0.5"));
    assert_eq!(node.verdict("empty"), Verdict::Nowhere(Why::NoAddress));
    assert_eq!(node.wanted(), [global("10.0.0.5/32")]);
    node.take(Change::Service(service("empty").at("10.0.0.6")));
    assert_eq!(node.wanted(), [global("10.0.0.5/32"), global("10.0.0.6/32")]);
}

#[test]
fn names_are_resolved_by_the_families_of_the_service() {
    let mut node = Node::new(options());
    let touched = node.backed(service("web").at("web.example.org"));
    assert!(touched.names);
    assert_eq!(node.services.names().collect::<Vec<_>>(), ["web.example.org"]);
    assert_eq!(node.verdict("web"), Verdict::Nowhere(Why::Unresolved));
    let resolved = |addresses: &[&str]| Change::Resolved {
        name: "web.example.org".into(),
        addresses: Ok(addresses.iter().map(|address| ip(address)).collect()),
    };
    node.take(resolved(&["fd00::5", "10.0.0.5", "10.0.0.6"]));
    assert_eq!(node.wanted(), [global("fd00::5/128")]);
    let both = |families, require_dual_stack| {
        Change::Service(Service { families, require_dual_stack, ..service("web").at("web.example.org") })
    };
    node.take(both(Families::Ipv4, false));
    assert_eq!(node.wanted(), [global("10.0.0.5/32")]);
    node.take(both(Families::Ipv6First, false));
    assert_eq!(node.wanted(), [global("10.0.0.5/32"), global("fd00::5/128")]);
    // A new answer moves the Service; none at all changes nothing; without one family PreferDualStack goes on.
    let touched = node.take(resolved(&["10.0.0.9"]));
    assert_eq!(touched.addresses, BTreeSet::from([ip("10.0.0.5"), ip("fd00::5"), ip("10.0.0.9")]));
    node.take(Change::Resolved { name: "web.example.org".into(), addresses: Err("time-out".into()) });
    assert_eq!(node.wanted(), [global("10.0.0.9/32")]);
    node.take(both(Families::Ipv4First, true));
    assert_eq!(node.verdict("web"), Verdict::Nowhere(Why::Unresolved));
    assert!(node.take(Change::ServiceGone(Key::new("default", "web"))).names);
    assert_eq!(node.services.names().count(), 0);
}

#[test]
fn the_class_decides_as_the_manager_says() {
    let taken = |class: Option<&str>, name: &str, only: bool, legacy: bool| {
        let options = Options { class_name: name.into(), class_only: only, class_legacy: legacy, ..options() };
        let mut node = Node::new(options);
        node.backed(Service { class: class.map(Into::into), ..service("web").at("10.0.0.5") });
        let ours = !node.wanted().is_empty();
        assert_eq!(ours, node.verdict("web") != Verdict::Nowhere(Why::Class));
        ours
    };
    let ours = "kube-vip.io/kube-vip-class";
    // class, only, legacy
    for (class, only, legacy, expected) in [
        (None, false, true, true),
        (None, true, true, false),
        (Some(ours), false, true, true),
        (Some(ours), true, true, true),
        (Some("other"), false, true, false),
        (None, false, false, false),
        (Some(ours), false, false, true),
        (Some("other"), false, false, false),
    ] {
        assert_eq!(taken(class, ours, only, legacy), expected, "class {class:?}, only {only}, legacy {legacy}");
    }
    // Set, but empty, with legacy handling off: Services without a class, and only they.
    assert!(taken(None, "", false, false));
    assert!(!taken(Some(ours), "", false, false));
}

#[test]
fn other_namespaces_and_ignored_services_are_left_alone_and_ignoring_withdraws() {
    let mut node = Node::new(Options { namespace: Some("apps".into()), ..options() });
    node.backed(service("web").at("10.0.0.5"));
    assert_eq!(node.verdict("web"), Verdict::Nowhere(Why::Namespace));
    let mut node = Node::new(options());
    node.backed(service("web").at("10.0.0.5"));
    node.held("10.0.0.5", true);
    let touched = node.take(Change::Service(service("web").at("10.0.0.5").with("ignore", "true")));
    assert_eq!(touched.addresses, BTreeSet::from([ip("10.0.0.5")]));
    assert!(node.wanted().is_empty());
    assert_eq!(node.verdict("web"), Verdict::Nowhere(Why::Ignored));
    let expected = ["AddressWithdrawn no longer announced: the Service is annotated with kube-vip.io/ignore"];
    assert_eq!(told(&touched), expected);
    node.held("10.0.0.5", false);
    node.take(Change::Service(service("web").at("10.0.0.5").with("ignore", "false")));
    assert_eq!(node.wanted(), [global("10.0.0.5/32")]);
}

#[test]
fn what_is_not_built_or_cannot_work_is_refused_with_its_reason() {
    let with = |name: &str, value: &str| service("web").at("10.0.0.5").with(name, value);
    for (refused, expected) in [
        (service("web").at("0.0.0.0"), "not_supported: an address from DHCP (0.0.0.0 or ::)"),
        (service("web").at("10.0.0.5,::"), "not_supported: an address from DHCP"),
        (with("ddns", "1"), "not_supported: kube-vip.io/ddns"),
        (with("ddns", "ja"), "invalid_config: kube-vip.io/ddns: \"ja\" is neither true nor false"),
        (with("egress", "true"), "not_supported: kube-vip.io/egress"),
        (service("web").at("10.0.0.300"), "\"10.0.0.300\" is not an IP address or a DNS name"),
        (service("web").at("10.0.0.5/24"), "\"10.0.0.5/24\" is not"),
        (Service { load_balancer_ip: "vip.example".into(), ..service("web") }, "spec.loadBalancerIP: \"vip.example\""),
        (service("web").at("127.0.0.1"), "127.0.0.1 is a loopback address"),
        (service("web").at("224.0.0.18"), "224.0.0.18 is a multicast address"),
        (service("web").at("fe80::5"), "fe80::5 is a link-local address"),
        (with("leaseName", "apps/web").local(), "kube-vip.io/leaseName needs externalTrafficPolicy Cluster"),
        (with("serviceVLAN", "eth0.4095"), "\"eth0.4095\" is not a VLAN interface"),
        (with("serviceVLAN", "eth0.200"), "eth0.200 does not exist on node node-1 and VLAN interfaces are not made"),
        (with("serviceInterface", "eth9"), "serviceInterface: eth9 does not exist on node node-1"),
    ] {
        let mut node = Node::new(options());
        node.holder("kube-system/plndr-svcs-lock", "node-1");
        let touched = node.backed(refused.clone());
        assert!(node.refused("web").contains(expected), "{}\nexpected: {expected}", node.refused("web"));
        assert!(node.wanted().is_empty());
        assert!(told(&touched)[0].starts_with("ServiceRefused "), "{:?}", told(&touched));
        // Said once; put right, it is announced.
        assert!(told(&node.take(Change::Service(refused))).is_empty());
        node.take(Change::Service(service("web").at("10.0.0.5")));
        assert_eq!(node.wanted(), [global("10.0.0.5/32")]);
    }
    let mut node = Node::new(Options { upnp: true, ..options() });
    node.backed(with("forwardUPNP", "true"));
    assert!(node.refused("web").contains("forwardUPNP"));
    let mut node = Node::new(per_service());
    node.backed(with("leaseName", "Web_1"));
    assert!(node.refused("web").contains("\"Web_1\" is not the name of a Lease"));
    // All nodes see a refused Service; one Lease for all has one holder to tell.
    let mut node = Node::new(options());
    node.holder("kube-system/plndr-svcs-lock", "node-2");
    assert!(told(&node.backed(with("egress", "true"))).is_empty());
    // The next holder tells what nobody may have told, once.
    assert_eq!(told(&node.holder("kube-system/plndr-svcs-lock", "node-1")).len(), 1);
    node.holder("kube-system/plndr-svcs-lock", "");
    assert!(told(&node.holder("kube-system/plndr-svcs-lock", "node-1")).is_empty());
    assert_eq!(
        node.services.errors().map(|(_, reason, count)| (reason, count)).collect::<Vec<_>>(),
        [("not_supported", 1)]
    );
}

#[test]
fn more_addresses_than_a_service_may_have_are_refused() {
    let all: Vec<String> = (0..=ADDRESSES_MAX).map(|n| format!("10.0.1.{n}")).collect();
    let mut node = Node::new(options());
    node.backed(service("web").at(&all.join(",")));
    assert!(node.refused("web").contains("more than 16 addresses"));
}

#[test]
fn the_interface_is_the_annotations_or_the_configured_one_or_found_by_subnet() {
    let placed = |options: Options, annotation: Option<&str>, address: &str| {
        let mut node = Node::new(options);
        let service = service("web").at(address);
        node.backed(match annotation {
            Some(value) => service.with("serviceInterface", value),
            None => service,
        });
        node.services.all_wanted().map(|wanted| format!("{} {}", wanted.interface, wanted.prefix)).collect::<String>()
    };
    let auto = || Options { placement: Placement::Auto, ..options() };
    let named = || Options { placement: Placement::Named("eth1".into()), ..options() };
    let subnet = || Options { prefix4: Prefix::Auto, prefix6: Prefix::Auto, ..options() };
    assert_eq!(placed(options(), None, "192.168.9.9"), "eth0 32");
    assert_eq!(placed(options(), Some("eth1"), "10.0.0.5"), "eth1 32");
    assert_eq!(placed(options(), Some("auto"), "192.168.9.9"), "eth1 32");
    assert_eq!(placed(named(), Some("auto"), "172.16.0.1"), "eth1 32");
    assert_eq!(placed(named(), None, "10.0.0.5"), "eth1 32");
    assert_eq!(placed(auto(), None, "192.168.9.9"), "eth1 32");
    assert_eq!(placed(auto(), None, "fd00::7"), "eth0 128");
    assert_eq!(placed(auto(), None, "172.16.0.1"), "eth0 32");
    assert_eq!(placed(subnet(), None, "10.0.0.5"), "eth0 24");
    assert_eq!(placed(subnet(), None, "fd00::7"), "eth0 64");
    assert_eq!(placed(subnet(), None, "172.16.0.1"), "");
    assert_eq!(placed(Options { prefix4: Prefix::Length(24), ..options() }, None, "10.0.0.5"), "eth0 24");
}

#[test]
fn an_interface_that_comes_and_goes_takes_the_address_along() {
    let mut node = Node::new(options());
    node.backed(service("web").at("10.0.0.5").with("serviceVLAN", "eth1.7"));
    assert!(node.refused("web").contains("create it there"));
    let mut more = host();
    more.push(Interface { name: "eth1.7".into(), addresses: vec![] });
    let touched = node.take(Change::Host(more));
    assert_eq!(touched.addresses, BTreeSet::from([ip("10.0.0.5")]));
    assert_eq!(node.wanted(), ["10.0.0.5/32 eth1.7 kube-system/plndr-svcs-lock"]);
    node.take(Change::Host(host()));
    assert!(node.wanted().is_empty());
}
