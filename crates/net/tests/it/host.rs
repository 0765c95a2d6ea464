//! Two hosts joined by a wire, for one test: this process is host `a`, a second network namespace is host `b`.

use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use baton_core::settings::{Source, Vip};
use baton_net::gate::Gates;

/// Set in the process that runs a test inside of its namespaces.
const INSIDE: &str = "BATON_NET_TEST_INSIDE";

/// Runs the body of the test `name` in a user, network and mount namespace of its own. A namespace cannot be entered
/// with threads around, so the test binary runs itself again for this one test.
pub(crate) fn inside(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    for tool in ["ip", "nft", "ping", "arping", "ndisc6", "nsenter", "unshare"] {
        if !succeeds(&format!("command -v {tool}")) {
            assert!(std::env::var_os("CI").is_none(), "{tool} is missing");
            eprintln!("SKIPPED {name}: {tool} is missing");
            return;
        }
    }
    let executable = std::env::current_exe().expect("a test has an executable");
    let output = Command::new("unshare")
        .args(["-Urnm", "--"])
        .arg(executable)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is part of util-linux");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if text.contains("SKIPPED") {
        eprintln!("{text}");
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Two hosts joined by a wire: `e0` on both, 10.7.0.1 and fd07::1 here, .2 and ::2 there.
pub(crate) struct Wire {
    other: Child,
}

impl Wire {
    pub(crate) fn new() -> Wire {
        let other = Command::new("unshare")
            .args(["-n", "--", "sh", "-c", "echo; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut wire = Wire { other };
        let mut line = [0; 1];
        std::io::Read::read_exact(wire.other.stdout.as_mut().expect("piped"), &mut line)
            .expect("the namespace is there");
        run("ip link set lo up");
        wire.there("ip link set lo up");
        wire.join();
        wire
    }

    /// Makes the wire, at first and after it was cut out. Addresses are without duplicate address detection: tests do not
    /// wait for it. The ends have different indexes: the kernel would take the link for one without a lower one, and tell
    /// of its carrier with a delay.
    pub(crate) fn join(&self) {
        for step in [
            format!("ip link add e0 index 77 type veth peer name e0 netns {}", self.other.id()),
            "ip addr add 10.7.0.1/24 dev e0".to_owned(),
            "ip addr add fd07::1/64 dev e0 nodad".to_owned(),
            "ip link set e0 address 02:00:00:00:00:0a up".to_owned(),
        ] {
            run(&step);
        }
        for step in [
            "ip addr add 10.7.0.2/24 dev e0",
            "ip addr add fd07::2/64 dev e0 nodad",
            "ip link set e0 address 02:00:00:00:00:0b up",
        ] {
            self.there(step);
        }
        let start = Instant::now();
        while !(run("ip link show e0").contains("state UP") && self.there("ip link show e0").contains("state UP")) {
            assert!(start.elapsed() < ms(5_000), "the wire does not come up");
            sleep(ms(5));
        }
    }

    /// Runs a command on the other host; its output.
    pub(crate) fn there(&self, command: &str) -> String {
        finish(&self.command(command).output().expect("nsenter runs"), command)
    }

    /// Whether a command on the other host succeeds.
    pub(crate) fn succeeds_there(&self, command: &str) -> bool {
        self.command(command).output().expect("nsenter runs").status.success()
    }

    /// A command on the other host.
    pub(crate) fn command(&self, command: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &self.other.id().to_string(), "-n", "--", "sh", "-c", command]);
        nsenter
    }

    /// A process of the other host, for `ip link … netns`.
    pub(crate) fn pid(&self) -> u32 {
        self.other.id()
    }

    /// The network namespace of the other host, as a file.
    pub(crate) fn namespace(&self) -> std::fs::File {
        std::fs::File::open(format!("/proc/{}/ns/net", self.other.id())).expect("the other host lives")
    }

    /// The other host reaches an address; it asks anew who has it.
    pub(crate) fn reaches(&self, address: &str) -> bool {
        self.there("ip neigh flush dev e0");
        self.pings(address)
    }

    /// The other host reaches an address with what it knows about its neighbours.
    pub(crate) fn pings(&self, address: &str) -> bool {
        self.succeeds_there(&format!("ping -c1 -W0.3 {address}"))
    }

    /// Somebody answers the other host's question who has an address.
    pub(crate) fn is_answered(&self, address: &str) -> bool {
        if address.contains(':') {
            self.succeeds_there(&format!("ndisc6 -1 -r1 -w200 {address} e0"))
        } else {
            self.succeeds_there(&format!("arping -c1 -w1 -I e0 {address}"))
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.other.kill();
        let _ = self.other.wait();
    }
}

/// Runs a command here; its output.
pub(crate) fn run(command: &str) -> String {
    finish(&Command::new("sh").args(["-c", command]).output().expect("sh runs"), command)
}

fn finish(output: &Output, command: &str) -> String {
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a command succeeds here.
pub(crate) fn succeeds(command: &str) -> bool {
    Command::new("sh").args(["-c", command]).output().expect("sh runs").status.success()
}

pub(crate) fn vip(address: &str) -> Vip {
    let address: IpAddr = address.parse().expect("an address");
    Vip {
        address,
        prefix: if address.is_ipv4() { 32 } else { 128 },
        interface: "e0".to_owned(),
        priority: 100,
        source: Source::Peers,
    }
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Addresses whose gates are open, with the time left.
pub(crate) fn open_gates() -> Vec<(IpAddr, Duration)> {
    Gates::open(true).unwrap().open_gates()
}
