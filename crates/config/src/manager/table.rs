//! The table of kube-vip 1.x's settings: each with its flag, its environment variables and its field in the file.
//!
//! Reading, help, documents and manifests are made from it, so they cannot disagree.

/// How a text becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bool,
    /// A whole number, decimal, between the bounds.
    Int(i64, i64),
    /// Texts separated by commas; a flag may be given several times.
    List,
    /// A JSON object of texts.
    Pairs,
    /// Anything (in the file a mapping or a list): whether it was given is all that is asked.
    Any,
}

/// What a setting is to Baton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It works.
    Works,
    /// It belongs to something that this version does not do: warned of when it asks for something.
    Of(&'static str),
    /// It has no effect, for the reason given: warned of when it asks for something.
    Idle(&'static str),
    /// It has no effect, for the reason given. Every manifest of kube-vip's generator has it, so nobody is warned.
    Silent(&'static str),
    /// Services that it applies to are refused, for the reason given: warned of when it asks for something.
    Refuses(&'static str),
    /// Baton's own.
    Own,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Path of the field in kube-vip's configuration; how a setting is named here.
    pub(crate) field: &'static str,
    /// Other names of the field in a file.
    pub(crate) also: &'static [&'static str],
    /// Its flag, without dashes; empty: none.
    pub flag: &'static str,
    /// Its one-letter flag.
    pub short: Option<char>,
    /// Environment variables; the first one that is set counts.
    pub env: &'static [&'static str],
    pub(crate) kind: Kind,
    /// As it would be written.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
    pub(crate) standing: Standing,
    /// An empty flag or field is a value, not "not given".
    pub(crate) may_be_empty: bool,
    /// Never shown.
    pub(crate) secret: bool,
}

impl Setting {
    /// A flag that may stand without a value, which then is `true`.
    #[must_use]
    pub fn boolean(&self) -> bool {
        self.kind == Kind::Bool
    }

    /// A flag that may be given several times and then adds up.
    #[must_use]
    pub fn list(&self) -> bool {
        self.kind == Kind::List
    }

    /// What help shows: without effect here, or belonging to something that this version does not do.
    #[must_use]
    pub fn hidden(&self) -> bool {
        matches!(self.standing, Standing::Idle(_) | Standing::Silent(_) | Standing::Of(_) | Standing::Refuses(_))
    }

    const fn also(mut self, also: &'static [&'static str]) -> Setting {
        self.also = also;
        self
    }

    const fn short(mut self, short: char) -> Setting {
        self.short = Some(short);
        self
    }

    const fn may_be_empty(mut self) -> Setting {
        self.may_be_empty = true;
        self
    }

    const fn secret(mut self) -> Setting {
        self.secret = true;
        self
    }

    const fn of(mut self, feature: &'static str) -> Setting {
        self.standing = Standing::Of(feature);
        self
    }

    const fn idle(mut self, why: &'static str) -> Setting {
        self.standing = Standing::Idle(why);
        self
    }

    const fn silent(mut self, why: &'static str) -> Setting {
        self.standing = Standing::Silent(why);
        self
    }

    const fn refuses(mut self, why: &'static str) -> Setting {
        self.standing = Standing::Refuses(why);
        self
    }

    const fn own(mut self) -> Setting {
        self.standing = Standing::Own;
        self
    }
}

const fn new(
    field: &'static str,
    flag: &'static str,
    env: &'static [&'static str],
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting {
        field,
        also: &[],
        flag,
        short: None,
        env,
        kind,
        default,
        about,
        standing: Standing::Works,
        may_be_empty: false,
        secret: false,
    }
}

const fn text(field: &'static str, flag: &'static str, env: &'static [&'static str], about: &'static str) -> Setting {
    new(field, flag, env, Kind::Text, "", about).may_be_empty()
}

const fn switch(field: &'static str, flag: &'static str, env: &'static [&'static str], about: &'static str) -> Setting {
    new(field, flag, env, Kind::Bool, "false", about)
}

const PORT: Kind = Kind::Int(1, 65535);
const SECONDS: Kind = Kind::Int(1, 86_400);
const ANY_INT: Kind = Kind::Int(i32::MIN as i64, i32::MAX as i64);
const AS: Kind = Kind::Int(0, u32::MAX as i64);

const BGP: &str = "BGP";
const TABLE: &str = "the routing table mode";
const ETCD: &str = "the election by etcd";
const EGRESS: &str = "egress";
const DHCP: &str = "DHCP";
const RAFT: &str = "kube-vip's Raft ended with 0.4; it is `baton start` now";

/// Every setting, in the order in which people read about them.
#[rustfmt::skip] // A table: one setting, one line.
pub const SETTINGS: &[Setting] = &[
    switch("EnableControlPlane", "controlplane", &["cp_enable"], "Keep the control plane's address"),
    switch("EnableServices", "services", &["svc_enable"], "Keep the addresses of Services of type LoadBalancer"),
    switch("EnableARP", "arp", &["vip_arp"], "Announce addresses by ARP and NDP: the mode of this version"),
    text("Interface", "interface", &["vip_interface"], "Where addresses go (default: the interface of the default route)").short('i'),
    text("ServicesInterface", "serviceInterface", &["vip_servicesinterface"], "Where Services' addresses go; auto: the interface whose network has the address"),
    switch("AllowInterfaceNotUp", "allowInterfaceNotUp", &["vip_allow_interface_not_up"], "Start although the interface is not up"),
    switch("LoInterfaceGlobalScope", "loInterfaceGlobalScope", &["vip_interfaceloglobal"], "Scope global instead of host for addresses on lo; always so"),
    text("Address", "address", &["address"], "The control plane's addresses or DNS names, separated by commas"),
    text("VIP", "vip", &["vip_address"], "The control plane's address; an older name of --address"),
    text("VIPSubnet", "vipSubnet", &["vip_subnet"], "Prefix length of addresses: 32, /24, or 32,128 for two families; auto for Services (default: 32, IPv6 128)"),
    new("Port", "port", &["port"], PORT, "6443", "Port of the API server"),
    text("NodeName", "nodeName", &["vip_nodename"], "Who holds a Lease (default: the host's name)").also(&["leaseNodeName"]),
    text("InstanceName", "instanceName", &["instance_name", "INSTANCE_NAME"], "Tells several instances on one host apart"),
    new("Namespace", "namespace", &["cp_namespace"], Kind::Text, "kube-system", "Namespace of the control plane's Lease").short('n'),
    text("ServiceNamespace", "", &["svc_namespace"], "Only Services of this namespace (default: all)"),
    // Election.
    switch("EnableLeaderElection", "leaderElection", &["vip_leaderelection"], "Elect by Lease; in ARP mode always so"),
    new("LeaderElectionType", "leaderElectionType", &[], Kind::Text, "kubernetes", "kubernetes"),
    new("LeaseName", "leaseName", &["vip_leasename"], Kind::Text, "plndr-cp-lock", "Lease of the control plane: name or namespace/name"),
    new("ServicesLeaseName", "servicesLeaseName", &["svc_leasename"], Kind::Text, "plndr-svcs-lock", "Lease of all Services: name or namespace/name"),
    new("LeaseDuration", "leaseDuration", &["vip_leaseduration"], SECONDS, "15", "Seconds that a Lease lasts"),
    new("RenewDeadline", "leaseRenewDuration", &["vip_renewdeadline"], SECONDS, "10", "Seconds that a holder tries to renew"),
    new("RetryPeriod", "leaseRetry", &["vip_retryperiod"], SECONDS, "2", "Seconds between tries"),
    new("LeaseAnnotations", "", &["vip_leaseannotations"], Kind::Pairs, "", "Annotations for the control plane's Lease, as a JSON object"),
    switch("PreserveVIPOnLeadershipLoss", "preserveVipOnLeadershipLoss", &["vip_preserve_on_leadership_loss"], "Leave IPv4 addresses on the interface, unanswered, after a Lease was lost"),
    switch("LoseLeadership", "loseLeadership", &["vip_loseleadership"], "Give addresses up when their interface is down; always so"),
    new("LoseLeadershipTimeoutSeconds", "loseLeadershiptTimeoutSeconds", &["vip_loseleadership_timeout_seconds"], SECONDS, "30", "Seconds that the interface may be down").idle("addresses are given up at once when their interface is down"),
    new("ArpBroadcastRate", "", &["vip_arpRate"], ANY_INT, "3000", "Milliseconds between repeated announcements; below 500 it is 3000"),
    // The control plane.
    new("DNSMode", "dnsMode", &["dns_mode"], Kind::Text, "first", "Which addresses of a DNS name count: first, ipv4, ipv6 or dual").also(&["dnsDualStackMode"]),
    switch("DetectControlPlane", "autodetectcp", &["cp_detect"], "Find the local API server's address in its certificate"),
    text("KubernetesAddr", "", &["kubernetes_addr"], "URL of the API server, before the kubeconfig's"),
    new("K8sConfigFile", "k8sConfigPath", &["k8s_config_file"], Kind::Text, "/etc/kubernetes/admin.conf", "Path of a kubeconfig"),
    text("ControlPlaneHealthCheck.Address", "controlPlaneHealthCheckAddress", &["control_plane_health_check_address"], "URL that says whether this node's API server is well (default: /livez of it)"),
    new("ControlPlaneHealthCheck.PeriodSeconds", "controlPlaneHealthCheckPeriodSeconds", &["control_plane_health_check_period_seconds"], SECONDS, "1", "Seconds between checks"),
    new("ControlPlaneHealthCheck.TimeoutSeconds", "controlPlaneHealthCheckTimeoutSeconds", &["control_plane_health_check_timeout_seconds"], SECONDS, "1", "Seconds that a check may take"),
    new("ControlPlaneHealthCheck.FailureThreshold", "controlPlaneHealthCheckFailureThreshold", &["control_plane_health_check_failure_threshold"], Kind::Int(0, 1000), "3", "Failures in a row after which the address is given up; 0: never"),
    text("ControlPlaneHealthCheck.CAPath", "controlPlaneHealthCheckCAPath", &["control_plane_health_check_ca_path"], "CA certificates for that URL").idle("certificates of health checks are not verified"),
    switch("EnableLoadBalancer", "enableLoadBalancer", &["lb_enable"], "Balance the control plane's address over all API servers"),
    new("LoadBalancerPort", "lbPort", &["lb_port"], PORT, "6443", "Where that balancer listens"),
    new("LoadBalancerForwardingMethod", "lbForwardingMethod", &["lb_fwdmethod"], Kind::Text, "local", "How IPVS forwarded: local, masquerade, tunnel, directroute or bypass"),
    new("BackendHealthCheckInterval", "", &["backend_health_check_interval"], ANY_INT, "5", "Seconds between two checks of an API server by that balancer"),
    // Services.
    switch("EnableServicesElection", "servicesElection", &["svc_election"], "One Lease for each Service"),
    switch("PerServiceElectionOnDemand", "perServiceElectionOnDemand", &["per_service_election_on_demand"], "One Lease for each Service that asks for it by annotation"),
    switch("LoadBalancerClassOnly", "lbClassOnly", &["lb_class_only"], "Only Services with our class, not those without any").also(&["lbClassOnly"]),
    new("LoadBalancerClassName", "lbClassName", &["lb_class_name"], Kind::Text, "kube-vip.io/kube-vip-class", "Our class").also(&["lbClassName"]).may_be_empty(),
    new("LoadBalancerClassLegacyHandling", "lbClassNameLegacyHandling", &["lb_class_legacy_handling"], Kind::Bool, "true", "Services without a class are ours, too"),
    switch("EnableServiceSecurity", "onlyAllowTrafficServicePorts", &["enable_service_security"], "Let only a Service's own ports through to its address"),
    switch("EnableNodeLabeling", "enableNodeLabeling", &["enable_node_labeling"], "Label nodes with the addresses they hold"),
    switch("DisableServiceUpdates", "disableServiceUpdates", &["disable_service_updates"], "Do not write Services' status"),
    switch("EnableEndpoints", "enableEndpoints", &["enable_endpoints"], "Read Endpoints instead of EndpointSlices"),
    switch("Ipam", "ipam", &["baton_ipam"], "Give Services addresses from the ConfigMap kubevip, as the cloud provider does").own(),
    // The process.
    new("PrometheusHTTPServer", "prometheusHTTPServer", &["prometheus_server"], Kind::Text, ":2112", "Where metrics are served; empty: nowhere").also(&["promethuesHTTPServer"]).may_be_empty(),
    new("HealthCheckPort", "healthCheckPort", &["health_check_port"], Kind::Int(0, 65535), "0", "Port of /healthz, 1024 or above; 0: not served"),
    new("Logging", "log", &["vip_loglevel"], ANY_INT, "0", "-4 debug, 0 info, 8 error; the older 3 warn, 4 info, 5 debug"),
    text("ConfigFile", "config-file", &["config_file"], "YAML or JSON file with these settings"),
    text("ConfigMap", "configMap", &["vip_configmap"], "Without effect").idle("nothing was ever read from it").short('c'),
    switch("SkipDAD", "", &["vip_skipdad"], "IPv6 without duplicate address detection; always so"),
    text("DebounceTime", "debounceTime", &["debounce_time"], "Without effect").idle("changes are collected for each Service while its last one is worked on"),
    text("IptablesBackend", "", &["iptables_backend"], "Without effect").idle("rules are nftables only"),
    // What this version does not do.
    switch("EnableWireguard", "wireguard", &["vip_wireguard"], "Refused: WireGuard mode"),
    switch("EnableRoutingTable", "table", &["vip_routingtable"], "Refused: routing table mode"),
    new("RoutingTableID", "tableID", &["vip_routingtableid"], ANY_INT, "198", "Routing table").of(TABLE),
    new("RoutingTableType", "tableType", &["vip_routingtabletype"], ANY_INT, "1", "Type of its routes").of(TABLE),
    new("RoutingProtocol", "routingProtocol", &["vip_routingprotocol"], ANY_INT, "248", "Protocol of its routes").of(TABLE),
    switch("CleanRoutingTable", "cleanRoutingTable", &["vip_cleanroutingtable"], "Remove others of its routes").of(TABLE),
    switch("EnableBGP", "bgp", &["bgp_enable"], "Refused: BGP mode"),
    switch("BGPAttachIPToInterface", "bgpAttachIPToInterface", &["bgp_attach_ip_to_interface"], "Addresses on the interface, too").of(BGP),
    text("BGPConfig.RouterID", "bgpRouterID", &["bgp_routerid"], "Router id").of(BGP),
    text("BGPConfig.RouterInterface", "", &["bgp_routerinterface"], "Interface whose address is the router id").of(BGP),
    new("BGPConfig.AS", "localAS", &["bgp_as"], AS, "65000", "Our AS").of(BGP),
    text("BGPConfig.SourceIF", "sourceIF", &["bgp_sourceif", "bgp_source_if"], "Interface to peer from").of(BGP),
    text("BGPConfig.SourceIP", "sourceIP", &["bgp_sourceip", "bgp_source_ip"], "Address to peer from").of(BGP),
    new("BGPConfig.HoldTime", "bgpHoldTimer", &["bgp_hold_time"], ANY_INT, "30", "Hold time").of(BGP),
    new("BGPConfig.KeepaliveInterval", "bgpKeepAliveInterval", &["bgp_keepalive_interval"], ANY_INT, "10", "Keepalive interval").of(BGP),
    new("BGPConfig.Peers", "", &[], Kind::Any, "", "Peers").of(BGP),
    text("BGPConfig.MpbgpNexthop", "", &["mpbgp_nexthop"], "MP-BGP next hop").of(BGP),
    text("BGPConfig.MpbgpIPv4", "", &["mpbgp_ipv4"], "MP-BGP next hop").of(BGP),
    text("BGPConfig.MpbgpIPv6", "", &["mpbgp_ipv6"], "MP-BGP next hop").of(BGP),
    switch("BGPConfig.Zebra.Enabled", "zebra", &["zebra_enable"], "Refused: Zebra"),
    new("BGPConfig.Zebra.URL", "zebraUrl", &["zebra_url"], Kind::Text, "unix:/var/run/frr/zserv.api", "Zebra's socket").of(BGP),
    new("BGPConfig.Zebra.Version", "zebraVersion", &["zebra_version"], ANY_INT, "6", "Zebra's version").of(BGP),
    new("BGPConfig.Zebra.SoftwareName", "zebraSoftwareName", &["zebra_software_name"], Kind::Text, "frr8.3", "Zebra's name").of(BGP),
    text("BGPPeerConfig.Address", "peerAddress", &["bgp_peeraddress"], "Peer").of(BGP),
    new("BGPPeerConfig.AS", "peerAS", &["bgp_peeras"], AS, "65000", "Its AS").of(BGP),
    text("BGPPeerConfig.Password", "peerPass", &["bgp_peerpass"], "Its password").of(BGP).secret(),
    switch("BGPPeerConfig.MultiHop", "multihop", &["bgp_multihop"], "It is further than a hop away").of(BGP),
    new("BGPPeers", "bgppeers", &["bgp_peers"], Kind::List, "", "Peers: address:as:password:multihop").of(BGP).secret(),
    text("Annotations", "annotations", &["annotation"], "Prefix of node annotations with BGP settings").of(BGP),
    text("Etcd.CAFile", "etcdCACert", &[], "etcd's CA").of(ETCD),
    text("Etcd.ClientCertFile", "etcdCert", &[], "Certificate for etcd").of(ETCD),
    text("Etcd.ClientKeyFile", "etcdKey", &[], "Key for etcd").of(ETCD),
    new("Etcd.Endpoints", "etcdEndpoints", &[], Kind::List, "", "etcd's servers").of(ETCD),
    switch("DDNS", "ddns", &["vip_ddns"], "Refused: an address from DHCP"),
    text("DHCPMode", "dhcpMode", &["dhcp_mode"], "Families of addresses from DHCP").also(&["dhcpDualStackMode"]).silent("DHCP is not in this version: a Service that asks for it is refused. Every generated manifest has it, so there is no warning"),
    new("DHCPBackoffAttempts", "dhcpBackoffAttempts", &["dhcp_backoff_attempts"], Kind::Int(0, i32::MAX as i64), "3", "Tries for an address from DHCP").of(DHCP),
    text("MirrorDestInterface", "mirrorDestInterface", &["mirror_dest_interface"], "Where to mirror traffic").refuses("traffic is not mirrored in this version: every Service is refused"),
    switch("EnableUPNP", "", &["enable_upnp", "enableUPNP"], "Port mappings by UPnP").refuses("UPnP is not in this version: a Service that asks for it is refused"),
    text("EgressPodCidr", "", &["egress_podcidr"], "Pods' networks").of(EGRESS),
    text("EgressServiceCidr", "", &["egress_servicecidr"], "Services' networks").of(EGRESS),
    new("EgressWithNftables", "egressWithNftables", &["egress_withnftables"], Kind::Bool, "true", "Egress by nftables").of(EGRESS),
    switch("EnableInternalSNAT", "", &["egress_enableinternalsnat"], "Egress inside the cluster").of(EGRESS),
    switch("EgressClean", "", &["egress_clean", "EGRESS_CLEAN"], "Remove old egress rules").of(EGRESS),
    switch("SingleNode", "", &["vip_singlenode"], "Without effect").idle(RAFT),
    switch("StartAsLeader", "", &["vip_startleader"], "Without effect").idle(RAFT),
    switch("AddPeersAsBackends", "", &["vip_addpeerstolb"], "Without effect").idle(RAFT),
    new("LoadBalancers", "", &[], Kind::Any, "", "Without effect").idle("the balancer is switched on by EnableLoadBalancer"),
];

/// Flags that some release had and 1.x has not.
#[derive(Debug)]
pub struct Gone {
    /// Its name, without dashes.
    pub flag: &'static str,
    /// It may stand without a value.
    pub boolean: bool,
    /// The field of the flag that took its place; empty: none.
    pub(crate) now: &'static str,
    /// Why it has no effect.
    pub(crate) why: &'static str,
}

const fn gone(flag: &'static str, boolean: bool, why: &'static str) -> Gone {
    Gone { flag, boolean, now: "", why }
}

const fn renamed(flag: &'static str, boolean: bool, now: &'static str) -> Gone {
    Gone { flag, boolean, now, why: "" }
}

const METAL: &str = "the Packet and Equinix Metal API does not exist any more";
const MANIFEST: &str = "it is for `manifest`";

/// Every flag that came and went: accepted, with a warning.
pub const GONE: &[Gone] = &[
    renamed("promethuesHTTPServer", false, "PrometheusHTTPServer"),
    renamed("lbEnable", true, "EnableLoadBalancer"),
    renamed("kubeConfig", false, "K8sConfigFile"),
    gone("cidr", false, "addresses are added with vipSubnet"),
    gone("enableEndpointSlices", true, "EndpointSlices are read unless enableEndpoints is set"),
    gone("OutSideCluster", true, "where the process runs is found out"),
    gone("inCluster", true, MANIFEST),
    gone("taint", true, MANIFEST),
    gone("packet", true, METAL),
    gone("packetKey", false, METAL),
    gone("packetProject", false, METAL),
    gone("metal", true, METAL),
    gone("metalKey", false, METAL),
    gone("metalProject", false, METAL),
    gone("metalProjectID", false, METAL),
    gone("provider-config", false, METAL),
    gone("disableVIP", true, RAFT),
    gone("singleNode", true, RAFT),
    gone("startAsLeader", true, RAFT),
    gone("localPeer", false, RAFT),
    gone("remotePeers", false, RAFT),
    gone("addPeersToLB", true, RAFT),
    gone("lbBindToVip", true, RAFT),
    gone("lbName", false, RAFT),
    gone("lbType", false, RAFT),
    gone("lbBackEndPort", false, RAFT),
    gone("lbBackends", false, RAFT),
];
