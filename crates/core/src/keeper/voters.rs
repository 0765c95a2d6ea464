//! The set of voters and what follows from it: order, digest, majority.

use std::net::SocketAddr;

use baton_wire::peer::{self, Digest};

/// All voters, the local one included, sorted by address. A voter's index in this list is its name in ballots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voters {
    list: Vec<SocketAddr>,
    me: u8,
    digest: Digest,
}

impl Voters {
    /// The voters `local` ∪ `peers`.
    pub(crate) fn new(local: SocketAddr, peers: impl Iterator<Item = SocketAddr>) -> Voters {
        let mut list: Vec<SocketAddr> = peers.chain([local]).collect();
        list.sort_unstable();
        list.dedup();
        let me = list.iter().position(|v| *v == local).and_then(|i| u8::try_from(i).ok()).unwrap_or(0);
        let digest = peer::digest(&list);
        Voters { list, me, digest }
    }

    pub(crate) fn list(&self) -> &[SocketAddr] {
        &self.list
    }

    /// The local voter's index.
    pub(crate) fn me(&self) -> u8 {
        self.me
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// More than half.
    pub(crate) fn majority(&self) -> usize {
        self.list.len() / 2 + 1
    }

    /// The index of an address.
    pub(crate) fn index(&self, address: SocketAddr) -> Option<u8> {
        self.list.binary_search(&address).ok().and_then(|i| u8::try_from(i).ok())
    }

    /// The address of an index.
    pub(crate) fn address(&self, index: u8) -> Option<SocketAddr> {
        self.list.get(usize::from(index)).copied()
    }
}
