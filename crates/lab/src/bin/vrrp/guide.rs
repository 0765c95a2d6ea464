//! The set-up of kubeadm's guide: `keepalived.conf` with `check_apiserver.sh`, `haproxy.cfg`, API servers that speak TLS.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use baton_lab::client::Client;
use baton_lab::dice::Dice;
use baton_lab::figures::{Figures, Row, time};
use baton_lab::host::{Host, gone};
use baton_lab::lab::{INTERFACE, Switch, v4};
use baton_lab::observer::Observer;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Args;
use crate::faults::SECOND;

const VIP: u8 = 100;
/// Where clients ask, and where API servers listen.
const FRONT: u16 = 8443;
const BEHIND: u16 = 6443;
const CLIENT: u8 = 10;
/// Between two connections of the client.
const PACE: Duration = Duration::from_millis(20);
/// The check of the guide takes half a minute, and as long again to be content.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long one looks whether a server that is not well is still asked.
const LOOK: Duration = Duration::from_secs(15);

/// Who keeps the address of a node, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Original,
    Unchanged,
    Fixed,
    /// `baton run` with both files.
    Together,
}

/// A node: what runs there.
struct Node {
    api: Option<Pid>,
    balancer: Option<Pid>,
    host: Host,
}

struct Guide {
    _client: Client,
    _client_host: Host,
    observer: Observer,
    nodes: Vec<Node>,
    _switch: Switch,
    way: Way,
}

impl Guide {
    /// Two nodes with everything of the guide.
    fn start(args: &Args, way: Way) -> io::Result<Guide> {
        let switch = Switch::new()?;
        let vip = IpAddr::V4(v4(VIP));
        let observer = Observer::start(&[vip])?;
        let mut nodes = Vec::new();
        for number in [1, 2] {
            let host = Host::new(&format!("guide{number}"))?;
            let _ = fs::remove_dir_all(host.directory());
            fs::create_dir_all(host.directory())?;
            let port = switch.connect(&host, INTERFACE, number)?;
            observer.watch(&switch, &port, number)?;
            let api = Some(api_server(&host, number)?);
            nodes.push(Node { api, balancer: None, host });
        }
        for (node, number) in nodes.iter_mut().zip([1, 2]) {
            let directory = node.host.directory().clone();
            let servers: &[u8] = if way == Way::Together { &[number] } else { &[1, 2] };
            fs::write(directory.join("haproxy.cfg"), haproxy_cfg(&directory, servers))?;
            fs::write(directory.join("keepalived.conf"), keepalived_conf(&directory, number))?;
            let script = directory.join("check_apiserver.sh");
            fs::write(&script, check_script())?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
            if way == Way::Fixed {
                fix(args, &directory.join("keepalived.conf"))?;
            }
            if way != Way::Together {
                node.balancer = Some(balancer(&node.host, None)?);
            }
            keeper(args, &node.host, way)?;
        }
        let client_host = Host::new("gclient")?;
        switch.connect(&client_host, INTERFACE, CLIENT)?;
        let client = Client::start(&client_host, SocketAddr::new(vip, FRONT), PACE)?;
        let guide = Guide { _client: client, _client_host: client_host, observer, nodes, _switch: switch, way };
        guide.wait_for(1)?;
        Ok(guide)
    }

    /// Waits until node `number` alone answers.
    fn wait_for(&self, number: u8) -> io::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.observer.holder(v4(VIP).into(), Duration::from_millis(50)) == Some(number) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let words: Vec<String> = self.nodes.iter().map(|node| last_words(&node.host)).collect();
        Err(io::Error::other(format!("node {number} does not get the address:\n{}", words.join("\n---\n"))))
    }

    /// The first node cannot serve any more: how long until the other answers.
    fn trial(&mut self, dice: &mut Dice) -> io::Result<Duration> {
        // Checks that have to agree have done so.
        thread::sleep(SECOND + dice.time(SECOND * 3));
        let together = self.way == Way::Together;
        let node = &mut self.nodes[0];
        let victim = if together { &mut node.api } else { &mut node.balancer };
        let from = Instant::now();
        if let Some(pid) = victim.take() {
            kill(pid, Signal::SIGKILL)?;
            while !gone(pid) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.wait_for(2)?;
        let samples = self.observer.samples(v4(VIP).into(), from, Instant::now());
        let first = samples.iter().find(|sample| sample.has(2)).map(|sample| sample.at - from);
        let node = &mut self.nodes[0];
        if together {
            node.api = Some(api_server(&node.host, 1)?);
        } else {
            node.balancer = Some(balancer(&node.host, None)?);
        }
        self.wait_for(1)?;
        first.ok_or_else(|| io::Error::other("the other node answered, and was not seen"))
    }
}

/// The check of the guide begins to fail on the master.
pub(crate) fn check_fails(args: &Args, dice: &mut Dice) -> io::Result<Vec<Row>> {
    let few = args.runs.min(10);
    let ways = [(Way::Original, args.slow), (Way::Unchanged, args.slow), (Way::Fixed, few), (Way::Together, few)];
    let mut texts = Vec::new();
    for (way, runs) in ways {
        let mut figures = Figures::default();
        if runs > 0 {
            let mut guide = Guide::start(args, way)?;
            for _ in 0..runs {
                figures.add(guide.trial(dice)?);
                eprintln!("guide: {}", figures.text());
            }
        }
        texts.push(figures.text());
    }
    let mut texts = texts.into_iter();
    let theirs = texts.next().unwrap_or_default();
    let row = |what: &str, must: &str, text: Option<String>| {
        let what = format!("kubeadm's guide, {what}: address moved");
        Row::new(&what, must, text.unwrap_or_default(), theirs.clone())
    };
    Ok(vec![
        row("the master's check begins to fail, files as they are", "≤ keepalived's", texts.next()),
        row("the same after `baton check --fix`", "≤ 1.5 s", texts.next()),
        row("`baton run`, its own balancer cannot serve", "≤ 1.2 s", texts.next()),
    ])
}

/// One of two API servers answers, and says that it is not healthy: how long it is asked.
pub(crate) fn health_fails(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let runs = args.slow.max(1);
    let mut all = [Figures::default(), Figures::default()];
    for _ in 0..runs {
        for (place, fixed) in [true, false].into_iter().enumerate() {
            if let Some(time) = asked_for(args, fixed)? {
                all[place].add(time);
            }
        }
        eprintln!("healthz: {} against {}", all[0].text(), all[1].text());
    }
    let text = |figures: &Figures| match runs - figures.count() {
        0 => figures.text(),
        never => format!("in {never} of {runs} runs still after {}", time(LOOK)),
    };
    let what = "kubeadm's guide, an API server answers and fails /healthz: requests reach it (Baton: after `--fix`)";
    Ok(vec![Row::new(what, "≤ 3.5 s", text(&all[0]), text(&all[1]))])
}

/// How long connections still reach a server that says that it is not healthy; `None`: as long as one looks.
fn asked_for(args: &Args, fixed: bool) -> io::Result<Option<Duration>> {
    let switch = Switch::new()?;
    let hosts = [1, 2].map(|number| -> io::Result<Host> {
        let host = Host::new(&format!("guide{number}"))?;
        let _ = fs::remove_dir_all(host.directory());
        fs::create_dir_all(host.directory())?;
        switch.connect(&host, INTERFACE, number)?;
        api_server(&host, number)?;
        Ok(host)
    });
    let [first, second] = hosts;
    let (first, second) = (first?, second?);
    let directory = first.directory().clone();
    let file = directory.join("haproxy.cfg");
    fs::write(&file, haproxy_cfg(&directory, &[1, 2]))?;
    if fixed {
        fix(args, &file)?;
    }
    balancer(&first, fixed.then_some(args.baton.as_path()))?;
    let client_host = Host::new("gclient")?;
    switch.connect(&client_host, INTERFACE, CLIENT)?;
    let _client = Client::start(&client_host, SocketAddr::from((v4(1), FRONT)), PACE)?;
    let socket = directory.join("balancer.sock");
    let begin = Instant::now();
    while sessions(&socket).unwrap_or_default() < 20 {
        if begin.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("the balancer does not serve:\n{}", last_words(&first))));
        }
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(SECOND * 3);
    ask(&second.directory().join("api.sock"), "disable server healthy/self")?;
    let from = Instant::now();
    let (mut last, mut count) = (Duration::ZERO, sessions(&socket)?);
    while from.elapsed() < LOOK {
        thread::sleep(Duration::from_millis(20));
        let now = sessions(&socket)?;
        if now > count {
            (last, count) = (from.elapsed(), now);
        }
    }
    Ok((last + SECOND < LOOK).then_some(last))
}

/// Connections that the balancer behind `socket` has sent to the second server.
fn sessions(socket: &Path) -> io::Result<u64> {
    let table = ask(socket, "show stat")?;
    let row = table.lines().find(|line| line.starts_with("apiserver,api2,"));
    let count = row.and_then(|row| row.split(',').nth(7)?.parse().ok());
    count.ok_or_else(|| io::Error::other(format!("no figures of the server in\n{table}")))
}

/// A command of a runtime socket.
fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Starts a program on a host; what it says goes to the host's log.
fn spawn(host: &Host, mut command: Command) -> io::Result<Pid> {
    let log = fs::File::options().create(true).append(true).open(host.directory().join("log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    host.spawn(command)
}

fn last_words(host: &Host) -> String {
    let text = fs::read_to_string(host.directory().join("log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// What a program that is no daemon says; its failure is one.
fn done(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

fn fix(args: &Args, file: &PathBuf) -> io::Result<()> {
    done(Command::new(&args.baton).args(["check", "--elsewhere", "--fix"]).arg(file))
}

/// Something that speaks TLS and answers `/healthz`, until it is told that it is not healthy.
fn api_server(host: &Host, number: u8) -> io::Result<Pid> {
    let directory = host.directory().display().to_string();
    let certificate = format!("{directory}/api.pem");
    if !Path::new(&certificate).exists() {
        let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=api -out";
        let key = format!("{directory}/api.key");
        done(Command::new("openssl").args(words.split(' ')).arg(&certificate).arg("-keyout").arg(&key))?;
        let both = fs::read_to_string(&certificate)? + &fs::read_to_string(key)?;
        fs::write(&certificate, both)?;
    }
    let text = format!(
        "global\n  stats socket {directory}/api.sock level admin\ndefaults\n  mode http\n  timeout connect 5s\n  \
         timeout client 20s\n  timeout server 20s\nfrontend api\n  bind {}:{BEHIND} ssl crt {certificate}\n  \
         http-request return status 500 if {{ path /healthz }} {{ nbsrv(healthy) eq 0 }}\n  http-request return status 200\n\
         backend healthy\n  server self 127.0.0.1:1\n",
        v4(number)
    );
    let file = host.directory().join("api.cfg");
    fs::write(&file, text)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    spawn(host, command)
}

/// haproxy, or Baton in its place.
fn balancer(host: &Host, baton: Option<&Path>) -> io::Result<Pid> {
    let mut command = baton.map_or_else(|| Command::new("haproxy"), Command::new);
    command.args(baton.map(|_| "haproxy")).arg("-db").arg("-f").arg(host.directory().join("haproxy.cfg"));
    spawn(host, command)
}

fn keeper(args: &Args, host: &Host, way: Way) -> io::Result<Pid> {
    let directory = host.directory();
    let file = directory.join("keepalived.conf");
    let mut command = Command::new(if way == Way::Original { Path::new("keepalived") } else { &args.baton });
    if way == Way::Together {
        command.arg("run").arg(file).arg(directory.join("haproxy.cfg"));
        return spawn(host, command);
    }
    command.args((way != Way::Original).then_some("keepalived"));
    command.args(["--dont-fork", "--log-console", "--vrrp", "-f"]).arg(file);
    command.arg("-p").arg(directory.join("keeper.pid")).arg("-r").arg(directory.join("vrrp.pid"));
    spawn(host, command)
}

/// The guide's file, with two places filled in: the balancer's runtime socket, and which API servers there are.
fn haproxy_cfg(directory: &Path, servers: &[u8]) -> String {
    let server = |number: &u8| format!("    server api{number} {}:{BEHIND} check\n", v4(*number));
    format!(
        "global\n    log /dev/log local0\n    log /dev/log local1 notice\n    daemon\n    stats socket {}/balancer.sock level admin\n\
         defaults\n    mode http\n    log global\n    option httplog\n    option dontlognull\n    \
         option http-server-close\n    option forwardfor except 127.0.0.0/8\n    option redispatch\n    retries 1\n    \
         timeout http-request 10s\n    timeout queue 20s\n    timeout connect 5s\n    timeout client 20s\n    \
         timeout server 20s\n    timeout http-keep-alive 10s\n    timeout check 10s\n\
         frontend apiserver\n    bind *:{FRONT}\n    mode tcp\n    option tcplog\n    default_backend apiserver\n\
         backend apiserver\n    option httpchk GET /healthz\n    http-check expect status 200\n    mode tcp\n    \
         option ssl-hello-chk\n    balance roundrobin\n{}",
        directory.display(),
        servers.iter().map(server).collect::<String>()
    )
}

/// The guide's file; the lab has no other user than root, and names the instance for its pid files.
fn keepalived_conf(directory: &Path, number: u8) -> String {
    let (state, priority) = if number == 1 { ("MASTER", 101) } else { ("BACKUP", 100) };
    format!(
        "! Configuration File for keepalived\nglobal_defs {{\n    router_id LVS_DEVEL\n    script_user root\n    \
         instance guide{number}x{}\n}}\nvrrp_script check_apiserver {{\n  script \"{}/check_apiserver.sh\"\n  \
         interval 3\n  weight -2\n  fall 10\n  rise 2\n}}\n\nvrrp_instance VI_1 {{\n    state {state}\n    \
         interface {INTERFACE}\n    virtual_router_id 51\n    priority {priority}\n    authentication {{\n        \
         auth_type PASS\n        auth_pass 42\n    }}\n    virtual_ipaddress {{\n        {}\n    }}\n    track_script {{\n        \
         check_apiserver\n    }}\n}}\n",
        std::process::id(),
        directory.display(),
        v4(VIP)
    )
}

fn check_script() -> String {
    let (vip, port) = (v4(VIP), FRONT);
    format!(
        "#!/bin/sh\n\nerrorExit() {{\n    echo \"*** $*\" 1>&2\n    exit 1\n}}\n\n\
         curl --silent --max-time 2 --insecure https://localhost:{port}/ -o /dev/null || errorExit \"Error GET https://localhost:{port}/\"\n\
         if ip addr | grep -q {vip}; then\n    \
         curl --silent --max-time 2 --insecure https://{vip}:{port}/ -o /dev/null || errorExit \"Error GET https://{vip}:{port}/\"\nfi\n"
    )
}
