//! Notify scripts and named pipes: what changed is told in order, instance by instance.
//!
//! keepalived starts all scripts of a change at once and leaves their order to chance. Here each instance and group has a
//! queue: the next script starts when the one before has ended, or has taken too long to be waited for.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use baton_config::keepalived::model::{Command, Config, Fifo, Notify};
use baton_core::vrrp::{Notice, State, Status, Subject};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::program::{Program, Terms};

/// Changes of one instance that wait for their scripts.
const QUEUE: usize = 256;
/// A script that takes longer is not waited for: the next one starts beside it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everybody who is told.
pub(super) struct Notifier {
    instances: BTreeMap<(Subject, String), Scripts>,
    pipes: Vec<Pipe>,
    terms: Terms,
    queues: BTreeMap<(Subject, String), Queue>,
}

/// What waits for its turn, and the task that runs it.
type Queue = (mpsc::Sender<Vec<Program>>, JoinHandle<()>);

/// The scripts of one instance or group.
struct Scripts {
    notify: Notify,
}

impl Notifier {
    /// Makes the pipes that are not there, and starts what reads them.
    pub(super) fn new(config: &Config) -> Notifier {
        let (instances, queues) = (BTreeMap::new(), BTreeMap::new());
        let mut notifier = Notifier { instances, pipes: Vec::new(), terms: Terms::default(), queues };
        notifier.configure(config);
        notifier
    }

    /// What is told from now on. Pipes that stay are not opened again.
    pub(super) fn configure(&mut self, config: &Config) {
        self.terms = Terms::of(&config.global);
        let of =
            |subject, name: &String, notify: &Notify| ((subject, name.clone()), Scripts { notify: notify.clone() });
        let instances = config.instances.iter().map(|i| of(Subject::Instance, &i.name, &i.notify));
        let before = std::mem::take(&mut self.instances);
        self.instances =
            instances.chain(config.groups.iter().map(|g| of(Subject::Group, &g.name, &g.notify))).collect();
        // What is gone is told about once more.
        for (key, scripts) in before {
            self.instances.entry(key).or_insert(scripts);
        }
        let wanted: Vec<&Fifo> =
            [&config.global.notify_fifo, &config.global.vrrp_notify_fifo].into_iter().flatten().collect();
        self.pipes.retain(|pipe| wanted.iter().any(|fifo| **fifo == pipe.fifo));
        for fifo in wanted {
            if self.pipes.iter().any(|pipe| pipe.fifo == *fifo) {
                continue;
            }
            match Pipe::open(fifo, &self.terms) {
                Ok(pipe) => self.pipes.push(pipe),
                Err(why) => warn!("notify_fifo {}: {why}", fifo.path),
            }
        }
    }

    /// Tells of a change: the pipes, then the script for this state, then `notify`.
    pub(super) fn tell(&mut self, of: Subject, name: &str, what: Notice, priority: u8) {
        let kind = if of == Subject::Group { "GROUP" } else { "INSTANCE" };
        let state = word(what);
        let changes = matches!(what, Notice::MasterPriority | Notice::BackupPriority);
        let scripts = self.instances.get(&(of, name.to_owned())).map(|scripts| &scripts.notify);
        if !changes || scripts.is_some_and(|notify| notify.priority_changes) {
            for pipe in &mut self.pipes {
                pipe.write(&format!("{kind} \"{name}\" {state} {priority}\n"));
            }
        }
        let Some(notify) = scripts else { return };
        let mut programs = Vec::new();
        let mut find = |command: &Command, more: &[&str]| match Program::find(command, &self.terms) {
            Ok(program) => programs.push(program.with(more)),
            Err(why) => warn!("{kind} {name}: the notify script for {state} does not run: {why}"),
        };
        if let Some(command) = of_state(notify, what) {
            find(command, &[]);
        }
        if let Some(command) = notify.any.as_ref().filter(|_| !changes && what != Notice::MasterRxLowerPri) {
            find(command, &[kind, name, state, &priority.to_string()]);
        }
        if !programs.is_empty() {
            self.queue(of, name, programs);
        }
    }

    /// Tells the pipes, and no script, how everything is.
    pub(super) fn states(&mut self, status: &Status) {
        let groups = status.groups.iter().map(|group| ("GROUP", &group.name, group.state, 0));
        let instances = status.routers.iter().map(|router| ("INSTANCE", &router.name, router.state, router.priority));
        for (kind, name, state, priority) in groups.chain(instances).filter(|(_, _, state, _)| *state != State::Init) {
            self.pipes.iter_mut().for_each(|pipe| pipe.write(&format!("{kind} \"{name}\" {state} {priority}\n")));
        }
    }

    fn queue(&mut self, of: Subject, name: &str, programs: Vec<Program>) {
        let (queue, _) = self.queues.entry((of, name.to_owned())).or_insert_with(|| {
            let (sender, inbox) = mpsc::channel(QUEUE);
            (sender, tokio::spawn(run(inbox)))
        });
        if queue.try_send(programs).is_err() {
            warn!("notify scripts of {name} are not run: {QUEUE} changes wait for theirs already");
        }
    }

    /// At the end: waits until everybody was told, for so long at most.
    pub(super) async fn finish(mut self, patience: Duration) {
        let queues = std::mem::take(&mut self.queues);
        let all = async {
            for (queue, task) in queues.into_values() {
                drop(queue);
                // A task that failed has nobody to tell.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            info!("notify scripts still run: they are not waited for any longer");
        }
    }
}

/// One after the other. What takes too long goes on beside.
async fn run(mut inbox: mpsc::Receiver<Vec<Program>>) {
    while let Some(programs) = inbox.recv().await {
        for program in programs {
            match program.start() {
                Ok(mut child) => {
                    // How it ends is its own affair.
                    let _ = tokio::time::timeout(PATIENCE, child.wait()).await;
                }
                Err(e) => warn!("a notify script cannot be executed: {e}"),
            }
        }
    }
}

fn of_state(notify: &Notify, what: Notice) -> Option<&Command> {
    match what {
        Notice::Master => notify.master.as_ref(),
        Notice::Backup => notify.backup.as_ref(),
        Notice::Fault => notify.fault.as_ref(),
        Notice::Stop => notify.stop.as_ref(),
        Notice::Deleted => notify.deleted.as_ref(),
        Notice::MasterRxLowerPri => notify.master_rx_lower_pri.as_ref(),
        Notice::MasterPriority | Notice::BackupPriority => None,
    }
}

/// As on the pipe and the command line.
fn word(what: Notice) -> &'static str {
    match what {
        Notice::Master => "MASTER",
        Notice::Backup => "BACKUP",
        Notice::Fault => "FAULT",
        Notice::Stop => "STOP",
        Notice::Deleted => "DELETED",
        Notice::MasterRxLowerPri => "MASTER_RX_LOWER_PRI",
        Notice::MasterPriority => "MASTER_PRIORITY",
        Notice::BackupPriority => "BACKUP_PRIORITY",
    }
}

/// A named pipe that is written to, whether or not somebody reads it.
struct Pipe {
    fifo: Fifo,
    file: fs::File,
    /// We made it, so we remove it.
    made: bool,
    /// What reads it; ended with us.
    _reader: Option<Child>,
}

impl Pipe {
    fn open(fifo: &Fifo, terms: &Terms) -> Result<Pipe, String> {
        let path = Path::new(&fifo.path);
        let owner = terms.who(fifo.owner.as_ref())?;
        let made = match mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(e) => return Err(e.to_string()),
        };
        // For reading too: so that it opens without a reader, and no reader's end is felt.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let opened = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = opened.map_err(|e| e.to_string())?;
        if !file.metadata().is_ok_and(|m| m.file_type().is_fifo()) {
            return Err("it is no named pipe".to_owned());
        }
        // Who reads it may be somebody else than root.
        if let (true, Some((user, group))) = (made, owner) {
            std::os::unix::fs::fchown(&file, Some(user), Some(group)).map_err(|e| format!("its owner: {e}"))?;
        }
        let reader = match &fifo.script {
            Some(command) => Some(
                Program::find(command, terms)
                    .and_then(|program| program.with(&[&fifo.path]).start().map_err(|e| e.to_string()))
                    .map_err(|why| format!("its script does not run: {why}"))?,
            ),
            None => None,
        };
        Ok(Pipe { fifo: fifo.clone(), file, made, _reader: reader })
    }

    /// A line that finds no room is lost: whoever reads is not reading.
    fn write(&mut self, line: &str) {
        match self.file.write(line.as_bytes()) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                warn!("notify_fifo {} is full, nobody reads it: {} is lost", self.fifo.path, line.trim_end());
            }
            Err(e) => warn!("notify_fifo {}: {e}", self.fifo.path),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if self.made {
            // Somebody else may have removed it.
            let _ = fs::remove_file(PathBuf::from(&self.fifo.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    use baton_config::keepalived::model::{At, User};

    use super::*;

    fn command(args: &[&str]) -> Command {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Command { text: args.join(" "), args, user: None, at: At::default() }
    }

    #[tokio::test]
    async fn told_in_order_with_the_originals_arguments() {
        let dir = tempfile::tempdir().expect("a directory");
        let (out, pipe) = (dir.path().join("out"), dir.path().join("fifo"));
        let script = |text: &str| command(&["/bin/sh", "-c", &format!("{text} >> {}", out.display())]);
        let notify = Notify {
            master: Some(script("sleep 0.2; echo master")),
            backup: Some(script("echo backup")),
            // The shell's own name, then the arguments that are appended.
            any: Some(script("echo \"$0 $1 $2 $3\"")),
            ..Notify::default()
        };
        let group = baton_config::keepalived::model::SyncGroup {
            name: "G".to_owned(),
            at: At::default(),
            members: Vec::new(),
            tracks: baton_config::keepalived::model::Tracks::default(),
            tracking_weight: false,
            notify,
        };
        // Only root can give a file away.
        let root = rustix::process::geteuid().is_root();
        let owner = root.then(|| User { name: "65534".to_owned(), group: Some("65533".to_owned()) });
        let fifo = Fifo { path: pipe.display().to_string(), owner, script: None };
        let mut config = Config { groups: vec![group], ..Config::default() };
        config.global.notify_fifo = Some(fifo);
        let mut notifier = Notifier::new(&config);
        notifier.terms = Terms::default();
        let mut reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("the pipe is there");
        let found = reader.metadata().expect("it is open");
        assert!(!root || (found.uid(), found.gid()) == (65534, 65533), "whose the file says it is");
        notifier.tell(Subject::Group, "G", Notice::Master, 0);
        notifier.tell(Subject::Group, "G", Notice::Backup, 0);
        notifier.tell(Subject::Group, "G", Notice::MasterPriority, 9);
        notifier.tell(Subject::Instance, "unknown", Notice::MasterRxLowerPri, 101);
        notifier.finish(Duration::from_secs(20)).await;
        assert_eq!(fs::read_to_string(&out).expect("written"), "master\nGROUP G MASTER 0\nbackup\nGROUP G BACKUP 0\n");
        let mut lines = [0; 256];
        let length = reader.read(&mut lines).expect("lines");
        assert_eq!(
            String::from_utf8_lossy(&lines[..length]),
            "GROUP \"G\" MASTER 0\nGROUP \"G\" BACKUP 0\nINSTANCE \"unknown\" MASTER_RX_LOWER_PRI 101\n"
        );
        assert!(!pipe.exists(), "it was ours");
    }
}
