//! Front end for haproxy's configuration files.
//!
//! Text comes in as arguments, a model of plain values and messages go out.

pub mod model;

pub use model::Config;
