//! What a virtual router says, and what follows when it left: gates open and last as long as adverts keep backups quiet.

use std::net::IpAddr;
use std::time::Duration;

use baton_wire::vrrp::{self as wire, Advert, Auth, Checksum};

use super::super::context::{Context, lasts};
use super::super::event::Effect;
use super::super::note::Note;
use super::super::settings::Version;
use super::super::status::State;
use super::Machine;

/// Adverts whose fate is not known yet: more than a step can make.
const SENT_MAX: usize = 16;
/// A living master that was replaced answers within this: if it is a Baton, when its gates are shut.
const PREEMPTED: Duration = Duration::from_millis(20);

impl Machine {
    /// Asks for an advert to each destination.
    pub(super) fn advertise(&mut self, cx: &mut Context<'_>, priority: u8) {
        let Some(source) = self.source else { return };
        let s = &self.settings;
        let version = match s.version {
            Version::V2 => wire::Version::V2 {
                seconds: u8::try_from(s.interval.as_secs()).unwrap_or(u8::MAX),
                auth: s.password.map_or(Auth::None, Auth::Password),
            },
            Version::V3 => wire::Version::V3 {
                centiseconds: u16::try_from(s.interval.as_millis() / 10).unwrap_or(u16::MAX),
                checksum: if s.plain_checksum { Checksum::Plain } else { Checksum::Pseudo },
            },
        };
        let addresses = self.spoken.clone().unwrap_or_else(|| s.addresses.iter().map(|a| a.address).collect());
        let advert = Advert { vrid: s.vrid, priority, version, addresses };
        let group = [s.group];
        let peers: Vec<IpAddr> = s.peers.iter().map(|p| p.address).collect();
        for destination in if peers.is_empty() { &group[..] } else { &peers[..] } {
            cx.out.push(Effect::Send {
                router: s.name.clone(),
                interface: s.port.clone(),
                source,
                destination: *destination,
                ttl: s.ttl,
                bytes: advert.emit(source, *destination),
            });
        }
        self.counters.sent += 1;
        self.counters.zero_sent += u64::from(priority == 0);
        self.sent.push_back((self.state == State::Master && priority > 0).then_some(cx.now));
        if self.sent.len() > SENT_MAX {
            self.sent.pop_front();
        }
    }

    /// What became of the adverts of one step: what is held lasts as long as they keep backups quiet.
    pub(crate) fn sent(&mut self, cx: &mut Context<'_>, ok: bool) {
        let at = self.sent.pop_front().flatten();
        if !ok && !self.send_failed {
            cx.out.push(Effect::Note(Note::SendFailed { router: self.settings.name.clone() }));
        }
        self.send_failed = !ok;
        if let Some(at) = at.filter(|_| ok && self.state == State::Master) {
            if !self.hold.held && cx.now.since(at) > self.settings.interval / 2 {
                // This process stood still before its first advert: another node may have taken over long since.
                return self.starved(cx);
            }
            let until = at + lasts(self.settings.interval, self.settings.down_adverts, cx.tick);
            self.granted = Some((until, cx.now));
            self.open(cx);
        }
    }

    /// Gates follow. They open when all is heard that others may have said before this node's advert reached them, and no
    /// living master is still to answer.
    pub(super) fn open(&mut self, cx: &mut Context<'_>) {
        let Some((until, _)) = self.granted else { return };
        if !self.hold.held {
            let patience = PREEMPTED.min(self.settings.interval / 2);
            match &mut self.awaits {
                _ if !cx.heard_all => return,
                Some((_, Some(then))) if cx.now < *then => return,
                Some((_, then @ None)) => {
                    *then = Some(cx.now + patience);
                    return;
                }
                _ => {}
            }
        }
        (self.awaits, self.granted) = (None, None);
        let turn = self.hold.extend(cx, &self.settings, until);
        self.turn(cx, turn);
    }
}
