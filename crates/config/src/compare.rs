//! The files of several nodes side by side: what must be equal, and what must not.
//!
//! Votes count only between equal lists of voters, so one mistyped address silently takes a node out.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use baton_core::settings::Ownership;

use crate::message::{Message, Severity};
use crate::scalar;
use crate::start::Loaded;

/// What does not fit together. Each file is held against the first one.
#[must_use]
pub fn compare(files: &[Loaded]) -> Vec<Message> {
    let Some((first, rest)) = files.split_first() else { return Vec::new() };
    let mut out = Vec::new();
    let name = first.file().unwrap_or("the first file");
    for other in rest {
        let mut say = |severity, key: &str, what: String, value: String, expected: &str| {
            out.push(other.message(severity, key, &what, &value, expected));
        };
        let (a, b) = (&first.settings.ownership, &other.settings.ownership);
        if voters(a) != voters(b) {
            let what = format!("makes other voters than {name}, {}", difference(&voters(a), &voters(b)));
            say(
                Severity::Error,
                "remotePeers",
                what,
                String::new(),
                "the same voters in every file, localPeer included",
            );
        }
        if a.lease != b.lease {
            let what = format!("differs from {} in {name}", scalar::duration(a.lease));
            say(Severity::Warning, "lease", what, scalar::duration(b.lease), "the same on all nodes");
        }
        if !understand(a, b) {
            let what = format!("shares no key with {name}, so neither hears the other");
            say(
                Severity::Error,
                "peerKey",
                what,
                String::new(),
                "the same key on all nodes; during a rotation one that both have",
            );
        }
        let addresses = |o: &Ownership| o.vips.iter().map(|vip| vip.address).collect::<BTreeSet<_>>();
        if addresses(a) != addresses(b) {
            let what = format!("differs from {name}, {}", difference(&addresses(a), &addresses(b)));
            say(Severity::Warning, "vip", what, String::new(), "the same addresses on all nodes that can hold them");
        }
    }
    for (i, file) in files.iter().enumerate() {
        let twin = files[..i].iter().find(|other| other.settings.ownership.local == file.settings.ownership.local);
        if let (Some(twin), Some(local)) = (twin, file.settings.ownership.local) {
            let what = format!("is the same node as in {}", twin.file().unwrap_or("another file"));
            out.push(file.message(Severity::Error, "localPeer", &what, &local.to_string(), "one file for each node"));
        }
        let leader = files[..i].iter().find(|other| other.settings.ownership.start_as_leader);
        if let (Some(leader), true) = (leader, file.settings.ownership.start_as_leader) {
            let what = format!("is true in {} too, so neither starts alone", leader.file().unwrap_or("another file"));
            out.push(file.message(Severity::Warning, "startAsLeader", &what, "true", "true on one node only"));
        }
    }
    out
}

fn voters(ownership: &Ownership) -> BTreeSet<SocketAddr> {
    ownership.peers.iter().map(|peer| peer.address).chain(ownership.local).collect()
}

/// Each signs with its first key and accepts all of its own.
fn understand(a: &Ownership, b: &Ownership) -> bool {
    match (a.keys.first(), b.keys.first()) {
        (None, None) => true,
        (Some(signs_a), Some(signs_b)) => b.keys.contains(signs_a) && a.keys.contains(signs_b),
        _ => false,
    }
}

/// `without X, with Y`.
fn difference<T: Ord + ToString>(a: &BTreeSet<T>, b: &BTreeSet<T>) -> String {
    let list = |set: Vec<&T>| set.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let (missing, more) = (list(a.difference(b).collect()), list(b.difference(a).collect()));
    match (missing.is_empty(), more.is_empty()) {
        (false, false) => format!("without {missing} and with {more}"),
        (false, true) => format!("without {missing}"),
        _ => format!("with {more}"),
    }
}
