//! Simulated clusters: the keeper that ships, driven by one seed through faults, and judged by what the wire shows.
//!
//! A run is a pure function of its seed. No real clock, socket or thread; ordered maps only.

pub mod agenda;
pub mod clock;
pub mod explore;
pub mod faults;
pub mod gate;
mod havoc;
pub mod host;
pub mod hunt;
pub mod invariants;
pub mod kernel;
pub mod leases;
pub mod message;
pub mod mistake;
pub mod network;
pub mod plan;
pub mod rng;
pub mod run;
pub mod swarm;
pub mod tamper;
pub mod trace;
pub mod vrrp;
pub mod world;

pub use mistake::Mistake;
pub use plan::Plan;
pub use run::{Report, run, run_faults};
