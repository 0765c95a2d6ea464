//! Listening sockets: one per worker and address, with the options that accepted connections inherit.
//!
//! TCP_DEFER_ACCEPT is not among them: it would save a wake-up where clients speak first, and cost a second where they wait
//! for the server to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_ip_freebind, set_ipv6_freebind, set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport, set_tcp_nodelay,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

use super::conn::watch_over;

/// Connections that may wait to be accepted, per worker; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Opens `count` sockets on one address: the kernel spreads new connections over them.
///
/// The address need not be on this host (a VIP that another node holds). `::` listens on IPv4 as well, and on IPv4 alone
/// where the kernel has no IPv6.
pub(crate) fn open(address: SocketAddr, count: usize) -> io::Result<Vec<OwnedFd>> {
    match open_all(address, count) {
        Err(Errno::AFNOSUPPORT) if address.ip().is_unspecified() => {
            Ok(open_all(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()), count)?)
        }
        done => Ok(done?),
    }
}

/// One more socket beside others of this balancer on the same address, or in place of those that are gone.
pub(super) fn join(bound: SocketAddr) -> io::Result<OwnedFd> {
    Ok(listening(bound, true)?)
}

fn open_all(address: SocketAddr, count: usize) -> Result<Vec<OwnedFd>, Errno> {
    // Sockets with SO_REUSEPORT share a port with any other such socket of the same user, another balancer's among
    // them, and no error would say so. One without it says so.
    drop(listening(address, false)?);
    let mut address = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = listening(address, true)?;
        if address.port() == 0 {
            address = SocketAddr::try_from(getsockname(&socket)?)?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

fn listening(address: SocketAddr, shared: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&fd, true)?;
    set_socket_reuseport(&fd, shared)?;
    if address.is_ipv4() {
        set_ip_freebind(&fd, true)?;
    } else {
        set_ipv6_freebind(&fd, true)?;
        set_ipv6_v6only(&fd, !address.ip().is_unspecified())?;
    }
    set_tcp_nodelay(&fd, true)?;
    watch_over(&fd)?;
    bind(&fd, &address)?;
    if shared {
        listen(&fd, BACKLOG)?;
    }
    Ok(fd)
}

/// The local address of a socket.
pub(super) fn local(fd: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(getsockname(fd).ok()?).ok()
}
