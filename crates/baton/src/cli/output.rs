//! Standard output and exit codes: what a program that is called in pipes and scripts owes its caller.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Failed at run time.
pub const FAILED: u8 = 1;
/// Refused: configuration or usage. Nothing was changed.
pub const REFUSED: u8 = 2;

/// Writes to standard output. A reader that has seen enough (`… | head`) is no failure; a full disk is.
pub fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => fail(FAILED, &format!("standard output: {e}")),
    }
}

/// Writes lines for people to standard error; nobody can be told when that fails.
pub fn complain(text: &str) {
    if text.is_empty() {
        return;
    }
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = err.write_all(b"\n");
    }
}

/// Says why, and gives the exit code.
pub fn fail(code: u8, why: &str) -> ExitCode {
    complain(&format!("baton: {why}"));
    ExitCode::from(code)
}
