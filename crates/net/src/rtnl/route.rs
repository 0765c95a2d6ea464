//! Routes in the main table, for labs.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

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
