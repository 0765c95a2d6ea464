//! Addresses on links and routes, as a file asks for them.

use std::net::{IpAddr, Ipv4Addr};

use super::At;

/// Scope of an address or route, as the kernel numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(pub u8);

/// An address on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Prefix length; 32 or 128 unless written.
    pub prefix: u8,
    /// `dev`; `None`: the instance's interface (or its virtual MAC).
    pub interface: Option<String>,
    /// `brd`.
    pub broadcast: Option<Ipv4Addr>,
    /// `label`.
    pub label: Option<String>,
    /// `scope`.
    pub scope: Option<Scope>,
    /// `peer` and its prefix length.
    pub peer: Option<(IpAddr, u8)>,
    /// `use_vmac`.
    pub vmac: bool,
    /// No duplicate address detection, which is the default for virtual addresses; `-nodad` was written.
    pub nodad: bool,
    /// `home`.
    pub home: bool,
    /// `mngtmpaddr`.
    pub mngtmpaddr: bool,
    /// `noprefixroute`.
    pub noprefixroute: bool,
    /// `autojoin`.
    pub autojoin: bool,
    /// `no_track`: an address that another removes is not missed.
    pub no_track: bool,
    /// `preferred_lft`: `Some(None)` for ever, `None` not written (0 for /128).
    pub preferred: Option<Option<u32>>,
    /// `track_group` of a static address.
    pub track_group: Option<String>,
    /// Where it was written.
    pub at: At,
}

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Sends it on.
    Unicast,
    /// Drops it.
    Blackhole,
    /// Answers unreachable.
    Unreachable,
    /// Answers prohibited.
    Prohibit,
    /// Looks in the next table.
    Throw,
}

/// A way of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    /// `via`, `gw`.
    pub gateway: Option<IpAddr>,
    /// `dev`.
    pub interface: Option<String>,
    /// `weight`, from one.
    pub weight: u8,
    /// `onlink`.
    pub onlink: bool,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it does.
    pub kind: RouteKind,
    /// Network; 0.0.0.0/0 or ::/0 for the default route.
    pub to: (IpAddr, u8),
    /// `src`.
    pub source: Option<IpAddr>,
    /// The ways; one unless `nexthop` or `or` was written.
    pub hops: Vec<NextHop>,
    /// `table`, by number.
    pub table: Option<u32>,
    /// `metric`, `priority`, `preference`.
    pub metric: Option<u32>,
    /// `scope`.
    pub scope: Option<Scope>,
    /// `tos`, `dsfield`.
    pub tos: Option<u8>,
    /// `mtu` and whether it is locked.
    pub mtu: Option<(u32, bool)>,
    /// `advmss`.
    pub advmss: Option<u32>,
    /// `no_track`.
    pub no_track: bool,
    /// `track_group` of a static route.
    pub track_group: Option<String>,
    /// Where it was written.
    pub at: At,
}

/// A policy rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `inet6`, or an address of that family.
    pub ipv6: bool,
    /// `from`
    pub from: Option<(IpAddr, u8)>,
    /// `to`
    pub to: Option<(IpAddr, u8)>,
    /// `iif`
    pub input: Option<String>,
    /// `oif`
    pub output: Option<String>,
    /// `fwmark` and its mask.
    pub mark: Option<(u32, Option<u32>)>,
    /// `tos`, `dsfield`
    pub tos: Option<u8>,
    /// `table`, `lookup`
    pub table: u32,
    /// `preference`, `priority`, `order`
    pub priority: Option<u32>,
    /// `no_track`
    pub no_track: bool,
    /// `track_group` of a static rule.
    pub track_group: Option<String>,
    /// Where it was written.
    pub at: At,
}
