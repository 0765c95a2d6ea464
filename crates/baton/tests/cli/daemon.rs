//! The daemon on the real kernel: one node in a network namespace with a veth pair.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use baton_core::settings::{Source, Vip};
use serde_json::Value;

use crate::harness::{BATON, Ran, baton, eventually, in_namespaces, tool};

const VIP: &str = "192.0.2.100";

/// A host with one link and places for one daemon.
struct Host {
    dir: tempfile::TempDir,
}

/// A daemon; killed when dropped.
struct Daemon {
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    fn new() -> Host {
        tool("ip link set lo up");
        tool("ip link add e0 type veth peer name e1");
        tool("ip link set e0 up");
        tool("ip link set e1 up");
        tool("ip addr add 192.0.2.1/24 dev e0");
        Host { dir: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, text: &str) {
        fs::write(self.dir.path().join("config.yaml"), text).expect("a file");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(BATON);
        command.args(["start", "-c", &self.path("config.yaml")]);
        command.args(["--run-dir", &self.path("run"), "--state-dir", &self.path("state")]);
        command
    }

    fn start(&self) -> Daemon {
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a file");
        Daemon { child: self.command().stdin(Stdio::null()).stderr(log).spawn().expect("it runs") }
    }

    fn status(&self) -> Option<Value> {
        let ran = baton(&["status", "--json", "--run-dir", &self.path("run")]);
        if ran.code == 0 { Some(serde_json::from_str(&ran.out).expect("JSON")) } else { None }
    }

    fn until_held(&self) -> Value {
        let held = || self.status().filter(|d| d["addresses"][0]["role"] == "holder");
        eventually(&format!("holding ({})", self.log()), held)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn cleanup(&self, more: &[&str]) -> Ran {
        let (run, state) = (self.path("run"), self.path("state"));
        let mut args = vec!["cleanup", "--run-dir", &run, "--state-dir", &state];
        args.extend(more);
        baton(&args)
    }
}

fn signal(daemon: &Daemon, name: &str) {
    tool(&format!("kill -{name} {}", daemon.child.id()));
}

fn ended(daemon: &mut Daemon) -> i32 {
    let code = eventually("the end of the daemon", || daemon.child.try_wait().expect("it is ours"));
    code.code().unwrap_or(-1)
}

fn addresses() -> String {
    tool("ip -j addr show dev e0")
}

fn tables() -> String {
    tool("nft list tables")
}

/// One node that holds at once, with a listener that has a backend of its own.
fn single(more: &str) -> String {
    format!("vip: {VIP}\ninterface: e0\nsingleNode: true\ngratuitousARP: true\n{more}")
}

#[test]
fn a_refused_configuration_changes_nothing() {
    if !in_namespaces("daemon::a_refused_configuration_changes_nothing") {
        return;
    }
    let host = Host::new();
    host.write("vip: 192.0.2.100\ninterface: e9\nsingleNode: true\n");
    let ran = Ran::from(host.command().output().expect("it runs"));
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("config.yaml:2:12: interface: "), "{ran:?}");
    let peers = "vip: 192.0.2.100\ninterface: e0\nlocalPeer: {id: a, address: 192.0.2.1, port: 10000}\n\
                 remotePeers: [{id: b, address: 192.0.2.2, port: 10000}, {id: c, address: 192.0.2.3, port: 10000}]\n";
    host.write(peers);
    let taken = std::net::UdpSocket::bind("192.0.2.1:10000").expect("free");
    let ran = Ran::from(host.command().output().expect("it runs"));
    drop(taken);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("config.yaml:3:") && ran.err.contains("in use"), "{ran:?}");
    assert_eq!(tables(), "", "no table was made");
    assert!(!host.dir.path().join("state").exists() && !host.dir.path().join("run").exists());
}

#[test]
fn held_shown_reloaded_and_left() {
    if !in_namespaces("daemon::held_shown_reloaded_and_left") {
        return;
    }
    let host = Host::new();
    host.write(&single("admin: 127.0.0.1:9470\n"));
    let mut daemon = host.start();
    let document = host.until_held();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["addresses"][0]["guarantee"], "single-node");
    assert!(addresses().contains(VIP));
    let process = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).expect("it runs");
    let effective = process.lines().find_map(|l| l.strip_prefix("CapEff:\t")).expect("the kernel says so");
    // NET_BIND_SERVICE, NET_ADMIN, NET_RAW, IPC_LOCK, SYS_NICE.
    assert_eq!(u64::from_str_radix(effective, 16).expect("a number") & !0x80_7400, 0, "{effective}");
    let table = baton(&["status", "--run-dir", &host.path("run")]);
    assert!(table.out.contains("holder") && table.out.contains(VIP), "{table:?}");

    let metrics = tool("curl -s -i http://127.0.0.1:9470/metrics");
    assert!(metrics.contains("content-type: application/openmetrics-text"), "{metrics}");
    assert!(metrics.contains("baton_address_held{address=\"192.0.2.100\",interface=\"e0\"} 1.0"), "{metrics}");
    for probe in ["healthz", "livez", "readyz"] {
        assert_eq!(tool(&format!("curl -s -f http://127.0.0.1:9470/{probe}")), "ok\n");
    }

    host.write("vip: nonsense\n");
    signal(&daemon, "HUP");
    let refused = || host.status().filter(|d| d["warnings"].to_string().contains("refused"));
    let document = eventually("the refusal is shown", refused);
    assert_eq!(document["addresses"][0]["role"], "holder", "and changes nothing");
    assert!(host.log().contains("config.yaml:1:6: vip: "), "{}", host.log());

    host.write(&single("vips: [{address: 192.0.2.101}]\n"));
    signal(&daemon, "HUP");
    eventually("the second address", || addresses().contains("192.0.2.101").then_some(()));
    let document = host.status().expect("it runs");
    assert!(!document["warnings"].to_string().contains("refused"), "{document}");
    let first = document["addresses"].as_array().expect("a list").iter().find(|a| a["address"] == VIP).expect("kept");
    assert_eq!(first["gains"], 1, "the first address did not move: {document}");

    let second = host.cleanup(&[]);
    assert_eq!((second.code, second.err.contains("stop it first")), (2, true), "{second:?}");
    signal(&daemon, "TERM");
    assert_eq!(ended(&mut daemon), 0, "{}", host.log());
    assert!(!addresses().contains(VIP), "{}", addresses());
    assert!(!tables().contains("netdev"), "only the markers stay: {}", tables());
    assert_eq!(fs::read_dir(host.dir.path().join("run")).expect("a directory").count(), 0);
    assert!(host.log().contains("INFO  holding 192.0.2.100: "), "{}", host.log());
    assert!(host.log().contains("INFO  gave up 192.0.2.100: stopping (held it "), "{}", host.log());
}

#[test]
fn what_a_killed_instance_left_is_cleaned_up() {
    if !in_namespaces("daemon::what_a_killed_instance_left_is_cleaned_up") {
        return;
    }
    let host = Host::new();
    assert!(host.cleanup(&[]).out.contains("nothing was left"));
    host.write(&single(""));
    let mut daemon = host.start();
    host.until_held();
    signal(&daemon, "KILL");
    ended(&mut daemon);
    assert!(addresses().contains(VIP));
    let dead = baton(&["status", "--run-dir", &host.path("run")]);
    assert_eq!((dead.code, dead.err.contains("has died")), (1, true), "{dead:?}");
    let ran = host.cleanup(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains(&format!("removed address {VIP}/32 on e0\n")), "{ran:?}");
    assert!(!addresses().contains(VIP) && addresses().contains("192.0.2.1\""), "{}", addresses());
    assert!(!tables().contains("netdev"), "{}", tables());
    assert!(host.dir.path().join("state/markers").exists(), "the markers stay");
    let ran = host.cleanup(&["--markers"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(tables(), "", "now they are gone too");
    assert!(!host.dir.path().join("state/markers").exists());
    assert!(host.cleanup(&["--markers"]).out.contains("nothing was left"));
}

/// What the planner does when the keeper's thread is gone: here the whole process is, which leaves the same behind.
#[test]
fn what_a_lost_keeper_held_is_withdrawn() {
    if !in_namespaces("daemon::what_a_lost_keeper_held_is_withdrawn") {
        return;
    }
    let host = Host::new();
    host.write(&single(""));
    let mut daemon = host.start();
    host.until_held();
    signal(&daemon, "KILL");
    ended(&mut daemon);
    assert!(addresses().contains(VIP) && tables().contains("netdev baton-e0"));
    let address = VIP.parse().expect("an address");
    let vips = [Vip { address, prefix: 32, interface: "e0".into(), priority: 100, source: Source::Peers }];
    assert_eq!(baton::kernel::withdraw(&Default::default(), &vips, true), Vec::<String>::new());
    assert!(!addresses().contains(VIP) && addresses().contains("192.0.2.1\""), "{}", addresses());
    assert!(!tables().contains("netdev"), "{}", tables());
}

#[test]
fn a_second_instance_runs_without_a_socket_and_json_lines_are_json() {
    if !in_namespaces("daemon::a_second_instance_runs_without_a_socket_and_json_lines_are_json") {
        return;
    }
    let host = Host::new();
    host.write(&single(""));
    let _daemon = host.start();
    let first = host.until_held();
    let other = Host { dir: tempfile::tempdir().expect("a directory") };
    // The tables of e0 belong to the first one.
    other.write("vip: 192.0.2.102\ninterface: e0\nsingleNode: true\nfence: off\n");
    let mut command = other.command();
    let log = fs::File::create(other.dir.path().join("log")).expect("a file");
    command.args(["--run-dir", &host.path("run"), "--log-format", "json"]).stderr(log);
    let mut second = Daemon { child: command.spawn().expect("it runs") };
    eventually("the second address", || addresses().contains("192.0.2.102").then_some(()));
    assert_eq!(host.status().expect("the first answers")["pid"], first["pid"]);
    signal(&second, "INT");
    assert_eq!(ended(&mut second), 0, "{}", other.log());
    assert!(host.status().is_some(), "the first one's socket is still there");
    let lines: Vec<Value> = other.log().lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(lines.iter().any(|l| l["level"] == "WARN" && l["message"].to_string().contains("no control socket")));
    let gained = lines.iter().find(|l| l["event"] == "gained").expect("a gain");
    assert_eq!(gained["vip"], "192.0.2.102");
    assert!(gained["took_ms"].is_number() && gained["reason"].is_string(), "{gained}");
}

/// Connects and reads to the end; an error counts as nothing read.
fn fetch(address: &str) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = stream.read_to_string(&mut text);
    }
    text
}

#[test]
fn balancers_serve_and_show_their_backends() {
    if !in_namespaces("daemon::balancers_serve_and_show_their_backends") {
        return;
    }
    let host = Host::new();
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = backend.local_addr().expect("bound").port();
    let taken = TcpListener::bind("0.0.0.0:6444").expect("free");
    let check = "check: {type: tcp, interval: 100ms, timeout: 100ms, rise: 1, fall: 1}";
    host.write(&single(&format!(
        "loadBalancers:\n\
         - {{name: api, type: tcp, port: 6443, bindToVip: true, backends: [{{address: 127.0.0.1, port: {port}, {check}}}]}}\n\
         - {{name: other, type: tcp, port: 6444, bindToVip: false, backends: [{{address: 127.0.0.1, port: {port}}}]}}\n"
    )));
    let _daemon = host.start();
    let served = std::thread::spawn(move || {
        for stream in backend.incoming().take_while(|s| s.is_ok()).flatten() {
            let mut stream = stream;
            // Checks connect and leave; the one that says stop is the test.
            let mut word = [0; 4];
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.write_all(b"hello");
            if stream.read(&mut word).is_ok_and(|n| &word[..n] == b"stop") {
                break;
            }
        }
    });
    host.until_held();
    eventually("the balancer answers", || (fetch("192.0.2.100:6443") == "hello").then_some(()));
    let of = |d: &Value, i: usize| d["balancers"][i].clone();
    let up = || host.status().filter(|d| of(d, 0)["backends"][0]["state"] == "up");
    let document = eventually("the backend is up", up);
    assert!(of(&document, 0)["backends"][0]["connections"].as_u64() >= Some(1), "{document}");
    let error = of(&document, 1)["listeners"][0]["error"].to_string();
    assert!(error.contains("in use"), "{document}");
    drop(taken);
    eventually("the other listener", || (fetch("192.0.2.1:6444") == "hello").then_some(()));

    let mut last = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    last.write_all(b"stop").expect("sent");
    served.join().expect("no panic");
    let down = || host.status().filter(|d| of(d, 0)["backends"][0]["state"] == "down");
    let document = eventually("the backend is down", down);
    assert!(of(&document, 0)["backends"][0]["why"].to_string().contains("refused"), "{document}");
    eventually("the address is not served", || host.status().filter(|d| d["addresses"][0]["healthy"] == false));
    let began = Instant::now();
    assert_eq!(fetch("192.0.2.100:6443"), "");
    assert!(began.elapsed() < Duration::from_secs(1), "refused at once");
    assert_eq!(host.status().expect("it runs")["addresses"][0]["role"], "holder", "nobody else could do better");
    assert!(host.log().contains("WARN  backend api/127.0.0.1:"), "{}", host.log());
}

#[test]
fn started_as_kube_vip_by_environment_alone() {
    if !in_namespaces("daemon::started_as_kube_vip_by_environment_alone") {
        return;
    }
    let host = Host::new();
    // It has no options for these directories.
    tool("mount -t tmpfs none /run");
    tool("mount -t tmpfs none /var/lib");
    let mut command = Command::new(BATON);
    command.args(["/kube-vip", "start", "--log", "5"]).stdin(Stdio::null());
    command.envs([("vip_interface", "e0"), ("vip_address", VIP), ("vip_singlenode", "true"), ("vip_arp", "true")]);
    let log = fs::File::create(host.dir.path().join("log")).expect("a file");
    let mut daemon = Daemon { child: command.stderr(log).spawn().expect("it runs") };
    let held = || {
        let ran = baton(&["status", "--json"]);
        serde_json::from_str::<Value>(&ran.out).ok().filter(|d| d["addresses"][0]["role"] == "holder")
    };
    eventually(&format!("holding ({})", host.log()), held);
    assert!(fs::metadata("/var/lib/baton/markers").is_ok());
    signal(&daemon, "TERM");
    assert_eq!(ended(&mut daemon), 0, "{}", host.log());
    assert!(host.log().contains("DEBUG"), "kube-vip's 5: {}", host.log());
}

#[test]
fn a_voter_list_is_changed_without_a_restart() {
    if !in_namespaces("daemon::a_voter_list_is_changed_without_a_restart") {
        return;
    }
    let host = Host::new();
    let peers = |more: &str| {
        let local = "localPeer: {id: a, address: 192.0.2.1, port: 10000}";
        host.write(&format!(
            "vip: {VIP}\ninterface: e0\nstartAsLeader: true\n{local}\n\
             remotePeers: [{{id: b, address: 192.0.2.2, port: 10000}}, {{id: c, address: 192.0.2.3, port: 10000}}{more}]\n"
        ));
    };
    peers("");
    let mut daemon = host.start();
    let document = host.until_held();
    assert_eq!((&document["voters"], &document["addresses"][0]["guarantee"]), (&3.into(), &"alone".into()));
    let warnings = document["warnings"].to_string();
    assert!(warnings.contains("outside the guarantee") && warnings.contains("UDP port 10000"), "{warnings}");
    assert_eq!(document["ready"], false, "nobody else is there");
    peers(", {id: d, address: 192.0.2.4, port: 10000}, {id: e, address: 192.0.2.5, port: 10001}");
    signal(&daemon, "HUP");
    eventually("five voters", || {
        host.status().filter(|d| d["voters"] == 5 && d["peers"].as_array().map(Vec::len) == Some(4))
    });
    assert!(host.log().contains("SIGHUP: the new configuration takes effect"), "{}", host.log());
    signal(&daemon, "HUP");
    eventually("nothing to do", || host.log().contains("SIGHUP: the configuration is the same").then_some(()));
    signal(&daemon, "TERM");
    assert_eq!(ended(&mut daemon), 0, "{}", host.log());
    assert!(!addresses().contains(VIP));
}
