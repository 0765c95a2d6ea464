//! Keywords of virtual routers and of what they track.

use super::Tier::{A, B, C};
use super::{Block, Keyword, block, row};

pub(super) const INSTANCE: &[Keyword] = &[
    row("state", A, "MASTER or BACKUP: a hint, unless the priority is 255"),
    row("interface", A, "where adverts go"),
    row("virtual_router_id", A, "1 to 255"),
    row("priority", A, "1 to 255; 255: owner of the addresses"),
    row("advert_int", A, "seconds between adverts"),
    row("version", A, "2 or 3"),
    row("nopreempt", A, "a lower master keeps the addresses"),
    row("preempt", A, "the opposite, and the default"),
    row("preempt_delay", A, "seconds before a lower master is preempted"),
    block("authentication", A, Block::Authentication, "password of version 2"),
    row("unicast_src_ip", A, "source of adverts"),
    row("mcast_src_ip", A, "source of adverts"),
    row("mcast_dst_ip", B, "group of adverts"),
    row("track_src_ip", B, "fails while the source address is missing"),
    block("unicast_peer", A, Block::List, "adverts go to these addresses"),
    row("unicast_ttl", B, "TTL of unicast adverts"),
    row("unicast_fault_no_peer", B, "no peers: a fault, not multicast"),
    row("check_unicast_src", A, "adverts come from peers only"),
    row("old_unicast_checksum", B, "checksum of keepalived up to 1.3.6"),
    row("v3_checksum_as_v2", B, "checksum of version 3 without pseudo header"),
    row("native_ipv6", A, "IPv6 adverts"),
    block("track_interface", A, Block::List, "interfaces that must be up"),
    block("track_script", A, Block::List, "checks that must pass"),
    block("track_process", B, Block::List, "processes that must run"),
    block("track_file", B, Block::List, "numbers in files"),
    block("virtual_ipaddress", A, Block::List, "addresses, in the adverts"),
    block("virtual_ipaddress_excluded", A, Block::List, "addresses, not in the adverts"),
    block("virtual_routes", B, Block::List, "routes of the master"),
    block("virtual_rules", B, Block::List, "rules of the master"),
    row("promote_secondaries", B, "other addresses of a network stay when the first goes"),
    row("dont_track_primary", A, "the own interface may be down"),
    row("use_vmac", A, "a link with the virtual MAC address"),
    row("vmac_xmit_base", A, "adverts leave through the link below"),
    row("use_vmac_addr", B, "virtual links for addresses elsewhere"),
    row("accept", A, "packets to the addresses are accepted"),
    row("no_accept", A, "they are not, unless the priority is 255"),
    row("skip_check_adv_addr", A, "the list of the same master is not compared again"),
    row("strict_mode", A, "no extensions of the protocol"),
    row("notify_master", A, "runs when it becomes master"),
    row("notify_backup", A, "runs when it becomes backup"),
    row("notify_fault", A, "runs when it fails"),
    row("notify_stop", A, "runs at the end"),
    row("notify_deleted", B, "runs when a reload removes it"),
    row("notify", A, "runs after the others, with four arguments more"),
    row("notify_master_rx_lower_pri", B, "runs when a master hears a lower one"),
    row("notify_priority_changes", B, "changes of priority on the pipes"),
    row("garp_master_delay", A, "seconds to the second burst"),
    row("garp_master_repeat", A, "frames of a burst"),
    row("garp_lower_prio_delay", A, "seconds to the second burst after a lower advert"),
    row("garp_lower_prio_repeat", A, "frames of a burst after a lower advert"),
    row("garp_master_refresh", A, "seconds between repetitions"),
    row("garp_master_refresh_repeat", A, "frames of a repetition"),
    row("garp_extra_if", B, "announcements on other interfaces"),
    row("vmac_garp_intvl", B, "old name of garp_extra_if"),
    row("down_timer_adverts", B, "adverts that may be missing"),
    row("lower_prio_no_advert", A, "a lower advert is not answered"),
    row("higher_prio_send_advert", A, "a last advert before yielding"),
    row("smtp_alert", C, "mail"),
    row("vrf", C, "virtual routing"),
    row("use_ipvlan", C, "ipvlan"),
    block("track_bfd", C, Block::List, "BFD"),
    row("debug", C, "does nothing in keepalived either"),
    row("kernel_rx_buf_size", C, "buffers are sized by need"),
    row("linkbeat_use_polling", C, "links are watched by netlink"),
    row("lvs_sync_daemon_interface", C, "IPVS's own synchronisation"),
];

pub(super) const AUTHENTICATION: &[Keyword] =
    &[row("auth_type", A, "PASS; AH is refused"), row("auth_pass", A, "eight characters count")];

pub(super) const SYNC_GROUP: &[Keyword] = &[
    block("group", A, Block::List, "names of instances"),
    block("track_interface", A, Block::List, "interfaces that must be up"),
    block("track_script", A, Block::List, "checks that must pass"),
    block("track_process", B, Block::List, "processes that must run"),
    block("track_file", B, Block::List, "numbers in files"),
    row("notify_master", A, "runs when it becomes master"),
    row("notify_backup", A, "runs when it becomes backup"),
    row("notify_fault", A, "runs when it fails"),
    row("notify_stop", A, "runs at the end"),
    row("notify", A, "runs after the others, with four arguments more"),
    row("notify_priority_changes", B, "changes of priority on the pipes"),
    row("global_tracking", B, "old name of sync_group_tracking_weight"),
    row("sync_group_tracking_weight", B, "weights of the members count"),
    row("smtp_alert", C, "mail"),
    block("track_bfd", C, Block::List, "BFD"),
];

pub(super) const SCRIPT: &[Keyword] = &[
    row("script", A, "what runs"),
    row("interval", A, "seconds between two starts"),
    row("timeout", A, "seconds it may take"),
    row("weight", A, "0: fault; else added while good, or taken while bad"),
    row("rise", A, "successes in a row that make it good"),
    row("fall", A, "failures in a row that make it bad"),
    row("user", A, "whom it runs as"),
    row("init_fail", A, "bad until it was good once"),
];

pub(super) const PROCESS: &[Keyword] = &[
    row("process", B, "its name, and parameters"),
    row("param_match", B, "how parameters are compared"),
    row("weight", B, "0: fault; else added while good, or taken while bad"),
    row("quorum", B, "at least that many"),
    row("quorum_max", B, "at most that many"),
    row("delay", B, "both delays"),
    row("fork_delay", B, "seconds it must run before it counts"),
    row("terminate_delay", B, "seconds it may be gone"),
    row("full_command", B, "the command line, not the name"),
];

pub(super) const FILE: &[Keyword] =
    &[row("file", B, "its path"), row("weight", B, "factor"), row("init_file", B, "written at the start")];

pub(super) const GARP_GROUP: &[Keyword] = &[
    row("garp_interval", B, "seconds between gratuitous ARPs"),
    row("gna_interval", B, "seconds between unsolicited neighbour advertisements"),
    row("interface", B, "one interface"),
    block("interfaces", B, Block::List, "interfaces that share the interval"),
];

pub(super) const TRACK_GROUP: &[Keyword] = &[block("group", B, Block::List, "names of instances")];
