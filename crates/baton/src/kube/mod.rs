//! Talking to the Kubernetes API: which server and as whom, requests, watches, writes, Events, and the Leases' own thread.
//!
//! Objects are untyped here (`serde_json::Value`, or whatever small struct a watch is read into): a round trip drops
//! nothing that a newer server added. Nothing in here ends the process; a server that is away is waited for.

mod access;
mod client;
mod connection;
mod counts;
mod error;
pub mod events;
pub mod lease;
mod resource;
mod retry;
pub mod servers;
mod tls;
pub mod watch;
pub mod write;

pub use access::{Access, AccessSettings, Files};
pub use client::{Client, Times};
pub use counts::Verb;
pub use error::Error;
pub use resource::{
    CONFIG_MAPS, ENDPOINT_SLICES, ENDPOINTS, EVENTS, Kind, LEASES, NODES, ObjectRef, SERVICES, Selection,
};
