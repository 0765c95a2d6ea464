//! Watches: the state of a selection, and then every change of it, across servers that restart, histories that are gone,
//! streams that break off in the middle of a line, and streams that fall silent.

use std::borrow::Cow;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::client::Client;
use super::connection::reason;
use super::error::{Error, Status};
use super::resource::Selection;
use super::retry::{Backoff, jittered};

/// Objects in one page of a list.
const PAGE: &str = "250";
/// How long a stream is asked for. The server may end it sooner.
const STREAM: Duration = Duration::from_secs(3000);
/// Longest line: one object with what is around it. etcd takes objects of 1.5 MiB.
const LINE_MAX: usize = 8 << 20;
/// Longest silence. Servers send a bookmark about once a minute.
const SILENCE: Duration = Duration::from_secs(300);
/// Changes that wait for the reader; beyond that the server waits.
const CHANGES: usize = 64;

/// What a reader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// This is all there is: at the beginning, and whenever changes may have been missed.
    Restarted(Vec<T>),
    /// This is new or changed.
    Applied(T),
    /// This is gone, in its last state.
    Deleted(T),
    /// The server refuses (rights, an unknown kind). Once for each reason; it is tried again.
    Refused(Error),
}

/// Watches a selection, until the receiver is dropped. Objects are read into `T`, which had better be small.
pub fn watch<T>(client: Client, selection: Selection) -> mpsc::Receiver<Change<T>>
where
    T: DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(CHANGES);
    let (backoff, version) = (Backoff::default(), None);
    let watch = Watch { client, selection, sender: sender.clone(), backoff, version, trouble: None, polls: false };
    tokio::spawn(async move {
        tokio::select! {
            () = watch.run() => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

struct Watch<T> {
    client: Client,
    selection: Selection,
    sender: mpsc::Sender<Change<T>>,
    backoff: Backoff,
    /// Everything up to here was told. `None`: list.
    version: Option<String>,
    /// What went wrong last, told once.
    trouble: Option<String>,
    /// We may list but not watch: list again and again, seldom.
    polls: bool,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: Meta<'a>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "resourceVersion")]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "continue")]
    next: Option<Cow<'a, str>>,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// What is read of every object.
#[derive(Deserialize)]
struct Bare<'a> {
    #[serde(borrow, default)]
    metadata: Meta<'a>,
}

/// Why a stream is over.
enum End {
    /// The reader is gone.
    Reader,
    /// The server ended it, as it may.
    Done,
    Trouble(Error),
}

impl<T: DeserializeOwned> Watch<T> {
    async fn run(mut self) {
        loop {
            let end = match self.version.clone() {
                None => self.list().await,
                Some(version) => self.follow(&version).await,
            };
            match end {
                End::Reader => return,
                End::Done => {}
                End::Trouble(error) => {
                    if matches!(error, Error::Gone(_)) {
                        self.version = None;
                    } else if self.tell(&error).await.is_err() {
                        return;
                    }
                    sleep(self.backoff.after(&error)).await;
                }
            }
        }
    }

    /// Says what is wrong, once; the reader hears what only an administrator can change.
    async fn tell(&mut self, error: &Error) -> Result<(), End> {
        // A passing trouble has many texts.
        let kind = if error.is_passing() { "away".to_owned() } else { error.to_string() };
        if self.trouble.as_ref() == Some(&kind) {
            return Ok(());
        }
        warn!("watching {}: {error}", self.selection);
        self.trouble = Some(kind);
        if error.is_passing() { Ok(()) } else { self.send(Change::Refused(error.clone())).await }
    }

    fn well(&mut self) {
        self.backoff.reset();
        if self.trouble.take().is_some() {
            info!("watching {} again", self.selection);
        }
    }

    async fn send(&self, change: Change<T>) -> Result<(), End> {
        self.sender.send(change).await.map_err(|_| End::Reader)
    }

    /// Lists everything, page by page, and tells it as a whole.
    async fn list(&mut self) -> End {
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let mut parameters = vec![("limit", PAGE)];
            if !next.is_empty() {
                parameters.push(("continue", &next));
            }
            let bytes = match self.client.page(&self.selection.path(&parameters)).await {
                Ok(bytes) => bytes,
                Err(error) => return End::Trouble(error),
            };
            let page: Page<'_> = match serde_json::from_slice(&bytes) {
                Ok(page) => page,
                Err(e) => return End::Trouble(Error::Server(format!("the list is not JSON: {e}"))),
            };
            let items = page.items.unwrap_or_default();
            all.extend(items.into_iter().filter_map(|item| self.object(item)));
            match page.metadata.next.filter(|next| !next.is_empty()) {
                Some(more) => next = more.into_owned(),
                None => {
                    self.version = page.metadata.version.map(Cow::into_owned);
                    break;
                }
            }
        }
        if !self.polls {
            self.well();
        }
        match self.send(Change::Restarted(all)).await {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    /// Reads changes after a version, until the stream ends.
    async fn follow(&mut self, version: &str) -> End {
        let seconds = jittered(STREAM).as_secs().to_string();
        let parameters = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &seconds),
        ];
        let body = match self.client.stream(&self.selection.path(&parameters)).await {
            Ok(body) => body,
            Err(error) => {
                if matches!(error, Error::Forbidden(_)) {
                    (self.polls, self.version) = (true, None);
                }
                return End::Trouble(error);
            }
        };
        let mut lines = Lines { body, buffer: BytesMut::new(), read: 0 };
        let mut first = true;
        loop {
            let line = match timeout(SILENCE, lines.next()).await {
                Err(_) => return End::Done,
                Ok(Ok(Some(line))) => line,
                // A server that ends every stream at once is asked less and less often.
                Ok(Ok(None)) if first => return End::Trouble(Error::Server("the stream ended at once".to_owned())),
                Ok(Ok(None)) => return End::Done,
                Ok(Err(error)) => return End::Trouble(error),
            };
            if let Err(end) = self.line(&line).await {
                return end;
            }
            if first {
                self.polls = false;
                self.well();
                first = false;
            }
        }
    }

    async fn line(&mut self, bytes: &[u8]) -> Result<(), End> {
        let broken = |e| End::Trouble(Error::Server(format!("a line of the stream is not JSON: {e}")));
        let line: Line<'_> = serde_json::from_slice(bytes).map_err(broken)?;
        if line.kind == "ERROR" {
            let status: Status = serde_json::from_str(line.object.get()).unwrap_or_default();
            let text = status.message.unwrap_or_else(|| "the server ended the stream".to_owned());
            let error = Error::of_status(status.code, status.reason.as_deref().unwrap_or(""), None, text);
            return Err(End::Trouble(error));
        }
        let bare: Bare<'_> = serde_json::from_str(line.object.get()).map_err(broken)?;
        let version = bare.metadata.version.map(Cow::into_owned);
        let change = match &*line.kind {
            "ADDED" | "MODIFIED" => self.object(line.object).map(Change::Applied),
            "DELETED" => self.object(line.object).map(Change::Deleted),
            _ => None,
        };
        if let Some(change) = change {
            self.send(change).await?;
        }
        // After it was told: what breaks off before is told again.
        if version.is_some() {
            self.version = version;
        }
        Ok(())
    }

    /// One object that cannot be read must not hide the others.
    fn object(&self, raw: &RawValue) -> Option<T> {
        match serde_json::from_str(raw.get()) {
            Ok(object) => Some(object),
            Err(e) => {
                warn!("one of {} cannot be read and is left out: {e}", self.selection);
                None
            }
        }
    }
}

/// Cuts a body into lines.
struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// So much of the buffer holds no end of a line.
    read: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<BytesMut>, Error> {
        loop {
            if let Some(at) = self.buffer[self.read..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.read + at + 1);
                self.read = 0;
                if line.len() > 1 {
                    return Ok(Some(line));
                }
                continue;
            }
            self.read = self.buffer.len();
            if self.read > LINE_MAX {
                return Err(Error::Invalid(format!("a line of the stream is longer than {} MiB", LINE_MAX >> 20)));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(e)) => return Err(Error::Unanswered(format!("the stream broke off: {}", reason(&e)))),
            }
        }
    }
}
