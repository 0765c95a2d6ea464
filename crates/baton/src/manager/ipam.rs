//! `--ipam`: Services get their addresses from this process too, while it holds the Lease that the cloud provider has.

use std::time::Duration;

use baton_config::manager::{CLOUD_LEASE, CLOUD_LEASE_NAMESPACE, Pools};
use baton_core::lease::LeaseName;
use baton_core::time::Time;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::Manager;
use crate::cloud;
use crate::keeper::{Command, Handle};
use crate::kube::Client;

/// The keeper answers within a round of its loop.
const KEEPER: Duration = Duration::from_secs(1);

/// Where the allocator learns until when it may write.
pub(super) struct Ipam {
    pub(super) lease: LeaseName,
    until: watch::Sender<Option<Time>>,
    counts: watch::Receiver<cloud::Counts>,
}

impl Ipam {
    /// Starts the allocator; it waits for the Lease.
    pub(super) fn start(client: Client, pools: Pools, node: &str) -> Ipam {
        let recorder = cloud::recorder(client.clone(), &pools, node);
        let (until, term) = watch::channel(None);
        let (tell, counts) = watch::channel(cloud::Counts::default());
        tokio::spawn(cloud::serve(client, recorder, pools, term, tell));
        // The cloud provider's: the two never allocate together.
        let lease = LeaseName { namespace: CLOUD_LEASE_NAMESPACE.to_owned(), name: CLOUD_LEASE.to_owned() };
        Ipam { lease, until, counts }
    }

    /// What the allocator knows.
    pub(super) fn counts(&self) -> cloud::Counts {
        *self.counts.borrow()
    }

    /// Who leads has changed.
    pub(super) fn leading(&self, until: Option<Time>) {
        self.until.send_replace(until);
    }

    /// A Lease that is renewed changes hands with nobody, so its present end is asked for.
    fn renewed(&self, keeper: &Handle) {
        if self.until.borrow().is_none() {
            return;
        }
        let (sender, status) = oneshot::channel();
        let (lease, tell) = (self.lease.clone(), self.until.clone());
        if keeper.send(Command::Status(sender)) {
            tokio::spawn(async move {
                if let Ok(Ok(status)) = timeout(KEEPER, status).await {
                    let until = status.leases.iter().find(|l| l.name == lease).and_then(|l| l.until);
                    // Whoever has lost it since is not told otherwise by an older word.
                    tell.send_if_modified(|known| known.is_some() && std::mem::replace(known, until) != until);
                }
            });
        }
    }
}

impl Manager {
    /// Once a second.
    pub(super) fn renew_ipam(&self) {
        if let Some(ipam) = &self.ipam {
            ipam.renewed(&self.parts.keeper);
        }
    }
}
