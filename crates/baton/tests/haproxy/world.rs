//! A balancer under test with its files, servers that behave in a certain way, and clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a test waits for at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody uses, for a listener of a program that cannot tell which one it got.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

/// A server: `serve` gets every connection on a thread of its own.
pub(crate) fn server(serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its number").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Sends back what comes.
pub(crate) fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 || stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

/// Says `a`, then waits for the end.
pub(crate) fn a(stream: TcpStream) {
    say(stream, b"a");
}

/// Says `b`, then waits for the end.
pub(crate) fn b(stream: TcpStream) {
    say(stream, b"b");
}

fn say(mut stream: TcpStream, what: &[u8]) {
    let _ = stream.write_all(what);
    let _ = stream.shutdown(Shutdown::Write);
    // Closing with something unread would be a reset.
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A running program. Its file may say `PORT` and `DIR`: the port to listen on, and a directory of its own.
pub(crate) struct Balancer {
    child: Child,
    directory: tempfile::TempDir,
    pub(crate) port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Baton's program, or haproxy's if it is installed.
fn program(ours: bool) -> Option<Command> {
    if ours {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
        command.arg("haproxy");
        return Some(command);
    }
    let path = Path::new("/usr/sbin/haproxy");
    if !path.exists() {
        assert!(std::env::var_os("CI").is_none(), "haproxy is not installed");
        eprintln!("skipped: haproxy is not installed");
        return None;
    }
    Some(Command::new(path))
}

impl Balancer {
    /// Starts it; `None`: it is not installed.
    pub(crate) fn start(ours: bool, config: &str) -> Option<Balancer> {
        let mut command = program(ours)?;
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let path = directory.path().join("haproxy.cfg");
        std::fs::write(&path, fill(config, port, directory.path())).expect("a file");
        command.args(["-db", "-f"]).arg(&path).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (out, kept) = (child.stdout.take().expect("its output"), lines.clone());
        std::thread::spawn(move || {
            // What is said of servers begins with a word.
            let session = |line: &String| line.starts_with("127.0.0.1:");
            for line in BufReader::new(out).lines().map_while(Result::ok).filter(session) {
                kept.lock().expect("a list").push(line);
            }
        });
        let balancer = Balancer { child, directory, port, lines };
        let entry = format!(":{port:04X} 00000000:0000 0A");
        until("the listener", || std::fs::read_to_string("/proc/net/tcp").is_ok_and(|text| text.contains(&entry)));
        Some(balancer)
    }

    /// Another file in place of the one it was started with.
    pub(crate) fn write(&self, config: &str) {
        let path = self.directory.path().join("haproxy.cfg");
        std::fs::write(path, fill(config, self.port, self.directory.path())).expect("a file");
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a number of a process"));
        nix::sys::signal::kill(pid, signal).expect("a signal");
    }

    /// The process is over.
    pub(crate) fn ended(&self) -> bool {
        let path = format!("/proc/{}/stat", self.child.id());
        // Nobody has waited for it yet, so it may be there as a zombie.
        std::fs::read_to_string(path).map_or(true, |text| text.contains(") Z "))
    }

    /// How many descriptors the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("its descriptors").count()
    }

    /// The runtime socket `DIR/s`.
    pub(crate) fn runtime(&self) -> UnixStream {
        let stream = UnixStream::connect(self.directory.path().join("s")).expect("the runtime socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream
    }

    /// What a new connection gets until its end.
    pub(crate) fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(request);
        if request.is_empty() {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut text = Vec::new();
        // A reset ends it as well.
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A command of the runtime socket `DIR/s`.
    pub(crate) fn command(&self, line: &str) -> String {
        let mut stream = self.runtime();
        stream.write_all(format!("{line}\n").as_bytes()).expect("write");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }

    /// What the log says of sessions, once there are so many lines.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        until("lines of the log", || self.lines.lock().expect("a list").len() >= count);
        self.lines.lock().expect("a list").clone()
    }
}

fn fill(config: &str, port: u16, directory: &Path) -> String {
    config.replace("PORT", &port.to_string()).replace("DIR", &directory.display().to_string())
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
