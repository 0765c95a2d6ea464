//! A cluster that nothing happens to: under load, idle, and with traffic that is none of its business.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use baton_lab::cluster::{Cluster, Plan};
use baton_lab::dice::Dice;
use baton_lab::figures::Row;
use baton_lab::host::{Host, processor_time};
use baton_lab::lab::v4;
use nix::sys::resource::{UsageWho, getrusage};

use crate::Args;
use crate::faults::{baton, cluster};

/// Busy loops beside the daemons.
const LOOPS: usize = 4;
/// Elements of the map that is loaded beside the gates.
const ELEMENTS: u32 = 65_537;
/// Elements in one transaction.
const TRANSACTION: usize = 4_097;
/// Bytes of one round.
const BULK: usize = 1 << 30;

pub(crate) fn load(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let watched = cluster(Plan::new(baton(args, "")))?;
    let stop = Arc::new(AtomicBool::new(false));
    let loops: Vec<_> = (0..LOOPS)
        .map(|_| {
            thread::spawn({
                let stop = Arc::clone(&stop);
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop()
                    }
                }
            })
        })
        .collect();
    let busy = changes(&watched, args.seconds, || thread::sleep(Duration::from_millis(100)));
    stop.store(true, Ordering::Relaxed);
    loops.into_iter().for_each(|one| drop(one.join()));
    let mut rows = vec![Row::new(
        &format!("ownership changes in {} s with {LOOPS} busy loops", args.seconds),
        "0",
        busy.to_string(),
        "–".to_owned(),
    )];
    let (script, holder) = map_files(&watched)?;
    let mut loads = 0u32;
    let loading = changes(&watched, args.seconds, || {
        let mut nft = Command::new("sh");
        nft.arg("-c").arg(&script).stderr(Stdio::null());
        let host = watched.host(holder);
        let done = host.is_some_and(|host| host.run(move |_| nft.status()).is_ok_and(|status| status.success()));
        loads += u32::from(done);
    });
    let what = format!(
        "ownership changes in {} s while a map of {ELEMENTS} elements is loaded on the holder, again and again",
        args.seconds
    );
    let text = if loads == 0 {
        "not measured: nft is missing or fails".to_owned()
    } else {
        format!("{loading} ({loads} loads, {} transactions each)", (ELEMENTS as usize).div_ceil(TRANSACTION) + 1)
    };
    rows.push(Row::new(&what, "0", text, "–".to_owned()));
    Ok(rows)
}

/// Ownership changes while `work` goes on for some seconds.
fn changes(cluster: &Cluster, seconds: u64, mut work: impl FnMut()) -> usize {
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(seconds) {
        work();
    }
    cluster.observer().changes(cluster.vip(), from, Instant::now())
}

/// Files for `nft -f` that make a large map anew, on the holder. In a user namespace one transaction cannot take all of it.
fn map_files(cluster: &Cluster) -> io::Result<(String, usize)> {
    let holder = cluster.holder().ok_or_else(|| io::Error::other("nobody holds"))?;
    let host = cluster.host(holder).ok_or_else(|| io::Error::other("the holder has no power"))?;
    let directory = host.directory();
    let head = "table ip large\ndelete table ip large\ntable ip large { map m { type mark : ipv4_addr; }\n}\n";
    fs::write(directory.join("large.00.nft"), head)?;
    let keys: Vec<u32> = (0..ELEMENTS).collect();
    for (place, part) in keys.chunks(TRANSACTION).enumerate() {
        let element = |key: &u32| format!("{key} : 10.{}.{}.{}", key % 3, key / 256 % 256, key % 256);
        let elements: Vec<String> = part.iter().map(element).collect();
        let text = format!("add element ip large m {{ {} }}\n", elements.join(",\n"));
        fs::write(directory.join(format!("large.{:02}.nft", place + 1)), text)?;
    }
    Ok((format!("set -e; for file in {}/large.*.nft; do nft -f $file; done", directory.display()), holder))
}

/// Memory and processor time of daemons that have nothing to do but to hold. The client's connections are left out.
pub(crate) fn idle(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let watched = quiet(args)?;
    thread::sleep(Duration::from_secs(3));
    let daemons: Vec<_> = (0..watched.nodes().len()).filter_map(|place| watched.daemon(place)).collect();
    let before: Vec<Duration> = daemons.iter().map(|daemon| processor_time(*daemon)).collect();
    let from = Instant::now();
    thread::sleep(Duration::from_secs(args.seconds));
    let mut share: f64 = 0.0;
    for (daemon, before) in daemons.iter().zip(before) {
        let used = processor_time(*daemon).saturating_sub(before);
        share = share.max(used.as_secs_f64() / from.elapsed().as_secs_f64());
    }
    let memory = daemons.iter().map(|daemon| resident(daemon.as_raw())).fold(0.0, f64::max);
    Ok(vec![
        Row::new(
            "resident memory, idle, the largest of three",
            "≤ 12 MB",
            format!("{:.1} MB", memory / 1e6),
            "–".to_owned(),
        ),
        Row::new(
            "processor, idle, the busiest of three",
            "≤ 0.5 % of a core",
            format!("{:.2} %", share * 100.0),
            "–".to_owned(),
        ),
    ])
}

/// A cluster whose client hardly ever asks.
fn quiet(args: &Args) -> io::Result<Cluster> {
    let watched =
        Cluster::start(Plan { interval: Duration::from_secs(3600), observed: false, ..Plan::new(baton(args, "")) })?;
    let ready = (0..watched.nodes().len()).all(|place| watched.wait_until_ready(place, Duration::from_secs(10)));
    if ready { Ok(watched) } else { Err(io::Error::other("the cluster does not come up")) }
}

/// Resident memory in bytes.
fn resident(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() * 1024.0
}

/// Traffic to a host's own address: with the gates loaded (the holder), and on a host that knows nothing of them.
pub(crate) fn gates(args: &Args, _dice: &mut Dice) -> io::Result<Vec<Row>> {
    let watched = quiet(args)?;
    thread::sleep(Duration::from_secs(2));
    let holder =
        (0..watched.nodes().len()).find(|place| watched.host(*place).is_some_and(|host| holds(host, watched.vip())));
    let holder = holder.ok_or_else(|| io::Error::other("nobody holds"))?;
    let plain = Host::new("plain")?;
    watched.switch().connect(&plain, "eth0", 60)?;
    let gated = watched.host(holder).ok_or_else(|| io::Error::other("the holder has no power"))?;
    let client = watched.client_host();
    let mut ratios = Vec::new();
    for round in 0..args.rounds + 1 {
        let number = watched.nodes()[holder].number;
        let (with, without) = if round % 2 == 0 {
            let with = bulk(client, gated, number)?;
            (with, bulk(client, &plain, 60)?)
        } else {
            let without = bulk(client, &plain, 60)?;
            (bulk(client, gated, number)?, without)
        };
        // The first round warms up.
        if round > 0 {
            ratios.push(with.as_secs_f64() / without.as_secs_f64().max(1e-9));
        }
    }
    ratios.sort_by(f64::total_cmp);
    let text = format!(
        "{:.3} (n = {}, quartiles {:.3} – {:.3})",
        ratios[ratios.len() / 2],
        ratios.len(),
        ratios[ratios.len() / 4],
        ratios[ratios.len() * 3 / 4]
    );
    let what = "processor time per GB of other traffic on the link, gates loaded against not: median of ratios";
    Ok(vec![Row::new(what, "≤ 1.03", text, "–".to_owned())])
}

/// The address is configured there.
fn holds(host: &Host, vip: IpAddr) -> bool {
    let addresses = host.run(|links| links.addresses()).unwrap_or_default();
    addresses.iter().any(|(_, address, _)| *address == vip)
}

/// Processor time that one gigabyte from `client` to `server` costs both of them.
fn bulk(client: &Host, server: &Host, number: u8) -> io::Result<Duration> {
    let listener = server.run(|_| TcpListener::bind("0.0.0.0:9000"))?;
    let mut out = client.run(move |_| TcpStream::connect(SocketAddr::from((v4(number), 9000))))?;
    let (mut into, _) = listener.accept()?;
    let before = used()?;
    let reader = thread::spawn(move || -> io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        while into.read(&mut buffer)? > 0 {}
        Ok(())
    });
    let chunk = vec![0u8; 256 * 1024];
    for _ in 0..BULK / chunk.len() {
        out.write_all(&chunk)?;
    }
    drop(out);
    reader.join().map_err(|_| io::Error::other("the reader panicked"))??;
    used().map(|after| after.saturating_sub(before))
}

/// Processor time of this process so far.
fn used() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = |value: nix::sys::time::TimeVal| {
        let seconds = u64::try_from(value.tv_sec()).unwrap_or_default();
        Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(value.tv_usec()).unwrap_or_default())
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}
