//! The way into a thread that polls: a bounded queue, and what wakes the thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use rustix::event::{EventfdFlags, eventfd};

/// The running thread, as others see it.
#[derive(Debug)]
pub struct Handle<C> {
    commands: SyncSender<C>,
    wake: Arc<OwnedFd>,
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Handle<C> {
        Handle { commands: self.commands.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<C> Handle<C> {
    /// Sends a command. `false`: the queue is full or the thread is gone.
    pub fn send(&self, command: C) -> bool {
        let sent = self.commands.try_send(command).is_ok();
        // Adding 1 to an eventfd can only fail when it stands at its maximum, and then the thread is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        sent
    }
}

/// The thread's end.
#[derive(Debug)]
pub(crate) struct Inbox<C> {
    commands: Receiver<C>,
    wake: Arc<OwnedFd>,
}

/// Both ends, with room for so many commands.
pub(crate) fn channel<C>(room: usize) -> io::Result<(Handle<C>, Inbox<C>)> {
    let (sender, commands) = sync_channel(room);
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    Ok((Handle { commands: sender, wake: Arc::clone(&wake) }, Inbox { commands, wake }))
}

impl<C> Inbox<C> {
    /// Not readable any more until something comes.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        // Only clears the eventfd; whether it was set makes no difference.
        let _ = rustix::io::read(&self.wake, &mut count);
    }

    pub(crate) fn take(&self) -> Result<C, TryRecvError> {
        self.commands.try_recv()
    }

    /// Some are left for the next round.
    pub(crate) fn again(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl<C> AsFd for Inbox<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
