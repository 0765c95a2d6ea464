//! `vrrp_script`, `vrrp_track_process`, `track_file`, and the lists that track them.

use std::time::Duration;

use super::finding::Kind;
use super::general::TIME_MAX;
use super::keywords::Block;
use super::model::{Parameters, Process, Script, Track, TrackFile, Tracks, Weight};
use super::native;
use super::read::{Reader, ScriptFact};
use super::tree::Item;

/// keepalived's defaults.
const INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two starts.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// The name of a block, when it has exactly one.
pub(super) fn name<'i>(reader: &mut Reader<'_, '_>, item: &'i Item) -> Option<&'i str> {
    let name = item.word(1);
    if name.is_none() || item.words.len() != 2 {
        item.bad(1, &mut reader.findings, "needs exactly one name; the block is passed over", "a name without spaces");
        return None;
    }
    name
}

/// `vrrp_script`
pub(super) fn script(reader: &mut Reader<'_, '_>, item: &Item) {
    let Some(name) = item.need(1, &mut reader.findings).map(str::to_owned) else { return };
    let mut command = None;
    let (mut interval, mut timeout) = (INTERVAL, None);
    let (mut weight, mut rise, mut fall, mut init_fail, mut user) = (Weight::default(), 1, 1, false, None);
    reader.each(Block::Script, item.inside(), |reader, item| {
        reader.marks.push((name.clone(), item.key().to_owned(), item.at.clone()));
        let findings = &mut reader.findings;
        match item.key() {
            "script" => command = item.command(findings),
            "interval" => interval = time(item, reader).unwrap_or(interval),
            "timeout" => timeout = time(item, reader).or(timeout),
            "weight" => weight = item.weight(1, 253, findings).unwrap_or(weight),
            "rise" => rise = item.whole(1, 1..=i32::MAX as u32, findings).unwrap_or(1),
            "fall" => fall = item.whole(1, 1..=i32::MAX as u32, findings).unwrap_or(1),
            "user" => {
                // One that is not there stays: a check that cannot run fails.
                if let Some(name) = item.need(1, findings) {
                    user = item.user(1);
                    if !(reader.host.user)(name) {
                        item.bad(1, findings, "is no user of this host: the check fails", "a user that is there");
                    }
                }
            }
            "init_fail" => init_fail = true,
            _ => {}
        }
    });
    let Some(mut command) = command else {
        item.bad(1, &mut reader.findings, "has no script and is passed over", "script \"/path\"");
        return;
    };
    command.user = user;
    if reader.config.scripts.iter().any(|script| script.name == name) {
        item.bad(1, &mut reader.findings, "is the second script of that name; the first one counts", "another name");
        return;
    }
    let script = Script {
        native: None,
        name,
        command,
        interval,
        timeout: timeout.unwrap_or(interval),
        weight,
        rise,
        fall,
        init_fail,
        at: item.at.clone(),
    };
    reader.config.scripts.push(script);
}

/// Seconds; 0 is taken as 1.
fn time(item: &Item, reader: &mut Reader<'_, '_>) -> Option<Duration> {
    let time = item.seconds(1, Duration::ZERO..=TIME_MAX, &mut reader.findings)?;
    if time < INTERVAL_MIN {
        item.bad(1, &mut reader.findings, "must be above 0 and is taken as 1", "");
        return Some(INTERVAL);
    }
    Some(time)
}

/// What the host says about the scripts that something tracks, and what they find out.
pub(super) fn look(reader: &mut Reader<'_, '_>) {
    let mut scripts = std::mem::take(&mut reader.config.scripts);
    for script in &mut scripts {
        let fact = (reader.host.script)(&script.command);
        let text = match &fact {
            ScriptFact::Program { text, .. } => text.as_deref(),
            ScriptFact::Missing | ScriptFact::NotExecutable => None,
        };
        script.native = native::recognise(&script.command, text);
        let findings = &mut reader.findings;
        let (at, key) = (&script.command.at, script.name.as_str());
        let security = reader.config.global.script_security;
        let user_known = script.command.user.as_ref().is_none_or(|user| (reader.host.user)(&user.name));
        match fact {
            ScriptFact::Missing if script.native.is_none() && !native::is_shell(&script.command.text) => {
                let what = "names a program that is not there: the check fails, and so do the routers that track it";
                findings.weak(at, key, what, &script.command.args[0], "a path that exists on this host");
            }
            ScriptFact::NotExecutable => {
                let what = "names a file that cannot be executed: the check fails";
                findings.weak(at, key, what, &script.command.args[0], "chmod +x, and an interpreter that is there");
            }
            ScriptFact::Program { insecure: true, .. } if security => {
                let what = "names a program that others than root could change: it is not run, the check fails";
                findings.put(Kind::Security, at, key, what, &script.command.args[0], "root as owner all the way up");
            }
            ScriptFact::Program { .. } if !security && user_known => {
                let what = "runs without enable_script_security";
                findings.put(Kind::Security, at, key, what, "", "enable_script_security in global_defs");
            }
            _ => {}
        }
    }
    reader.config.scripts = scripts;
}

/// `vrrp_track_process`
pub(super) fn process(reader: &mut Reader<'_, '_>, item: &Item) {
    let Some(name) = item.need(1, &mut reader.findings).map(str::to_owned) else { return };
    let mut out = Process {
        name,
        process: String::new(),
        args: Vec::new(),
        parameters: Parameters::Any,
        full_command: false,
        weight: Weight { value: 0, reverse: false },
        quorum: 1,
        quorum_max: None,
        fork_delay: Duration::ZERO,
        terminate_delay: Duration::ZERO,
        at: item.at.clone(),
    };
    reader.each(Block::Process, item.inside(), |reader, item| process_keyword(reader, item, &mut out));
    if out.process.is_empty() {
        item.bad(1, &mut reader.findings, "names no process and is passed over", "process NAME");
        return;
    }
    if !out.args.is_empty() && out.parameters == Parameters::Any {
        out.parameters = Parameters::Exact;
    }
    out.full_command |= out.parameters != Parameters::Any;
    reader.config.processes.push(out);
}

fn process_keyword(reader: &mut Reader<'_, '_>, item: &Item, out: &mut Process) {
    let findings = &mut reader.findings;
    let delay = Duration::from_micros(1)..=Duration::from_secs(3600);
    match item.key() {
        "process" if !out.process.is_empty() => item.bad(1, findings, "is the second one and is ignored", "one"),
        "process" => {
            if let Some(process) = item.need(1, findings) {
                out.process = process.to_owned();
                out.args = item.words.iter().skip(2).map(|word| word.text.clone()).collect();
            }
        }
        "param_match" => match item.word(1) {
            None => out.parameters = Parameters::Exact,
            Some("initial") => out.parameters = Parameters::Initial,
            Some("partial") => out.parameters = Parameters::Partial,
            Some(_) => item.bad(1, findings, "is not known and is ignored", "initial or partial"),
        },
        "weight" if item.word(1).is_none() => item.bad(0, findings, "has no value and is ignored", ""),
        "weight" => out.weight = item.weight(1, 254, findings).unwrap_or(out.weight),
        "quorum" => match item.whole(1, 1..=65_535, findings) {
            Some(quorum) if out.quorum_max.is_some_and(|most| quorum > most) => {
                item.bad(1, findings, "is more than quorum_max and is ignored", "");
            }
            Some(quorum) => out.quorum = quorum,
            None => {}
        },
        "quorum_max" => match item.whole(1, 0..=65_535, findings) {
            Some(most) if most < out.quorum && (most > 0 || out.quorum > 1) => {
                item.bad(1, findings, "is less than quorum and is ignored", "");
            }
            Some(most) => {
                out.quorum_max = Some(most);
                out.quorum = out.quorum.min(most);
            }
            None => {}
        },
        "delay" => {
            if let Some(time) = item.seconds(1, delay, findings) {
                (out.fork_delay, out.terminate_delay) = (time, time);
            }
        }
        "fork_delay" => out.fork_delay = item.seconds(1, delay, findings).unwrap_or(out.fork_delay),
        "terminate_delay" => out.terminate_delay = item.seconds(1, delay, findings).unwrap_or(out.terminate_delay),
        "full_command" => out.full_command = true,
        _ => {}
    }
}

/// `track_file`
pub(super) fn file(reader: &mut Reader<'_, '_>, item: &Item) {
    let Some(name) = item.need(1, &mut reader.findings).map(str::to_owned) else { return };
    let mut out = TrackFile {
        name,
        path: String::new(),
        weight: Weight { value: 1, reverse: false },
        init: None,
        at: item.at.clone(),
    };
    reader.each(Block::File, item.inside(), |reader, item| {
        let findings = &mut reader.findings;
        match item.key() {
            "file" => out.path = item.need(1, findings).unwrap_or_default().to_owned(),
            "weight" => out.weight = item.weight(1, i32::MAX, findings).unwrap_or(out.weight),
            "init_file" => {
                let mut init = (0, false);
                for index in 1..item.words.len() {
                    match item.word(index) {
                        Some("overwrite") => init.1 = true,
                        Some(number) if number.parse::<i64>().is_ok() => init.0 = number.parse().unwrap_or_default(),
                        _ => item.bad(index, findings, "is not known and is ignored", "a number or overwrite"),
                    }
                }
                out.init = Some(init);
            }
            _ => {}
        }
    });
    if out.path.is_empty() {
        item.bad(1, &mut reader.findings, "names no file and is passed over", "file \"/path\"");
        return;
    }
    reader.config.files.push(out);
}

/// What a list tracks, before it is known what there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    pub(super) interfaces: Vec<Item>,
    pub(super) scripts: Vec<Item>,
    pub(super) processes: Vec<Item>,
    pub(super) files: Vec<Item>,
}

impl Lists {
    /// Takes a list; whether it is one.
    pub(super) fn take(&mut self, item: &Item) -> bool {
        let list = match item.key() {
            "track_interface" => &mut self.interfaces,
            "track_script" => &mut self.scripts,
            "track_process" => &mut self.processes,
            "track_file" => &mut self.files,
            _ => return false,
        };
        list.extend(item.inside().iter().cloned());
        true
    }
}

/// `NAME [weight W [reverse]]`: what is written, or the default of what is tracked.
fn entry(reader: &mut Reader<'_, '_>, item: &Item, most: i32, default: Weight) -> Track {
    let weight = match item.word(1) {
        None => default,
        Some("weight") => item.weight(2, most, &mut reader.findings).unwrap_or(default),
        Some(_) => {
            item.bad(1, &mut reader.findings, "is not known beside a name and is ignored", "weight");
            default
        }
    };
    Track { name: item.key().to_owned(), weight, at: item.at.clone() }
}

/// Everything that is tracked: what there is not is said and left out.
pub(super) fn resolve(reader: &mut Reader<'_, '_>, lists: &Lists, own: Option<&str>) -> Tracks {
    let mut out = Tracks::default();
    for item in &lists.interfaces {
        if !reader.has_interface(item.key()) {
            item.bad(0, &mut reader.findings, "is an interface that is not there; it is not tracked", "");
        } else if own == Some(item.key()) {
            let what = "is the router's own interface, which counts anyway; it is not tracked twice";
            item.bad(0, &mut reader.findings, what, "");
        } else {
            let track = entry(reader, item, 253, Weight::default());
            add(reader, &mut out.interfaces, track, item);
        }
    }
    for item in &lists.scripts {
        match reader.config.scripts.iter().find(|script| script.name == item.key()).map(|script| script.weight) {
            Some(weight) => {
                let track = entry(reader, item, 253, weight);
                add(reader, &mut out.scripts, track, item);
            }
            None => undefined(reader, item, "vrrp_script"),
        }
    }
    for item in &lists.processes {
        match reader.config.processes.iter().find(|process| process.name == item.key()).map(|known| known.weight) {
            Some(weight) => {
                let track = entry(reader, item, 254, weight);
                add(reader, &mut out.processes, track, item);
            }
            None => undefined(reader, item, "vrrp_track_process"),
        }
    }
    for item in &lists.files {
        match reader.config.files.iter().find(|file| file.name == item.key()).map(|file| file.weight) {
            Some(weight) => {
                let track = entry(reader, item, 254, weight);
                add(reader, &mut out.files, track, item);
            }
            None => undefined(reader, item, "track_file"),
        }
    }
    out
}

fn add(reader: &mut Reader<'_, '_>, list: &mut Vec<Track>, track: Track, item: &Item) {
    if list.iter().any(|known| known.name == track.name) {
        item.bad(0, &mut reader.findings, "is tracked already; this line is ignored", "each name once");
    } else {
        list.push(track);
    }
}

fn undefined(reader: &mut Reader<'_, '_>, item: &Item, kind: &str) {
    let what = format!("is the name of no {kind}; it is not tracked");
    item.bad(0, &mut reader.findings, &what, &format!("a {kind} of that name"));
}
