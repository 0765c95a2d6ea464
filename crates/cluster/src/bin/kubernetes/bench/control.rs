//! Faults of the node that has the control plane's address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use baton_cluster::announcements::{Announcements, lease_time};
use baton_cluster::cluster::NODE_PORT;
use baton_cluster::daemon::{Access, Daemon};
use baton_cluster::probe::Probe;
use baton_cluster::programs::Programs;
use baton_cluster::{Cluster, Plan};
use baton_lab::client::{Client, INTERVAL, TIMEOUT};
use baton_lab::figures::{Figures, time};
use baton_lab::lab::Part;
use nix::sys::signal::Signal;

use super::Args;
use super::figures::Row;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const PATIENCE: Duration = Duration::from_secs(60);
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/plndr-cp-lock";

fn late(what: &str, cluster: &Cluster) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what}\n{}", cluster.words()))
}

/// A cluster under measurement.
struct Subject {
    cluster: Cluster,
    client: Client,
    announcements: Announcements,
    /// Lease duration.
    lease: Duration,
    /// The next pause before a fault; faults shall meet every phase of renewals.
    phase: Duration,
}

/// What one fault brought.
struct Trial {
    outage: Duration,
    two: Duration,
    /// From the record that says who leads to the first gratuitous ARP.
    announced: Option<Duration>,
}

impl Subject {
    fn start(args: &Args, timing: &str, lease: u64) -> io::Result<Subject> {
        let plan = Plan { pods: false, ..Plan::new(vec![VIP.into()]) };
        let mut cluster = Cluster::start(plan, Programs::find().map_err(io::Error::other)?)?;
        let line = format!("manager --interface eth0 --address {VIP} --controlplane --arp --leaderElection {timing}");
        for place in 0..cluster.size() {
            cluster.deploy(place, Daemon::new(&args.baton, &line, Access::AdminConf))?;
        }
        let client = Client::start(cluster.client(), SocketAddr::from((VIP, NODE_PORT)), INTERVAL)?;
        let announcements = Announcements::listen(cluster.client())?;
        let (lease, phase) = (Duration::from_secs(lease), Duration::ZERO);
        let subject = Subject { cluster, client, announcements, lease, phase };
        subject.holder(None)?;
        subject.well()?;
        Ok(subject)
    }

    /// Waits until a node other than `old` answers.
    fn holder(&self, old: Option<usize>) -> io::Result<usize> {
        let from = Instant::now();
        while from.elapsed() < PATIENCE {
            let number = self.cluster.observer().holder(VIP.into(), Duration::from_millis(30));
            match number.map(|number| usize::from(number) - 1) {
                Some(place) if Some(place) != old => return Ok(place),
                _ => sleep(Duration::from_millis(2)),
            }
        }
        Err(late("nobody else answers", &self.cluster))
    }

    fn well(&self) -> io::Result<()> {
        if self.client.wait_for_answers(20, PATIENCE) { Ok(()) } else { Err(late("no answers", &self.cluster)) }
    }

    /// Breaks the holder, waits for the next one (or for the lease's end, where none is to come), looks on for `after`, and repairs.
    fn trial(
        &mut self,
        moves: bool,
        after: Duration,
        strike: fn(&mut Cluster, usize) -> io::Result<()>,
        repair: fn(&mut Cluster, usize) -> io::Result<()>,
    ) -> io::Result<Trial> {
        // Candidates need a moment to be candidates, and the holder one renewal.
        sleep(Duration::from_secs(3) + self.phase);
        self.phase += Duration::from_millis(370);
        self.phase = self.phase.checked_sub(Duration::from_millis(2900)).unwrap_or(self.phase);
        let old = self.holder(None)?;
        let from = Instant::now();
        strike(&mut self.cluster, old)?;
        let next = if moves { self.holder(Some(old))? } else { old };
        sleep(TIMEOUT + Duration::from_millis(300));
        self.well()?;
        let outage = self.client.seen(from, Instant::now().checked_sub(TIMEOUT).unwrap_or(from)).outage;
        let announced = if moves { self.announced(next) } else { None };
        sleep(after);
        repair(&mut self.cluster, old)?;
        sleep(Duration::from_secs(2));
        let two = self.cluster.observer().answering(VIP.into(), from, Instant::now()).two;
        Ok(Trial { outage, two, announced })
    }

    fn announced(&self, place: usize) -> Option<Duration> {
        let record = self.cluster.api().get(LEASE).ok()??;
        let since = lease_time(record["spec"]["acquireTime"].as_str()?)?;
        let number = u8::try_from(place + 1).ok()?;
        Some(self.announcements.first(VIP, number, since)?.at.saturating_sub(since))
    }

    /// The same fault, `runs` times.
    fn series(
        &mut self,
        runs: u32,
        moves: bool,
        after: Duration,
        strike: fn(&mut Cluster, usize) -> io::Result<()>,
        repair: fn(&mut Cluster, usize) -> io::Result<()>,
    ) -> io::Result<Series> {
        let mut series = Series::default();
        for _ in 0..runs {
            let trial = self.trial(moves, after, strike, repair)?;
            series.outages.add(trial.outage);
            series.two += trial.two;
            trial.announced.into_iter().for_each(|time| series.announced.add(time));
        }
        Ok(series)
    }
}

#[derive(Default)]
struct Series {
    outages: Figures,
    announced: Figures,
    two: Duration,
}

impl Series {
    fn text(&self) -> String {
        format!("{}; two answering {}", self.outages.text(), time(self.two))
    }
}

fn nothing(_: &mut Cluster, _: usize) -> io::Result<()> {
    Ok(())
}

fn kill(cluster: &mut Cluster, place: usize) -> io::Result<()> {
    cluster.kill(place);
    Ok(())
}

fn start(cluster: &mut Cluster, place: usize) -> io::Result<()> {
    cluster.start_daemon(place)
}

fn terminate(cluster: &mut Cluster, place: usize) -> io::Result<()> {
    cluster.terminate(place, PATIENCE).map(drop).ok_or_else(|| late("SIGTERM does not end it", cluster))
}

fn restart(cluster: &mut Cluster, place: usize) -> io::Result<()> {
    cluster.kill(place);
    cluster.start_daemon(place)
}

fn pause(cluster: &mut Cluster, place: usize) -> io::Result<()> {
    cluster.signal(place, Signal::SIGSTOP);
    Ok(())
}

fn resume(cluster: &mut Cluster, place: usize) -> io::Result<()> {
    cluster.signal(place, Signal::SIGCONT);
    Ok(())
}

fn nft(cluster: &mut Cluster, place: usize, commands: &'static str) -> io::Result<()> {
    let output = cluster.host(place).run(move |_| Command::new("nft").arg(commands).output())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn cut_from_api(cluster: &mut Cluster, place: usize) -> io::Result<()> {
    let commands = "add table inet cut; add chain inet cut out { type filter hook output priority 0; }; \
                    add rule inet cut out tcp dport 6443 drop";
    nft(cluster, place, commands)
}

fn join_to_api(cluster: &mut Cluster, place: usize) -> io::Result<()> {
    nft(cluster, place, "delete table inet cut")
}

/// SIGTERM, and `kill -9` with a kubelet that restarts.
pub(crate) fn moves(args: &Args) -> io::Result<Vec<Row>> {
    let mut subject = Subject::start(args, "", 15)?;
    let gone = Duration::from_secs(1);
    let term = subject.series(args.runs, true, gone, terminate, start)?;
    let again = subject.series(args.runs, false, subject.lease, restart, nothing)?;
    Ok(vec![
        Row::new(
            "SIGTERM of the holder: outage of the control-plane VIP",
            "≤ 60 / ≤ 200 ms",
            term.text(),
            "0.3 / 3.3 s",
        ),
        Row::new("`kill -9`, restarted by the kubelet within the lease: outage", "≤ 30 ms", again.text(), "0–30 ms"),
        Row::new("first gratuitous ARP after a take-over by release", "≤ 20 ms", term.announced.text(), "0.9–2.9 s"),
    ])
}

/// What a node may do without a last word.
pub(super) struct Fault {
    /// As `--faults` names it.
    pub(super) name: &'static str,
    words: &'static str,
    strike: fn(&mut Cluster, usize) -> io::Result<()>,
    repair: fn(&mut Cluster, usize) -> io::Result<()>,
    /// What lives on: looked at until its lease has long been over.
    lives: Option<&'static str>,
}

pub(super) const FAULTS: [Fault; 6] = [
    Fault {
        name: "power",
        words: "power off",
        strike: |cluster, place| cluster.power_off(place),
        repair: |cluster, place| cluster.power_on(place),
        lives: None,
    },
    Fault {
        name: "cable",
        words: "cable pulled",
        strike: |cluster, place| cluster.set_cable(place, false),
        repair: |cluster, place| cluster.set_cable(place, true),
        lives: None,
    },
    Fault {
        name: "cut",
        words: "cut off",
        strike: |cluster, place| cluster.set_part(place, Part::Island),
        repair: |cluster, place| cluster.set_part(place, Part::Mainland),
        lives: None,
    },
    Fault {
        name: "kill",
        words: "`kill -9`, not restarted",
        strike: kill,
        repair: start,
        lives: Some("two answering without end"),
    },
    Fault {
        name: "stop",
        words: "SIGSTOP, SIGCONT",
        strike: pause,
        repair: resume,
        lives: Some("two answering 24–27 s"),
    },
    Fault {
        name: "api",
        words: "daemon cut from the API",
        strike: cut_from_api,
        repair: join_to_api,
        lives: Some("two answering 0.3–3.9 s"),
    },
];

fn silent(args: &Args, timing: &str, lease: u64, rival: &str) -> io::Result<Vec<Row>> {
    let mut subject = Subject::start(args, timing, lease)?;
    let words = format!("lease {lease} s");
    let (mut rows, mut announced) = (Vec::new(), Figures::default());
    for fault in FAULTS.iter().filter(|fault| args.faults.is_empty() || args.faults.iter().any(|n| n == fault.name)) {
        // What is looked at for long is about who answers, not about how long an outage takes.
        let (runs, after) = match fault.lives {
            None => (args.runs, Duration::from_secs(1)),
            Some(_) => (args.runs.div_ceil(3), subject.lease),
        };
        let series = subject.series(runs, true, after, fault.strike, fault.repair)?;
        announced.add(series.announced.most());
        let must = if fault.lives.is_some() { "two never".to_owned() } else { format!("≤ {lease}.3 s, two never") };
        let what = format!("{}, {words}: outage", fault.words);
        rows.push(Row::new(&what, &must, series.text(), fault.lives.unwrap_or(rival)));
    }
    let what = format!("first gratuitous ARP after a take-over, {words}: the latest");
    rows.push(Row::new(&what, "≤ 20 ms", time(announced.most()), "0.9–2.9 s"));
    Ok(rows)
}

/// Leases of 5 s.
pub(crate) fn short(args: &Args) -> io::Result<Vec<Row>> {
    let timing = "--leaseDuration 5 --leaseRenewDuration 3 --leaseRetry 1";
    silent(args, timing, 5, "6.2–9.0 s")
}

/// Leases of 15 s, the default.
pub(crate) fn long(args: &Args) -> io::Result<Vec<Row>> {
    silent(args, "", 15, "18.3–21.2 s")
}

/// The API server of the holder's own host dies, or hangs.
pub(crate) fn local_api_server(args: &Args) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut subject = Subject::start(args, "", 15)?;
    for (words, signal, rival) in
        [("dead", Signal::SIGKILL, "16.9 s"), ("hanging", Signal::SIGSTOP, "16.8 s; two answering 5.7 s")]
    {
        let (mut gaps, mut two) = (Figures::default(), Duration::ZERO);
        for _ in 0..args.runs.div_ceil(3) {
            sleep(Duration::from_secs(3));
            let probe = Probe::start(subject.cluster.client(), subject.cluster.admin(), SocketAddr::from((VIP, 6443)))?;
            let old = subject.holder(None)?;
            let _ = probe.wait_for_answers(20, PATIENCE);
            let from = Instant::now();
            subject.cluster.signal_api_server(old, signal);
            subject.holder(Some(old))?;
            if !probe.wait_for_answers(10, PATIENCE) {
                return Err(late("no HTTPS through the address", &subject.cluster));
            }
            gaps.add(probe.outage(from, Instant::now()));
            two += subject.cluster.observer().answering(VIP.into(), from, Instant::now()).two;
            drop(probe);
            subject.cluster.signal_api_server(old, Signal::SIGCONT);
            subject.cluster.start_api_servers()?;
            let _ = subject.cluster.node_api(old)?.wait_until_ready(PATIENCE);
        }
        let text = format!("{}; two answering {}", gaps.text(), time(two));
        rows.push(Row::new(
            &format!("local API server {words}: HTTPS through the VIP works again"),
            "≤ 5 s",
            text,
            rival,
        ));
    }
    Ok(rows)
}

/// All API servers stop for 40 s.
pub(crate) fn outage(args: &Args) -> io::Result<Vec<Row>> {
    let mut subject = Subject::start(args, "", 15)?;
    sleep(Duration::from_secs(5));
    let cluster = &mut subject.cluster;
    let before: Vec<_> = (0..cluster.size()).map(|place| cluster.daemon(place)).collect();
    let from = Instant::now();
    cluster.signal_api_servers(Signal::SIGKILL);
    sleep(Duration::from_secs(40));
    let held = last_answer(cluster, VIP.into(), from);
    cluster.start_api_servers()?;
    let mut ready = false;
    while !ready && from.elapsed() < PATIENCE * 3 {
        ready = (0..cluster.size()).any(|place| {
            let answer = cluster.node_api(place).and_then(|mut api| api.ask("GET", "/readyz", None));
            matches!(answer, Ok((200, _)))
        });
    }
    let back = Instant::now();
    subject.holder(None)?;
    let after: Vec<_> = (0..subject.cluster.size()).map(|place| subject.cluster.daemon(place)).collect();
    let restarts = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    let text = format!("{restarts}; held for {} of what the lease still gave; {}", time(held), time(back.elapsed()));
    let must = "0; none before the lease's end; ≤ 3 s";
    let what = "all API servers stopped for 40 s: restarts; address dropped; announced again after the API is back";
    Ok(vec![Row::new(what, must, text, "exits; 31.8–42 s without address")])
}

/// How long after `from` somebody still answered.
fn last_answer(cluster: &Cluster, address: IpAddr, from: Instant) -> Duration {
    let samples = cluster.observer().samples(address, from, Instant::now());
    let last = samples.iter().rev().find(|sample| !sample.answers.is_empty());
    last.map_or(Duration::ZERO, |sample| sample.at - from)
}
