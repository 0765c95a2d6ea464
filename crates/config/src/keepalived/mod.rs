//! `keepalived.conf`: text becomes a [`Config`] and messages, as keepalived 2.2 reads it.
//!
//! Nothing is opened here: included files, what is known of scripts, and the host's interfaces come as arguments.

pub mod model;
pub mod native;

pub use model::Config;
pub use native::Native;
