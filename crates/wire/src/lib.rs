//! Bytes on the wire: one file per protocol, `parse` and `emit` over slices.
//!
//! This crate knows no clock, no socket and no decision.

pub mod peer;
