//! Users' programs: found, run as whom the file says, and ended when they take too long.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use baton_config::keepalived::model::{Command, Global, User};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

use super::facts;

/// Where programs are looked for when the environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between the friendly signal and the other one.
const GRACE: Duration = Duration::from_secs(2);
/// Who runs scripts when the file names nobody, if there is such a user.
const DEFAULT_USER: &str = "keepalived_script";

/// What can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    program: PathBuf,
    args: Vec<String>,
    /// `None`: as whom this process runs.
    who: Option<(u32, u32)>,
}

/// What the file says about all programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// As whom they run where they do not say it.
    user: Option<User>,
    /// `enable_script_security`: nothing runs as root that others could change.
    secure: bool,
}

impl Terms {
    pub(super) fn of(global: &Global) -> Terms {
        Terms { user: global.script_user.clone(), secure: global.script_security }
    }

    /// User and group by number; `None`: as whom this process runs.
    pub(super) fn who(&self, user: Option<&User>) -> Result<Option<(u32, u32)>, String> {
        who(user.or(self.user.as_ref()))
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this code; 0 is good.
    Code(i32),
    /// By a signal.
    Signal,
    /// It took too long.
    TimedOut,
    /// It never ran.
    NotStarted(String),
}

impl Program {
    /// Looks a command up. What is no program is for a shell.
    ///
    /// # Errors
    /// What is missing: the user, or the program itself where no shell can take its place; or what is not safe about it.
    pub(super) fn find(command: &Command, terms: &Terms) -> Result<Program, String> {
        let who = terms.who(command.user.as_ref())?;
        let Some((first, args)) = command.args.split_first() else { return Err("no program is named".to_owned()) };
        if let Some(program) = look_up(first) {
            let root = who.map_or_else(|| rustix::process::geteuid().is_root(), |(user, _)| user == 0);
            if terms.secure && root && facts::insecure(&program) {
                return Err(format!("{first} is not run as root: others could change it (enable_script_security)"));
            }
            return Ok(Program { program, args: args.to_vec(), who });
        }
        if first.starts_with('/') {
            let why = if Path::new(first).exists() { "cannot be executed" } else { "is not there" };
            return Err(format!("{first} {why}"));
        }
        match look_up("sh") {
            Some(shell) => Ok(Program { program: shell, args: vec!["-c".to_owned(), command.text.clone()], who }),
            None => Err(format!(
                "{} needs a shell, and there is none here: use the image with tools, or a check that is recognised",
                command.text
            )),
        }
    }

    /// The same with more arguments.
    #[must_use]
    pub(super) fn with(mut self, more: &[&str]) -> Program {
        self.args.extend(more.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Starts it in a process group of its own.
    pub(super) fn start(&self) -> std::io::Result<Child> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null()).process_group(0);
        if let Some((user, group)) = self.who {
            command.uid(user).gid(group);
        }
        command.spawn()
    }

    /// Runs it to its end, or to `timeout`: then its whole group is ended, by force if it has to be.
    pub(super) async fn run(&self, timeout: Duration) -> Ended {
        let mut child = match self.start() {
            Ok(child) => child,
            Err(e) => return Ended::NotStarted(format!("{} cannot be executed: {e}", self.program.display())),
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        match tokio::time::timeout(timeout, child.wait()).await {
            Ok(ended) => return ended.map_or_else(|e| Ended::NotStarted(e.to_string()), ended_by),
            Err(_) => signal(group, Signal::TERM),
        }
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            signal(group, Signal::KILL);
            // Nothing survives that; the process is only waited for so that it does not stay a zombie.
            let _ = tokio::time::timeout(GRACE, child.wait()).await;
        }
        Ended::TimedOut
    }
}

/// A group that is gone needs no signal.
fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

fn ended_by(status: ExitStatus) -> Ended {
    status.code().map_or(Ended::Signal, Ended::Code)
}

/// By its path, or in the directories of `PATH`.
pub(super) fn look_up(name: &str) -> Option<PathBuf> {
    let runs = |path: &Path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| runs(path));
    }
    let path = std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned());
    path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(name)).find(|path| runs(path))
}

/// User and group by number; `None`: nobody else than this process.
fn who(user: Option<&User>) -> Result<Option<(u32, u32)>, String> {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let Some(user) = user else {
        let default = find(&accounts, DEFAULT_USER).and_then(|(id, group)| Some((id, group?)));
        // Only root can become another.
        return Ok(default.filter(|_| rustix::process::geteuid().is_root()));
    };
    let (id, own_group) = find(&accounts, &user.name).ok_or_else(|| format!("there is no user {}", user.name))?;
    let group = match &user.group {
        None => own_group.ok_or_else(|| format!("user {} has no group", user.name))?,
        Some(name) => {
            let groups = fs::read_to_string("/etc/group").unwrap_or_default();
            find(&groups, name).map(|(id, _)| id).ok_or_else(|| format!("there is no group {name}"))?
        }
    };
    let ours = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Ok(Some((id, group)).filter(|who| *who != ours))
}

/// There is such a user, by name or number.
pub(super) fn has_user(name: &str) -> bool {
    find(&fs::read_to_string("/etc/passwd").unwrap_or_default(), name).is_some()
}

/// Third and fourth field of the line whose first or third field is the name. A number needs no line.
fn find(lines: &str, name: &str) -> Option<(u32, Option<u32>)> {
    let mut found = None;
    for line in lines.lines() {
        let mut fields = line.split(':');
        let (first, id) = (fields.next(), fields.nth(1));
        let Some(number) = id.and_then(|id| id.parse().ok()) else { continue };
        if first == Some(name) || id == Some(name) {
            found = Some((number, fields.next().and_then(|group| group.parse().ok())));
            break;
        }
    }
    found.or_else(|| name.parse().ok().map(|number| (number, None)))
}

#[cfg(test)]
mod tests {
    use baton_config::keepalived::model::At;

    use super::*;

    fn command(text: &str) -> Command {
        let args = text.split(' ').map(str::to_owned).collect();
        Command { text: text.to_owned(), args, user: None, at: At::default() }
    }

    fn found(text: &str) -> Program {
        let mut program = Program::find(&command(text), &Terms::default()).expect("it is there");
        // As ourselves, whoever runs the tests.
        program.who = None;
        program
    }

    #[tokio::test]
    async fn ends_are_told_apart() {
        let second = Duration::from_secs(20);
        assert_eq!(found("/bin/true").run(second).await, Ended::Code(0));
        assert_eq!(found("sh -c").with(&["exit 3"]).run(second).await, Ended::Code(3));
        assert_eq!(found("exit 4; done-here").run(second).await, Ended::Code(4), "no program, so a shell");
        assert_eq!(found("sleep 60").run(Duration::from_millis(50)).await, Ended::TimedOut);
    }

    #[test]
    fn what_is_missing_is_named() {
        let terms = Terms::default();
        let missing = Program::find(&command("/nowhere/check.sh 1"), &terms).expect_err("not there");
        assert_eq!(missing, "/nowhere/check.sh is not there");
        let missing = Program::find(&command("/etc/passwd"), &terms).expect_err("no program");
        assert_eq!(missing, "/etc/passwd cannot be executed");
        let nobody =
            Command { user: Some(User { name: "no-such-user".to_owned(), group: None }), ..command("/bin/true") };
        assert_eq!(Program::find(&nobody, &terms).expect_err("nobody"), "there is no user no-such-user");
    }

    #[test]
    fn what_others_could_change_does_not_run_as_root() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("check.sh");
        fs::write(&path, "#!/bin/sh\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("its owner may");
        let command = command(&path.display().to_string());
        let found = |secure| Program::find(&command, &Terms { user: None, secure });
        let default = find(&fs::read_to_string("/etc/passwd").unwrap_or_default(), DEFAULT_USER);
        let root = rustix::process::geteuid().is_root() && default.is_none();
        assert_eq!(found(true).is_err(), root, "{:?}", found(true));
        assert!(found(false).is_ok(), "nobody asked for it");
        let as_root =
            Command { user: Some(User { name: "0".to_owned(), group: Some("0".to_owned()) }), ..command.clone() };
        let why = Program::find(&as_root, &Terms { user: None, secure: true }).expect_err("root would run it");
        assert!(why.ends_with("others could change it (enable_script_security)"), "{why}");
        let other =
            Command { user: Some(User { name: "65534".to_owned(), group: Some("65534".to_owned()) }), ..command };
        assert!(Program::find(&other, &Terms { user: None, secure: true }).is_ok(), "it would not run as root");
    }

    #[test]
    fn accounts_by_name_and_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:::\n";
        assert_eq!(find(text, "web"), Some((33, Some(34))));
        assert_eq!(find(text, "33"), Some((33, Some(34))));
        assert_eq!(find(text, "1000"), Some((1000, None)));
        assert_eq!(find(text, "nobody"), None);
    }
}
