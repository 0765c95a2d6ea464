//! The binary's inside: drivers, proxy, admin and command line. Decisions are in `baton-core`, text in `baton-config`,
//! the kernel in `baton-net`.

pub mod admin;
pub mod background;
pub mod cli;
pub mod cloud;
pub mod daemon;
pub mod demo;
pub mod haproxy;
pub mod keepalived;
pub mod keeper;
pub mod kernel;
pub mod kube;
pub mod log;
pub mod manager;
pub mod markers;
pub mod planner;
pub mod proxy;
mod run;
mod settled;
pub mod syslog;
pub mod systemd;
pub mod vrrp;

/// This version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What it was built from, when the build said so.
pub const BUILD: &str = match option_env!("BATON_BUILD") {
    Some(build) => build,
    None => "from source",
};
