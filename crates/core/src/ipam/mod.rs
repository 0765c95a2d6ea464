//! Addresses for Services: which address of which pool a Service gets, as values (kube-vip-cloud-provider's rules).
//!
//! There is no store: who has which address is what the Services themselves carry, so a restart changes nothing. A plan
//! is made against one version of a Service and is written only over that version; what it hands out is reserved until
//! another version is seen. Within one process nothing is therefore given twice, however late the watch is; between
//! processes, only the holder of a Lease plans, after a list that is newer than the gain.

mod ledger;
mod plan;
pub mod pool;
mod rules;
mod service;

pub use ledger::Ledger;
pub use plan::{Change, Plan, Why};
pub use pool::{Family, Order, Pool};
pub use rules::Rules;
pub use service::{Key, Policy, Protocol, Service};

#[cfg(test)]
mod tests;
