//! The runtime socket: lines of commands, each answered by text and an empty line.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use baton_config::haproxy::model::{Bind, Global, Listen};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longest line of commands.
const LINE_MAX: u64 = 16 * 1024;

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
pub struct Sockets {
    open: Vec<(Bind, JoinHandle<()>)>,
    terms: Terms,
}

/// What holds for the connections of all sockets.
#[derive(Clone)]
struct Terms {
    /// `stats maxconn`: so many at once; others wait to be accepted.
    most: u32,
    room: Arc<Semaphore>,
    /// `stats timeout`: silence for so long ends one.
    idle: Duration,
}

impl Terms {
    fn of(global: &Global) -> Terms {
        let (most, idle) = (global.stats_maxconn, global.stats_timeout);
        // 0 is "no limit".
        let idle = if idle.is_zero() { Duration::MAX } else { idle };
        Terms { most, room: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1))), idle }
    }
}

impl Sockets {
    /// None yet.
    #[must_use]
    pub fn new(global: &Global) -> Sockets {
        Sockets { open: Vec::new(), terms: Terms::of(global) }
    }

    /// Opens and closes what differs; what could not be done.
    pub async fn apply(&mut self, global: &Global, questions: &mpsc::Sender<Ask>) -> Vec<String> {
        let (wanted, terms) = (&global.stats_sockets, Terms::of(global));
        let same = (terms.most, terms.idle) == (self.terms.most, self.terms.idle);
        let (stay, go): (Vec<_>, Vec<_>) = self.open.drain(..).partition(|(bind, _)| same && wanted.contains(bind));
        if !same {
            self.terms = terms;
        }
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
                    let task = tokio::spawn(serve(listener, permission(bind), self.terms.clone(), questions.clone()));
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

async fn serve(listener: UnixListener, level: Permission, terms: Terms, questions: mpsc::Sender<Ask>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Nobody closes the room. The sockets share it, so it is not kept while nobody comes.
        let Ok(place) = terms.room.clone().acquire_owned().await else { return };
        let talk = talk(stream, level, terms.idle, questions.clone());
        tokio::spawn(async move {
            talk.await;
            drop(place);
        });
    }
}

/// One connection: one line of commands, or many after `prompt`.
async fn talk(stream: UnixStream, mut level: Permission, idle: Duration, questions: mpsc::Sender<Ask>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(LINE_MAX));
    let mut interactive = false;
    loop {
        let mut line = String::new();
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
            let text = format!("{answer}\n{prompt}");
            if !matches!(tokio::time::timeout(idle, write.write_all(text.as_bytes())).await, Ok(Ok(()))) {
                return;
            }
        }
        if !interactive {
            return;
        }
    }
}
