//! What an event changes, before everything that is due follows from it.

use std::net::IpAddr;

use baton_wire::peer::Record;

use super::context::To;
use super::place::Place;
use super::{Effect, Event, HostAddress, Keeper, Link, Note, Source, Time, Vip};

impl Keeper {
    /// Takes one event in.
    pub(super) fn take(
        &mut self,
        now: Time,
        late: bool,
        event: Event,
        out: &mut Vec<Effect>,
        post: &mut Vec<(To, Record)>,
    ) {
        match event {
            Event::Tick => {}
            Event::Datagram { from, bytes } => self.datagram(now, from, &bytes, out, post),
            Event::Configure(settings) => self.configure(now, settings, out),
            Event::Stop => self.stopping = true,
            Event::Link(link) => self.link(now, link, out),
            Event::Rerouted { interface } => self.announce_on(now, |p| p.vip.interface == interface),
            Event::Addresses(all) => {
                self.groups.values_mut().for_each(|g| g.place.actual.clear());
                self.leased.places.values_mut().for_each(|t| t.place.actual.clear());
                self.strays.clear();
                all.into_iter().for_each(|a| self.address_put(a));
                self.leased.touch_all();
            }
            Event::AddressPut(a) => self.address_put(a),
            Event::Health { vip, healthy } => {
                if let Some(g) = self.groups.get_mut(&vip) {
                    g.health(now, healthy);
                }
            }
            Event::Gates { done } => {
                for (vip, done) in done {
                    self.take(now, late, Event::Gate { vip, done }, out, post);
                }
            }
            Event::Gate { vip, done } if self.groups.contains_key(&vip) => {
                self.with(now, late, vip, out, post, |g, cx| g.gate_done(cx, done));
            }
            Event::Gate { vip, done } => self.on_leased(now, late, out, post, |l, cx| l.gate_done(cx, vip, done)),
            Event::Claimed { vip, mac } if self.groups.contains_key(&vip) => {
                self.with(now, late, vip, out, post, |g, cx| {
                    g.place.claimed(cx, mac);
                });
            }
            Event::Claimed { vip, mac } => self.on_leased(now, late, out, post, |l, cx| l.claimed(cx, vip, mac)),
            Event::AddressGone { interface, address } if self.groups.contains_key(&address) => {
                self.with(now, late, address, out, post, |g, cx| g.address_gone(cx, &interface));
            }
            Event::AddressGone { interface, address } => {
                if !self.on_leased(now, late, out, post, |l, cx| l.address_gone(cx, address, &interface)) {
                    self.stray_gone(address, &interface);
                }
            }
            Event::Put(vip) => self.put(now, vip, out),
            Event::Withdraw(address) => self.withdraw(now, address, out),
            Event::Campaign(settings) => {
                self.guard_for(settings.duration);
                self.leased.campaign(now, settings);
            }
            Event::Resign(lease) => self.leased.resign(lease),
            Event::Yield { lease, ill } => self.leased.yields(lease, ill),
            Event::LeaseSeen { name, state } => self.leased.seen(now, name, state),
            Event::LeaseReplied { name, request, reply } => self.leased.replied(now, name, request, reply, self.tick),
        }
    }

    fn link(&mut self, now: Time, link: Link, out: &mut Vec<Effect>) {
        let up = link.up;
        let name = link.name.clone();
        let before = self.links.insert(name.clone(), link);
        let used = |p: &Place| p.vip.interface == name;
        let any = self.groups.values().any(|g| used(&g.place)) || self.leased.places.values().any(|t| used(&t.place));
        if !any || before.is_some_and(|b| b.up == up) {
            return;
        }
        out.push(Effect::Note(Note::LinkChanged { interface: name.clone(), up }));
        self.leased.touch_all();
        if up {
            self.announce_on(now, |p| p.vip.interface == name);
        }
    }

    /// Somebody may have a wrong idea of where the held addresses are.
    pub(super) fn announce_on(&mut self, now: Time, on: impl Fn(&Place) -> bool) {
        let groups = self.groups.values_mut().map(|g| &mut g.place);
        for p in groups.filter(|p| on(p) && p.held()) {
            p.announcer.burst(now);
        }
        self.leased.announce_on(now, on);
    }

    pub(super) fn address_put(&mut self, a: HostAddress) {
        if let Some(g) = self.groups.get_mut(&a.address) {
            g.place.address_put(a);
        } else if !self.leased.address_put(&a) {
            let there = self.strays.entry(a.address).or_default();
            there.retain(|x| x.interface != a.interface || x.prefix != a.prefix);
            there.push(a);
        }
    }

    fn stray_gone(&mut self, address: IpAddr, interface: &str) {
        if let Some(there) = self.strays.get_mut(&address) {
            there.retain(|a| a.interface != interface);
            if there.is_empty() {
                self.strays.remove(&address);
            }
        }
    }

    /// One address is kept from now on, or otherwise than before.
    fn put(&mut self, now: Time, vip: Vip, out: &mut Vec<Effect>) {
        let address = vip.address;
        let elsewhere = match vip.source {
            Source::Peers => self.leased.places.contains_key(&address),
            Source::Lease(_) => self.groups.contains_key(&address),
        };
        if elsewhere {
            self.withdraw(now, address, out);
            self.moving.insert(address, vip);
            return;
        }
        self.moving.remove(&address);
        match vip.source {
            Source::Peers => self.replace(now, address, Some(vip), out),
            Source::Lease(_) => {
                let found = self.strays.remove(&address).unwrap_or_default();
                let inherited = self.inherited.remove(&address).unwrap_or(Time::ZERO);
                self.leased.put(now, vip.clone(), inherited, found);
                let timeout = self.guarded_for;
                self.guard_at = self.guard_at.or(Some(now + timeout / 4));
                out.push(Effect::Guard { vips: vec![vip], timeout });
            }
        }
    }

    fn withdraw(&mut self, now: Time, address: IpAddr, out: &mut Vec<Effect>) {
        self.moving.remove(&address);
        if self.groups.contains_key(&address) {
            self.replace(now, address, None, out);
        }
        self.leased.withdraw(address);
    }

    /// Addresses that are gone from where they were appear where they belong now.
    pub(super) fn put_moved(&mut self, now: Time, out: &mut Vec<Effect>) {
        let gone = |a: &IpAddr| !self.groups.contains_key(a) && !self.leased.places.contains_key(a);
        let ready: Vec<IpAddr> = self.moving.keys().copied().filter(gone).collect();
        for address in ready {
            if let Some(vip) = self.moving.remove(&address) {
                self.put(now, vip, out);
                self.leased.due_now(address, now);
            }
        }
    }

    /// The settings with one address otherwise, or without it.
    fn replace(&mut self, now: Time, address: IpAddr, vip: Option<Vip>, out: &mut Vec<Effect>) {
        let mut settings = self.settings.clone();
        settings.vips.retain(|v| v.address != address);
        settings.vips.extend(vip);
        settings.vips.sort_by_key(|v| v.address);
        self.configure(now, settings, out);
    }
}
