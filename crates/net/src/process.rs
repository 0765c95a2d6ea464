//! What the process asks of the kernel for itself: few capabilities, memory that stays, a thread that runs in time.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::mm::MlockAllFlags;
use rustix::process::Resource;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::sys;

/// What is kept, as far as it is there: netlink and nftables, packet sockets, low ports, scheduling, locked memory.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::IPC_LOCK);
/// The highest capability number that any kernel has; unknown ones are refused and skipped.
const LAST_CAPABILITY: u32 = 63;
/// Above ordinary threads, below those of the kernel (which run at 50).
const PRIORITY: i32 = 10;
/// As much stack as the keeper thread ever uses, with room.
const STACK: usize = 128 * 1024;

/// Has a connection's port chosen when it connects, though it is bound to an address before: one port then serves towards
/// several servers at once. Kernels before 4.2 do not know it.
pub fn choose_port_late<Fd: AsFd>(socket: Fd) -> io::Result<()> {
    sys::choose_port_late(socket.as_fd())
}

/// Gives up every capability that is not needed, for the calling thread and those it makes from now on: to be called
/// before there are others. Programs started later get none.
pub fn drop_capabilities() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // Shrinking the bounding set needs CAP_SETPCAP, so it comes first; without it nothing is lost, see below.
    for number in 0..=LAST_CAPABILITY {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if !KEPT.contains(capability) && rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false) {
            let _ = rustix::thread::remove_capability_from_bounding_set(capability);
        }
    }
    let _ = rustix::thread::clear_ambient_capability_set();
    let permitted = rustix::thread::capabilities(None)?.permitted & KEPT;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Keeps the process's memory from being paged out, and the calling thread's stack there before it is needed. Pages are
/// locked as they are used, so that what is never used costs nothing.
pub fn lock_memory() -> io::Result<()> {
    prefault_stack();
    rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT)?;
    // With a limit, locking the future would make ordinary allocations fail once it is reached.
    let unlimited = rustix::process::getrlimit(Resource::Memlock).current.is_none();
    if unlimited || lifts_limits() {
        rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    }
    Ok(())
}

/// Lets the pages of text and constants, of this program and its libraries, go that were used so far. Those that are used
/// again come back from the page cache; what only the start used does not.
pub fn give_back_text() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        // Constants come first in a file; what is relocated comes later, and is not to be had from the file again.
        if let [range, "r-xp", _, _, _, path] | [range, "r--p", "00000000", _, _, path] = words[..]
            && path.starts_with('/')
            && let Some((from, to)) = range.split_once('-')
            && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
        {
            sys::unmap_text(from, to.saturating_sub(from))?;
        }
    }
    Ok(())
}

/// Asks that the calling thread runs before ordinary ones (`SCHED_FIFO`); false when it may not. What it forks does not
/// inherit it.
#[must_use]
pub fn realtime() -> bool {
    // Wakes up when asked to, not up to 50 µs later.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
    sys::schedule_fifo(PRIORITY).is_ok()
}

/// The inode number of the calling thread's network namespace: instances in different ones never meet.
#[must_use]
pub fn netns_inode() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino())
}

/// CAP_IPC_LOCK counts only in the first user namespace.
fn lifts_limits() -> bool {
    let capable = rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    capable && map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[inline(never)]
fn prefault_stack() {
    let stack = [1u8; STACK];
    std::hint::black_box(&stack);
}

/// Seconds by which this host's time zone is east of Greenwich at a moment, in seconds since 1970.
#[must_use]
pub fn local_offset(epoch: i64) -> i64 {
    sys::local_offset(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_has_an_inode_and_memory_can_be_asked_for() {
        assert_eq!(netns_inode(), fs::metadata("/proc/self/ns/net").unwrap().ino());
        // Whether it is allowed depends on the machine; it must not disturb either way.
        let _ = lock_memory();
        give_back_text().unwrap();
        assert_eq!(vec![1u8; 4 << 20].iter().map(|b| usize::from(*b)).sum::<usize>(), 4 << 20);
    }

    #[test]
    fn dropping_keeps_no_more_than_what_is_needed() {
        // Of this thread alone: the test harness made others before.
        std::thread::spawn(|| {
            let before = rustix::thread::capabilities(None).unwrap();
            drop_capabilities().unwrap();
            let after = rustix::thread::capabilities(None).unwrap();
            assert_eq!(after.permitted, before.permitted & KEPT);
            assert_eq!((after.effective, after.inheritable), (after.permitted, CapabilitySet::empty()));
            assert!(
                rustix::thread::set_capabilities(None, CapabilitySets { permitted: CapabilitySet::SYS_ADMIN, ..after })
                    .is_err()
            );
        })
        .join()
        .unwrap();
    }
}
