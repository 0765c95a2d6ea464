//! Policy rules: which packets look in which table.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::address::family;
use super::{Rtnl, gone_is_fine, there_is_fine};

/// A policy rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// It is about IPv6 packets.
    pub ipv6: bool,
    /// Packets from there.
    pub from: Option<(IpAddr, u8)>,
    /// Packets to there.
    pub to: Option<(IpAddr, u8)>,
    /// Packets that came in by this link.
    pub input: Option<String>,
    /// Packets of sockets that are bound to this link.
    pub output: Option<String>,
    /// Packets with that mark, and which bits of it count.
    pub mark: Option<(u32, Option<u32>)>,
    /// Packets of that type of service.
    pub tos: Option<u8>,
    /// The table.
    pub table: u32,
    /// Its place in the order; `None`: before all others but the first.
    pub priority: Option<u32>,
}

impl Rtnl {
    /// Adds a rule. `false`: it is there.
    pub fn put_rule(&mut self, rule: &Rule) -> io::Result<bool> {
        let message = RouteNetlinkMessage::NewRule(message(rule));
        there_is_fine(self.change(message, NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Removes it; one that is gone already is fine.
    pub fn remove_rule(&mut self, rule: &Rule) -> io::Result<()> {
        gone_is_fine(self.change(RouteNetlinkMessage::DelRule(message(rule)), 0))
    }
}

fn message(rule: &Rule) -> RuleMessage {
    let mut out = RuleMessage::default();
    let any: IpAddr = if rule.ipv6 { std::net::Ipv6Addr::UNSPECIFIED.into() } else { [0, 0, 0, 0].into() };
    out.header.family = family(any);
    out.header.action = RuleAction::ToTable;
    out.header.tos = rule.tos.unwrap_or(0);
    if let Some((from, prefix)) = rule.from {
        out.header.src_len = prefix;
        out.attributes.push(RuleAttribute::Source(from));
    }
    if let Some((to, prefix)) = rule.to {
        out.header.dst_len = prefix;
        out.attributes.push(RuleAttribute::Destination(to));
    }
    out.attributes.extend(rule.input.clone().map(RuleAttribute::Iifname));
    out.attributes.extend(rule.output.clone().map(RuleAttribute::Oifname));
    if let Some((mark, mask)) = rule.mark {
        out.attributes.push(RuleAttribute::FwMark(mark));
        out.attributes.extend(mask.map(RuleAttribute::FwMask));
    }
    match u8::try_from(rule.table) {
        Ok(table) => out.header.table = table,
        Err(_) => out.attributes.push(RuleAttribute::Table(rule.table)),
    }
    out.attributes.extend(rule.priority.map(RuleAttribute::Priority));
    out.attributes.push(RuleAttribute::Protocol(RouteProtocol::KeepAlived));
    out
}
