//! What is worth an Event on a Service: assigned, moved, withdrawn, refused. Told once per change.

use super::plan::{Planned, Verdict, Why};
use super::state::{Entry, Services};
use super::{Key, Refusal, Touched};

/// Something happened to a Service that its owner should be able to read with `kubectl describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The Service.
    pub key: Key,
    /// Its `metadata.uid`.
    pub uid: Box<str>,
    /// What happened.
    pub kind: Kind,
    /// In words.
    pub message: String,
}

/// What happened to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is announced, by this node, and was not before.
    Assigned,
    /// It is announced by this node and was announced by another.
    Moved,
    /// This node announced it, and no node is to do so any more.
    Withdrawn,
    /// It cannot be announced.
    Refused,
}

impl Kind {
    /// `reason` of the Event.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Kind::Assigned => "AddressAssigned",
            Kind::Moved => "AddressMoved",
            Kind::Withdrawn => "AddressWithdrawn",
            Kind::Refused => "ServiceRefused",
        }
    }

    /// `type` of the Event.
    #[must_use]
    pub fn severity(self) -> &'static str {
        match self {
            Kind::Assigned | Kind::Moved => "Normal",
            Kind::Withdrawn | Kind::Refused => "Warning",
        }
    }
}

/// What was told about a Service last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// It is announced here.
    announced: bool,
    refused: Option<Refusal>,
    /// The refusal was told by this node.
    said: bool,
}

impl Services {
    /// Tells what is new about the Services that were touched.
    pub(super) fn tell(&mut self, touched: &mut Touched) {
        let speaks = self.speaks();
        for key in &touched.services {
            let (Some(entry), Some(plan)) = (self.services.get(key), self.plan(key)) else { continue };
            let before = &entry.told;
            let refused = self.refusal(&entry.service);
            let announced = plan.addresses.iter().any(|planned| planned.held);
            let new = refused.as_ref().filter(|refused| before.refused.as_ref() != Some(refused));
            // What is missing on this node no other can tell.
            let speaks = |refused: &Refusal| speaks || (refused.here && self.options.per_service);
            let unsaid = refused.as_ref().filter(|refused| speaks(refused) && (new.is_some() || !before.said));
            let news = [
                if announced && !before.announced { self.gained(entry, &plan.addresses) } else { None },
                if !announced && before.announced { withdrawn(&plan.verdict) } else { None },
                unsaid.map(|refused| (Kind::Refused, refused.message.clone())),
            ];
            let uid = &entry.service.uid;
            let happening = |(kind, message)| Happening { key: key.clone(), uid: uid.clone(), kind, message };
            touched.happenings.extend(news.into_iter().flatten().map(happening));
            if let Some(reason) = new.map(|refused| refused.reason) {
                *self.errors.entry((key.clone(), reason)).or_default() += 1;
            }
            let said = unsaid.is_some() || (new.is_none() && before.said);
            if refused.is_some() && !said {
                self.unsaid.insert(key.clone());
            } else {
                self.unsaid.remove(key);
            }
            if let Some(entry) = self.services.get_mut(key) {
                entry.told = Told { announced, refused, said };
            }
        }
    }

    /// A Service that this node announced ceased to be one of type `LoadBalancer`.
    pub(super) fn tell_type_change(&self, entry: &Entry, touched: &mut Touched) {
        if entry.told.announced {
            touched.happenings.push(Happening {
                key: entry.service.key.clone(),
                uid: entry.service.uid.clone(),
                kind: Kind::Withdrawn,
                message: "no longer announced: its type is not LoadBalancer any more".into(),
            });
        }
    }

    fn gained(&self, entry: &Entry, addresses: &[Planned]) -> Option<(Kind, String)> {
        // The others of this node are about to follow.
        let mine = |planned: &&Planned| {
            planned.held || (planned.wanted && planned.holder.as_ref() == Some(&self.options.node))
        };
        let held: Vec<String> = addresses.iter().filter(mine).map(|planned| planned.address.to_string()).collect();
        let (node, held) = (&self.options.node, held.join(", "));
        match entry.service.annotation("vipHost").filter(|host| !host.is_empty()) {
            // Announced by this node before: a restart, which nobody needs to read about.
            Some(host) if *host == **node => None,
            Some(host) => Some((Kind::Moved, format!("{held} moved from node {host} to node {node}"))),
            None => Some((Kind::Assigned, format!("{held} is announced by node {node}"))),
        }
    }

    /// This node is the one to tell what all nodes know: the holder of the one Lease. With a Lease for each Service
    /// nobody holds that of a refused one: the first by name of those that hold any tells; everybody if there is nothing
    /// to hold.
    pub(super) fn speaks(&self) -> bool {
        let me = &self.options.node;
        if self.options.per_service {
            return self.speakers.keys().next().map_or(self.leases.is_empty(), |first| first == me);
        }
        self.holders.get(&self.options.lease).is_some_and(|holder| holder == me)
    }
}

/// Whoever takes an address over tells so himself.
fn withdrawn(verdict: &Verdict) -> Option<(Kind, String)> {
    let why = match verdict {
        Verdict::Nowhere(Why::Ignored) => "the Service is annotated with kube-vip.io/ignore",
        Verdict::Nowhere(Why::NoEndpoints) => "no endpoint answers",
        Verdict::Nowhere(Why::NoAddress | Why::Unresolved) => "the Service has no address any more",
        Verdict::Nowhere(Why::Class) => "its class is not ours any more",
        Verdict::Nowhere(Why::Refused(refusal)) => {
            return Some((Kind::Withdrawn, format!("no longer announced: {}", refusal.message)));
        }
        _ => return None,
    };
    Some((Kind::Withdrawn, format!("no longer announced: {why}")))
}
