//! Listening sockets: one per worker and address, with the options that accepted connections inherit.
//!
//! TCP_DEFER_ACCEPT is not among them: it would save a wake-up where clients speak first, and cost a second where they wait
//! for the server to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use baton_core::pool::Source;
use baton_net::process;
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_ip_freebind, set_ipv6_freebind, set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport, set_tcp_nodelay,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use socket2::SockRef;

use super::conn::watch_over;

/// Connections that may wait to be accepted, per worker; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Where is listened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    /// The one interface that connections may come in by.
    pub(crate) interface: Option<String>,
    /// `::` is IPv6 alone.
    pub(crate) six_only: bool,
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Place {
        Place { address, interface: None, six_only: false }
    }
}

/// Opens `count` sockets on one address: the kernel spreads new connections over them.
///
/// The address need not be on this host (a VIP that another node holds). `::` listens on IPv4 as well, and on IPv4 alone
/// where the kernel has no IPv6.
pub(crate) fn open(place: impl Into<Place>, count: usize) -> io::Result<Vec<OwnedFd>> {
    let place = place.into();
    let address = place.address;
    match open_all(place.clone(), count) {
        Err(Errno::AFNOSUPPORT) if address.ip().is_unspecified() && !place.six_only => {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            Ok(open_all(Place { address, ..place }, count)?)
        }
        done => Ok(done?),
    }
}

/// One more socket beside others of this balancer on the same address, or in place of those that are gone.
pub(super) fn join(bound: &Place) -> io::Result<OwnedFd> {
    Ok(listening(bound, true)?)
}

fn open_all(mut place: Place, count: usize) -> Result<Vec<OwnedFd>, Errno> {
    // Sockets with SO_REUSEPORT share a port with any other such socket of the same user, another balancer's among
    // them, and no error would say so. One without it says so.
    drop(listening(&place, false)?);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = listening(&place, true)?;
        if place.address.port() == 0 {
            place.address = SocketAddr::try_from(getsockname(&socket)?)?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

fn listening(place: &Place, shared: bool) -> Result<OwnedFd, Errno> {
    let address = place.address;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&fd, true)?;
    set_socket_reuseport(&fd, shared)?;
    if address.is_ipv4() {
        set_ip_freebind(&fd, true)?;
    } else {
        set_ipv6_freebind(&fd, true)?;
        set_ipv6_v6only(&fd, place.six_only || !address.ip().is_unspecified())?;
    }
    by_interface(&fd, place.interface.as_deref())?;
    set_tcp_nodelay(&fd, true)?;
    watch_over(&fd)?;
    bind(&fd, &address)?;
    if shared {
        listen(&fd, BACKLOG)?;
    }
    Ok(fd)
}

/// Has a socket use one interface alone.
fn by_interface(fd: &OwnedFd, interface: Option<&str>) -> Result<(), Errno> {
    let Some(name) = interface else { return Ok(()) };
    let done = SockRef::from(fd).bind_device(Some(name.as_bytes()));
    done.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::NODEV))
}

/// Has a connection come from an address and an interface, its port being the kernel's choice.
pub(super) fn come_from(fd: &OwnedFd, source: &Source) -> Result<(), Errno> {
    by_interface(fd, source.interface.as_deref())?;
    if source.address.is_unspecified() {
        return Ok(());
    }
    // One port may then be used towards several servers at once; a kernel that does not know it takes ports in advance.
    let _ = process::choose_port_late(fd);
    bind(fd, &SocketAddr::new(source.address, 0))
}

/// The local address of a socket.
pub(super) fn local(fd: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(getsockname(fd).ok()?).ok()
}
