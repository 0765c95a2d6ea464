//! The Kubernetes client against scripted API servers: for faults that a real one cannot be made to show.

mod access;
mod client;
mod cloud;
mod events;
mod lease;
mod server;
mod store;
mod watch;
mod write;
