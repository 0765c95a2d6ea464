//! What a virtual router makes of what it hears: adverts of its group, and strangers that answer for its addresses.

use std::net::IpAddr;
use std::time::Duration;

use baton_wire::vrrp::Advert;

use super::super::context::Context;
use super::super::event::{Effect, Notice};
use super::super::hear::{self, List, Packet};
use super::super::note::{Note, Reject, Why};
use super::super::settings::Preempt;
use super::super::status::State;
use super::Machine;
use crate::keeper::Mac;

/// Sources and reasons that are remembered as said.
const SAID_MAX: usize = 64;
/// An answer to a lower priority at most so many times in an interval, however many are heard.
const ANSWERS: u32 = 8;
/// A host that answers for a held address is answered so seldom (RFC 5227: DEFEND_INTERVAL).
const DEFEND: Duration = Duration::from_secs(10);
/// The shortest interval that an advert can name and mean.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

impl Machine {
    /// A packet with this VRID came in on its interface.
    pub(crate) fn hear(&mut self, cx: &mut Context<'_>, packet: &Packet<'_>) {
        self.lapse(cx);
        if Some(packet.source) == self.source || self.state == State::Init {
            return;
        }
        self.counters.received += 1;
        let (advert, list) = match hear::judge(&self.settings, packet) {
            Ok(good) => good,
            Err(why) => return self.reject(cx, packet.source, why),
        };
        self.counters.zero_received += u64::from(advert.priority == 0);
        self.speak(cx, packet.source, &advert, list);
        match self.state {
            State::Backup => self.hear_as_backup(cx, packet.source, &advert),
            State::Master => self.hear_as_master(cx, packet.source, &advert),
            State::Init | State::Fault => {}
        }
    }

    fn reject(&mut self, cx: &mut Context<'_>, source: IpAddr, why: Reject) {
        hear::count(&mut self.counters, why);
        if self.said.len() < SAID_MAX && self.said.insert((source, why)) {
            let router = self.settings.name.clone();
            cx.out.push(Effect::Note(Note::Rejected { router, source, why }));
        }
    }

    /// A list that differs counts, and is spoken as long as each of its addresses is ours: members that ignore what
    /// differs (keepalived before 2.3.3) would become masters beside this one.
    fn speak(&mut self, cx: &mut Context<'_>, source: IpAddr, advert: &Advert, list: List) {
        if list == List::Same {
            self.spoken = None;
            return;
        }
        self.counters.address_list += 1;
        if self.said_list.len() < SAID_MAX && self.said_list.insert(source) {
            cx.out.push(Effect::Note(Note::ListDiffers { router: self.settings.name.clone(), source }));
        }
        if list == List::Subset {
            self.spoken = Some(advert.addresses.clone());
        }
    }

    fn hear_as_backup(&mut self, cx: &mut Context<'_>, source: IpAddr, advert: &Advert) {
        if advert.priority == 0 {
            // One that gave up beside a living master leaves that one be.
            let beside = self.master.is_some_and(|(master, _)| master != source);
            if !beside || self.lower.is_some_and(|(lower, _)| lower == source) {
                self.released = true;
                self.due = Some(cx.now + self.skew());
            }
            return;
        }
        let lower = advert.priority < self.priority;
        let counts = match self.settings.preempt {
            _ if !lower => true,
            Preempt::No => true,
            Preempt::Yes => false,
            Preempt::After(delay) => cx.now < *self.preempt_at.get_or_insert(cx.now + delay),
        };
        if !lower {
            self.preempt_at = None;
        }
        if counts {
            self.learn(cx, source, advert);
        } else {
            self.lower = Some((source, cx.now));
        }
    }

    fn learn(&mut self, cx: &mut Context<'_>, source: IpAddr, advert: &Advert) {
        self.master = Some((source, advert.priority));
        self.master_interval = advert.interval().max(INTERVAL_MIN);
        (self.released, self.lower) = (false, None);
        self.due = Some(cx.now + self.master_down());
    }

    fn hear_as_master(&mut self, cx: &mut Context<'_>, source: IpAddr, advert: &Advert) {
        if advert.priority == 0 {
            return self.advertise(cx, self.priority);
        }
        let owners = advert.priority == u8::MAX && self.priority == u8::MAX;
        if owners && self.said_owners.len() < SAID_MAX && self.said_owners.insert(source) {
            let router = self.settings.name.clone();
            cx.out.push(Effect::Note(Note::TwoOwners { router, source }));
        }
        let better = (advert.priority, Some(source)) > (self.priority, self.source);
        if better {
            let drain = cx.drain;
            self.leave_master(cx, drain, false);
            self.become_backup(cx, Why::HigherPriority);
            self.learn(cx, source, advert);
            // The winner may never have heard of this node: now it knows that it has to announce again.
            return self.advertise(cx, self.priority);
        }
        if !self.hold.held && self.send_failed {
            // This one is master for nobody, and that one is.
            self.leave_master(cx, Duration::ZERO, false);
            self.become_backup(cx, Why::Starved);
            return self.hear_as_backup(cx, source, advert);
        }
        if !self.hold.held
            && let Some((awaited, Some(_))) = self.awaits
            && awaited == source
        {
            // The one that was replaced has heard of it: its gates are shut.
            self.awaits = None;
            return;
        }
        if self.answered.is_some_and(|t| cx.now < t + self.settings.interval / ANSWERS) {
            return;
        }
        self.answered = Some(cx.now);
        if self.settings.answer_lower {
            self.advertise(cx, self.priority);
        }
        if !self.hold.held {
            // Another node was faster, and yields to this one.
            self.awaits = Some((source, None));
            return;
        }
        let (garp, addresses) = (self.settings.garp, self.hold.answering());
        self.announcer.healed(cx.now, &garp, &addresses, cx.out);
        let (router, priority) = (self.settings.name.clone(), advert.priority);
        cx.out.push(Effect::Note(Note::LowerPriority { router, source, priority }));
        self.notify(cx, Notice::MasterRxLowerPri);
    }

    /// Somebody may have a wrong idea of where its addresses are.
    pub(crate) fn announce(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Master {
            let (garp, addresses) = (self.settings.garp, self.hold.answering());
            self.announcer.send(cx.now, &garp, &addresses, garp.repeat.max(1), cx.out);
        }
    }

    /// Another host answers for an address that is held.
    pub(crate) fn claimed(&mut self, cx: &mut Context<'_>, address: IpAddr, mac: Mac) {
        let recently = self.defended.is_some_and(|t| cx.now < t + DEFEND);
        if recently || !self.hold.answering().iter().any(|a| a.address == address) {
            return;
        }
        self.defended = Some(cx.now);
        cx.out.push(Effect::Note(Note::Stranger { address, mac }));
        let garp = self.settings.garp;
        let held: Vec<_> = self.hold.answering().into_iter().filter(|a| a.address == address).collect();
        self.announcer.send(cx.now, &garp, &held, 1, cx.out);
    }
}
