//! Front ends: files, flags and environment become one checked [`baton_core::settings::Settings`].
//!
//! Text comes in as arguments, values or messages go out: this crate opens no file and asks no kernel. What must be
//! known of the host is an argument too ([`HostFacts`]). All problems are reported at once, each with its position.

mod balancers;
mod check;
mod compare;
pub mod haproxy;
pub mod keepalived;
mod keys;
pub mod kubeconfig;
pub mod manager;
mod message;
mod outside;
mod ownership;
mod peers;
mod reference;
mod sample;
mod scalar;
mod schema;
mod start;
mod tree;
mod unwise;
mod vips;
mod walk;
mod yaml;

pub use compare::compare;
pub use message::{Message, Place, Severity};
pub use outside::{FLAGS, Flag};
pub use reference::reference;
pub use sample::{ManifestArgs, RunArgs, config as sample_config, manifest as sample_manifest, run_pod, run_unit};
pub use schema::schema;
pub use start::{HostFacts, Loaded, StartArgs, start};
pub use unwise::unwise;
