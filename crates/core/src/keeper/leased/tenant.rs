//! One address that hangs on a Lease: it follows that one, and what strangers say.

use std::time::Duration;

use super::Lead;
use crate::keeper::context::Context;
use crate::keeper::dispute::Dispute;
use crate::keeper::event::{Effect, GateOp};
use crate::keeper::note::Reason;
use crate::keeper::place::{Hold, Place};
use crate::lease::LeaseName;
use crate::time::Time;

/// An address that hangs on a Lease.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) place: Place,
    pub(crate) lease: LeaseName,
    pub(super) dispute: Dispute,
    pub(super) wake: Option<Time>,
}

impl Tenant {
    pub(super) fn expire(&mut self, cx: &mut Context<'_>, lead: Lead) {
        // Without a fence an address that stays would go on answering.
        let stays = cx.settings.fence && lead.preserve && lead.leave.is_none() && !lead.anothers && !self.place.removed;
        match self.place.hold {
            Hold::Held { end, .. } if cx.now >= end && stays && self.place.vip.address.is_ipv4() => {
                self.place.preserve(cx, Reason::Unrenewed);
            }
            _ => {
                self.place.expire(cx, Reason::Unrenewed);
            }
        }
        if self.place.preserved && (!stays || lead.until.is_some()) {
            self.place.end_preserved(cx);
        }
    }

    /// Does what the Lease means for this address.
    pub(super) fn follow(&mut self, cx: &mut Context<'_>, lead: Lead) {
        if self.dispute.due(cx.now) {
            cx.out.push(Effect::Probe { vip: self.place.vip.clone() });
        }
        let here = self.place.removed || self.place.successor_vip.is_some();
        let link = cx.link_up(&self.place.vip.interface);
        match (lead.until, self.place.hold) {
            (Some(_), Hold::Held { .. }) if here => {
                // What only moves on this host need not drain.
                let drain = if self.place.removed { cx.settings.drain } else { Duration::ZERO };
                self.place.shut(cx, Reason::Reconfigured, drain);
            }
            (Some(_), Hold::Held { .. }) if !link => self.place.shut(cx, Reason::LinkDown, Duration::ZERO),
            (Some(until), Hold::Held { .. }) => self.place.renew(cx, until),
            (Some(until), Hold::None) => self.open(cx, until, lead),
            (None, Hold::Held { since, .. }) => match lead.leave {
                Some(reason) => self.place.shut(cx, reason, cx.settings.drain),
                None => {
                    self.place.lose(cx, Reason::Taken, since);
                }
            },
            (None, Hold::None) => {
                self.dispute = Dispute::None;
                // Before the Lease is given up, and when it is another's, nothing of a predecessor answers by it.
                if (lead.anothers || lead.leave.is_some()) && cx.now < self.place.inherited {
                    self.place.inherited = Time::ZERO;
                    self.place.gate(cx, GateOp::Shut);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, cx: &mut Context<'_>, until: Time, lead: Lead) {
        let strangers = self.dispute.open();
        if strangers || !self.place.may_open(cx, until) || !self.place.may_be_here(cx) {
            return;
        }
        self.place.cause = lead.cause.unwrap_or(Reason::Start);
        self.place.open(cx, until, lead.began);
    }
}
