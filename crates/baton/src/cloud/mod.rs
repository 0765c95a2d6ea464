//! Gives Services of type LoadBalancer their addresses (kube-vip-cloud-provider's part), as long as a Lease says that
//! this process may. Decides nothing: the allocator in `baton_core::ipam` does.
//!
//! Whoever comes to lead starts from a list that is newer than that, and a write ends before its Lease, so what the last
//! leader gave out is always seen first.

mod allocator;
mod election;
mod face;
mod objects;
mod reports;
mod start;
mod write;

pub use allocator::{Counts, serve};
pub(crate) use face::metrics;
pub use reports::recorder;
pub use start::run;
