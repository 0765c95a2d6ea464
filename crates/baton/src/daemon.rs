//! The start of `baton start`, in an order in which everything that may be refused comes before anything that changes the
//! host, and every promise to peers is written down before the first message.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::ExitCode;
use std::time::Duration;

use baton_config::Loaded;
use baton_core::keeper::{Keeper, Memory};
use baton_core::settings::{Ownership, Settings};
use baton_core::time::Time;
use baton_net::gate::Gates;
use baton_net::packet::Packet;
use baton_net::{clock, process, udp};
use tracing::{debug, info, warn};

use crate::admin::socket::{self, Socket};
use crate::cli::args::Start;
use crate::cli::load;
use crate::cli::output::{FAILED, REFUSED, complain, fail};
use crate::keeper::{self, World};
use crate::kernel::Sockets;
use crate::markers::Store;
use crate::planner::{self, Parts};
use crate::proxy::Proxy;
use crate::settled;

/// How long the kernel may take to close the socket of a killed predecessor, and how often it is asked.
const PREDECESSOR: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(5);

/// Runs until a signal ends it.
pub fn run(options: Start, loaded: Loaded, as_kube_vip: bool) -> ExitCode {
    let started = clock::now();
    for warning in &loaded.warnings {
        warn!("{}", warning.unlabelled());
    }
    let udp = match peers_port(&loaded) {
        Ok(udp) => udp,
        Err(refused) => {
            complain(&refused);
            return ExitCode::from(REFUSED);
        }
    };
    let settings = loaded.settings;
    let gates = match Gates::open(settings.ownership.fence) {
        Ok(gates) => gates,
        Err(e) => {
            let why = format!(
                "{e}. Without nftables the kernel cannot end a hold (`fence: off` goes without: docs/guarantees.md)"
            );
            return fail(REFUSED, &why);
        }
    };
    match prepare(&options, &settings, udp, gates) {
        Ok(ready) => launch(options, settings, ready, started, as_kube_vip),
        Err(why) => fail(FAILED, &why),
    }
}

/// The peers' port. One that is in use is a mistake in the file as good as any, unless a predecessor is just being killed.
fn peers_port(loaded: &Loaded) -> Result<Option<UdpSocket>, String> {
    let Some(local) = loaded.settings.ownership.local else { return Ok(None) };
    let give_up = clock::now() + PREDECESSOR;
    loop {
        match udp::bind(local) {
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && clock::now() < give_up => std::thread::sleep(AGAIN),
            Err(e) => return Err(load::text(&[load::port_message(loaded, local, &e)])),
            Ok(udp) => return Ok(Some(udp)),
        }
    }
}

/// What is there before the threads start.
struct Ready {
    world: World,
    memory: Memory,
    markers: Store,
    warnings: BTreeMap<&'static str, String>,
}

/// Markers, tables, sockets: from here on the host is changed.
fn prepare(options: &Start, settings: &Settings, udp: Option<UdpSocket>, gates: Gates) -> Result<Ready, String> {
    let ownership = &settings.ownership;
    let mut warnings = BTreeMap::new();
    let markers = Store::new(&options.state_dir, ownership.fence);
    let known = markers.read();
    if let Err(refused) = markers.raise(ownership.lease) {
        if refused.everywhere {
            return Err(format!(
                "the longest lease must be remembered outside the process before the first vote: {}",
                refused.why
            ));
        }
        warn!("a marker was not written: {}", refused.why);
        warnings.insert("markers", format!("a marker was not written: {}", refused.why));
    }
    let mut world = open(ownership, udp, gates).map_err(|e| format!("the kernel: {e}"))?;
    world.sockets.gates.install(&ownership.vips).map_err(|e| e.to_string())?;
    let memory = world.memory().map_err(|e| format!("reading links and addresses: {e}"))?;
    let memory = Memory { longest_lease: known.longest_lease, majority_seen: known.majority_seen, ..memory };
    Ok(Ready { world, memory, markers, warnings })
}

fn open(ownership: &Ownership, udp: Option<UdpSocket>, gates: Gates) -> std::io::Result<World> {
    let mut packets = BTreeMap::new();
    for vip in &ownership.vips {
        if !packets.contains_key(&vip.interface) {
            let mut packet = Packet::open(&vip.interface)?;
            packet.watch(&ownership.vips)?;
            packets.insert(vip.interface.clone(), packet);
        }
    }
    Ok(World { udp, sockets: Sockets::open(gates, packets)?, vips: ownership.vips.clone(), leases: None })
}

fn launch(options: Start, settings: Settings, ready: Ready, started: Time, as_kube_vip: bool) -> ExitCode {
    let Ready { world, memory, markers, mut warnings } = ready;
    let socket = control_socket(&options, &mut warnings);
    // Before any thread exists, so that all of them are without.
    if let Err(e) = process::drop_capabilities() {
        debug!("capabilities are kept: {e}");
    }
    let mut seed = [0; 8];
    if let Err(e) = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed) {
        return fail(FAILED, &format!("no random numbers: {e}"));
    }
    let seed = u64::from_ne_bytes(seed);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(FAILED, &format!("the event loop: {e}")),
    };
    let proxy = match Proxy::start(std::thread::available_parallelism().map_or(1, usize::from)) {
        Ok(proxy) => proxy,
        Err(e) => return fail(FAILED, &format!("the balancer: {e}")),
    };
    greet(&settings);
    let machine = Keeper::new(settings.ownership.clone(), memory, seed, clock::tick(), clock::now());
    let (keeper, reports) = match keeper::spawn(machine, world) {
        Ok(running) => running,
        Err(e) => return fail(FAILED, &format!("the keeper's thread: {e}")),
    };
    let parts = Parts { options, as_kube_vip, settings, markers, keeper, reports, proxy, socket, started, warnings };
    runtime.spawn(settled::give_back());
    runtime.block_on(planner::run(parts))
}

/// A daemon without its control socket is still a daemon.
fn control_socket(options: &Start, warnings: &mut BTreeMap<&'static str, String>) -> Option<Socket> {
    let path = socket::path(&options.run_dir, process::netns_inode());
    match Socket::listen(&path) {
        Ok(socket) => Some(socket),
        Err(e) => {
            let at = path.display();
            let why = format!("no control socket, so `baton status` does not find this instance: {at}: {e}");
            warn!("{why}");
            warnings.insert("socket", why);
            None
        }
    }
}

fn greet(settings: &Settings) {
    let o = &settings.ownership;
    let vips: Vec<String> = o.vips.iter().map(|v| format!("{} on {}", v.address, v.interface)).collect();
    info!(
        "baton {} as {}: {} with {} peers, lease {} ms{}",
        crate::VERSION,
        o.node,
        if vips.is_empty() { "no address".to_owned() } else { vips.join(", ") },
        o.peers.len(),
        o.lease.as_millis(),
        if o.fence { "" } else { ", fence: off" }
    );
}
