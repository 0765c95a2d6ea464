//! `manifest` and `kubeadm`: every document whole. The files were held against the types of Kubernetes' own libraries.

use std::path::Path;

use baton_config::manager::{
    IMAGE, ManagerArgs, Manifest, ManifestArgs, NoManifest, cloud_manifest, manager, manifest,
};

/// `name=value` separated by blanks.
fn words(line: &str) -> Vec<(String, String)> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap_or((word, "true"));
        (name.trim_start_matches('-').to_owned(), value.to_owned())
    };
    line.split_whitespace().map(pair).collect()
}

#[derive(Clone, Copy)]
struct Case {
    file: &'static str,
    what: Manifest,
    flags: &'static str,
    env: &'static str,
    image: &'static str,
    in_cluster: bool,
    minimal: bool,
    kube_vip: bool,
}

const POD: Case = Case {
    file: "",
    what: Manifest::Pod,
    flags: "",
    env: "",
    image: "ghcr.io/kube-vip/kube-vip:v1.2.3",
    in_cluster: false,
    minimal: false,
    kube_vip: true,
};
const DAEMONSET: Case = Case { what: Manifest::DaemonSet { taint: true }, in_cluster: true, ..POD };

fn generate(case: &Case) -> Result<String, NoManifest> {
    let args = ManifestArgs {
        what: case.what,
        flags: &words(case.flags),
        env: &words(case.env),
        file: None,
        image: case.image,
        version: "v1.2.3",
        in_cluster: case.in_cluster,
        minimal: case.minimal,
        kube_vip: case.kube_vip,
    };
    manifest(&args).map(|(text, _)| text)
}

const K3S: &str = "--interface=ens3 --address=192.168.205.200 --controlplane --services --arp --leaderElection";
const RBAC: Case = Case { what: Manifest::Rbac { role: false, rolebinding: false }, ..POD };

const CASES: &[Case] = &[
    // The DaemonSet of a K3s walk-through, under kube-vip's image, ours, and with the least privilege.
    Case { file: "daemonset-k3s", flags: K3S, ..DAEMONSET },
    Case { file: "daemonset-k3s-ours", flags: K3S, image: IMAGE, kube_vip: false, ..DAEMONSET },
    Case { file: "daemonset-k3s-minimal", flags: K3S, image: IMAGE, kube_vip: false, minimal: true, ..DAEMONSET },
    Case {
        file: "daemonset-anywhere",
        what: Manifest::DaemonSet { taint: false },
        flags: "--services --arp --servicesElection --lbClassOnly --onlyAllowTrafficServicePorts --enableNodeLabeling",
        ..DAEMONSET
    },
    Case {
        file: "kubeadm-init",
        what: Manifest::Kubeadm,
        flags: "--interface=eth0 --address=192.168.0.40 --controlplane --arp --leaderElection",
        ..POD
    },
    Case {
        file: "kubeadm-init-ours",
        what: Manifest::Kubeadm,
        flags: "--interface=eth0 --address=192.168.0.40 --controlplane --arp --leaderElection",
        image: IMAGE,
        kube_vip: false,
        ..POD
    },
    Case {
        file: "pod-vip-only",
        flags: "--interface=eth0 --vip=192.168.0.1 --arp --leaderElection --controlplane --services",
        ..POD
    },
    Case {
        file: "pod-dual-stack",
        flags: "--interface=eth0 --serviceInterface=auto --address=192.0.2.10,2001:db8::10 --arp --controlplane --dnsMode=dual --leaseDuration=30 --leaseRenewDuration=20 --leaderElection --leaseName=ns/lock --prometheusHTTPServer=",
        ..POD
    },
    Case {
        file: "pod-balancer",
        flags: "--interface=eth0 --address=192.168.0.40 --controlplane --arp --enableLoadBalancer --lbForwardingMethod=masquerade --lbPort=7443",
        ..POD
    },
    Case {
        file: "pod-dns",
        flags: "--interface=lo --loInterfaceGlobalScope --address=vip.example.com --dnsMode=ipv6 --controlplane --arp --autodetectcp --k8sConfigPath=/etc/rancher/k3s/k3s.yaml --healthCheckPort=8081",
        ..POD
    },
    Case {
        file: "pod-everything",
        flags: "--address=10.0.0.1 --arp --controlplane --services --leaderElection --instanceName=one --allowInterfaceNotUp --dhcpMode=dual --dhcpBackoffAttempts=5 --loseLeadership --loseLeadershiptTimeoutSeconds=12 --annotations=bgp --controlPlaneHealthCheckAddress=https://localhost:6443/livez --enableEndpoints --disableServiceUpdates --mirrorDestInterface=eth9 --preserveVipOnLeadershipLoss --debounceTime=200ms --ipam",
        env: "svc_enable=true svc_namespace=web lb_class_name= vip_arpRate=1000 vip_leaseannotations={\"team\":\"net\"} vip_loglevel=-4",
        ..POD
    },
    Case {
        file: "pod-bgp",
        flags: "--interface=lo --address=10.0.0.1 --bgp --controlplane --localAS=65001 --bgpRouterID=192.0.2.1 --bgppeers=192.0.2.2:65000::false,192.0.2.3:65000:pass:true --sourceIF=eth0",
        ..POD
    },
    Case { file: "rbac", ..RBAC },
    Case {
        file: "rbac-role",
        what: Manifest::Rbac { role: true, rolebinding: false },
        env: "svc_enable=true svc_namespace=web",
        ..POD
    },
    Case { file: "rbac-rolebinding", what: Manifest::Rbac { role: false, rolebinding: true }, ..POD },
    Case { file: "rbac-minimal", flags: K3S, minimal: true, ..RBAC },
    Case { file: "rbac-minimal-ipam", flags: "--services --arp --ipam", minimal: true, ..RBAC },
    Case {
        file: "rbac-minimal-per-service",
        flags: "--services --arp --servicesElection --enableNodeLabeling --disableServiceUpdates --enableEndpoints",
        minimal: true,
        ..RBAC
    },
];

#[test]
fn every_document() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let mut wrong = Vec::new();
    for case in CASES {
        let text = generate(case).unwrap_or_else(|no| panic!("{}: {:?}", case.file, no.messages));
        let expected = std::fs::read_to_string(files.join(case.file).with_extension("yaml")).unwrap_or_default();
        if text != expected {
            wrong.push(format!("==== {}\n{text}", case.file));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_cloud_provider() {
    let text = cloud_manifest("ghcr.io/baton-vip/baton:v1.2.3");
    assert_eq!(text, include_str!("../manifests/cloud-provider.yaml"), "{text}");
}

#[test]
fn images_with_and_without_a_tag() {
    let image = |image: &'static str| {
        let text = generate(&Case { flags: K3S, image, ..POD }).expect("a manifest");
        text.lines().find_map(|line| line.trim().strip_prefix("image: ").map(str::to_owned)).expect("an image")
    };
    assert_eq!(image("kube-vip"), "kube-vip:v1.2.3");
    assert_eq!(image("kube-vip:dev"), "kube-vip:dev");
    assert_eq!(image("localhost:5000/kube-vip"), "localhost:5000/kube-vip:v1.2.3");
    assert_eq!(image("a/b@sha256:0123"), "a/b@sha256:0123");
}

#[test]
fn what_keeps_a_manifest_from_being_made() {
    let no = |what, flags: &'static str| {
        let no = generate(&Case { what, flags, ..POD }).expect_err("it is refused");
        (no.help, no.messages.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let address = "configuration: Address: is missing, and the control plane needs one, expected --address (address): \
        an IP address or a DNS name, several separated by commas"
        .to_owned();
    assert_eq!(no(Manifest::Pod, "--arp --controlplane"), (true, vec![address.clone()]));
    assert_eq!(no(RBAC.what, "--arp --controlplane"), (true, vec![address]));
    let (help, messages) = no(Manifest::Kubeadm, "--arp --services");
    assert_eq!((help, messages.len()), (true, 2), "{messages:?}");
    let (help, messages) = no(Manifest::Pod, "--arp --services --port=x");
    assert_eq!((help, messages.len()), (false, 1), "{messages:?}");
}

#[test]
fn what_a_manifest_asks_for_is_what_the_manager_reads() {
    // Whatever the generator writes into the environment comes back as the same settings.
    for case in CASES.iter().filter(|case| !matches!(case.what, Manifest::Rbac { .. }) && case.file != "pod-bgp") {
        let read = |flags: &[(String, String)], env: &[(String, String)]| {
            let args = ManagerArgs { flags, env, file: None, host: "node", service: false, kube_vip: true };
            manager(&args).unwrap_or_else(|messages| panic!("{}: {messages:?}", case.file)).settings
        };
        let text = generate(case).expect("a manifest");
        let mut env: Vec<(String, String)> = Vec::new();
        let mut flags: Vec<(String, String)> = Vec::new();
        for line in text.lines().map(str::trim) {
            let unquoted = |text: &str| text.trim_matches(['"', '\'']).to_owned();
            if let Some(flag) = line.strip_prefix("- --") {
                flags.extend(words(flag));
            } else if let Some(name) = line.strip_prefix("- name: ") {
                env.push((name.to_owned(), String::new()));
            } else if let (Some(value), Some(last)) = (line.strip_prefix("value: "), env.last_mut()) {
                last.1 = unquoted(value);
            }
        }
        let mut direct = read(&words(case.flags), &words(case.env));
        let subnet = env.iter().find(|(name, _)| name == "vip_subnet");
        if subnet.is_some() {
            direct.subnet = read(&words(case.flags), &[subnet.cloned().expect("asked above")]).subnet;
        }
        // The kubeconfig is mounted where it is looked for.
        direct.api.config_file = "/etc/kubernetes/admin.conf".to_owned();
        direct.api.config_file_chosen = false;
        assert_eq!(read(&flags, &env), direct, "{}", case.file);
    }
}

#[test]
fn what_is_said_beside_a_manifest() {
    let said = |what, flags: &str, minimal| {
        let args = ManifestArgs {
            what,
            flags: &words(flags),
            env: &[],
            file: None,
            image: IMAGE,
            version: "1",
            in_cluster: true,
            minimal,
            kube_vip: false,
        };
        let (_, warnings) = manifest(&args).expect("a manifest");
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(said(RBAC.what, "", false), [""; 0], "kube-vip's rights are always the same");
    assert_eq!(said(RBAC.what, "", true).len(), 2, "the least rights depend on mode and features");
    assert_eq!(
        said(Manifest::Pod, "--bgp --services", false),
        ["flag --bgp: warning: EnableBGP: is not in this version: BGP mode, expected ARP and NDP with --arp \
          (vip_arp=true), or kube-vip for this mode"]
    );
}
