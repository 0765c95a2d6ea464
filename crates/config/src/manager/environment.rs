//! The variables of a generated container, in kube-vip's order.

use super::emit::{Yaml, map, text};
use super::table::{SETTINGS, Standing};
use super::values::Values;

/// Variables in the making.
struct Variables<'a> {
    values: &'a Values,
    /// Fields that were written, or that a manifest has no variable for.
    fields: Vec<&'static str>,
    list: Vec<Yaml>,
}

/// A variable as an object; an empty value is left out, as in every program made of Kubernetes' types.
fn variable(name: &str, value: &str) -> Yaml {
    let named = map([("name", text(name))]);
    if value.is_empty() { named } else { named.with("value", text(value)) }
}

impl Variables<'_> {
    /// A setting's variable, with its value, whatever it is.
    fn put(&mut self, field: &'static str) {
        let setting = SETTINGS.iter().find(|s| s.field == field);
        let Some(name) = setting.and_then(|s| s.env.first()) else { unreachable!("{field} has a variable") };
        self.fields.push(field);
        let value = self.values.shown(field);
        self.list.push(variable(name, &value));
    }

    /// If it is on.
    fn put_if_on(&mut self, field: &'static str) {
        if self.values.bool(field) {
            self.put(field);
        }
    }

    /// If it is not empty.
    fn put_if_some(&mut self, field: &'static str) {
        if !self.values.text(field).is_empty() {
            self.put(field);
        }
    }

    fn put_all(&mut self, fields: &[&'static str]) {
        for field in fields {
            self.put(field);
        }
    }
}

/// All variables. `subnet` takes the place of an empty vip_subnet.
pub(crate) fn environment(values: &Values, subnet: &str) -> Vec<Yaml> {
    let mut out = Variables { values, fields: Vec::new(), list: Vec::new() };
    // The file is on another host, and what it said is in the variables.
    out.fields.extend(["ConfigFile", "ConfigMap", "K8sConfigFile", "NodeName"]);
    place(&mut out, subnet);
    features(&mut out);
    if values.bool("EnableBGP") {
        bgp(&mut out);
    }
    health(&mut out);
    if values.bool("EnableLoadBalancer") {
        out.put_all(&["EnableLoadBalancer", "LoadBalancerPort", "LoadBalancerForwardingMethod"]);
    }
    out.put(if values.text("Address").is_empty() { "VIP" } else { "Address" });
    out.put("PrometheusHTTPServer");
    out.put_if_on("EnableEndpoints");
    out.put_if_on("DisableServiceUpdates");
    out.put_if_some("MirrorDestInterface");
    if values.int("HealthCheckPort") != 0 {
        out.put("HealthCheckPort");
    }
    out.put_if_on("PreserveVIPOnLeadershipLoss");
    out.put_if_some("DebounceTime");
    others(&mut out);
    out.list
}

/// Who, and where addresses go.
fn place(out: &mut Variables<'_>, subnet: &str) {
    out.put_all(&["EnableARP", "Port"]);
    let node = map([("fieldRef", map([("fieldPath", text("spec.nodeName"))]))]);
    out.list.push(map([("name", text("vip_nodename")), ("valueFrom", node)]));
    out.put_if_some("InstanceName");
    out.put_if_some("Interface");
    if !out.values.text("Interface").is_empty() {
        out.put_if_on("LoInterfaceGlobalScope");
    }
    out.put_if_some("ServicesInterface");
    out.put_if_on("AllowInterfaceNotUp");
    if !out.values.text("VIPSubnet").is_empty() {
        out.put("VIPSubnet");
    } else if !subnet.is_empty() {
        out.list.push(variable("vip_subnet", subnet));
    }
    out.put_if_some("DNSMode");
    out.fields.push("DHCPMode");
    let dhcp = match (out.values.text("DHCPMode"), out.values.text("DNSMode")) {
        (dhcp, dns) if dhcp.is_empty() && dns == "first" => "ipv4".to_owned(),
        (dhcp, dns) if dhcp.is_empty() => dns,
        (dhcp, _) => dhcp,
    };
    out.list.push(variable("dhcp_mode", &dhcp));
    if out.values.int("DHCPBackoffAttempts") != 3 {
        out.put("DHCPBackoffAttempts");
    }
}

/// The features, who holds them, and the modes but BGP.
fn features(out: &mut Variables<'_>) {
    if out.values.bool("EnableControlPlane") {
        out.put_all(&["EnableControlPlane", "Namespace"]);
        out.put_if_on("DDNS");
        out.put_if_on("DetectControlPlane");
    }
    if out.values.bool("EnableServices") {
        out.put_all(&["EnableServices", "ServicesLeaseName"]);
        out.put_if_on("EnableServicesElection");
        out.put_if_on("LoadBalancerClassOnly");
        out.put_if_on("EnableServiceSecurity");
    }
    if out.values.bool("EnableLeaderElection") {
        out.put_all(&["EnableLeaderElection", "LeaseName", "LeaseDuration", "RenewDeadline", "RetryPeriod"]);
    }
    if out.values.bool("LoseLeadership") {
        out.put_all(&["LoseLeadership", "LoseLeadershipTimeoutSeconds"]);
    }
    out.put_if_on("EnableNodeLabeling");
    out.put_if_some("Annotations");
    out.put_if_on("EnableWireguard");
    out.put_if_on("EnableRoutingTable");
}

fn bgp(out: &mut Variables<'_>) {
    out.put("EnableBGP");
    out.put_if_on("BGPAttachIPToInterface");
    out.put_all(&[
        "BGPConfig.RouterID",
        "BGPConfig.AS",
        "BGPPeerConfig.Address",
        "BGPPeerConfig.Password",
        "BGPPeerConfig.AS",
    ]);
    out.put_if_some("BGPConfig.SourceIF");
    out.put_if_some("BGPConfig.SourceIP");
    if !out.values.shown("BGPPeers").is_empty() {
        out.put("BGPPeers");
    }
}

fn health(out: &mut Variables<'_>) {
    if out.values.text("ControlPlaneHealthCheck.Address").is_empty() {
        return;
    }
    out.put_all(&[
        "ControlPlaneHealthCheck.Address",
        "ControlPlaneHealthCheck.PeriodSeconds",
        "ControlPlaneHealthCheck.TimeoutSeconds",
        "ControlPlaneHealthCheck.FailureThreshold",
    ]);
    out.put_if_some("ControlPlaneHealthCheck.CAPath");
}

/// What kube-vip's generator forgets: whatever else was asked for and works.
fn others(out: &mut Variables<'_>) {
    for setting in SETTINGS {
        let forgotten = !out.fields.contains(&setting.field)
            && matches!(setting.standing, Standing::Works | Standing::Own | Standing::Refuses(_));
        if let (true, Some(name), Some(value)) = (forgotten, setting.env.first(), out.values.written(setting)) {
            // The variables behind svc_enable are not read without it.
            let read = !super::values::BEHIND_SVC_ENABLE.contains(name) || out.values.bool("EnableServices");
            if read {
                out.list.push(variable(name, &value));
            }
        }
    }
}
