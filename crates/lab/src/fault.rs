//! Ways to break a cluster, and how each is repaired.

use std::io;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::signal::Signal;

use crate::cluster::Cluster;
use crate::lab::{INTERFACE, Part};

/// Something that goes wrong with one node, or with what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The host loses its power; later it boots again.
    PowerOff,
    /// `kill -9` of the daemon; later it is started again.
    Kill,
    /// `kill -9`, and a supervisor starts it again at once.
    KillAndRestart,
    /// SIGSTOP; later SIGCONT.
    Stop,
    /// The cable is pulled: the host sees its carrier go.
    CablePull,
    /// The host is cut off while every carrier stays.
    Partition,
    /// SIGTERM; later it is started again.
    Terminate,
    /// Somebody runs `nft flush ruleset` on the host.
    FlushRuleset,
    /// Somebody deletes the address on the host.
    RemoveAddress,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 9] = [
        Fault::PowerOff,
        Fault::Kill,
        Fault::KillAndRestart,
        Fault::Stop,
        Fault::CablePull,
        Fault::Partition,
        Fault::Terminate,
        Fault::FlushRuleset,
        Fault::RemoveAddress,
    ];

    /// What happened, for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Fault::PowerOff => "power off",
            Fault::Kill => "kill -9",
            Fault::KillAndRestart => "kill -9, restarted at once",
            Fault::Stop => "SIGSTOP",
            Fault::CablePull => "cable pulled",
            Fault::Partition => "cut off, carrier stays",
            Fault::Terminate => "SIGTERM",
            Fault::FlushRuleset => "nft flush ruleset",
            Fault::RemoveAddress => "address deleted",
        }
    }

    /// Breaks node `place`.
    pub fn strike(self, cluster: &mut Cluster, place: usize) -> io::Result<()> {
        match self {
            Fault::PowerOff => cluster.power_off(place),
            Fault::Kill => {
                cluster.kill(place);
                Ok(())
            }
            Fault::KillAndRestart => {
                cluster.kill(place);
                cluster.start_daemon(place)
            }
            Fault::Stop => {
                cluster.signal(place, Signal::SIGSTOP);
                Ok(())
            }
            Fault::CablePull => cluster.set_cable(place, false),
            Fault::Partition => cluster.set_part(place, Part::Island),
            Fault::Terminate => {
                cluster.signal(place, Signal::SIGTERM);
                Ok(())
            }
            Fault::FlushRuleset => flush_ruleset(cluster, place),
            Fault::RemoveAddress => remove_addresses(cluster, place),
        }
    }

    /// Repairs what `strike` broke on node `place`; nothing happens to a node that is well.
    pub fn repair(self, cluster: &mut Cluster, place: usize) -> io::Result<()> {
        match self {
            Fault::PowerOff => cluster.power_on(place),
            Fault::Kill | Fault::KillAndRestart => cluster.start_daemon(place),
            Fault::Terminate => {
                if cluster.terminate(place, Duration::from_secs(5)) {
                    return cluster.start_daemon(place);
                }
                Err(io::Error::other(format!("the daemon of {} outlives SIGTERM", cluster.name(place))))
            }
            Fault::Stop => {
                cluster.signal(place, Signal::SIGCONT);
                Ok(())
            }
            Fault::CablePull => cluster.set_cable(place, true),
            Fault::Partition => cluster.set_part(place, Part::Mainland),
            Fault::FlushRuleset | Fault::RemoveAddress => Ok(()),
        }
    }
}

/// Deletes every virtual address that is there.
fn remove_addresses(cluster: &Cluster, place: usize) -> io::Result<()> {
    let Some(host) = cluster.host(place) else { return Ok(()) };
    let vips = cluster.vips().to_vec();
    host.run(move |links| {
        let index = links.link(INTERFACE)?.index;
        let there = links.addresses()?;
        for (_, address, prefix) in there.into_iter().filter(|(on, address, _)| *on == index && vips.contains(address))
        {
            match links.remove_address(index, address, prefix) {
                // Its end may have come meanwhile.
                Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EADDRNOTAVAIL as i32) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    })
}

/// What `nft flush ruleset` sends: one transaction with one message, "delete the tables of every family".
const FLUSH_RULESET: [u8; 60] = {
    let mut bytes = [0; 60];
    // NFNL_MSG_BATCH_BEGIN, NFT_MSG_DELTABLE, NFNL_MSG_BATCH_END; each is a header of 16 bytes and one of 4.
    let kinds: [u16; 3] = [0x10, 10 << 8 | 2, 0x11];
    let mut message = 0;
    while message < 3 {
        let at = message * 20;
        bytes[at] = 20;
        let kind = kinds[message].to_ne_bytes();
        (bytes[at + 4], bytes[at + 5]) = (kind[0], kind[1]);
        // NLM_F_REQUEST, and an acknowledgement for the deletion.
        bytes[at + 6] = if message == 1 { 5 } else { 1 };
        // The batch's headers name the subsystem: nftables, big-endian.
        if message != 1 {
            bytes[at + 19] = 10;
        }
        message += 1;
    }
    bytes
};

fn flush_ruleset(cluster: &Cluster, place: usize) -> io::Result<()> {
    let Some(host) = cluster.host(place) else { return Ok(()) };
    host.run(|_| {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(&FLUSH_RULESET, 0)?;
        let (answer, _) = socket.recv_from_full()?;
        let code = answer.get(16..20).and_then(|code| code.first_chunk()).map_or(0, |code| i32::from_ne_bytes(*code));
        if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
    })
}
