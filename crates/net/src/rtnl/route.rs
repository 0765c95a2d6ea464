//! Routes: those of `keepalived.conf`, those that labs make, and the default one.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::address::family;
use super::{Rtnl, gone_is_fine, there_is_fine};

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
pub struct Hop {
    /// The next router.
    pub gateway: Option<IpAddr>,
    /// The link.
    pub interface: Option<String>,
    /// From one; of several ways.
    pub weight: u8,
    /// The gateway is on the link whatever the addresses say.
    pub onlink: bool,
}

/// A route of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it does.
    pub kind: Kind,
    /// Network and prefix length.
    pub to: (IpAddr, u8),
    /// The source address that it prefers.
    pub source: Option<IpAddr>,
    /// Its ways.
    pub hops: Vec<Hop>,
    /// Its table; `None`: main.
    pub table: Option<u32>,
    /// Its metric.
    pub metric: Option<u32>,
    /// Its scope, as the kernel numbers it; `None`: global.
    pub scope: Option<u8>,
    /// Type of service.
    pub tos: Option<u8>,
    /// MTU, and whether it is locked.
    pub mtu: Option<(u32, bool)>,
    /// Advertised MSS.
    pub advmss: Option<u32>,
}

/// `RTAX_MTU`, as a bit of `RTAX_LOCK`.
const LOCK_MTU: u32 = 1 << 2;

impl Rtnl {
    /// Adds a route. `false`: one to that network with that metric is there.
    pub fn put_route(&mut self, route: &Route) -> io::Result<bool> {
        let message = self.route_of(route)?;
        there_is_fine(self.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Removes it; one that is gone already is fine.
    pub fn remove_route(&mut self, route: &Route) -> io::Result<()> {
        match self.route_of(route) {
            Ok(message) => gone_is_fine(self.change(RouteNetlinkMessage::DelRoute(message), 0)),
            Err(error) => gone_is_fine(Err(error)),
        }
    }

    fn route_of(&self, route: &Route) -> io::Result<RouteMessage> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(route.to.0);
        message.header.destination_prefix_length = route.to.1;
        message.header.tos = route.tos.unwrap_or(0);
        message.header.protocol = RouteProtocol::KeepAlived;
        message.header.kind = match route.kind {
            Kind::Unicast => RouteType::Unicast,
            Kind::Blackhole => RouteType::BlackHole,
            Kind::Unreachable => RouteType::Unreachable,
            Kind::Prohibit => RouteType::Prohibit,
            Kind::Throw => RouteType::Throw,
        };
        message.header.scope = route.scope.map_or(RouteScope::Universe, RouteScope::from);
        let table = route.table.unwrap_or_else(|| RouteHeader::RT_TABLE_MAIN.into());
        match u8::try_from(table) {
            Ok(table) => message.header.table = table,
            Err(_) => message.attributes.push(RouteAttribute::Table(table)),
        }
        if route.to.1 > 0 {
            message.attributes.push(RouteAttribute::Destination(RouteAddress::from(route.to.0)));
        }
        message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(RouteAddress::from(source))));
        message.attributes.extend(route.metric.map(RouteAttribute::Priority));
        let mut metrics = Vec::new();
        if let Some((mtu, locked)) = route.mtu {
            metrics.extend(locked.then_some(RouteMetric::Lock(LOCK_MTU)));
            metrics.push(RouteMetric::Mtu(mtu));
        }
        metrics.extend(route.advmss.map(RouteMetric::Advmss));
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        match route.hops.as_slice() {
            _ if route.kind != Kind::Unicast => {}
            [one] => {
                message.header.flags.set(RouteFlags::Onlink, one.onlink);
                message.attributes.extend(self.way(one)?);
            }
            several => {
                let hops = several.iter().map(|hop| self.hop(hop)).collect::<io::Result<_>>()?;
                message.attributes.push(RouteAttribute::MultiPath(hops));
            }
        }
        Ok(message)
    }

    fn way(&self, hop: &Hop) -> io::Result<Vec<RouteAttribute>> {
        let mut way: Vec<_> = hop.gateway.map(|g| RouteAttribute::Gateway(RouteAddress::from(g))).into_iter().collect();
        if let Some(interface) = &hop.interface {
            way.push(RouteAttribute::Oif(self.index(interface)?));
        }
        Ok(way)
    }

    fn hop(&self, hop: &Hop) -> io::Result<RouteNextHop> {
        let mut out = RouteNextHop::default();
        out.hops = hop.weight.saturating_sub(1);
        if hop.onlink {
            out.flags = RouteNextHopFlags::Onlink;
        }
        if let Some(interface) = &hop.interface {
            out.interface_index = self.index(interface)?;
        }
        out.attributes.extend(hop.gateway.map(|g| RouteAttribute::Gateway(RouteAddress::from(g))));
        Ok(out)
    }

    /// Adds a route to a network: through a gateway, or on the link.
    pub fn add_route(
        &mut self,
        (network, prefix): (IpAddr, u8),
        gateway: Option<IpAddr>,
        interface: Option<&str>,
    ) -> io::Result<()> {
        let message = self.route(network, prefix, gateway, interface)?;
        self.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes a route; one that is gone already is fine.
    pub fn delete_route(
        &mut self,
        (network, prefix): (IpAddr, u8),
        gateway: Option<IpAddr>,
        interface: Option<&str>,
    ) -> io::Result<()> {
        match self.route(network, prefix, gateway, interface) {
            Ok(message) => gone_is_fine(self.change(RouteNetlinkMessage::DelRoute(message), 0)),
            Err(error) => gone_is_fine(Err(error)),
        }
    }

    /// The link of the default route: IPv4's, else IPv6's; of several that with the lowest metric.
    pub fn default_link(&mut self) -> io::Result<Option<String>> {
        let names = self.link_names()?;
        let mut best: Option<(bool, u32, u32)> = None;
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            for reply in self.dump(&RouteNetlinkMessage::GetRoute(request))? {
                let RouteNetlinkMessage::NewRoute(route) = reply else { continue };
                let Some(found) = default_route(&route) else { continue };
                let found = (family == AddressFamily::Inet6, found.0, found.1);
                if best.is_none_or(|best| found < best) {
                    best = Some(found);
                }
            }
        }
        Ok(best.and_then(|(_, _, index)| names.get(&index).cloned()))
    }

    fn route(
        &self,
        network: IpAddr,
        prefix: u8,
        gateway: Option<IpAddr>,
        interface: Option<&str>,
    ) -> io::Result<RouteMessage> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(network);
        message.header.destination_prefix_length = prefix;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.scope =
            if gateway.is_none() && network.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
        if prefix > 0 {
            message.attributes.push(RouteAttribute::Destination(RouteAddress::from(network)));
        }
        message.attributes.extend(gateway.map(|gateway| RouteAttribute::Gateway(RouteAddress::from(gateway))));
        if let Some(interface) = interface {
            message.attributes.push(RouteAttribute::Oif(self.index(interface)?));
        }
        Ok(message)
    }
}

/// Metric and link of a default route of the main table; `None` for every other route.
fn default_route(route: &RouteMessage) -> Option<(u32, u32)> {
    if route.header.destination_prefix_length != 0
        || route.header.table != RouteHeader::RT_TABLE_MAIN
        || route.header.kind != RouteType::Unicast
    {
        return None;
    }
    let (mut metric, mut link) = (0, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(index) => link = Some(*index),
            // Several ways at once: the first.
            RouteAttribute::MultiPath(hops) => link = link.or(hops.first().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    Some((metric, link?))
}
