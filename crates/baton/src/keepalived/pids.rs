//! Pid files: where keepalived writes them, all with the number of the one process; a second instance is refused.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use baton_config::keepalived::model::Global;

use super::options::Options;

/// The files that were written; they go with it.
#[derive(Debug, Default)]
pub(crate) struct Pids(Vec<PathBuf>);

/// Where the daemon's own file is unless `-p` says otherwise, and that of its VRRP process.
fn standard(options: &Options, global: &Global) -> Vec<PathBuf> {
    let namespace = options.namespace.as_ref().or(global.net_namespace.as_ref());
    let base = match (namespace, global.use_pid_dir) {
        (Some(namespace), _) => PathBuf::from("/run/keepalived").join(namespace),
        (None, true) => PathBuf::from("/run/keepalived"),
        (None, false) => PathBuf::from("/run"),
    };
    let instance = global.instance.as_ref().map(|instance| format!("_{instance}")).unwrap_or_default();
    // In a directory of its own the original leaves its name out.
    let names = if base == Path::new("/run") { ["keepalived", "keepalived_vrrp"] } else { ["keepalived", "vrrp"] };
    names.iter().map(|name| base.join(format!("{name}{instance}.pid"))).collect()
}

impl Pids {
    /// Writes them. `Err`: another instance runs.
    pub(super) fn write(options: &Options, global: &Global) -> Result<Pids, String> {
        let mut files = options.pid_files.clone();
        if !options.own_pid_file {
            files.extend(standard(options, global));
        }
        let own = std::process::id();
        for file in &files {
            if let Some(other) = running(file).filter(|other| *other != own) {
                return Err(format!("keepalived is already running, by {} (process {other})", file.display()));
            }
        }
        let mut written = Pids::default();
        for file in files {
            match write(&file, own) {
                Ok(()) => written.0.push(file),
                // Without such a file it still runs, but nobody finds it.
                Err(e) => tracing::warn!("pid file {}: {e}", file.display()),
            }
        }
        Ok(written)
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        for file in &self.0 {
            // Somebody else may have removed it.
            let _ = fs::remove_file(file);
        }
    }
}

fn write(file: &Path, pid: u32) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    // A link that somebody planted is not followed.
    match fs::remove_file(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).open(file)?.write_all(format!("{pid}\n").as_bytes())
}

/// The process that wrote a file, if it is still there and of this kind.
fn running(file: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    (line.contains("keepalived") || line.contains("baton")).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("sub/k.pid");
        let options = Options { pid_files: vec![file.clone()], own_pid_file: true, ..Options::default() };
        let pids = Pids::write(&options, &Global::default()).expect("nobody else");
        assert_eq!(fs::read_to_string(&file).expect("there"), format!("{}\n", std::process::id()));
        drop(pids);
        assert!(!file.exists());
        // Of a process that is gone.
        fs::write(&file, "4194305\n").expect("written");
        assert!(Pids::write(&options, &Global::default()).is_ok());
    }

    #[test]
    fn where_the_original_writes_them() {
        let paths = |options: &Options, global: &Global| -> Vec<String> {
            standard(options, global).iter().map(|p| p.display().to_string()).collect()
        };
        let mut global = Global::default();
        assert_eq!(paths(&Options::default(), &global), ["/run/keepalived.pid", "/run/keepalived_vrrp.pid"]);
        global.instance = Some("a".to_owned());
        assert_eq!(paths(&Options::default(), &global), ["/run/keepalived_a.pid", "/run/keepalived_vrrp_a.pid"]);
        global.use_pid_dir = true;
        assert_eq!(
            paths(&Options::default(), &global),
            ["/run/keepalived/keepalived_a.pid", "/run/keepalived/vrrp_a.pid"]
        );
        let in_namespace = Options { namespace: Some("ns1".to_owned()), ..Options::default() };
        assert_eq!(paths(&in_namespace, &Global::default())[1], "/run/keepalived/ns1/vrrp.pid");
    }
}
