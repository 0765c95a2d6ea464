//! The kernel: route netlink, nftables gates, packet sockets, clocks, capabilities.
//!
//! Verbs, no decisions: what to do and until when comes from `baton-core`; what the kernel says goes back as its
//! values. The only crate with `unsafe`, and that in `sys` alone.

pub mod clock;
pub mod gate;
pub mod monitor;
pub mod packet;
pub mod ports;
pub mod process;
pub mod rtnl;
mod sys;
pub mod table;
pub mod udp;
pub mod vrrp;
