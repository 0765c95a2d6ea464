//! The neighbour cache: who is thought to be where. Labs read and empty it.

use std::io;
use std::net::IpAddr;

use baton_core::keeper::Mac;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};

use super::address::family;
use super::{Rtnl, gone_is_fine};

/// An entry of the neighbour cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The neighbour's address.
    pub address: IpAddr,
    /// Where it is thought to be; `None` while it is being asked for.
    pub mac: Option<Mac>,
    /// The administrator's, never asked for.
    pub permanent: bool,
}

impl Rtnl {
    /// The entries of one link, without the kernel's own for multicast.
    pub fn neighbours(&mut self, interface: &str) -> io::Result<Vec<Neighbour>> {
        let index = self.index(interface)?;
        let replies = self.dump(&RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))?;
        let entry = |message| match message {
            RouteNetlinkMessage::NewNeighbour(message) if message.header.ifindex == index => read(&message),
            _ => None,
        };
        Ok(replies.into_iter().filter_map(entry).collect())
    }

    /// Forgets what a link's cache says, but for permanent entries.
    pub fn flush_neighbours(&mut self, interface: &str) -> io::Result<()> {
        for entry in self.neighbours(interface)?.into_iter().filter(|entry| !entry.permanent) {
            let message = self.neighbour(interface, entry.address)?;
            gone_is_fine(self.change(RouteNetlinkMessage::DelNeighbour(message), 0))?;
        }
        Ok(())
    }

    /// Writes a permanent entry.
    pub fn put_neighbour(&mut self, interface: &str, address: IpAddr, mac: Mac) -> io::Result<()> {
        let mut message = self.neighbour(interface, address)?;
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        self.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn neighbour(&self, interface: &str, address: IpAddr) -> io::Result<NeighbourMessage> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = self.index(interface)?;
        let destination = match address {
            IpAddr::V4(a) => NeighbourAddress::Inet(a),
            IpAddr::V6(a) => NeighbourAddress::Inet6(a),
        };
        message.attributes.push(NeighbourAttribute::Destination(destination));
        Ok(message)
    }
}

fn read(message: &NeighbourMessage) -> Option<Neighbour> {
    if message.header.state == NeighbourState::Noarp {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => address = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => address = Some(IpAddr::V6(*a)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    let known = !matches!(message.header.state, NeighbourState::Incomplete | NeighbourState::Failed);
    Some(Neighbour {
        address: address?,
        mac: mac.filter(|_| known),
        permanent: message.header.state == NeighbourState::Permanent,
    })
}
