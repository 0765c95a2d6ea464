//! What the standard library and rustix do not offer safely: link-layer socket addresses, what the kernel says beside an
//! IPv6 packet, pages of the program. The only `unsafe` of the project; each block says why it holds.
#![allow(unsafe_code, reason = "system calls and socket addresses without a safe wrapper live here and nowhere else")]

use std::io;
use std::mem::{MaybeUninit, size_of, size_of_val};
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use baton_wire::Mac;
use socket2::{SockAddr, SockAddrStorage, Socket};

/// Who sent or gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkAddress {
    /// Ethernet protocol, host order.
    pub(crate) protocol: u16,
    /// Interface index.
    pub(crate) index: u32,
    /// `ARPHRD_*`; only when the kernel made the address.
    pub(crate) hardware: u16,
    /// The link-layer address, when it is an Ethernet one.
    pub(crate) mac: Option<Mac>,
}

impl LinkAddress {
    /// As the kernel wants it.
    pub(crate) fn to_socket(self) -> SockAddr {
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: `sockaddr_ll` is a socket address of family `AF_PACKET`: plain integers, no larger than the storage.
        let ll = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        ll.sll_family = libc::AF_PACKET as u16;
        ll.sll_protocol = self.protocol.to_be();
        ll.sll_ifindex = i32::try_from(self.index).unwrap_or(0);
        if let Some(mac) = self.mac {
            ll.sll_halen = 6;
            ll.sll_addr[..6].copy_from_slice(&mac);
        }
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the storage was zeroed and then filled in as the `sockaddr_ll` whose length is given.
        unsafe { SockAddr::new(storage, length) }
    }

    /// What the kernel gave; `None` when it is not a link-layer address.
    pub(crate) fn of(address: &SockAddr) -> Option<LinkAddress> {
        // The kernel counts only the bytes of the link-layer address that it wrote, if any.
        let whole = address.len() as usize >= std::mem::offset_of!(libc::sockaddr_ll, sll_addr);
        if i32::from(address.family()) != libc::AF_PACKET || !whole {
            return None;
        }
        // SAFETY: the family says that this is a `sockaddr_ll`; `SockAddr` keeps it in a `sockaddr_storage`, which is larger,
        // aligned for every socket address, and was zeroed before the kernel wrote to it.
        let ll = unsafe { &*address.as_ptr().cast::<libc::sockaddr_ll>() };
        let mac = if ll.sll_halen == 6 { ll.sll_addr.first_chunk::<6>().copied() } else { None };
        Some(LinkAddress {
            protocol: u16::from_be(ll.sll_protocol),
            // Negative when the link that the socket was bound to is gone.
            index: u32::try_from(ll.sll_ifindex).unwrap_or(0),
            hardware: ll.sll_hatype,
            mac,
        })
    }
}

/// Receives one datagram with its sender.
pub(crate) fn receive_from(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, SockAddr)> {
    // SAFETY: initialised bytes are valid as `MaybeUninit` ones, and `recv_from` only ever writes initialised bytes.
    let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    socket.recv_from(buffer)
}

/// What the kernel says about a packet that a raw IPv6 socket received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beside {
    /// Bytes of payload.
    pub(crate) length: usize,
    pub(crate) source: Ipv6Addr,
    /// `None` unless `IPV6_RECVPKTINFO` is set.
    pub(crate) destination: Option<Ipv6Addr>,
    /// `None` unless `IPV6_RECVHOPLIMIT` is set.
    pub(crate) hop_limit: Option<u8>,
}

/// Asks a socket to say where packets were sent to (`IPV6_RECVPKTINFO`).
pub(crate) fn receive_destination(socket: &Socket) -> io::Result<()> {
    let on: i32 = 1;
    let length = size_of::<i32>() as libc::socklen_t;
    let value = std::ptr::from_ref(&on).cast();
    // SAFETY: the option's value is an `int` that outlives the call, and its length is given.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives one packet of a raw IPv6 socket, which hands out no header.
pub(crate) fn receive_beside(socket: &Socket, buffer: &mut [u8]) -> io::Result<Beside> {
    // SAFETY: plain integers, for which zero is a value.
    let (mut name, mut header): (libc::sockaddr_in6, libc::msghdr) = unsafe { std::mem::zeroed() };
    // Aligned as control messages have to be; more than the two that are asked for take.
    let mut control = [0u64; 32];
    let mut parts = [libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() }];
    header.msg_name = std::ptr::from_mut(&mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer in the header is to memory of the length given beside it that outlives the call.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, 0) };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let source = Ipv6Addr::from(name.sin6_addr.s6_addr);
    let mut beside = Beside { length, source, destination: None, hop_limit: None };
    // SAFETY: the kernel has filled in the control messages and their whole length; `control` is still there.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&header) };
    while !message.is_null() {
        // SAFETY: a message that `CMSG_FIRSTHDR` or `CMSG_NXTHDR` gives lies within `control`, its header and data included.
        let (kind, data) = unsafe { (*message, libc::CMSG_DATA(message)) };
        match (kind.cmsg_level, kind.cmsg_type) {
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: the data of this kind of message is an `in6_pktinfo`, perhaps not aligned as one.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                beside.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                // SAFETY: the data of this kind of message is an `int`, perhaps not aligned as one.
                let hops = unsafe { data.cast::<i32>().read_unaligned() };
                beside.hop_limit = u8::try_from(hops).ok();
            }
            _ => {}
        }
        // SAFETY: `message` is one of this header's messages.
        message = unsafe { libc::CMSG_NXTHDR(&header, message) };
    }
    Ok(beside)
}

/// Schedules the calling thread first-in first-out at a priority; its children start out as ordinary ones.
pub(crate) fn schedule_fifo(priority: i32) -> io::Result<()> {
    // SAFETY: `sched_param` is plain integers (on some systems more than one), for which zero is a value.
    let mut parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = priority;
    // SAFETY: the parameter outlives the call, and 0 names the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &parameter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the queueing priority (`SO_PRIORITY`) of what a socket sends.
pub(crate) fn set_priority(socket: &Socket, priority: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    let value = std::ptr::from_ref(&priority).cast();
    // SAFETY: the option's value is an `int` that outlives the call, and its length is given.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PRIORITY, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has a connection's port chosen when it connects (`IP_BIND_ADDRESS_NO_PORT`), though it is bound to an address before.
pub(crate) fn choose_port_late(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let value = std::ptr::from_ref(&on).cast();
    // SAFETY: the option's value is an `int` that outlives the call, and its length is given.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the pages of a mapping of a program's text or constants out of memory, locked ones too; they are read again
/// when they are used.
pub(crate) fn unmap_text(from: usize, length: usize) -> io::Result<()> {
    let mapping: *mut libc::c_void = std::ptr::with_exposed_provenance_mut(from);
    for advice in [libc::MADV_DONTNEED_LOCKED, libc::MADV_DONTNEED] {
        // SAFETY: the caller took both from a private mapping of a file that cannot be written to: what is read
        // there next comes from the file again, and is the same.
        if unsafe { libc::madvise(mapping, length, advice) } == 0 {
            return Ok(());
        }
    }
    Err(io::Error::last_os_error())
}

/// Seconds by which this host's time zone is east of Greenwich at a moment.
pub(crate) fn local_offset(epoch: i64) -> i64 {
    let at = epoch as libc::time_t;
    // SAFETY: `tm` is plain integers and a pointer that may be null, for which zero is a value.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both arguments outlive the call; the environment is not changed by this process once it has threads.
    let done = unsafe { libc::localtime_r(&raw const at, &raw mut parts) };
    if done.is_null() { 0 } else { parts.tm_gmtoff }
}
