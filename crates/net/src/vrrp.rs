//! Raw sockets for VRRP (protocol 112): one per interface and family, whatever number of virtual routers share it.
//!
//! What is sent carries its own IP header, so that routers with different source addresses share the socket, and every
//! advert has the TTL and class of service that the RFC and the originals give it.

use std::io;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};

use baton_wire::ip;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

use crate::rtnl;
use crate::sys;

/// Room for some thousand adverts.
const RECEIVE_BUFFER: usize = 1 << 20;
/// `TC_PRIO_CONTROL`: before everything else that leaves by this link.
const PRIORITY: i32 = 7;

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom: a group or this host.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// How many bytes of the buffer are header, and where the payload ends.
    span: (usize, usize),
}

impl Received {
    /// The advert's bytes in the buffer that was read into.
    #[must_use]
    pub fn payload<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        buffer.get(self.span.0..self.span.1).unwrap_or_default()
    }
}

/// The socket of one interface and family.
#[derive(Debug)]
pub struct Vrrp {
    interface: String,
    index: u32,
    ipv6: bool,
    groups: Vec<IpAddr>,
    socket: Socket,
    /// Identification of the next IPv4 packet.
    id: u16,
}

impl Vrrp {
    /// Opens a socket on a link. It hears what is sent to this host.
    pub fn open(interface: &str, ipv6: bool) -> io::Result<Vrrp> {
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(Protocol::from(i32::from(ip::VRRP))))?;
        let index = rtnl::index(&socket, interface)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        if ipv6 {
            socket.set_header_included_v6(true)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_if_v6(index)?;
            socket.set_recv_hoplimit_v6(true)?;
            sys::receive_destination(&socket)?;
        } else {
            socket.set_header_included_v4(true)?;
            socket.set_multicast_loop_v4(false)?;
        }
        // Both help and neither is needed.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let _ = sys::set_priority(&socket, PRIORITY);
        Ok(Vrrp { interface: interface.to_owned(), index, ipv6, groups: Vec::new(), socket, id: 0 })
    }

    /// Hears what is sent to a group, too.
    pub fn join(&mut self, group: IpAddr) -> io::Result<()> {
        if self.groups.contains(&group) {
            return Ok(());
        }
        match group {
            IpAddr::V4(group) => {
                self.socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(self.index))?
            }
            IpAddr::V6(group) => self.socket.join_multicast_v6(&group, self.index)?,
        }
        self.groups.push(group);
        Ok(())
    }

    /// Opens the socket anew if the link was made anew under its name; to be called when a link appears.
    pub fn refresh(&mut self) -> io::Result<()> {
        if rtnl::index(&self.socket, &self.interface)? != self.index {
            let mut fresh = Vrrp::open(&self.interface, self.ipv6)?;
            for group in &self.groups {
                fresh.join(*group)?;
            }
            *self = fresh;
        }
        Ok(())
    }

    /// Sends one advert with that TTL or hop limit. Source and destination are of the socket's family.
    pub fn send(&mut self, (source, destination): (IpAddr, IpAddr), ttl: u8, advert: &[u8]) -> io::Result<()> {
        let (packet, to): (Vec<u8>, SockAddr) = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(to)) => {
                // Zero would be filled in by the kernel.
                self.id = self.id.checked_add(1).unwrap_or(1);
                let header = ip::v4((source, to), ttl, self.id, advert.len());
                ([&header, advert].concat(), SocketAddrV4::new(to, 0).into())
            }
            (IpAddr::V6(source), IpAddr::V6(to)) => {
                let header = ip::v6((source, to), ttl, advert.len());
                let scope = if to.is_multicast() || to.is_unicast_link_local() { self.index } else { 0 };
                ([&header[..], advert].concat(), SocketAddrV6::new(to, 0, 0, scope).into())
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let sent = self.socket.send_to(&packet, &to)?;
        if sent == packet.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The next packet, if there is one. Packets that are no IP are skipped.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        loop {
            let received = if self.ipv6 { self.read_v6(buffer) } else { self.read_v4(buffer) };
            match received {
                Ok(None) => {}
                Ok(received) => return Ok(received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The link went down or away: the monitor tells.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO)) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read_v4(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let (length, _) = sys::receive_from(&self.socket, buffer)?;
        let packet = &buffer[..length];
        let split = ip::split_v4(packet).map(|(header, payload)| {
            let begin = usize::from(packet[0] & 0x0f) * 4;
            Received {
                source: header.source.into(),
                destination: header.destination.into(),
                ttl: header.ttl,
                span: (begin, begin + payload.len()),
            }
        });
        Ok(split)
    }

    fn read_v6(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let beside = sys::receive_beside(&self.socket, buffer)?;
        let received = beside.destination.zip(beside.hop_limit).map(|(destination, ttl)| Received {
            source: beside.source.into(),
            destination: destination.into(),
            ttl,
            span: (0, beside.length),
        });
        Ok(received)
    }
}

impl AsFd for Vrrp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
