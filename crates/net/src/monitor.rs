//! What the kernel tells by itself: links and addresses that come, change and go.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use baton_core::keeper::{Event, Link};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkEvent, LinkMessage};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};

use crate::rtnl::{self, Messages, Rtnl};

/// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Room for some thousand notifications; more are made good by a dump.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Datagrams taken in one go, so that a storm of notifications cannot keep the caller from its deadlines.
const BATCH: usize = 64;

/// Notifications were lost: what is known may be wrong, dump everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kernel dropped notifications about links and addresses; everything is read again")
    }
}

impl std::error::Error for Overflow {}

/// A subscription to notifications about links and addresses.
#[derive(Debug)]
pub struct Monitor {
    socket: OwnedFd,
    /// Names by index: a notification about an address has only the index.
    names: BTreeMap<u32, String>,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Subscribes. What happened before is for [`Rtnl::links`] and [`Rtnl::addresses`] to tell; open this first.
    pub fn open() -> io::Result<Monitor> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        // Past the limit only with CAP_NET_ADMIN in the first user namespace: a smaller buffer overflows sooner.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        }
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        let mut monitor = Monitor { socket, names: BTreeMap::new(), buffer: vec![0; 64 * 1024] };
        monitor.learn_names()?;
        Ok(monitor)
    }

    /// What happened, oldest first; empty when nothing did, bounded when much did (call again while it is readable).
    pub fn read(&mut self) -> Result<Vec<Event>, Overflow> {
        let mut events = Vec::new();
        for _ in 0..BATCH {
            match rustix::net::recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => {
                    let bytes = self.buffer[..length].to_vec();
                    self.parse(&bytes, &mut events);
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => {
                    // ENOBUFS, or something that only a dump can make good as well.
                    let _ = self.learn_names();
                    return Err(Overflow);
                }
            }
        }
        Ok(events)
    }

    fn learn_names(&mut self) -> io::Result<()> {
        self.names = Rtnl::open()?.link_names()?;
        Ok(())
    }

    fn parse(&mut self, bytes: &[u8], events: &mut Vec<Event>) {
        for bytes in Messages(bytes) {
            if let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
                && let NetlinkPayload::InnerMessage(message) = message.payload
            {
                self.translate(message, events);
            }
        }
    }

    fn translate(&mut self, message: RouteNetlinkMessage, events: &mut Vec<Event>) {
        match message {
            // The bridge family tells about ports, not about links.
            RouteNetlinkMessage::NewLink(m) if is_link(&m) => {
                let Some(link) = rtnl::read_link(&m) else { return };
                let interface = link.name.clone();
                let renamed = self.names.insert(m.header.index, link.name.clone()).filter(|old| *old != link.name);
                events.extend(renamed.map(|name| Event::Link(Link { name, up: false, mac: None })));
                events.push(Event::Link(link));
                if is_reroute(&m) {
                    events.push(Event::Rerouted { interface });
                }
            }
            RouteNetlinkMessage::DelLink(m) if is_link(&m) => {
                if let Some(name) = self.names.remove(&m.header.index) {
                    events.push(Event::Link(Link { name, up: false, mac: None }));
                }
            }
            RouteNetlinkMessage::NewAddress(m) => {
                let Some(interface) = self.names.get(&m.header.index) else { return };
                events.extend(rtnl::read_address(&m, interface).map(Event::AddressPut));
            }
            RouteNetlinkMessage::DelAddress(m) => {
                let Some(interface) = self.names.get(&m.header.index) else { return };
                let gone = rtnl::read_address(&m, interface);
                events.extend(gone.map(|a| Event::AddressGone { interface: a.interface, address: a.address }));
            }
            _ => {}
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_link(message: &LinkMessage) -> bool {
    message.header.interface_family == netlink_packet_route::AddressFamily::Unspec
}

/// A bond or team changed its active port, or a macvlan's or VLAN's lower link did: neighbours must learn anew.
fn is_reroute(message: &LinkMessage) -> bool {
    let event = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Event(event) => Some(*event),
        _ => None,
    });
    matches!(event, Some(LinkEvent::NotifyPeers | LinkEvent::BondingFailover))
}
