//! Writes: an edit is read, changed and replaced under its `resourceVersion`, on the untyped object, again and again until
//! it is done. One queue for all, every object in it once, so a busy one never starves the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::client::Client;
use super::error::Error;
use super::resource::ObjectRef;
use super::retry::{Backoff, jittered};

/// Edits that are under way at once.
const PARALLEL: usize = 16;
/// Edits that are begun in a second, and how many may have been saved up.
const RATE: f64 = 200.0;
const BURST: f64 = 400.0;
/// Conflicts in a row after which an edit goes back to the end of the queue.
const CONFLICTS: u32 = 5;
/// What the server refused is tried again this often, one of all: rights may be others by now.
const REFUSED: Duration = Duration::from_secs(3);
/// Results that wait for their reader.
const RESULTS: usize = 256;

/// What an edit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The object differs now.
    Yes,
    /// It was as wanted.
    No,
}

/// Makes an object as it should be. Called with what the server has, as often as it takes.
pub type Edit = Box<dyn FnMut(&mut Value) -> Changed + Send>;

/// What became of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The object.
    pub object: ObjectRef,
    /// The subresource that was written last, or could not be; `None`: the object itself.
    pub subresource: Option<&'static str>,
    /// Whether it had to be changed, or why that cannot be done. What passes is not told but tried again; what may not be
    /// done is told once, and tried again.
    pub result: Result<Changed, Error>,
}

/// Takes edits. Clones share the queue.
#[derive(Clone)]
pub struct Writer(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

/// Edits of one object, by subresource (the object itself comes first) and purpose: a newer edit for the same purpose takes
/// the place of the older.
type Edits = BTreeMap<(Option<&'static str>, &'static str), Edit>;

#[derive(Default)]
struct Waiting {
    /// In the order in which they came.
    ready: VecDeque<ObjectRef>,
    /// What was tried and failed, until its time comes.
    later: BTreeSet<(Instant, ObjectRef)>,
    /// What we may not write, and when the first of them is tried again.
    refused: VecDeque<ObjectRef>,
    refused_at: Option<Instant>,
    edits: BTreeMap<ObjectRef, Entry>,
}

#[derive(Default)]
struct Entry {
    edits: Edits,
    backoff: Backoff,
    /// It is in `ready`, `later` or `refused`, or being worked on (and then its edits are taken out).
    queued: bool,
    /// The server refused the last try, and that was told.
    refused: bool,
}

impl Writer {
    /// Starts the queue. Results must be read.
    #[must_use]
    pub fn start(client: Client) -> (Writer, mpsc::Receiver<Written>) {
        let (sender, results) = mpsc::channel(RESULTS);
        let queue = Arc::new(Queue::default());
        let work = Work { client, queue: Arc::clone(&queue), sender };
        tokio::spawn(work.run());
        (Writer(queue), results)
    }

    /// Wants an object to be edited. An edit of the same object for the same `purpose` that still waits is forgotten.
    pub fn edit(
        &self,
        object: ObjectRef,
        subresource: Option<&'static str>,
        purpose: &'static str,
        edit: impl FnMut(&mut Value) -> Changed + Send + 'static,
    ) {
        let mut waiting = self.0.lock();
        let entry = waiting.edits.entry(object.clone()).or_default();
        entry.edits.insert((subresource, purpose), Box::new(edit));
        let is_new = !std::mem::replace(&mut entry.queued, true);
        // What is new about it is worth a try of its own.
        if is_new || (entry.refused && waiting.leave_refused(&object)) {
            waiting.ready.push_back(object);
        }
        drop(waiting);
        self.0.wake.notify_one();
    }

    /// Forgets all edits that have not begun.
    pub fn forget(&self) {
        *self.0.lock() = Waiting::default();
    }

    /// Objects whose edits are not done, but for those that we may not write.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let waiting = self.0.lock();
        waiting.edits.len().saturating_sub(waiting.refused.len())
    }
}

impl Waiting {
    /// `true`: it was among them.
    fn leave_refused(&mut self, object: &ObjectRef) -> bool {
        let at = self.refused.iter().position(|refused| refused == object);
        at.is_some_and(|at| self.refused.remove(at).is_some())
    }

    /// What may be tried now; or when that will be.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, object)) = self.later.pop_first() {
                self.ready.push_back(object);
            }
        }
        if self.refused_at.is_some_and(|at| at <= now) {
            self.refused_at = None;
            self.ready.extend(self.refused.pop_front());
        }
        if !self.refused.is_empty() {
            self.refused_at.get_or_insert_with(|| now + jittered(REFUSED));
        }
        let later = self.later.first().map(|(at, _)| *at);
        later.into_iter().chain(self.refused_at).min()
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Work {
    client: Client,
    queue: Arc<Queue>,
    sender: mpsc::Sender<Written>,
}

/// What a worker takes, and gives back if it is not done.
struct Job {
    object: ObjectRef,
    edits: Edits,
    /// What was written last, or could not be.
    subresource: Option<&'static str>,
}

impl Work {
    async fn run(self) {
        let mut workers: JoinSet<(Job, Result<Changed, Error>)> = JoinSet::new();
        let (mut tokens, mut counted) = (BURST, Instant::now());
        loop {
            let now = Instant::now();
            tokens = (tokens + now.duration_since(counted).as_secs_f64() * RATE).min(BURST);
            counted = now;
            let has_room = workers.len() < PARALLEL;
            let (job, mut until) = if has_room && tokens >= 1.0 { self.next(now) } else { (None, None) };
            if let Some(job) = job {
                tokens -= 1.0;
                let client = self.client.clone();
                workers.spawn(async move { perform(&client, job).await });
                continue;
            }
            if has_room && tokens < 1.0 {
                until = Some(now + Duration::from_secs_f64((1.0 - tokens) / RATE));
            }
            let rest = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(done) = workers.join_next() => {
                    if let Ok((job, result)) = done { self.done(job, result).await }
                }
                () = rest => {}
                () = self.queue.wake.notified(), if has_room => {}
                () = self.sender.closed() => return,
            }
        }
    }

    /// The next job, or when there will be one.
    fn next(&self, now: Instant) -> (Option<Job>, Option<Instant>) {
        let mut waiting = self.queue.lock();
        let until = waiting.due(now);
        let Some(object) = waiting.ready.pop_front() else { return (None, until) };
        let edits = waiting.edits.get_mut(&object).map(|entry| std::mem::take(&mut entry.edits)).unwrap_or_default();
        (Some(Job { object, edits, subresource: None }), until)
    }

    async fn done(&self, job: Job, result: Result<Changed, Error>) {
        if let Some(written) = self.settle(job, result) {
            // A reader that is gone ends the loop.
            let _ = self.sender.send(written).await;
        }
    }

    /// What is to be told of it. What is not done goes back to where it waits.
    fn settle(&self, job: Job, result: Result<Changed, Error>) -> Option<Written> {
        let Job { object, edits, subresource } = job;
        let mut all = self.queue.lock();
        let waiting = &mut *all;
        let entry = waiting.edits.get_mut(&object)?;
        let was_refused = entry.refused;
        entry.refused = matches!(result, Err(Error::Forbidden(_) | Error::Unauthorized(_)));
        let passing = result.as_ref().err().filter(|e| e.is_passing() || matches!(e, Error::Conflict(_)));
        if passing.is_some() || entry.refused {
            for (purpose, edit) in edits {
                entry.edits.entry(purpose).or_insert(edit);
            }
        }
        if let Some(error) = passing {
            // It was told, and that has not passed.
            entry.refused = was_refused;
            waiting.later.insert((Instant::now() + entry.backoff.after(error), object));
            return None;
        }
        entry.backoff.reset();
        if entry.refused {
            waiting.refused.push_back(object.clone());
            return (!was_refused).then_some(Written { object, subresource, result });
        }
        if entry.edits.is_empty() {
            waiting.edits.remove(&object);
        } else {
            waiting.ready.push_back(object.clone());
        }
        if was_refused {
            // Rights are others now.
            waiting.ready.append(&mut waiting.refused);
        }
        Some(Written { object, subresource, result })
    }
}

async fn perform(client: &Client, mut job: Job) -> (Job, Result<Changed, Error>) {
    let mut conflicts = 0;
    let mut read = Read::Cached;
    let result = loop {
        match once(client, &mut job, read).await {
            Err(Error::Conflict(_)) if conflicts < CONFLICTS => conflicts += 1,
            // What a cache shows as done may have been undone since, and what it does not show may be new.
            Ok(Changed::No) | Err(Error::Absent(_)) if read == Read::Cached => {}
            result => break result,
        }
        read = Read::Latest;
    };
    (job, result)
}

/// Where an object is read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// The server's memory, which may be behind. What is written on top of an older object is a conflict.
    Cached,
    /// Its store.
    Latest,
}

/// Reads the object once, and writes what is to be changed: itself, then its subresources on what the server answered.
async fn once(client: &Client, job: &mut Job, read: Read) -> Result<Changed, Error> {
    let path = job.object.path();
    let mut object = match read {
        Read::Cached => client.get(&format!("{path}?resourceVersion=0")).await?,
        Read::Latest => client.get(&path).await?,
    };
    let mut written = Changed::No;
    let mut edits = job.edits.iter_mut().peekable();
    while let Some(((subresource, _), edit)) = edits.next() {
        let mut changed = edit(&mut object) == Changed::Yes;
        while let Some((_, edit)) = edits.next_if(|((other, _), _)| other == subresource) {
            changed |= edit(&mut object) == Changed::Yes;
        }
        if changed {
            job.subresource = *subresource;
            object = client.put(&job.object.subresource(*subresource), &object).await?;
            written = Changed::Yes;
        }
    }
    Ok(written)
}
