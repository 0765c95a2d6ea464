//! `track_file` and `track_process`: looked at again and again, told when they changed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use baton_config::keepalived::model::{Config, Parameters, Process, TrackFile};
use baton_core::vrrp::{Event, Found};
use rustix::fs::OFlags;

use super::assemble::{Kind, tracker};

/// How often files are looked at.
pub(super) const FILES: Duration = Duration::from_millis(250);
/// How often processes are looked at: one pass over `/proc`, whatever the number of trackers.
pub(super) const PROCESSES: Duration = Duration::from_secs(1);
/// The longest file that holds a number.
const NUMBER: u64 = 256;

/// What was found the last time.
#[derive(Debug, Default)]
pub(super) struct Trackers {
    files: Vec<TrackFile>,
    processes: Vec<Process>,
    numbers: BTreeMap<String, i32>,
    /// What is told of a process, and since when it looks otherwise.
    quorums: BTreeMap<String, (bool, Option<Instant>)>,
}

impl Trackers {
    /// What is looked at from now on. Files with an initial value are written.
    pub(super) fn configure(&mut self, config: &Config) -> Vec<String> {
        self.numbers.retain(|name, _| config.files.iter().any(|f| f.name == *name));
        self.quorums.retain(|name, _| config.processes.iter().any(|p| p.name == *name));
        let mut problems = Vec::new();
        for file in config.files.iter().filter(|file| !self.files.contains(file)) {
            if let Some((number, over)) = file.init
                && (over || !Path::new(&file.path).exists())
                && let Err(e) = fs::write(&file.path, format!("{number}\n"))
            {
                problems.push(format!("track_file {}: {}: {e}", file.name, file.path));
            }
        }
        self.files.clone_from(&config.files);
        self.processes.clone_from(&config.processes);
        problems
    }

    /// There is something to look at.
    pub(super) fn any(&self) -> (bool, bool) {
        (!self.files.is_empty(), !self.processes.is_empty())
    }

    /// Files whose number is another one now.
    pub(super) fn look_at_files(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for file in &self.files {
            let number = number(&file.path);
            if self.numbers.insert(file.name.clone(), number) != Some(number) {
                events.push(Event::Checked { tracker: tracker(Kind::File, &file.name), found: Found::Number(number) });
            }
        }
        events
    }

    /// Processes whose quorum came or went, as long ago as their delays ask.
    pub(super) fn look_at_processes(&mut self, now: Instant) -> Vec<Event> {
        let running = running();
        let mut events = Vec::new();
        for process in &self.processes {
            let count =
                u32::try_from(running.iter().filter(|found| matches(process, found)).count()).unwrap_or(u32::MAX);
            let there = count >= process.quorum && process.quorum_max.is_none_or(|most| count <= most);
            let first = !self.quorums.contains_key(&process.name);
            let (told, since) = self.quorums.entry(process.name.clone()).or_insert((there, None));
            if !first && there == *told {
                *since = None;
                continue;
            }
            let delay = if there { process.fork_delay } else { process.terminate_delay };
            let seen = *since.get_or_insert(now);
            if first || now.saturating_duration_since(seen) >= delay {
                (*told, *since) = (there, None);
                let found = if there { Found::Well } else { Found::Failed };
                events.push(Event::Checked { tracker: tracker(Kind::Process, &process.name), found });
            }
        }
        events
    }
}

/// As keepalived reads it: a number at the beginning; anything else, and no file, is 0.
fn number(path: &str) -> i32 {
    // Whatever the path has become: it is not waited for, and not read to its end.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut text = Vec::new();
    if let Ok(file) = fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // What cannot be read is as good as empty.
        let _ = file.take(NUMBER).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let value: i64 = text[..sign + digits].trim_start_matches('+').parse().unwrap_or(0);
    i32::try_from(value.clamp(i64::from(i32::MIN), i64::from(i32::MAX))).unwrap_or(0)
}

/// A running process.
struct Running {
    comm: String,
    line: Vec<String>,
}

fn running() -> Vec<Running> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = processes.filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    let read = |e: fs::DirEntry| {
        let comm = fs::read_to_string(e.path().join("comm")).ok()?.trim_end().to_owned();
        let line = fs::read(e.path().join("cmdline")).unwrap_or_default();
        let words = line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let mut line: Vec<String> = words.collect();
        // What follows the last end.
        line.pop();
        Some(Running { comm, line })
    };
    numbered.filter_map(read).collect()
}

fn matches(wanted: &Process, found: &Running) -> bool {
    let cut: String = wanted.process.chars().take(15).collect();
    let program = found.line.first().map_or("", String::as_str);
    let base = program.rsplit('/').next().unwrap_or("");
    let named =
        if wanted.full_command { program == wanted.process || base == wanted.process } else { found.comm == cut };
    if !named {
        return false;
    }
    let args = found.line.get(1..).unwrap_or_default();
    let begins = args.len() >= wanted.args.len() && wanted.args.iter().zip(args).all(|(w, a)| w == a);
    match wanted.parameters {
        Parameters::Any => true,
        Parameters::Exact => args == wanted.args,
        Parameters::Partial => begins,
        Parameters::Initial => match wanted.args.split_last() {
            None => true,
            Some((last, rest)) => {
                args.len() > rest.len()
                    && rest.iter().zip(args).all(|(w, a)| w == a)
                    && args[rest.len()].starts_with(last.as_str())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_original_reads_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("n").display().to_string();
        for (text, expected) in [("5\n", 5), (" -7 ", -7), ("+3x", 3), ("x", 0), ("", 0), ("99999999999", i32::MAX)] {
            fs::write(&path, text).expect("written");
            assert_eq!(number(&path), expected, "{text:?}");
        }
        assert_eq!(number("/nowhere/at/all"), 0);
        assert_eq!(number("/dev/zero"), 0, "it has no end");
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        assert_eq!(number(&pipe.display().to_string()), 0, "nobody writes");
    }
}
