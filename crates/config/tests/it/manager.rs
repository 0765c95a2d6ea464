//! `baton manager`: flags, environment and file become settings, or messages.

use std::net::IpAddr;
use std::time::Duration;

use baton_config::manager::{
    DnsMode, DumpFacts, LeaseRef, Level, LoadedManager, ManagerArgs, ManagerSettings, Prefix, ServicesInterface,
    Target, manager, manager_file,
};

fn words(line: &str) -> Vec<(String, String)> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap_or((word, "true"));
        (name.to_owned(), value.to_owned())
    };
    line.split_whitespace().map(pair).collect()
}

/// `flags` and `env` as `name=value`, separated by blanks; `--flag` alone is `true`.
fn load(flags: &str, env: &str, file: &str) -> Result<LoadedManager, Vec<String>> {
    let flags: Vec<_> = words(flags).into_iter().map(|(n, v)| (n.trim_start_matches('-').to_owned(), v)).collect();
    let file = (!file.is_empty()).then_some(("kv.yaml", file));
    let args = ManagerArgs { flags: &flags, env: &words(env), file, host: "Node-1", service: false, kube_vip: false };
    manager(&args).map_err(|messages| messages.iter().map(ToString::to_string).collect())
}

fn settings(flags: &str, env: &str, file: &str) -> ManagerSettings {
    load(flags, env, file).unwrap_or_else(|messages| panic!("{flags} {env}\n{file}: {}", messages.join("\n"))).settings
}

fn warnings(flags: &str, env: &str, file: &str) -> Vec<String> {
    let loaded = load(flags, env, file).unwrap_or_else(|messages| panic!("{flags} {env}: {}", messages.join("\n")));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

fn refused(flags: &str, env: &str, file: &str) -> Vec<String> {
    match load(flags, env, file) {
        Ok(loaded) => panic!("{flags} {env}\n{file}\n is not refused: {:?}", loaded.settings),
        Err(messages) => messages,
    }
}

const CP: &str = "--arp --controlplane --address=192.0.2.10 --interface=eth0 --leaderElection";

#[test]
fn what_a_generated_daemonset_asks_for() {
    let env = "vip_arp=true port=6443 vip_nodename=cp-1 vip_interface=ens3 vip_subnet=32 dns_mode=first dhcp_mode=ipv4 \
        cp_enable=true cp_namespace=kube-system svc_enable=true svc_leasename=plndr-svcs-lock vip_leaderelection=true \
        vip_leasename=plndr-cp-lock vip_leaseduration=5 vip_renewdeadline=3 vip_retryperiod=1 \
        address=192.168.205.200 prometheus_server=:2112 PATH=/bin KUBERNETES_SERVICE_HOST=10.43.0.1";
    assert_eq!(warnings("", env, ""), [""; 0]);
    let s = settings("", env, "");
    assert_eq!((s.node.as_str(), s.namespace.as_str(), s.interface.as_deref()), ("cp-1", "kube-system", Some("ens3")));
    assert_eq!((s.subnet.v4, s.subnet.v6), (Prefix::Length(32), Prefix::Length(128)));
    assert_eq!((s.announce_every, s.preserve), (Duration::from_secs(3), false));
    let times = (s.election.duration.as_secs(), s.election.renew_deadline.as_secs(), s.election.retry.as_secs());
    assert_eq!((s.election.asked_for, times), (true, (5, 3, 1)));
    let cp = s.control_plane.expect("it is on");
    let address: IpAddr = "192.168.205.200".parse().expect("an address");
    assert_eq!((cp.addresses, cp.port, cp.dns_mode), (vec![Target::Ip(address)], 6443, DnsMode::First));
    assert_eq!(cp.lease, LeaseRef { namespace: None, name: "plndr-cp-lock".to_owned() });
    assert!(cp.balancer.is_none() && cp.lease_annotations.is_empty());
    let health = cp.health.expect("the local API server is watched");
    assert_eq!((health.url, health.period, health.failures), (None, Duration::from_secs(1), 3));
    let services = s.services.expect("they are on");
    assert_eq!((services.namespace, services.interface), (None, ServicesInterface::Same));
    assert_eq!((services.per_service, services.on_demand, services.security), (false, false, false));
    assert_eq!((services.class.name.as_str(), services.class.only), ("kube-vip.io/kube-vip-class", false));
    assert!(services.class.legacy && services.write_status && !services.endpoints && services.ipam.is_none());
    assert_eq!((s.metrics.map(|m| m.to_string()).as_deref(), s.health_port), (Some("[::]:2112"), None));
    assert_eq!((s.api.config_file.as_str(), s.api.config_file_chosen), ("/etc/kubernetes/admin.conf", false));
}

#[test]
fn environment_over_flag_over_file() {
    let port = |flags: &str, env: &str, file: &str| {
        settings(&format!("{CP} {flags}"), env, file).control_plane.expect("it is on").port
    };
    assert_eq!(port("", "", ""), 6443);
    assert_eq!(port("", "", "port: 1001"), 1001, "a field with a default of its own counts, too");
    assert_eq!(port("--port=1002", "", "port: 1001"), 1002);
    assert_eq!(port("--port=1002 --port=1003", "", ""), 1003, "the last flag counts");
    assert_eq!(port("--port=1002", "port=1004", "port: 1001"), 1004);
    assert_eq!(port("--port=1002", "port=", "port: 1001"), 1002, "an empty variable is not set");
    let legacy =
        |env: &str, file: &str| settings("--arp --services", env, file).services.expect("they are on").class.legacy;
    assert!(legacy("", ""));
    assert!(!legacy("", "LoadBalancerClassLegacyHandling: false"), "an explicit false is a value");
    assert!(legacy("svc_enable=true lb_class_legacy_handling=T", "loadbalancerclasslegacyhandling: false"));
}

#[test]
fn the_gate_of_svc_enable() {
    let on = |env: &str| {
        let s = settings("--arp --services", env, "").services.expect("they are on");
        (s.per_service, s.class.name)
    };
    let class = "kube-vip.io/kube-vip-class".to_owned();
    assert_eq!(on("svc_election=true"), (false, class.clone()), "as kube-vip 1.2");
    assert_eq!(on("svc_election=true svc_enable=1"), (true, class));
    assert_eq!(on("svc_enable=true lb_class_name="), (false, String::new()), "the one variable that may be empty");
    assert_eq!(
        warnings("--arp --services", "svc_election=true", ""),
        ["environment variable svc_election: warning: EnableServicesElection: is not read, as in kube-vip, because \
          svc_enable is not set beside it (true), expected svc_enable=true"]
    );
}

#[test]
fn a_file_by_go_names_and_by_tags() {
    let file = "\
enableARP: true
EnableControlPlane: true
enableservices: yes
address: vip.example.com,2001:db8::10
vipSubnet: 24,64
KubernetesLeaderElection:
  leaseDuration: 30
RenewDeadline: 20
leaseAnnotations: {team: network, b: c}
dnsDualStackMode: dual
controlPlaneHealthCheck:
  address: https://localhost:6443/livez
  periodSeconds: 5
  timeoutSeconds: 9
servicesInterface: auto
prometheusHTTPServer: \"\"
enableLoadBalancer: true
lbPort: 7443
logging: -4
";
    let file = file.replace("lbPort", "LoadBalancerPort");
    let s = settings("", "", &file);
    let cp = s.control_plane.expect("it is on");
    assert_eq!(cp.addresses[0], Target::Name("vip.example.com".to_owned()));
    assert_eq!((cp.addresses.len(), cp.dns_mode), (2, DnsMode::Dual));
    assert_eq!((s.subnet.v4, s.subnet.v6), (Prefix::Length(24), Prefix::Length(64)));
    assert_eq!((s.election.duration, s.election.renew_deadline), (Duration::from_secs(30), Duration::from_secs(20)));
    let pairs: Vec<_> = cp.lease_annotations.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(pairs, ["b=c", "team=network"]);
    let health = cp.health.expect("it is on");
    assert_eq!((health.period, health.timeout), (Duration::from_secs(5), Duration::from_secs(5)));
    assert_eq!(cp.balancer.expect("it is on").port, 7443);
    assert_eq!(
        warnings(
            "--arp --controlplane --address=192.0.2.1 --enableLoadBalancer --lbForwardingMethod=masquerade",
            "",
            ""
        ),
        [
            "flag --lbForwardingMethod: warning: LoadBalancerForwardingMethod: has no effect: the balancer is a proxy of \
          Baton's own, not IPVS (masquerade)"
        ]
    );
    assert_eq!((s.metrics, s.log), (None, Level::Debug));
    assert_eq!(s.services.expect("they are on").interface, ServicesInterface::Auto);
    assert_eq!(s.node, "node-1", "the host's name in lower case");

    let json = r#"{"enableARP": true, "enableServices": true, "ServicesLeaseName": "ns/name", "port": 7000}"#;
    let lease = settings("", "", json).services.expect("they are on").lease;
    assert_eq!(lease, LeaseRef { namespace: Some("ns".to_owned()), name: "name".to_owned() });
}

#[test]
fn everything_wrong_is_told_at_once() {
    let file = "enableARP: \"true\"\nport: 70000\nnonsense: 1\nvip: [1]\nenableARP: true\n";
    let messages = refused(
        "--controlplane --arp --leaseDuration=ten --dnsMode=many --nonsense=1",
        "vip_leaderelection=yes vip_leaseannotations=1 health_check_port=80 prometheus_server=nowhere \
         vip_leasename=UPPER vip_subnet=33x",
        file,
    );
    let expected = "\
kv.yaml:1:12: EnableARP: is quoted, so it is text (true), expected true or false
kv.yaml:2:7: Port: is out of range (70000), expected a whole number from 1 to 65535
kv.yaml:3:11: nonsense: is not a known setting, expected the name of a field of kube-vip's configuration, such as enableARP
kv.yaml:4:6: VIP: is a list, expected text
kv.yaml:5:12: enableARP: is given twice, expected each setting once
environment variable health_check_port: HealthCheckPort: is out of range (80), expected 1024 or above, or 0 for none
environment variable prometheus_server: PrometheusHTTPServer: is not an address to listen on (nowhere), expected :2112, or an IP address and a port such as 127.0.0.1:2112; empty for none
environment variable vip_leaderelection: EnableLeaderElection: is not a boolean (yes), expected 1, t, T, true, True, TRUE, 0, f, F, false, False or FALSE
environment variable vip_leaseannotations: LeaseAnnotations: is not a JSON object of texts (1), expected a JSON object of texts, such as {\"team\":\"network\"}
environment variable vip_leasename: LeaseName: is not the name of a Lease (UPPER), expected name or namespace/name
environment variable vip_subnet: VIPSubnet: is not a prefix length (33x), expected one prefix length (32, /24), two (32,128), or auto
flag --dnsMode: DNSMode: is not a known mode (many), expected first, ipv4, ipv6 or dual
flag --leaseDuration: LeaseDuration: is not a whole number (ten), expected a whole number from 1 to 86400
flag --nonsense: nonsense: is not a known flag (1)
kv.yaml: Address: is missing, and the control plane needs one, expected --address (address): an IP address or a DNS name, several separated by commas";
    assert_eq!(messages.join("\n"), expected);
}

#[test]
fn what_is_not_built_is_refused() {
    let refuse =
        |flags: &str, env: &str| refused(&format!("--services --controlplane --address=192.0.2.1 {flags}"), env, "");
    for (flag, env, what) in [
        ("--bgp", "bgp_enable=true", "EnableBGP: is not in this version: BGP mode"),
        ("--table", "vip_routingtable=1", "EnableRoutingTable: is not in this version: the routing table mode"),
        ("--wireguard", "vip_wireguard=T", "EnableWireguard: is not in this version: WireGuard mode"),
        ("--zebra --arp", "zebra_enable=t", "BGPConfig.Zebra.Enabled: is not in this version: Zebra"),
        ("--ddns --arp", "vip_ddns=true", "DDNS: is not in this version: an address from DHCP (ddns)"),
    ] {
        for messages in [refuse(flag, ""), refuse("", env)] {
            assert_eq!(messages.len(), 1, "{messages:?}");
            assert!(messages[0].contains(what), "{messages:?}");
        }
    }
    assert_eq!(
        refuse("--arp --leaderElectionType=etcd", ""),
        [
            "flag --leaderElectionType: LeaderElectionType: is not in this version (etcd), expected kubernetes, or kube-vip for this"
        ]
    );
    assert_eq!(refuse("", ""), ["configuration: EnableARP: no mode is on, expected --arp (vip_arp=true)"]);
    assert_eq!(
        refused("--arp", "", ""),
        ["configuration: EnableControlPlane, EnableServices: no feature is on, expected --controlplane (cp_enable), \
          --services (svc_enable) or both"]
    );
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let warn = |flags: &str, env: &str| warnings(&format!("{CP} {flags}"), env, "");
    assert_eq!(
        warn("--localAS=65001", "mirror_dest_interface=eth9 egress_withnftables=true enable_upnp=false"),
        [
            "environment variable mirror_dest_interface: warning: MirrorDestInterface: traffic is not mirrored in this version: every Service is refused",
            "flag --localAS: warning: BGPConfig.AS: has no effect: BGP is not in this version",
        ],
        "defaults that manifests spell out are no reason to complain"
    );
    assert_eq!(
        warn(
            "--cidr=32 --promethuesHTTPServer=:9000 --startAsLeader --lbEnable",
            "vip_cidr=32 lb_backends=x lb_name=y"
        ),
        [
            "flag --cidr: warning: cidr: has no effect: addresses are added with vipSubnet",
            "flag --lbEnable: warning: lbEnable: is an old name of --enableLoadBalancer",
            "flag --promethuesHTTPServer: warning: promethuesHTTPServer: is an old name of --prometheusHTTPServer",
            "flag --startAsLeader: warning: startAsLeader: has no effect: kube-vip's Raft ended with 0.4; it is `baton \
             start` now",
        ]
    );
    assert!(settings(&format!("{CP} --lbEnable"), "", "").control_plane.expect("it is on").balancer.is_some());
    assert_eq!(
        settings(&format!("{CP} --prometheusHTTPServer="), "", "").metrics,
        None,
        "an empty flag switches it off"
    );
    assert!(settings(CP, "prometheus_server=", "").metrics.is_some(), "an empty variable does not");
}

#[test]
fn numbers_of_log_levels_old_and_new() {
    let levels = [-8, -4, 0, 2, 3, 4, 5, 6, 8].map(|n: i32| settings(CP, &format!("vip_loglevel={n}"), "").log);
    let expected = [
        Level::Trace,
        Level::Debug,
        Level::Info,
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Debug,
        Level::Trace,
        Level::Error,
    ];
    assert_eq!(levels, expected);
}

#[test]
fn prefix_lengths_by_family() {
    let check = |text: &str, v4: u8, v6: u8| {
        let s = settings(CP, &format!("vip_subnet={text}"), "").subnet;
        assert_eq!((s.v4, s.v6), (Prefix::Length(v4), Prefix::Length(v6)), "{text}");
    };
    check("", 32, 128);
    check("/24", 24, 128);
    check("64", 32, 64);
    check("32,128", 32, 128);
    check("128,32", 32, 128);
    check("24,/64", 24, 64);
    check("32,32,128", 32, 128);
    let services = |subnet: &str| settings("--arp --services", &format!("vip_subnet={subnet}"), "").subnet;
    assert_eq!(services("auto").length("192.0.2.1".parse().expect("an address")), None);
    assert_eq!(services("24").length("192.0.2.1".parse().expect("an address")), Some(24));
    assert_eq!(refused(CP, "vip_subnet=auto", "").len(), 1);
    assert_eq!(refused(CP, "vip_subnet=0", "").len(), 1);
}

#[test]
fn addresses_of_the_control_plane() {
    let of =
        |flags: &str| settings(&format!("--arp --controlplane {flags}"), "", "").control_plane.expect("on").addresses;
    assert_eq!(of("--vip=192.0.2.1"), of("--address=192.0.2.1"), "the older name works without vip_subnet, too");
    assert_eq!(of("--vip=192.0.2.9 --address=192.0.2.1"), of("--address=192.0.2.1"));
    assert_eq!(of("--address=192.0.2.1,fd00::1").len(), 2);
    for wrong in ["192.0.2.1/24", "0.0.0.0", "::1", "fe80::1%eth0", "300.1.1.1", "a_b", "224.0.0.1"] {
        let messages = refused(&format!("--arp --controlplane --address={wrong}"), "", "");
        assert_eq!(messages.len(), 1, "{wrong}: {messages:?}");
        assert!(messages[0].starts_with("flag --address: Address: "), "{wrong}: {messages:?}");
    }
}

#[test]
fn times_of_leases_fit_together() {
    let wrong = |times: &str| refused(&format!("{CP} {times}"), "", "");
    assert_eq!(
        wrong("--leaseDuration=10"),
        ["configuration: RenewDeadline: is too long (10), expected less than LeaseDuration, which is 10"]
    );
    assert_eq!(wrong("--leaseDuration=5 --leaseRenewDuration=3 --leaseRetry=3").len(), 1);
    assert_eq!(wrong("--leaseDuration=0").len(), 1);
    assert_eq!(settings(CP, "vip_arpRate=100", "").announce_every, Duration::from_secs(3));
    let flags = format!("{CP} --loseLeadership --loseLeadershiptTimeoutSeconds=5");
    assert_eq!(warnings(&flags, "vip_loseleadership_timeout_seconds=30", ""), [""; 0]);
    assert_eq!(
        warnings(&flags, "", ""),
        [
            "flag --loseLeadershiptTimeoutSeconds: warning: LoseLeadershipTimeoutSeconds: has no effect: addresses are given \
          up at once when their interface is down"
        ]
    );
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let flags = words("config-file=a config-file=b");
    assert_eq!(manager_file(&flags, &[]).as_deref(), Some("b"));
    assert_eq!(manager_file(&flags, &words("config_file=c")).as_deref(), Some("c"));
    assert_eq!(manager_file(&[], &words("config_file=")), None);
}

#[test]
fn service_and_ipam() {
    let flags = words("arp=true ipam=true configMap=plndr");
    let env = words("KUBEVIP_NAMESPACE=pools KUBEVIP_ENABLE_LOADBALANCERCLASS=true");
    let args = ManagerArgs { flags: &flags, env: &env, file: None, host: "n", service: true, kube_vip: false };
    let loaded = manager(&args).expect("it is accepted");
    let services = loaded.settings.services.expect("`service` means Services");
    let pools = services.ipam.expect("--ipam");
    assert_eq!((pools.namespace.as_str(), pools.config_map.as_str()), ("pools", "kubevip"));
    assert_eq!(pools.class.as_deref(), Some("kube-vip.io/kube-vip-class"));
    assert_eq!(loaded.warnings.len(), 1, "configMap: {:?}", loaded.warnings);
}

#[test]
fn secrets_are_not_repeated() {
    let messages =
        refused("--arp --bgp --services --peerPass=hunter2 --localAS=x", "bgp_peers=192.0.2.1:65000:hunter2:false", "");
    assert!(!messages.join("\n").contains("hunter2"), "{messages:?}");
}

#[test]
fn the_dump() {
    let flags = format!("{CP} --services --peerPass=hunter2 --leaseName=ns/lock");
    let loaded =
        load(&flags, "vip_nodename=n1 svc_enable=true bgp_peers=a:1:hunter2:false", "port: 7443").expect("accepted");
    let services = ["default/web (Type: LoadBalancer, VIPs: 192.0.2.20)".to_owned()];
    let tables = ["baton-eth0".to_owned()];
    let facts = DumpFacts {
        timestamp: "2026-01-02T03:04:05Z",
        pid: 7,
        services: &services,
        tables: &tables,
        ..DumpFacts::default()
    };
    let text = loaded.dump(&facts);
    let line = "=".repeat(80);
    assert!(text.starts_with(&format!("\n{line}\n                   KUBE-VIP CONFIGURATION DUMP\n{line}\nTimestamp: 2026-01-02T03:04:05Z\nNode Name: n1\nProcess ID: 7\n{line}\n")), "{text}");
    let titles: Vec<&str> = text.lines().filter(|line| line.starts_with("--- ")).collect();
    assert_eq!(
        titles,
        [
            "--- BASIC CONFIGURATION ---",
            "--- BGP CONFIGURATION ---",
            "--- ARP/NDP CONFIGURATION ---",
            "--- SERVICES CONFIGURATION ---",
            "--- NETWORK INTERFACES ---",
            "--- LEADER ELECTION CONFIGURATION ---",
            "--- RUNTIME STATISTICS ---",
            "--- NFTABLES ---",
            "--- GIVEN SETTINGS ---",
        ]
    );
    for expected in [
        "VIP: 192.0.2.10",
        "VIP Subnet: 32",
        "Port: 7443",
        "Interface: eth0",
        "ARP Enabled: true",
        "BGP Enabled: false",
        "  Service 1: default/web (Type: LoadBalancer, VIPs: 192.0.2.20)",
        "Lease Name: ns/lock",
        "Lease Duration: 15 seconds",
        "  baton-eth0",
        "Port: 7443 (file, line 1)",
        "NodeName: n1 (environment variable vip_nodename)",
        "LeaseName: ns/lock (flag --leaseName)",
        "BGPPeerConfig.Password: ******** (flag --peerPass)",
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains("hunter2") && !format!("{loaded:?}").contains("hunter2"), "{text}");
}
