//! Labs on the real kernel: hosts in network namespaces, joined by a switch, faults that break them, and what is
//! measured meanwhile.
//!
//! Everything happens inside namespaces that the calling process enters for good ([`enter()`]); no privileges are needed
//! where user namespaces are allowed, and nothing outlives the process. No other program is needed, except the daemon that
//! is looked at.
//!
//! - [`lab`]: the switch and its hosts; [`host`]: one host, a thread in its own network namespace;
//! - [`client`]: connections at a fixed rate, and the gaps between those that were answered;
//! - [`observer`]: who answers for an address, asked on every port of the switch at once;
//! - [`backend`]: servers behind the balancer; [`subject`]: the daemons looked at; [`cluster`]: all of them together;
//! - [`fault`]: ways to break it; [`trial`]: one fault, from a healthy cluster back to a healthy cluster;
//! - [`swarm`]: many, one upon another; [`harness`]: for tests that run inside; [`figures`]: for tables.

pub mod backend;
pub mod client;
pub mod cluster;
pub mod dice;
pub mod enter;
pub mod fault;
pub mod figures;
pub mod harness;
pub mod host;
pub mod lab;
pub mod link;
pub mod observer;
pub mod subject;
pub mod swarm;
pub mod trial;

pub use enter::enter;

/// Waits until one of `fds` is ready, at most `patience`. An interruption counts as ready: callers look themselves.
fn wait(fds: &mut [rustix::event::PollFd<'_>], patience: std::time::Duration) {
    let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    let patience = rustix::time::Timespec { tv_sec: seconds, tv_nsec: i64::from(patience.subsec_nanos()) };
    let _ = rustix::event::poll(fds, Some(&patience));
}
