//! Flags and environment: what they mean, and which of them counts.

use baton_core::settings::{BalancerKind, Ownership};

use crate::{lines, load_with};

const FILE: &str = "\
localPeer: {id: a, address: 192.0.2.1}
remotePeers: [{id: b, address: 192.0.2.2}, {id: c, address: 192.0.2.3}]
vip: 192.0.2.75
interface: eth0
loadBalancers:
- {name: one, port: 6443, backends: [{address: 192.0.2.1, port: 6444}]}
- {name: two, port: 80, backends: [{address: 192.0.2.1, port: 8080}]}
";

fn ownership(flags: &[(&str, &str)], env: &[(&str, &str)]) -> Ownership {
    load_with(Some(FILE), flags, env).unwrap().settings.ownership
}

fn refused(text: Option<&str>, flags: &[(&str, &str)], env: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(lines(&load_with(text, flags, env).unwrap_err()), expected);
}

#[test]
fn environment_over_flag_over_file() {
    let vip = |flags: &[(&str, &str)], env: &[(&str, &str)]| ownership(flags, env).vips[0].address.to_string();
    assert_eq!(vip(&[], &[]), "192.0.2.75");
    assert_eq!(vip(&[("vip", "192.0.2.76")], &[]), "192.0.2.76");
    assert_eq!(vip(&[("vip", "192.0.2.76"), ("vip", "192.0.2.77")], &[]), "192.0.2.77");
    assert_eq!(vip(&[("vip", "192.0.2.76")], &[("vip_address", "192.0.2.78")]), "192.0.2.78");
    assert_eq!(vip(&[("vip", "192.0.2.76")], &[("vip_address", "")]), "192.0.2.76");
    assert_eq!(vip(&[("vip", "")], &[("VIP_ADDRESS", "192.0.2.79")]), "192.0.2.75");
}

#[test]
fn booleans_are_gos() {
    for word in ["1", "t", "T", "true", "True", "TRUE"] {
        assert!(ownership(&[], &[("vip_startleader", word)]).start_as_leader, "{word}");
        assert!(ownership(&[("startAsLeader", word)], &[]).start_as_leader, "{word}");
    }
    for word in ["0", "f", "F", "false", "False", "FALSE", ""] {
        assert!(!ownership(&[], &[("vip_startleader", word)]).start_as_leader, "{word}");
    }
    let expected = "expected 1, t, T, true, True, TRUE, 0, f, F, false, False or FALSE";
    for word in ["yes", "on", "tRUE", "2", " true"] {
        let env = format!("environment variable vip_startleader: startAsLeader: is not a boolean ({word}), {expected}");
        refused(Some(FILE), &[], &[("vip_startleader", word)], &[&env]);
        let flag = format!("flag --startAsLeader: startAsLeader: is not a boolean ({word}), {expected}");
        refused(Some(FILE), &[("startAsLeader", word)], &[], &[&flag]);
    }
}

#[test]
fn numbers_are_decimal() {
    let port =
        |text: &str| load_with(Some(FILE), &[], &[("lb_port", text)]).unwrap().settings.balancers[0].listen[0].port();
    assert_eq!((port("10000"), port("6443"), port("8080"), port("0644")), (10000, 6443, 8080, 644));
    for (text, what) in [
        ("0x10", "is not a whole number"),
        ("80a", "is not a whole number"),
        ("65536", "is out of range"),
        ("0", "is out of range"),
    ] {
        let line = format!(
            "environment variable lb_port: loadBalancers[0].port: {what} ({text}), expected a whole number from 1 to 65535"
        );
        refused(Some(FILE), &[], &[("lb_port", text)], &[&line]);
    }
}

#[test]
fn they_apply_to_the_first_load_balancer() {
    let env = [
        ("lb_name", "uno"),
        ("lb_type", "HTTP"),
        ("lb_port", "81"),
        ("lb_bindtovip", "1"),
        ("lb_backends", "web1:80,[2001:db8::5]:81,"),
    ];
    let balancers = load_with(Some(FILE), &[], &env).unwrap().settings.balancers;
    let first = &balancers[0];
    assert_eq!((first.name.as_str(), first.kind, first.bind_to_vip), ("uno", BalancerKind::Http, true));
    assert_eq!(first.listen, ["192.0.2.75:81".parse().unwrap()]);
    let hosts: Vec<_> = first.backends.iter().map(|b| (b.host.as_str(), b.port)).collect();
    assert_eq!(hosts, [("web1", 80), ("2001:db8::5", 81)]);
    assert_eq!(balancers[1].name, "two");
}

#[test]
fn flags_alone_are_enough() {
    let flags = [
        ("interface", "eth0"),
        ("vip", "192.0.2.75"),
        ("localPeer", "server1:192.0.2.1:10001"),
        ("remotePeers", "server2:192.0.2.2:10000,server3:192.0.2.3:10000"),
        ("arp", "false"),
        ("lbPort", "6443"),
        ("lbName", "api"),
        ("lbType", "tcp"),
        ("lbBindToVip", "true"),
        ("lbBackends", "192.0.2.1:6444,192.0.2.2:6444"),
        ("admin", "127.0.0.1:2112"),
    ];
    let loaded = load_with(None, &flags, &[]).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", lines(&loaded.warnings));
    let o = &loaded.settings.ownership;
    assert_eq!(o.local.unwrap().to_string(), "192.0.2.1:10001");
    assert_eq!(o.peers.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["server2", "server3"]);
    assert_eq!(o.refresh, None);
    assert_eq!(loaded.settings.balancers[0].backends.len(), 2);
    assert_eq!(loaded.settings.admin, Some("127.0.0.1:2112".parse().unwrap()));
}

#[test]
fn peers_in_one_text() {
    let peers = |text: &str| {
        ownership(&[], &[("vip_peers", text)]).peers.iter().map(|p| p.address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(peers("b:192.0.2.9:1, c:192.0.2.8:2 ,"), ["192.0.2.8:2", "192.0.2.9:1"]);
    let v6 = load_with(Some(FILE), &[], &[("vip_localpeer", "a:2001:db8::1:7"), ("vip_peers", "b:[2001:db8::2]:8")])
        .unwrap();
    assert_eq!(v6.settings.ownership.local.unwrap().to_string(), "[2001:db8::1]:7");
    assert_eq!(v6.settings.ownership.peers[0].address.to_string(), "[2001:db8::2]:8");
    let expected = "expected id:address:port, such as server1:192.0.2.1:10000";
    refused(
        Some(FILE),
        &[],
        &[("vip_peers", "b:192.0.2.2:1,c")],
        &[&format!("environment variable vip_peers: remotePeers[1]: is not a peer (c), {expected}")],
    );
    let port = "environment variable vip_localpeer: localPeer.port: is not a whole number (x), expected a whole number from 1 to 65535";
    refused(Some(FILE), &[], &[("vip_localpeer", "a:192.0.2.1:x")], &[port]);
    let backend = "environment variable lb_backends: loadBalancers[0].backends[0]: is not a backend (web), expected address:port, such as 192.0.2.1:6443";
    refused(Some(FILE), &[], &[("lb_backends", "web")], &[backend]);
    assert_eq!(ownership(&[], &[("vip_remotepeers", "z:192.0.2.9:1")]).peers[0].id, "z");
    assert_eq!(
        ownership(&[], &[("vip_remotepeers", "z:192.0.2.9:1"), ("vip_peers", "y:192.0.2.8:1")]).peers[0].id,
        "y"
    );
}

/// What `kube-vip kubeadm init` of 0.1.5 generated: the environment of the first node.
const KUBEADM: &[(&str, &str)] = &[
    ("vip_arp", "true"),
    ("vip_interface", "eth0"),
    ("vip_address", "192.0.2.75"),
    ("vip_startleader", "true"),
    ("vip_addpeerstolb", "true"),
    ("vip_localpeer", "host1:192.0.2.1:10000"),
    ("lb_backendport", "6443"),
    ("lb_name", "Kubeadm Load Balancer"),
    ("lb_type", "tcp"),
    ("lb_bindtovip", "true"),
];

const NO_PORT: &str = "configuration: warning: loadBalancers[0].port: is missing, so nothing listens: clients of the \
    virtual IP reach the holder's own servers, expected lb_port, if connections are to be balanced";

#[test]
fn manifests_of_kubeadm_init() {
    let loaded = load_with(None, &[], KUBEADM).unwrap();
    assert_eq!(lines(&loaded.warnings), [NO_PORT]);
    let o = &loaded.settings.ownership;
    assert!(o.start_as_leader && o.peers.is_empty());
    assert_eq!((o.node.as_str(), o.local.unwrap().to_string().as_str()), ("host1", "192.0.2.1:10000"));
    assert_eq!(o.vips[0].interface, "eth0");
    assert!(loaded.settings.balancers.is_empty());
}

#[test]
fn manifests_of_kubeadm_join() {
    let mut env = KUBEADM.to_vec();
    env[3].1 = "false";
    env.push(("vip_peers", "host2:192.0.2.2:10000,host3:192.0.2.3:10000"));
    let loaded = load_with(None, &[], &env).unwrap();
    assert_eq!(lines(&loaded.warnings), [NO_PORT]);
    assert_eq!(loaded.settings.ownership.peers.len(), 2);
    env.push(("lb_port", "7443"));
    let loaded = load_with(None, &[], &env).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", lines(&loaded.warnings));
    let balancer = &loaded.settings.balancers[0];
    assert_eq!(balancer.listen, ["192.0.2.75:7443".parse().unwrap()]);
    let hosts: Vec<_> = balancer.backends.iter().map(|b| (b.host.as_str(), b.port)).collect();
    assert_eq!(hosts, [("192.0.2.1", 6443), ("192.0.2.2", 6443), ("192.0.2.3", 6443)]);
}

#[test]
fn without_anything() {
    refused(
        None,
        &[],
        &[],
        &[
            "configuration: localPeer: is missing, expected this node's id, address and port; or singleNode: true for a node without peers",
            "configuration: vip: is missing, expected the address to keep, such as 192.0.2.10",
        ],
    );
}

#[test]
fn disable_vip_needs_a_single_node() {
    let line = "flag --disableVIP: disableVIP: needs a node without peers (true), expected singleNode: true beside it";
    refused(Some(FILE), &[("disableVIP", "true")], &[], &[line]);
    let text = "singleNode: true\nloadBalancers: [{port: 80, bindToVip: true, backends: [{address: web, port: 80}]}]\n";
    let loaded = load_with(Some(text), &[("disableVIP", "true")], &[]).unwrap();
    assert!(loaded.settings.balancers.is_empty());
    let warning =
        "f.yaml:2:17: warning: loadBalancers[0]: is not started: it binds to the virtual IP, and disableVIP is given";
    assert_eq!(lines(&loaded.warnings), [warning]);
}

#[test]
fn what_has_no_effect_is_said() {
    let loaded = load_with(
        Some(FILE),
        &[("inCluster", "true"), ("kubeConfig", "/x")],
        &[("vip_leaderelection", "true"), ("bgp_enable", "false")],
    )
    .unwrap();
    let why = "has no effect: ownership is decided by the peers; `start` does not use Kubernetes";
    assert_eq!(
        lines(&loaded.warnings),
        [
            format!("environment variable vip_leaderelection: warning: leaderElection: {why}"),
            format!("flag --inCluster: warning: inCluster: {why}"),
            format!("flag --kubeConfig: warning: kubeConfig: {why}"),
        ]
    );
    refused(Some(FILE), &[("viip", "x")], &[], &["flag --viip: viip: is not a known flag (x)"]);
}

#[test]
fn unknown_variables_never_fail() {
    let env = [("PATH", "/bin"), ("vip_wireguard", "maybe"), ("lb_enable", "x"), ("port", "eighty")];
    assert!(load_with(Some(FILE), &[], &env).unwrap().warnings.is_empty());
}
