//! Going into the background, for command lines whose originals do so: a second process of this program runs in a session
//! of its own, and the first one ends when that one is ready or has failed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// Set for the second process.
const INSIDE: &str = "BATON_IN_BACKGROUND";
const READY: &[u8] = b"ready";

/// This is the process that stays.
#[must_use]
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Starts the second process with the same arguments (the program's name first) and waits until it is ready. How the
/// first one ends then.
///
/// # Errors
/// What starting a program may fail with.
pub fn start(args: &[OsString]) -> io::Result<ExitCode> {
    let mut command = Command::new("/proc/self/exe");
    if let Some((name, rest)) = args.split_first() {
        command.arg0(name).args(rest);
    }
    // Messages come out here until it is ready; that it is comes over its standard output.
    let mut child = command.env(INSIDE, "1").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut said = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_end(&mut said)?;
    }
    if said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// In the second process, before anything else: a session of its own.
pub fn detach() {
    // It fails for the leader of a session, who needs none.
    let _ = rustix::process::setsid();
}

/// In the second process: everything has started. From here on nobody reads what it prints.
///
/// # Errors
/// What opening `/dev/null` may fail with.
pub fn ready() -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(READY)?;
    out.flush()?;
    let null = File::options().read(true).write(true).open(OsStr::new("/dev/null"))?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
