//! Gratuitous ARP as a client hears it: who announced which address, and when.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton_lab::host::Host;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

const ETHERTYPE_ARP: u16 = 0x0806;

/// One announcement.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// When it came, since 1970: the clock that Leases use.
    pub at: Duration,
    /// What it is about.
    pub address: Ipv4Addr,
    /// The last byte of the announcer's link-layer address, which is the host's number.
    pub number: u8,
}

/// A listener on a host. Dropping it ends it.
pub struct Announcements {
    heard: Arc<Mutex<Vec<Announcement>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Announcements {
    /// Listens on `host`.
    pub fn listen(host: &Host) -> io::Result<Announcements> {
        let protocol = Protocol::from_raw(u32::from(ETHERTYPE_ARP.to_be()).try_into().expect("not zero"));
        let flags = SocketFlags::CLOEXEC;
        let open = move |_: &mut _| socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(protocol));
        let socket = host.run(open)?;
        let (heard, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (list, stopped) = (Arc::clone(&heard), Arc::clone(&stop));
        let work = move || listen(&socket, &list, &stopped);
        let thread = thread::Builder::new().name("announcements".to_owned()).spawn(work)?;
        Ok(Announcements { heard, stop, thread: Some(thread) })
    }

    /// The first announcement of `address` by host `number` after `since`.
    #[must_use]
    pub fn first(&self, address: Ipv4Addr, number: u8, since: Duration) -> Option<Announcement> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = |one: &&Announcement| one.address == address && one.number == number && one.at >= since;
        heard.iter().find(of_it).copied()
    }
}

impl Drop for Announcements {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(socket: &OwnedFd, heard: &Mutex<Vec<Announcement>>, stop: &AtomicBool) {
    let patience = rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let mut frame = [0; 128];
    while !stop.load(Ordering::Relaxed) {
        if !matches!(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&patience)), Ok(1..)) {
            continue;
        }
        let Ok((length, _)) = recv(socket, &mut frame, RecvFlags::empty()) else { continue };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some((address, number)) = gratuitous(&frame[..length]) {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(Announcement { at, address, number });
        }
    }
}

/// The address of an ARP frame whose sender speaks about itself to all, and the last byte of the sender.
fn gratuitous(frame: &[u8]) -> Option<(Ipv4Addr, u8)> {
    let destination = frame.get(..6)?;
    let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    let target: [u8; 4] = frame.get(38..42)?.try_into().ok()?;
    (destination == [0xff; 6] && sender == target).then(|| (Ipv4Addr::from(sender), frame[27]))
}

/// The time of a Lease (RFC 3339, UTC, microseconds) since 1970.
#[must_use]
pub fn lease_time(text: &str) -> Option<Duration> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Years begin in March, so that the odd day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(Duration::from_secs(seconds) + Duration::from_micros(number(20, 26).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    //! Times as Kubernetes writes them.

    use std::time::Duration;

    use super::lease_time;

    #[test]
    fn the_time_of_a_lease() {
        assert_eq!(lease_time("1970-01-01T00:00:00.000001Z"), Some(Duration::from_micros(1)));
        assert_eq!(lease_time("2000-02-29T12:00:00.500000Z"), Some(Duration::from_millis(951_825_600_500)));
        assert_eq!(lease_time(""), None);
    }
}
