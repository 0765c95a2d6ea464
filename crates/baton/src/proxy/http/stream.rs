//! A TCP stream that somebody else than its user can reset.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, ready};

use rustix::net::{Shutdown, connect_unspec, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::super::limits::Limits;

/// All streams of one kind that are open.
#[derive(Default)]
pub(super) struct Streams {
    open: Mutex<HashMap<u64, Weak<TcpStream>>>,
    next: AtomicU64,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.open.lock().expect("nobody panics while holding it").is_empty()
    }

    /// Resets those that `which` names: both ends learn it at once, whoever is using them.
    pub(super) fn reset(&self, which: impl Fn(&TcpStream) -> bool) {
        let open = self.open.lock().expect("nobody panics while holding it");
        for stream in open.values().filter_map(Weak::upgrade).filter(|stream| which(stream)) {
            // Dissolving the association sends RST; a socket that refuses has none.
            let _ = connect_unspec(&stream);
        }
    }
}

/// A stream among others.
pub(super) struct Stream {
    socket: Arc<TcpStream>,
    number: u64,
    all: Arc<Streams>,
    _room: Option<Room>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, all: Arc<Streams>, room: Option<Room>) -> Stream {
        let socket = Arc::new(socket);
        let number = all.next.fetch_add(1, Relaxed);
        all.open.lock().expect("nobody panics while holding it").insert(number, Arc::downgrade(&socket));
        Stream { socket, number, all, _room: room }
    }

    /// The socket, for who has something to say when nobody reads and writes any more.
    pub(super) fn socket(&self) -> Arc<TcpStream> {
        self.socket.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.all.open.lock().expect("nobody panics while holding it").remove(&self.number);
    }
}

/// One of the connections that there may be.
pub(super) struct Room(Arc<Limits>);

impl Room {
    pub(super) fn take(limits: &Arc<Limits>) -> Option<Room> {
        limits.enter().then(|| Room(limits.clone()))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(shutdown(&self.socket, Shutdown::Write)?))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write_vectored(bufs) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
