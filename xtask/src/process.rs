//! Other programs, run so that a failure says which one it was.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask is a directory of the workspace").to_owned()
}

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Runs a command to its end, with its output on this terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", line(command));
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", line(command), output.status, error.trim());
    }
    Ok(output.stdout)
}

/// What a command prints, as text.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let name = line(command);
    String::from_utf8(output(command)?).with_context(|| format!("`{name}` printed something that is not text"))
}

/// Where a program is: in `PATH` or where some are that are not in everybody's `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    directories().into_iter().map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// `PATH` with the directories of administrators and of an unpacked Go, for whoever looks programs up by themselves.
pub(crate) fn path() -> Result<OsString> {
    std::env::join_paths(directories()).context("PATH has a directory that cannot be in it")
}

fn directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let missing = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/go/bin"].map(PathBuf::from);
    directories.extend(missing.into_iter().filter(|known| !std::env::split_paths(&path).any(|given| given == *known)));
    directories
}

/// Whether this runs as root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(text(Command::new("id").arg("-u"))?.trim() == "0")
}

/// As somebody would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
