//! What accepted files mean.

use std::time::Duration;

use baton_config::{HostFacts, Place, StartArgs, start};
use baton_core::settings::{Backend, BalancerKind, Check, CheckKind, Key, Url};

use crate::{accepted, key_file, load, load_with};

/// The example of kube-vip's documentation up to 0.1.4.
const OLD: &str = "\
localPeer:
  id: server1
  address: 192.0.2.1
  port: 10000
remotePeers:
- id: server2
  address: 192.0.2.2
  port: 10000
- id: server3
  address: 192.0.2.3
  port: 10000
vip: 192.0.2.75
gratuitousARP: true
singleNode: false
startAsLeader: false
interface: eth0
loadBalancers:
- name: Kubernetes Control Plane
  type: tcp
  port: 6443
  bindToVip: true
  backends:
  - port: 6444
    address: 192.0.2.1
  - port: 6444
    address: 192.0.2.2
";

/// The same as 0.1.5 and later printed it.
const NEW: &str = "\
AddPeersAsBackends: false
GratuitousARP: true
Interface: eth0
LoadBalancers:
- BackendPort: 0
  Backends:
  - Address: 192.0.2.1
    ParsedURL: null
    Port: 6444
    RawURL: \"\"
  - Address: 192.0.2.2
    ParsedURL: null
    Port: 6444
    RawURL: \"\"
  BindToVip: true
  Name: Kubernetes Control Plane
  Port: 6443
  Type: tcp
LocalPeer:
  Address: 192.0.2.1
  ID: server1
  Port: 10000
RemotePeers:
- Address: 192.0.2.2
  ID: server2
  Port: 10000
- Address: 192.0.2.3
  ID: server3
  Port: 10000
SingleNode: false
StartAsLeader: false
VIP: 192.0.2.75
";

#[test]
fn both_spellings_mean_the_same() {
    let old = accepted(OLD, &[]).settings;
    assert_eq!(old, accepted(NEW, &[]).settings);
    let mixed: String = OLD.to_uppercase().replace("ETH0", "eth0").replace("TRUE", "true").replace("FALSE", "false");
    let mixed = mixed.replace("SERVER", "server").replace("KUBERNETES CONTROL PLANE", "Kubernetes Control Plane");
    assert_eq!(old, accepted(&mixed, &[]).settings);
    assert_eq!(old.ownership.node, "server1");
    assert_eq!(old.ownership.local, Some("192.0.2.1:10000".parse().unwrap()));
    assert_eq!(old.ownership.peers.len(), 2);
    assert_eq!(old.ownership.vips[0].prefix, 32);
    assert_eq!(old.balancers[0].listen, ["192.0.2.75:6443".parse().unwrap()]);
    assert_eq!(old.balancers[0].backends[1].host, "192.0.2.2");
    assert_eq!(old.ownership.refresh, Some(Duration::from_secs(5)));
}

#[test]
fn one_list_serves_all_nodes() {
    let text = OLD.replace("remotePeers:\n", "remotePeers:\n- {id: server1, address: 192.0.2.1, port: 10000}\n");
    assert_eq!(accepted(&text, &[]).settings, accepted(OLD, &[]).settings);
}

#[test]
fn defaults() {
    let o = accepted(OLD, &[]).settings.ownership;
    assert_eq!((o.lease, o.renewal), (Duration::from_millis(500), Duration::from_millis(100)));
    assert_eq!(
        (o.drain, o.fence, o.force, o.preempt, o.witness),
        (Duration::from_millis(300), true, false, false, false)
    );
    assert!(o.keys.is_empty());
    let check = accepted(OLD, &[]).settings.balancers[0].backends[0].check.clone().unwrap();
    let (interval, timeout) = (Duration::from_secs(1), Duration::from_millis(500));
    assert_eq!(check, Check { kind: CheckKind::Tcp, interval, timeout, rise: 2, fall: 3 });
}

#[test]
fn new_keys() {
    let text = "\
localPeer: {id: a, address: '2001:db8::1'}
remotePeers: [{address: '2001:db8::2', port: 7}, {address: '2001:db8::3'}]
vips: [192.0.2.9, {address: '2001:db8::9', interface: eth1, prefix: 64, priority: 7}]
prefix: 24
priority: 200
lease: 1.5s
renewal: 300ms
peerKey: [0123456789abcdef, fedcba9876543210]
preempt: yes
drain: 0s
refresh: 1m30s
fence: off
force: true
admin: :2112
";
    let settings = accepted(text, &[]).settings;
    let o = settings.ownership;
    assert_eq!(o.local.unwrap().to_string(), "[2001:db8::1]:10000");
    assert_eq!(
        o.peers.iter().map(|p| p.address.to_string()).collect::<Vec<_>>(),
        ["[2001:db8::2]:7", "[2001:db8::3]:10000"]
    );
    assert_eq!(o.peers[0].id, "2001:db8::2");
    let vips: Vec<_> =
        o.vips.iter().map(|v| (v.address.to_string(), v.prefix, v.interface.as_str(), v.priority)).collect();
    assert_eq!(vips, [("192.0.2.9".to_owned(), 24, "eth0", 200), ("2001:db8::9".to_owned(), 64, "eth1", 7)]);
    assert_eq!((o.lease, o.renewal), (Duration::from_millis(1500), Duration::from_millis(300)));
    assert_eq!(o.keys, [Key(b"0123456789abcdef".to_vec()), Key(b"fedcba9876543210".to_vec())]);
    assert_eq!((o.preempt, o.fence, o.force), (true, false, true));
    assert_eq!((o.drain, o.refresh), (Duration::ZERO, Some(Duration::from_secs(90))));
    assert_eq!(settings.admin.unwrap().to_string(), "[::]:2112");
}

#[test]
fn key_files() {
    let with = |key: &str| accepted(&format!("{OLD}peerKeyFile: {key}\n"), &[]).settings.ownership.keys;
    assert_eq!(with("/etc/baton/key"), [Key(b"0123456789abcdef0123456789abcdef".to_vec())]);
    assert_eq!(with("/etc/baton/two").len(), 2);
    assert_eq!(with("[/etc/baton/key]").len(), 1);
}

#[test]
fn no_slow_announcements_when_asked() {
    assert_eq!(accepted(&OLD.replace("ARP: true", "ARP: false"), &[]).settings.ownership.refresh, None);
    assert_eq!(accepted(&OLD.replace("gratuitousARP: true", "refresh: off"), &[]).settings.ownership.refresh, None);
}

const HTTP: &str = "\
singleNode: true
vip: 192.0.2.75
loadBalancers:
- type: HTTP
  port: 80
  cutOnDown: false
  check: {type: http, path: /ready, expect: 200, interval: 200ms, fall: 1}
  backends:
  - url: http://Web1.example:8080/app/
  - rawURL: https://[2001:db8::5]
    check: {type: https, expect: [200, 204, 300-310], timeout: 50ms}
  - {address: web3, port: 81, weight: 7, backup: true, check: none}
  - {address: web4, port: 81, check: tls}
";

#[test]
fn backends_and_checks() {
    let balancer = accepted(HTTP, &[]).settings.balancers.remove(0);
    assert_eq!((balancer.kind, balancer.cut_on_down, balancer.name.as_str()), (BalancerKind::Http, false, "http-80"));
    assert_eq!(balancer.listen, ["[::]:80".parse().unwrap()]);
    let interval = Duration::from_millis(200);
    let http = CheckKind::Http { tls: false, path: "/ready".into(), expect: vec![(200, 200)] };
    let check = Check { kind: http, interval, timeout: interval, rise: 2, fall: 1 };
    let url = Url { tls: false, prefix: "/app".into() };
    let first = Backend {
        host: "web1.example".into(),
        port: 8080,
        url: Some(url),
        weight: 1,
        backup: false,
        check: Some(check.clone()),
    };
    assert_eq!(balancer.backends[0], first);
    let second = &balancer.backends[1];
    assert_eq!((second.host.as_str(), second.port, second.url.as_ref().unwrap().tls), ("2001:db8::5", 443, true));
    let https = CheckKind::Http { tls: true, path: "/ready".into(), expect: vec![(200, 200), (204, 204), (300, 310)] };
    assert_eq!(second.check, Some(Check { kind: https, timeout: Duration::from_millis(50), ..check.clone() }));
    let third = &balancer.backends[2];
    assert_eq!((third.weight, third.backup, &third.check), (7, true, &None));
    assert_eq!(balancer.backends[3].check, Some(Check { kind: CheckKind::Tls, ..check }));
}

#[test]
fn several_addresses_are_all_listened_on() {
    let text = "singleNode: true\nvips: [192.0.2.8, 192.0.2.9]\nloadBalancers: [{port: 80, bindToVip: true, backends: [{address: web, port: 80}]}]\n";
    assert_eq!(
        accepted(text, &[]).settings.balancers[0].listen,
        ["192.0.2.8:80".parse().unwrap(), "192.0.2.9:80".parse().unwrap()]
    );
}

#[test]
fn anchors_and_merges() {
    let text = OLD.replace("- id: server2", "- &two\n  id: server2").replace(
        "- id: server3\n  address: 192.0.2.3\n  port: 10000\n",
        "- {<<: *two, address: 192.0.2.3, id: server3}\n",
    );
    assert_eq!(accepted(&text, &[]).settings, accepted(OLD, &[]).settings);
}

#[test]
fn the_address_key_of_0_1_8() {
    let text = OLD.replace("vip: 192.0.2.75", "vip: \"\"\naddress: 192.0.2.75");
    assert_eq!(accepted(&text, &[]).settings, accepted(OLD, &[]).settings);
}

#[test]
fn peers_as_backends() {
    let text = "\
localPeer: {address: 192.0.2.1}
remotePeers: [{address: 192.0.2.3}, {address: 192.0.2.2}]
vip: 192.0.2.75
addPeersAsBackends: true
loadBalancers: [{port: 6443, bindToVip: true, backendPort: 6444}]
";
    let backends = accepted(text, &[]).settings.balancers.remove(0).backends;
    let hosts: Vec<_> = backends.iter().map(|b| (b.host.as_str(), b.port)).collect();
    assert_eq!(hosts, [("192.0.2.1", 6444), ("192.0.2.2", 6444), ("192.0.2.3", 6444)]);
}

#[test]
fn balancers_without_an_address() {
    let text = "singleNode: true\nloadBalancers: [{port: 80, backends: [{address: web, port: 80}]}]\n";
    let loaded = load_with(Some(text), &[("disableVIP", "true")], &[]).unwrap();
    assert!(loaded.settings.ownership.vips.is_empty());
    assert_eq!(loaded.settings.balancers.len(), 1);
}

#[test]
fn a_witness_needs_no_interface() {
    let text = OLD.replace("interface: eth0", "interface: ens192\nwitness: true");
    let o = accepted(&text, &[]).settings.ownership;
    assert!(o.witness && o.vips.len() == 1);
}

#[test]
fn positions_of_keys() {
    let loaded = accepted(OLD, &[]);
    let at = |line, column| Place::File { line, column };
    assert_eq!(loaded.position_of("localPeer.port"), at(4, 9));
    assert_eq!(loaded.position_of("loadBalancers[0].port"), at(20, 9));
    assert_eq!(loaded.position_of("loadBalancers[0].cutOnDown"), at(18, 3));
    assert_eq!(loaded.position_of("lease"), at(1, 1));
    assert_eq!(loaded.balancer_key("Kubernetes Control Plane"), Some("loadBalancers[0]"));
    let message =
        loaded.message(baton_config::Severity::Error, "localPeer.port", "is in use", "10000", "a free UDP port");
    assert_eq!(message.to_string(), "f.yaml:4:9: localPeer.port: is in use (10000), expected a free UDP port");
}

#[test]
fn positions_follow_the_source_of_a_value() {
    let loaded = load_with(Some(OLD), &[("interface", "eth1")], &[("lb_port", "7443")]).unwrap();
    assert_eq!(loaded.position_of("interface"), Place::Flag("interface".into()));
    assert_eq!(loaded.position_of("loadBalancers[0].port"), Place::Environment("lb_port".into()));
}

#[test]
fn a_file_for_another_host_is_not_held_against_this_one() {
    let text = "localPeer: {address: 203.0.113.7}\nremotePeers: [{address: 203.0.113.8}]\nvip: 203.0.113.9\ninterface: bond7\n";
    assert!(load(text).is_err(), "the host of the tests has neither the address nor the interface");
    let read = |host: &HostFacts| start(&StartArgs::default(), &[], Some(("f.yaml", text)), host, &key_file, false);
    let elsewhere = read(&HostFacts::default()).expect("nothing is known of the other host");
    assert_eq!(elsewhere.settings.ownership.vips[0].interface, "bond7");
}
