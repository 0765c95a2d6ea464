//! One host: a network namespace, the thread that lives in it, and the processes that were started from it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::enter;
use crate::link::Links;

type Job = Box<dyn FnOnce(&mut Links) + Send>;

/// A network namespace with a thread in it. Dropping it ends its processes and removes the namespace.
pub struct Host {
    name: String,
    jobs: Sender<Job>,
    namespace: OwnedFd,
    inode: u64,
    directory: PathBuf,
}

impl Host {
    /// Makes a namespace, with its loopback up.
    pub fn new(name: &str) -> io::Result<Host> {
        let (jobs, inbox) = channel::<Job>();
        let (ready, made) = channel();
        thread::Builder::new().name(format!("host {name}")).spawn(move || {
            let mut links = match make_namespace() {
                Ok((links, namespace)) => {
                    let _ = ready.send(Ok(namespace));
                    links
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            for job in inbox {
                job(&mut links);
            }
        })?;
        let namespace = made.recv().map_err(|_| io::Error::other("the host's thread ended"))??;
        let inode = rustix::fs::fstat(&namespace)?.st_ino;
        let directory = enter::directory(name)?;
        Ok(Host { name: name.to_owned(), jobs, namespace, inode, directory })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory of this host alone; it survives a power-off, like a disk.
    #[must_use]
    pub fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// Its network namespace.
    #[must_use]
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Runs `job` on this host and waits for it. Threads and processes that it starts, and sockets that it opens, are this host's.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Links) -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move |links: &mut Links| {
            let _ = done.send(job(links));
        });
        self.jobs.send(job).expect("the thread lives as long as its sender");
        result.recv().expect("a job that panics is a bug of the lab")
    }

    /// Starts a process on this host.
    pub fn spawn(&self, mut command: Command) -> io::Result<Pid> {
        let child = self.run(move |_| command.spawn())?;
        Ok(Pid::from_raw(child.id().cast_signed()))
    }

    /// Every process that runs on this host.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter_map(|id| self.process(id)).collect()
    }

    /// The process `id` (as /proc calls it) under the id that this process may use, if it runs on this host.
    fn process(&self, id: u32) -> Option<Pid> {
        let namespace = rustix::fs::stat(format!("/proc/{id}/ns/net")).ok()?;
        if namespace.st_ino != self.inode {
            return None;
        }
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        ids.split_whitespace().last()?.parse().ok().map(Pid::from_raw)
    }

    /// Sends a signal to every process on this host.
    pub fn signal_all(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = kill(pid, signal);
        }
    }

    /// `kill -9` of every process on this host, so that none is left and none is a zombie.
    pub fn kill_all(&self) {
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            for pid in &processes {
                let _ = kill(*pid, Signal::SIGKILL);
            }
            for pid in processes {
                let _ = waitpid(pid, None);
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Time that a process spent on a processor so far, all its threads together.
#[must_use]
pub fn processor_time(pid: Pid) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let times = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}

/// True when the process is gone; a zombie is collected.
#[must_use]
pub fn gone(pid: Pid) -> bool {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(nix::sys::wait::WaitStatus::StillAlive) => false,
        Ok(_) => true,
        Err(_) => kill(pid, None).is_err(),
    }
}

fn make_namespace() -> io::Result<(Links, OwnedFd)> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let namespace = fs::File::open("/proc/thread-self/ns/net")?;
    let mut links = Links::open()?;
    let loopback = links.link("lo")?;
    links.set_up(loopback.index, true)?;
    Ok((links, namespace.into()))
}
