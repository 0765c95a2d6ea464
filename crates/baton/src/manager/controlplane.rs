//! The control plane's addresses: those that were written down, and those that a name leads to now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use baton_config::manager::{ControlPlane as Settings, Target};
use baton_core::lease::LeaseName;
use baton_core::services::pick;

/// What is kept for the control plane.
pub(super) struct ControlPlane {
    pub(super) settings: Settings,
    /// Who holds it holds the addresses.
    pub(super) lease: LeaseName,
    resolved: BTreeMap<String, Vec<IpAddr>>,
    /// Why a name leads nowhere, as it was told last.
    pub(super) unresolved: BTreeMap<String, String>,
}

impl ControlPlane {
    pub(super) fn new(settings: Settings, lease: LeaseName) -> ControlPlane {
        ControlPlane { settings, lease, resolved: BTreeMap::new(), unresolved: BTreeMap::new() }
    }

    /// The names that are to be looked up.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.settings.addresses.iter().filter_map(|target| match target {
            Target::Ip(_) => None,
            Target::Name(name) => Some(name.as_str()),
        })
    }

    /// Takes what came of a lookup. `Some`: what is new about it, for the log.
    pub(super) fn resolved(&mut self, name: &str, found: Result<Vec<IpAddr>, String>) -> Option<Result<(), String>> {
        if !self.names().any(|known| known == name) {
            return None;
        }
        match found {
            Ok(addresses) if pick(self.settings.dns_mode, false, &addresses).is_empty() => {
                self.fails(name, format!("none of its {} addresses fits dns_mode", addresses.len()))
            }
            Ok(mut addresses) => {
                // Servers answer in turns: what is kept stays as long as it is among the answers.
                let mode = self.settings.dns_mode;
                let before = self.resolved.get(name).map(|known| pick(mode, false, known)).unwrap_or_default();
                addresses.sort_by_key(|address| !before.contains(address));
                let again = self.unresolved.remove(name).is_some();
                let first = self.resolved.insert(name.to_owned(), addresses).is_none();
                (again && !first).then_some(Ok(()))
            }
            Err(why) => self.fails(name, why),
        }
    }

    fn fails(&mut self, name: &str, why: String) -> Option<Result<(), String>> {
        let before = self.unresolved.insert(name.to_owned(), why.clone());
        (before.as_ref() != Some(&why)).then_some(Err(why))
    }

    /// The addresses now, in the order in which they were written down.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut seen = BTreeSet::new();
        let of = |target: &Target| match target {
            Target::Ip(address) => vec![*address],
            Target::Name(name) => {
                let known = self.resolved.get(name).map_or(&[] as &[IpAddr], Vec::as_slice);
                pick(self.settings.dns_mode, false, known)
            }
        };
        self.settings.addresses.iter().flat_map(of).filter(|address| seen.insert(*address)).collect()
    }
}

#[cfg(test)]
mod tests {
    use baton_core::services::DnsMode;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_that_is_still_there_stays() {
        let lease = LeaseName { namespace: "kube-system".into(), name: "plndr-cp-lock".into() };
        let settings = Settings {
            addresses: vec![Target::Ip(address("10.0.0.9")), Target::Name("vip".into())],
            dns_mode: DnsMode::First,
            port: 6443,
            lease: baton_config::manager::LeaseRef { namespace: None, name: lease.name.clone() },
            lease_annotations: Vec::new(),
            balancer: None,
            health: None,
        };
        let mut plane = ControlPlane::new(settings, lease);
        assert_eq!(plane.addresses(), [address("10.0.0.9")]);
        let mut check = |found: &[&str], told, expected| {
            let found = found.iter().map(|text| address(text)).collect();
            assert_eq!(plane.resolved("vip", Ok(found)), told);
            assert_eq!(plane.addresses(), [address("10.0.0.9"), address(expected)]);
        };
        check(&["10.0.0.1", "10.0.0.2"], None, "10.0.0.1");
        check(&["10.0.0.2", "10.0.0.1"], None, "10.0.0.1");
        check(&["fd00::1", "10.0.0.2"], None, "fd00::1");
        assert_eq!(plane.resolved("vip", Err("no".into())), Some(Err("no".into())));
        assert_eq!(plane.resolved("vip", Err("no".into())), None, "told once");
        assert_eq!(plane.addresses().len(), 2, "the last ones stay");
        assert_eq!(plane.resolved("vip", Ok(vec![address("fd00::1")])), Some(Ok(())));
        assert_eq!(plane.resolved("other", Err("no".into())), None);
    }
}
