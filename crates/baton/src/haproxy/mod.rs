//! `baton haproxy`: haproxy's command line and configuration, served by the data path of [`crate::proxy`].

pub mod calendar;
pub mod commands;
pub mod daemon;
mod hearsay;
pub mod lines;
pub mod lower;
pub mod moot;
pub mod notes;
pub mod probe;
pub mod rates;
pub mod refuse;
pub mod requests;
pub mod servers;
pub mod show;
pub mod socket;
pub mod start;
pub mod stats;
pub mod syslog;
mod verdict;
mod verify;
pub mod web;

pub use start::main;

/// This host's name.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
