//! A model of keepalived 2.2.7 as a neighbour: it keeps its addresses when it dies, and ignores lists that differ.

use std::net::IpAddr;
use std::time::Duration;

use baton_core::Time;
use baton_wire::vrrp::{Advert, Auth, Checksum, Version};

use super::plan::GroupPlan;

/// What it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Send(Advert),
    Address(bool),
    Announce,
}

#[derive(Clone, Debug)]
pub(super) struct Keepalived {
    priority: u8,
    own: IpAddr,
    interval: Duration,
    master_interval: Duration,
    v3: bool,
    preempt: bool,
    vip: IpAddr,
    pub(super) master: bool,
    pub(super) due: Time,
}

impl Keepalived {
    pub(super) fn new(plan: &GroupPlan, priority: u8, own: IpAddr, vip: IpAddr, now: Time) -> Keepalived {
        let mut new = Keepalived {
            priority,
            own,
            interval: plan.interval,
            master_interval: plan.interval,
            v3: plan.v3,
            preempt: plan.preempt,
            vip,
            master: false,
            due: now,
        };
        new.due = now + new.master_down();
        new
    }

    fn skew(&self) -> Duration {
        let unit = if self.v3 { self.master_interval } else { Duration::from_secs(1) };
        unit * (256 - u32::from(self.priority)) / 256
    }

    fn master_down(&self) -> Duration {
        self.master_interval * 3 + self.skew()
    }

    fn advert(&self, priority: u8) -> Act {
        let version = if self.v3 {
            let centiseconds = u16::try_from(self.interval.as_millis() / 10).unwrap_or(u16::MAX);
            Version::V3 { centiseconds, checksum: Checksum::Pseudo }
        } else {
            Version::V2 { seconds: u8::try_from(self.interval.as_secs()).unwrap_or(u8::MAX), auth: Auth::None }
        };
        Act::Send(Advert { vrid: 51, priority, version, addresses: vec![self.vip] })
    }

    pub(super) fn tick(&mut self, now: Time, acts: &mut Vec<Act>) {
        if now < self.due {
            return;
        }
        self.due = now + self.interval;
        acts.push(self.advert(self.priority));
        if !std::mem::replace(&mut self.master, true) {
            acts.extend([Act::Address(true), Act::Announce]);
        }
    }

    pub(super) fn hear(&mut self, now: Time, source: IpAddr, advert: &Advert, acts: &mut Vec<Act>) {
        if advert.addresses != [self.vip] {
            return;
        }
        if !self.master {
            if advert.priority == 0 {
                self.due = now + self.skew();
            } else if !self.preempt || advert.priority >= self.priority {
                self.master_interval = advert.interval();
                self.due = now + self.master_down();
            }
            return;
        }
        if advert.priority == 0 {
            acts.push(self.advert(self.priority));
        } else if (advert.priority, source) > (self.priority, self.own) {
            self.master = false;
            self.master_interval = advert.interval();
            self.due = now + self.master_down();
            acts.push(Act::Address(false));
        } else {
            acts.extend([self.advert(self.priority), Act::Announce]);
        }
    }

    /// SIGTERM.
    pub(super) fn stop(&self, acts: &mut Vec<Act>) {
        if self.master {
            acts.push(self.advert(0));
        }
        acts.push(Act::Address(false));
    }
}
