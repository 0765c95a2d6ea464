//! What is legal and not what its author meant.

use std::time::Duration;

use super::fix::Edit;
use super::model::{At, Instance, Script, Track};
use super::native::Native;
use super::read::Reader;

/// A lint, for its page.
#[derive(Clone, Copy, Debug)]
pub struct Lint {
    /// Its name.
    pub name: &'static str,
    /// What it finds, and why that matters.
    pub finds: &'static str,
    /// What the fix does; empty: nothing.
    pub fix: &'static str,
}

const fn lint(name: &'static str, finds: &'static str, fix: &'static str) -> Lint {
    Lint { name, finds, fix }
}

/// All of them, for the reference.
pub const LINTS: &[Lint] = &[
    lint(
        "weight-not-fault",
        "A check takes a few points of the priority instead of the address. Whether anything moves depends on the \
         priorities of the others, and on none of them having nopreempt.",
        "takes `weight` away: a failed check is a fault, and the address moves at once (and where all hosts fail, nobody \
         has it)",
    ),
    lint(
        "weight-nopreempt",
        "A router with nopreempt keeps off a master of lower priority, so a weight that lowers the master's priority \
         moves nothing: only a fault does.",
        "takes `weight` away, where there is one",
    ),
    lint(
        "slow-check",
        "The interval times `fall` is longer than five seconds: so long does a dead service keep the address.",
        "checks every second, and two failures decide",
    ),
    lint(
        "password-cut",
        "Eight characters of `auth_pass` count; the others protect nothing, and another program may not cut them.",
        "writes the eight that count",
    ),
    lint(
        "authentication-in-one-line",
        "`auth_type` and `auth_pass` in one line are one keyword: the password is lost, and adverts go without one.",
        "writes them into lines of their own",
    ),
    lint(
        "unicast-any-source",
        "Without `check_unicast_src` an advert is believed wherever it comes from: whoever reaches this host can take \
         the address.",
        "writes `check_unicast_src`",
    ),
    lint(
        "vrid-of-the-examples",
        "51 is the virtual_router_id of every example: another group in the same network segment is likely to have it, \
         and the two take each other for rivals.",
        "",
    ),
    lint(
        "owner-by-accident",
        "state MASTER without a priority means 255, the owner of the addresses: it never yields, whatever its checks say.",
        "",
    ),
    lint(
        "check-through-the-address",
        "A check asks through the virtual address itself, which only its holder has: it says nothing about this host.",
        "",
    ),
];

/// Longer than that is slow.
const SLOW: Duration = Duration::from_secs(5);
/// The number in the examples.
const VRID_OF_THE_EXAMPLES: u8 = 51;

/// Everything.
pub(super) fn all(reader: &mut Reader<'_, '_>) {
    let instances = std::mem::take(&mut reader.config.instances);
    for instance in &instances {
        one(reader, instance);
    }
    for script in reader.config.scripts.clone() {
        slow(reader, &script);
        through(reader, &script, &instances);
    }
    reader.config.instances = instances;
}

fn one(reader: &mut Reader<'_, '_>, instance: &Instance) {
    let name = instance.name.as_str();
    // Several weights are a policy: which of them should win is their author's to say.
    let mut weights = instance.tracks.scripts.iter().filter(|track| track.weight.value != 0);
    match (weights.next(), weights.next()) {
        (Some(track), None) => weighted(reader, instance, track),
        (Some(first), Some(second)) if !instance.preempt => {
            for track in [first, second].into_iter().chain(weights) {
                reader.findings.lint("weight-nopreempt", &track.at, name, &nopreempt(&track.name), "no weight");
            }
        }
        _ => {}
    }
    for track in instance.tracks.interfaces.iter().chain(&instance.tracks.processes) {
        if track.weight.value != 0 && !instance.preempt {
            reader.findings.lint("weight-nopreempt", &track.at, name, &nopreempt(&track.name), "no weight");
        }
    }
    if !instance.unicast_peers.is_empty() && !instance.check_unicast_source {
        let what = "believes adverts of anybody who reaches this host";
        reader.findings.lint("unicast-any-source", &instance.at, name, what, "check_unicast_src");
        if let Some(at) = mark(reader, name, "virtual_router_id") {
            let vrid = format!("virtual_router_id {}", instance.vrid);
            let lines = vec![vrid, String::from("check_unicast_src")];
            edit(
                reader,
                at,
                "virtual_router_id",
                lines,
                "unicast-any-source",
                format!("{name}: adverts come from peers only"),
            );
        }
    }
    if instance.vrid == VRID_OF_THE_EXAMPLES {
        let what = "has the virtual_router_id of every example: other groups in this network may have it too";
        reader.findings.lint("vrid-of-the-examples", &instance.at, name, what, "a number that nobody else has");
    }
    if reader.owners_by_default.contains(&instance.name) {
        let what = "is an owner (priority 255), because state MASTER has no priority: it never yields";
        reader.findings.lint("owner-by-accident", &instance.at, name, what, "priority 101, for instance");
    }
}

fn nopreempt(tracked: &str) -> String {
    format!("has nopreempt: the weight of {tracked} can never move its addresses")
}

/// A script with a weight: the fix makes a fault of it, in the script or where it is tracked.
fn weighted(reader: &mut Reader<'_, '_>, instance: &Instance, track: &Track) {
    let own = mark(reader, &track.name, "weight");
    let (lint, what) = if instance.preempt {
        let what = format!(
            "changes its priority by {} when {} changes, and keeps its addresses if nobody else is above that",
            track.weight.value, track.name
        );
        ("weight-not-fault", what)
    } else {
        ("weight-nopreempt", nopreempt(&track.name))
    };
    let at = own.clone().unwrap_or_else(|| track.at.clone());
    reader.findings.lint(lint, &at, &instance.name, &what, "no weight: a failed check is a fault");
    let lines = if own.is_some() { Vec::new() } else { vec![track.name.clone()] };
    let key = if own.is_some() { "weight" } else { &track.name };
    edit(reader, at, key, lines, lint, format!("{}: a failed check is a fault", track.name));
}

fn mark(reader: &Reader<'_, '_>, script: &str, key: &str) -> Option<At> {
    reader.marks.iter().find(|(name, word, _)| name == script && word == key).map(|(_, _, at)| at.clone())
}

fn edit(reader: &mut Reader<'_, '_>, at: At, key: &str, lines: Vec<String>, lint: &'static str, why: String) {
    reader.edits.push(Edit { at, key: key.to_owned(), lines, lint, why });
}

/// A check that decides late.
fn slow(reader: &mut Reader<'_, '_>, script: &Script) {
    let time = script.interval.saturating_mul(script.fall);
    if time <= SLOW {
        return;
    }
    let at = mark(reader, &script.name, "fall").or_else(|| mark(reader, &script.name, "interval"));
    let at = at.unwrap_or_else(|| script.at.clone());
    let what = format!(
        "takes {} s to notice ({} failures, one every {} s)",
        time.as_secs_f64(),
        script.fall,
        script.interval.as_secs_f64()
    );
    reader.findings.lint("slow-check", &at, &script.name, &what, "interval 1 and fall 2");
    let why = format!("{}: two failures in two seconds decide", script.name);
    for (key, line) in [("interval", "interval 1"), ("fall", "fall 2")] {
        if let Some(at) = mark(reader, &script.name, key) {
            edit(reader, at, key, vec![line.to_owned()], "slow-check", why.clone());
        }
    }
}

/// A check that asks through an address that only its holder has, without looking whether it is here.
fn through(reader: &mut Reader<'_, '_>, script: &Script, instances: &[Instance]) {
    let Some(native) = &script.native else { return };
    let mut hosts = Vec::new();
    asked(native, &mut hosts);
    let virtuals = instances.iter().flat_map(|instance| instance.addresses.iter().chain(&instance.excluded));
    if let Some(address) =
        virtuals.map(|address| address.address.to_string()).find(|address| hosts.contains(&address.as_str()))
    {
        let what = format!("asks through {address}, which only its holder has: it says nothing about this host");
        reader.findings.lint("check-through-the-address", &script.at, &script.name, &what, "localhost");
    }
}

fn asked<'n>(native: &'n Native, out: &mut Vec<&'n str>) {
    match native {
        Native::Tcp { host, .. } => out.push(host),
        Native::Http(get) => out.push(&get.host),
        Native::All(all) => all.iter().for_each(|one| asked(one, out)),
        // It looked first.
        Native::WhileHere { .. } | Native::Always | Native::Process(_) | Native::Unit(_) => {}
    }
}
