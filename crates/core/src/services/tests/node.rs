//! Endpoints, what is written, what is told, and the explanation.

use super::*;

#[test]
fn cluster_needs_any_endpoint_that_answers_and_local_one_of_this_node() {
    let wanted = |service: Service, endpoints: &[&str]| {
        let mut node = Node::new(options());
        node.take(Change::Slice(slice("web", endpoints)));
        node.take(Change::Service(service));
        !node.wanted().is_empty()
    };
    let cluster = || service("web").at("10.0.0.5");
    let local = || cluster().local();
    assert!(wanted(cluster(), &["node-2"]));
    assert!(wanted(cluster(), &["node-2!"]));
    assert!(!wanted(cluster(), &["node-2-"]));
    assert!(!wanted(cluster(), &[]));
    assert!(wanted(cluster().with("allow-reconcile-without-endpoints", "True"), &[]));
    assert!(wanted(local(), &["node-1", "node-2"]));
    assert!(!wanted(local(), &["node-2"]));
    assert!(!wanted(local().with("allow-reconcile-without-endpoints", "true"), &[]));
    // The last terminating ones keep the address while there is nothing better; then they hand it over while they still answer.
    assert!(wanted(local(), &["node-1!"]));
    assert!(!wanted(local(), &["node-1!", "node-2"]));
    assert!(wanted(local(), &["node-1!", "node-2!"]));
    assert!(!wanted(local(), &["node-1-"]));
}

#[test]
fn an_endpoint_that_does_not_say_its_node_is_known_by_its_host_name() {
    let endpoint = |node: &str, hostname: &str| Endpoint {
        node: node.into(),
        hostname: hostname.into(),
        ready: true,
        serving: true,
    };
    let here = |endpoint| Backing::count(&[endpoint], "node-1").ready_here == 1;
    assert!(here(endpoint("node-1", "web-0")));
    assert!(here(endpoint("", "node-1")));
    assert!(!here(endpoint("node-2", "node-1")));
}

#[test]
fn all_slices_count_and_one_that_is_deleted_or_changes_its_service_counts_no_more() {
    let mut node = Node::new(options());
    node.take(Change::Service(service("web").at("10.0.0.5").local()));
    for (name, endpoints) in [("web-1", ["node-2"]), ("web-2", ["node-1"]), ("web-3", ["node-3"])] {
        node.take(Change::Slice(slice_named(name, "web", &endpoints)));
    }
    assert_eq!(node.wanted().len(), 1);
    node.take(Change::SliceGone(Key::new("default", "web-3")));
    assert_eq!(node.wanted().len(), 1);
    node.take(Change::Slice(slice_named("web-2", "other", &["node-1"])));
    assert!(node.wanted().is_empty());
    assert_eq!(node.services.backing(&Key::new("default", "web")).ready_elsewhere, 1);
    // A new list replaces what was known.
    node.take(Change::Slices(vec![slice_named("web-9", "web", &["node-1"])]));
    assert_eq!(node.wanted().len(), 1);
    node.take(Change::Slices(vec![]));
    assert!(node.wanted().is_empty());
}

#[test]
fn nothing_is_wanted_before_everything_is_read() {
    let mut node = Node { services: Services::new(options()), now: Time::ZERO };
    node.take(Change::Slices(vec![slice("web", &["node-1"])]));
    node.take(Change::Host(host()));
    assert!(!node.services.ready());
    let touched = node.take(Change::Services(vec![service("web").at("10.0.0.5")]));
    assert!(node.services.ready());
    assert_eq!(touched.addresses, BTreeSet::from([ip("10.0.0.5")]));
}

#[test]
fn the_holder_writes_host_and_status_once() {
    let mut node = Node::new(options());
    let both = || service("web").at("10.0.0.5,fd00::5");
    node.backed(both());
    assert_eq!((node.plan("web").vip_host, node.plan("web").ingress), (None, None));
    let touched = node.held("10.0.0.5", true);
    assert_eq!(touched.services, BTreeSet::from([Key::new("default", "web")]));
    let plan = node.plan("web");
    assert_eq!(plan.vip_host.as_deref(), Some("node-1"));
    let ingress = plan.ingress.expect("to be written");
    assert_eq!(ingress.iter().map(|entry| entry.ip.as_ref()).collect::<Vec<_>>(), ["10.0.0.5", "fd00::5"]);
    assert_eq!(ingress[0].ports, both().ports);
    // Written: nothing more to write. Other ports: written again.
    let written = both().with("vipHost", "node-1").status(&["10.0.0.5", "fd00::5"]);
    node.take(Change::Service(written.clone()));
    assert_eq!((node.plan("web").vip_host, node.plan("web").ingress), (None, None));
    let ports: Box<[Port]> = Box::new([Port { protocol: Protocol::Udp, port: 53 }]);
    node.take(Change::Service(Service { ports: ports.clone(), ..written }));
    assert_eq!(node.plan("web").ingress.expect("to be written")[1].ports, ports);
    // Who holds only the second address leaves it to the holder of the first.
    node.held("10.0.0.5", false);
    node.held("fd00::5", true);
    assert_eq!((node.plan("web").ingress, node.plan("web").vip_host), (None, None));
}

#[test]
fn disabled_updates_write_nothing() {
    let mut node = Node::new(Options { disable_updates: true, ..options() });
    node.backed(service("web").at("10.0.0.5"));
    node.held("10.0.0.5", true);
    assert_eq!((node.plan("web").vip_host, node.plan("web").ingress), (None, None));
    assert_eq!(node.verdict("web"), Verdict::Here);
}

#[test]
fn assigned_moved_and_withdrawn_are_told_once_and_a_restart_is_not() {
    let mut node = Node::new(options());
    node.backed(service("web").at("10.0.0.5"));
    assert_eq!(told(&node.held("10.0.0.5", true)), ["AddressAssigned 10.0.0.5 is announced by node node-1"]);
    assert!(told(&node.held("10.0.0.5", true)).is_empty());
    // Another node takes it: that one tells.
    assert!(told(&node.held("10.0.0.5", false)).is_empty());
    node.take(Change::Service(service("web").at("10.0.0.5").with("vipHost", "node-2")));
    assert_eq!(told(&node.held("10.0.0.5", true)), ["AddressMoved 10.0.0.5 moved from node node-2 to node node-1"]);
    node.take(Change::Slice(slice("web", &[])));
    assert_eq!(told(&node.held("10.0.0.5", false)), ["AddressWithdrawn no longer announced: no endpoint answers"]);
    let mut node = Node::new(options());
    node.backed(service("web").at("10.0.0.5").with("vipHost", "node-1"));
    assert!(told(&node.held("10.0.0.5", true)).is_empty());
}

#[test]
fn one_node_tells_what_all_know_and_each_what_it_lacks() {
    let refused = || service("dhcp").at("0.0.0.0");
    let mut node = Node::new(per_service());
    assert_eq!(told(&node.backed(refused())).len(), 1);
    // With something to hold, the first of those that hold anything.
    let mut node = Node::new(per_service());
    node.backed(service("web").at("10.0.0.5"));
    assert!(told(&node.backed(refused())).is_empty());
    assert!(told(&node.holder("default/kubevip-web", "node-0")).is_empty());
    assert!(told(&node.holder("default/kubevip-x", "node-1")).is_empty());
    assert_eq!(told(&node.backed(service("vlan").at("10.0.0.6").with("serviceVLAN", "eth0.7"))).len(), 1);
    assert_eq!(told(&node.holder("default/kubevip-web", "node-2")).len(), 1);
    assert!(told(&node.holder("default/kubevip-web", "")).is_empty());
}

/// Services come and go for years; what nobody campaigns for is not told about any more.
#[test]
fn the_holder_of_a_lease_that_nobody_wants_is_forgotten() {
    let mut node = Node::new(per_service());
    node.backed(service("web").at("10.0.0.5"));
    node.holder("default/kubevip-web", "node-2");
    assert_eq!((node.services.holders.len(), node.services.speakers.len()), (1, 1));
    node.take(Change::ServiceGone(Key::new("default", "web")));
    // Another Service may get its address: until its former holder cannot have it any more, he matters.
    node.wait(15);
    assert_eq!((node.services.holders.len(), node.services.speakers.len()), (0, 0));
}

#[test]
fn an_event_names_the_addresses_that_are_about_to_follow() {
    let mut node = Node::new(options());
    node.backed(service("web").at("10.0.0.5,fd00::5"));
    node.holder("kube-system/plndr-svcs-lock", "node-1");
    let expected = ["AddressAssigned 10.0.0.5, fd00::5 is announced by node node-1"];
    assert_eq!(told(&node.held("10.0.0.5", true)), expected);
    assert!(told(&node.held("fd00::5", true)).is_empty());
}

#[test]
fn another_type_withdraws() {
    let mut node = Node::new(options());
    node.backed(service("web").at("10.0.0.5"));
    node.held("10.0.0.5", true);
    let touched = node.take(Change::Service(Service { load_balancer: false, ..service("web").at("10.0.0.5") }));
    assert_eq!(touched.addresses, BTreeSet::from([ip("10.0.0.5")]));
    assert_eq!(told(&touched), ["AddressWithdrawn no longer announced: its type is not LoadBalancer any more"]);
    assert_eq!(node.services.plan(&Key::new("default", "web")), None);
}

#[test]
fn security_lets_the_ports_of_all_its_services_in() {
    let dns = |key: &str| Service { ports: Box::new([Port { protocol: Protocol::Udp, port: 53 }]), ..service(key) };
    let mut node = Node::new(Options { security: true, ..options() });
    node.backed(service("web").at("10.0.0.5"));
    node.backed(dns("dns").at("10.0.0.5"));
    let ports = [Port { protocol: Protocol::Tcp, port: 80 }, Port { protocol: Protocol::Udp, port: 53 }];
    assert_eq!(node.services.security(ip("10.0.0.5")), Security::Only(ports.into()));
    node.backed(dns("dns").at("10.0.0.5").with("ignore-service-security", "true"));
    assert_eq!(node.services.security(ip("10.0.0.5")), Security::Open);
    let mut node = Node::new(options());
    node.backed(service("web").at("10.0.0.5"));
    assert_eq!(node.services.security(ip("10.0.0.5")), Security::Open);
}

#[test]
fn labels_are_valid_for_two_families_and_for_long_names() {
    let valid = |labels: &std::collections::BTreeMap<String, String>| {
        for (name, value) in labels {
            let name = name.strip_prefix(PROVIDED).unwrap_or("has-ip");
            for text in [name, value] {
                let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                assert!(text.len() <= 63 && text.chars().all(inner), "{text}");
                assert!(text.starts_with(char::is_alphanumeric) && text.ends_with(char::is_alphanumeric), "{text}");
            }
        }
    };
    let mut node = Node::new(Options { labels: true, ..options() });
    node.backed(service("web").at("10.0.0.5,fd00::5,10.0.0.6"));
    assert!(node.services.labels().is_empty());
    for address in ["10.0.0.5", "fd00::5", "10.0.0.6"] {
        node.held(address, true);
    }
    let labels = node.services.labels();
    valid(&labels);
    let expected = [
        ("service-provided.kube-vip.io/web.default", "10.0.0.5_10.0.0.6"),
        ("service-provided.kube-vip.io/web.default.ipv6", "fd000000000000000000000000000005"),
    ];
    assert_eq!(labels, expected.map(|(name, value)| (name.into(), value.into())).into());
    let long = "a".repeat(63);
    node.backed(service(&long).at("10.0.0.7"));
    node.held("10.0.0.7", true);
    valid(&node.services.labels());
    assert_eq!(node.services.labels().len(), 3);
    let labels = control_plane_labels(&[ip("fd00::1"), ip("10.0.0.100")]);
    valid(&labels);
    assert_eq!(labels[HAS_IP], "fd000000000000000000000000000001");
    assert_eq!(labels["kube-vip.io/has-ipv4"], "10.0.0.100");
}

#[test]
fn the_explanation_is_the_chain_of_conditions() {
    let mut node = Node::new(per_service());
    node.backed(Service { health_check_node_port: 31234, ..service("web").at("10.0.0.5").local() });
    node.holder("default/kubevip-web", "node-1");
    node.held("10.0.0.5", true);
    let text = node.services.explain(&Key::new("default", "web")).to_string();
    let expected = "\
Service default/web
  ok   type        LoadBalancer
  ok   ignore      not annotated
  ok   class       none; expected: \"kube-vip.io/kube-vip-class\" or none
  ok   address     10.0.0.5 from annotation kube-vip.io/loadbalancerIPs
  ok   interface   10.0.0.5/32 on eth0 (the interface of the control plane)
  ok   endpoints   policy Local: 1 answering on this node, 0 elsewhere
  ok   lease       default/kubevip-web held by node-1
  ok   held        10.0.0.5 answers here
  note healthCheckNodePort 31234 is answered by kube-proxy on the nodes' own addresses
  =>   announced here (node node-1)
";
    assert_eq!(text, expected);
}

#[test]
fn every_explanation_fits_and_ends_with_where() {
    let mut node = Node::new(Options { namespace: Some("default".into()), ..per_service() });
    let everything = service("all")
        .at("10.0.0.5,fd00::5,192.168.1.1")
        .with("flush-conntrack", "true")
        .with("forwardUPNP", "true")
        .local();
    node.backed(Service { health_check_node_port: 31234, ..everything });
    node.backed(service("refused").at("0.0.0.0"));
    node.backed(service("empty"));
    node.backed(service("ignored").at("10.0.0.8").with("ignore", "true"));
    node.backed(service("elsewhere").at("10.0.0.9"));
    node.holder("default/kubevip-elsewhere", "node-2");
    for (name, end) in [
        ("all", "announced nowhere, as far as this node knows: nobody holds the Lease yet"),
        ("refused", "an address from DHCP"),
        ("empty", "it has no address"),
        ("ignored", "it is to be ignored"),
        ("elsewhere", "announced there: by node node-2, as far as the Lease says"),
        ("unknown", "announced nowhere"),
    ] {
        let text = node.services.explain(&Key::new("default", name)).to_string();
        assert!(text.lines().count() <= 15, "{text}");
        let last = text.lines().last().expect("lines");
        assert!(last.starts_with("  =>   announced") && last.contains(end), "{text}");
        assert!(text.contains("  not  "), "{text}");
    }
}
