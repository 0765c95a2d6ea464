//! Addresses: the VIPs with their lifetimes and mark, and the host's own.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use baton_core::keeper::HostAddress;
use baton_core::settings::Vip;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Rtnl, gone_is_fine, link, there_is_fine};

/// `IFA_PROTO` of every address that Baton adds (kernel 5.18 and later keep and show it): `ip address show proto 0xba`.
pub const MARK: u8 = 0xba;

/// An address that stays: of the host's own, with what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// Its link.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// What it carries.
    pub dress: Dress,
    /// The other end of a point-to-point link, and its prefix length.
    pub peer: Option<(IpAddr, u8)>,
    /// No duplicate address detection.
    pub nodad: bool,
    /// The home address of a mobile node.
    pub home: bool,
    /// The kernel makes temporary addresses from it.
    pub mngtmpaddr: bool,
    /// The kernel makes no route for its network.
    pub noprefixroute: bool,
    /// The group of that address is joined.
    pub autojoin: bool,
    /// `preferred_lft` in seconds; `None`: for ever.
    pub preferred: Option<u32>,
}

/// What an address may carry beside itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dress {
    /// `IFA_LABEL`: for programs that know interfaces by alias names.
    pub label: Option<String>,
    /// `IFA_BROADCAST`.
    pub broadcast: Option<Ipv4Addr>,
    /// As the kernel numbers scopes; 0 is global.
    pub scope: u8,
}

/// A change of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// As [`Rtnl::put_dressed`].
    Put(Vip, Dress, Duration),
    /// As [`Rtnl::remove_address`]: interface, address, prefix length.
    Remove(String, IpAddr, u8),
}

impl Rtnl {
    /// All addresses of the host.
    pub fn addresses(&mut self) -> io::Result<Vec<HostAddress>> {
        let names = self.link_names()?;
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let read = |message| match message {
            RouteNetlinkMessage::NewAddress(message) => read(&message, names.get(&message.header.index)?),
            _ => None,
        };
        Ok(self.dump(&request)?.into_iter().filter_map(read).collect())
    }

    /// Adds a VIP, or refreshes its lifetime. `preferred_lft` is 0 (never chosen as a source by itself), duplicate
    /// address detection is off (our own solicitation is the check).
    pub fn put_address(&mut self, vip: &Vip, valid: Duration) -> io::Result<()> {
        self.put_dressed(vip, &Dress::default(), valid)
    }

    /// The same with what it carries.
    pub fn put_dressed(&mut self, vip: &Vip, dress: &Dress, valid: Duration) -> io::Result<()> {
        let message = self.dressed(vip, dress, valid)?;
        self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Many changes at once; the results in their order. One that fails keeps none of the others from being made.
    pub fn change_addresses(&mut self, changes: &[Change]) -> Vec<io::Result<()>> {
        let mut results = Vec::with_capacity(changes.len());
        let (mut messages, mut places) = (Vec::new(), Vec::new());
        for change in changes {
            let message = match change {
                Change::Put(vip, dress, valid) => self
                    .dressed(vip, dress, *valid)
                    .map(|message| (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)),
                Change::Remove(interface, address, prefix) => self
                    .address(interface, *address, *prefix)
                    .map(|message| (RouteNetlinkMessage::DelAddress(message), 0)),
            };
            match message {
                Ok(message) => {
                    places.push(results.len());
                    messages.push(message);
                    results.push(Ok(()));
                }
                Err(e) => results.push(Err(e)),
            }
        }
        for (at, result) in places.into_iter().zip(self.change_all(messages)) {
            results[at] = result;
        }
        let fine = |(change, result): (&Change, io::Result<()>)| match change {
            Change::Put(..) => result,
            Change::Remove(..) => gone_is_fine(result),
        };
        changes.iter().zip(results).map(fine).collect()
    }

    fn dressed(&self, vip: &Vip, dress: &Dress, valid: Duration) -> io::Result<AddressMessage> {
        let mut message = self.address(&vip.interface, vip.address, vip.prefix)?;
        message.header.scope = AddressScope::from(dress.scope);
        message.attributes.extend(dress.label.clone().map(AddressAttribute::Label));
        message.attributes.extend(dress.broadcast.map(AddressAttribute::Broadcast));
        let whole = valid.as_secs() + u64::from(valid.subsec_nanos() > 0);
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = u32::try_from(whole.max(1)).unwrap_or(u32::MAX - 1);
        lifetime.ifa_preferred = 0;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
        Ok(message)
    }

    /// Adds an address of the host's own: permanent, preferred, unmarked.
    pub fn put_own_address(&mut self, interface: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
        let message = self.address(interface, address, prefix)?;
        self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds an address that stays. `false`: it is there.
    pub fn put_lasting(&mut self, lasting: &Lasting) -> io::Result<bool> {
        let message = self.lasting(lasting)?;
        there_is_fine(self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Removes it. One that is gone already is fine.
    pub fn remove_lasting(&mut self, lasting: &Lasting) -> io::Result<()> {
        match self.lasting(lasting) {
            Ok(message) => gone_is_fine(self.change(RouteNetlinkMessage::DelAddress(message), 0)),
            Err(error) => gone_is_fine(Err(error)),
        }
    }

    fn lasting(&self, lasting: &Lasting) -> io::Result<AddressMessage> {
        let mut message = AddressMessage::default();
        message.header.family = family(lasting.address);
        message.header.prefix_len = lasting.peer.map_or(lasting.prefix, |(_, prefix)| prefix);
        message.header.index = self.index(&lasting.interface)?;
        message.header.scope = AddressScope::from(lasting.dress.scope);
        message.attributes.push(AddressAttribute::Local(lasting.address));
        let other = lasting.peer.map_or(lasting.address, |(peer, _)| peer);
        message.attributes.push(AddressAttribute::Address(other));
        message.attributes.extend(lasting.dress.label.clone().map(AddressAttribute::Label));
        message.attributes.extend(lasting.dress.broadcast.map(AddressAttribute::Broadcast));
        let mut flags = AddressFlags::empty();
        flags.set(AddressFlags::Nodad, lasting.nodad);
        flags.set(AddressFlags::Homeaddress, lasting.home);
        flags.set(AddressFlags::Managetempaddr, lasting.mngtmpaddr);
        flags.set(AddressFlags::Noprefixroute, lasting.noprefixroute);
        flags.set(AddressFlags::Mcautojoin, lasting.autojoin);
        if !flags.is_empty() {
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        if let Some(preferred) = lasting.preferred {
            let mut lifetime = CacheInfo::default();
            (lifetime.ifa_valid, lifetime.ifa_preferred) = (u32::MAX, preferred);
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        Ok(message)
    }

    /// Removes an address. One that is gone already is fine.
    pub fn remove_address(&mut self, interface: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
        match self.address(interface, address, prefix) {
            Ok(message) => gone_is_fine(self.change(RouteNetlinkMessage::DelAddress(message), 0)),
            Err(error) => gone_is_fine(Err(error)),
        }
    }

    /// Removes all addresses of a link but the link-local ones that the kernel made.
    pub fn flush_addresses(&mut self, interface: &str) -> io::Result<()> {
        for address in self.addresses()?.into_iter().filter(|a| a.interface == interface) {
            let kernel_made = matches!(address.address, IpAddr::V6(a) if a.is_unicast_link_local());
            if !kernel_made {
                self.remove_address(interface, address.address, address.prefix)?;
            }
        }
        Ok(())
    }

    fn address(&self, interface: &str, address: IpAddr, prefix: u8) -> io::Result<AddressMessage> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix;
        message.header.index = self.index(interface)?;
        message.header.scope = AddressScope::Universe;
        message.attributes.push(AddressAttribute::Local(address));
        message.attributes.push(AddressAttribute::Address(address));
        if address.is_ipv6() {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        Ok(message)
    }

    /// The names of all links by index.
    pub(crate) fn link_names(&mut self) -> io::Result<BTreeMap<u32, String>> {
        Ok(self.link_messages()?.iter().filter_map(|m| Some((m.header.index, link::read(m)?.name))).collect())
    }
}

/// The address family of an address.
pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// What the kernel says about an address; `None` when it says no address.
pub(crate) fn read(message: &AddressMessage, interface: &str) -> Option<HostAddress> {
    let (mut local, mut address, mut mine) = (None, None, false);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(a) => local = Some(*a),
            AddressAttribute::Address(a) => address = Some(*a),
            AddressAttribute::Flags(f) => flags = *f,
            AddressAttribute::Protocol(AddressProtocol::Other(MARK)) => mine = true,
            _ => {}
        }
    }
    Some(HostAddress {
        interface: interface.to_owned(),
        // On point-to-point links the "address" is the other end's.
        address: local.or(address)?,
        prefix: message.header.prefix_len,
        mine,
        permanent: flags.contains(AddressFlags::Permanent),
        secondary: message.header.family == AddressFamily::Inet && flags.contains(AddressFlags::Secondary),
    })
}
