//! A server behind the balancer: it answers every byte with its own name's byte.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::host::Host;

/// Most connections that are served at once; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// How often the server looks whether it shall end.
const PATIENCE: Duration = Duration::from_millis(10);

/// A running server. Dropping it ends it, and with it every connection to it.
pub struct Backend {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Serves on all addresses of `host`.
    pub fn start(host: &Host, port: u16, name: u8) -> io::Result<Backend> {
        let listener = host.run(move |_| TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = thread::Builder::new().name(format!("backend {}", char::from(name))).spawn(move || {
            let mut connections = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                wait(&listener, &connections);
                accept(&listener, &mut connections);
                connections.retain_mut(|stream| serve(stream, name, &count));
            }
        })?;
        Ok(Backend { stop, answered, thread: Some(thread) })
    }

    /// How many requests it has answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn wait(listener: &TcpListener, connections: &[TcpStream]) {
    let mut waiting: Vec<PollFd<'_>> = connections.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    if connections.len() < CONNECTIONS {
        waiting.push(PollFd::new(listener, PollFlags::IN));
    }
    crate::wait(&mut waiting, PATIENCE);
}

fn accept(listener: &TcpListener, connections: &mut Vec<TcpStream>) {
    while connections.len() < CONNECTIONS {
        let Ok((stream, _)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok() {
            let _ = stream.set_nodelay(true);
            connections.push(stream);
        }
    }
}

/// False when the connection is over.
fn serve(stream: &mut TcpStream, name: u8, answered: &AtomicUsize) -> bool {
    let mut request = [0; 64];
    match stream.read(&mut request) {
        Ok(0) => false,
        Ok(length) => {
            answered.fetch_add(length, Ordering::Relaxed);
            stream.write_all(&[name; 64][..length]).is_ok()
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
