//! `keepalived.conf`: text becomes a [`Config`] and findings, as keepalived 2.2 reads it.
//!
//! Nothing is opened here: included files, what is known of scripts, and the host's interfaces come as arguments.

mod address;
mod authentication;
mod check;
mod complete;
mod expand;
mod finding;
mod fix;
mod general;
mod group;
mod instance;
mod keywords;
mod lint;
mod lvs;
pub mod model;
pub mod native;
mod read;
mod reference;
mod source;
mod track;
mod tree;
mod value;
mod vmac;
mod words;

pub use finding::{Class, Finding, Kind};
pub use fix::{Edit, fix};
pub use lint::{LINTS, Lint};
pub use model::Config;
pub use native::Native;
pub use read::{Host, Reading, ScriptFact, Source, read};
pub use reference::reference;
pub use source::Included;
