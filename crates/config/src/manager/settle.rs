//! Values → settings: what belongs together is checked here, and what this version does not do is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::message::{Findings, Place, Severity};

use super::cloud::Pools;
use super::settings::{
    Api, Balancer, Class, ControlPlane, DnsMode, Election, Forwarding, HealthCheck, LeaseRef, Level, ManagerSettings,
    Prefix, Services, ServicesInterface, Subnet, Target,
};
use super::values::Values;

/// Below, kube-vip takes its default instead.
const ANNOUNCE_MIN: i64 = 500;
const ANNOUNCE: i64 = 3000;
/// Between two checks of a balancer's server unless asked otherwise.
const CHECK_EVERY: i64 = 5;
/// What a message says of what kube-vip does and this version does not.
pub(crate) const UNBUILT: &str = "is not in this version";
/// Most addresses of a control plane.
const ADDRESSES_MAX: usize = 16;

/// Looks at values and collects what is wrong with them.
pub(crate) struct Settle<'a> {
    pub(crate) values: &'a Values,
    pub(crate) found: &'a mut Findings,
    /// `baton service`: Services without being asked for.
    pub(crate) service: bool,
    /// For a manifest: somebody else's program may run it, so what this version does not do is only warned of.
    pub(crate) manifest: bool,
}

impl Settle<'_> {
    /// The settings; they count only if nothing was found wrong.
    pub(crate) fn all(&mut self, host: &str, pools: &Pools) -> ManagerSettings {
        let v = self.values;
        self.refuse();
        let control_plane = v.bool("EnableControlPlane");
        let services = v.bool("EnableServices") || (self.service && !control_plane);
        if !control_plane && !services {
            let key = "EnableControlPlane, EnableServices";
            let expected = "--controlplane (cp_enable), --services (svc_enable) or both";
            self.found.put(self.unless_manifest(), &Place::Nowhere, key, "no feature is on", "", expected);
        }
        let subnet = self.subnet();
        let election = self.election();
        ManagerSettings {
            node: v.some_text("NodeName").unwrap_or_else(|| host.to_lowercase()),
            instance: self.instance(),
            namespace: self.namespace("Namespace"),
            interface: v.some_text("Interface"),
            allow_interface_not_up: v.bool("AllowInterfaceNotUp"),
            subnet,
            announce_every: self.announce_every(),
            preserve: v.bool("PreserveVIPOnLeadershipLoss"),
            election,
            control_plane: control_plane.then(|| self.control_plane()),
            services: services.then(|| self.services(pools)),
            api: self.api(control_plane),
            node_labels: v.bool("EnableNodeLabeling"),
            metrics: self.metrics(),
            health_port: self.health_port(),
            log: level(v.int("Logging")),
        }
    }

    fn error(&mut self, field: &str, what: &str, value: &str, expected: &str) {
        self.found.put(Severity::Error, &self.values.place(field), field, what, value, expected);
    }

    fn warning(&mut self, field: &str, what: &str, value: &str, expected: &str) {
        self.found.put(Severity::Warning, &self.values.place(field), field, what, value, expected);
    }

    fn unless_manifest(&self) -> Severity {
        if self.manifest { Severity::Warning } else { Severity::Error }
    }

    fn error_nowhere(&mut self, key: &str, what: &str, expected: &str) {
        self.found.put(Severity::Error, &Place::Nowhere, key, what, "", expected);
    }

    /// Modes: exactly one, and that one built.
    fn refuse(&mut self) {
        const MODES: [(&str, &str); 5] = [
            ("EnableBGP", "BGP mode"),
            ("BGPConfig.Zebra.Enabled", "Zebra"),
            ("EnableRoutingTable", "the routing table mode"),
            ("EnableWireguard", "WireGuard mode"),
            ("DDNS", "an address from DHCP (ddns)"),
        ];
        let mut refused = false;
        for (field, what) in MODES {
            if self.values.bool(field) {
                refused = true;
                let what = format!("{UNBUILT}: {what}");
                let expected = "ARP and NDP with --arp (vip_arp=true), or kube-vip for this mode";
                self.found.put(self.unless_manifest(), &self.values.place(field), field, &what, "", expected);
            }
        }
        let kind = self.values.text("LeaderElectionType");
        if kind == "etcd" {
            let (field, expected) = ("LeaderElectionType", "kubernetes, or kube-vip for this");
            self.found.put(self.unless_manifest(), &self.values.place(field), field, UNBUILT, &kind, expected);
        } else if kind != "kubernetes" {
            self.error("LeaderElectionType", "is not a known kind", &kind, "kubernetes");
        }
        if !self.values.bool("EnableARP") && !refused {
            let expected = "--arp (vip_arp=true)";
            self.found.put(self.unless_manifest(), &Place::Nowhere, "EnableARP", "no mode is on", "", expected);
        }
    }

    fn instance(&mut self) -> String {
        let name = self.values.text("InstanceName");
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.len() > 64 || !name.chars().all(legal) {
            self.error(
                "InstanceName",
                "is not a name",
                &name,
                "at most 64 letters, digits, dots, dashes and underlines",
            );
        }
        name
    }

    fn namespace(&mut self, field: &str) -> String {
        let name = self.values.text(field);
        if !is_label(&name) {
            self.error(field, "is not the name of a namespace", &name, "such as kube-system");
        }
        name
    }

    fn subnet(&mut self) -> Subnet {
        let host = Subnet { v4: Prefix::Length(32), v6: Prefix::Length(128) };
        let text = self.values.text("VIPSubnet");
        if text.is_empty() {
            return host;
        }
        match subnet(&text) {
            Some(subnet) => {
                let auto = subnet.v4 == Prefix::Auto || subnet.v6 == Prefix::Auto;
                if auto && !self.values.text("Address").is_empty() {
                    let expected = "a length, because the address is given";
                    self.error("VIPSubnet", "cannot be auto beside an address", &text, expected);
                }
                subnet
            }
            None => {
                let expected = "one prefix length (32, /24), two (32,128), or auto";
                self.error("VIPSubnet", "is not a prefix length", &text, expected);
                host
            }
        }
    }

    fn election(&mut self) -> Election {
        let v = self.values;
        let (duration, renew, retry) = (v.int("LeaseDuration"), v.int("RenewDeadline"), v.int("RetryPeriod"));
        if renew >= duration {
            let expected = format!("less than LeaseDuration, which is {duration}");
            self.error("RenewDeadline", "is too long", &renew.to_string(), &expected);
        }
        // client-go's rule, with its jitter of 1.2.
        if retry * 6 >= renew * 5 {
            let expected = format!("less than RenewDeadline ({renew}) divided by 1.2");
            self.error("RetryPeriod", "is too long", &retry.to_string(), &expected);
        }
        Election {
            asked_for: v.bool("EnableLeaderElection"),
            duration: seconds(duration),
            renew_deadline: seconds(renew),
            retry: seconds(retry),
        }
    }

    fn lease(&mut self, field: &str) -> LeaseRef {
        let text = self.values.text(field);
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
            None => (None, text.clone()),
        };
        if !is_name(&name) || namespace.as_deref().is_some_and(|namespace| !is_label(namespace)) {
            self.error(field, "is not the name of a Lease", &text, "name or namespace/name");
        }
        LeaseRef { namespace, name }
    }

    fn announce_every(&mut self) -> Duration {
        let millis = self.values.int("ArpBroadcastRate");
        if millis >= ANNOUNCE_MIN {
            return Duration::from_millis(u64::try_from(millis).unwrap_or_default());
        }
        self.warning("ArpBroadcastRate", "is too short, 3000 is taken", &millis.to_string(), "500 or more");
        Duration::from_millis(ANNOUNCE.unsigned_abs())
    }

    fn control_plane(&mut self) -> ControlPlane {
        let v = self.values;
        ControlPlane {
            addresses: self.addresses(),
            dns_mode: self.dns_mode(),
            port: port(v.int("Port")),
            lease: self.lease("LeaseName"),
            lease_annotations: match v.value("LeaseAnnotations") {
                super::values::Value::Pairs(pairs) => pairs,
                _ => Vec::new(),
            },
            balancer: v.bool("EnableLoadBalancer").then(|| self.balancer()),
            health: self.health(),
        }
    }

    /// `address`, else `vip_address`, as kube-vip chooses.
    fn addresses(&mut self) -> Vec<Target> {
        let field = if self.values.text("Address").is_empty() { "VIP" } else { "Address" };
        let text = self.values.text(field);
        let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        if items.is_empty() && !(self.manifest && self.values.bool("DDNS")) {
            let expected = "--address (address): an IP address or a DNS name, several separated by commas";
            self.error_nowhere("Address", "is missing, and the control plane needs one", expected);
        }
        if items.len() > ADDRESSES_MAX {
            let expected = format!("at most {ADDRESSES_MAX}");
            self.error(field, "are too many addresses", &items.len().to_string(), &expected);
        }
        let mut targets = Vec::new();
        for item in items {
            match target(item) {
                Ok(target) if targets.contains(&target) => self.warning(field, "is given twice", item, ""),
                Ok(target) => targets.push(target),
                Err((what, expected)) => self.error(field, what, item, expected),
            }
        }
        targets
    }

    fn dns_mode(&mut self) -> DnsMode {
        let text = self.values.text("DNSMode");
        match text.as_str() {
            "first" | "" => DnsMode::First,
            "ipv4" => DnsMode::Ipv4,
            "ipv6" => DnsMode::Ipv6,
            "dual" => DnsMode::Dual,
            _ => {
                self.error("DNSMode", "is not a known mode", &text, "first, ipv4, ipv6 or dual");
                DnsMode::First
            }
        }
    }

    fn balancer(&mut self) -> Balancer {
        let text = self.values.text("LoadBalancerForwardingMethod");
        let forwarding = match text.as_str() {
            "local" | "" => Forwarding::Local,
            "masquerade" => Forwarding::Masquerade,
            "tunnel" => Forwarding::Tunnel,
            "directroute" => Forwarding::DirectRoute,
            "bypass" => Forwarding::Bypass,
            _ => {
                let expected = "local, masquerade, tunnel, directroute or bypass";
                self.warning("LoadBalancerForwardingMethod", "is not a known method, local is taken", &text, expected);
                Forwarding::Local
            }
        };
        if forwarding != Forwarding::Local {
            let what = "has no effect: the balancer is a proxy of Baton's own, not IPVS";
            self.warning("LoadBalancerForwardingMethod", what, &text, "");
        }
        let every = self.values.int("BackendHealthCheckInterval");
        let every = if every > 0 { every } else { CHECK_EVERY };
        Balancer { port: port(self.values.int("LoadBalancerPort")), forwarding, check_every: seconds(every) }
    }

    fn health(&mut self) -> Option<HealthCheck> {
        let v = self.values;
        let url = v.some_text("ControlPlaneHealthCheck.Address");
        if let Some(url) = url.as_deref().filter(|url| !is_http(url)) {
            let expected = "http://… or https://…";
            self.error("ControlPlaneHealthCheck.Address", "is not a URL of HTTP", url, expected);
        }
        let period = v.int("ControlPlaneHealthCheck.PeriodSeconds");
        let timeout = v.int("ControlPlaneHealthCheck.TimeoutSeconds").min(period);
        let failures = u32::try_from(v.int("ControlPlaneHealthCheck.FailureThreshold")).unwrap_or_default();
        (failures > 0).then(|| HealthCheck { url, period: seconds(period), timeout: seconds(timeout), failures })
    }

    fn services(&mut self, pools: &Pools) -> Services {
        let v = self.values;
        let namespace = v.some_text("ServiceNamespace").map(|_| self.namespace("ServiceNamespace"));
        Services {
            namespace,
            interface: match v.text("ServicesInterface") {
                name if name.is_empty() => ServicesInterface::Same,
                name if name == "auto" => ServicesInterface::Auto,
                name => ServicesInterface::Named(name),
            },
            per_service: v.bool("EnableServicesElection"),
            on_demand: v.bool("PerServiceElectionOnDemand"),
            lease: self.lease("ServicesLeaseName"),
            class: Class {
                name: v.text("LoadBalancerClassName"),
                only: v.bool("LoadBalancerClassOnly"),
                legacy: v.bool("LoadBalancerClassLegacyHandling"),
            },
            security: v.bool("EnableServiceSecurity"),
            write_status: !v.bool("DisableServiceUpdates"),
            endpoints: v.bool("EnableEndpoints"),
            dns_mode: self.dns_mode(),
            upnp: v.bool("EnableUPNP"),
            mirror: !v.text("MirrorDestInterface").is_empty(),
            ipam: v.bool("Ipam").then(|| pools.clone()),
        }
    }

    fn api(&mut self, control_plane: bool) -> Api {
        let v = self.values;
        Api {
            config_file: v.text("K8sConfigFile"),
            config_file_chosen: v.is_given("K8sConfigFile"),
            address: v.some_text("KubernetesAddr"),
            detect: v.bool("DetectControlPlane"),
            port: port(v.int("Port")),
            control_plane,
        }
    }

    fn metrics(&mut self) -> Option<SocketAddr> {
        let text = self.values.some_text("PrometheusHTTPServer")?;
        let socket = listen(&text);
        if socket.is_none() {
            let expected = ":2112, or an IP address and a port such as 127.0.0.1:2112; empty for none";
            self.error("PrometheusHTTPServer", "is not an address to listen on", &text, expected);
        }
        socket
    }

    fn health_port(&mut self) -> Option<u16> {
        let port = self.values.int("HealthCheckPort");
        if (1..1024).contains(&port) {
            self.error("HealthCheckPort", "is out of range", &port.to_string(), "1024 or above, or 0 for none");
        }
        u16::try_from(port).ok().filter(|port| *port != 0)
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// The table has the bounds.
fn port(port: i64) -> u16 {
    u16::try_from(port).unwrap_or_default()
}

/// slog's numbers (-4 debug, 0 info, 4 warn, 8 error) and logrus's (2 error, 3 warn, 4 info, 5 debug, 6 trace) in one:
/// where they differ, 4 and above mean what manifests of the longer time meant.
pub(crate) fn level(number: i64) -> Level {
    match number {
        ..=-8 => Level::Trace,
        -7..=-1 => Level::Debug,
        0 | 4 => Level::Info,
        1 | 2 => Level::Error,
        3 => Level::Warn,
        5 => Level::Debug,
        6 => Level::Trace,
        7.. => Level::Error,
    }
}

/// `32`, `/24`, `32,128`, `auto`.
fn subnet(text: &str) -> Option<Subnet> {
    let items: Vec<&str> = text.split(',').map(|item| item.trim().trim_start_matches('/')).collect();
    let one = |item: &str, most: u8| match item {
        "auto" => Some(Prefix::Auto),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|length| (1..=most).contains(length)).map(Prefix::Length)
        }
        _ => None,
    };
    let (host4, host6) = (Prefix::Length(32), Prefix::Length(128));
    match items.as_slice() {
        ["auto"] => Some(Subnet { v4: Prefix::Auto, v6: Prefix::Auto }),
        // One length is for the family that it can be of; 32 and below for both would cut IPv6 short.
        [item] => match one(item, 128)? {
            Prefix::Length(length) if length > 32 => Some(Subnet { v4: host4, v6: Prefix::Length(length) }),
            length => Some(Subnet { v4: length, v6: host6 }),
        },
        // Two are for IPv4 and IPv6, or the other way round where only that can be meant.
        [first, second] => match (one(first, 32), one(second, 128)) {
            (Some(v4), Some(v6)) => Some(Subnet { v4, v6 }),
            _ => Some(Subnet { v6: one(first, 128)?, v4: one(second, 32)? }),
        },
        // The same for every address of a longer list, which kube-vip writes itself.
        [first, .., last] => Some(Subnet {
            v4: items.iter().find_map(|item| one(item, 32)).unwrap_or(host4),
            v6: [first, last].iter().find_map(|item| match one(item, 128) {
                Some(Prefix::Length(length)) if length > 32 => Some(Prefix::Length(length)),
                _ => None,
            })?,
        }),
        [] => None,
    }
}

fn target(item: &str) -> Result<Target, (&'static str, &'static str)> {
    const EXPECTED: &str = "an IP address or a DNS name";
    if let Some((address, _)) = item.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        return Err(("has a prefix length", "the address alone; the length goes into vipSubnet (vip_subnet)"));
    }
    if item.contains('%') {
        return Err(("is an address with a zone", EXPECTED));
    }
    if let Ok(ip) = item.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(("cannot be a virtual IP address", "a unicast address of the network"));
        }
        return Ok(Target::Ip(ip));
    }
    if is_name(&item.to_ascii_lowercase()) && item.bytes().any(|b| b.is_ascii_alphabetic()) {
        return Ok(Target::Name(item.to_owned()));
    }
    Err(("is not an address", EXPECTED))
}

/// `:2112`, `address:port`, `localhost:port`.
fn listen(text: &str) -> Option<SocketAddr> {
    let socket = match text.strip_prefix(':') {
        Some(port) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port.parse().ok()?),
        None => match text.strip_prefix("localhost:") {
            Some(port) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().ok()?),
            None => text.parse().ok()?,
        },
    };
    (socket.port() != 0).then_some(socket)
}

fn is_http(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !url.contains(char::is_whitespace))
}

/// An RFC 1123 label: names of namespaces.
fn is_label(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(legal) && !name.starts_with('-') && !name.ends_with('-')
}

/// An RFC 1123 subdomain: names of Leases, DNS names.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    (1..=253).contains(&name.len()) && name.split('.').all(is_label)
}
