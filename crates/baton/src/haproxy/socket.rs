//! The runtime socket: lines of commands, each answered by text and an empty line.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::Duration;

use baton_config::haproxy::model::{Bind, Listen};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longest line of commands.
const LINE_MAX: u64 = 16 * 1024;
/// An idle connection is closed after this.
const IDLE: Duration = Duration::from_secs(10);
/// Interactive ones may think longer.
const IDLE_INTERACTIVE: Duration = Duration::from_secs(600);

/// What may be done on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Look.
    User,
    /// Look at everything, change little.
    Operator,
    /// Everything.
    Admin,
}

/// A command for the daemon.
#[derive(Debug)]
pub struct Ask {
    /// One command.
    pub line: String,
    /// What may be done.
    pub level: Permission,
    /// Where the answer goes.
    pub reply: oneshot::Sender<String>,
}

/// The sockets that are open.
#[derive(Default)]
pub struct Sockets {
    open: Vec<(Bind, JoinHandle<()>)>,
}

impl Sockets {
    /// Opens and closes what differs; what could not be done.
    pub async fn apply(&mut self, wanted: &[Bind], questions: &mpsc::Sender<Ask>) -> Vec<String> {
        let (stay, go): (Vec<_>, Vec<_>) = self.open.drain(..).partition(|(bind, _)| wanted.contains(bind));
        self.open = stay;
        go.into_iter().for_each(|(bind, task)| close(&bind, &task));
        let mut failed = Vec::new();
        for bind in wanted {
            let Listen::Unix(path) = &bind.listen else { continue };
            if self.open.iter().any(|(open, _)| open == bind) {
                continue;
            }
            match open(path, bind).await {
                Ok(listener) => {
                    let task = tokio::spawn(serve(listener, permission(bind), questions.clone()));
                    self.open.push((bind.clone(), task));
                }
                Err(e) => failed.push(format!("stats socket {path}: {e}")),
            }
        }
        failed
    }

    /// Closes all, and removes their files.
    pub fn remove(&mut self) {
        self.open.drain(..).for_each(|(bind, task)| close(&bind, &task));
    }
}

fn close(bind: &Bind, task: &JoinHandle<()>) {
    task.abort();
    if let Listen::Unix(path) = &bind.listen {
        // It may be gone already.
        let _ = std::fs::remove_file(path);
    }
}

fn permission(bind: &Bind) -> Permission {
    match bind.level.as_deref() {
        Some("admin") => Permission::Admin,
        Some("user") => Permission::User,
        _ => Permission::Operator,
    }
}

async fn open(path: &str, bind: &Bind) -> std::io::Result<UnixListener> {
    // What a predecessor left behind is taken away; anything but a socket is not.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let owner = |name: &Option<String>, list: &str| name.as_deref().map(|name| number(name, list)).transpose();
    let (user, group) = (owner(&bind.unix_user, "/etc/passwd")?, owner(&bind.unix_group, "/etc/group")?);
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, user, group)?;
    }
    if let Some(mode) = bind.unix_mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}

/// The number of a user or group: itself, or what the list of the host says.
fn number(name: &str, list: &str) -> std::io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(list)?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, format!("{name} is not in {list}")))
}

async fn serve(listener: UnixListener, level: Permission, questions: mpsc::Sender<Ask>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(talk(stream, level, questions.clone()))),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// One connection: one line of commands, or many after `prompt`.
async fn talk(stream: UnixStream, mut level: Permission, questions: mpsc::Sender<Ask>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(LINE_MAX));
    let mut interactive = false;
    loop {
        let mut line = String::new();
        let idle = if interactive { IDLE_INTERACTIVE } else { IDLE };
        match tokio::time::timeout(idle, read.read_line(&mut line)).await {
            Ok(Ok(n)) if n > 0 => {}
            _ => return,
        }
        read.get_mut().set_limit(LINE_MAX);
        for command in line.split(';').map(str::trim) {
            let answer = match command {
                "" if !interactive => continue,
                "" => String::new(),
                "quit" => return,
                "prompt" => {
                    interactive = !interactive;
                    String::new()
                }
                "user" => {
                    level = Permission::User;
                    String::new()
                }
                "operator" => {
                    level = level.min(Permission::Operator);
                    String::new()
                }
                command => {
                    let (reply, answer) = oneshot::channel();
                    let ask = Ask { line: command.to_owned(), level, reply };
                    if questions.send(ask).await.is_err() {
                        return;
                    }
                    let Ok(answer) = answer.await else { return };
                    answer
                }
            };
            let prompt = if interactive { "> " } else { "" };
            if write.write_all(format!("{answer}\n{prompt}").as_bytes()).await.is_err() {
                return;
            }
        }
        if !interactive {
            return;
        }
    }
}
