//! What SIGUSR1, SIGUSR2 and the JSON signal write: the files that exporters of keepalived's state read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use baton_config::keepalived::model::{Address, Config, Instance, State as Wanted, Version};
use baton_core::time::Time;
use baton_core::vrrp::status::{Counters, RouterStatus};
use baton_core::vrrp::{State, Status};
use serde_json::{Value, json};

/// Where the original puts them.
const DIRECTORY: &str = "/tmp";

/// Counters at the last reset, by instance.
pub(super) type Zero = BTreeMap<String, Counters>;

/// A file of the original's name, made anew so that no link is followed.
///
/// # Errors
/// What writing may fail with.
pub(super) fn write(name: &str, text: &str) -> io::Result<PathBuf> {
    let directory = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from(DIRECTORY), PathBuf::from);
    let path = directory.join(name);
    let fresh = directory.join(format!("{name}.{}", std::process::id()));
    // What an interrupted write may have left.
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, &path)?;
    Ok(path)
}

/// Instances of the file with what is known of them.
fn known<'a>(config: &'a Config, status: &'a Status) -> impl Iterator<Item = (&'a Instance, &'a RouterStatus)> {
    config.instances.iter().filter_map(|i| Some((i, status.routers.iter().find(|r| *r.name == *i.name)?)))
}

/// Seconds since 1970 of a time on our own clock.
fn wall(time: Time, now: Time) -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.saturating_sub(now.since(time)).as_secs_f64()
}

/// `keepalived.data`.
pub(super) fn data(config: &Config, status: &Status, now: Time) -> String {
    let mut out = String::from("------< VRRP Topology >------\n");
    // Writing to a string cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    for (i, r) in known(config, status) {
        line(format!(" VRRP Instance = {}", i.name));
        line(format!("   VRRP Version = {}", number(i.version)));
        line(format!("   State = {}", r.state));
        if let Some((master, priority)) = r.master {
            line(format!("   Master router = {master}"));
            line(format!("   Master priority = {priority}"));
        }
        line(format!("   Wantstate = {}", if i.state == Wanted::Master { "MASTER" } else { "BACKUP" }));
        line(format!("   Last transition = {:.6}", wall(r.since, now)));
        line(format!("   Interface = {}", i.interface.as_deref().unwrap_or("")));
        if let Some(source) = r.source {
            line(format!("   Using src_ip = {source}"));
        }
        line(format!("   Gratuitous ARP delay = {}", i.garp.master_delay.unwrap_or_default().as_secs()));
        line(format!("   Gratuitous ARP repeat = {}", i.garp.master_repeat));
        line(format!("   Gratuitous ARP refresh = {}", i.garp.refresh.unwrap_or_default().as_secs()));
        line(format!("   Virtual Router ID = {}", i.vrid));
        line(format!("   Priority = {}", i.priority));
        line(format!("   Effective priority = {}", r.priority));
        let until = r.until.map_or_else(|| "no".to_owned(), |end| format!("for {} ms", end.left(now).as_millis()));
        line(format!("   Answers for its addresses = {until}"));
        line(format!("   Advert interval = {} milli-sec", i.advert_interval.as_millis()));
        line(format!("   Preempt = {}", if i.preempt { "enabled" } else { "disabled" }));
        for (name, addresses) in [("IP", &i.addresses), ("IP excluded", &i.excluded)] {
            if !addresses.is_empty() {
                line(format!("   Virtual {name} ({}):", addresses.len()));
                addresses.iter().for_each(|a| line(format!("     {}", address(a, i, r))));
            }
        }
    }
    for group in &status.groups {
        line(format!(" VRRP Sync Group = {}, {}", group.name, group.state));
    }
    for tracker in &status.trackers {
        let state = tracker.well.map_or("unknown", |well| if well { "good" } else { "bad" });
        line(format!(" Tracker = {}, {state}", tracker.name));
    }
    out
}

fn number(version: Version) -> u8 {
    match version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

/// As the original writes it: exporters take the words apart.
fn address(a: &Address, i: &Instance, r: &RouterStatus) -> String {
    let own = i.vmac.as_ref().map(|vmac| vmac.name.as_str()).or(i.interface.as_deref());
    let device = a.interface.as_deref().or(own).unwrap_or("");
    let whole = a.prefix == if a.address.is_ipv4() { 32 } else { 128 };
    let prefix = if whole { String::new() } else { format!("/{}", a.prefix) };
    let set = if r.present.contains(&a.address) { " set" } else { "" };
    format!("{}{prefix} dev {device} scope global{set}", a.address)
}

/// `keepalived.stats`.
pub(super) fn stats(config: &Config, status: &Status, zero: &Zero) -> String {
    let mut out = String::new();
    for (i, r) in known(config, status) {
        let c = since(&r.counters, zero.get(&i.name));
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "VRRP Instance: {}\n  Advertisements:\n    Received: {}\n    Sent: {}\n  Became master: {}\n  \
             Released master: {}\n  Packet Errors:\n    Length: {}\n    TTL: {}\n    Invalid Type: {}\n    \
             Advertisement Interval: {}\n    Address List: {}\n  Authentication Errors:\n    Invalid Type: {}\n    \
             Type Mismatch: {}\n    Failure: {}\n  Priority Zero:\n    Received: {}\n    Sent: {}\n",
            i.name,
            c.received,
            c.sent,
            c.became_master,
            c.released_master,
            c.length,
            c.ttl,
            c.kind,
            c.interval,
            c.address_list,
            c.auth_type,
            c.auth_mismatch,
            c.auth_failure,
            c.zero_received,
            c.zero_sent
        );
    }
    out
}

/// `keepalived.json`.
pub(super) fn json(config: &Config, status: &Status, zero: &Zero, now: Time) -> String {
    let one = |(i, r): (&Instance, &RouterStatus)| {
        let c = since(&r.counters, zero.get(&i.name));
        let stats = json!({
            "advert_rcvd": c.received,
            "advert_sent": c.sent,
            "become_master": c.became_master,
            "release_master": c.released_master,
            "packet_len_err": c.length,
            "advert_interval_err": c.interval,
            "ip_ttl_err": c.ttl,
            "invalid_type_rcvd": c.kind,
            "addr_list_err": c.address_list,
            "invalid_authtype": c.auth_type,
            "authtype_mismatch": c.auth_mismatch,
            "auth_failure": c.auth_failure,
            "pri_zero_rcvd": c.zero_received,
            "pri_zero_sent": c.zero_sent,
        });
        json!({ "data": data_of(i, r, now), "stats": stats })
    };
    let all: Vec<Value> = known(config, status).map(one).collect();
    format!("{}\n", Value::Array(all))
}

fn data_of(i: &Instance, r: &RouterStatus, now: Time) -> Value {
    let mut data = json!({
        "iname": i.name,
        "dont_track_primary": u8::from(i.dont_track_primary),
        "skip_check_adv_addr": u8::from(i.skip_check_adv_addr),
        "strict_mode": u8::from(i.strict),
        "vmac_ifname": i.vmac.as_ref().map_or("", |vmac| vmac.name.as_str()),
        "ifp_ifname": i.interface.as_deref().unwrap_or(""),
        "master_priority": r.master.map_or(0, |(_, priority)| priority),
        "last_transition": wall(r.since, now),
        "garp_delay": i.garp.master_delay.unwrap_or_default().as_secs_f64(),
        "garp_refresh": i.garp.refresh.unwrap_or_default().as_secs(),
        "garp_rep": i.garp.master_repeat,
        "garp_refresh_rep": i.garp.refresh_repeat,
        "garp_lower_prio_delay": i.garp.lower_prio_delay.unwrap_or_default().as_secs(),
        "garp_lower_prio_rep": i.garp.lower_prio_repeat,
        "lower_prio_no_advert": u8::from(i.lower_prio_no_advert),
        "higher_prio_send_advert": u8::from(i.higher_prio_send_advert),
        "vrid": i.vrid,
        "base_priority": i.priority,
        "effective_priority": r.priority,
        "vipset": r.until.is_some(),
        "promote_secondaries": i.promote_secondaries,
        "adver_int": i.advert_interval.as_secs_f64(),
        "master_adver_int": r.master_interval.as_secs_f64(),
        "accept": u8::from(i.accept),
        "nopreempt": !i.preempt,
        "preempt_delay": i.preempt_delay.as_secs(),
        "state": code(r.state),
        "wantstate": if i.state == Wanted::Master { 2 } else { 1 },
        "version": number(i.version),
        "smtp_alert": false,
        "notify_deleted": i.notify.tell_deleted,
        "vips": i.addresses.iter().map(|a| address(a, i, r)).collect::<Vec<_>>(),
        "auth_type": u8::from(i.password.is_some()),
    });
    let n = &i.notify;
    let scripts = [
        ("script_backup", &n.backup),
        ("script_master", &n.master),
        ("script_fault", &n.fault),
        ("script_stop", &n.stop),
        ("script_deleted", &n.deleted),
        ("script", &n.any),
        ("script_master_rx_lower_pri", &n.master_rx_lower_pri),
    ];
    if let Value::Object(fields) = &mut data {
        for (key, command) in scripts {
            if let Some(command) = command {
                fields.insert(key.to_owned(), command.text.as_str().into());
            }
        }
        if !i.excluded.is_empty() {
            let excluded: Vec<String> = i.excluded.iter().map(|a| address(a, i, r)).collect();
            fields.insert("evips".to_owned(), excluded.into());
        }
        for (key, tracks) in [("track_ifp", &i.tracks.interfaces), ("track_script", &i.tracks.scripts)] {
            if !tracks.is_empty() {
                let names: Vec<String> = tracks.iter().map(|track| track.name.clone()).collect();
                fields.insert(key.to_owned(), names.into());
            }
        }
    }
    data
}

/// As the original numbers states.
fn code(state: State) -> u8 {
    match state {
        State::Init => 0,
        State::Backup => 1,
        State::Master => 2,
        State::Fault => 3,
    }
}

/// Counted since the last reset.
fn since(counters: &Counters, zero: Option<&Counters>) -> Counters {
    let Some(z) = zero else { return *counters };
    let c = counters;
    Counters {
        received: c.received.saturating_sub(z.received),
        sent: c.sent.saturating_sub(z.sent),
        became_master: c.became_master.saturating_sub(z.became_master),
        released_master: c.released_master.saturating_sub(z.released_master),
        length: c.length.saturating_sub(z.length),
        ttl: c.ttl.saturating_sub(z.ttl),
        kind: c.kind.saturating_sub(z.kind),
        version: c.version.saturating_sub(z.version),
        interval: c.interval.saturating_sub(z.interval),
        address_list: c.address_list.saturating_sub(z.address_list),
        checksum: c.checksum.saturating_sub(z.checksum),
        auth_type: c.auth_type.saturating_sub(z.auth_type),
        auth_mismatch: c.auth_mismatch.saturating_sub(z.auth_mismatch),
        auth_failure: c.auth_failure.saturating_sub(z.auth_failure),
        source: c.source.saturating_sub(z.source),
        zero_received: c.zero_received.saturating_sub(z.zero_received),
        zero_sent: c.zero_sent.saturating_sub(z.zero_sent),
    }
}

/// Names with the instance's in them, when the file asks for that.
pub(super) fn name(config: &Config, kind: &str) -> String {
    match config.global.instance.as_ref().filter(|_| config.global.data_use_instance) {
        Some(instance) => format!("keepalived_{instance}.{kind}"),
        None => format!("keepalived.{kind}"),
    }
}
