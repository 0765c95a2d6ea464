//! Node labels that say which addresses a node carries.
//!
//! kube-vip writes `ADDRESS,ADDRESS` as the value for two families, and `SERVICE.NAMESPACE` as the name whatever its
//! length; the API refuses both. Here the second family has a label of its own, and long names end in a hash.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::object::Key;
use super::state::Services;

/// Prefix of the labels that name the Services that a node provides.
pub const PROVIDED: &str = "service-provided.kube-vip.io/";
/// Label of the node that carries the control plane's address.
pub const HAS_IP: &str = "kube-vip.io/has-ip";

/// Most characters of a label's name and of its value.
const LENGTH_MAX: usize = 63;

/// Labels of the node that carries the control plane's addresses.
#[must_use]
pub fn control_plane_labels(addresses: &[IpAddr]) -> BTreeMap<String, String> {
    let second = second_family(addresses).map(|address| {
        let family = if address.is_ipv4() { "v4" } else { "v6" };
        (format!("{HAS_IP}{family}"), value(&[address]))
    });
    let first = addresses.first().map(|address| (HAS_IP.to_owned(), value(&[*address])));
    first.into_iter().chain(second).collect()
}

/// An address of the other family than the first one's.
fn second_family(addresses: &[IpAddr]) -> Option<IpAddr> {
    let first = addresses.first()?;
    addresses.iter().find(|address| address.is_ipv4() != first.is_ipv4()).copied()
}

impl Services {
    /// Labels that begin with [`PROVIDED`] as this node is to have them, no others.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        if !self.options.labels {
            return labels;
        }
        for (key, entry) in &self.services {
            let held = entry.claims.iter().filter(|address| self.held.contains(*address));
            let held: Vec<IpAddr> = held.copied().collect();
            let Some(first) = held.first() else { continue };
            let (same, other): (Vec<IpAddr>, Vec<IpAddr>) =
                held.iter().partition(|address| address.is_ipv4() == first.is_ipv4());
            labels.insert(name(key, ""), value(&same));
            if let Some(address) = other.first() {
                labels.insert(name(key, if address.is_ipv4() { ".ipv4" } else { ".ipv6" }), value(&other));
            }
        }
        labels
    }
}

fn name(key: &Key, family: &str) -> String {
    let whole = format!("{}.{}{family}", key.name, key.namespace);
    if whole.len() <= LENGTH_MAX {
        return format!("{PROVIDED}{whole}");
    }
    // FNV-1a: only to keep names apart.
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = whole.bytes().fold(0x811c_9dc5, step);
    let kept: String = whole.chars().take(LENGTH_MAX - 9).collect();
    format!("{PROVIDED}{kept}-{hash:08x}")
}

/// As many addresses as a value may have; IPv6 in hexadecimal digits, since a value has no colon.
fn value(addresses: &[IpAddr]) -> String {
    let mut value = String::new();
    for address in addresses {
        let text = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("{:032x}", v6.to_bits()),
        };
        let joined = if value.is_empty() { text } else { format!("{value}_{text}") };
        if joined.len() > LENGTH_MAX {
            break;
        }
        value = joined;
    }
    value
}
