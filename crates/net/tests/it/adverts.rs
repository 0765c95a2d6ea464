//! Raw VRRP sockets: what leaves is what a peer's socket gets, with the header that the RFC asks for.

use std::net::IpAddr;
use std::time::Instant;

use baton_net::vrrp::{Received, Vrrp};

use crate::host::{Wire, inside, ms, run};

const GROUP4: &str = "224.0.0.18";
const GROUP6: &str = "ff02::12";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The next packet, if one comes in time.
fn wait(socket: &mut Vrrp, buffer: &mut [u8]) -> Option<Received> {
    let begin = Instant::now();
    while begin.elapsed() < ms(500) {
        if let Some(received) = socket.read(buffer).unwrap() {
            return Some(received);
        }
        std::thread::sleep(ms(5));
    }
    None
}

#[test]
fn adverts_reach_group_and_peer_with_ttl_255() {
    inside("adverts::adverts_reach_group_and_peer_with_ttl_255", || {
        let _wire = Wire::new();
        // Two links of one host on one bridge: what leaves by one comes in by the other.
        for step in [
            "ip link add br0 type bridge",
            "ip link set br0 up",
            "ip link add va type veth peer name va-port",
            "ip link add vb type veth peer name vb-port",
            "ip link set va-port master br0 up",
            "ip link set vb-port master br0 up",
            "ip addr add 10.8.0.1/24 dev va",
            "ip addr add 10.8.0.2/24 dev vb",
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.vb.rp_filter=0 net.ipv4.conf.vb.accept_local=1",
            "ip link set va up",
            "ip link set vb up",
        ] {
            run(step);
        }
        let mut buffer = [0; 4096];
        for (ipv6, source, group) in [(false, "10.8.0.1", GROUP4), (true, "fe80::77", GROUP6)] {
            let (mut from, mut to) = (Vrrp::open("va", ipv6).unwrap(), Vrrp::open("vb", ipv6).unwrap());
            to.join(ip(group)).unwrap();
            to.join(ip(group)).unwrap();
            let begin = Instant::now();
            // A bridge's port may need a moment before it forwards, a link-local address before it may be used.
            let got = loop {
                let sent = from.send((ip(source), ip(group)), 255, &[0x31, 1, 2, 3, 4, 5, 6, 7]);
                let got = wait(&mut to, &mut buffer);
                if got.is_some() || begin.elapsed() > ms(15_000) {
                    break got.unwrap_or_else(|| panic!("nothing comes: {sent:?}"));
                }
            };
            assert_eq!((got.source, got.destination, got.ttl), (ip(source), ip(group), 255));
            assert_eq!(got.payload(&buffer), [0x31, 1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(from.read(&mut buffer).unwrap(), None, "not what it sent itself");
            assert!(from.send((ip("10.8.0.1"), ip("ff02::12")), 255, &[0]).is_err(), "of two families");
        }
    });
}

#[test]
fn a_link_made_anew_is_heard_again() {
    inside("adverts::a_link_made_anew_is_heard_again", || {
        let _wire = Wire::new();
        run("ip link add va type veth peer name vb");
        run("ip addr add 10.8.0.1/24 dev va");
        let mut socket = Vrrp::open("va", false).unwrap();
        socket.join(ip(GROUP4)).unwrap();
        assert!(run("ip maddr show dev va").contains(GROUP4));
        run("ip link delete va");
        run("ip link add va type veth peer name vb");
        run("ip link set va up");
        run("ip link set vb up");
        assert!(!run("ip maddr show dev va").contains(GROUP4));
        socket.refresh().unwrap();
        assert!(run("ip maddr show dev va").contains(GROUP4));
        socket.send((ip("10.8.0.1"), ip(GROUP4)), 255, &[1]).unwrap();
        assert_eq!(Vrrp::open("nowhere", false).unwrap_err().raw_os_error(), Some(19));
    });
}
