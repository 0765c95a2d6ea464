//! Bytes on the wire: one file per protocol, `parse` and `emit` over slices.
//!
//! This crate knows no clock, no socket and no decision.

pub mod arp;
pub mod hello;
pub mod ip;
pub mod ndp;
pub mod peer;
pub mod proxy;
pub mod vrrp;

/// A link-layer (Ethernet) address.
pub type Mac = [u8; 6];
