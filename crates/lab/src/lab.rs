//! The switch and what is plugged into it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::host::Host;
use crate::link::Mac;

/// The interface of every host.
pub const INTERFACE: &str = "eth0";
/// Prefix length of the lab's IPv4 network, 10.77.0.0.
pub const PREFIX_V4: u8 = 16;
/// Prefix length of the lab's IPv6 network, fd77::.
pub const PREFIX_V6: u8 = 64;

/// IPv4 address of host number `number`.
#[must_use]
pub fn v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

/// IPv6 address of host number `number`.
#[must_use]
pub fn v6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number))
}

/// Link-layer address of host number `number`.
#[must_use]
pub fn mac(number: u8) -> Mac {
    [2, 0x77, 0, 0, 0, number]
}

/// A switch: a namespace with two bridges. A port is plugged into one of them, so any partition of the network in two can be made
/// while every carrier stays.
pub struct Switch {
    host: Host,
    mainland: u32,
    island: u32,
}

/// Which part of the network a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where everybody is.
    Mainland,
    /// Where those are who are cut off.
    Island,
}

/// A port of the switch with a cable to a host in it.
#[derive(Clone, Debug)]
pub struct Port {
    /// Name of the switch's end.
    pub name: String,
    /// Interface index of the switch's end.
    pub index: u32,
}

impl Switch {
    /// A switch without cables.
    pub fn new() -> io::Result<Switch> {
        let host = Host::new("switch")?;
        let (mainland, island) = host.run(|links| -> io::Result<(u32, u32)> {
            // The switch itself says nothing: no IPv6 on links that are yet to come.
            let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
            let mut bridge = |name| {
                links.add_bridge(name)?;
                let index = links.link(name)?.index;
                links.set_up(index, true).map(|()| index)
            };
            Ok((bridge("mainland")?, bridge("island")?))
        })?;
        Ok(Switch { host, mainland, island })
    }

    /// The namespace of the switch.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Lays a cable to `host`, as its `interface`, with the addresses of `number`.
    pub fn connect(&self, host: &Host, interface: &str, number: u8) -> io::Result<Port> {
        let name = format!("{}-{interface}", host.name());
        let far = host.namespace().try_clone_to_owned()?;
        let (near, peer, mainland) = (name.clone(), interface.to_owned(), self.mainland);
        let index = self.host.run(move |links| -> io::Result<u32> {
            use std::os::fd::AsFd;
            links.add_veth(&near, &peer, Some(mac(number)), far.as_fd())?;
            let index = links.link(&near)?.index;
            links.set_master(index, mainland)?;
            links.set_up(index, true).map(|()| index)
        })?;
        let interface = interface.to_owned();
        host.run(move |links| -> io::Result<()> {
            let index = links.link(&interface)?.index;
            links.add_address(index, IpAddr::V4(v4(number)), PREFIX_V4)?;
            links.add_address(index, IpAddr::V6(v6(number)), PREFIX_V6)?;
            links.set_up(index, true)
        })?;
        Ok(Port { name, index })
    }

    /// Pulls the cable out for good; the host's interface vanishes with it.
    pub fn disconnect(&self, port: &Port) -> io::Result<()> {
        let index = port.index;
        self.host.run(move |links| links.remove_link(index))
    }

    /// Pulls the cable (the host sees its carrier go) or puts it back.
    pub fn set_cable(&self, port: &Port, plugged: bool) -> io::Result<()> {
        let index = port.index;
        self.host.run(move |links| links.set_up(index, plugged))
    }

    /// Moves a port to another part of the network: nobody is told, no carrier changes.
    pub fn set_part(&self, port: &Port, part: Part) -> io::Result<()> {
        let index = port.index;
        let bridge = match part {
            Part::Mainland => self.mainland,
            Part::Island => self.island,
        };
        self.host.run(move |links| links.set_master(index, bridge))
    }
}
