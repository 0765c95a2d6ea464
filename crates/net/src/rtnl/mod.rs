//! Route netlink on a blocking socket: links, addresses, routes, neighbours.
//!
//! The kernel answers within the call or the socket's timeout. Verbs for addresses serve the daemon, the rest builds labs.

mod address;
mod link;
mod neighbour;
mod route;
mod rule;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

pub(crate) use address::read as read_address;
pub use address::{Change, Dress, Lasting, MARK};
pub use link::MacvlanMode;
pub(crate) use link::read as read_link;
pub use neighbour::Neighbour;
pub use route::{Hop, Kind, Route};
pub use rule::Rule;

/// The kernel answers at once; a reply that takes longer was lost.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Dumps come in messages of at most 32 KiB.
const BUFFER: usize = 64 * 1024;
/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// Changes in one datagram: their answers fit into the socket's buffer.
const TOGETHER: usize = 64;
/// A dump that others keep changing under our eyes is taken as it is after so many attempts.
const DUMP_ATTEMPTS: usize = 5;

/// A route netlink socket in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Rtnl {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Rtnl {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> io::Result<Rtnl> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(TIMEOUT))?;
        Ok(Rtnl { socket, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// The index of a link.
    pub fn index(&self, name: &str) -> io::Result<u32> {
        index(&self.socket, name)
    }

    /// One change, acknowledged.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let sequence = self.send(message, flags | NLM_F_REQUEST | NLM_F_ACK)?;
        self.replies(sequence, |_| ()).map(|_| ())
    }

    /// Changes in as few datagrams as their answers allow, each acknowledged: the results in their order. What follows a
    /// failure is done all the same.
    fn change_all(&mut self, changes: Vec<(RouteNetlinkMessage, u16)>) -> Vec<io::Result<()>> {
        let mut results = Vec::with_capacity(changes.len());
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let (mut bytes, mut waiting) = (Vec::new(), BTreeMap::new());
            for (message, flags) in changes.by_ref().take(TOGETHER) {
                let sequence = self.write(message, flags | NLM_F_REQUEST | NLM_F_ACK, &mut bytes);
                waiting.insert(sequence, results.len());
                results.push(Err(io::ErrorKind::TimedOut.into()));
            }
            if let Err(e) = self.acknowledgements(&bytes, &mut waiting, &mut results) {
                waiting.into_values().for_each(|at| results[at] = Err(e.kind().into()));
            }
        }
        results
    }

    /// Sends changes and puts what the kernel says of each in its place.
    fn acknowledgements(
        &mut self,
        bytes: &[u8],
        waiting: &mut BTreeMap<u32, usize>,
        results: &mut [io::Result<()>],
    ) -> io::Result<()> {
        rustix::net::sendto(&self.socket, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        while !waiting.is_empty() {
            let (length, _) = rustix::net::recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            for bytes in Messages(&self.buffer[..length]) {
                let Ok(reply) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else { continue };
                if let NetlinkPayload::Error(error) = reply.payload
                    && let Some(at) = waiting.remove(&reply.header.sequence_number)
                {
                    results[at] = error.code.map_or(Ok(()), |_| Err(error.to_io()));
                }
            }
        }
        Ok(())
    }

    /// All objects of a kind; again when they changed meanwhile.
    fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut all = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            all.clear();
            let sequence = self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let interrupted = self.replies(sequence, |reply| all.push(reply))?;
            if !interrupted {
                break;
            }
        }
        Ok(all)
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        let mut bytes = Vec::new();
        let sequence = self.write(message, flags, &mut bytes);
        rustix::net::sendto(&self.socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(sequence)
    }

    /// Appends a message with the next sequence number.
    fn write(&mut self, message: RouteNetlinkMessage, flags: u16, bytes: &mut Vec<u8>) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let at = bytes.len();
        bytes.resize(at + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[at..at + message.buffer_len()]);
        self.sequence
    }

    /// Reads until the request is answered; true when a dump was interrupted by a change.
    fn replies(&mut self, sequence: u32, mut each: impl FnMut(RouteNetlinkMessage)) -> io::Result<bool> {
        let mut interrupted = false;
        loop {
            let (length, _) = rustix::net::recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            for bytes in Messages(&self.buffer[..length]) {
                // What this library version cannot read (an exotic link type, say) must not hide all the rest.
                let Ok(reply) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else { continue };
                if reply.header.sequence_number != sequence {
                    continue;
                }
                interrupted |= reply.header.flags & NLM_F_DUMP_INTR != 0;
                match reply.payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Error(error) => return error.code.map_or(Ok(interrupted), |_| Err(error.to_io())),
                    NetlinkPayload::Done(_) => return Ok(interrupted),
                    _ => {}
                }
            }
        }
    }
}

/// The netlink messages of one datagram, each from its header on.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_ne_bytes(*self.0.first_chunk()?)).ok()?;
        let message = self.0.get(..length).filter(|message| message.len() >= HEADER)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// The index of a link by its name.
pub(crate) fn index(socket: &impl std::os::fd::AsFd, name: &str) -> io::Result<u32> {
    Ok(rustix::net::netdevice::name_to_index(socket, name)?)
}

/// `false`: what was to be made is there.
fn there_is_fine(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        other => other.map(|()| true),
    }
}

/// `Ok` also when the object that was to go is gone already.
fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ESRCH | libc::ENOENT | libc::ENXIO)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
