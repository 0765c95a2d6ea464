//! Entering the lab: user, network, mount and process namespaces of our own, without privileges.
//!
//! `unshare` works only in a process with one thread, so this is the first thing that `main` does. The caller becomes a
//! supervisor that starts itself again as the first process of a new process namespace: when either of them ends, in whatever way,
//! the kernel ends every process of the lab, and with them go its interfaces and its files (which live on a private tmpfs).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Tells the second process that it is inside.
const INSIDE: &str = "BATON_LAB_INSIDE";

/// This executable, whatever became of its path.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// Where a lab's files live: a tmpfs of its own.
pub const DIR: &str = "/run";

/// Which side of [`enter`] the caller is on.
pub enum Side {
    /// The supervisor: the lab ran and is over; leave with this code.
    Outside(ExitCode),
    /// Inside: everything that is made here goes away with this process.
    Inside,
}

/// Why there is no lab.
#[derive(Debug)]
pub enum Refused {
    /// The kernel does not let this user make namespaces.
    Namespaces(io::Error),
    /// Namespaces were made, and then something in them was refused.
    Inside(&'static str, io::Error),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Namespaces(error) => write!(
                f,
                "this user may not make namespaces ({error}). Run it as root, or allow user namespaces: \
                 sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 \
                 kernel.apparmor_restrict_unprivileged_userns=0 (those that exist here); \
                 in a container: --privileged, or --security-opt seccomp=unconfined with --cap-add SYS_ADMIN,NET_ADMIN,NET_RAW"
            ),
            Refused::Inside(what, error) => write!(
                f,
                "the namespaces were made, but {what} was refused ({error}). Often AppArmor: \
                 sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run it as root"
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// Enters namespaces of our own. To be called by `main` before any thread is started: see [`Side`].
pub fn enter() -> Result<Side, Refused> {
    if std::env::var_os(INSIDE).is_some() {
        inside()?;
        return Ok(Side::Inside);
    }
    make_namespaces()?;
    let status = Command::new(THIS_PROGRAM)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .map_err(|error| Refused::Inside("starting the lab's first process", error))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(Side::Outside(ExitCode::from(code)))
}

/// User namespace first, so that nothing outside can be touched; as root without one if they are forbidden.
fn make_namespaces() -> Result<(), Refused> {
    let others = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if unshare(CloneFlags::CLONE_NEWUSER | others).is_ok() {
        let map = |file: &str, text: String| {
            fs::write(file, text).map_err(|error| Refused::Inside("becoming root in them", error))
        };
        map("/proc/self/setgroups", "deny".to_owned())?;
        map("/proc/self/uid_map", format!("0 {user} 1"))?;
        return map("/proc/self/gid_map", format!("0 {group} 1"));
    }
    unshare(others).map_err(|error| Refused::Namespaces(error.into()))
}

fn inside() -> Result<(), Refused> {
    let refused = |what| move |error: nix::Error| Refused::Inside(what, error.into());
    set_pdeathsig(Signal::SIGKILL).map_err(refused("following the supervisor"))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(refused("a private mount tree"))?;
    mount(Some("tmpfs"), DIR, Some("tmpfs"), MsFlags::MS_NOSUID, none).map_err(refused("a tmpfs of its own"))?;
    // In a container whose /proc is masked this is refused; then the outer one stays, and `host` translates its ids.
    let _ = mount(Some("proc"), "/proc", Some("proc"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, none);
    Ok(())
}

/// A directory of the lab's own.
pub fn directory(name: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = Path::new(DIR).join(name);
    fs::create_dir_all(&path)?;
    Ok(path)
}
