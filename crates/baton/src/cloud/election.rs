//! Who allocates: the keeper's candidate for one Lease, without any address, driven here.

use std::time::Duration;

use baton_config::manager::CloudElection;
use baton_core::keeper::{Effect, Event, Keeper, Memory};
use baton_core::lease::{LeaseName, LeaseSettings};
use baton_core::settings::Ownership;
use baton_core::time::Time;
use baton_net::clock;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::info;

use crate::kube::{Access, lease};

/// Events from the Leases' thread that wait: a request has one answer, and there is one Lease.
const EVENTS: usize = 16;
/// Of the peers' lease, which nothing here hangs on.
const PEERS: Duration = Duration::from_millis(500);
/// How often the keeper is asked at least.
const IDLE: Duration = Duration::from_secs(60);

/// A candidate.
pub(super) struct Election {
    keeper: Keeper,
    requests: lease::Requests,
    events: mpsc::Receiver<Event>,
    name: LeaseName,
    until: watch::Sender<Option<Time>>,
    holder: String,
}

impl Election {
    /// A candidate as `identity`, with the thread that sends its requests; and until when it leads.
    ///
    /// # Errors
    /// What making a thread may fail with.
    pub(super) fn start(
        access: &Access,
        election: &CloudElection,
        identity: String,
        seed: u64,
    ) -> std::io::Result<(Election, watch::Receiver<Option<Time>>)> {
        let now = clock::now();
        let mut keeper = Keeper::new(nothing(&identity), Memory::default(), seed, clock::tick(), now);
        let name = LeaseName { namespace: election.namespace.clone(), name: election.name.clone() };
        let settings = LeaseSettings {
            name: name.clone(),
            identity,
            duration: election.duration,
            renew_deadline: election.renew_deadline,
            retry: election.retry,
            preserve: false,
        };
        let (requests, inbox) = lease::channel();
        let (sender, events) = mpsc::channel(EVENTS);
        let client = lease::client(access, election.renew_deadline);
        inbox.start(client, move |event| sender.try_send(event).is_ok())?;
        let (until, term) = watch::channel(None);
        let mut effects = Vec::new();
        keeper.handle(now, Event::Campaign(settings), &mut effects);
        let mut election = Election { keeper, requests, events, name, until, holder: String::new() };
        election.perform(effects);
        Ok((election, term))
    }

    /// Campaigns until `stop` is there, then gives the Lease back.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut stopping = false;
        loop {
            let wait = self.keeper.deadline().map_or(IDLE, |at| at.left(clock::now()).min(IDLE));
            let event = tokio::select! {
                () = &mut stop, if !stopping => {
                    stopping = true;
                    // Nothing is begun from here on; what was sent ends before the Lease.
                    self.until.send_replace(None);
                    Event::Stop
                }
                Some(event) = self.events.recv() => event,
                () = sleep(wait) => Event::Tick,
            };
            let mut effects = Vec::new();
            self.keeper.handle(clock::now(), event, &mut effects);
            if self.perform(effects) {
                return;
            }
            self.tell(stopping);
        }
    }

    /// Until when it leads. Effects tell of changes; a renewal is none, and moves the end all the same.
    fn tell(&self, stopping: bool) {
        let leases = self.keeper.status(clock::now()).leases;
        let until = leases.iter().find(|lease| lease.name == self.name).and_then(|lease| lease.until);
        let until = until.filter(|_| !stopping);
        self.until.send_if_modified(|told| std::mem::replace(told, until) != until);
    }

    /// True: the keeper has left.
    fn perform(&mut self, effects: Vec<Effect>) -> bool {
        let mut stopped = false;
        for effect in effects {
            match effect {
                Effect::Lease { name, request, op } => self.requests.send(name, request, op),
                Effect::Leading { name, holder, .. } if holder != self.holder => {
                    match holder.as_str() {
                        "" => info!("nobody holds the Lease {name}"),
                        holder => info!("{holder} holds the Lease {name}"),
                    }
                    self.holder = holder;
                }
                Effect::Stopped => stopped = true,
                // Without addresses and peers there is nothing else to do.
                _ => {}
            }
        }
        stopped
    }
}

/// No address, no peer.
fn nothing(node: &str) -> Ownership {
    Ownership {
        node: node.to_owned(),
        local: None,
        peers: Vec::new(),
        vips: Vec::new(),
        lease: PEERS,
        renewal: PEERS / 4,
        keys: Vec::new(),
        start_as_leader: false,
        witness: false,
        preempt: false,
        drain: Duration::ZERO,
        refresh: None,
        fence: false,
        force: false,
    }
}
