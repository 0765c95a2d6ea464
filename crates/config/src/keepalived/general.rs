//! `global_defs`, and the keywords outside of blocks that have none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::model::{Command, Fifo, GROUP4, GROUP6, Garp, Version};
use super::read::Reader;
use super::tree::Item;

/// What instances take when they do not say otherwise.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    pub(super) version: Version,
    pub(super) strict: bool,
    pub(super) group4: Ipv4Addr,
    pub(super) group6: Ipv6Addr,
    pub(super) garp: Garp,
    /// `None`: as after becoming master.
    pub(super) lower_delay: Option<Duration>,
    pub(super) lower_repeat: Option<u32>,
    pub(super) lower_prio_no_advert: bool,
    pub(super) higher_prio_send_advert: bool,
    pub(super) down_timer_adverts: u32,
    pub(super) check_unicast_source: bool,
    pub(super) skip_check_adv_addr: bool,
    pub(super) priority_changes: bool,
    pub(super) checksum_plain: bool,
    pub(super) vmac_prefix: Option<String>,
    pub(super) startup_timeout: Duration,
    pub(super) shutdown_timeout: Duration,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            version: Version::V2,
            strict: false,
            group4: GROUP4,
            group6: GROUP6,
            garp: Garp {
                master_delay: Some(Duration::from_secs(5)),
                master_repeat: 5,
                lower_prio_delay: Some(Duration::from_secs(5)),
                lower_prio_repeat: 5,
                refresh: None,
                refresh_repeat: 1,
                extra_if: None,
            },
            lower_delay: None,
            lower_repeat: None,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            down_timer_adverts: 3,
            check_unicast_source: false,
            skip_check_adv_addr: false,
            priority_changes: false,
            checksum_plain: false,
            vmac_prefix: None,
            startup_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// Longest time that can be written where keepalived sets no bound of its own.
pub(super) const TIME_MAX: Duration = Duration::from_secs(4294);

/// Seconds; 0: none.
pub(super) fn unless_zero(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

/// One keyword.
pub(super) fn keyword(reader: &mut Reader<'_, '_>, item: &Item) {
    if announcing(reader, item) || protocol(reader, item) || programs(reader, item) {
        return;
    }
    let findings = &mut reader.findings;
    let global = &mut reader.config.global;
    match item.key() {
        "router_id" => match item.word(1) {
            Some(name) => global.router_id = Some(name.to_owned()),
            None => item.bad(0, findings, "has no value and is ignored", ""),
        },
        "enable_script_security" => global.script_security = true,
        "default_interface" => {
            if let Some(name) = item.need(1, findings) {
                global.default_interface = name.to_owned();
            }
        }
        "dynamic_interfaces" => global.dynamic_interfaces = true,
        "fifo_write_vrrp_states_on_reload" => global.fifo_states_on_reload = true,
        "rs_init_notifies" => global.real_init_notifies = true,
        "use_pid_dir" => global.use_pid_dir = true,
        "data_use_instance" => global.data_use_instance = item.switch(findings).unwrap_or_default(),
        "checker_log_all_failures" => global.log_all_failures = item.switch(findings).unwrap_or_default(),
        "net_namespace" => global.net_namespace = item.need(1, findings).map(str::to_owned),
        "instance" => global.instance = item.need(1, findings).map(str::to_owned),
        "umask" => match item.need(1, findings).map(umask) {
            Some(None) => item.bad(1, findings, "is no umask and is ignored", "a number, or names like IWGRP|IWOTH"),
            Some(mask) => global.umask = mask,
            None => {}
        },
        "random_seed" => {
            item.whole(1, 0..=u32::MAX, findings);
        }
        "include_check" => {
            for (index, word) in item.words.iter().enumerate().skip(1) {
                let name = word.text.trim_start_matches(['+', '-']);
                if !matches!(name, "readable" | "match" | "wildcard_match" | "brace_match") {
                    item.bad(
                        index,
                        findings,
                        "is no check and is ignored",
                        "readable, match, wildcard_match, brace_match",
                    );
                }
            }
        }
        // Baton has its own table for `vrrp_iptables`, `nftables` and what belongs to them.
        _ => {}
    }
}

fn umask(word: &str) -> Option<u32> {
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let value = match word.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None if word.starts_with('0') => u32::from_str_radix(word, 8).ok()?,
            None => word.parse().ok()?,
        };
        return (value <= 0o777).then_some(value);
    }
    word.split('|').map(str::trim).try_fold(0, |mask, name| {
        let bit = match name.get(..2)? {
            "IR" => 4,
            "IW" => 2,
            "IX" => 1,
            _ => return None,
        };
        let shift = match name.get(2..)? {
            "USR" => 6,
            "GRP" => 3,
            "OTH" => 0,
            _ => return None,
        };
        Some(mask | bit << shift)
    })
}

/// Gratuitous ARP and neighbour advertisements.
fn announcing(reader: &mut Reader<'_, '_>, item: &Item) -> bool {
    let findings = &mut reader.findings;
    let defaults = &mut reader.defaults;
    let garp = &mut defaults.garp;
    match item.key() {
        "vrrp_garp_master_delay" => {
            if let Some(delay) = item.whole(1, 0..=4294, findings) {
                garp.master_delay = unless_zero(delay);
            }
        }
        "vrrp_garp_master_repeat" => repeat(item, findings, &mut garp.master_repeat),
        "vrrp_garp_master_refresh" => {
            if let Some(refresh) = item.whole(1, 0..=u32::MAX, findings) {
                garp.refresh = unless_zero(refresh);
            }
        }
        "vrrp_garp_master_refresh_repeat" => repeat(item, findings, &mut garp.refresh_repeat),
        "vrrp_garp_lower_prio_delay" => {
            let delay = item.whole(1, 0..=4294, findings);
            defaults.lower_delay = delay.map(|delay| Duration::from_secs(u64::from(delay))).or(defaults.lower_delay);
        }
        "vrrp_garp_lower_prio_repeat" => {
            defaults.lower_repeat = item.whole(1, 0..=i32::MAX as u32, findings).or(defaults.lower_repeat);
        }
        "vrrp_min_garp" => {
            if item.switch(findings) == Some(true) {
                garp.master_delay = None;
                garp.master_repeat = 1;
                garp.refresh = None;
            }
        }
        "vrrp_garp_interval" => {
            let time = item.seconds(1, Duration::ZERO..=TIME_MAX, findings);
            reader.config.global.garp_interval = time.unwrap_or_default();
        }
        "vrrp_gna_interval" => {
            let time = item.seconds(1, Duration::ZERO..=TIME_MAX, findings);
            reader.config.global.gna_interval = time.unwrap_or_default();
        }
        "vrrp_garp_extra_if" | "vrrp_vmac_garp_intvl" => garp.extra_if = extra_if(item, findings),
        _ => return false,
    }
    true
}

/// Frames of a burst: 0 is taken as 1.
pub(super) fn repeat(item: &Item, findings: &mut super::finding::Findings, into: &mut u32) {
    match item.whole(1, 0..=u32::MAX, findings) {
        Some(0) => {
            item.bad(1, findings, "must be above 0 and is taken as 1", "");
            *into = 1;
        }
        Some(repeat) => *into = repeat,
        None => {}
    }
}

/// `[all] seconds`
pub(super) fn extra_if(item: &Item, findings: &mut super::finding::Findings) -> Option<(Duration, bool)> {
    let all = item.word(1) == Some("all");
    let seconds = item.whole(1 + usize::from(all), 0..=86_400, findings)?;
    unless_zero(seconds).map(|time| (time, all))
}

/// The protocol itself.
fn protocol(reader: &mut Reader<'_, '_>, item: &Item) -> bool {
    let findings = &mut reader.findings;
    let defaults = &mut reader.defaults;
    match item.key() {
        "vrrp_version" => match item.whole(1, 2..=3, findings) {
            Some(2) => defaults.version = Version::V2,
            Some(_) => defaults.version = Version::V3,
            None => {}
        },
        "vrrp_strict" => defaults.strict = true,
        "vrrp_mcast_group4" => match item.address(1, findings) {
            Some(IpAddr::V4(group)) if group.is_multicast() => defaults.group4 = group,
            Some(_) => item.bad(1, findings, "is no IPv4 multicast group and is ignored", "224.0.0.18"),
            None => {}
        },
        "vrrp_mcast_group6" => match item.address(1, findings) {
            Some(IpAddr::V6(group)) if group.is_multicast() => defaults.group6 = group,
            Some(_) => item.bad(1, findings, "is no IPv6 multicast group and is ignored", "ff02::12"),
            None => {}
        },
        "vrrp_lower_prio_no_advert" => {
            defaults.lower_prio_no_advert = item.switch(findings).unwrap_or(defaults.lower_prio_no_advert);
        }
        "vrrp_higher_prio_send_advert" => {
            defaults.higher_prio_send_advert = item.switch(findings).unwrap_or(defaults.higher_prio_send_advert);
        }
        "vrrp_down_timer_adverts" => {
            defaults.down_timer_adverts = item.whole(1, 1..=100, findings).unwrap_or(defaults.down_timer_adverts);
        }
        "vrrp_check_unicast_src" => defaults.check_unicast_source = true,
        "vrrp_skip_check_adv_addr" => defaults.skip_check_adv_addr = item.switch(findings).unwrap_or_default(),
        "vrrp_notify_priority_changes" => defaults.priority_changes = item.switch(findings).unwrap_or_default(),
        "v3_checksum_as_v2" => defaults.checksum_plain = item.switch(findings).unwrap_or_default(),
        "vmac_prefix" => defaults.vmac_prefix = item.need(1, findings).map(str::to_owned),
        "vrrp_startup_delay" => {
            let time = item.seconds(1, Duration::ZERO..=TIME_MAX, findings);
            reader.config.global.startup_delay = time.unwrap_or_default();
        }
        _ => return false,
    }
    true
}

/// Scripts and pipes of the process.
fn programs(reader: &mut Reader<'_, '_>, item: &Item) -> bool {
    let findings = &mut reader.findings;
    let global = &mut reader.config.global;
    match item.key() {
        "script_user" => {
            if let Some(name) = item.need(1, findings) {
                if (reader.host.user)(name) {
                    global.script_user = item.user(1);
                } else {
                    item.bad(1, findings, "is no user of this host", "a user for scripts");
                }
            }
        }
        "notify_fifo" => fifo(item, findings, &mut global.notify_fifo),
        "vrrp_notify_fifo" => fifo(item, findings, &mut global.vrrp_notify_fifo),
        "notify_fifo_script" => fifo_script(item, findings, &mut global.notify_fifo),
        "vrrp_notify_fifo_script" => fifo_script(item, findings, &mut global.vrrp_notify_fifo),
        "startup_script" => once(item, findings, &mut global.startup, reader.defaults.startup_timeout),
        "shutdown_script" => once(item, findings, &mut global.shutdown, reader.defaults.shutdown_timeout),
        "startup_script_timeout" | "shutdown_script_timeout" => {
            let Some(seconds) = item.whole(1, 1..=1000, findings) else { return true };
            let time = Duration::from_secs(u64::from(seconds));
            let (script, default) = if item.key().starts_with("startup") {
                (&mut global.startup, &mut reader.defaults.startup_timeout)
            } else {
                (&mut global.shutdown, &mut reader.defaults.shutdown_timeout)
            };
            *default = time;
            if let Some((_, timeout)) = script {
                *timeout = time;
            }
        }
        _ => return false,
    }
    true
}

fn once(
    item: &Item,
    findings: &mut super::finding::Findings,
    into: &mut Option<(Command, Duration)>,
    timeout: Duration,
) {
    if into.is_some() {
        item.bad(1, findings, "is the second one and is ignored", "one");
        return;
    }
    *into = item.command(findings).map(|command| (command, timeout));
}

fn fifo(item: &Item, findings: &mut super::finding::Findings, into: &mut Option<Fifo>) {
    let Some(path) = item.need(1, findings) else { return };
    match into {
        Some(fifo) if !fifo.path.is_empty() => item.bad(1, findings, "is the second one and is ignored", "one"),
        Some(fifo) => {
            fifo.path = path.to_owned();
            fifo.owner = item.user(2);
        }
        None => *into = Some(Fifo { path: path.to_owned(), owner: item.user(2), script: None }),
    }
}

fn fifo_script(item: &Item, findings: &mut super::finding::Findings, into: &mut Option<Fifo>) {
    let script = item.command(findings);
    // The pipe may be named after its script; one that never is goes away when everything was read.
    let fifo = into.get_or_insert(Fifo { path: String::new(), owner: None, script: None });
    if fifo.script.is_some() {
        item.bad(1, findings, "is the second one and is ignored", "one");
    } else {
        fifo.script = script;
    }
}
