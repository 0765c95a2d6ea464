//! Ports: only what is allowed is reached at a closed address, and a redirected port arrives at the other one.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};

use baton_net::ports::{self, Ports};
use baton_net::rtnl::Rtnl;
use baton_net::table::Instance;

use crate::host::{Wire, inside, ms, run, vip};

const TCP: u8 = 6;

/// Answers every connection with the port that it was accepted at.
fn serve(port: u16) {
    let listener = TcpListener::bind(("::", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(port.to_string().as_bytes());
        }
    });
}

fn here(address: &str, port: u16) -> String {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    let mut text = String::new();
    let mut stream = std::net::TcpStream::connect_timeout(&address, ms(500)).unwrap();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn there(wire: &Wire, address: &str, port: u16) -> bool {
    let connect = format!("timeout 0.4 bash -c 'exec 3<>/dev/tcp/{address}/{port} && cat <&3'");
    let output = wire.command(&connect).output().unwrap();
    !output.stdout.is_empty()
}

#[test]
fn only_allowed_ports_are_reached_and_redirected_ones_arrive() {
    inside("ports::only_allowed_ports_are_reached_and_redirected_ones_arrive", || {
        let wire = Wire::new();
        let mut rtnl = Rtnl::open().unwrap();
        for address in ["10.7.0.100", "fd07::100"] {
            rtnl.put_address(&vip(address), ms(60_000)).unwrap();
        }
        [80, 81, 9000].into_iter().for_each(serve);
        let addresses: [IpAddr; 2] = ["10.7.0.100".parse().unwrap(), "fd07::100".parse().unwrap()];
        let ports = Ports {
            closed: addresses.into(),
            allowed: addresses.into_iter().flat_map(|a| [(a, TCP, 80), (a, TCP, 9000)]).collect(),
            redirected: addresses.into_iter().map(|a| (SocketAddr::new(a, 82), 9000)).collect(),
        };
        let own = Instance::of(["svcs".to_owned()]);
        let other = Ports { closed: ["10.7.0.99".parse().unwrap()].into(), ..Ports::default() };
        other.apply(&Instance::default()).unwrap();
        ports.apply(&own).unwrap();
        ports.apply(&own).unwrap();
        for address in ["10.7.0.100", "fd07::100"] {
            assert!(there(&wire, address, 80), "{address}: an allowed port");
            assert!(!there(&wire, address, 81), "{address}: another one");
            assert!(there(&wire, address, 82), "{address}: one that leads elsewhere");
            assert_eq!(here(address, 82), "9000", "{address}: from this host itself");
            assert!(!wire.pings(address), "{address}: only the ports");
            assert!(wire.is_answered(address), "{address}: neighbours find it");
        }
        for own in ["10.7.0.1", "fd07::1"] {
            assert!(there(&wire, own, 81) && wire.pings(own), "{own}: other addresses are as they were");
        }
        Ports::default().apply(&own).unwrap();
        assert_eq!(run("nft list tables").trim(), "table inet baton", "another instance's");
        ports.apply(&own).unwrap();
        assert_eq!(ports::remove().unwrap(), ["inet baton", "inet baton/svcs"]);
        assert_eq!(run("nft list tables"), "", "nothing is left");
        assert!(there(&wire, "10.7.0.100", 81));
    });
}

#[test]
fn the_link_of_the_default_route() {
    inside("ports::the_link_of_the_default_route", || {
        let _wire = Wire::new();
        let mut rtnl = Rtnl::open().unwrap();
        assert_eq!(rtnl.default_link().unwrap(), None);
        run("ip link add d0 type veth peer name d1 && ip addr add 10.8.0.1/24 dev d0");
        run("ip link set d0 up && ip link set d1 up");
        run("ip -6 route add default via fd07::2 dev e0");
        assert_eq!(rtnl.default_link().unwrap().as_deref(), Some("e0"), "only IPv6 has one");
        run("ip route add default via 10.8.0.2 dev d0 metric 100");
        assert_eq!(rtnl.default_link().unwrap().as_deref(), Some("d0"));
        run("ip route add default via 10.7.0.2 dev e0 metric 50");
        assert_eq!(rtnl.default_link().unwrap().as_deref(), Some("e0"), "the lower metric");
    });
}
