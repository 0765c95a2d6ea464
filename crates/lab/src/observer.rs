//! Who answers for an address, as seen on the wire.
//!
//! Every two milliseconds one request (ARP, or a neighbour solicitation) leaves on every port of the switch, past the bridges, so
//! that partitions hide nobody. Each request has a link-layer sender address of its own, so that every answer belongs to
//! exactly one request, and no answer teaches the clients anything.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use baton_wire::arp::{Arp, Operation};
use baton_wire::ndp::{Kind, Ndp, multicast_mac, solicited_node};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use socket2::{SockFilter, SockRef};

use crate::lab::{Port, Switch, v4};
use crate::link::Mac;
use crate::wait;

/// Time between two requests.
pub const INTERVAL: Duration = Duration::from_millis(2);
/// Requests that left on the first and on the last port within this time were asked at one moment. A hand-over takes longer.
const ONE_MOMENT: Duration = Duration::from_micros(60);
/// First two bytes of the senders' link-layer addresses; the request's number follows.
const SENDER: [u8; 2] = [0x02, 0xfe];
/// The asking host's number, for its IPv4 address.
const ASKER: u8 = 250;
/// The asking host's IPv6 address.
const ASKER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);

/// Who answered one request.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it left on the first port.
    pub at: Instant,
    /// Time until it had left on the last port.
    pub spread: Duration,
    /// Bit n: the host on port n answered.
    pub answered: u32,
}

/// What was seen between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answering {
    /// Most hosts that answered at one moment.
    pub most: u32,
    /// Time during which two or more answered.
    pub two: Duration,
    /// Time during which nobody answered.
    pub nobody: Duration,
    /// Requests that the figures rest on.
    pub requests: usize,
    /// Most time between two requests: what could have been missed.
    pub blind: Duration,
}

#[derive(Default)]
struct Shared {
    /// A packet socket for each port that is watched.
    ports: Mutex<BTreeMap<u8, OwnedFd>>,
    samples: Mutex<BTreeMap<IpAddr, Vec<Sample>>>,
    stop: AtomicBool,
}

/// An observer at work. Dropping it ends it.
pub struct Observer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Asks for each of `addresses`, on ports yet to be named.
    pub fn start(addresses: &[IpAddr]) -> io::Result<Observer> {
        let shared = Arc::new(Shared::default());
        let (state, addresses) = (Arc::clone(&shared), addresses.to_vec());
        let thread = thread::Builder::new().name("observer".to_owned()).spawn(move || observe(&addresses, &state))?;
        Ok(Observer { shared, thread: Some(thread) })
    }

    /// Watches a port under `number` (less than 32) from now on.
    pub fn watch(&self, switch: &Switch, port: &Port, number: u8) -> io::Result<()> {
        let port = port.clone();
        let socket = switch.host().run(move |_| packet_socket(&port))?;
        lock(&self.shared.ports).insert(number, socket);
        Ok(())
    }

    /// Watches a port no longer.
    pub fn forget(&self, number: u8) {
        lock(&self.shared.ports).remove(&number);
    }

    /// Who answered for `address` from `from` to `to`.
    #[must_use]
    pub fn answering(&self, address: IpAddr, from: Instant, to: Instant) -> Answering {
        let all = lock(&self.shared.samples);
        let samples = all.get(&address).map(Vec::as_slice).unwrap_or_default();
        let first = samples.partition_point(|sample| sample.at < from);
        let last = samples.partition_point(|sample| sample.at <= to);
        let mut found = Answering { requests: last - first, ..Answering::default() };
        for index in first..last {
            let before = index.checked_sub(1).map(|index| samples[index]);
            let lasted = samples.get(index + 1).map_or(INTERVAL, |next| next.at - samples[index].at);
            let count = together(before, samples[index], samples.get(index + 1).copied());
            found.most = found.most.max(count);
            found.blind = found.blind.max(lasted);
            match count {
                0 => found.nobody += lasted,
                1 => {}
                _ => found.two += lasted,
            }
        }
        found
    }

    /// The number of the port whose host answered for `address` most recently, within the last `age`.
    #[must_use]
    pub fn holder(&self, address: IpAddr, age: Duration) -> Option<u8> {
        let all = lock(&self.shared.samples);
        let recent = all.get(&address)?.iter().rev().take_while(|sample| sample.at.elapsed() < age);
        let answered = recent.map(|sample| sample.answered).find(|answered| *answered != 0)?;
        u8::try_from(answered.trailing_zeros()).ok()
    }

    /// The samples for `address` between two moments, for those who want to look closely.
    #[must_use]
    pub fn samples(&self, address: IpAddr, from: Instant, to: Instant) -> Vec<Sample> {
        let all = lock(&self.shared.samples);
        let samples = all.get(&address).map(Vec::as_slice).unwrap_or_default();
        samples.iter().filter(|sample| sample.at >= from && sample.at <= to).copied().collect()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many hosts answered at one moment. If this thread was interrupted between two ports, the address may have been
/// handed over meanwhile; then two count only if one of them is heard before and the other one after as well.
fn together(before: Option<Sample>, sample: Sample, after: Option<Sample>) -> u32 {
    let count = sample.answered.count_ones();
    if count < 2 || sample.spread <= ONE_MOMENT {
        return count;
    }
    let neighbours = [before, after].into_iter().flatten();
    let confirmed = neighbours.map(|other| other.answered & sample.answered).fold(0, |all, one| all | one);
    if confirmed.count_ones() >= 2 { count } else { 1 }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Every protocol: a socket for one protocol hears nothing on a port, for the bridge comes first.
const ETH_P_ALL: u16 = 3;

/// A packet socket bound to one port, that hears only answers to us.
fn packet_socket(port: &Port) -> io::Result<OwnedFd> {
    let protocol = Protocol::from_raw(u32::from(ETH_P_ALL.to_be()).try_into().expect("not zero"));
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(protocol))?;
    // Frames that the bridge sends out here are not the host's: ld #type; jeq #PACKET_OUTGOING; ldh [0]; jeq #0x02fe; ret.
    let filter = [
        SockFilter::new(0x20, 0, 0, 0xffff_f004),
        SockFilter::new(0x15, 3, 0, 4),
        SockFilter::new(0x28, 0, 0, 0),
        SockFilter::new(0x15, 0, 1, u32::from(u16::from_be_bytes(SENDER))),
        SockFilter::new(0x06, 0, 0, 256),
        SockFilter::new(0x06, 0, 0, 0),
    ];
    SockRef::from(&socket).attach_filter(&filter)?;
    // The list of interfaces has a ready-made link-layer socket address for each.
    let mut interfaces = nix::ifaddrs::getifaddrs()?;
    let address = interfaces.find_map(|interface| {
        let address = *interface.address?.as_link_addr()?;
        (address.ifindex() == usize::try_from(port.index).ok()?).then_some(address)
    });
    let address = address.ok_or_else(|| io::Error::other(format!("the switch has no port {}", port.name)))?;
    nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &address)?;
    Ok(socket)
}

fn observe(addresses: &[IpAddr], shared: &Shared) {
    let mut next = Instant::now();
    for round in 0u32.. {
        for (place, address) in addresses.iter().enumerate() {
            ask(*address, number(round, place, addresses.len()), shared);
        }
        next = (next + INTERVAL).max(Instant::now());
        loop {
            listen(next.saturating_duration_since(Instant::now()), addresses, shared);
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            if Instant::now() >= next {
                break;
            }
        }
    }
}

/// The number of a request: its round and the place of its address in the list, in one.
fn number(round: u32, place: usize, count: usize) -> u32 {
    let count = u32::try_from(count).expect("a handful of addresses");
    round.wrapping_mul(count).wrapping_add(u32::try_from(place).expect("a handful of addresses"))
}

/// Sends request `number` on every port.
fn ask(address: IpAddr, number: u32, shared: &Shared) {
    let frame = request(address, number);
    let ports = lock(&shared.ports);
    let at = Instant::now();
    for socket in ports.values() {
        // A port without a carrier refuses; then its host is not heard either.
        let _ = send(socket, &frame, SendFlags::DONTWAIT);
    }
    let sample = Sample { at, spread: at.elapsed(), answered: 0 };
    lock(&shared.samples).entry(address).or_default().push(sample);
}

/// The Ethernet frame of request `number`.
fn request(address: IpAddr, number: u32) -> Vec<u8> {
    let [a, b, c, d] = number.to_be_bytes();
    let sender: Mac = [SENDER[0], SENDER[1], a, b, c, d];
    let (destination, ethertype, packet) = match address {
        IpAddr::V4(target) => {
            let operation = Operation::Request;
            let arp = Arp { operation, sender_mac: sender, sender: v4(ASKER), target_mac: [0; 6], target };
            ([0xff; 6], ETHERTYPE_ARP, arp.emit().to_vec())
        }
        IpAddr::V6(target) => {
            let group = solicited_node(target);
            let ndp = Ndp { source: ASKER_V6, destination: group, target, kind: Kind::Solicitation, mac: Some(sender) };
            (multicast_mac(group), ETHERTYPE_IPV6, ndp.emit())
        }
    };
    let mut frame = destination.to_vec();
    frame.extend(sender);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

/// Waits for answers, at most `patience`, and files them.
fn listen(patience: Duration, addresses: &[IpAddr], shared: &Shared) {
    let ports = lock(&shared.ports);
    let mut waiting: Vec<PollFd<'_>> = ports.values().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    wait(&mut waiting, patience);
    let mut frame = [0; 256];
    for (number, socket) in &*ports {
        while let Ok((_, length)) = recv(socket, &mut frame, RecvFlags::DONTWAIT) {
            if let Some((place, index)) = answer(&frame[..length], addresses) {
                let mut samples = lock(&shared.samples);
                let sample = samples.get_mut(&addresses[place]).and_then(|all| all.get_mut(index));
                sample.into_iter().for_each(|sample| sample.answered |= 1 << number);
            }
        }
    }
}

/// Which request a frame answers: the address's place and the request's round.
fn answer(frame: &[u8], addresses: &[IpAddr]) -> Option<(usize, usize)> {
    let (header, packet) = frame.split_at_checked(14)?;
    let number = u32::from_be_bytes(*header[2..].first_chunk()?);
    let count = u32::try_from(addresses.len()).ok()?;
    let place = usize::try_from(number % count).ok()?;
    let answered = match u16::from_be_bytes([header[12], header[13]]) {
        ETHERTYPE_ARP => {
            let arp = Arp::parse(packet).ok()?;
            (arp.operation == Operation::Reply).then_some(IpAddr::V4(arp.sender))
        }
        ETHERTYPE_IPV6 => {
            let ndp = Ndp::parse(packet).ok()?;
            matches!(ndp.kind, Kind::Advertisement { .. }).then_some(IpAddr::V6(ndp.target))
        }
        _ => None,
    }?;
    (addresses.get(place) == Some(&answered)).then_some((place, usize::try_from(number / count).ok()?))
}
