//! The keeper's side of the peers' protocol: who is heard, what is told to whom, and what counts.

use super::context::To;
use super::group::{Group, voting};
use super::session::{MACS_MAX, Session, Verdict};
use super::{BTreeMap, Duration, Effect, Keeper, Note, Record, SocketAddr, Time, Voters};
use crate::settings::{Peer, VOTERS_MAX};
use baton_wire::peer::{self, DATAGRAM_MAX, Flags, HEADER_LEN, Header, MAC_LEN};

/// What a node is (voters, link-layer addresses, states) is repeated to each peer at least so often.
const STATES_EVERY: Duration = Duration::from_secs(1);
/// Sources whose dropped datagrams were logged already; later ones are only counted.
const COMPLAINTS_MAX: usize = 64;
/// Unknown nodes that a `startAsLeader` node without peers talks to.
const VISITORS_MAX: usize = 16;

impl Keeper {
    /// A datagram came in: judge it, then do what its records say.
    pub(super) fn datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        out: &mut Vec<Effect>,
        post: &mut Vec<(To, Record)>,
    ) {
        let keys: Vec<&[u8]> = self.settings.keys.iter().map(|k| k.0.as_slice()).collect();
        let (header, records) = match peer::parse(bytes, &keys) {
            Ok(parsed) => parsed,
            Err(e) => return self.drop(from, e.as_str(), out),
        };
        if header.address != from {
            return self.drop(from, "it names another address than it comes from", out);
        }
        if header.sender == self.incarnation {
            return self.drop(from, "an echo of our own", out);
        }
        let lone = self.lone();
        if lone && !self.sessions.contains_key(&from) && self.sessions.len() < VISITORS_MAX {
            self.sessions.insert(from, Session::new(from, from.to_string()));
        }
        let Some(session) = self.sessions.get_mut(&from) else {
            return self.drop(from, "not one of the configured peers", out);
        };
        match session.receive(now, &header, self.incarnation) {
            Verdict::Greeting => {}
            Verdict::Stale(why) => self.drop(from, why, out),
            Verdict::Current { first, newest } => {
                self.current(now, from, &header, first, out);
                self.records(now, from, newest, records, out, post);
                self.adopt(from, out);
            }
        }
    }

    /// A fresh message: note what its header says.
    fn current(&mut self, now: Time, from: SocketAddr, header: &Header, first: bool, out: &mut Vec<Effect>) {
        let ours = self.voters.digest();
        let Some(s) = self.sessions.get_mut(&from) else { return };
        let same = header.voters == ours;
        if !same && (s.same_voters || first) {
            out.push(Effect::Note(Note::VotersDiffer { peer: from }));
        }
        s.same_voters = same;
        s.clear |= same && header.flags.clear;
        let silent = s.silent;
        let news = !s.reachable;
        s.reachable = true;
        if first {
            s.told = None;
            s.greet();
        }
        if news {
            out.push(Effect::Note(Note::PeerUp { peer: from, silent }));
            self.announce_on(now, |_| true);
        }
    }

    fn records(
        &mut self,
        now: Time,
        from: SocketAddr,
        newest: bool,
        records: Vec<Record>,
        out: &mut Vec<Effect>,
        post: &mut Vec<(To, Record)>,
    ) {
        for record in records {
            match &record {
                Record::State { .. } if !newest => {}
                Record::Voters(list) => {
                    if let Some(s) = self.sessions.get_mut(&from) {
                        s.voters = list.iter().copied().take(VOTERS_MAX).collect();
                    }
                }
                Record::Macs(macs) => self.learn_macs(from, macs),
                Record::Prepare { vip, .. }
                | Record::Promise { vip, .. }
                | Record::Propose { vip, .. }
                | Record::Accept { vip, .. }
                | Record::Refuse { vip, .. }
                | Record::Release { vip, .. }
                | Record::Offer { vip, .. }
                | Record::Ready { vip, .. }
                | Record::State { vip, .. } => {
                    let Some(s) = self.sessions.get(&from).filter(|s| s.same_voters) else { continue };
                    let (Some(index), Some(incarnation)) = (self.voters.index(from), s.incarnation()) else { continue };
                    let from = voting::From { address: from, index, incarnation, alone: s.flags.alone };
                    self.with(now, false, *vip, out, post, |g, cx| g.record(cx, from, &record));
                }
            }
        }
    }

    fn learn_macs(&mut self, from: SocketAddr, macs: &[super::Mac]) {
        let Some(s) = self.sessions.get_mut(&from) else { return };
        s.macs = macs.iter().copied().take(MACS_MAX).collect();
        for g in self.groups.values_mut() {
            macs.iter().for_each(|m| g.place.conflict.acquit(m));
        }
    }

    /// A node that was started as the first one, without a list of peers.
    fn lone(&self) -> bool {
        self.settings.start_as_leader && self.settings.local.is_some() && !self.listed()
    }

    /// Such a node that has not adopted a list yet.
    pub(super) fn first(&self) -> bool {
        self.lone() && self.voters.len() == 1
    }

    /// The list of voters is the operator's, not adopted.
    fn listed(&self) -> bool {
        !self.settings.peers.is_empty() && !self.adopted
    }

    /// A `startAsLeader` node without peers takes over the list of the first node that counts on it, and later any
    /// longer one that contains the adopted one as soon as its majority votes: so those who join never make a second
    /// group, and the address stays.
    fn adopt(&mut self, from: SocketAddr, out: &mut Vec<Effect>) {
        let Some(s) = self.sessions.get(&from).filter(|_| self.lone()) else { return };
        let (list, theirs) = (s.voters.clone(), s.digest);
        let fits = list.contains(&self.me) && list.contains(&from);
        let longer = list.len() > self.voters.len() && self.voters.list().iter().all(|v| list.contains(v));
        if !fits || !longer {
            return;
        }
        let votes = |v: &&SocketAddr| self.sessions.get(v).is_some_and(|s| s.digest == theirs && s.flags.voting);
        if self.voters.len() > 1 && list.iter().filter(votes).count() + usize::from(self.voting) <= list.len() / 2 {
            return;
        }
        let peers: Vec<Peer> = list
            .iter()
            .filter(|v| **v != self.me)
            .map(|v| Peer { address: *v, id: self.sessions.get(v).map_or_else(|| v.to_string(), |s| s.id.clone()) })
            .collect();
        out.push(Effect::Note(Note::Adopted { from, voters: list.len() }));
        self.adopted = true;
        self.settings.peers = peers;
        self.renumber();
        if let Some(s) = self.sessions.get_mut(&from) {
            s.same_voters = true;
            s.greet();
        }
    }

    /// The voters are now those of the settings: indices, digest and sessions follow.
    pub(super) fn renumber(&mut self) {
        let quorum = self.quorum();
        let untils: BTreeMap<_, Time> = self.groups.iter().map(|(vip, g)| (*vip, g.held_until(quorum))).collect();
        self.voters = Voters::new(self.me, self.settings.peers.iter().map(|p| p.address));
        let set = self.voters.list().iter().copied().collect();
        for (vip, g) in &mut self.groups {
            g.renumber(untils.get(vip).copied().unwrap_or(Time::ZERO), self.voters.me(), &set);
        }
        self.sessions.retain(|address, _| set.contains(address));
        for p in &self.settings.peers {
            let s = self.sessions.entry(p.address).or_insert_with(|| Session::new(p.address, p.id.clone()));
            s.id.clone_from(&p.id);
            s.same_voters = false;
            s.told = None;
            s.greet();
        }
    }

    /// Counts a dropped datagram; says so once per source and reason.
    fn drop(&mut self, from: SocketAddr, why: &'static str, out: &mut Vec<Effect>) {
        *self.dropped.entry(why).or_insert(0) += 1;
        if self.complained.len() < COMPLAINTS_MAX && self.complained.insert((from.ip(), why)) {
            out.push(Effect::Note(Note::Dropped { from, why }));
        }
    }

    /// Silence: a peer that was reachable is not any more.
    pub(super) fn contacts(&mut self, now: Time, out: &mut Vec<Effect>) {
        let silence = self.settings.lease.max(self.hello() * 3);
        for s in self.sessions.values_mut() {
            if s.reachable && s.heard.is_none_or(|h| now.since(h) > silence) {
                s.reachable = false;
                out.push(Effect::Note(Note::PeerDown { peer: s.address }));
            }
        }
    }

    /// Time between datagrams to a peer that is heard, when there is nothing to say.
    fn hello(&self) -> Duration {
        (self.settings.renewal * 2).clamp(Duration::from_millis(20), Duration::from_millis(500))
    }

    /// When a datagram to this peer is due, or its silence noticed. A silent peer is greeted more often: whoever
    /// holds after a partition heals must notice at once.
    pub(super) fn session_due(&self, s: &Session) -> Time {
        if s.greeting_due() || !s.outbox.is_empty() {
            return self.ran;
        }
        let silent = (self.settings.renewal / 4).max(Duration::from_millis(10));
        s.sent + if s.reachable { self.hello() } else { silent }
    }

    /// Changes of what this node is go out at once.
    pub(super) fn tell_states(&mut self, now: Time, late: bool, out: &mut Vec<Effect>, post: &mut Vec<(To, Record)>) {
        let vips: Vec<_> = self.groups.keys().copied().collect();
        for vip in vips {
            self.with(now, late, vip, out, post, |g, cx| {
                let state = g.state(cx);
                if g.told != Some(state) {
                    g.told = Some(state);
                    cx.post.push((To::All, Record::State { vip, state }));
                }
            });
        }
    }

    /// Puts records into the peers' outboxes.
    pub(super) fn deliver(&mut self, post: Vec<(To, Record)>) {
        for (to, record) in post {
            match to {
                To::All => self.sessions.values_mut().for_each(|s| s.tell(record.clone())),
                To::One(peer) => {
                    if let Some(s) = self.sessions.get_mut(&peer) {
                        s.tell(record);
                    }
                }
            }
        }
    }

    /// Sends what waits, and greetings that are due.
    pub(super) fn flush(&mut self, now: Time, out: &mut Vec<Effect>) {
        let addresses: Vec<SocketAddr> = self.sessions.keys().copied().collect();
        for to in addresses {
            let Some(s) = self.sessions.get(&to) else { continue };
            if now < self.session_due(s) {
                continue;
            }
            let states: Vec<Record> = self
                .groups
                .iter()
                .filter_map(|(vip, g)| g.told.map(|state| Record::State { vip: *vip, state }))
                .collect();
            let macs = self.macs();
            let voters = self.voters.list().to_vec();
            let Some(s) = self.sessions.get_mut(&to) else { continue };
            if s.told.is_none_or(|t| now.since(t) >= STATES_EVERY) {
                // Repeated, because any one datagram may be lost; not counted as told before the peer can read it.
                s.told = s.incarnation().map(|_| now);
                s.outbox.push(Record::Voters(voters));
                s.outbox.push(Record::Macs(macs));
                s.outbox.extend(states);
            }
            self.send(now, to, out);
        }
    }

    fn macs(&self) -> Vec<super::Mac> {
        let used = |name: &String| self.groups.values().any(|g| g.place.vip.interface == *name);
        self.links.values().filter(|l| used(&l.name)).filter_map(|l| l.mac).take(MACS_MAX).collect()
    }

    /// Empties a peer's outbox into as many datagrams as it takes.
    fn send(&mut self, now: Time, to: SocketAddr, out: &mut Vec<Effect>) {
        let key = self.settings.keys.first().map(|k| k.0.as_slice());
        let Some(s) = self.sessions.get_mut(&to) else { return };
        let mut records = std::mem::take(&mut s.outbox).into_iter().peekable();
        loop {
            let mut batch = Vec::new();
            let mut room = DATAGRAM_MAX - HEADER_LEN - MAC_LEN;
            while let Some(r) = records.next_if(|r| r.len() <= room) {
                room -= r.len();
                batch.push(r);
            }
            self.counter += 1;
            let mut header = Header {
                flags: Flags {
                    signed: false,
                    clear: false,
                    start_as_leader: self.settings.start_as_leader && !self.majority_seen,
                    alone: self.alone,
                    witness: self.settings.witness,
                    voting: self.voting,
                },
                lease_ms: u16::try_from(self.settings.lease.as_millis()).unwrap_or(u16::MAX),
                sender: self.incarnation,
                receiver: 0,
                counter: self.counter,
                voters: self.voters.digest(),
                stamp: 0,
                echo: 0,
                echo_age: 0,
                address: self.me,
            };
            s.address_to(now, &mut header);
            header.flags.clear = s.incarnation() == Some(header.receiver)
                && clear_for(now, header.receiver, self.voters.index(to), self.gates_shut, &self.groups);
            out.push(Effect::Send { to, bytes: peer::emit(&header, &batch, key) });
            if records.peek().is_none_or(|r| r.len() > DATAGRAM_MAX - HEADER_LEN - MAC_LEN) {
                return;
            }
        }
    }
}

/// Nothing that this node holds, or may come to hold, rests on a vote of another incarnation of that voter. Only said
/// to the incarnation whose answers count now: those of its predecessors are void from then on.
fn clear_for(
    now: Time,
    incarnation: u64,
    voter: Option<u8>,
    gates_shut: Time,
    groups: &BTreeMap<std::net::IpAddr, Group>,
) -> bool {
    let rests = |g: &Group| voter.is_none_or(|v| g.proposer.rests_on_predecessor(now, v, incarnation));
    now >= gates_shut && !groups.values().any(rests)
}
