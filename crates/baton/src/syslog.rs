//! Log lines to the local syslog daemon (RFC 3164 over `/dev/log`), for programs that log nowhere else.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Where the daemon listens.
const PATH: &str = "/dev/log";
/// Longer lines are cut: a datagram of a syslog daemon has room for so much.
const LINE: usize = 8 * 1024;

/// Makes a datagram of each line.
#[derive(Clone, Debug)]
pub struct Syslog {
    socket: Arc<UnixDatagram>,
    facility: u8,
    tag: &'static str,
}

impl Syslog {
    /// Connects to the daemon. A line that it does not take is lost: nothing waits for it.
    ///
    /// # Errors
    /// There is none, or it may not be used.
    pub fn connect(facility: u8, tag: &'static str) -> io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(PATH)?;
        socket.set_nonblocking(true)?;
        Ok(Syslog { socket: Arc::new(socket), facility, tag })
    }

    fn line(&self, severity: u8) -> Line {
        Line { log: self.clone(), severity, text: Vec::new() }
    }
}

/// One line on its way.
#[derive(Debug)]
pub struct Line {
    log: Syslog,
    severity: u8,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE.saturating_sub(self.text.len());
        self.text.extend(bytes.iter().take(room));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let priority = u32::from(self.log.facility) * 8 + u32::from(self.severity);
        let text = String::from_utf8_lossy(&self.text);
        let line = format!("<{priority}>{}[{}]: {}", self.log.tag, std::process::id(), text.trim_end());
        if self.log.socket.send(line.as_bytes()).is_err() {
            // A daemon that was started again listens on another socket.
            let _ = self.log.socket.connect(PATH);
            let _ = self.log.socket.send(line.as_bytes());
        }
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        self.line(6)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        let severity = match *meta.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        self.line(severity)
    }
}
