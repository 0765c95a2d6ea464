//! Packet sockets on a VIP's link: announcing, probing, and hearing others claim the address.
//!
//! The kernel sorts out with classic BPF what concerns the watched addresses, so a busy link wakes nobody. Sockets are
//! of type `SOCK_DGRAM`: the kernel makes and strips the Ethernet header.

mod filter;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use baton_core::keeper::Mac;
use baton_core::settings::{Source, Vip};
use baton_wire::arp::{self, Arp};
use baton_wire::ndp::{self, Ndp};
use rustix::event::epoll;
use socket2::{Domain, SockFilter, Socket, Type};

use crate::rtnl;
use crate::sys::{self, LinkAddress};

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const BROADCAST: Mac = [0xff; 6];
/// `ARPHRD_ETHER`: links of other kinds have neither ARP nor 6-byte addresses.
const ETHERNET: u16 = 1;
/// Frames taken in one go, so that a flood of claims cannot keep the caller from its deadlines.
const BATCH: usize = 64;

/// Another host said that an address is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// The other host.
    pub mac: Mac,
    /// How it said so.
    pub kind: ClaimKind,
}

/// How an address was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// As sender of an ARP request (a gratuitous one, or asking for somebody else).
    ArpRequest,
    /// As sender of an ARP reply.
    ArpReply,
    /// As source of a neighbour solicitation.
    Solicitation,
    /// As target of a neighbour advertisement.
    Advertisement,
}

/// What the kernel lets through of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Some,
    Any,
}

/// The packet sockets of one link.
#[derive(Debug)]
pub struct Packet {
    interface: String,
    index: u32,
    /// Readable when one of the sockets is.
    epoll: OwnedFd,
    arp: Socket,
    /// Only while there are IPv6 addresses to watch: it costs every IPv6 packet of the link a look.
    ndp: Option<Socket>,
    watched: BTreeSet<IpAddr>,
}

impl Packet {
    /// Opens a socket on a link; watches nothing yet.
    pub fn open(interface: &str) -> io::Result<Packet> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (index, arp) = open_on(interface, ARP, &filter::nothing())?;
        epoll::add(&epoll, &arp, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        Ok(Packet { interface: interface.to_owned(), index, epoll, arp, ndp: None, watched: BTreeSet::new() })
    }

    /// The link's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Which addresses of `vips` are listened for: those of this link.
    pub fn watch(&mut self, vips: &[Vip]) -> io::Result<()> {
        let before = self.kinds();
        self.watched = vips.iter().filter(|vip| vip.interface == self.interface).map(|vip| vip.address).collect();
        self.filter(before)
    }

    /// Listens for one more address.
    pub fn watch_one(&mut self, address: IpAddr) -> io::Result<()> {
        let before = self.kinds();
        if self.watched.insert(address) { self.filter(before) } else { Ok(()) }
    }

    /// Listens for one address less.
    pub fn unwatch(&mut self, address: IpAddr) -> io::Result<()> {
        let before = self.kinds();
        if self.watched.remove(&address) { self.filter(before) } else { Ok(()) }
    }

    /// How the kernel tells apart what concerns the watched addresses: one by one, or (too many) not at all.
    fn kinds(&self) -> [Kind; 2] {
        let of = |count| match count {
            0 => Kind::Nothing,
            1..=filter::ADDRESSES_MAX => Kind::Some,
            _ => Kind::Any,
        };
        let v4 = self.watched.iter().filter(|a| a.is_ipv4()).count();
        [of(v4), of(self.watched.len() - v4)]
    }

    fn filter(&mut self, before: [Kind; 2]) -> io::Result<()> {
        let after = self.kinds();
        if before == after && after.iter().all(|kind| *kind != Kind::Some) {
            return Ok(());
        }
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in &self.watched {
            match address {
                IpAddr::V4(a) => v4.push(*a),
                IpAddr::V6(a) => v6.push(*a),
            }
        }
        let arp = if after[0] == Kind::Any { filter::any_arp() } else { filter::arp(&v4) };
        self.arp.attach_filter(&arp)?;
        // Closing a socket takes it out of the epoll set.
        self.ndp = None;
        if !v6.is_empty() {
            let ndp = if after[1] == Kind::Any { filter::any_ndp() } else { filter::ndp(&v6) };
            let (_, socket) = open_on(&self.interface, IPV6, &ndp)?;
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
            self.ndp = Some(socket);
        }
        Ok(())
    }

    /// Opens the sockets anew if the link was made anew under its name; to be called when a link appears.
    pub fn refresh(&mut self) -> io::Result<()> {
        let bound = LinkAddress::of(&self.arp.local_addr()?).map_or(0, |address| address.index);
        if rtnl::index(&self.arp, &self.interface)? == bound {
            return Ok(());
        }
        let mut fresh = Packet::open(&self.interface)?;
        let vips: Vec<Vip> = self.watched.iter().map(|address| plain_vip(*address, &self.interface)).collect();
        fresh.watch(&vips)?;
        *self = fresh;
        Ok(())
    }

    /// One round of announcements: gratuitous ARP as request and as reply, or an unsolicited advertisement.
    pub fn announce(&mut self, vip: &Vip) -> io::Result<()> {
        let Some(mac) = self.sender()? else { return Ok(()) };
        match vip.address {
            IpAddr::V4(address) => {
                for operation in [arp::Operation::Request, arp::Operation::Reply] {
                    self.send(ARP, BROADCAST, &Arp::announcement(operation, mac, address).emit())?;
                }
                Ok(())
            }
            IpAddr::V6(address) => {
                let announcement = Ndp::announcement(mac, address, forwards(&self.interface));
                self.send(IPV6, ndp::multicast_mac(announcement.destination), &announcement.emit())
            }
        }
    }

    /// One announcement as keepalived sends it: a gratuitous ARP request, or an unsolicited advertisement.
    pub fn announce_once(&mut self, address: IpAddr) -> io::Result<()> {
        let Some(mac) = self.sender()? else { return Ok(()) };
        match address {
            IpAddr::V4(address) => self.send(ARP, BROADCAST, &Arp::gratuitous(mac, address).emit()),
            IpAddr::V6(address) => {
                let announcement = Ndp::announcement(mac, address, forwards(&self.interface));
                self.send(IPV6, ndp::multicast_mac(announcement.destination), &announcement.emit())
            }
        }
    }

    /// Asks once who has the address, without claiming it.
    pub fn probe(&mut self, vip: &Vip) -> io::Result<()> {
        let Some(mac) = self.sender()? else { return Ok(()) };
        match vip.address {
            IpAddr::V4(address) => self.send(ARP, BROADCAST, &Arp::probe(mac, address).emit()),
            IpAddr::V6(address) => {
                let probe = Ndp::probe(address);
                self.send(IPV6, ndp::multicast_mac(probe.destination), &probe.emit())
            }
        }
    }

    /// What was claimed since the last call; bounded (call again while it is readable).
    pub fn read(&mut self) -> io::Result<Vec<Claim>> {
        let own = self.mac()?;
        let mut claims = Vec::new();
        let mut frame = [0; 2048];
        for socket in [Some(&self.arp), self.ndp.as_ref()].into_iter().flatten() {
            for _ in 0..BATCH {
                match sys::receive_from(socket, &mut frame) {
                    Ok((length, from)) => {
                        let from = LinkAddress::of(&from);
                        claims.extend(from.and_then(|from| claim(from, &frame[..length])));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The link went down or away: the monitor tells.
                    Err(error) if matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO)) => {
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        claims.retain(|claim| Some(claim.mac) != own && self.watched.contains(&claim.address));
        Ok(claims)
    }

    /// The link's present address; `None` on a link without Ethernet addresses.
    pub fn mac(&self) -> io::Result<Option<Mac>> {
        let address = LinkAddress::of(&self.arp.local_addr()?);
        Ok(address.filter(|address| address.hardware == ETHERNET).and_then(|address| address.mac))
    }

    /// The link's address, of the link that has the name now. On links without such addresses nobody is told anything.
    fn sender(&mut self) -> io::Result<Option<Mac>> {
        if let Some(mac) = self.mac()? {
            return Ok(Some(mac));
        }
        self.refresh()?;
        self.mac()
    }

    fn send(&mut self, protocol: u16, to: Mac, bytes: &[u8]) -> io::Result<()> {
        let to = LinkAddress { protocol, index: self.index, hardware: 0, mac: Some(to) };
        match self.arp.send_to(bytes, &to.to_socket()) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)) => {
                self.refresh()?;
                let to = LinkAddress { index: self.index, ..to };
                self.arp.send_to(bytes, &to.to_socket()).map(|_| ())
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Packet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// A non-blocking socket for one Ethernet protocol on one link. The filter is there before the first frame can be.
fn open_on(interface: &str, protocol: u16, filter: &[SockFilter]) -> io::Result<(u32, Socket)> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::PACKET, kind, None)?;
    let index = rtnl::index(&socket, interface)?;
    socket.attach_filter(filter)?;
    socket.bind(&LinkAddress { protocol, index, hardware: 0, mac: None }.to_socket())?;
    Ok((index, socket))
}

fn plain_vip(address: IpAddr, interface: &str) -> Vip {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    Vip { address, prefix, interface: interface.to_owned(), priority: 0, source: Source::Peers }
}

/// The interface routes IPv6 packets, so its advertisements carry the router flag.
fn forwards(interface: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/forwarding")).is_ok_and(|text| text.trim() != "0")
}

/// What a frame claims, if it claims anything.
fn claim(from: LinkAddress, packet: &[u8]) -> Option<Claim> {
    match from.protocol {
        ARP => {
            let arp = Arp::parse(packet).ok().filter(|arp| arp.sender != Ipv4Addr::UNSPECIFIED)?;
            let kind = match arp.operation {
                arp::Operation::Request => ClaimKind::ArpRequest,
                arp::Operation::Reply => ClaimKind::ArpReply,
            };
            Some(Claim { address: arp.sender.into(), mac: arp.sender_mac, kind })
        }
        IPV6 => {
            let ndp = Ndp::parse(packet).ok()?;
            let (address, kind) = match ndp.kind {
                ndp::Kind::Solicitation => (ndp.source, ClaimKind::Solicitation),
                ndp::Kind::Advertisement { .. } => (ndp.target, ClaimKind::Advertisement),
            };
            let mac = ndp.mac.or(from.mac).filter(|_| address != Ipv6Addr::UNSPECIFIED)?;
            Some(Claim { address: address.into(), mac, kind })
        }
        _ => None,
    }
}
