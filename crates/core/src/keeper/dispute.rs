//! Does somebody else still answer for an address that was gained by a Lease?
//!
//! The last holder may be a program without a fence, or dead with its address left behind; its link-layer address is not
//! known. So the address is taken at once, and asked for a moment later: while a stranger answers, this node does not.

use std::time::Duration;

use crate::time::Time;

/// The last holder has so long to be silent; and a probe so long to be answered.
const GRACE: Duration = Duration::from_millis(200);
/// How long after the probe an answer still belongs to it.
const LISTEN: Duration = Duration::from_secs(1);
/// Time between probes while a stranger answers.
const RETRY: Duration = Duration::from_secs(1);

/// Where the question stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dispute {
    /// There is none.
    #[default]
    None,
    /// Gained; the probe goes out then.
    Gained { probe_at: Time },
    /// The probe is out: who is heard until then is a stranger.
    Probed { until: Time },
    /// A stranger answers; the next probe goes out then.
    Disputed { probe_at: Time },
    /// That probe is out: who is not heard until then has gone.
    Hoping { until: Time },
}

impl Dispute {
    /// The gate is open.
    pub(crate) fn gained(now: Time) -> Dispute {
        Dispute::Gained { probe_at: now + GRACE }
    }

    /// A stranger keeps this node from answering.
    pub(crate) fn open(self) -> bool {
        matches!(self, Dispute::Disputed { .. } | Dispute::Hoping { .. })
    }

    /// A stranger was heard. True when this node has to be silent from now on.
    pub(crate) fn heard(&mut self, now: Time) -> bool {
        match *self {
            Dispute::Probed { until } if now < until => {
                *self = Dispute::Disputed { probe_at: now + RETRY };
                true
            }
            Dispute::Hoping { until } => {
                *self = Dispute::Disputed { probe_at: (until + (RETRY - GRACE)).max(now + GRACE) };
                false
            }
            _ => false,
        }
    }

    /// Goes on with time. True when a probe is due.
    pub(crate) fn due(&mut self, now: Time) -> bool {
        match *self {
            Dispute::Gained { probe_at } if now >= probe_at => {
                *self = Dispute::Probed { until: now + LISTEN };
                true
            }
            Dispute::Disputed { probe_at } if now >= probe_at => {
                *self = Dispute::Hoping { until: now + GRACE };
                true
            }
            Dispute::Probed { until } | Dispute::Hoping { until } if now >= until => {
                *self = Dispute::None;
                false
            }
            _ => false,
        }
    }

    /// When it goes on.
    pub(crate) fn wake(self) -> Option<Time> {
        match self {
            Dispute::None => None,
            Dispute::Gained { probe_at: at } | Dispute::Disputed { probe_at: at } => Some(at),
            Dispute::Probed { until } | Dispute::Hoping { until } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn a_silent_segment_is_asked_once() {
        let mut d = Dispute::gained(at(0));
        assert!(!d.heard(at(100)), "the last holder may be on its way out");
        assert!(!d.due(at(199)));
        assert!(d.due(at(200)));
        assert!(!d.due(at(1200)));
        assert_eq!((d, d.wake()), (Dispute::None, None));
        assert!(!d.heard(at(5000)), "later claims are defended against");
    }

    #[test]
    fn a_stranger_that_answers_silences_this_node_until_it_goes() {
        let mut d = Dispute::gained(at(0));
        d.due(at(200));
        assert!(d.heard(at(201)));
        assert!(d.open());
        assert!(!d.heard(at(202)), "it is silent already");
        assert!(d.due(at(1201)));
        assert!(!d.heard(at(1202)));
        assert!(d.open());
        assert_eq!(d.wake(), Some(at(2201)));
        assert!(d.due(at(2201)));
        assert!(!d.due(at(2401)));
        assert_eq!(d, Dispute::None);
    }
}
