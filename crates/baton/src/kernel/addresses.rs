//! Addresses are written by a thread of their own: the kernel's routing lock, which every change of an address takes, may
//! be held by others for as long as they like (a namespace that is torn down, say), and a renewal must not wait for it.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use baton_core::settings::Vip;
use baton_net::rtnl::{Change, Dress, Rtnl};

/// Operations that wait: every address put and removed once, and again.
const JOBS: usize = 4096;
/// How long the end waits for them.
const FINISH: Duration = Duration::from_millis(500);

/// Operations that are handed to the kernel together, and whoever waits for one waits for all of them.
const TOGETHER: usize = 512;

#[derive(Debug)]
struct Job {
    change: Change,
    /// Somebody waits for it to be done.
    done: Option<SyncSender<()>>,
}

/// What became of an operation that nobody waited for.
pub(super) type Outcome = (String, io::Result<()>);

/// The other end of that thread.
#[derive(Debug)]
pub(super) struct Addresses {
    /// `None` at the end.
    jobs: Option<SyncSender<Job>>,
    outcomes: Receiver<Outcome>,
    /// What was put and not removed since: putting it again only refreshes its lifetime.
    here: BTreeSet<IpAddr>,
    /// The last put that is waited for. Jobs are done in order, so those before it are waited for with it.
    awaited: Option<Receiver<()>>,
}

impl Addresses {
    /// Starts the thread; it ends with this.
    pub(super) fn start() -> io::Result<Addresses> {
        let mut rtnl = Rtnl::open()?;
        let (jobs, inbox) = sync_channel(JOBS);
        let (told, outcomes) = sync_channel(JOBS);
        std::thread::Builder::new().name("addresses".to_owned()).spawn(move || {
            // A gain waits for it; where that is not allowed it is scheduled like everybody else.
            let _ = baton_net::process::realtime();
            while let Ok(first) = inbox.recv() {
                let jobs: Vec<Job> = [first].into_iter().chain(inbox.try_iter().take(TOGETHER - 1)).collect();
                for outcome in perform(&mut rtnl, jobs) {
                    // Who has gone, or does not ask, need not know.
                    let _ = told.try_send(outcome);
                }
            }
        })?;
        Ok(Addresses { jobs: Some(jobs), outcomes, here: BTreeSet::new(), awaited: None })
    }

    /// Adds an address, to be waited for by [`Addresses::settle`]: it is announced next. Of one that is there only the
    /// lifetime is refreshed, and nobody waits.
    pub(super) fn put(&mut self, vip: &Vip, dress: Dress, valid: Duration) -> io::Result<()> {
        let change = Change::Put(vip.clone(), dress, valid);
        if !self.here.insert(vip.address) {
            return self.send(Job { change, done: None });
        }
        let (done, wait) = sync_channel(1);
        self.send(Job { change, done: Some(done) })?;
        self.awaited = Some(wait);
        Ok(())
    }

    /// Waits until everything that was put is there.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.awaited.take().map_or(Ok(()), |wait| wait.recv().map_err(|_| gone()))
    }

    /// Removes an address; its gates are shut, so nobody waits.
    pub(super) fn remove(&mut self, interface: String, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.here.remove(&address);
        self.send(Job { change: Change::Remove(interface, address, prefix), done: None })
    }

    /// Somebody else removed it: the next put is waited for.
    pub(super) fn gone(&mut self, address: IpAddr) {
        self.here.remove(&address);
    }

    /// What has been done since the last question.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.try_iter().collect()
    }

    /// At the end: waits until everything asked for is done, so that nothing is put after the last look. Not for ever: what
    /// holds the routing lock may be stuck.
    pub(super) fn finish(&mut self) {
        self.jobs = None;
        let end = Instant::now() + FINISH;
        while self.outcomes.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.as_ref().ok_or_else(gone)?.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => io::ErrorKind::ResourceBusy.into(),
            TrySendError::Disconnected(_) => gone(),
        })
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that writes addresses has ended")
}

fn perform(rtnl: &mut Rtnl, jobs: Vec<Job>) -> Vec<Outcome> {
    let (changes, waiting): (Vec<Change>, Vec<_>) = jobs.into_iter().map(|job| (job.change, job.done)).unzip();
    let results = rtnl.change_addresses(&changes);
    for done in waiting.into_iter().flatten() {
        let _ = done.send(());
    }
    changes.iter().map(words).zip(results).collect()
}

fn words(change: &Change) -> String {
    match change {
        Change::Put(vip, ..) => format!("adding {} to {}", vip.address, vip.interface),
        Change::Remove(interface, address, _) => format!("removing {address} from {interface}"),
    }
}
