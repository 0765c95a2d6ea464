//! The one binary. Everything it does is in the library, so that tests and the demo can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton::cli::main(std::env::args_os().collect())
}
