//! What a Service asks for: its class, its addresses and where they are written, its Lease, and what is refused.
//!
//! Everything here follows from the Service and the configuration alone, so that all nodes come to the same answer.

use std::net::IpAddr;

use super::object::{Families, Service, TrafficPolicy};
use super::options::{DnsMode, Options};
use crate::lease::LeaseName;
use crate::strconv::parse_bool;

/// Most addresses of one Service.
pub const ADDRESSES_MAX: usize = 16;

/// Which field the addresses of a Service come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Annotation `kube-vip.io/loadbalancerIPs`.
    Annotation,
    /// `spec.loadBalancerIP`.
    Spec,
    /// `status.loadBalancer.ingress`.
    Status,
    /// None of them says one.
    Nowhere,
}

impl Source {
    /// The field, as users write it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Source::Annotation => "annotation kube-vip.io/loadbalancerIPs",
            Source::Spec => "spec.loadBalancerIP",
            Source::Status => "status.loadBalancer.ingress",
            Source::Nowhere => "nowhere",
        }
    }
}

/// Why a Service is not announced although it is meant for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Label `reason` of `kube_vip_service_reconcile_errors_total`.
    pub reason: &'static str,
    /// For people: what, and what to do.
    pub message: String,
    /// It is so on this node; on others it may be possible.
    pub here: bool,
}

impl Refusal {
    pub(super) fn invalid(message: String) -> Refusal {
        Refusal { reason: "invalid_config", message, here: false }
    }

    fn not_built(message: &str) -> Refusal {
        Refusal { reason: "not_supported", message: message.into(), here: false }
    }

    pub(super) fn missing_here(message: String) -> Refusal {
        Refusal { reason: "new_instance", message, here: true }
    }
}

/// The addresses that a Service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) source: Source,
    /// In their order, each once.
    pub(super) literal: Vec<IpAddr>,
    /// DNS names, in their order.
    pub(super) names: Vec<Box<str>>,
    /// What is neither.
    pub(super) invalid: Option<Box<str>>,
}

impl Addresses {
    fn from(source: Source) -> Addresses {
        Addresses { source, literal: Vec::new(), names: Vec::new(), invalid: None }
    }

    fn take(&mut self, text: &str) {
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            if !self.literal.contains(&address) {
                self.literal.push(address);
            }
        } else if is_dns_name(text) {
            if !self.names.iter().any(|known| known.eq_ignore_ascii_case(text)) {
                self.names.push(text.to_ascii_lowercase().into());
            }
        } else {
            self.invalid.get_or_insert_with(|| text.into());
        }
    }

    /// There is none, of whatever kind.
    pub(super) fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.names.is_empty() && self.invalid.is_none()
    }
}

/// RFC 1123; a name whose last label is a number is a mistyped IPv4 address.
fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(inner) && !label.starts_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or("");
    !name.is_empty() && name.len() <= 253 && name.split('.').all(label) && !last.chars().all(|c| c.is_ascii_digit())
}

/// The addresses, by kube-vip's precedence: the annotation; `spec.loadBalancerIP` when status has another address of
/// its family (then it was changed after); status; `spec.loadBalancerIP`.
pub(super) fn addresses(service: &Service) -> Addresses {
    if let Some(list) = service.annotation("loadbalancerIPs").filter(|list| !list.trim().is_empty()) {
        let mut found = Addresses::from(Source::Annotation);
        list.split(',').map(str::trim).filter(|text| !text.is_empty()).for_each(|text| found.take(text));
        return found;
    }
    let mut status = Addresses::from(Source::Status);
    service.ingress.iter().filter(|entry| !entry.ip.is_empty()).for_each(|entry| status.take(&entry.ip));
    service.ingress.iter().filter(|entry| !entry.hostname.is_empty()).for_each(|entry| status.take(&entry.hostname));
    let spec = service.load_balancer_ip.trim();
    let asked = spec.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    let newer = asked
        .is_some_and(|asked| status.literal.iter().any(|known| known.is_ipv4() == asked.is_ipv4() && *known != asked));
    if !newer && !status.is_empty() {
        return status;
    }
    if spec.is_empty() {
        return Addresses::from(Source::Nowhere);
    }
    let mut found = Addresses::from(Source::Spec);
    match asked {
        Some(address) => found.literal.push(address),
        None => found.invalid = Some(spec.into()),
    }
    found
}

/// Which addresses of a DNS name this Service takes: its families decide, else the configuration.
pub(super) fn dns_mode(service: &Service, options: &Options) -> DnsMode {
    match service.families {
        Families::Unknown => options.dns,
        Families::Ipv4 => DnsMode::Ipv4,
        Families::Ipv6 => DnsMode::Ipv6,
        Families::Ipv4First | Families::Ipv6First => DnsMode::Dual,
    }
}

/// Those of a name's addresses that count. Empty when what is needed is missing.
#[must_use]
pub fn pick(mode: DnsMode, require_both: bool, resolved: &[IpAddr]) -> Vec<IpAddr> {
    let first4 = resolved.iter().find(|address| address.is_ipv4());
    let first6 = resolved.iter().find(|address| address.is_ipv6());
    let picked = match mode {
        DnsMode::First => [resolved.first(), None],
        DnsMode::Ipv4 => [first4, None],
        DnsMode::Ipv6 => [first6, None],
        DnsMode::Dual if require_both && (first4.is_none() || first6.is_none()) => [None, None],
        DnsMode::Dual => [first4, first6],
    };
    picked.into_iter().flatten().copied().collect()
}

/// The class is ours, by the rules of `lb_class_name`, `lb_class_only` and `lb_class_legacy_handling`.
pub(super) fn class_is_ours(service: &Service, options: &Options) -> bool {
    match (&service.class, options.class_legacy) {
        (Some(class), _) => *class == options.class_name,
        (None, true) => !options.class_only,
        (None, false) => options.class_name.is_empty(),
    }
}

/// The namespace is watched.
pub(super) fn namespace_is_ours(service: &Service, options: &Options) -> bool {
    options.namespace.as_ref().is_none_or(|namespace| *namespace == service.key.namespace)
}

/// It has a Lease of its own.
pub(super) fn own_lease(service: &Service, options: &Options) -> bool {
    options.per_service || (options.on_demand && service.annotated("forcePerServiceElection"))
}

/// The Lease that a Service names or gets.
pub(super) fn lease(service: &Service, options: &Options) -> LeaseName {
    if !own_lease(service, options) {
        return options.lease.clone();
    }
    let named = service.annotation("leaseName").map(str::trim).filter(|name| !name.is_empty());
    let (namespace, name) = match named.map(|name| name.split_once('/').ok_or(name)) {
        Some(Ok((namespace, name))) => (namespace, name.to_owned()),
        Some(Err(name)) => (service.key.namespace.as_ref(), name.to_owned()),
        None => (service.key.namespace.as_ref(), format!("kubevip-{}", service.key.name)),
    };
    LeaseName { namespace: namespace.into(), name }
}

/// Why this Service cannot be announced on any node; `None`: it can.
pub(super) fn refusal(service: &Service, options: &Options, asked: &Addresses) -> Option<Refusal> {
    not_built(service, options, asked).or_else(|| invalid_lease(service, options)).or_else(|| invalid_address(asked))
}

fn not_built(service: &Service, options: &Options, asked: &Addresses) -> Option<Refusal> {
    if asked.literal.iter().any(IpAddr::is_unspecified) {
        return Some(Refusal::not_built(
            "an address from DHCP (0.0.0.0 or ::) is not supported yet: give the Service an address",
        ));
    }
    match service.annotation("ddns").map(parse_bool) {
        None | Some(Some(false)) => {}
        Some(Some(true)) => {
            return Some(Refusal::not_built(
                "kube-vip.io/ddns (a name registered through DHCP) is not supported yet: remove the annotation",
            ));
        }
        Some(None) => {
            let value = service.annotation("ddns").unwrap_or_default();
            return Some(Refusal::invalid(format!("kube-vip.io/ddns: \"{value}\" is neither true nor false")));
        }
    }
    if service.annotated("egress") {
        return Some(Refusal::not_built(
            "kube-vip.io/egress (pods' traffic leaves from the address) is not supported yet: remove the annotation",
        ));
    }
    if options.upnp && service.annotated("forwardUPNP") {
        return Some(Refusal::not_built(
            "kube-vip.io/forwardUPNP is not supported yet: remove the annotation, or enable_upnp from the manager",
        ));
    }
    options.mirror.then(|| {
        Refusal::not_built("mirror_dest_interface is not supported yet: remove it from the manager's configuration")
    })
}

fn invalid_lease(service: &Service, options: &Options) -> Option<Refusal> {
    let named = service.annotation("leaseName").map(str::trim).filter(|name| !name.is_empty())?;
    if service.policy != TrafficPolicy::Cluster {
        return Some(Refusal::invalid(
            "kube-vip.io/leaseName needs externalTrafficPolicy Cluster: \
             Services with endpoints on different nodes cannot share a Lease"
                .into(),
        ));
    }
    let valid = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.len() <= 253 && part.chars().all(inner) && part.starts_with(end) && part.ends_with(end)
    };
    let lease = lease(service, options);
    let wrong = own_lease(service, options) && !(valid(&lease.namespace) && valid(&lease.name));
    wrong.then(|| {
        Refusal::invalid(format!(
            "kube-vip.io/leaseName: \"{named}\" is not the name of a Lease: expected NAME or NAMESPACE/NAME"
        ))
    })
}

fn invalid_address(asked: &Addresses) -> Option<Refusal> {
    let field = asked.source.field();
    if let Some(text) = &asked.invalid {
        let expected = if asked.source == Source::Spec { "an IP address" } else { "an IP address or a DNS name" };
        return Some(Refusal::invalid(format!("{field}: \"{text}\" is not {expected}")));
    }
    if asked.literal.len() + asked.names.len() > ADDRESSES_MAX {
        return Some(Refusal::invalid(format!("{field}: more than {ADDRESSES_MAX} addresses")));
    }
    let wrong = asked.literal.iter().find_map(|address| Some((address, unusable(*address)?)))?;
    Some(Refusal::invalid(format!("{field}: {} is {}: no host can answer for it", wrong.0, wrong.1)))
}

/// What kind of address this is, when nobody can announce it.
pub(super) fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.is_loopback() => Some("a loopback address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        other if other.is_unspecified() => Some("the unspecified address"),
        _ => None,
    }
}
