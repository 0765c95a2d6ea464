//! One Lease: whether this node campaigns for it, and what that means for the addresses that hang on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::Tenant;
use crate::keeper::context::Context;
use crate::keeper::elector::{Elector, Gain, Wish};
use crate::keeper::event::Effect;
use crate::keeper::note::{Note, Reason};
use crate::keeper::status::LeaseStatus;
use crate::lease::LeaseName;
use crate::time::Time;

/// Renewals come sooner by a random part of their interval: up to this share.
const SPREAD: u32 = 5;

/// One Lease and the addresses that hang on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Campaign {
    /// `None`: nobody asked to campaign for it (yet, or any more).
    pub(crate) elector: Option<Elector>,
    pub(crate) members: BTreeSet<IpAddr>,
    pub(super) resigning: bool,
    pub(super) ill: bool,
    pub(super) lead: Lead,
    pub(super) told: Option<(bool, String)>,
    pub(super) trouble: Option<String>,
    pub(super) wake: Option<Time>,
}

/// What a Lease means for its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lead {
    /// It is held until then and may be used.
    pub(super) until: Option<Time>,
    /// It is being given up.
    pub(super) leave: Option<Reason>,
    pub(super) began: Time,
    pub(super) cause: Option<Reason>,
    /// Another node holds it.
    pub(super) anothers: bool,
    /// Without a known holder addresses stay where they are.
    pub(super) preserve: bool,
    pub(super) duration: Duration,
}

impl Campaign {
    pub(super) fn reason_to_leave(&self, cx: &Context<'_>, places: &BTreeMap<IpAddr, Tenant>) -> Option<Reason> {
        let up = |address: &IpAddr| places.get(address).is_some_and(|t| cx.link_up(&t.place.vip.interface));
        match () {
            () if cx.stopping => Some(Reason::Stopping),
            () if self.resigning || self.elector.is_none() => Some(Reason::Reconfigured),
            () if self.ill => Some(Reason::Yielded),
            // Another node's link may be up.
            () if !self.members.is_empty() && !self.members.iter().any(up) => Some(Reason::LinkDown),
            () => None,
        }
    }

    pub(super) fn lead_now(&self, cx: &Context<'_>, leave: Option<Reason>) -> Lead {
        let Some(e) = &self.elector else { return Lead { leave, duration: self.lead.duration, ..Lead::default() } };
        let cause = match e.gain {
            Gain::Free => Reason::Start,
            Gain::Resumed => Reason::Resumed,
            Gain::Released => Reason::HandedOver,
            Gain::Expired => Reason::Expired,
        };
        Lead {
            until: e.usable(cx.now).filter(|_| leave.is_none()),
            leave,
            began: e.term.as_ref().map_or(Time::ZERO, |t| t.began),
            cause: Some(cause),
            anothers: e.is_anothers(),
            preserve: e.settings.preserve,
            duration: e.duration(),
        }
    }

    /// For people.
    pub(crate) fn status(&self, now: Time, name: &LeaseName) -> LeaseStatus {
        let e = self.elector.as_ref();
        let until = e.and_then(|e| e.until(now));
        LeaseStatus {
            name: name.clone(),
            campaigns: e.is_some(),
            holder: e.map(|e| e.holder().to_owned()).unwrap_or_default(),
            until,
            taken_until: e.filter(|e| e.is_anothers()).map(Elector::taken_until),
            trouble: self.trouble.clone(),
            addresses: self.members.len(),
        }
    }

    /// Sends the request that is due. Gives the lag of a renewal.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>, name: &LeaseName, wish: Wish) -> Option<Duration> {
        let e = self.elector.as_mut()?;
        let (request, op, lag) = e.step(cx.now, wish)?;
        let spread = cx.jitter(e.duration() / 3 / SPREAD);
        e.spread(spread);
        cx.out.push(Effect::Lease { name: name.clone(), request, op });
        Some(lag)
    }

    /// Says what has changed.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, name: &LeaseName, lead: &Lead) {
        let Some(e) = &self.elector else { return };
        if self.trouble != e.trouble {
            self.trouble.clone_from(&e.trouble);
            cx.out.push(Effect::Note(Note::LeaseTrouble { lease: name.clone(), why: e.trouble.clone() }));
        }
        let holder = e.holder();
        if self.told.as_ref().is_some_and(|(leads, h)| *leads == lead.until.is_some() && h == holder) {
            return;
        }
        let holder = holder.to_owned();
        self.told = Some((lead.until.is_some(), holder.clone()));
        cx.out.push(Effect::Leading { name: name.clone(), until: lead.until, holder });
    }

    pub(super) fn wake_at(&self, cx: &Context<'_>) -> Option<Time> {
        let e = self.elector.as_ref()?;
        let wake = e.wake(cx.now, Wish::Hold).filter(|_| self.lead.leave.is_none());
        [wake, e.opens(cx.now), e.until(cx.now)].into_iter().flatten().min()
    }
}
