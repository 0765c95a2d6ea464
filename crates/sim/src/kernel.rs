//! What one machine's kernel holds, whatever becomes of the process: gates, guards, addresses, links, markers.
//!
//! The model follows what was tried on a real kernel: set elements end at a tick and a little early, never late; a
//! batch `delete` + `add` fails as a whole on an element that has run out; addresses go some time after their lifetime.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use baton_core::Time;
use baton_core::keeper::{Event, HostAddress, Link, Mac};
use baton_core::settings::Vip;

/// How long after its lifetime the kernel's worker removes an address.
const EXPIRY_LAG: Duration = Duration::from_millis(100);

/// The elements of one address in the sets `answer` and `accept`: their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gate {
    /// ARP and ND replies.
    pub answer: Option<Time>,
    /// Packets to and from the address.
    pub accept: Option<Time>,
    /// Opened by a holder that is outside the guarantee and says so.
    pub alone: bool,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assigned {
    /// Its interface.
    pub interface: String,
    /// Prefix length.
    pub prefix: u8,
    /// End of its lifetime; `None`: permanent.
    pub ends: Option<Time>,
    /// Carries Baton's mark.
    pub mine: bool,
}

/// Markers, as the nft table of markers or the state directory keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Markers {
    /// The longest lease that was allowed.
    pub longest_lease: Option<Duration>,
    /// A majority was seen.
    pub majority_seen: bool,
}

/// One machine's kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Timer granularity.
    pub tick: Duration,
    /// Gates by address.
    pub gates: BTreeMap<IpAddr, Gate>,
    /// Guarded addresses and until when.
    pub guards: BTreeMap<IpAddr, Time>,
    /// Addresses, the virtual ones only.
    pub addresses: BTreeMap<IpAddr, Assigned>,
    /// Links by name.
    pub links: BTreeMap<String, Link>,
    /// The table of markers.
    pub markers: Markers,
    /// Somebody removed the tables, and nobody has put them back: nothing is guarded.
    pub flushed: bool,
    /// Notifications that no process has read yet.
    pub notices: Vec<Event>,
}

impl Kernel {
    /// A kernel that has just booted, with these links up.
    #[must_use]
    pub fn boot(tick: Duration, links: &[(String, Mac)]) -> Kernel {
        Kernel {
            tick,
            gates: BTreeMap::new(),
            guards: BTreeMap::new(),
            addresses: BTreeMap::new(),
            links: links
                .iter()
                .map(|(name, mac)| (name.clone(), Link { name: name.clone(), up: true, mac: Some(*mac) }))
                .collect(),
            markers: Markers::default(),
            flushed: false,
            notices: Vec::new(),
        }
    }

    /// Somebody removes all tables, the markers' among them (`nft flush ruleset`).
    pub fn flush(&mut self) {
        self.gates.clear();
        self.guards.clear();
        self.markers = Markers::default();
        self.flushed = true;
    }

    /// The tables are made anew in one transaction, with the gates of what is held open from the start.
    pub fn repair(&mut self, now: Time, guarded: &[Vip], timeout: Duration, held: &BTreeMap<IpAddr, Time>) {
        self.flushed = false;
        self.guard(now, guarded, timeout);
        for (address, end) in held.iter().filter(|(_, end)| **end > now) {
            let ends = Some(self.end_of(now, end.left(now)));
            self.gates.insert(*address, Gate { answer: ends, accept: ends, alone: false });
        }
    }

    /// End of an element added now: whole ticks, counted from the tick that is running.
    fn end_of(&self, now: Time, timeout: Duration) -> Time {
        let tick = u64::try_from(self.tick.as_nanos()).unwrap_or(u64::MAX).max(1);
        let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Time((now.0 / tick * tick).saturating_add(timeout / tick * tick))
    }

    /// Gain, first half: both elements for two ticks, where they are not there yet.
    pub fn gate_open_briefly(&mut self, now: Time, address: IpAddr) {
        let end = self.end_of(now, self.tick * 2);
        let gate = self.gates.entry(address).or_default();
        for element in [&mut gate.answer, &mut gate.accept] {
            if element.is_none_or(|ends| ends <= now) {
                *element = Some(end);
            }
        }
    }

    /// One batch `delete` + `add` of both elements. False, and nothing changed, when one has run out.
    pub fn gate_renew(&mut self, now: Time, address: IpAddr, timeout: Duration) -> bool {
        let end = self.end_of(now, timeout);
        let Some(gate) = self.gates.get_mut(&address) else { return false };
        let alive = |element: Option<Time>| element.is_some_and(|ends| ends > now);
        if !alive(gate.answer) || !alive(gate.accept) {
            return false;
        }
        gate.answer = Some(end);
        gate.accept = Some(end);
        true
    }

    /// `answer` goes now; `accept` gets another timeout if it is still there.
    pub fn gate_drain(&mut self, now: Time, address: IpAddr, timeout: Duration) {
        let end = self.end_of(now, timeout);
        if let Some(gate) = self.gates.get_mut(&address) {
            gate.answer = None;
            if gate.accept.is_some_and(|ends| ends > now) {
                gate.accept = Some(end);
            }
        }
    }

    /// `answer` goes now; `accept` is there for so long, whether or not it was.
    pub fn gate_keep(&mut self, now: Time, address: IpAddr, timeout: Duration) {
        let end = self.end_of(now, timeout);
        let gate = self.gates.entry(address).or_default();
        gate.answer = None;
        gate.accept = Some(end);
    }

    /// Both elements go now.
    pub fn gate_shut(&mut self, address: IpAddr) {
        self.gates.remove(&address);
    }

    /// Refreshes the guarded addresses.
    pub fn guard(&mut self, now: Time, vips: &[Vip], timeout: Duration) {
        for vip in vips {
            self.guards.insert(vip.address, now + timeout);
        }
    }

    /// Adds an address or refreshes its lifetime.
    pub fn put_address(&mut self, now: Time, vip: &Vip, valid: Duration) {
        let assigned =
            Assigned { interface: vip.interface.clone(), prefix: vip.prefix, ends: Some(now + valid), mine: true };
        self.addresses.insert(vip.address, assigned);
        self.notices.push(Event::AddressPut(self.host_address(vip.address).expect("inserted above")));
    }

    /// Removes an address.
    pub fn remove_address(&mut self, address: IpAddr) {
        if let Some(assigned) = self.addresses.remove(&address) {
            self.notices.push(Event::AddressGone { interface: assigned.interface, address });
        }
    }

    /// Sets a link up or down.
    pub fn set_link(&mut self, name: &str, up: bool) {
        if let Some(link) = self.links.get_mut(name)
            && link.up != up
        {
            link.up = up;
            self.notices.push(Event::Link(link.clone()));
        }
    }

    /// Lets lifetimes end.
    pub fn expire(&mut self, now: Time) {
        let over: Vec<IpAddr> = self
            .addresses
            .iter()
            .filter(|(_, a)| a.ends.is_some_and(|ends| ends + EXPIRY_LAG <= now))
            .map(|(address, _)| *address)
            .collect();
        for address in over {
            self.remove_address(address);
        }
        self.guards.retain(|_, ends| *ends > now);
    }

    /// An address of ours that stays for longer than it is guarded.
    #[must_use]
    pub fn outlives_its_guard(&self) -> Option<IpAddr> {
        let longer = |(address, assigned): &(&IpAddr, &Assigned)| {
            let goes = assigned.ends.filter(|_| assigned.mine).map(|ends| ends + EXPIRY_LAG);
            goes.is_some_and(|goes| self.guards.get(address).is_none_or(|guard| *guard < goes))
        };
        self.addresses.iter().find(longer).map(|(address, _)| *address)
    }

    /// The longest time for which an address is guarded from now.
    #[must_use]
    pub fn guarded(&self, now: Time) -> Duration {
        self.guards.values().map(|ends| ends.left(now)).max().unwrap_or_default()
    }

    /// When [`Kernel::expire`] has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        let addresses = self.addresses.values().filter_map(|a| a.ends.map(|ends| ends + EXPIRY_LAG));
        addresses.chain(self.guards.values().copied()).min()
    }

    /// Until when this kernel answers for an address, if it does now: it has the address, and no gate stands before it.
    #[must_use]
    pub fn answers_until(&self, now: Time, address: IpAddr) -> Option<Time> {
        let assigned = self.addresses.get(&address)?;
        let goes = assigned.ends.map_or(Time(u64::MAX), |ends| ends + EXPIRY_LAG);
        if self.guards.get(&address).is_none_or(|ends| *ends <= now) {
            return (goes > now).then_some(goes);
        }
        let answer = self.gates.get(&address)?.answer?;
        (answer > now && goes > now).then_some(answer.min(goes))
    }

    /// Until when `answer` is open, if it is now.
    #[must_use]
    pub fn answer_open_until(&self, now: Time, address: IpAddr) -> Option<Time> {
        self.gates.get(&address)?.answer.filter(|ends| *ends > now)
    }

    /// An address as the kernel would report it.
    #[must_use]
    pub fn host_address(&self, address: IpAddr) -> Option<HostAddress> {
        let assigned = self.addresses.get(&address)?;
        Some(HostAddress {
            interface: assigned.interface.clone(),
            address,
            prefix: assigned.prefix,
            mine: assigned.mine,
            permanent: assigned.ends.is_none(),
            secondary: false,
        })
    }

    /// Gates that are open, with the time they have left.
    #[must_use]
    pub fn open_gates(&self, now: Time) -> Vec<(IpAddr, Duration)> {
        let left = |gate: &Gate| gate.answer.max(gate.accept).map_or(Duration::ZERO, |ends| ends.left(now));
        self.gates.iter().map(|(a, gate)| (*a, left(gate))).filter(|(_, left)| *left > Duration::ZERO).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::settings::Source;
    use std::net::Ipv4Addr;

    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
    const MS: Duration = Duration::from_millis(1);

    fn kernel() -> Kernel {
        Kernel::boot(4 * MS, &[("eth0".into(), [2, 0, 0, 0, 0, 1])])
    }

    fn vip() -> Vip {
        Vip { address: VIP, prefix: 32, interface: "eth0".into(), priority: 100, source: Source::Peers }
    }

    #[test]
    fn a_renewal_after_the_end_changes_nothing() {
        let mut kernel = kernel();
        let start = Time::ZERO + MS * 1000;
        kernel.gate_open_briefly(start, VIP);
        assert!(kernel.gate_renew(start, VIP, 100 * MS));
        assert_eq!(kernel.answer_open_until(start + 99 * MS, VIP), Some(start + 100 * MS));
        assert!(!kernel.gate_renew(start + 100 * MS, VIP, 100 * MS));
        assert_eq!(kernel.answer_open_until(start + 100 * MS, VIP), None);
    }

    #[test]
    fn an_element_ends_early_never_late() {
        let mut kernel = kernel();
        let start = Time::ZERO + Duration::from_micros(1_003_999);
        kernel.gate_open_briefly(start, VIP);
        assert!(kernel.gate_renew(start, VIP, 101 * MS));
        let end = kernel.answer_open_until(start, VIP).unwrap();
        assert!(end <= start + 101 * MS && end + 8 * MS > start + 101 * MS, "{end:?}");
    }

    #[test]
    fn an_address_without_a_guard_answers_whatever_the_gates_say() {
        let mut kernel = kernel();
        let start = Time::ZERO + MS * 1000;
        kernel.put_address(start, &vip(), 3000 * MS);
        assert!(kernel.answers_until(start, VIP).is_some());
        kernel.guard(start, &[vip()], 6000 * MS);
        assert_eq!(kernel.answers_until(start, VIP), None);
        kernel.expire(start + 3100 * MS);
        assert!(kernel.addresses.is_empty() && kernel.guards.len() == 1);
        assert_eq!(kernel.notices.len(), 2);
    }
}
