//! Runs the program, and tests in namespaces of their own.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program.
pub(crate) const BATON: &str = env!("CARGO_BIN_EXE_baton");

/// What a run left: exit code, standard output, standard error.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(o: Output) -> Ran {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Ran { code: o.status.code().unwrap_or(-1), out: text(&o.stdout), err: text(&o.stderr) }
    }
}

/// Runs a program to its end.
pub(crate) fn run(program: impl AsRef<Path>, args: &[&str]) -> Ran {
    let output = Command::new(program.as_ref()).args(args).stdin(Stdio::null()).output();
    output.unwrap_or_else(|e| panic!("{}: {e}", program.as_ref().display())).into()
}

/// Runs baton.
pub(crate) fn baton(args: &[&str]) -> Ran {
    run(BATON, args)
}

/// Whether this process is in namespaces of its own. If not, the test of that name is run again in some, as root of
/// a user namespace, and must pass there.
pub(crate) fn in_namespaces(test: &str) -> bool {
    const MARK: &str = "BATON_TEST_IN_NAMESPACES";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let exe = std::env::current_exe().expect("this program has a path");
    let status = Command::new("unshare")
        .args(["-Urnm", "--kill-child"])
        .arg(exe)
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .status()
        .expect("unshare (util-linux) is there");
    assert!(status.success(), "{test} failed in its namespaces (are unprivileged user namespaces allowed?)");
    false
}

/// Waits for a condition.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen within 15 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a tool of the host, which must succeed.
pub(crate) fn tool(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{line}: {e}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
