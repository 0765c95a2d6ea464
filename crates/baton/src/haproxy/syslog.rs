//! Where log lines go: syslog by UDP or by the host's socket, standard output, inherited descriptors.
//!
//! Nothing waits for a log: a line that cannot be taken at once is lost, and counted.

use std::fmt::Write as _;
use std::io::IoSlice;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use baton_config::haproxy::model::{LogFraming, LogTarget, LogTo};
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::calendar::Moment;

/// Lines that nobody took, over the life of the process.
pub static LOST: AtomicU64 = AtomicU64::new(0);

/// Levels of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing works.
    Emergency = 0,
    /// Act at once.
    Alert = 1,
    /// It failed.
    Error = 3,
    /// It may fail.
    Warning = 4,
    /// Normal, but to be noted.
    Notice = 5,
    /// What happens.
    Info = 6,
}

/// A place for lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    to: To,
    settings: LogTarget,
    host: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Udp(SocketAddr),
    Unix(String),
    Stdout,
    Stderr,
}

impl Target {
    /// A target whose host, where it has one, is `address`. `host`: this host's name, if lines are to have it.
    #[must_use]
    pub fn new(settings: &LogTarget, address: Option<SocketAddr>, host: Option<String>) -> Option<Target> {
        let to = match &settings.to {
            LogTo::Udp { .. } => To::Udp(address?),
            LogTo::Unix(path) => To::Unix(path.clone()),
            LogTo::Stdout | LogTo::Fd(1) => To::Stdout,
            LogTo::Stderr | LogTo::Fd(2) => To::Stderr,
            LogTo::Fd(_) => return None,
        };
        Some(Target { to, settings: settings.clone(), host })
    }

    /// The line as it leaves. `None`: it is below the target's level.
    fn frame(&self, level: Level, tag: &str, text: &str) -> Option<String> {
        let settings = &self.settings;
        if level as u8 > settings.level {
            return None;
        }
        let level = (level as u8).max(settings.min_level);
        let priority = settings.facility * 8 + level;
        let mut line = String::with_capacity(text.len() + 64);
        let now = SystemTime::now();
        let pid = std::process::id();
        match settings.format {
            LogFraming::Raw => {}
            LogFraming::Short => _ = write!(line, "<{level}>"),
            LogFraming::Timed => {
                Moment::local(now).iso(&mut line);
                let _ = write!(line, " <{level}>");
            }
            LogFraming::Iso => {
                Moment::local(now).iso(&mut line);
                line.push(' ');
            }
            LogFraming::Priority => _ = write!(line, "<{priority}>"),
            LogFraming::Local | LogFraming::Rfc3164 => {
                let _ = write!(line, "<{priority}>");
                Moment::local(now).syslog(&mut line);
                line.push(' ');
                if let Some(host) = &self.host {
                    let _ = write!(line, "{host} ");
                }
                let _ = write!(line, "{tag}[{pid}]: ");
            }
            LogFraming::Rfc5424 => {
                let _ = write!(line, "<{priority}>1 ");
                Moment::local(now).iso(&mut line);
                let host = self.host.as_deref().unwrap_or("-");
                let _ = write!(line, " {host} {tag} {pid} - - ");
            }
        }
        line.push_str(text);
        let most = usize::try_from(settings.length).unwrap_or(usize::MAX).saturating_sub(1);
        if line.len() > most {
            let end = (0..=most).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            line.truncate(end);
        }
        line.push('\n');
        Some(line)
    }
}

/// One thread's sockets for logs.
#[derive(Debug, Default)]
pub struct Sockets {
    unix: Option<UnixDatagram>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    /// Writes one line to all targets that want it.
    pub fn write(&mut self, targets: &[Target], level: Level, tag: &str, text: &str) {
        for target in targets {
            if let Some(line) = target.frame(level, tag, text)
                && !self.send(&target.to, line.as_bytes())
            {
                LOST.fetch_add(1, Relaxed);
            }
        }
    }

    fn send(&mut self, to: &To, line: &[u8]) -> bool {
        match to {
            To::Stdout => print(rustix::stdio::stdout(), line),
            To::Stderr => print(rustix::stdio::stderr(), line),
            To::Unix(path) => {
                if self.unix.is_none() {
                    self.unix = UnixDatagram::unbound().and_then(|s| s.set_nonblocking(true).map(|()| s)).ok();
                }
                // Not connected, so that a log daemon that starts again is found again.
                self.unix.as_ref().is_some_and(|socket| socket.send_to(line, path).is_ok())
            }
            To::Udp(address) => {
                let (socket, any): (_, SocketAddr) = if address.is_ipv4() {
                    (&mut self.v4, (Ipv4Addr::UNSPECIFIED, 0).into())
                } else {
                    (&mut self.v6, (Ipv6Addr::UNSPECIFIED, 0).into())
                };
                if socket.is_none() {
                    *socket = UdpSocket::bind(any).and_then(|s| s.set_nonblocking(true).map(|()| s)).ok();
                }
                socket.as_ref().is_some_and(|socket| socket.send_to(line, address).is_ok())
            }
        }
    }
}

/// One system call for a line, so that lines of several threads do not mix. A pipe that nobody empties is not waited for;
/// files and terminals, which know no such thing, take what they get.
fn print(fd: BorrowedFd<'_>, line: &[u8]) -> bool {
    let at_once = pwritev2(fd, &[IoSlice::new(line)], u64::MAX, ReadWriteFlags::NOWAIT);
    let written = match at_once {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => rustix::io::write(fd, line),
        other => other,
    };
    written.is_ok_and(|n| n == line.len())
}

#[cfg(test)]
mod tests {
    use baton_config::haproxy::model::At;

    use super::*;

    fn target(format: LogFraming, level: u8) -> Target {
        let settings = LogTarget {
            to: LogTo::Stdout,
            length: 40,
            format,
            facility: 16,
            level,
            min_level: 0,
            sample_ranges: Vec::new(),
            sample_size: 0,
            at: At::default(),
        };
        Target::new(&settings, None, None).unwrap()
    }

    #[test]
    fn a_pipe_that_nobody_empties_is_not_waited_for() {
        use std::io::Read;
        use std::os::fd::AsFd;

        let (mut out, into) = std::io::pipe().unwrap();
        let line = [b'x'; 1024];
        let written = (0..1000).take_while(|_| print(into.as_fd(), &line)).count();
        assert!((1..1000).contains(&written), "{written}");
        // It is emptied again, so lines arrive again.
        out.read_exact(&mut vec![0; written * line.len()]).unwrap();
        assert!(print(into.as_fd(), b"a line\n"));
        let mut read = [0; 7];
        out.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"a line\n");
        let file = tempfile::tempfile().unwrap();
        assert!(print(file.as_fd(), b"a line\n"), "files are written to as well");
    }

    #[test]
    fn frames() {
        let raw = target(LogFraming::Raw, 6);
        assert_eq!(raw.frame(Level::Info, "haproxy", "hello").unwrap(), "hello\n");
        assert_eq!(raw.frame(Level::Info, "haproxy", &"é".repeat(40)).unwrap().len(), 39, "cut between characters");
        assert_eq!(target(LogFraming::Raw, 5).frame(Level::Info, "haproxy", "hello"), None);
        assert_eq!(target(LogFraming::Priority, 7).frame(Level::Info, "haproxy", "x").unwrap(), "<134>x\n");
        assert_eq!(target(LogFraming::Short, 7).frame(Level::Alert, "haproxy", "x").unwrap(), "<1>x\n");
        let line = target(LogFraming::Rfc3164, 7).frame(Level::Info, "t", "x").unwrap();
        assert!(line.starts_with("<134>") && line.contains(" t["), "{line}");
    }
}
