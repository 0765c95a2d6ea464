//! One direction of a connection: bytes from one socket to the other, the end of them passed on.
//!
//! An idle direction holds nothing. Bytes go through the worker's one buffer and stay in it only within a call; what the
//! sink does not take is kept (a copy, or the pipe it is in) and nothing more is read until it is gone. A direction that
//! fills the buffer again and again is bulk and is spliced.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// A worker's buffer. Large enough for a whole GSO frame.
pub(super) const BUFFER: usize = 64 * 1024;
/// What is read at first.
const FIRST: usize = 16 * 1024;
/// What a pipe holds; less where the system's limit for unprivileged users says so. (256 kB costs half as much CPU
/// again.)
const PIPE: usize = 1024 * 1024;
/// Full buffers in a row after which a direction is bulk.
const BULK: u8 = 3;
/// Bytes of one direction before others get their turn.
const TURN: u64 = 2 * 1024 * 1024;

/// What a worker lends to the direction that it is moving.
pub(super) struct Lent {
    buffer: Box<[u8]>,
    pipes: Vec<Pipe>,
    /// Pipes that may still be made: each costs two descriptors.
    pipes_left: usize,
}

impl Lent {
    pub(super) fn new(pipes_max: usize) -> Lent {
        Lent { buffer: vec![0; BUFFER].into_boxed_slice(), pipes: Vec::new(), pipes_left: pipes_max }
    }

    fn pipe(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.pipes.pop() {
            return Some(pipe);
        }
        if self.pipes_left == 0 {
            return None;
        }
        let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
        // A smaller pipe works as well.
        let _ = fcntl_setpipe_size(&into, PIPE);
        self.pipes_left -= 1;
        Some(Pipe { into, out })
    }

    /// Only an empty pipe may be lent again.
    fn give_back(&mut self, pipe: Pipe) {
        self.pipes.push(pipe);
    }

    fn closed(&mut self, held: &Held) {
        if let Held::Piped(..) = held {
            self.pipes_left += 1;
        }
    }
}

struct Pipe {
    into: OwnedFd,
    out: OwnedFd,
}

/// One socket of a connection and what epoll (edge-triggered) last said about it.
pub(super) struct Side {
    pub(super) fd: OwnedFd,
    /// There may be something to read.
    pub(super) readable: bool,
    /// It may take bytes.
    pub(super) writable: bool,
    /// The other end has reset it.
    pub(super) broken: bool,
    /// Something follows the bytes (an end, an error, urgent data): a short read does not mean that all was read.
    pub(super) more: bool,
    /// Sends so far, as far as `TCP_NODELAY` asks: it matters from the second on and is set then.
    sends: u8,
}

impl Side {
    /// A connection just accepted: it has its listener's options.
    pub(super) fn accepted(fd: OwnedFd) -> Side {
        Side { fd, readable: true, writable: true, broken: false, more: false, sends: 2 }
    }

    /// A connection being made: it has no option yet, and takes bytes when epoll says that it is there.
    pub(super) fn dialled(fd: OwnedFd) -> Side {
        Side { fd, readable: false, writable: false, broken: false, more: false, sends: 0 }
    }

    /// Takes note of what epoll says.
    pub(super) fn event(&mut self, flags: EventFlags) {
        let more = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR | EventFlags::PRI;
        self.broken |= flags.contains(EventFlags::ERR);
        self.more |= flags.intersects(more);
        self.readable |= flags.intersects(more | EventFlags::IN);
        self.writable |= flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
    }
}

/// What was read and could not be sent yet.
enum Held {
    Nothing,
    Bytes(Vec<u8>, usize),
    Piped(Pipe, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// The source has ended; the sink does not know yet.
    Seen,
    /// The sink knows.
    Passed,
}

/// One direction.
pub(super) struct Flow {
    held: Held,
    end: End,
    full: u8,
}

/// How far a direction got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It waits for an event.
    Waits,
    /// It could go on, but others wait too.
    Again,
    /// The source has ended and all of it was passed on.
    Ended,
    /// The source failed: what it had sent before was passed on.
    SourceFailed,
    /// The sink takes no more.
    SinkFailed,
}

impl Flow {
    pub(super) fn new() -> Flow {
        Flow { held: Held::Nothing, end: End::Open, full: 0 }
    }

    pub(super) fn ended(&self) -> bool {
        self.end == End::Passed
    }

    /// Bytes read that wait for the sink.
    pub(super) fn held(&self) -> usize {
        match &self.held {
            Held::Nothing => 0,
            Held::Bytes(bytes, at) => bytes.len() - at,
            Held::Piped(_, left) => *left,
        }
    }

    /// Nothing is held, and the source has ended: closing the sink says what a shutdown would say.
    fn over(&self) -> bool {
        self.end != End::Open && matches!(self.held, Held::Nothing)
    }

    /// Nothing will be moved any more.
    pub(super) fn give_up(&mut self, lent: &mut Lent) {
        lent.closed(&self.held);
        self.held = Held::Nothing;
        self.end = End::Passed;
    }

    /// Reads once before there is a sink: how many bytes came. They then leave with the last packet of the handshake.
    pub(super) fn begin(&mut self, from: &mut Side, lent: &mut Lent) -> Result<usize, Errno> {
        match recv(&from.fd, &mut lent.buffer[..FIRST], RecvFlags::empty()) {
            Ok((0, _)) => {
                self.end = End::Seen;
                Ok(0)
            }
            Ok((n, _)) => {
                // Nothing was heard from epoll yet, so a short read tells nothing; the first event will.
                from.readable = n == FIRST;
                self.held = Held::Bytes(lent.buffer[..n].to_vec(), 0);
                Ok(n)
            }
            Err(Errno::AGAIN) => {
                from.readable = false;
                Ok(0)
            }
            Err(e) => Err(e),
        }
    }

    /// What waits for the sink.
    pub(super) fn early(&self) -> &[u8] {
        match &self.held {
            Held::Bytes(bytes, at) => &bytes[*at..],
            _ => &[],
        }
    }

    /// Reads more before there is a sink, up to what one read may bring: whether anything came.
    pub(super) fn gather(&mut self, from: &mut Side, lent: &mut Lent) -> Result<bool, Errno> {
        let room = FIRST.saturating_sub(self.held());
        if self.end != End::Open || room == 0 {
            return Ok(false);
        }
        match recv(&from.fd, &mut lent.buffer[..room], RecvFlags::empty()) {
            Ok((0, _)) => self.end = End::Seen,
            Ok((n, _)) => {
                from.readable = n == room || from.more;
                match &mut self.held {
                    Held::Bytes(bytes, _) => bytes.extend_from_slice(&lent.buffer[..n]),
                    held => *held = Held::Bytes(lent.buffer[..n].to_vec(), 0),
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                from.readable = false;
                return Ok(false);
            }
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    /// The source has said all that it will say.
    pub(super) fn over_early(&self) -> bool {
        self.end != End::Open
    }

    /// Takes bytes off the front of what is held, and puts others there.
    pub(super) fn replace_front(&mut self, taken: usize, put: &[u8]) {
        let rest = self.early();
        let bytes = [put, &rest[taken.min(rest.len())..]].concat();
        self.held = if bytes.is_empty() { Held::Nothing } else { Held::Bytes(bytes, 0) };
    }

    /// Moves what can be moved. `last`: the other direction is over, so that the caller closes both sockets when this
    /// one is, and no shutdown is needed.
    pub(super) fn run(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        last: bool,
        lent: &mut Lent,
        count: &AtomicU64,
    ) -> Moved {
        // Nobody else adds to this worker's counter meanwhile.
        let until = count.load(Relaxed) + TURN;
        while count.load(Relaxed) < until {
            match self.flush(to, lent) {
                Ok(true) => {}
                Ok(false) => return Moved::Waits,
                Err(_) => return Moved::SinkFailed,
            }
            if self.over() {
                if self.end == End::Seen && !last {
                    // A sink that is already gone is noticed by the other direction.
                    let _ = shutdown(&to.fd, Shutdown::Write);
                }
                self.end = End::Passed;
                return Moved::Ended;
            }
            if !from.readable || !to.writable {
                return Moved::Waits;
            }
            if let Some(moved) = self.step(from, to, lent, count) {
                return moved;
            }
        }
        Moved::Again
    }

    /// One read, and the write that goes with it. `None`: go on.
    fn step(&mut self, from: &mut Side, to: &mut Side, lent: &mut Lent, count: &AtomicU64) -> Option<Moved> {
        if self.full >= BULK
            && let Some(pipe) = lent.pipe()
        {
            return self.splice(pipe, from, lent, count);
        }
        // What a sink does not take is kept: not much of it before the direction has proved to be worth it.
        let size = if self.full == 0 { FIRST } else { BUFFER };
        match recv(&from.fd, &mut lent.buffer[..size], RecvFlags::empty()) {
            Ok((0, _)) => {
                self.end = End::Seen;
                None
            }
            Ok((n, _)) => {
                count.fetch_add(n as u64, Relaxed);
                if n == size {
                    self.full = self.full.saturating_add(1);
                } else {
                    self.full = 0;
                    // The queue is empty; whatever comes next is a new edge.
                    from.readable = from.more;
                }
                match write(to, &lent.buffer[..n]) {
                    Ok(sent) if sent == n => None,
                    Ok(sent) => {
                        self.held = Held::Bytes(lent.buffer[sent..n].to_vec(), 0);
                        None
                    }
                    Err(_) => Some(Moved::SinkFailed),
                }
            }
            Err(Errno::AGAIN) => {
                from.readable = false;
                Some(Moved::Waits)
            }
            Err(Errno::INTR) => None,
            Err(_) => Some(Moved::SourceFailed),
        }
    }

    fn splice(&mut self, pipe: Pipe, from: &mut Side, lent: &mut Lent, count: &AtomicU64) -> Option<Moved> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match splice(&from.fd, None, &pipe.into, None, PIPE, flags) {
            Ok(0) => self.end = End::Seen,
            Ok(n) => {
                count.fetch_add(n as u64, Relaxed);
                if n < BUFFER / 4 {
                    self.full -= 1;
                }
                self.held = Held::Piped(pipe, n);
                return None;
            }
            Err(Errno::AGAIN) => {
                from.readable = false;
                lent.give_back(pipe);
                return Some(Moved::Waits);
            }
            Err(Errno::INTR) => {}
            Err(_) => {
                lent.give_back(pipe);
                return Some(Moved::SourceFailed);
            }
        }
        lent.give_back(pipe);
        None
    }

    /// Sends what is held. Whether nothing is held any more.
    fn flush(&mut self, to: &mut Side, lent: &mut Lent) -> Result<bool, Errno> {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => Ok(true),
            Held::Bytes(bytes, at) => {
                let sent = if to.writable { write(to, &bytes[at..])? } else { 0 };
                if at + sent == bytes.len() {
                    return Ok(true);
                }
                self.held = Held::Bytes(bytes, at + sent);
                Ok(false)
            }
            Held::Piped(pipe, mut left) => {
                while left > 0 && to.writable {
                    match splice(&pipe.out, None, &to.fd, None, left, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
                        Ok(n) => left -= n.min(left),
                        Err(Errno::AGAIN) => to.writable = false,
                        Err(Errno::INTR) => {}
                        Err(e) => {
                            lent.pipes_left += 1;
                            return Err(e);
                        }
                    }
                }
                if left == 0 {
                    lent.give_back(pipe);
                    return Ok(true);
                }
                self.held = Held::Piped(pipe, left);
                Ok(false)
            }
        }
    }
}

/// Sends as much as the socket takes.
fn write(to: &mut Side, bytes: &[u8]) -> Result<usize, Errno> {
    if to.sends < 2 {
        if to.sends == 1 {
            set_tcp_nodelay(&to.fd, true)?;
        }
        to.sends += 1;
    }
    loop {
        match send(&to.fd, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => {
                to.writable = n == bytes.len();
                return Ok(n);
            }
            Err(Errno::AGAIN) => {
                to.writable = false;
                return Ok(0);
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}
