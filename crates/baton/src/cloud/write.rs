//! One planned change on its way to the API server: over exactly the version it was planned for, and only while this
//! process may.

use std::time::Duration;

use baton_core::ipam::Change;
use baton_core::time::Time;
use baton_net::clock;
use tokio::sync::watch;
use tokio::time::timeout;

use super::objects;
use crate::kube::{Client, Error, ObjectRef, SERVICES};

/// Longest time that a server may take over one write. Less when the Lease ends sooner.
const WRITE: Duration = Duration::from_secs(10);
/// With less than this left of the Lease nothing is begun.
const LEAST: Duration = Duration::from_secs(1);

/// What became of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The Service carries it.
    Written,
    /// The Service has changed, or is gone: the watch tells, and then there is another plan.
    Overtaken,
    /// Not written, or nobody knows.
    Failed(Error),
}

/// Reads, changes, replaces.
pub(super) async fn write(client: Client, change: Change, until: watch::Receiver<Option<Time>>) -> (Change, Outcome) {
    let outcome = match attempt(&client, &change, &until).await {
        Ok(true) => Outcome::Written,
        Ok(false) | Err(Error::Conflict(_) | Error::Absent(_)) => Outcome::Overtaken,
        Err(error) => Outcome::Failed(error),
    };
    (change, outcome)
}

async fn attempt(client: &Client, change: &Change, until: &watch::Receiver<Option<Time>>) -> Result<bool, Error> {
    let object = ObjectRef::new(SERVICES, &change.key.namespace, &change.key.name);
    let mut service = client.get(&object.path()).await?;
    if !objects::is_version(&service, change) {
        return Ok(false);
    }
    objects::write(&mut service, change);
    let left = until.borrow().map_or(Duration::ZERO, |until| until.left(clock::now()));
    if left < LEAST {
        return Err(Error::Unreachable("the Lease ends too soon".to_owned()));
    }
    // The server gives up on it, too: a write that it performs later could meet the next leader's.
    let patience = left.min(WRITE);
    let path = format!("{}?timeout={}s", object.path(), patience.as_secs());
    match timeout(patience, client.put(&path, &service)).await {
        Ok(result) => result.map(|_| true),
        Err(_) => Err(Error::Unanswered(format!("no answer within {} s", patience.as_secs()))),
    }
}
