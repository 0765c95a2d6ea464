//! The status document: what the daemon tells people and programs about itself, as one JSON value.
//!
//! Durations are relative to the moment of the answer, so a reader needs no clock of ours. docs/status.md explains
//! every field; fields may be added, `schema` changes when one changes its meaning.

use std::collections::BTreeMap;
use std::time::Duration;

use baton_core::keeper::note::mac_text;
use baton_core::keeper::status::{Guarantee, PeerStatus, Role, Status, Transition, VipStatus};
use baton_core::lease::LeaseName;
use baton_core::time::Time;
use serde::{Deserialize, Serialize};

use super::wall::rfc3339;

/// The whole document.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Document {
    /// Version of this form.
    pub schema: u32,
    /// Version of the program.
    pub version: String,
    /// This node's name.
    pub node: String,
    /// This node's address among the peers.
    pub local: Option<String>,
    /// Process id.
    pub pid: u32,
    /// Time since the start.
    pub uptime_ms: u64,
    /// Votes, never holds.
    pub witness: bool,
    /// Its quiet time is over.
    pub voting: bool,
    /// What is left of the quiet time.
    pub quiet_ms: Option<u64>,
    /// Voting, and in contact with a majority.
    pub ready: bool,
    /// Handing over and leaving.
    pub stopping: bool,
    /// Number of voters, this node included.
    pub voters: usize,
    /// Duration of a grant.
    pub lease_ms: u64,
    /// The kernel enforces the end of every hold.
    pub fence: bool,
    /// What is wrong, unwise or not guaranteed now, in sentences.
    pub warnings: Vec<String>,
    /// The addresses.
    pub addresses: Vec<Address>,
    /// The other voters.
    pub peers: Vec<Peer>,
    /// The load balancers.
    pub balancers: Vec<Balancer>,
    /// The last ten transitions, oldest first.
    pub transitions: Vec<Change>,
    /// Latest lag of a renewal behind its time.
    pub renewal_lag_us: u64,
    /// Largest lag so far.
    pub renewal_lag_max_us: u64,
    /// Datagrams dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Leases and Services, for `baton manager`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

/// What `baton manager` knows of its cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kubernetes {
    /// How this node's own API server is, where that is asked for: `well`, or `ill` and why.
    pub api_server: Option<String>,
    /// The Leases that this node campaigns for.
    pub leases: Vec<Lease>,
    /// Services of type LoadBalancer.
    pub services: Vec<Service>,
    /// Requests to the API so far, by verb.
    pub requests: BTreeMap<String, u64>,
    /// Edits of objects that are not done.
    pub writes_waiting: usize,
}

/// A Lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// Namespace and name.
    pub name: String,
    /// Its holder, as far as it is known; empty: nobody.
    pub holder: String,
    /// This node leads by it.
    pub here: bool,
    /// How many addresses hang on it here.
    pub addresses: usize,
    /// Time until this node's hold ends, or until another's must have ended, unless it is renewed.
    pub remaining_ms: Option<u64>,
    /// What the API server said when it last failed.
    pub trouble: Option<String>,
}

/// A Service of type LoadBalancer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Namespace and name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// The Lease that governs the first of them.
    pub lease: Option<String>,
    /// `here`, `by NODE`, or `nowhere` and why.
    pub announced: String,
}

/// An address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: String,
    /// Its interface.
    pub interface: String,
    /// `holder`, `standby`, `draining` or `ineligible`.
    pub role: String,
    /// Address of the holder among the peers, when it is known.
    pub holder: Option<String>,
    /// Name of the holder, when it is known.
    pub holder_name: Option<String>,
    /// Time until the hold (or the grant to the holder) ends unless it is renewed.
    pub remaining_ms: Option<u64>,
    /// Which promise applies while it is held here: `quorum-fenced`, `quorum-unfenced`,
    /// `lease-fenced`, `lease-unfenced`, `alone` or `single-node`.
    pub guarantee: String,
    /// Every listener on it is there and has a backend that passes this node's checks.
    pub healthy: bool,
    /// Link-layer address of a host that is no peer and answers for it.
    pub stranger: Option<String>,
    /// How often this node gained it.
    pub gains: u64,
    /// How often this node lost it.
    pub losses: u64,
}

/// Another voter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Where its messages come from and go to.
    pub address: String,
    /// Heard recently.
    pub reachable: bool,
    /// Time since its last valid message.
    pub last_contact_ms: Option<u64>,
    /// Round trip of the last answered message.
    pub round_trip_us: Option<u64>,
    /// It has the same list of voters: votes count.
    pub same_voters: bool,
    /// Its quiet time is over.
    pub voting: bool,
    /// It never holds.
    pub witness: bool,
}

/// A load balancer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Balancer {
    /// Its name.
    pub name: String,
    /// `tcp` or `http`.
    pub kind: String,
    /// Clients that were refused because no backend could be had.
    pub refused: u64,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Where it sends traffic.
    pub backends: Vec<Backend>,
}

/// A listening socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// Its address.
    pub address: String,
    /// Why it is not there; tried again every second.
    pub error: Option<String>,
}

/// A backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// Host and port, or URL.
    pub address: String,
    /// `up`, `down` or `unchecked`.
    pub state: String,
    /// Why.
    pub why: String,
    /// How long it has been so.
    pub since_ms: Option<u64>,
    /// Share of new connections.
    pub weight: u16,
    /// Used only when no other is up.
    pub backup: bool,
    /// Connections now.
    pub active: u64,
    /// Connections (or requests) so far.
    pub connections: u64,
    /// Connects that failed so far.
    pub failures: u64,
    /// Bytes from clients to it so far.
    pub bytes_in: u64,
    /// Bytes from it to clients so far.
    pub bytes_out: u64,
}

/// A change of who holds an address, as this node saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// When (UTC, by the wall clock of now).
    pub at: String,
    /// How long ago.
    pub ago_ms: u64,
    /// The address.
    pub address: String,
    /// Gained or lost here.
    pub gained: bool,
    /// Why.
    pub reason: String,
    /// A gain: how long it took. A loss: how long it was held.
    pub duration_ms: f64,
}

/// What the planner knows beside the keeper's status.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The kernel enforces the end of every hold.
    pub fence: bool,
    /// The load balancers.
    pub balancers: Vec<Balancer>,
    /// Time since the start.
    pub uptime: Duration,
    /// Further warnings (no socket, markers not written, a refused reload).
    pub warnings: Vec<String>,
}

/// Makes the document from what the keeper and the planner know.
#[must_use]
pub fn document(status: &Status, around: Around, now: Time, wall: Duration) -> Document {
    let names = Names { status };
    let mut warnings = promises(status, around.fence);
    warnings.extend(around.warnings);
    Document {
        schema: 1,
        version: crate::VERSION.to_owned(),
        node: status.node.clone(),
        local: status.local.map(|a| a.to_string()),
        pid: std::process::id(),
        uptime_ms: ms(around.uptime),
        witness: status.witness,
        voting: status.voting,
        quiet_ms: status.quiet_until.map(|t| ms(t.left(now))).filter(|_| !status.voting),
        ready: status.ready,
        stopping: status.stopping,
        voters: status.voters,
        lease_ms: ms(status.lease),
        fence: around.fence,
        warnings,
        addresses: status.vips.iter().map(|v| address(v, &names, now)).collect(),
        peers: status.peers.iter().map(|p| peer(p, now)).collect(),
        balancers: around.balancers,
        transitions: status.transitions.iter().map(|t| change(t, now, wall)).collect(),
        renewal_lag_us: us(status.renewal_lag),
        renewal_lag_max_us: us(status.renewal_lag_max),
        dropped: status.dropped.iter().map(|(why, n)| ((*why).to_owned(), *n)).collect(),
        kubernetes: None,
    }
}

/// Names of nodes by their address among the peers.
struct Names<'a> {
    status: &'a Status,
}

impl Names<'_> {
    fn of(&self, address: std::net::SocketAddr) -> Option<String> {
        if self.status.local == Some(address) {
            return Some(self.status.node.clone());
        }
        self.status.peers.iter().find(|p| p.address == address).map(|p| p.id.clone()).filter(|id| !id.is_empty())
    }
}

fn address(v: &VipStatus, names: &Names<'_>, now: Time) -> Address {
    let here = matches!(v.role, Role::Holder);
    // Who holds the Lease holds its addresses.
    let of = |name: &LeaseName| names.status.leases.iter().find(|l| l.name == *name);
    let leased = v.lease.as_ref().and_then(of).filter(|l| l.until.is_none());
    Address {
        address: v.address.to_string(),
        interface: v.interface.clone(),
        role: match v.role {
            Role::Holder => "holder",
            Role::Standby => "standby",
            Role::Draining => "draining",
            Role::Ineligible => "ineligible",
        }
        .to_owned(),
        holder: v.holder.map(|a| a.to_string()),
        holder_name: match v.holder {
            Some(a) => names.of(a),
            None if here => Some(names.status.node.clone()),
            None => leased.map(|l| l.holder.clone()).filter(|holder| !holder.is_empty()),
        },
        remaining_ms: v.until.or(leased.and_then(|l| l.taken_until)).map(|t| ms(t.left(now))),
        guarantee: match v.guarantee {
            Guarantee::QuorumFenced => "quorum-fenced",
            Guarantee::QuorumUnfenced => "quorum-unfenced",
            Guarantee::LeaseFenced => "lease-fenced",
            Guarantee::LeaseUnfenced => "lease-unfenced",
            Guarantee::Alone => "alone",
            Guarantee::SingleNode => "single-node",
        }
        .to_owned(),
        healthy: v.healthy,
        stranger: v.stranger.as_ref().map(mac_text),
        gains: v.gains,
        losses: v.losses,
    }
}

fn peer(p: &PeerStatus, now: Time) -> Peer {
    Peer {
        name: p.id.clone(),
        address: p.address.to_string(),
        reachable: p.reachable,
        last_contact_ms: p.last_heard.map(|t| ms(now.since(t))),
        round_trip_us: p.round_trip.map(us),
        same_voters: p.same_voters,
        voting: p.voting,
        witness: p.witness,
    }
}

fn change(t: &Transition, now: Time, wall: Duration) -> Change {
    let ago = now.since(t.at);
    Change {
        at: rfc3339(wall.saturating_sub(ago)),
        ago_ms: ms(ago),
        address: t.vip.to_string(),
        gained: t.gained,
        reason: t.reason.to_string(),
        duration_ms: t.duration.as_secs_f64() * 1e3,
    }
}

/// Which promises do not hold, or hold less than a reader may think, and what to do about it.
fn promises(status: &Status, fence: bool) -> Vec<String> {
    let mut out = Vec::new();
    if !fence {
        out.push(
            "fence: off: the kernel does not end a hold. A crashed, stopped or starved process goes on answering for its \
             addresses until their lifetime ends, so two nodes can answer at once"
                .to_owned(),
        );
    }
    let held = |g| status.vips.iter().any(|v| v.role == Role::Holder && v.guarantee == g);
    if held(Guarantee::Alone) {
        out.push(
            "startAsLeader: an address is held without a majority, outside the guarantee, until a majority of the voters is seen"
                .to_owned(),
        );
    }
    if status.voters == 2 {
        out.push(
            "two voters cannot fail over: when one is lost the other has no majority. Add a third, or a witness (`witness: true`)"
                .to_owned(),
        );
    }
    for p in &status.peers {
        if !p.reachable {
            let port = p.address.port();
            out.push(format!(
                "peer {} ({}) is silent: does it run, and is UDP port {port} open in both directions? (kube-vip 0.1 used TCP there)",
                p.id, p.address
            ));
        } else if !p.same_voters {
            out.push(format!(
                "peer {} ({}) has another list of voters, so votes do not count between the two: compare localPeer and remotePeers",
                p.id, p.address
            ));
        }
    }
    for v in &status.vips {
        if let Some(mac) = &v.stranger {
            out.push(format!("{}: another host ({}) answers for it", v.address, mac_text(mac)));
        }
    }
    out
}

fn ms(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn us(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;

    use baton_core::keeper::Reason;
    use baton_core::keeper::status::LeaseStatus;
    use serde_json::Value;

    use super::*;

    /// Three nodes, the third silent, one backend down.
    pub(crate) fn sample() -> Document {
        let now = Time(200_000_000_000);
        let at = |ms| now - Duration::from_millis(ms);
        let socket = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let peer = |id: &str, address, reachable| PeerStatus {
            id: id.to_owned(),
            address: socket(address),
            last_heard: Some(at(60)),
            reachable,
            round_trip: Some(Duration::from_micros(250)),
            same_voters: true,
            voting: true,
            witness: false,
        };
        let vip = VipStatus {
            address: "10.0.0.100".parse().expect("an address"),
            interface: "eth0".to_owned(),
            role: Role::Holder,
            holder: Some(socket("10.0.0.1:10000")),
            until: Some(now + Duration::from_millis(390)),
            lease: None,
            guarantee: Guarantee::QuorumFenced,
            healthy: true,
            stranger: None,
            gains: 3,
            losses: 2,
        };
        let status = Status {
            node: "a".to_owned(),
            local: Some(socket("10.0.0.1:10000")),
            voting: true,
            ready: true,
            voters: 3,
            lease: Duration::from_millis(500),
            transitions: vec![Transition {
                at: at(5_000),
                vip: vip.address,
                gained: true,
                reason: Reason::Expired,
                duration: Duration::from_micros(1_500),
            }],
            vips: vec![vip],
            peers: vec![peer("b", "10.0.0.2:10000", true), peer("c", "10.0.0.3:10000", false)],
            dropped: BTreeMap::from([("not a peer", 2)]),
            renewal_lag: Duration::from_micros(100),
            renewal_lag_max: Duration::from_micros(1_200),
            ..Status::default()
        };
        let balancer = Balancer {
            name: "api".to_owned(),
            kind: "tcp".to_owned(),
            refused: 4,
            listeners: vec![Listener { address: "10.0.0.100:6443".to_owned(), error: None }],
            backends: vec![Backend {
                address: "10.0.0.2:6443".to_owned(),
                state: "down".to_owned(),
                why: "connection refused".to_owned(),
                since_ms: Some(7_000),
                weight: 1,
                backup: false,
                active: 0,
                connections: 12,
                failures: 3,
                bytes_in: 10,
                bytes_out: 20,
            }],
        };
        let around =
            Around { fence: true, balancers: vec![balancer], uptime: Duration::from_secs(120), warnings: Vec::new() };
        document(&status, around, now, Duration::from_secs(1_709_164_800))
    }

    #[test]
    fn names_and_times() {
        let d = sample();
        assert_eq!(d.addresses[0].holder_name.as_deref(), Some("a"));
        assert_eq!(d.addresses[0].remaining_ms, Some(390));
        assert_eq!(d.transitions[0].at, "2024-02-28T23:59:55.000Z");
        assert_eq!(d.quiet_ms, None);
        assert_eq!(d.warnings.len(), 1, "{:?}", d.warnings);
    }

    #[test]
    fn a_standby_names_the_holder_of_the_lease() {
        let now = Time(200_000_000_000);
        let name = LeaseName { namespace: "kube-system".into(), name: "plndr-cp-lock".into() };
        let lease = LeaseStatus {
            name: name.clone(),
            campaigns: true,
            holder: "node-2".to_owned(),
            until: None,
            taken_until: Some(now + Duration::from_secs(9)),
            trouble: None,
            addresses: 1,
        };
        let vip = VipStatus {
            address: "10.0.0.100".parse().expect("an address"),
            interface: "eth0".to_owned(),
            lease: Some(name),
            role: Role::Standby,
            holder: None,
            until: None,
            guarantee: Guarantee::LeaseFenced,
            healthy: true,
            stranger: None,
            gains: 0,
            losses: 0,
        };
        let status = Status { node: "node-1".to_owned(), vips: vec![vip], leases: vec![lease], ..Status::default() };
        let shown = &document(&status, Around::default(), now, Duration::ZERO).addresses[0];
        assert_eq!((shown.holder_name.as_deref(), shown.remaining_ms), (Some("node-2"), Some(9_000)));
    }

    #[test]
    fn what_is_not_guaranteed_is_said() {
        let mut status = Status { voters: 2, ..Status::default() };
        assert_eq!(promises(&status, true).len(), 1);
        status.voters = 3;
        assert!(promises(&status, true).is_empty());
        assert!(promises(&status, false)[0].starts_with("fence: off"));
    }

    /// Every key of the document is explained in docs/status.md.
    #[test]
    fn the_documentation_names_every_field() {
        fn keys(value: &Value, out: &mut BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    for (key, inner) in map {
                        out.insert(key.clone());
                        if key != "dropped" {
                            keys(inner, out);
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| keys(item, out)),
                _ => {}
            }
        }
        let page = include_str!("../../../../docs/status.md");
        let mut all = BTreeSet::new();
        keys(&serde_json::to_value(sample()).expect("plain values"), &mut all);
        assert!(all.len() > 40);
        let missing: Vec<_> = all.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
        assert!(missing.is_empty(), "docs/status.md does not explain {missing:?}");
    }
}
