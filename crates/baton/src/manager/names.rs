//! DNS names: looked up again every few seconds, as the original does it; a name that cannot be looked up keeps its last
//! addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

/// Between two lookups of a name.
pub(super) const PERIOD: Duration = Duration::from_secs(3);
/// A lookup that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Answers that wait.
const ANSWERS: usize = 64;

/// A name, and where it leads.
pub(super) type Answer = (String, Result<Vec<IpAddr>, String>);

/// Looks names up.
pub(super) struct Resolver {
    asked: BTreeSet<String>,
    sender: mpsc::Sender<Answer>,
}

impl Resolver {
    /// And where the answers come.
    pub(super) fn new() -> (Resolver, mpsc::Receiver<Answer>) {
        let (sender, answers) = mpsc::channel(ANSWERS);
        (Resolver { asked: BTreeSet::new(), sender }, answers)
    }

    /// Begins to look these up; those that are being looked up already are not asked for twice.
    pub(super) fn look_up<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if !self.asked.insert(name.to_owned()) {
                continue;
            }
            let (name, sender) = (name.to_owned(), self.sender.clone());
            tokio::spawn(async move {
                let found = match timeout(TIMEOUT, tokio::net::lookup_host((name.as_str(), 0))).await {
                    Ok(Ok(found)) => Ok(distinct(found.map(|address| address.ip()))),
                    Ok(Err(e)) => Err(e.to_string()),
                    Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
                };
                // The manager is gone when nobody takes it.
                let _ = sender.send((name, found)).await;
            });
        }
    }

    /// This one is answered.
    pub(super) fn answered(&mut self, name: &str) {
        self.asked.remove(name);
    }
}

fn distinct(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for address in addresses {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}
