//! The kernel as the judge: every test runs in a user and network namespace of its own, and looks at the result with
//! `ip`, `nft`, `ping`, `arping` and `ndisc6` rather than with our own code.

mod adverts;
mod gates;
mod host;
mod links;
mod ports;
mod tables;
