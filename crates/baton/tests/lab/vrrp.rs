//! Virtual routers in a group with real keepalived: who is master, on the wire and on the hosts.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use baton_lab::backend::Backend;
use baton_lab::harness::{Skipped, need};
use baton_lab::host::{Host, gone};
use baton_lab::lab::{INTERFACE, Part, Port, Switch, v4, v6};
use baton_lab::observer::Observer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::shell;

const PATIENCE: Duration = Duration::from_secs(20);
/// Numbers of the two hosts.
const NODES: [u8; 2] = [1, 2];

/// Who runs on a host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Baton,
    Keepalived,
}

use Program::{Baton, Keepalived};

/// Two hosts on a switch.
pub(crate) struct Pair {
    pub(crate) switch: Switch,
    pub(crate) hosts: Vec<Host>,
    pub(crate) ports: Vec<Port>,
    programs: [Program; 2],
    daemons: [Option<Pid>; 2],
    /// Virtual servers are left out.
    pub(crate) vrrp_only: bool,
    /// What comes before the instance in a host's file.
    pub(crate) heads: [String; 2],
    pub(crate) observer: Observer,
    pub(crate) vip: IpAddr,
}

impl Pair {
    pub(crate) fn new(programs: [Program; 2], vip: IpAddr) -> Pair {
        let switch = Switch::new().expect("a switch");
        let hosts: Vec<Host> = NODES.iter().map(|n| Host::new(&format!("v{n}")).expect("a host")).collect();
        let connect = |(host, number): (&Host, u8)| switch.connect(host, INTERFACE, number).expect("a cable");
        let ports: Vec<Port> = hosts.iter().zip(NODES).map(connect).collect();
        let observer = Observer::start(&[vip]).expect("an observer");
        for (port, number) in ports.iter().zip(NODES) {
            observer.watch(&switch, port, number).expect("a port");
        }
        let head = "global_defs {\n  vrrp_garp_master_delay 1\n}\n".to_owned();
        Pair {
            switch,
            hosts,
            ports,
            programs,
            daemons: [None, None],
            vrrp_only: true,
            heads: [head.clone(), head],
            observer,
            vip,
        }
    }

    /// Starts the daemon of a host with a file whose instance has these lines.
    pub(crate) fn start(&mut self, place: usize, priority: u8, lines: &str) {
        self.write(place, priority, lines);
        let directory = self.hosts[place].directory().clone();
        let program = match self.programs[place] {
            Baton => PathBuf::from(env!("CARGO_BIN_EXE_baton")),
            Keepalived => PathBuf::from("/usr/sbin/keepalived"),
        };
        let mut command = Command::new(program);
        if self.programs[place] == Baton {
            command.arg("keepalived");
        }
        command.args(["--dont-fork", "--log-console", "--log-detail", "--no-syslog"]);
        command.args(Some("--vrrp").filter(|_| self.vrrp_only));
        command.arg("-f").arg(directory.join("keepalived.conf"));
        for (flag, file) in [("-p", "daemon.pid"), ("-r", "vrrp.pid")] {
            let _ = fs::remove_file(directory.join(file));
            command.arg(flag).arg(directory.join(file));
        }
        self.spawn(place, command);
    }

    /// The same with a balancer in one process.
    pub(crate) fn start_beside(&mut self, place: usize, priority: u8, lines: &str, balancer: &str) {
        self.write(place, priority, lines);
        let directory = self.hosts[place].directory().clone();
        fs::write(directory.join("haproxy.cfg"), balancer).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
        command.arg("run").arg(directory.join("keepalived.conf")).arg(directory.join("haproxy.cfg"));
        self.spawn(place, command);
    }

    pub(crate) fn spawn(&mut self, place: usize, mut command: Command) {
        let host = &self.hosts[place];
        let path = host.directory().join("daemon.log");
        let log = fs::File::options().create(true).append(true).open(path).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.daemons[place] = Some(host.spawn(command).expect("it starts"));
    }

    pub(crate) fn write(&self, place: usize, priority: u8, lines: &str) {
        let text = format!(
            "{}vrrp_instance lab {{\n  state BACKUP\n  interface {INTERFACE}\n  virtual_router_id 51\n  \
             priority {priority}\n{lines}}}\n",
            self.heads[place]
        );
        fs::write(self.hosts[place].directory().join("keepalived.conf"), text).expect("a file");
    }

    pub(crate) fn signal(&self, place: usize, signal: Signal) {
        kill(self.daemons[place].expect("it runs"), signal).expect("it runs");
    }

    /// Everything of that host, at once.
    pub(crate) fn kill(&mut self, place: usize) {
        self.hosts[place].kill_all();
        self.daemons[place] = None;
    }

    pub(crate) fn terminate(&mut self, place: usize) {
        self.signal(place, Signal::SIGTERM);
        let daemon = self.daemons[place].take().expect("it runs");
        self.until("it ends", || gone(daemon));
    }

    /// Whether the host has an address.
    pub(crate) fn has(&self, place: usize, address: IpAddr) -> bool {
        shell(&self.hosts[place], "ip -j addr").contains(&format!("\"{address}\""))
    }

    pub(crate) fn until(&self, what: &str, found: impl Fn() -> bool) {
        let begin = Instant::now();
        while !found() {
            assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", self.words());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// One host answers and has the address, the other has it not.
    pub(crate) fn until_master(&self, place: usize) {
        let number = NODES[place];
        let recent = Duration::from_millis(60);
        self.until(&format!("v{number} is master alone"), || {
            self.observer.holder(self.vip, recent) == Some(number)
                && self.has(place, self.vip)
                && !self.has(1 - place, self.vip)
        });
    }

    /// Two hosts answered at no moment since then.
    pub(crate) fn never_two(&self, since: Instant) {
        let answering = self.observer.answering(self.vip, since, Instant::now());
        assert!(answering.most <= 1, "two answer: {answering:?}\n{}", self.words());
    }

    pub(crate) fn words(&self) -> String {
        let log = |host: &Host| fs::read(host.directory().join("daemon.log")).unwrap_or_default();
        let last = |host: &Host| {
            let text = String::from_utf8_lossy(&log(host)).into_owned();
            let lines: Vec<&str> = text.lines().rev().take(25).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        self.hosts.iter().map(|host| format!("--- {}\n{}\n", host.name(), last(host))).collect()
    }
}

/// Every way of speaking, with Baton first above and then below keepalived.
fn ways() -> Vec<(&'static str, IpAddr, [String; 2])> {
    let (vip4, vip6) = (IpAddr::V4(v4(100)), IpAddr::V6(v6(0x64)));
    let addresses = |vip: IpAddr| format!("  virtual_ipaddress {{\n    {vip}\n  }}\n");
    let same = |lines: &str, vip| {
        let text = format!("{lines}{}", addresses(vip));
        [text.clone(), text]
    };
    let password = "  version 2\n  advert_int 1\n  authentication {\n    auth_type PASS\n    auth_pass 42\n  }\n";
    let peers = |own: u8, other: u8| {
        let (own, other) = (v4(own), v4(other));
        let peer = format!("  unicast_src_ip {own}\n  unicast_peer {{\n    {other}\n  }}\n");
        format!("  version 3\n  advert_int 0.1\n{peer}{}", addresses(vip4))
    };
    vec![
        ("version 2, password", vip4, same(password, vip4)),
        ("version 3", vip4, same("  version 3\n  advert_int 0.1\n", vip4)),
        ("version 3, unicast", vip4, [peers(NODES[0], NODES[1]), peers(NODES[1], NODES[0])]),
        ("version 3, IPv6", vip6, same("  version 3\n  advert_int 0.1\n", vip6)),
    ]
}

pub(crate) fn mixed_groups_have_one_master() -> Result<(), Skipped> {
    need(&["ip", "nft", "keepalived"])?;
    for (way, vip, lines) in ways() {
        println!("  {way}");
        let mut pair = Pair::new([Baton, Keepalived], vip);
        pair.start(1, 100, &lines[1]);
        pair.until_master(1);
        // Baton takes it over from a living keepalived, which removes it by the same advert.
        pair.start(0, 150, &lines[0]);
        pair.until_master(0);
        // A graceful end is a matter of the skew time.
        let since = Instant::now();
        pair.terminate(0);
        pair.until_master(1);
        pair.never_two(since);
        assert_eq!(shell(&pair.hosts[0], "nft list tables"), "", "{}", pair.words());
        // keepalived is above now, and ends.
        pair.start(0, 50, &lines[0]);
        std::thread::sleep(Duration::from_millis(500));
        pair.until_master(1);
        pair.terminate(1);
        pair.until_master(0);
    }
    Ok(())
}

pub(crate) fn a_killed_master_is_silent_when_the_backup_takes_over() -> Result<(), Skipped> {
    need(&["ip", "keepalived"])?;
    let lines = format!("  version 3\n  advert_int 0.1\n  virtual_ipaddress {{\n    {}\n  }}\n", v4(100));
    let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
    pair.start(0, 150, &lines);
    pair.until_master(0);
    pair.start(1, 100, &lines);
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..3 {
        let since = Instant::now();
        pair.kill(0);
        // The original leaves the address behind; here it goes by itself, and nobody answers for it before.
        pair.until_master(1);
        pair.never_two(since);
        pair.start(0, 150, &lines);
        pair.until_master(0);
        let since = Instant::now();
        pair.signal(0, Signal::SIGSTOP);
        pair.until("keepalived takes over", || pair.observer.holder(pair.vip, Duration::from_millis(60)) == Some(2));
        pair.never_two(since);
        pair.signal(0, Signal::SIGCONT);
        pair.until_master(0);
    }
    Ok(())
}

pub(crate) fn a_partition_that_heals_leaves_one_master() -> Result<(), Skipped> {
    need(&["ip", "keepalived"])?;
    let lines = format!("  version 3\n  advert_int 0.1\n  virtual_ipaddress {{\n    {}\n  }}\n", v4(100));
    for priorities in [[150, 100], [100, 150]] {
        let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
        pair.start(0, priorities[0], &lines);
        pair.start(1, priorities[1], &lines);
        let winner = usize::from(priorities[1] > priorities[0]);
        pair.until_master(winner);
        pair.switch.set_part(&pair.ports[1], Part::Island).expect("it is cut off");
        pair.until("both are masters", || pair.has(0, pair.vip) && pair.has(1, pair.vip));
        pair.switch.set_part(&pair.ports[1], Part::Mainland).expect("it heals");
        pair.until_master(winner);
    }
    Ok(())
}

/// keepalived before 2.3.3 takes such an advert for none and becomes a second master.
pub(crate) fn an_address_added_on_one_side_makes_no_second_master() -> Result<(), Skipped> {
    need(&["ip", "keepalived"])?;
    let (first, second) = (v4(100), v4(101));
    let one = format!("  version 3\n  advert_int 0.1\n  virtual_ipaddress {{\n    {first}\n  }}\n");
    let two = format!("  version 3\n  advert_int 0.1\n  virtual_ipaddress {{\n    {first}\n    {second}\n  }}\n");
    for master in [Keepalived, Baton] {
        let mut pair = Pair::new([Baton, master], first.into());
        pair.start(1, 150, &one);
        pair.until_master(1);
        pair.start(0, 100, &one);
        std::thread::sleep(Duration::from_millis(500));
        let since = Instant::now();
        pair.write(1, 150, &two);
        pair.signal(1, Signal::SIGHUP);
        pair.until("the new address is there", || pair.has(1, second.into()));
        std::thread::sleep(Duration::from_secs(1));
        pair.until_master(1);
        pair.never_two(since);
        assert!(!pair.has(0, first.into()) && !pair.has(0, second.into()), "{}", pair.words());
        // Taken away again, the advert loop goes on.
        pair.write(1, 150, &one);
        pair.signal(1, Signal::SIGHUP);
        pair.until("the new address is gone", || !pair.has(1, second.into()));
        pair.until_master(1);
        pair.never_two(since);
    }
    Ok(())
}

/// A script without weight takes the node out, and what a change tells its scripts is what the original tells them.
pub(crate) fn scripts_move_the_address_and_are_told() -> Result<(), Skipped> {
    need(&["ip", "keepalived"])?;
    let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
    let directory = pair.hosts[0].directory().clone();
    let (good, told) = (directory.join("good"), directory.join("told"));
    fs::write(&good, "").expect("a file");
    let script = directory.join("told.sh");
    fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display())).expect("a script");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a script");
    let plain = format!("  version 3\n  advert_int 0.1\n  virtual_ipaddress {{\n    {}\n  }}\n", v4(100));
    let tracked = format!(
        "  track_script {{\n    good\n  }}\n  notify \"{} any\"\n  notify_master \"{} master\"\n{plain}",
        script.display(),
        script.display()
    );
    pair.heads[0] = format!(
        "global_defs {{\n  script_user root\n}}\nvrrp_script good {{\n  script \"/usr/bin/test -e {}\"\n  interval 1\n}}\n",
        good.display()
    );
    pair.start(1, 100, &plain);
    pair.until_master(1);
    pair.start(0, 150, &tracked);
    pair.until_master(0);
    fs::remove_file(&good).expect("it was there");
    pair.until_master(1);
    fs::write(&good, "").expect("a file");
    pair.until_master(0);
    pair.terminate(0);
    let told = fs::read_to_string(&told).unwrap_or_default();
    let last: Vec<&str> = told.lines().rev().take(3).collect();
    assert_eq!(last[0], "any INSTANCE lab STOP 150", "{told}\n{}", pair.words());
    for line in ["master", "any INSTANCE lab MASTER 150", "any INSTANCE lab FAULT 150"] {
        assert!(told.lines().any(|found| found == line), "{line} is missing in\n{told}\n{}", pair.words());
    }
    Ok(())
}

/// Both files in one process: no script, and the address goes when nobody can be served.
pub(crate) fn the_address_follows_the_balancer_of_its_process() -> Result<(), Skipped> {
    need(&["ip", "nft", "keepalived"])?;
    let mut pair = Pair::new([Baton, Keepalived], v4(100).into());
    let lines = format!("  version 3\n  advert_int 0.1\n  virtual_ipaddress {{\n    {}\n  }}\n", v4(100));
    // Others may run such tests: the pid file has a name of its own.
    pair.heads[0] = format!(
        "global_defs {{\n  instance lab{}\n}}\n",
        fs::metadata(pair.hosts[0].directory()).map_or(0, |m| std::os::unix::fs::MetadataExt::ino(&m))
    );
    let balancer = format!(
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 20s\n  timeout server 20s\nlisten lab\n  \
         bind {}:6443\n  server s1 127.0.0.1:7001 check inter 100ms fall 2 rise 1\n",
        v4(100)
    );
    let server = Backend::start(&pair.hosts[0], 7001, b'a').expect("a server");
    pair.start(1, 100, &lines);
    pair.until_master(1);
    pair.start_beside(0, 150, &lines, &balancer);
    pair.until_master(0);
    let since = Instant::now();
    drop(server);
    pair.until_master(1);
    pair.never_two(since);
    let _server = Backend::start(&pair.hosts[0], 7001, b'a').expect("a server");
    pair.until_master(0);
    let since = Instant::now();
    pair.terminate(0);
    pair.until_master(1);
    pair.never_two(since);
    assert_eq!(shell(&pair.hosts[0], "nft list tables"), "", "{}", pair.words());
    Ok(())
}
