//! The daemons that are looked at, and the files that they are given.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;

use crate::host::Host;
use crate::lab::{INTERFACE, v4};

/// UDP port of Baton's peers.
const PEERS_PORT: u16 = 10000;

/// TCP port of Baton's `/readyz`, on loopback.
const ADMIN_PORT: u16 = 2112;

/// A daemon that keeps addresses.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Baton, started from this executable.
    Baton {
        /// The executable.
        program: PathBuf,
        /// Lines added to every configuration file.
        extra: String,
    },
    /// What reads keepalived's file, with VRRP version 3.
    Keepalived {
        /// The executable.
        program: PathBuf,
        /// What it is told before keepalived's own options, where it is more than that.
        word: Option<&'static str>,
        /// Time between adverts.
        advert: Duration,
        /// A virtual router for each address, not one for all.
        apart: bool,
    },
}

/// What every node is told.
#[derive(Clone, Debug)]
pub struct Task {
    /// Numbers of the hosts that keep the addresses.
    pub nodes: Vec<u8>,
    /// The addresses.
    pub vips: Vec<IpAddr>,
    /// Port of the service.
    pub port: u16,
    /// Where the service is.
    pub backends: Vec<SocketAddr>,
}

impl Subject {
    /// keepalived, where it is installed.
    #[must_use]
    pub fn keepalived(advert: Duration) -> Option<Subject> {
        let places = ["/usr/sbin/keepalived", "/sbin/keepalived", "/usr/local/sbin/keepalived", "/usr/bin/keepalived"];
        let program = places.into_iter().map(Path::new).find(|path| path.exists())?;
        Some(Subject::Keepalived { program: program.to_owned(), word: None, advert, apart: false })
    }

    /// Baton in keepalived's place, with the same file.
    #[must_use]
    pub fn in_its_place(program: &Path, advert: Duration) -> Subject {
        Subject::Keepalived { program: program.to_owned(), word: Some("keepalived"), advert, apart: false }
    }

    /// The same with a virtual router for each address.
    #[must_use]
    pub fn apart(mut self) -> Subject {
        if let Subject::Keepalived { apart, .. } = &mut self {
            *apart = true;
        }
        self
    }

    /// Whether it balances by itself; otherwise every node needs a server of its own.
    #[must_use]
    pub fn balances(&self) -> bool {
        matches!(self, Subject::Baton { .. })
    }

    /// Whether the daemon on `host` says that it could do without another node. keepalived has no such thing.
    #[must_use]
    pub fn ready(&self, host: &Host) -> bool {
        match self {
            Subject::Baton { .. } => host.run(|_| asked_ready().unwrap_or(false)),
            Subject::Keepalived { .. } => true,
        }
    }

    /// Writes the file of `host`, which has `number`.
    pub fn write(&self, host: &Host, number: u8, task: &Task) -> io::Result<PathBuf> {
        let (name, text) = match self {
            Subject::Baton { extra, .. } => ("config.yaml", config_yaml(number, task, extra)),
            Subject::Keepalived { advert, apart, .. } => {
                ("keepalived.conf", keepalived_conf(number, task, *advert, *apart))
            }
        };
        let file = host.directory().join(name);
        fs::write(&file, text)?;
        Ok(file)
    }

    /// Writes the file and starts the daemon on `host`, which has `number`.
    pub fn start(&self, host: &Host, number: u8, task: &Task) -> io::Result<Pid> {
        let directory = host.directory();
        fs::create_dir_all(directory.join("run"))?;
        fs::create_dir_all(directory.join("state"))?;
        let log = fs::File::options().create(true).append(true).open(log(host))?;
        let file = self.write(host, number, task)?;
        let mut command = match self {
            Subject::Baton { program, .. } => {
                let mut command = Command::new(program);
                command.arg("start").arg("-c").arg(file);
                command.arg("--run-dir").arg(directory.join("run")).arg("--state-dir").arg(directory.join("state"));
                command
            }
            Subject::Keepalived { program, word, .. } => {
                for stale in ["keepalived.pid", "vrrp.pid"] {
                    let _ = fs::remove_file(directory.join("run").join(stale));
                }
                let mut command = Command::new(program);
                command.args(*word).args(["--dont-fork", "--log-console", "--vrrp", "-f"]).arg(file);
                command.arg("-p").arg(directory.join("run/keepalived.pid"));
                command.arg("-r").arg(directory.join("run/vrrp.pid"));
                command
            }
        };
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        host.spawn(command)
    }
}

fn asked_ready() -> io::Result<bool> {
    let patience = Duration::from_millis(200);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], ADMIN_PORT)), patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer.ends_with(b" 200"))
}

/// Where a host's daemon writes its messages.
#[must_use]
pub fn log(host: &Host) -> PathBuf {
    host.directory().join("daemon.log")
}

/// The file of kube-vip 0.1, as it has always been.
fn config_yaml(number: u8, task: &Task, extra: &str) -> String {
    let mut text = String::new();
    let peer = |number: u8| format!("id: n{number}, address: {}, port: {PEERS_PORT}", v4(number));
    let _ = writeln!(text, "localPeer: {{{}}}", peer(number));
    let _ = writeln!(text, "remotePeers:");
    for other in task.nodes.iter().filter(|other| **other != number) {
        let _ = writeln!(text, "- {{{}}}", peer(*other));
    }
    let vips: Vec<String> = task.vips.iter().map(ToString::to_string).collect();
    match vips.as_slice() {
        [only] => writeln!(text, "vip: {only}"),
        several => writeln!(text, "vips: [{}]", several.join(", ")),
    }
    .expect("a string takes everything");
    let _ = write!(
        text,
        "interface: {INTERFACE}\ngratuitousARP: true\nadmin: 127.0.0.1:{ADMIN_PORT}\nloadBalancers:\n- name: demo\n  type: tcp\n  port: {}\n  \
         bindToVip: true\n  backends:\n",
        task.port
    );
    for backend in &task.backends {
        let _ = writeln!(text, "  - {{address: {}, port: {}}}", backend.ip(), backend.port());
    }
    text + extra
}

fn keepalived_conf(number: u8, task: &Task, advert: Duration, apart: bool) -> String {
    let place = task.nodes.iter().position(|node| *node == number).unwrap_or_default();
    let priority = [200, 150, 100].get(place).copied().unwrap_or(50);
    let state = if place == 0 { "MASTER" } else { "BACKUP" };
    let mut text = format!("global_defs {{\n  router_id n{number}\n  vrrp_version 3\n}}\n");
    for (index, vips) in task.vips.chunks(if apart { 1 } else { usize::MAX }).enumerate() {
        let router = if apart { index + 1 } else { 51 };
        let _ = write!(
            text,
            "vrrp_instance demo{index} {{\n  state {state}\n  interface {INTERFACE}\n  virtual_router_id {router}\n  \
             priority {priority}\n  advert_int {}\n  virtual_ipaddress {{\n",
            advert.as_secs_f64()
        );
        for vip in vips {
            let _ = writeln!(text, "    {vip}");
        }
        text += "  }\n}\n";
    }
    text
}
