//! The effective configuration as kube-vip prints it on SIGUSR1, secrets masked, and where each given value came from.

use crate::message::Place;

use super::LoadedManager;
use super::table::SETTINGS;

/// What only the running process knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct DumpFacts<'a> {
    /// Now, by RFC 3339.
    pub timestamp: &'a str,
    /// The process.
    pub pid: u32,
    /// The interface that addresses go to when none was named.
    pub interface: &'a str,
    /// One line for each Service with an address: `ns/name (Type: LoadBalancer, VIPs: …)`.
    pub services: &'a [String],
    /// One line for each interface with an address of ours.
    pub interfaces: &'a [String],
    /// One line for each Lease: who holds it until when.
    pub leases: &'a [String],
    /// Names of our nftables tables.
    pub tables: &'a [String],
}

const LINE: &str = "================================================================================";
const MASK: &str = "********";

/// Lines in the making.
struct Lines<'a> {
    loaded: &'a LoadedManager,
    out: String,
}

impl Lines<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line(&format!("\n--- {title} ---"));
    }

    /// `name: value` for settings by field.
    fn fields(&mut self, fields: &[(&str, &str)]) {
        for (name, field) in fields {
            let value = self.loaded.values.shown(field);
            self.line(format!("{name}: {value}").trim_end());
        }
    }

    fn on(&self, field: &str) -> bool {
        self.loaded.values.bool(field)
    }

    fn list(&mut self, items: &[String]) {
        for item in items {
            self.line(&format!("  {item}"));
        }
    }
}

impl LoadedManager {
    /// The text that SIGUSR1 prints.
    #[must_use]
    pub fn dump(&self, facts: &DumpFacts<'_>) -> String {
        let mut lines = Lines { loaded: self, out: String::new() };
        let s = &self.settings;
        lines.line(&format!("\n{LINE}\n                   KUBE-VIP CONFIGURATION DUMP\n{LINE}"));
        lines.line(&format!("Timestamp: {}\nNode Name: {}\nProcess ID: {}", facts.timestamp, s.node, facts.pid));
        lines.line(LINE);
        basic(&mut lines, facts);
        announcing(&mut lines);
        services(&mut lines, facts);
        lines.section("NETWORK INTERFACES");
        lines.list(facts.interfaces);
        leader_election(&mut lines, facts);
        runtime(&mut lines);
        lines.section("NFTABLES");
        lines.list(facts.tables);
        given(&mut lines);
        lines.line(&format!("\n{LINE}\n                   END OF CONFIGURATION DUMP\n{LINE}"));
        lines.out
    }
}

fn basic(lines: &mut Lines<'_>, facts: &DumpFacts<'_>) {
    lines.section("BASIC CONFIGURATION");
    let values = &lines.loaded.values;
    let vip = values.some_text("Address").unwrap_or_else(|| values.text("VIP"));
    let subnet = values.some_text("VIPSubnet").unwrap_or_else(|| super::manifest::subnet(values));
    let interface = values.some_text("Interface").unwrap_or_else(|| facts.interface.to_owned());
    lines.line(format!("VIP: {vip}").trim_end());
    lines.line(format!("VIP Subnet: {subnet}").trim_end());
    lines.fields(&[("Port", "Port"), ("Namespace", "Namespace"), ("Service Namespace", "ServiceNamespace")]);
    lines.line(format!("Interface: {interface}").trim_end());
    lines.fields(&[
        ("Services Interface", "ServicesInterface"),
        ("Single Node Mode", "SingleNode"),
        ("Start As Leader", "StartAsLeader"),
    ]);
    lines.section("BGP CONFIGURATION");
    lines.fields(&[("BGP Enabled", "EnableBGP")]);
}

fn announcing(lines: &mut Lines<'_>) {
    lines.section("ARP/NDP CONFIGURATION");
    lines.fields(&[("ARP Enabled", "EnableARP")]);
    let every = lines.loaded.settings.announce_every.as_millis();
    lines.line(&format!("ARP Broadcast Rate: {every}"));
    lines.fields(&[
        ("Preserve VIP On Leadership Loss", "PreserveVIPOnLeadershipLoss"),
        ("Wireguard Enabled", "EnableWireguard"),
        ("Routing Table Enabled", "EnableRoutingTable"),
    ]);
}

fn services(lines: &mut Lines<'_>, facts: &DumpFacts<'_>) {
    lines.section("SERVICES CONFIGURATION");
    let on = lines.loaded.settings.services.is_some();
    lines.line(&format!("Services Enabled: {on}"));
    if !on {
        return;
    }
    lines.fields(&[
        ("Services Election", "EnableServicesElection"),
        ("Load Balancer Class Only", "LoadBalancerClassOnly"),
        ("Load Balancer Class Name", "LoadBalancerClassName"),
        ("Disable Service Updates", "DisableServiceUpdates"),
        ("Enable Endpoints", "EnableEndpoints"),
        ("Service Security Enabled", "EnableServiceSecurity"),
    ]);
    lines.line(&format!("Active Service Instances: {}", facts.services.len()));
    for (i, service) in facts.services.iter().enumerate() {
        lines.line(&format!("  Service {}: {service}", i + 1));
    }
}

fn leader_election(lines: &mut Lines<'_>, facts: &DumpFacts<'_>) {
    lines.section("LEADER ELECTION CONFIGURATION");
    lines.fields(&[("Control Plane Enabled", "EnableControlPlane")]);
    if lines.on("EnableControlPlane") {
        lines.fields(&[("Detect Control Plane", "DetectControlPlane")]);
    }
    lines.fields(&[
        ("Leader Election Type", "LeaderElectionType"),
        ("Leader Election Enabled", "EnableLeaderElection"),
        ("Lease Name", "LeaseName"),
    ]);
    let times = lines.loaded.settings.election;
    for (name, time) in
        [("Lease Duration", times.duration), ("Renew Deadline", times.renew_deadline), ("Retry Period", times.retry)]
    {
        lines.line(&format!("{name}: {} seconds", time.as_secs()));
    }
    lines.fields(&[("Services Lease Name", "ServicesLeaseName"), ("Node Labeling Enabled", "EnableNodeLabeling")]);
    lines.list(facts.leases);
}

fn runtime(lines: &mut Lines<'_>) {
    lines.section("RUNTIME STATISTICS");
    lines.fields(&[("Load Balancer Enabled", "EnableLoadBalancer")]);
    if lines.on("EnableLoadBalancer") {
        lines.fields(&[
            ("Load Balancer Port", "LoadBalancerPort"),
            ("Load Balancer Forwarding Method", "LoadBalancerForwardingMethod"),
        ]);
    }
    lines.fields(&[
        ("Prometheus HTTP Server", "PrometheusHTTPServer"),
        ("Health Check Port", "HealthCheckPort"),
        ("UPNP Enabled", "EnableUPNP"),
        ("Egress Clean Enabled", "EgressClean"),
    ]);
}

/// What was given, and where: what kube-vip does not tell.
fn given(lines: &mut Lines<'_>) {
    lines.section("GIVEN SETTINGS");
    for setting in SETTINGS.iter().filter(|setting| lines.loaded.values.is_given(setting.field)) {
        let place = match lines.loaded.values.place(setting.field) {
            Place::File { line, .. } => format!("file, line {line}"),
            Place::Environment(name) => format!("environment variable {name}"),
            Place::Flag(name) => format!("flag --{name}"),
            Place::Nowhere => continue,
        };
        let value = if setting.secret { MASK.to_owned() } else { lines.loaded.values.shown(setting.field) };
        lines.line(&format!("{}: {value} ({place})", setting.field));
    }
}
