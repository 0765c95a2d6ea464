//! A cluster of the daemon under test, and what the host's own tools say about it.

use std::process::{Command, Stdio};
use std::time::Duration;

use baton_lab::cluster::{Cluster, Plan};
use baton_lab::dice::Dice;
use baton_lab::host::Host;
use baton_lab::subject::Subject;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The executable under test, with lines added to its files.
pub(crate) fn baton(extra: &str) -> Subject {
    Subject::Baton { program: env!("CARGO_BIN_EXE_baton").into(), extra: extra.to_owned() }
}

/// Three hosts, all ready, and the client served.
pub(crate) fn cluster(plan: Plan) -> Cluster {
    let cluster = Cluster::start(plan).expect("a lab");
    let ready = (0..cluster.nodes().len()).all(|place| cluster.wait_until_ready(place, PATIENCE));
    assert!(ready && cluster.client().wait_for_answers(20, PATIENCE), "{}", words(&cluster));
    cluster
}

/// What every daemon said last.
pub(crate) fn words(cluster: &Cluster) -> String {
    let places = 0..cluster.nodes().len();
    places.map(|place| format!("--- {}\n{}\n", cluster.name(place), cluster.last_words(place, 40))).collect()
}

/// Random moments; the seed is printed, and `BATON_LAB_SEED` repeats one.
pub(crate) fn dice() -> Dice {
    let given = std::env::var("BATON_LAB_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(Dice::fresh_seed);
    println!("BATON_LAB_SEED={seed}");
    Dice::new(seed)
}

/// Runs a shell command on a host; its output.
pub(crate) fn shell(host: &Host, command: &str) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null());
    let output = host.run(move |_| shell.output()).expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The host of a node that has power.
pub(crate) fn host(cluster: &Cluster, place: usize) -> &Host {
    cluster.host(place).expect("it has power")
}

/// The names of a host's nftables tables.
pub(crate) fn tables(host: &Host) -> Vec<String> {
    let text = shell(host, "nft list tables");
    text.lines().map(|line| line.trim_start_matches("table ").to_owned()).collect()
}

/// Whether the address is configured on a host.
pub(crate) fn has(cluster: &Cluster, place: usize) -> bool {
    shell(host(cluster, place), "ip -j addr").contains(&format!("\"{}\"", cluster.vip()))
}
