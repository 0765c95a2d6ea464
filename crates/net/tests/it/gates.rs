//! Gates: closed is silent, open is reachable, and the end comes by itself.

use std::thread::sleep;

use baton_core::keeper::{GateDone, GateOp};
use baton_net::clock::now;
use baton_net::gate::Gates;
use baton_net::rtnl::Rtnl;

use crate::host::{Wire, inside, ms, run, succeeds, vip};

const V4: &str = "10.7.0.100";
const V6: &str = "fd07::100";

/// Both addresses on the host, guarded, with gates shut.
fn guarded() -> (Wire, Gates) {
    let wire = Wire::new();
    let vips = [vip(V4), vip(V6)];
    let mut gates = Gates::open(true).unwrap();
    gates.install(&vips).unwrap();
    gates.guard(&vips, ms(60_000)).unwrap();
    let mut rtnl = Rtnl::open().unwrap();
    for vip in &vips {
        rtnl.put_address(vip, ms(60_000)).unwrap();
    }
    (wire, gates)
}

#[test]
fn shut_is_silent_open_is_reachable_and_other_addresses_are_untouched() {
    inside("gates::shut_is_silent_open_is_reachable_and_other_addresses_are_untouched", || {
        let (wire, mut gates) = guarded();
        for address in [V4, V6] {
            assert!(!wire.is_answered(address), "{address} is answered for while shut");
            assert!(!wire.reaches(address), "{address} is reachable while shut");
            wire.there(&format!("ip neigh replace {address} lladdr 02:00:00:00:00:0a dev e0"));
            assert!(!wire.pings(address), "{address} accepts packets while shut");
            wire.there(&format!("ip neigh del {address} dev e0"));

            let end = now() + ms(60_000);
            assert_eq!(gates.apply(&vip(address), GateOp::Open { end }), GateDone::Open { end });
            assert!(wire.is_answered(address), "{address} is not answered for while open");
            assert!(wire.reaches(address), "{address} is not reachable while open");

            assert_eq!(gates.apply(&vip(address), GateOp::Shut), GateDone::Shut);
            assert!(!wire.reaches(address), "{address} is reachable after shutting");
            assert_eq!(gates.apply(&vip(address), GateOp::Shut), GateDone::Shut, "twice");
        }
        assert!(wire.reaches("10.7.0.1") && wire.reaches("fd07::1"), "the host's own addresses");
        assert!(succeeds("ping -c1 -W1 -I 10.7.0.1 10.7.0.2"), "out of the host");
    });
}
