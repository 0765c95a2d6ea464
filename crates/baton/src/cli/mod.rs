//! The command line: which program is meant, which command, and what it exits with.

pub mod args;
pub mod output;
pub mod personality;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs what the arguments (the program's name first) ask for.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    let (personality, _) = personality::of(args);
    output::fail(output::REFUSED, &format!("{personality:?} has no commands yet"))
}
