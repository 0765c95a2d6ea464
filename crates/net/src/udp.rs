//! The peers' UDP socket: never blocks, goes first on the way out, with room for a burst.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// Room for some thousand small datagrams.
const RECEIVE_BUFFER: usize = 1 << 20;
/// `TC_PRIO_INTERACTIVE`: the highest queueing priority that needs no capability.
const PRIORITY: i32 = 6;
/// Differentiated services class CS6 (network control), as routing protocols use.
const CLASS: u32 = 0xc0;

/// A non-blocking socket bound to this node's address on the peers' network.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    // All of these help and none is needed. The class comes first: setting it changes the priority too.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = if address.is_ipv4() { socket.set_tos_v4(CLASS) } else { socket.set_tclass_v6(CLASS) };
    let _ = sys::set_priority(&socket, PRIORITY);
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_arrive_with_their_sender_and_nothing_blocks() {
        let mut buffer = [0; 16];
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let any: SocketAddr = any.parse().unwrap();
            let (Ok(a), Ok(b)) = (bind(any), bind(any)) else {
                assert!(any.is_ipv6(), "no IPv4 loopback");
                continue;
            };
            assert_eq!(b.recv_from(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            a.send_to(b"hello", b.local_addr().unwrap()).unwrap();
            assert_eq!(b.recv_from(&mut buffer).unwrap(), (5, a.local_addr().unwrap()));
            assert_eq!(bind(b.local_addr().unwrap()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }
}
