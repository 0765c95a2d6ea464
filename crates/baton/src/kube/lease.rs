//! The Leases' own thread: it performs what the keeper asks and shows it what watches see. Its runtime, its connection and
//! its budget of time are its own, so nothing that the rest of the daemon asks of the API ever delays a renewal.
//!
//! It decides nothing and repeats nothing: whether an unknown result is read again is the keeper's business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use baton_core::keeper::Event;
use baton_core::lease::{LeaseName, LeaseOp, LeaseRecord, LeaseReply};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::access::Access;
use super::client::{Client, Times};
use super::error::Error;
use super::resource::{LEASES, ObjectRef, Selection};
use super::watch::{Change, watch};
use crate::admin::wall;

/// Requests under way at once, on one connection. API servers take a hundred streams; watches need some.
const PARALLEL: usize = 64;
/// How soon an event is offered again to a keeper whose queue is full.
const AGAIN: Duration = Duration::from_millis(2);
/// The least time in which a server has to answer: less would make slow disks look like dead servers.
const ATTEMPT_MIN: Duration = Duration::from_millis(500);

/// [`LeaseRecord::author`].
const AUTHOR: &str = "baton/holder";

/// A request of the keeper.
#[derive(Debug)]
struct Request {
    name: LeaseName,
    request: u64,
    op: LeaseOp,
}

#[derive(Debug)]
enum Order {
    Perform(Request),
    Forget(LeaseName),
}

/// Where the keeper leaves its requests. Never waits. The keeper has one request per Lease under way, which bounds it.
#[derive(Clone, Debug)]
pub struct Requests(mpsc::UnboundedSender<Order>);

impl Requests {
    /// Performs this; the answer comes as [`Event::LeaseReplied`]. From the first request on the Lease is watched.
    pub fn send(&self, name: LeaseName, request: u64, op: LeaseOp) {
        // A thread that is gone answers nothing, which is what the keeper reckons with.
        let _ = self.0.send(Order::Perform(Request { name, request, op }));
    }

    /// Watches this Lease no longer.
    pub fn forget(&self, name: LeaseName) {
        let _ = self.0.send(Order::Forget(name));
    }
}

/// The other end.
#[derive(Debug)]
pub struct Inbox(mpsc::UnboundedReceiver<Order>);

/// Both ends: the keeper is started with the one, and the thread, which needs the keeper, with the other.
#[must_use]
pub fn channel() -> (Requests, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Requests(sender), Inbox(receiver))
}

/// A client for Leases: several tries, at several servers, fit between two renewals.
#[must_use]
pub fn client(access: &Access, renew_deadline: Duration) -> Client {
    let attempt = (renew_deadline / 5).max(ATTEMPT_MIN);
    Client::new(access, Times { connect: attempt / 2, attempt, total: attempt })
}

impl Inbox {
    /// Starts the thread. `deliver` hands an event to the keeper; `false`: its queue is full. It ends when all
    /// [`Requests`] are gone.
    ///
    /// # Errors
    /// What making a runtime or a thread may fail with.
    pub fn start(self, client: Client, deliver: impl Fn(Event) -> bool + Send + 'static) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (seen, watches) = mpsc::channel(16);
        let room = Arc::new(Semaphore::new(PARALLEL));
        let thread = Thread {
            client,
            deliver,
            seen,
            room,
            known: BTreeMap::new(),
            watching: BTreeMap::new(),
            undelivered: Undelivered::default(),
        };
        std::thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || {
                // A renewal and a take-over wait for it; where that is not allowed it is scheduled like everybody else.
                let _ = baton_net::process::realtime();
                runtime.block_on(thread.run(self.0, watches));
            })
            .map(drop)
    }
}

/// A Lease as it is kept here: what other programs wrote into it has to survive our writes.
#[derive(Clone, Debug, Default, Deserialize)]
struct Lease {
    metadata: Map<String, Value>,
    #[serde(default)]
    spec: Map<String, Value>,
}

/// What a watch of a namespace showed; `which` tells it from one that was replaced.
struct Sight {
    namespace: String,
    which: u64,
    /// It is a watch of this one Lease; `None`: of the whole namespace.
    one: Option<String>,
    change: Change<Lease>,
}

/// The watches of one namespace: of one Lease, of all, or (where that is forbidden) of each by its name.
#[derive(Default)]
struct Watching {
    tasks: Vec<AbortHandle>,
    which: u64,
    /// `None`: the whole namespace.
    names: Option<Vec<String>>,
    /// The whole namespace may not be watched.
    each: bool,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// What the keeper's queue had no room for: every answer, and the last sight of each Lease.
#[derive(Default)]
struct Undelivered {
    replies: VecDeque<Event>,
    sights: BTreeMap<LeaseName, Event>,
}

struct Thread<D> {
    client: Client,
    deliver: D,
    seen: mpsc::Sender<Sight>,
    room: Arc<Semaphore>,
    /// The Leases that are watched, as they were last seen.
    known: BTreeMap<LeaseName, Option<Lease>>,
    watching: BTreeMap<String, Watching>,
    undelivered: Undelivered,
}

type Done = (Request, LeaseReply, Option<Lease>);

impl<D: Fn(Event) -> bool> Thread<D> {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, mut watches: mpsc::Receiver<Sight>) {
        let mut requests: JoinSet<Done> = JoinSet::new();
        loop {
            let is_full = !self.deliver_all();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Perform(request)) => self.perform(request, &mut requests),
                    Some(Order::Forget(name)) => self.forget(&name),
                    None => return,
                },
                Some(Ok(done)) = requests.join_next() => self.done(done),
                Some(sight) = watches.recv() => self.sight(sight),
                () = tokio::time::sleep(AGAIN), if is_full => {}
            }
        }
    }

    fn perform(&mut self, request: Request, requests: &mut JoinSet<Done>) {
        let is_new = !self.known.contains_key(&request.name);
        let known = self.known.entry(request.name.clone()).or_default().clone();
        if is_new {
            self.watch(&request.name.namespace);
        }
        let (client, room) = (self.client.clone(), Arc::clone(&self.room));
        requests.spawn(async move {
            // The semaphore is never closed.
            let _permit = room.acquire_owned().await;
            let (reply, lease) = perform(&client, &request, known).await;
            (request, reply, lease)
        });
    }

    fn done(&mut self, (request, reply, lease): Done) {
        if let (Some(lease), Some(known)) = (lease, self.known.get_mut(&request.name)) {
            *known = Some(lease);
        }
        let (name, request) = (request.name, request.request);
        self.undelivered.replies.push_back(Event::LeaseReplied { name, request, reply });
    }

    fn forget(&mut self, name: &LeaseName) {
        self.undelivered.sights.remove(name);
        if self.known.remove(name).is_some() {
            self.watch(&name.namespace);
        }
    }

    /// Watches what is wanted of a namespace: one Lease by its name, several together.
    fn watch(&mut self, namespace: &str) {
        let wanted: Vec<String> =
            self.known.keys().filter(|name| name.namespace == namespace).map(|name| name.name.clone()).collect();
        if wanted.is_empty() {
            self.watching.remove(namespace);
            return;
        }
        let before = self.watching.entry(namespace.to_owned()).or_default();
        let names = (wanted.len() == 1 || before.each).then_some(wanted);
        if !before.tasks.is_empty() && before.names == names {
            return;
        }
        let (which, each) = (before.which + 1, before.each);
        let tasks = match &names {
            None => vec![self.forward(namespace, which, None)],
            Some(names) => names.iter().map(|name| self.forward(namespace, which, Some(name))).collect(),
        };
        self.watching.insert(namespace.to_owned(), Watching { tasks, which, names, each });
    }

    fn forward(&self, namespace: &str, which: u64, one: Option<&String>) -> AbortHandle {
        let selection = match one {
            None => Selection::namespaced(LEASES, namespace),
            Some(name) => Selection::one(&ObjectRef::new(LEASES, namespace, name)),
        };
        let mut changes = watch::<Lease>(self.client.clone(), selection);
        let (namespace, one, seen) = (namespace.to_owned(), one.cloned(), self.seen.clone());
        let forward = async move {
            while let Some(change) = changes.recv().await {
                let (namespace, one) = (namespace.clone(), one.clone());
                if seen.send(Sight { namespace, which, one, change }).await.is_err() {
                    return;
                }
            }
        };
        tokio::spawn(forward).abort_handle()
    }

    fn sight(&mut self, Sight { namespace, which, one, change }: Sight) {
        let Some(watching) = self.watching.get_mut(&namespace).filter(|watching| watching.which == which) else {
            return;
        };
        match change {
            Change::Restarted(leases) => self.restarted(&namespace, one.as_deref(), leases),
            Change::Applied(lease) => self.shown(&namespace, lease),
            Change::Deleted(lease) => {
                if let Some(name) = self.wanted(&namespace, &lease) {
                    self.gone(name);
                }
            }
            Change::Refused(Error::Forbidden(_)) if watching.names.is_none() => {
                watching.each = true;
                self.watch(&namespace);
            }
            Change::Refused(_) => {}
        }
    }

    /// What was there and is not in the list was deleted unseen. A watch of one Lease says nothing about the others.
    fn restarted(&mut self, namespace: &str, one: Option<&str>, leases: Vec<Lease>) {
        let shows = |name: &LeaseName| name.namespace == namespace && one.is_none_or(|one| one == name.name);
        let was_there = self.known.iter().filter(|(name, lease)| shows(name) && lease.is_some());
        let mut gone: BTreeSet<LeaseName> = was_there.map(|(name, _)| name.clone()).collect();
        for lease in leases {
            if let Some(name) = self.wanted(namespace, &lease) {
                gone.remove(&name);
            }
            self.shown(namespace, lease);
        }
        gone.into_iter().for_each(|name| self.gone(name));
    }

    fn gone(&mut self, name: LeaseName) {
        self.known.insert(name.clone(), None);
        self.undelivered.sights.insert(name.clone(), Event::LeaseSeen { name, state: None });
    }

    fn shown(&mut self, namespace: &str, mut lease: Lease) {
        let Some(name) = self.wanted(namespace, &lease) else { return };
        lease.metadata.remove("managedFields");
        let state = Some((record(&lease), version(&lease)));
        self.known.insert(name.clone(), Some(lease));
        self.undelivered.sights.insert(name.clone(), Event::LeaseSeen { name, state });
    }

    fn wanted(&self, namespace: &str, lease: &Lease) -> Option<LeaseName> {
        let name = lease.metadata.get("name")?.as_str()?.to_owned();
        let name = LeaseName { namespace: namespace.to_owned(), name };
        self.known.contains_key(&name).then_some(name)
    }

    /// Hands over what waits; answers first, since a hold may hang on them. `false`: there was no room for all.
    fn deliver_all(&mut self) -> bool {
        while let Some(event) = self.undelivered.replies.front() {
            if !(self.deliver)(event.clone()) {
                return false;
            }
            self.undelivered.replies.pop_front();
        }
        while let Some((name, event)) = self.undelivered.sights.first_key_value() {
            if !(self.deliver)(event.clone()) {
                return false;
            }
            let name = name.clone();
            self.undelivered.sights.remove(&name);
        }
        true
    }
}

async fn perform(client: &Client, request: &Request, known: Option<Lease>) -> (LeaseReply, Option<Lease>) {
    let object = ObjectRef::new(LEASES, &request.name.namespace, &request.name.name);
    let result = match &request.op {
        LeaseOp::Get => client.get(&object.path()).await,
        LeaseOp::Create(record) => {
            let lease = body(Lease::default(), &object, record, None);
            client.post(&object.collection(), &lease).await
        }
        LeaseOp::Replace { record, version } => {
            let lease = body(known.unwrap_or_default(), &object, record, Some(version));
            client.put(&object.path(), &lease).await
        }
    };
    match result.map(serde_json::from_value::<Lease>) {
        Ok(Ok(mut lease)) => {
            lease.metadata.remove("managedFields");
            let reply = LeaseReply::Stored { record: record(&lease), version: version(&lease) };
            (reply, Some(lease))
        }
        Ok(Err(e)) => (LeaseReply::Unknown(format!("the answer is no Lease: {e}")), None),
        Err(error) => (refusal(error), None),
    }
}

fn refusal(error: Error) -> LeaseReply {
    match error {
        Error::Absent(_) => LeaseReply::Absent,
        Error::Conflict(_) => LeaseReply::Conflict,
        Error::Exists(_) => LeaseReply::Exists,
        error if error.is_unknown() => LeaseReply::Unknown(error.to_string()),
        error => LeaseReply::Refused(error.to_string()),
    }
}

/// The object to send: what was there, with this record. The present time is written here, as late as possible.
fn body(known: Lease, object: &ObjectRef, record: &LeaseRecord, version: Option<&str>) -> Value {
    let Lease { mut metadata, mut spec } = known;
    metadata.insert("name".to_owned(), json!(object.name));
    metadata.insert("namespace".to_owned(), json!(object.namespace));
    match version {
        Some(version) => metadata.insert("resourceVersion".to_owned(), json!(version)),
        None => metadata.remove("resourceVersion"),
    };
    if let Some(author) = &record.author {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if !annotations.is_object() {
            *annotations = json!({});
        }
        annotations[AUTHOR] = json!(author);
    }
    let now = wall::micros(wall::now());
    let acquired = if record.acquire_time.is_empty() { &now } else { &record.acquire_time };
    // Nobody is written as no holder at all, as client-go does.
    match record.holder.is_empty() {
        true => spec.remove("holderIdentity"),
        false => spec.insert("holderIdentity".to_owned(), json!(record.holder)),
    };
    spec.insert("leaseDurationSeconds".to_owned(), json!(record.duration_seconds));
    spec.insert("leaseTransitions".to_owned(), json!(record.transitions));
    spec.insert("acquireTime".to_owned(), json!(acquired));
    spec.insert("renewTime".to_owned(), json!(now));
    json!({ "apiVersion": LEASES.api_version(), "kind": "Lease", "metadata": metadata, "spec": spec })
}

fn record(lease: &Lease) -> LeaseRecord {
    let spec = &lease.spec;
    let author = lease.metadata.get("annotations").and_then(|all| all.get(AUTHOR)?.as_str());
    let text = |key: &str| spec.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |key: &str| spec.get(key).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
    LeaseRecord {
        holder: text("holderIdentity"),
        duration_seconds: number("leaseDurationSeconds"),
        transitions: number("leaseTransitions"),
        acquire_time: text("acquireTime"),
        renew_time: text("renewTime"),
        author: author.map(str::to_owned),
    }
}

fn version(lease: &Lease) -> String {
    lease.metadata.get("resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned()
}
