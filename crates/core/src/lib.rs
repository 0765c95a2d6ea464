//! Every decision of Baton, as values.
//!
//! Nothing here has a clock, a socket, a thread or randomness of its own: time is an argument, randomness a seed,
//! results come back as events. The simulation and the kernel run this very code.

pub mod agent;
pub mod answers;
pub mod average;
pub mod balance;
pub mod health;
pub mod ipam;
pub mod keeper;
pub mod lease;
pub mod pool;
pub mod services;
pub mod settings;
pub mod stick;
pub mod strconv;
pub mod time;
pub mod vrrp;

pub use time::Time;
