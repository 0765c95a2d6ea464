//! Hundreds of Services: what they cost the API, and how long it takes until all of them are there, or elsewhere.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use baton_cluster::daemon::{Access, Daemon};
use baton_cluster::pods::{PodSpec, object};
use baton_cluster::programs::Programs;
use baton_cluster::{Cluster, Plan};
use baton_lab::figures::time;
use serde_json::{Value, json};

use super::Args;
use super::figures::Row;

const PATIENCE: Duration = Duration::from_secs(120);
/// How exactly one sees when an address is answered.
const GLANCE: Duration = Duration::from_millis(100);
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// Address of Service number `number`.
fn address(number: u16) -> IpAddr {
    let [high, low] = (number + 0x0100).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 77, high + 8, low))
}

fn late(what: &str, cluster: &Cluster) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what}\n{}", cluster.words()))
}

/// Three nodes whose daemons announce Services with these arguments; pods are objects only, nobody sends them anything.
fn start(args: &Args, more: &str, watched: u16) -> io::Result<Cluster> {
    let plan = Plan { pods: false, interval: GLANCE, ..Plan::new((0..watched).map(address).collect()) };
    let mut cluster = Cluster::start(plan, Programs::find().map_err(io::Error::other)?)?;
    for (place, name) in [(0, "alpha"), (1, "beta"), (2, "gamma")] {
        let spec = PodSpec { namespace: "default", name, app: "web", port: 8080, answer: b'?' };
        let address = format!("10.244.{place}.2");
        let mut api = cluster.api();
        api.create("/api/v1/namespaces/default/pods", &object(spec, &cluster.name(place)))?;
        let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}]}});
        api.patch(&format!("/api/v1/namespaces/default/pods/{name}/status"), &status)?;
    }
    let line = format!("manager --interface eth0 --services --arp --leaderElection {more}");
    for place in 0..cluster.size() {
        cluster.deploy(place, Daemon::new(&args.baton, &line, Access::AdminConf))?;
    }
    sleep(Duration::from_secs(5));
    Ok(cluster)
}

fn service(number: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("s{number}"), "annotations": {"kube-vip.io/loadbalancerIPs": address(number).to_string()}},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}],
            "allocateLoadBalancerNodePorts": false},
    })
}

/// Makes Services as fast as the API takes them; how long that took.
fn create(cluster: &Cluster, numbers: std::ops::Range<u16>) -> io::Result<Duration> {
    let from = Instant::now();
    let mut api = cluster.api();
    for number in numbers {
        api.create(SERVICES, &service(number))?;
    }
    Ok(from.elapsed())
}

/// Waits until each of these addresses was answered after `since`, by a node other than `not`; when the last one was, for the first time.
fn all_answered(cluster: &Cluster, count: u16, since: Instant, not: Option<u8>) -> io::Result<Instant> {
    let first = |number: u16| {
        let samples = cluster.observer().samples(address(number), since, Instant::now());
        let by_another =
            |sample: &&baton_lab::observer::Sample| sample.answers.iter().any(|answer| Some(answer.port) != not);
        samples.iter().find(by_another).map(|sample| sample.at)
    };
    loop {
        let firsts: Vec<Option<Instant>> = (0..count).map(first).collect();
        if let Some(last) = firsts.iter().copied().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()) {
            return Ok(last);
        }
        if since.elapsed() > PATIENCE {
            let there = firsts.iter().flatten().count();
            return Err(late(&format!("{there} of {count} answered"), cluster));
        }
        sleep(GLANCE);
    }
}

/// Waits until every Service has a status.
fn all_written(cluster: &Cluster, count: usize) -> io::Result<Instant> {
    let from = Instant::now();
    while from.elapsed() < PATIENCE {
        let list = cluster.api().get(SERVICES)?.unwrap_or_default();
        let written = |service: &&Value| service["status"]["loadBalancer"]["ingress"].is_array();
        let there = list["items"].as_array().into_iter().flatten().filter(written).count();
        if there >= count {
            return Ok(Instant::now());
        }
        sleep(Duration::from_millis(50));
    }
    Err(late("not every Service has a status", cluster))
}

/// Resident memory of the largest daemon, in MB.
fn memory(cluster: &Cluster) -> f64 {
    let resident = |place| {
        let status = fs::read_to_string(format!("/proc/{}/status", cluster.daemon(place)?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().to_owned();
        line.split(' ').next()?.parse::<f64>().ok()
    };
    (0..cluster.size()).filter_map(resident).fold(0.0, f64::max) / 1024.0
}

/// Requests per second of all daemons together: all, and those that write.
fn requests(cluster: &Cluster, seconds: u32) -> io::Result<(f64, f64)> {
    let mark = cluster.count_requests();
    sleep(Duration::from_secs(u64::from(seconds)));
    let (mut all, mut writes) = (0.0, 0.0);
    for ((user, verb, resource), count) in mark.requests()? {
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        if !user.starts_with("baton-") {
            continue;
        }
        eprintln!("  {user} {verb} {resource}: {count}");
        all += count;
        if ["create", "update", "patch", "delete"].contains(&verb.as_str()) {
            writes += count;
        }
    }
    Ok((all / f64::from(seconds), writes / f64::from(seconds)))
}

/// Ends every daemon at the same time; how long the slowest took, and how many addresses and Leases are left.
fn stop(cluster: &mut Cluster) -> io::Result<String> {
    let from = Instant::now();
    for _ in 0..2 {
        (0..cluster.size()).for_each(|place| cluster.signal(place, nix::sys::signal::Signal::SIGTERM));
        sleep(Duration::from_millis(20));
    }
    while (0..cluster.size()).any(|place| cluster.daemon(place).is_some()) {
        if from.elapsed() > PATIENCE {
            return Err(late("SIGTERM does not end it", cluster));
        }
        sleep(Duration::from_millis(2));
    }
    let took = from.elapsed();
    if took > Duration::from_secs(1) {
        eprintln!("slow to end:\n{}", cluster.words());
    }
    let mut left = 0;
    for place in 0..cluster.size() {
        let addresses = cluster.host(place).run(baton_lab::link::Links::addresses)?;
        let ours =
            |address: &IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[..2] == [10, 77] && v4.octets()[2] >= 8);
        left += addresses.iter().filter(|(_, address, _)| ours(address)).count();
    }
    let leases = cluster.api().get("/apis/coordination.k8s.io/v1/leases")?.unwrap_or_default();
    let held = |lease: &&Value| {
        lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| ["n1", "n2", "n3"].contains(&holder))
    };
    let held = leases["items"].as_array().into_iter().flatten().filter(held).count();
    Ok(format!("{}; {left} addresses and {held} Leases left (SIGTERM sent twice)", time(took)))
}

/// Memory without Services, and whom a Service without address delays.
pub(crate) fn idle(args: &Args) -> io::Result<Vec<Row>> {
    let mut cluster = start(args, "", 1)?;
    let resident = format!("{:.1} MB", memory(&cluster));
    let mut without = service(1);
    without["metadata"]["annotations"] = json!({});
    cluster.api().create(SERVICES, &without)?;
    let since = Instant::now();
    create(&cluster, 0..1)?;
    let announced = all_answered(&cluster, 1, since, None)? - since;
    let end = stop(&mut cluster)?;
    Ok(vec![
        Row::new("resident memory, idle, the largest of three", "≤ 15 MB", resident, "43 MB"),
        Row::new(
            "a Service without address: the next one is announced after",
            "no delay",
            format!("{} (looked at each 100 ms)", time(announced)),
            "30 s",
        ),
        Row::new("SIGTERM of all, one Service", "≤ 1 s", end, "0.1–7.8 s; hangs at a second SIGTERM"),
    ])
}

fn busy(args: &Args, more: &str, words: &str, must: [&str; 3], rival: [&str; 4]) -> io::Result<Vec<Row>> {
    let count = args.services;
    let mut cluster = start(args, more, count)?;
    let from = Instant::now();
    let creating = create(&cluster, 0..count)?;
    let created = Instant::now();
    let written = all_written(&cluster, usize::from(count))?;
    let announced = all_answered(&cluster, count, from, None)?;
    let after = |moment: Instant| time(moment.saturating_duration_since(created));
    let text = format!(
        "made in {}; announced {}, with status {} after the last",
        time(creating),
        after(announced),
        after(written)
    );
    let mut rows = vec![Row::new(&format!("{count} Services made, {words}"), must[0], text, rival[0])];
    sleep(Duration::from_secs(10));
    let (all, writes) = requests(&cluster, args.seconds)?;
    let text = format!("{all:.2}/s, of them {writes:.2}/s writes");
    rows.push(Row::new(&format!("{count} Services, {words}: API requests of three nodes"), must[1], text, rival[1]));
    let text = format!("{:.1} MB", memory(&cluster));
    rows.push(Row::new(&format!("resident memory, {count} Services, {words}"), "≤ 25 MB", text, rival[2]));
    // With one election the holder of the first address holds all of them.
    let holder = cluster
        .observer()
        .holder(address(0), Duration::from_secs(1))
        .ok_or_else(|| late("nobody answers", &cluster))?;
    let cut = Instant::now();
    cluster.power_off(usize::from(holder) - 1)?;
    let moved = all_answered(&cluster, count, cut + Duration::from_secs(1), Some(holder))?;
    let worst = (0..count).map(|number| cluster.observer().answering(address(number), cut, Instant::now()).two).max();
    let text = format!("{} after the power went; two answering {}", time(moved - cut), time(worst.unwrap_or_default()));
    rows.push(Row::new(
        &format!("power off of a holder, {count} Services, {words}: all answered by others"),
        must[2],
        text,
        rival[3],
    ));
    cluster.power_on(usize::from(holder) - 1)?;
    sleep(Duration::from_secs(3));
    let text = stop(&mut cluster)?;
    rows.push(Row::new(
        &format!("SIGTERM of all three, {count} Services, {words}"),
        "≤ 1 s, nothing left",
        text,
        "0.1–7.8 s",
    ));
    Ok(rows)
}

/// One election for all Services.
pub(crate) fn one_election(args: &Args) -> io::Result<Vec<Row>> {
    let must = ["announced ≤ 0.5 s, status ≤ 3 s", "≤ 0.8/s", "≤ 16 s (lease 15 s + 1 s)"];
    busy(args, "", "one election", must, ["0.3 s / 6.8 s", "1.1/s", "94–112 MB", "18.5 s"])
}

/// A Lease for each Service.
pub(crate) fn a_lease_each(args: &Args) -> io::Result<Vec<Row>> {
    let must = ["announced ≤ 5 s", "the writes that Leases need; reads ≈ 0", "≤ 16 s (lease 15 s + 1 s)"];
    busy(
        args,
        "--servicesElection",
        "a Lease each",
        must,
        ["290–429 of 500 after 3 min", "303/s", "112 MB", "15 of 163 after 101 s"],
    )
}

/// Thousands of Services.
pub(crate) fn many(args: &Args) -> io::Result<Vec<Row>> {
    let mut cluster = start(args, "", 1)?;
    let creating = create(&cluster, 0..args.many)?;
    let created = Instant::now();
    let written = all_written(&cluster, usize::from(args.many))?;
    let text = format!(
        "{:.1} MB (made in {}, all with status {} later)",
        memory(&cluster),
        time(creating),
        time(written.saturating_duration_since(created))
    );
    let end = stop(&mut cluster)?;
    Ok(vec![
        Row::new(&format!("resident memory, {} Services, one election", args.many), "≤ 90 MB", text, "–"),
        Row::new(&format!("SIGTERM of all three, {} Services", args.many), "≤ 1 s", end, "–"),
    ])
}
