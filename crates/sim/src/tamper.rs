//! What mistakes about messages do to them on their way.

use baton_wire::peer;

use crate::host::Host;
use crate::message;
use crate::mistake::Mistake;

/// A message as a receiver with the mistake would understand it; `None`: as it is.
#[must_use]
pub fn delivered(mistake: Mistake, to: &Host, bytes: &[u8]) -> Option<Vec<u8>> {
    let keys = &to.settings.keys;
    match mistake {
        Mistake::VotesAcrossDigests => {
            let mut voters: Vec<_> = to.settings.peers.iter().map(|peer| peer.address).chain([to.address]).collect();
            voters.sort_unstable();
            voters.dedup();
            message::rewritten(bytes, keys, |header| header.voters = peer::digest(&voters))
        }
        Mistake::StaleIncarnation => message::rewritten(bytes, keys, |header| {
            if header.receiver != 0 {
                header.receiver = to.incarnation;
            }
        }),
        _ => None,
    }
}
