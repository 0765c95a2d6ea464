//! What the keeper has to say to people: log lines, history and counters as values.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::event::Mac;
use crate::lease::LeaseName;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For debugging.
    Debug,
    /// A transition or a fact worth a line.
    Info,
    /// Something is wrong or unwise; service goes on.
    Warn,
    /// A promise cannot be kept.
    Error,
}

/// Why an address was gained or lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody held it when this node started.
    Start,
    /// The last holder's lease ran out.
    Expired,
    /// The last holder handed it over.
    HandedOver,
    /// This node's own lease, taken up again after a restart.
    Resumed,
    /// `startAsLeader`: nobody else was heard.
    Alone,
    /// No majority renewed the lease.
    NoMajority,
    /// The process was late: the kernel had shut the gates.
    Late,
    /// The kernel refused the gate.
    KernelRefused,
    /// This instance is stopping.
    Stopping,
    /// The new configuration no longer has it, or no longer here.
    Reconfigured,
    /// The link is down.
    LinkDown,
    /// No backend passes here while some do elsewhere, or the listener is gone.
    Unhealthy,
    /// A node with a higher priority is ready.
    Preempted,
    /// A stranger answers for it.
    Conflict,
    /// The Lease was not renewed in time.
    Unrenewed,
    /// Another node has the Lease.
    Taken,
    /// This node is not fit to hold the Lease.
    Yielded,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Start => "nobody held it",
            Reason::Expired => "the holder's lease ran out",
            Reason::HandedOver => "handed over",
            Reason::Resumed => "own lease taken up again after a restart",
            Reason::Alone => "startAsLeader: alone, outside the guarantee",
            Reason::NoMajority => "no majority renewed the lease",
            Reason::Late => "this process was late, the kernel had shut the gates",
            Reason::KernelRefused => "the kernel refused the gate",
            Reason::Stopping => "stopping",
            Reason::Reconfigured => "the configuration changed",
            Reason::LinkDown => "the link is down",
            Reason::Unhealthy => "no backend passes its checks here, but elsewhere some do",
            Reason::Preempted => "a node with a higher priority is ready",
            Reason::Conflict => "another host answers for it",
            Reason::Unrenewed => "the Lease was not renewed in time",
            Reason::Taken => "another node has the Lease",
            Reason::Yielded => "this node is not fit to hold the Lease",
        })
    }
}

/// One thing worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// This node holds the address.
    Gained {
        /// The address.
        vip: IpAddr,
        /// Why.
        reason: Reason,
        /// From the first attempt to the open gate.
        took: Duration,
    },
    /// This node gave the address up or lost it.
    Lost {
        /// The address.
        vip: IpAddr,
        /// Why.
        reason: Reason,
        /// How long it was held.
        held: Duration,
    },
    /// Another node was seen to hold the address.
    HeldBy {
        /// The address.
        vip: IpAddr,
        /// The holder.
        peer: SocketAddr,
    },
    /// A peer is heard (again).
    PeerUp {
        /// The peer.
        peer: SocketAddr,
        /// How long it was silent; `None`: first contact.
        silent: Option<Duration>,
    },
    /// A peer is silent.
    PeerDown {
        /// The peer.
        peer: SocketAddr,
    },
    /// A peer has another list of voters: its votes do not count.
    VotersDiffer {
        /// The peer.
        peer: SocketAddr,
    },
    /// A datagram was dropped; counted by reason, logged once per source and reason.
    Dropped {
        /// Source.
        from: SocketAddr,
        /// Why.
        why: &'static str,
    },
    /// A host that is no peer answers for the address.
    Stranger {
        /// The address.
        vip: IpAddr,
        /// The host.
        mac: Mac,
        /// This node holds the address.
        holding: bool,
    },
    /// An address left behind by another program was found and taken over.
    Leftover {
        /// The address.
        vip: IpAddr,
        /// Where.
        interface: String,
    },
    /// An address or gate that somebody else removed was put back.
    Healed {
        /// What was repaired.
        what: &'static str,
        /// The address.
        vip: IpAddr,
    },
    /// The VIP's link changed.
    LinkChanged {
        /// Its name.
        interface: String,
        /// Up now.
        up: bool,
    },
    /// The quiet time is over: this node votes.
    Voting {
        /// How long it was quiet.
        after: Duration,
    },
    /// A voter list was adopted from a peer (`startAsLeader` without peers).
    Adopted {
        /// The peer whose list it is.
        from: SocketAddr,
        /// Number of voters.
        voters: usize,
    },
    /// The configuration was changed.
    Configured {
        /// The voters changed: votes count only among nodes with the new list.
        voters_changed: bool,
    },
    /// A Lease cannot be read or written, or can be again.
    LeaseTrouble {
        /// Which one.
        lease: LeaseName,
        /// Why not; `None`: it works again.
        why: Option<String>,
    },
    /// Without a key the sources of datagrams are the only authentication. Said once.
    NoKey,
}

impl Note {
    /// How much it matters.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Note::Dropped { .. } | Note::HeldBy { .. } => Level::Debug,
            Note::PeerDown { .. }
            | Note::VotersDiffer { .. }
            | Note::Leftover { .. }
            | Note::Healed { .. }
            | Note::LeaseTrouble { why: Some(_), .. }
            | Note::NoKey => Level::Warn,
            Note::Stranger { holding, .. } => {
                if *holding {
                    Level::Error
                } else {
                    Level::Warn
                }
            }
            Note::Lost { reason, .. } => match reason {
                Reason::Stopping | Reason::Preempted | Reason::Reconfigured | Reason::HandedOver | Reason::Yielded => {
                    Level::Info
                }
                _ => Level::Warn,
            },
            _ => Level::Info,
        }
    }
}

/// A link-layer address as people write it.
#[must_use]
pub fn mac_text(mac: &Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// A duration as people read it.
fn ms(d: &Duration) -> String {
    if *d < Duration::from_secs(10) {
        format!("{:.1} ms", d.as_secs_f64() * 1e3)
    } else {
        format!("{:.0} s", d.as_secs_f64())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Gained { vip, reason, took } => write!(f, "holding {vip}: {reason} (took {})", ms(took)),
            Note::Lost { vip, reason, held } => write!(f, "gave up {vip}: {reason} (held it {})", ms(held)),
            Note::HeldBy { vip, peer } => write!(f, "{vip} is held by {peer}"),
            Note::PeerUp { peer, silent: None } => write!(f, "peer {peer} is there"),
            Note::PeerUp { peer, silent: Some(d) } => write!(f, "peer {peer} is there again (silent for {})", ms(d)),
            Note::PeerDown { peer } => write!(f, "peer {peer} is silent (is UDP to and from its port open?)"),
            Note::VotersDiffer { peer } => write!(
                f,
                "peer {peer} has another list of voters: votes do not count between different lists; \
                 compare localPeer and remotePeers of the two nodes"
            ),
            Note::Dropped { from, why } => write!(f, "dropped a datagram from {from}: {why}"),
            Note::Stranger { vip, mac, holding } => write!(
                f,
                "another host ({}) answers for {vip}{}",
                mac_text(mac),
                if *holding { ", which this node holds" } else { ": it is not taken until that ends" }
            ),
            Note::Leftover { vip, interface } => {
                write!(f, "{vip} was left on {interface} by another program: gated and taken over")
            }
            Note::Healed { what, vip } => write!(f, "{what} of {vip} was removed by somebody else: put back"),
            Note::LinkChanged { interface, up } => {
                write!(f, "link {interface} is {}", if *up { "up" } else { "down" })
            }
            Note::Voting { after } => write!(f, "voting from now on (quiet for {})", ms(after)),
            Note::Adopted { from, voters } => write!(f, "adopted the list of {voters} voters of {from}"),
            Note::Configured { voters_changed: false } => f.write_str("the new configuration is in effect"),
            Note::Configured { voters_changed: true } => {
                f.write_str("the new configuration is in effect; the voters changed: votes count among nodes with the same list")
            }
            Note::LeaseTrouble { lease, why: Some(why) } => write!(f, "Lease {lease}: {why}"),
            Note::LeaseTrouble { lease, why: None } => write!(f, "Lease {lease}: works again"),
            Note::NoKey => f.write_str(
                "no peerKey: only datagrams from the configured peers' addresses count, and whoever can forge those can take the address",
            ),
        }
    }
}
