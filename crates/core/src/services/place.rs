//! Which interface of this host an address goes to, and with which prefix length.

use std::net::IpAddr;
use std::sync::Arc;

use super::ask::Refusal;
use super::object::{Interface, Service};
use super::options::{Options, Placement, Prefix};

/// Where an address goes on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The interface.
    pub interface: Arc<str>,
    /// Prefix length.
    pub prefix: u8,
    /// What decided the interface, for people.
    pub why: &'static str,
}

/// Where this address of this Service goes; a refusal when this host has no such place.
pub(super) fn place(
    service: &Service,
    address: IpAddr,
    options: &Options,
    host: &[Interface],
) -> Result<Place, Refusal> {
    let (interface, why) = interface(service, address, options, host)?;
    let Some(found) = host.iter().find(|candidate| candidate.name == interface) else {
        let message = match why {
            VLAN => format!(
                "{why}: {interface} does not exist on node {} and VLAN interfaces are not made: create it there",
                options.node
            ),
            _ => format!("{why}: {interface} does not exist on node {}", options.node),
        };
        return Err(Refusal::missing_here(message));
    };
    let prefix = match if address.is_ipv4() { options.prefix4 } else { options.prefix6 } {
        Prefix::Length(length) => length,
        Prefix::Auto => subnet(found, address).ok_or_else(|| {
            let message = format!("vip_subnet auto: no subnet of {interface} on node {} has {address}", options.node);
            Refusal::missing_here(message)
        })?,
    };
    Ok(Place { interface, prefix, why })
}

const VLAN: &str = "annotation kube-vip.io/serviceVLAN";
const ANNOTATION: &str = "annotation kube-vip.io/serviceInterface";
const BY_ANNOTATION: &str = "annotation kube-vip.io/serviceInterface: auto";
const CONFIGURED: &str = "vip_servicesinterface";
const BY_SUBNET: &str = "vip_servicesinterface: auto";
const NO_SUBNET: &str = "auto found no subnet with it: the interface of the control plane";
const DEFAULT: &str = "the interface of the control plane";

fn interface(
    service: &Service,
    address: IpAddr,
    options: &Options,
    host: &[Interface],
) -> Result<(Arc<str>, &'static str), Refusal> {
    let annotation = |name| service.annotation(name).map(str::trim).filter(|value| !value.is_empty());
    if let Some(vlan) = annotation("serviceVLAN") {
        return match vlan_tag(vlan) {
            Some(_) => Ok((vlan.into(), VLAN)),
            None => {
                let message = format!("{VLAN}: \"{vlan}\" is not a VLAN interface: expected PARENT.TAG, like eth0.200");
                Err(Refusal::invalid(message))
            }
        };
    }
    let by_subnet = || {
        let found = host.iter().find(|candidate| subnet(candidate, address).is_some());
        found.map(|candidate| candidate.name.clone())
    };
    match annotation("serviceInterface") {
        Some("auto") => {
            if let Some(name) = by_subnet() {
                return Ok((name, BY_ANNOTATION));
            }
        }
        Some(name) => return Ok((name.into(), ANNOTATION)),
        None => {}
    }
    Ok(match &options.placement {
        Placement::Default => (options.interface.clone(), DEFAULT),
        Placement::Named(name) => (name.clone(), CONFIGURED),
        Placement::Auto => by_subnet().map_or_else(|| (options.interface.clone(), NO_SUBNET), |name| (name, BY_SUBNET)),
    })
}

/// IEEE 802.1Q: `PARENT.TAG` with 1–4094.
fn vlan_tag(name: &str) -> Option<u16> {
    let (parent, tag) = name.split_once('.')?;
    let tag: u16 = tag.parse().ok()?;
    (!parent.is_empty() && (1..=4094).contains(&tag)).then_some(tag)
}

/// Prefix length of the interface's smallest subnet that has the address. An address for itself is no subnet.
#[must_use]
pub fn subnet(interface: &Interface, address: IpAddr) -> Option<u8> {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let shared = interface.addresses.iter().filter(|(own, prefix)| *prefix < whole && shares(*own, *prefix, address));
    shared.map(|(_, prefix)| *prefix).max()
}

fn shares(own: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (own, address) {
        (IpAddr::V4(own), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            (own.to_bits() ^ address.to_bits()) & mask == 0
        }
        (IpAddr::V6(own), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            (own.to_bits() ^ address.to_bits()) & mask == 0
        }
        _ => false,
    }
}
