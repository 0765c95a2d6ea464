//! The kernel's addresses for one VIP: what is wanted, what is there, what to do. `apply(diff(d, a), a) == d`.

use std::time::Duration;

use super::event::HostAddress;
use crate::settings::Vip;

/// One step towards what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    Remove(HostAddress),
}

/// Steps from `actual` (every entry of the host with this address) to `wanted` (the VIP on its interface, ours) or
/// to nothing. What others left is removed before ours is put: only so the mark and the lifetime are ours.
pub(crate) fn diff(vip: &Vip, wanted: bool, actual: &[HostAddress]) -> Vec<Op> {
    let fits = |a: &HostAddress| wanted && a.mine && a.interface == vip.interface && a.prefix == vip.prefix;
    let mut ops: Vec<Op> = actual.iter().filter(|a| !fits(a)).cloned().map(Op::Remove).collect();
    if wanted && !actual.iter().any(fits) {
        ops.push(Op::Put);
    }
    ops
}

/// `valid_lft` of a held address: the coarse second layer behind the gates.
pub(crate) fn lifetime(lease: Duration) -> Duration {
    (lease + Duration::from_secs(2)).max(Duration::from_secs(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Source;
    use proptest::prelude::*;

    fn vip() -> Vip {
        let address = "10.0.0.100".parse().expect("it is one");
        Vip { address, prefix: 32, interface: "eth0".into(), priority: 100, source: Source::Peers }
    }

    fn ours() -> HostAddress {
        HostAddress {
            interface: "eth0".into(),
            address: vip().address,
            prefix: 32,
            mine: true,
            permanent: false,
            secondary: false,
        }
    }

    fn apply(ops: &[Op], actual: &[HostAddress]) -> Vec<HostAddress> {
        let mut after = actual.to_vec();
        for op in ops {
            match op {
                Op::Put => after.push(ours()),
                Op::Remove(a) => after.retain(|x| x != a),
            }
        }
        after
    }

    prop_compose! {
        fn entry()(eth1 in any::<bool>(), prefix in prop_oneof![Just(32), Just(24)], mine in any::<bool>()) -> HostAddress {
            HostAddress { interface: if eth1 { "eth1" } else { "eth0" }.into(), prefix, mine, permanent: !mine, ..ours() }
        }
    }

    proptest! {
        #[test]
        fn the_two_laws(wanted in any::<bool>(), mut actual in proptest::collection::vec(entry(), 0..4)) {
            actual.dedup();
            let after = apply(&diff(&vip(), wanted, &actual), &actual);
            prop_assert_eq!(diff(&vip(), wanted, &after), vec![]);
            prop_assert_eq!(after.contains(&ours()), wanted);
            prop_assert!(after.iter().all(|a| *a == ours()));
        }
    }
}
