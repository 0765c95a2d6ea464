//! Links: their state for the daemon, and the verbs that build a lab.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use baton_core::keeper::{Link, Mac};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, MacVlanMode,
};

use super::{Rtnl, gone_is_fine};

/// How macvlans on one parent see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Like ports of a switch.
    Bridge,
    /// Not at all.
    Private,
}

impl Rtnl {
    /// All links of the host.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        Ok(self.link_messages()?.iter().filter_map(read).collect())
    }

    /// Makes a pair of virtual Ethernet links.
    pub fn add_veth(&mut self, name: &str, peer: &str) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        self.add_link(name, None, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(other))))
    }

    /// Makes a pair of virtual Ethernet links whose second end is born in another network namespace.
    pub fn add_veth_into(&mut self, name: &str, peer: &str, namespace: impl AsFd) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        other.attributes.push(LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd()));
        self.add_link(name, None, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(other))))
    }

    /// Makes a bridge (without spanning tree: ports forward at once).
    pub fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        self.add_link(name, None, InfoKind::Bridge, None)
    }

    /// Makes a macvlan on another link.
    pub fn add_macvlan(&mut self, name: &str, parent: &str, mode: MacvlanMode) -> io::Result<()> {
        let mode = match mode {
            MacvlanMode::Bridge => MacVlanMode::Bridge,
            MacvlanMode::Private => MacVlanMode::Private,
        };
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
        let parent = self.index(parent)?;
        self.add_link(name, Some(parent), InfoKind::MacVlan, Some(data))
    }

    /// Makes a macvlan with this address that hears no other one on its parent, up and without IPv6 addresses of the kernel's
    /// making. `false`: there is such a link.
    pub fn put_virtual_mac(&mut self, name: &str, parent: &str, mac: Mac) -> io::Result<bool> {
        let known = self.links()?.into_iter().find(|link| link.name == name);
        if known.is_some_and(|link| link.mac == Some(mac)) {
            self.set_up(name, true)?;
            return Ok(false);
        }
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)]);
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::Link(self.index(parent)?));
        message.attributes.push(LinkAttribute::Address(mac.to_vec()));
        let info = vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)];
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)?;
        Ok(true)
    }

    /// Removes a link; one that is gone already is fine.
    pub fn delete_link(&mut self, name: &str) -> io::Result<()> {
        match self.link(name) {
            Ok(message) => gone_is_fine(self.change(RouteNetlinkMessage::DelLink(message), 0)),
            Err(error) => gone_is_fine(Err(error)),
        }
    }

    /// Brings a link up or takes it down.
    pub fn set_up(&mut self, name: &str, up: bool) -> io::Result<()> {
        let mut message = self.link(name)?;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Makes a link a port of a bridge, or of nothing.
    pub fn set_master(&mut self, name: &str, master: Option<&str>) -> io::Result<()> {
        let master = master.map_or(Ok(0), |master| self.index(master))?;
        self.set(name, LinkAttribute::Controller(master))
    }

    /// Gives a link another link-layer address.
    pub fn set_mac(&mut self, name: &str, mac: Mac) -> io::Result<()> {
        self.set(name, LinkAttribute::Address(mac.to_vec()))
    }

    /// Gives a link another name (it must be down).
    pub fn rename(&mut self, name: &str, new: &str) -> io::Result<()> {
        self.set(name, LinkAttribute::IfName(new.to_owned()))
    }

    /// Moves a link into another network namespace.
    pub fn move_to_netns(&mut self, name: &str, namespace: impl AsFd) -> io::Result<()> {
        self.set(name, LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd()))
    }

    /// An isolated bridge port exchanges frames with ports that are not isolated only; its carrier stays.
    pub fn set_isolated(&mut self, port: &str, isolated: bool) -> io::Result<()> {
        let data = InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(isolated)]);
        let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(data)];
        let mut message = self.link(port)?;
        message.attributes.push(LinkAttribute::LinkInfo(info));
        // RTM_SETLINK knows nothing of what a master keeps about its ports.
        self.change(RouteNetlinkMessage::NewLink(message), 0)
    }

    pub(super) fn link_messages(&mut self) -> io::Result<Vec<LinkMessage>> {
        let replies = self.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let link = |message| match message {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        };
        Ok(replies.into_iter().filter_map(link).collect())
    }

    fn link(&self, name: &str) -> io::Result<LinkMessage> {
        let mut message = LinkMessage::default();
        message.header.index = self.index(name)?;
        Ok(message)
    }

    fn set(&mut self, name: &str, attribute: LinkAttribute) -> io::Result<()> {
        let mut message = self.link(name)?;
        message.attributes.push(attribute);
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    fn add_link(&mut self, name: &str, parent: Option<u32>, kind: InfoKind, data: Option<InfoData>) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.extend(parent.map(LinkAttribute::Link));
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }
}

/// What the kernel says about a link; `None` when it says no name.
pub(crate) fn read(message: &LinkMessage) -> Option<Link> {
    let (mut name, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(n) => name = Some(n.clone()),
            LinkAttribute::Address(bytes) => mac = Mac::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    // Up as the administrator wants it, and with carrier.
    let up = message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    Some(Link { name: name?, up, mac })
}
