//! Notices when somebody deletes tables, sets, chains or rules of ours.
//!
//! The kernel sorts out what is about elements and generations (our own renewals, other programs' large maps), so that
//! those wake nobody. What it is too much to hear about is treated as a deletion: looking is cheap.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use socket2::{SockFilter, SockRef};

use super::instance::is_our_name;
use crate::rtnl::Messages;

/// `NFNLGRP_NFTABLES`, as a bit of the groups to join.
const GROUP: u32 = 1 << (7 - 1);
/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u8 = 10;
/// `NFT_MSG_DELTABLE`, `DELCHAIN`, `DELRULE`, `DELSET`.
const DELETIONS: [u8; 4] = [2, 5, 8, 11];
/// `NFT_MSG_NEWSETELEM`, `DELSETELEM`, `NEWGEN`.
const NOISE: [u32; 3] = [12, 14, 15];
/// Datagrams taken in one go.
const BATCH: usize = 64;
/// Small on purpose: a flood costs one look instead of many reads.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// The name of its table is the first attribute of each of these objects, behind `nlmsghdr` and `nfgenmsg`.
const TABLE_NAME: usize = 16 + 4 + 4;

/// A subscription to changes of the ruleset.
#[derive(Debug)]
pub struct Watch {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Watch {
    /// Subscribes, in the calling thread's network namespace.
    pub fn open() -> io::Result<Watch> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
        SockRef::from(&socket).attach_filter(&filter())?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        Ok(Watch { socket, buffer: vec![0; RECEIVE_BUFFER] })
    }

    /// Something of ours was deleted, or may have been, since the last call. Bounded (call again while it is readable).
    pub fn read(&mut self) -> bool {
        let mut deleted = false;
        for _ in 0..BATCH {
            match rustix::net::recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => deleted |= Messages(&self.buffer[..length]).any(is_ours_deleted),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => deleted = true,
            }
        }
        deleted
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_ours_deleted(message: &[u8]) -> bool {
    let [kind, subsystem] = u16::from_ne_bytes([message[4], message[5]]).to_le_bytes();
    let name = message.get(TABLE_NAME..).and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or_default();
    subsystem == NFTABLES && DELETIONS.contains(&kind) && std::str::from_utf8(name).is_ok_and(is_our_name)
}

/// Rejects datagrams that begin with one of the noisy messages.
fn filter() -> Vec<SockFilter> {
    let kind_at = if cfg!(target_endian = "little") { 4 } else { 5 };
    let mut program = vec![SockFilter::new((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, 0, kind_at)];
    let reject = || SockFilter::new(libc::BPF_RET as u16, 0, 0, 0);
    for kind in NOISE {
        program.extend([SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, kind), reject()]);
    }
    program.push(SockFilter::new(libc::BPF_RET as u16, 0, 0, u32::MAX));
    program
}
