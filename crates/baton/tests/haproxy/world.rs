//! A balancer under test with its files, servers that behave in a certain way, and clients.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// What a test waits for at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody uses, for a listener of a program that cannot tell which one it got.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

/// A port that stays taken, and where nobody listens.
pub(crate) fn nobody() -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    let port = socket.local_addr().expect("its number").as_socket().expect("of IPv4").port();
    // For as long as the test runs.
    std::mem::forget(socket);
    port
}

/// A server: `serve` gets every connection on a thread of its own.
pub(crate) fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let serve = Arc::new(serve);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its number").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A server that may be stopped: nobody listens any more then.
pub(crate) struct Stoppable {
    port: u16,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Stoppable {
    pub(crate) fn stop(self) {
        self.over.store(true, SeqCst);
        // Whoever accepts has to look.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        self.thread.join().expect("the server ends");
    }
}

/// A server on this port.
pub(crate) fn server_at(port: u16, serve: fn(TcpStream)) -> Stoppable {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port");
    let over = Arc::new(AtomicBool::new(false));
    let its = over.clone();
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if its.load(SeqCst) {
                return;
            }
            std::thread::spawn(move || serve(stream));
        }
    });
    Stoppable { port, over, thread }
}

/// Says a letter at once, then waits for the end.
pub(crate) fn greet(letter: char) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream: TcpStream| {
        let _ = stream.write_all(letter.to_string().as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
    }
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
        let path = self.directory.path().join("s");
        // It may be there a moment later than the listeners.
        let mut stream = None;
        until("the runtime socket", || {
            stream = UnixStream::connect(&path).ok();
            stream.is_some()
        });
        let stream = stream.expect("the runtime socket");
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

    /// Columns of the rows of `show stat`, by `proxy/server`.
    pub(crate) fn stat(&self, columns: &[&str]) -> BTreeMap<String, Vec<String>> {
        let table = self.command("show stat");
        let mut lines = table.lines().filter(|line| !line.is_empty());
        let header = cells(lines.next().expect("a header").trim_start_matches("# "));
        let at = |name: &str| header.iter().position(|column| column == name).expect("a column");
        lines
            .map(|line| {
                let row = cells(line);
                let values = columns.iter().map(|column| row[at(column)].clone()).collect();
                (format!("{}/{}", row[0], row[1]), values)
            })
            .collect()
    }

    /// What the log says of sessions, once there are so many lines.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        until("lines of the log", || self.lines.lock().expect("a list").len() >= count);
        self.lines.lock().expect("a list").clone()
    }
}

/// The cells of a line of CSV.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("there is one").push(c),
        }
    }
    cells
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
