//! `vrrp_sync_group`, `garp_group`, `track_group`, `interface_up_down_delays`.

use std::time::Duration;

use super::finding::Kind;
use super::general::TIME_MAX;
use super::instance::notify;
use super::keywords::Block;
use super::model::{GarpGroup, InterfaceDelay, SyncGroup, TrackGroup, Tracks};
use super::read::Reader;
use super::track::name;
use super::tree::Item;

/// Names in a list: several may stand in one line.
fn names(item: &Item) -> Vec<(String, Item)> {
    let mut out = Vec::new();
    for entry in item.inside() {
        out.extend(entry.words.iter().map(|word| (word.text.clone(), entry.clone())));
    }
    out
}

/// `vrrp_sync_group`. What it tracks is found when everything was read.
pub(super) fn read(reader: &mut Reader<'_, '_>, item: &Item) {
    let Some(name) = name(reader, item).map(str::to_owned) else { return };
    if reader.config.groups.iter().any(|group| group.name == name) {
        item.bad(1, &mut reader.findings, "is the second group of that name and is passed over", "another name");
        return;
    }
    let mut group = SyncGroup {
        name,
        at: item.at.clone(),
        members: Vec::new(),
        tracks: Tracks::default(),
        tracking_weight: false,
        notify: super::model::Notify::default(),
    };
    let mut listed = false;
    let mut priority_changes = None;
    reader.each(Block::SyncGroup, item.inside(), |reader, item| {
        let findings = &mut reader.findings;
        if notify(findings, item, &mut group.notify) {
            return;
        }
        match item.key() {
            "group" if listed => item.bad(0, findings, "is the second list and is passed over", "one list"),
            "group" => {
                listed = true;
                group.members = names(item).into_iter().map(|(name, _)| name).collect();
            }
            "global_tracking" => {
                item.bad(0, findings, "is an old name", "sync_group_tracking_weight");
                group.tracking_weight = true;
            }
            "sync_group_tracking_weight" => group.tracking_weight = true,
            "notify_priority_changes" => priority_changes = item.switch(findings).or(priority_changes),
            // Lists of what is tracked.
            _ => {}
        }
    });
    group.notify.priority_changes = priority_changes.unwrap_or(reader.defaults.priority_changes);
    reader.config.groups.push(group);
}

/// `garp_group`
pub(super) fn garp(reader: &mut Reader<'_, '_>, item: &Item) {
    let mut group = GarpGroup::default();
    let mut timed = false;
    reader.each(Block::GarpGroup, item.inside(), |reader, item| match item.key() {
        "garp_interval" | "gna_interval" => {
            let Some(time) = item.seconds(1, Duration::ZERO..=TIME_MAX, &mut reader.findings) else { return };
            timed = true;
            if item.key() == "garp_interval" {
                group.garp_interval = time;
            } else {
                group.gna_interval = time;
            }
        }
        "interface" => {
            if let Some(name) = item.need(1, &mut reader.findings).map(str::to_owned) {
                join(reader, item, name, &mut group);
            }
        }
        "interfaces" => {
            let names = names(item);
            if names.is_empty() {
                item.bad(0, &mut reader.findings, "is empty", "names of interfaces");
            }
            for (name, entry) in names {
                join(reader, &entry, name, &mut group);
            }
        }
        _ => {}
    });
    if timed {
        reader.config.garp_groups.push(group);
    } else {
        item.bad(0, &mut reader.findings, "has no interval and is passed over", "garp_interval or gna_interval");
    }
}

fn join(reader: &mut Reader<'_, '_>, item: &Item, name: String, group: &mut GarpGroup) {
    if !reader.has_interface(&name) {
        item.bad(0, &mut reader.findings, "names an interface that is not there", "");
        return;
    }
    let others = reader.config.garp_groups.iter().any(|other| other.interfaces.contains(&name));
    if others || group.interfaces.contains(&name) {
        item.bad(0, &mut reader.findings, "names an interface of another group; it is ignored", "");
        return;
    }
    group.interfaces.push(name);
}

/// `track_group`
pub(super) fn track(reader: &mut Reader<'_, '_>, item: &Item) {
    let Some(name) = name(reader, item).map(str::to_owned) else { return };
    let mut group = TrackGroup { name, members: Vec::new() };
    reader.each(Block::TrackGroup, item.inside(), |_, item| {
        group.members = names(item).into_iter().map(|(name, _)| name).collect();
    });
    reader.config.track_groups.push(group);
}

/// `interface down [up]`
pub(super) fn delay(reader: &mut Reader<'_, '_>, entry: &Item) {
    if !reader.has_interface(entry.key()) {
        let what = "is no interface of this host";
        let key = "interface_up_down_delays";
        reader.findings.put(Kind::NoInterface, &entry.at, key, what, entry.key(), "one that is there");
        return;
    }
    let range = Duration::ZERO..=Duration::from_secs(255);
    if entry.word(1).is_none() {
        reader.findings.put(Kind::Ignored, &entry.at, entry.key(), "has no delay", "", "seconds");
        return;
    }
    let Some(down) = entry.seconds(1, range.clone(), &mut reader.findings) else { return };
    let up = match entry.word(2) {
        None => down,
        Some(_) => entry.seconds(2, range, &mut reader.findings).unwrap_or(down),
    };
    reader.config.delays.push(InterfaceDelay { name: entry.key().to_owned(), down, up });
}
