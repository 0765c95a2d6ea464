//! `use_vmac`: a link of its own with the virtual MAC address, and what it is called.

use super::complete::warn;
use super::finding::Findings;
use super::general::Defaults;
use super::instance::Draft;
use super::model::{Family, Instance, Vmac};
use super::read::Reader;
use super::tree::Item;
use super::value::is_link_name;

/// `use_vmac [name] [mac]`
pub(super) fn read(reader: &mut Reader<'_, '_>, item: &Item, draft: &mut Draft) {
    let (mut link, mut mac) = (None, None);
    for index in 1..item.words.len() {
        let word = item.word(index).unwrap_or_default();
        let octets: Vec<Option<u8>> = word.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
        if let (true, Some(octets)) = (octets.len() > 4, octets.iter().copied().collect::<Option<Vec<u8>>>()) {
            let mut bytes = [0; 6];
            bytes.iter_mut().zip(octets.iter()).for_each(|(byte, octet)| *byte = *octet);
            if octets.len() == 5 {
                bytes[5] = draft.vrid.unwrap_or(0);
            }
            mac = Some(bytes);
        } else if !is_link_name(word) {
            item.bad(index, &mut reader.findings, "cannot be the name of a link and is ignored", "up to 15 characters");
        } else if reader.drafts.iter().any(|other| matches!(&other.vmac, Some((Some(name), _)) if name == word)) {
            item.bad(index, &mut reader.findings, "is used by another router already and is ignored", "");
        } else {
            link = Some(word.to_owned());
        }
    }
    draft.vmac = Some((link, mac));
}

/// The virtual link of an instance.
pub(super) fn vmac(
    findings: &mut Findings,
    draft: &Draft,
    defaults: &Defaults,
    family: Family,
    strict: bool,
    others: &[Instance],
) -> Option<Vmac> {
    let Some((name, mac)) = &draft.vmac else {
        if let Some(at) = &draft.xmit_base {
            findings.warn(at, &draft.name, "has vmac_xmit_base without use_vmac; it is ignored", "", "");
        }
        return draft.vmac_addresses.then(|| Vmac {
            name: default_vmac(draft, defaults, family, others),
            mac: None,
            xmit_base: true,
            for_addresses: true,
        });
    };
    if draft.promote_secondaries {
        warn(findings, draft, "has promote_secondaries, which a virtual link has anyway");
    }
    let mut xmit_base = draft.xmit_base.is_some();
    if xmit_base && strict {
        warn(findings, draft, "has vmac_xmit_base, which strict mode does not have; it is ignored");
        xmit_base = false;
    }
    if !draft.peers.is_empty() && !xmit_base {
        warn(findings, draft, "has unicast peers and use_vmac, which needs vmac_xmit_base; it is taken");
        xmit_base = true;
    }
    Some(Vmac {
        name: name.clone().unwrap_or_else(|| default_vmac(draft, defaults, family, others)),
        mac: *mac,
        xmit_base,
        for_addresses: draft.vmac_addresses,
    })
}

/// `vrrp.51`; when another router has that, `vrrp6.51` for IPv6, `vrrp1.51` and so on.
fn default_vmac(draft: &Draft, defaults: &Defaults, family: Family, others: &[Instance]) -> String {
    let prefix = defaults.vmac_prefix.as_deref().unwrap_or("vrrp");
    let six = if family == Family::V6 { vec![String::from("6")] } else { Vec::new() };
    let numbers = (1..=others.len()).map(|number| number.to_string());
    let tries = std::iter::once(String::new()).chain(six).chain(numbers);
    let names = tries.map(|number| {
        let end = format!("{number}.{}", draft.vrid.unwrap_or(0));
        let prefix: String = prefix.chars().take(15_usize.saturating_sub(end.len())).collect();
        prefix + &end
    });
    let taken = |name: &String| others.iter().any(|other| other.vmac.as_ref().is_some_and(|vmac| vmac.name == *name));
    let mut names = names.skip_while(taken);
    names.next().unwrap_or_else(|| format!("vrrp.{}", draft.vrid.unwrap_or(0)))
}

/// Excluded addresses of the other family have no place on the virtual link.
pub(super) fn place(draft: &mut Draft, vmac: Option<&Vmac>, family: Family) {
    if vmac.is_none_or(|vmac| vmac.for_addresses) {
        return;
    }
    let four = family == Family::V4;
    for address in &mut draft.excluded {
        if address.interface.is_none() && !address.vmac && address.address.is_ipv4() != four {
            address.interface.clone_from(&draft.interface);
        }
    }
}
