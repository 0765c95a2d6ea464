//! Who holds what until when: the one machine that owns addresses.
//!
//! [`Keeper::handle`] takes an event and the time and appends effects; [`Keeper::deadline`] says when to come back
//! with [`Event::Tick`]. It must not know sockets, threads, clocks or files.

pub mod event;
pub mod note;
pub mod status;

pub use event::{Effect, Event, GateDone, GateOp, Holding, HostAddress, Link, Mac, Marker, Memory};
pub use note::{Level, Note, Reason};
pub use status::Status;

use std::time::Duration;

use crate::settings::Ownership;
use crate::time::Time;

/// Who holds what until when.
#[derive(Debug)]
pub struct Keeper {
    settings: Ownership,
}

impl Keeper {
    /// A keeper that has just started. `seed` is random (incarnations are drawn from it); `tick` is the kernel's timer
    /// granularity. The first [`Event::Tick`] may come at once.
    #[must_use]
    pub fn new(settings: Ownership, memory: Memory, seed: u64, tick: Duration, now: Time) -> Keeper {
        let _ = (memory, seed, tick, now);
        Keeper { settings }
    }

    /// One step: takes an event, appends what is to be done, in order.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        let _ = (now, event, out);
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// A snapshot for people.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let _ = now;
        Status { node: self.settings.node.clone(), ..Status::default() }
    }
}
