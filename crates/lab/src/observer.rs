//! Who answers for an address, as seen on the wire.
//!
//! Every two milliseconds one request (ARP, or a neighbour solicitation) leaves on every port of the switch, past the bridges, so
//! that partitions hide nobody. Each request has a link-layer sender address of its own, so that every answer belongs to
//! exactly one request, and no answer teaches the clients anything.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use baton_wire::arp::{Arp, Operation};
use baton_wire::ndp::{Kind, Ndp, multicast_mac, solicited_node};
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, bind, recvmsg, setsockopt};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, send, socket_with};
use socket2::{SockFilter, SockRef};

use crate::lab::{Port, Switch, v4};
use crate::link::Mac;
use crate::wait;

/// Time between two requests.
pub const INTERVAL: Duration = Duration::from_millis(2);
/// Requests after which one listens: a socket's buffer holds about 250 answers.
const AT_ONCE: usize = 64;
/// Two answers within this time were given at one moment. A hand-over takes longer.
const ONE_MOMENT: Duration = Duration::from_micros(60);
/// First two bytes of the senders' link-layer addresses; the request's number follows.
const SENDER: [u8; 2] = [0x02, 0xfe];
/// The asking host's number, for its IPv4 address.
const ASKER: u8 = 250;
/// The asking host's IPv6 address.
const ASKER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);

/// Who answered one request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it left on the first port.
    pub at: Instant,
    /// The answers.
    pub answers: Vec<Answer>,
}

/// An answer to a request.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The port that it came from.
    pub port: u8,
    /// When the host gave it, by the kernel's time stamp (since 1970).
    pub given: Duration,
}

impl Sample {
    /// The host on `port` answered.
    #[must_use]
    pub fn has(&self, port: u8) -> bool {
        self.answers.iter().any(|answer| answer.port == port)
    }
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
        Observer::every(addresses, INTERVAL)
    }

    /// The same at another pace: hundreds of addresses are not asked for every two milliseconds.
    pub fn every(addresses: &[IpAddr], interval: Duration) -> io::Result<Observer> {
        let shared = Arc::new(Shared::default());
        let (state, addresses) = (Arc::clone(&shared), addresses.to_vec());
        let work = move || observe(&addresses, interval, &state);
        let thread = thread::Builder::new().name("observer".to_owned()).spawn(work)?;
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
            let before = index.checked_sub(1).map(|index| &samples[index]);
            let lasted = samples.get(index + 1).map_or(INTERVAL, |next| next.at - samples[index].at);
            let count = together(before, &samples[index], samples.get(index + 1));
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
        recent.filter_map(|sample| sample.answers.first()).next().map(|answer| answer.port)
    }

    /// The requests for `address` that two hosts answered at one moment.
    #[must_use]
    pub fn conflicts(&self, address: IpAddr, from: Instant, to: Instant) -> Vec<Sample> {
        let samples = self.samples(address, from, to);
        let places = 0..samples.len();
        let before = |place: usize| place.checked_sub(1).map(|place| &samples[place]);
        let two = |place: &usize| together(before(*place), &samples[*place], samples.get(place + 1)) > 1;
        places.filter(two).map(|place| samples[place].clone()).collect()
    }

    /// How often another host than before answered.
    #[must_use]
    pub fn changes(&self, address: IpAddr, from: Instant, to: Instant) -> usize {
        let samples = self.samples(address, from, to);
        let mut holders: Vec<u8> = samples.iter().filter_map(|sample| Some(sample.answers.first()?.port)).collect();
        holders.dedup();
        holders.len().saturating_sub(1)
    }

    /// The samples for `address` between two moments, for those who want to look closely.
    #[must_use]
    pub fn samples(&self, address: IpAddr, from: Instant, to: Instant) -> Vec<Sample> {
        let all = lock(&self.shared.samples);
        let samples = all.get(&address).map(Vec::as_slice).unwrap_or_default();
        samples.iter().filter(|sample| sample.at >= from && sample.at <= to).cloned().collect()
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

/// How many hosts answered at one moment. A request does not reach all hosts at once where processors are busy, and the address
/// may be handed over meanwhile. So two answers count together only if they were given at one moment, or if the one
/// who answered first also answers the next request, or the one who answered last had answered the one before.
fn together(before: Option<&Sample>, sample: &Sample, after: Option<&Sample>) -> u32 {
    let mut most = u32::from(!sample.answers.is_empty());
    for first in &sample.answers {
        let with = sample.answers.iter().filter(|other| {
            let apart = other.given.checked_sub(first.given);
            let later = apart.is_some_and(|apart| !apart.is_zero() || other.port > first.port);
            let at_once = apart.is_some_and(|apart| apart <= ONE_MOMENT);
            later
                && (at_once
                    || after.is_some_and(|after| after.has(first.port))
                    || before.is_some_and(|before| before.has(other.port)))
        });
        most = most.max(1 + u32::try_from(with.count()).unwrap_or(u32::MAX));
    }
    most
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
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    // The list of interfaces has a ready-made link-layer socket address for each.
    let mut interfaces = nix::ifaddrs::getifaddrs()?;
    let address = interfaces.find_map(|interface| {
        let address = *interface.address?.as_link_addr()?;
        (address.ifindex() == usize::try_from(port.index).ok()?).then_some(address)
    });
    let address = address.ok_or_else(|| io::Error::other(format!("the switch has no port {}", port.name)))?;
    bind(socket.as_raw_fd(), &address)?;
    // Until then it heard every port: those answers were other hosts'.
    while receive(&socket, &mut [0; 256]).is_some() {}
    Ok(socket)
}

fn observe(addresses: &[IpAddr], interval: Duration, shared: &Shared) {
    let mut next = Instant::now();
    for round in 0u32.. {
        for (place, address) in addresses.iter().enumerate() {
            ask(*address, number(round, place, addresses.len()), shared);
            if place % AT_ONCE == AT_ONCE - 1 {
                listen(Duration::ZERO, addresses, shared);
            }
        }
        next = (next + interval).max(Instant::now());
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
    let sample = Sample { at, answers: Vec::new() };
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
        while let Some((length, given)) = receive(socket, &mut frame) {
            if let Some((place, index)) = answered(&frame[..length], addresses) {
                let mut samples = lock(&shared.samples);
                let sample = samples.get_mut(&addresses[place]).and_then(|all| all.get_mut(index));
                sample.into_iter().for_each(|sample| sample.answers.push(Answer { port: *number, given }));
            }
        }
    }
}

/// The next frame, and when it was sent: the kernel stamps it where the host hands it to the cable.
fn receive(socket: &OwnedFd, frame: &mut [u8]) -> Option<(usize, Duration)> {
    let mut parts = [IoSliceMut::new(frame)];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    let stamp = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    });
    Some((message.bytes, stamp?))
}

/// Which request a frame answers: the address's place and the request's round.
fn answered(frame: &[u8], addresses: &[IpAddr]) -> Option<(usize, usize)> {
    let (header, packet) = frame.split_at_checked(14)?;
    let number = u32::from_be_bytes(*header[2..].first_chunk()?);
    let count = u32::try_from(addresses.len()).ok()?;
    let place = usize::try_from(number.checked_rem(count)?).ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(answers: &[(u8, u64)]) -> Sample {
        let answers = answers.iter().map(|(port, given)| Answer { port: *port, given: Duration::from_micros(*given) });
        Sample { at: Instant::now(), answers: answers.collect() }
    }

    #[test]
    fn answers_of_one_request_count_together_only_if_they_overlap() {
        let one = |port, given| sample(&[(port, given)]);
        let both = |apart: u64| sample(&[(1, 10_000), (2, 10_000 + apart)]);
        let cases = [
            ("nobody", None, sample(&[]), None, 0),
            ("one", None, one(1, 10_000), None, 1),
            ("at one moment", None, both(5), None, 2),
            ("the very same moment", None, both(0), None, 2),
            ("handed over in between", Some(one(1, 8_000)), both(900), Some(one(2, 12_000)), 1),
            ("the first goes on", Some(one(1, 8_000)), both(900), Some(one(1, 12_000)), 2),
            ("the second had begun", Some(one(2, 8_000)), both(900), None, 2),
            ("three, two of them at once", None, sample(&[(1, 10_000), (2, 10_900), (3, 10_905)]), None, 2),
        ];
        for (what, before, sample, after, expected) in cases {
            assert_eq!(together(before.as_ref(), &sample, after.as_ref()), expected, "{what}");
        }
    }
}
