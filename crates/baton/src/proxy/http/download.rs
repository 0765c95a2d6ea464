//! An answer's body on its way to the client of a front of mode http, and what becomes of both sides after an upgrade.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use baton_core::pool::Dealings;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Sleep, sleep, sleep_until};

use super::record::Record;

/// What is read at once of a tunnel.
const PIECE: usize = 16 * 1024;

type Failure = Box<dyn Error + Send + Sync>;

/// An answer's body. The request is over when it is dropped.
pub(super) struct Download {
    body: Incoming,
    record: Record,
    /// How long the server may be silent.
    patience: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What breaks it off, once what came before has been passed on.
    broken: Option<Failure>,
    ended: bool,
    /// The answer to HEAD has none.
    empty: bool,
    /// What haproxy counts for the end of chunks.
    trailer: u64,
}

impl Download {
    pub(super) fn new(
        body: Incoming,
        record: Record,
        empty: bool,
        trailer: u64,
        patience: Option<Duration>,
    ) -> Download {
        Download { body, record, patience, timer: None, broken: None, ended: false, empty, trailer }
    }

    /// It is broken off: at the next look, so that what came before is sent first.
    fn breaks(&mut self, state: [u8; 2], why: Failure, cx: &Context<'_>) {
        (self.record.state, self.ended, self.broken) = (state, true, Some(why));
        cx.waker().wake_by_ref();
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.ended && !self.empty && !self.body.is_end_stream() {
            self.record.state = if self.record.client.clock().late { *b"cD" } else { *b"CD" };
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(why) = self.broken.take() {
            return Poll::Ready(Some(Err(why)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer = None;
                if let Some(data) = frame.data_ref() {
                    let length = data.len() as u64;
                    self.record.down(length);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.ended = true;
                let trailer = self.trailer;
                self.record.down(trailer);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.breaks(*b"SD", error.into(), cx);
                Poll::Pending
            }
            Poll::Pending => {
                if let Some(patience) = self.patience {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
                    if timer.as_mut().poll(cx).is_ready() {
                        self.breaks(*b"sD", "the server is silent".into(), cx);
                    }
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Moves bytes after an upgrade, until both sides are done or silent for too long.
pub(super) async fn tunnel(client: OnUpgrade, server: OnUpgrade, mut record: Record, dealings: Arc<Dealings>) {
    let (Ok(client), Ok(server)) = tokio::join!(client, server) else { return };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_server, to_server) = tokio::io::split(TokioIo::new(server));
    let moved = Mutex::new((Instant::now(), 0u64));
    let silence = record.plan.settings.client.into_iter().map(|time| (time, b'c'));
    let silence = silence.chain(dealings.server.map(|time| (time, b's'))).min_by_key(|(time, _)| *time);
    let silence = dealings.tunnel.map(|time| (time, b'c')).or(silence);
    let both = async { tokio::join!(pump(from_client, to_server, &moved, 0), pump(from_server, to_client, &moved, 1)) };
    let state = tokio::select! {
        (up, down) = both => match (up, down) {
            (Err(()), _) => *b"CD",
            (_, Err(())) => *b"SD",
            _ => *b"--",
        },
        who = silent(&moved, silence) => [who, b'D'],
    };
    record.state = state;
    let bytes = moved.lock().expect("nobody panics while holding it").1;
    record.down(bytes);
}

/// One direction; `counted`: 1 when its bytes are the client's.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Mutex<(Instant, u64)>,
    counted: u64,
) -> Result<(), ()> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).await.map_err(drop)?;
        if count == 0 {
            // A side that is gone is noticed by the other direction.
            let _ = to.shutdown().await;
            return Ok(());
        }
        to.write_all(&piece[..count]).await.map_err(drop)?;
        to.flush().await.map_err(drop)?;
        let mut moved = moved.lock().expect("nobody panics while holding it");
        *moved = (Instant::now(), moved.1 + counted * count as u64);
    }
}

/// Ends when nothing has moved for too long: whose silence it was.
async fn silent(moved: &Mutex<(Instant, u64)>, silence: Option<(Duration, u8)>) -> u8 {
    let Some((time, who)) = silence else { return std::future::pending().await };
    loop {
        let due = moved.lock().expect("nobody panics while holding it").0 + time;
        if due <= Instant::now() {
            return who;
        }
        sleep_until(due.into()).await;
    }
}
