//! The effects of one step, put together: gates that get the same operation in one, announcements last.
//!
//! The order that matters is kept: what happens to one gate stays in order, and an address is announced after everything
//! else. A gate of one address may come before the address operations of another.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::event::{Effect, GateOp};

/// Puts the effects from `from` on together.
pub(crate) fn together(out: &mut Vec<Effect>, from: usize) {
    let of_a_gate = |e: &&Effect| matches!(e, Effect::Gate { .. });
    if out[from..].iter().filter(of_a_gate).nth(1).is_none() {
        return;
    }
    let mut kept: Vec<Effect> = Vec::new();
    let mut announcements = Vec::new();
    // Where an operation stands, and where the last one on an address does.
    let mut places: BTreeMap<GateOp, usize> = BTreeMap::new();
    let mut last: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for effect in out.drain(from..) {
        match effect {
            Effect::Announce { .. } => announcements.push(effect),
            Effect::Gate { vip, op } => {
                let at = places.get(&op).copied().filter(|at| last.get(&vip.address).is_none_or(|l| l < at));
                let at = at.unwrap_or_else(|| {
                    kept.push(Effect::Gates { vips: Vec::new(), op });
                    places.insert(op, kept.len() - 1);
                    kept.len() - 1
                });
                last.insert(vip.address, at);
                if let Effect::Gates { vips, .. } = &mut kept[at] {
                    vips.push(vip);
                }
            }
            other => kept.push(other),
        }
    }
    let single = |effect| match effect {
        Effect::Gates { mut vips, op } if vips.len() == 1 => match vips.pop() {
            Some(vip) => Effect::Gate { vip, op },
            None => Effect::Gates { vips, op },
        },
        other => other,
    };
    out.extend(kept.into_iter().map(single));
    out.append(&mut announcements);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Source, Vip};
    use crate::time::Time;

    fn vip(n: u8) -> Vip {
        let source = Source::Peers;
        Vip { address: [10, 0, 0, n].into(), prefix: 32, interface: "eth0".into(), priority: 100, source }
    }

    fn gate(n: u8, op: GateOp) -> Effect {
        Effect::Gate { vip: vip(n), op }
    }

    fn announce(n: u8) -> Effect {
        Effect::Announce { vip: vip(n) }
    }

    #[test]
    fn equal_operations_are_one_and_announcements_come_last() {
        let renew = GateOp::Renew { end: Time(5) };
        let mut out = vec![gate(9, renew), announce(1), gate(1, renew), gate(2, GateOp::Shut), gate(3, renew)];
        together(&mut out, 1);
        let gates = Effect::Gates { vips: vec![vip(1), vip(3)], op: renew };
        assert_eq!(out, [gate(9, renew), gates, gate(2, GateOp::Shut), announce(1)]);
    }

    #[test]
    fn what_happens_to_one_gate_stays_in_order() {
        let open = GateOp::Open { end: Time(5) };
        let mut out = vec![gate(1, open), gate(2, open), gate(1, GateOp::Shut), gate(1, open), gate(3, GateOp::Shut)];
        together(&mut out, 0);
        let first = Effect::Gates { vips: vec![vip(1), vip(2)], op: open };
        let shut = Effect::Gates { vips: vec![vip(1), vip(3)], op: GateOp::Shut };
        assert_eq!(out, [first, shut, gate(1, open)]);
    }
}
