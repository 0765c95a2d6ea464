//! Events on objects, for `kubectl describe`. They are a courtesy: written if that is allowed, never waited for.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info};

use super::client::Client;
use super::error::Error;
use super::resource::{EVENTS, ObjectRef};
use crate::admin::wall;

/// Events that wait; beyond that they are dropped.
const QUEUE: usize = 256;
/// How soon the next one is written: the API has more important things to do.
const PACE: Duration = Duration::from_millis(20);
/// Events that are remembered, so that the same one again is counted and not written anew.
const REMEMBERED: usize = 128;
const REMEMBER: Duration = Duration::from_secs(600);
/// How long nothing is written once it was forbidden. Rights are granted by people.
const FORBIDDEN: Duration = Duration::from_secs(600);
/// Longest message that the API takes.
const MESSAGE_MAX: usize = 1024;

/// How serious an Event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Involved {
    /// `v1`, or group and version.
    pub api_version: String,
    /// `Service`, `Node`, …
    pub kind: &'static str,
    /// Its namespace; `None` for objects of the cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// Takes Events. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Recorder(mpsc::Sender<Record>);

#[derive(Debug, PartialEq, Eq)]
struct Record {
    involved: Involved,
    severity: Severity,
    reason: &'static str,
    message: String,
}

impl Recorder {
    /// Starts writing Events as `component` on the node `host`.
    #[must_use]
    pub fn start(client: Client, component: &'static str, host: &str) -> Recorder {
        let (sender, queue) = mpsc::channel(QUEUE);
        let host = host.to_owned();
        let (written, forbidden) = (VecDeque::new(), None);
        tokio::spawn(Task { client, component, host, queue, written, forbidden, serial: 0 }.run());
        Recorder(sender)
    }

    /// Records an Event. Never waits.
    pub fn record(&self, involved: Involved, severity: Severity, reason: &'static str, message: &str) {
        let end = message.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MESSAGE_MAX).last();
        let message = message[..end.unwrap_or(0)].to_owned();
        if self.0.try_send(Record { involved, severity, reason, message }).is_err() {
            debug!("an Event is dropped: too many at once");
        }
    }
}

/// An Event that is in the API.
struct Recorded {
    record: Record,
    object: ObjectRef,
    count: u64,
    since: Instant,
}

struct Task {
    client: Client,
    component: &'static str,
    host: String,
    queue: mpsc::Receiver<Record>,
    written: VecDeque<Recorded>,
    /// Until when nothing is written.
    forbidden: Option<Instant>,
    serial: u64,
}

impl Task {
    async fn run(mut self) {
        while let Some(record) = self.queue.recv().await {
            if self.forbidden.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            match self.write(record).await {
                Ok(()) => self.forbidden = None,
                Err(error @ (Error::Forbidden(_) | Error::Absent(_))) => {
                    if self.forbidden.is_none() {
                        info!("Events are not written: {error}");
                    }
                    self.forbidden = Some(Instant::now() + FORBIDDEN);
                }
                Err(error) => debug!("an Event is lost: {error}"),
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn write(&mut self, record: Record) -> Result<(), Error> {
        self.written.retain(|known| known.since.elapsed() < REMEMBER);
        let at = self.written.iter().position(|known| known.record == record);
        if let Some(mut known) = at.and_then(|at| self.written.remove(at)) {
            known.count += 1;
            let changes = json!({ "count": known.count, "lastTimestamp": seconds() });
            if self.client.patch(&known.object.path(), &changes).await.is_ok() {
                self.written.push_back(known);
                return Ok(());
            }
        }
        let namespace = record.involved.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let body = self.body(&record, &namespace);
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let object = ObjectRef::new(EVENTS, &namespace, &name);
        self.client.post(&object.collection(), &body).await?;
        if self.written.len() == REMEMBERED {
            self.written.pop_front();
        }
        self.written.push_back(Recorded { record, object, count: 1, since: Instant::now() });
        Ok(())
    }

    fn body(&mut self, record: &Record, namespace: &str) -> Value {
        self.serial += 1;
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let unique = nanos.wrapping_add(u128::from(self.serial)) & u128::from(u64::MAX);
        let Record { involved, severity, reason, message } = record;
        let kind = match severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": format!("{}.{unique:016x}", involved.name), "namespace": namespace },
            "involvedObject": {
                "apiVersion": involved.api_version,
                "kind": involved.kind,
                "namespace": involved.namespace,
                "name": involved.name,
                "uid": involved.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": seconds(),
            "lastTimestamp": seconds(),
            "source": { "component": self.component, "host": self.host },
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        })
    }
}

fn seconds() -> String {
    wall::seconds(wall::now())
}
