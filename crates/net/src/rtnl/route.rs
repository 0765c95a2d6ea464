//! Routes in the main table: those that labs make, and the default one.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::address::family;
use super::{Rtnl, gone_is_fine};

impl Rtnl {
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
