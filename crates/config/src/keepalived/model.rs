//! What a `keepalived.conf` asks for, as plain values: complete, with keepalived's defaults filled in.
//!
//! A driver needs no knowledge of the file format. What the file says about real servers is in [`lvs`].

mod address;
pub mod lvs;
mod track;

pub use address::{Address, NextHop, Route, RouteKind, Rule, Scope};
pub use track::{Parameters, Process, Script, Track, TrackFile, Tracks, Weight};

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// Where something was written. Two places never make two configurations differ: a reload compares what is meant.
#[derive(Clone, Debug, Default)]
pub struct At {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Line, from one; 0: nowhere.
    pub line: u32,
    /// Column in characters, from one.
    pub column: u32,
}

impl PartialEq for At {
    fn eq(&self, _: &At) -> bool {
        true
    }
}

impl Eq for At {}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What holds for the whole process.
    pub global: Global,
    /// `vrrp_script`: only those that something tracks need to run.
    pub scripts: Vec<Script>,
    /// `vrrp_track_process`, `track_process`.
    pub processes: Vec<Process>,
    /// `track_file`, `vrrp_track_file`.
    pub files: Vec<TrackFile>,
    /// `vrrp_instance`, in the order of the file. No two have one name.
    pub instances: Vec<Instance>,
    /// `vrrp_sync_group`.
    pub groups: Vec<SyncGroup>,
    /// `garp_group`.
    pub garp_groups: Vec<GarpGroup>,
    /// `static_ipaddress`: there as long as the process runs.
    pub static_addresses: Vec<Address>,
    /// `static_routes`.
    pub static_routes: Vec<Route>,
    /// `static_rules`.
    pub static_rules: Vec<Rule>,
    /// `track_group`: which instances fail when a static address or route is gone.
    pub track_groups: Vec<TrackGroup>,
    /// `interface_up_down_delays`.
    pub delays: Vec<InterfaceDelay>,
    /// `virtual_server_group`.
    pub server_groups: Vec<lvs::ServerGroup>,
    /// `virtual_server`.
    pub servers: Vec<lvs::VirtualServer>,
}

/// What holds for the whole process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// `router_id`; `None`: the host's name.
    pub router_id: Option<String>,
    /// `script_user`: scripts without a user of their own. `None`: `keepalived_script` if there is such a user, else ours.
    pub script_user: Option<User>,
    /// `enable_script_security`: no script runs as root that others could change.
    pub script_security: bool,
    /// `notify_fifo`: all events.
    pub notify_fifo: Option<Fifo>,
    /// `vrrp_notify_fifo`: those of VRRP.
    pub vrrp_notify_fifo: Option<Fifo>,
    /// `fifo_write_vrrp_states_on_reload`.
    pub fifo_states_on_reload: bool,
    /// `startup_script` and its timeout.
    pub startup: Option<(Command, Duration)>,
    /// `shutdown_script` and its timeout.
    pub shutdown: Option<(Command, Duration)>,
    /// `default_interface`: for static addresses without `dev`.
    pub default_interface: String,
    /// `vrrp_startup_delay`: before the first instance starts.
    pub startup_delay: Duration,
    /// `garp_interval` on interfaces outside every `garp_group`.
    pub garp_interval: Duration,
    /// `gna_interval` on interfaces outside every `garp_group`.
    pub gna_interval: Duration,
    /// `dynamic_interfaces`: interfaces may come later and go.
    pub dynamic_interfaces: bool,
    /// `net_namespace`.
    pub net_namespace: Option<String>,
    /// `instance`: part of the names of pid files.
    pub instance: Option<String>,
    /// `use_pid_dir`: pid files in `/run/keepalived`.
    pub use_pid_dir: bool,
    /// `data_use_instance`: part of the names of dumps.
    pub data_use_instance: bool,
    /// `umask`.
    pub umask: Option<u32>,
    /// `checker_log_all_failures`.
    pub log_all_failures: bool,
    /// `rs_init_notifies`: notify scripts of real servers run at the start too.
    pub real_init_notifies: bool,
}

impl Default for Global {
    fn default() -> Global {
        Global {
            router_id: None,
            script_user: None,
            script_security: false,
            notify_fifo: None,
            vrrp_notify_fifo: None,
            fifo_states_on_reload: false,
            startup: None,
            shutdown: None,
            default_interface: String::from("eth0"),
            startup_delay: Duration::ZERO,
            garp_interval: Duration::ZERO,
            gna_interval: Duration::ZERO,
            dynamic_interfaces: false,
            net_namespace: None,
            instance: None,
            use_pid_dir: false,
            data_use_instance: false,
            umask: None,
            log_all_failures: false,
            real_init_notifies: false,
        }
    }
}

/// Whom a script runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name of the user, or its number.
    pub name: String,
    /// Name of the group; `None`: the user's own.
    pub group: Option<String>,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// As it was written: what a shell gets when the first word is no program (`</dev/tcp/127.0.0.1/6443`, `a | b`).
    pub text: String,
    /// Program and arguments. Never empty.
    pub args: Vec<String>,
    /// Whom it runs as; `None`: [`Global::script_user`].
    pub user: Option<User>,
    /// Where it was written.
    pub at: At,
}

/// A named pipe and the program that may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    /// Path of the pipe.
    pub path: String,
    /// Owner of the pipe.
    pub owner: Option<User>,
    /// Started with the path as its last argument.
    pub script: Option<Command>,
}

/// What runs when a state changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// `notify_master`.
    pub master: Option<Command>,
    /// `notify_backup`.
    pub backup: Option<Command>,
    /// `notify_fault`.
    pub fault: Option<Command>,
    /// `notify_stop`.
    pub stop: Option<Command>,
    /// `notify_deleted` was written: `DELETED` is told instead of `FAULT` after a reload without the instance.
    pub tell_deleted: bool,
    /// `notify_deleted` with a script.
    pub deleted: Option<Command>,
    /// `notify`: after the others, with `INSTANCE|GROUP name STATE priority` appended.
    pub any: Option<Command>,
    /// `notify_master_rx_lower_pri`: instances only.
    pub master_rx_lower_pri: Option<Command>,
    /// `notify_priority_changes`: on the pipes.
    pub priority_changes: bool,
}

/// Version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768; IPv4 only, whole seconds.
    V2,
    /// RFC 5798, RFC 9568.
    V3,
}

/// Family of an instance's adverts: that of its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// `state`: a hint only, unless the priority is 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for adverts first. Also with `nopreempt` or `preempt_delay`.
    Backup,
    /// Clears `nopreempt` and `preempt_delay` (already done here).
    Master,
}

/// The eight bytes of a version 2 password, padded with zeros. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password(pub [u8; 8]);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Which bytes the checksum of an IPv4 version 3 advert is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// With a pseudo header: keepalived's default.
    Pseudo,
    /// Without (`v3_checksum_as_v2`), as RFC 9568 says.
    Plain,
    /// `old_unicast_checksum`: a pseudo header with the multicast group, as keepalived up to 1.3.6.
    OldUnicast,
}

/// One other router, by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnicastPeer {
    /// Where adverts go, and come from when that is checked.
    pub address: IpAddr,
    /// Smallest TTL of an advert from it.
    pub min_ttl: Option<u8>,
    /// Largest TTL of an advert from it.
    pub max_ttl: Option<u8>,
}

/// A link of its own with the virtual MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmac {
    /// Name of the link.
    pub name: String,
    /// Its address; `None`: 00:00:5e:00:01:VRID, 00:00:5e:00:02:VRID for IPv6.
    pub mac: Option<[u8; 6]>,
    /// `vmac_xmit_base`: adverts leave through the link below.
    pub xmit_base: bool,
    /// `use_vmac_addr`: also for addresses on other links.
    pub for_addresses: bool,
}

/// How often and when addresses are announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garp {
    /// From becoming master to the second burst; `None`: no second burst.
    pub master_delay: Option<Duration>,
    /// Frames of a burst.
    pub master_repeat: u32,
    /// From a lower advert as master to the second burst.
    pub lower_prio_delay: Option<Duration>,
    /// Frames of a burst then.
    pub lower_prio_repeat: u32,
    /// Repetition while master; `None`: none.
    pub refresh: Option<Duration>,
    /// Frames then.
    pub refresh_repeat: u32,
    /// Repetition for addresses on other links, and whether on others than virtual MACs too.
    pub extra_if: Option<(Duration, bool)>,
}

/// `vrrp_instance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Where it was written.
    pub at: At,
    /// `interface`; `None`: unicast without one.
    pub interface: Option<String>,
    /// `virtual_router_id`, 1..=255.
    pub vrid: u8,
    /// `priority`, 1..=255. 255: owner of the addresses.
    pub priority: u8,
    /// `state`.
    pub state: State,
    /// IPv4 or IPv6 adverts.
    pub family: Family,
    /// `version`; 3 for IPv6.
    pub version: Version,
    /// `advert_int`: whole seconds in version 2, hundredths in version 3.
    pub advert_interval: Duration,
    /// `down_timer_adverts`.
    pub down_timer_adverts: u32,
    /// Password of version 2.
    pub password: Option<Password>,
    /// Form of the checksum.
    pub checksum: Checksum,
    /// `mcast_src_ip` or `unicast_src_ip`; `None`: the interface's first address.
    pub source: Option<IpAddr>,
    /// `track_src_ip`: FAULT while that address is not there.
    pub track_source: bool,
    /// Group of the adverts: `mcast_dst_ip`, `vrrp_mcast_group4`, `vrrp_mcast_group6`.
    pub group: IpAddr,
    /// `unicast_peer`: instead of the group. Empty: multicast.
    pub unicast_peers: Vec<UnicastPeer>,
    /// `unicast_fault_no_peer` with an empty list: FAULT instead of multicast.
    pub fault_without_peers: bool,
    /// TTL of unicast adverts.
    pub unicast_ttl: u8,
    /// `check_unicast_src`: adverts of others than the peers are refused.
    pub check_unicast_source: bool,
    /// Takes over from a lower master.
    pub preempt: bool,
    /// `preempt_delay`.
    pub preempt_delay: Duration,
    /// `strict_mode`.
    pub strict: bool,
    /// Packets to the addresses are accepted though we do not own them.
    pub accept: bool,
    /// `use_vmac`.
    pub vmac: Option<Vmac>,
    /// `dont_track_primary`: the state of the own interface does not matter.
    pub dont_track_primary: bool,
    /// `skip_check_adv_addr`.
    pub skip_check_adv_addr: bool,
    /// `lower_prio_no_advert`: a lower master is not answered at once.
    pub lower_prio_no_advert: bool,
    /// `higher_prio_send_advert`: one last advert before yielding.
    pub higher_prio_send_advert: bool,
    /// `promote_secondaries`.
    pub promote_secondaries: bool,
    /// Announcing.
    pub garp: Garp,
    /// What is tracked. Scripts that are disabled are not in here.
    pub tracks: Tracks,
    /// `virtual_ipaddress`: in the adverts, in this order. All of one family.
    pub addresses: Vec<Address>,
    /// `virtual_ipaddress_excluded`: not in the adverts.
    pub excluded: Vec<Address>,
    /// `virtual_routes`.
    pub routes: Vec<Route>,
    /// `virtual_rules`.
    pub rules: Vec<Rule>,
    /// What runs when the state changes.
    pub notify: Notify,
}

/// `vrrp_sync_group`: its members change state together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// Its name.
    pub name: String,
    /// Where it was written.
    pub at: At,
    /// Names in [`Config::instances`].
    pub members: Vec<String>,
    /// What the group tracks, for all members.
    pub tracks: Tracks,
    /// `sync_group_tracking_weight` or `global_tracking`: members' weights count; otherwise each is 0.
    pub tracking_weight: bool,
    /// What runs when the state changes.
    pub notify: Notify,
}

/// `track_group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackGroup {
    /// Its name.
    pub name: String,
    /// Names in [`Config::instances`].
    pub members: Vec<String>,
}

/// `garp_group`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GarpGroup {
    /// Between gratuitous ARPs.
    pub garp_interval: Duration,
    /// Between unsolicited neighbour advertisements.
    pub gna_interval: Duration,
    /// The links that share them.
    pub interfaces: Vec<String>,
}

/// A line of `interface_up_down_delays`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceDelay {
    /// The interface.
    pub name: String,
    /// Down for so long before it counts.
    pub down: Duration,
    /// Up for so long before it counts.
    pub up: Duration,
}

/// Group of version 2 and IPv4 version 3 adverts.
pub const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Group of IPv6 adverts.
pub const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
