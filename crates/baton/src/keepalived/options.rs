//! keepalived's command line: read as getopt reads it, every option taken or refused by name.

use std::path::PathBuf;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `-f`.
    pub file: Option<PathBuf>,
    /// `-n`: stay in the foreground.
    pub foreground: bool,
    /// `-l`: log to standard error.
    pub console: bool,
    /// `-G`: not to syslog.
    pub no_syslog: bool,
    /// `-S`: facility of syslog.
    pub facility: Option<u8>,
    /// `-D`: details too.
    pub detail: bool,
    /// `-d`: the configuration to the log.
    pub dump: bool,
    /// `-u`.
    pub umask: Option<u32>,
    /// `-P`: without virtual servers.
    pub vrrp_only: bool,
    /// `-p`, `-r`, `-c`, `-b`: all of them get this process's number.
    pub pid_files: Vec<PathBuf>,
    /// `-p` was given: no other file is the daemon's.
    pub own_pid_file: bool,
    /// `-a`: addresses that come and go are logged.
    pub address_monitoring: bool,
    /// `-s`: name of a network namespace.
    pub namespace: Option<String>,
    /// `-m`: core dumps without limit.
    pub core_dump: bool,
    /// `-e`: a file to include that is not there is an error.
    pub all_config: bool,
    /// `-i`.
    pub config_id: Option<String>,
    /// `-t`: only say what is wrong; where to, if not to standard error.
    pub test: Option<Option<PathBuf>>,
    /// `--strict`: what keepalived weakens silently is refused.
    pub strict: bool,
}

/// What the command line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// Run, or test.
    Run(Box<Options>),
    /// `-v`.
    Version,
    /// `-h`.
    Help,
    /// `--signum`.
    Signal(String),
}

/// Why a command line is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// keepalived would not know it either.
    Usage(String),
    /// keepalived would; this program does not do it.
    NotDone(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    Required,
    Optional,
}

use Argument::{None as No, Optional as May, Required as Must};

/// Short name (or `\0`), long name, argument.
const OPTIONS: [(char, &str, Argument); 36] = [
    ('f', "use-file", Must),
    ('P', "vrrp", No),
    ('C', "check", No),
    ('B', "no_bfd", No),
    ('\0', "all", No),
    ('l', "log-console", No),
    ('D', "log-detail", No),
    ('S', "log-facility", Must),
    ('G', "no-syslog", No),
    ('u', "umask", Must),
    ('X', "release-vips", No),
    ('V', "dont-release-vrrp", No),
    ('I', "dont-release-ipvs", No),
    ('R', "dont-respawn", No),
    ('n', "dont-fork", No),
    ('d', "dump-conf", No),
    ('p', "pid", Must),
    ('r', "vrrp_pid", Must),
    ('T', "genhash", No),
    ('c', "checkers_pid", Must),
    ('a', "address-monitoring", No),
    ('b', "bfd_pid", Must),
    ('x', "snmp", No),
    ('A', "snmp-agent-socket", Must),
    ('s', "namespace", Must),
    ('m', "core-dump", No),
    ('M', "core-dump-pattern", May),
    ('e', "all-config", No),
    ('i', "config-id", Must),
    ('\0', "signum", Must),
    ('t', "config-test", May),
    ('v', "version", No),
    ('h', "help", No),
    ('\0', "strict", No),
    // Of later releases.
    ('g', "log-file", May),
    ('\0', "flush-log-file", No),
];

/// What is refused, and why.
const NOT_DONE: [(&str, &str); 8] = [
    ("check", "virtual servers without VRRP are not done; leave it out, or run the balancer by `baton haproxy`"),
    ("dont-release-vrrp", "addresses that nobody advertises would answer beside the next master: they always go"),
    ("genhash", "use `curl -s URL | md5sum`"),
    ("snmp", "SNMP is not done"),
    ("snmp-agent-socket", "SNMP is not done"),
    ("core-dump-pattern", "set kernel.core_pattern by sysctl"),
    ("log-file", "redirect the standard error of `-n -l` instead"),
    ("flush-log-file", "redirect the standard error of `-n -l` instead"),
];

/// Reads the arguments behind the program's name.
///
/// # Errors
/// The first one that is not understood or not done.
pub(super) fn parse(args: &[String]) -> Result<Parsed, Refused> {
    let mut options = Options::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let done = if let Some(long) = arg.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let (_, name, argument) = find_long(name)?;
            let value = match (argument, value) {
                (No, Some(_)) => return Err(Refused::Usage(format!("option --{name} takes no argument"))),
                (Must, None) => Some(next(&mut rest, &format!("--{name}"))?),
                (_, value) => value,
            };
            options.take(name, value)?
        } else if let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            short(&mut options, letters, &mut rest)?
        } else {
            return Err(Refused::Usage(format!("unexpected argument {arg}")));
        };
        if let Some(done) = done {
            return Ok(done);
        }
    }
    Ok(Parsed::Run(Box::new(options)))
}

/// A bundle of letters; what follows one that takes an argument is its argument.
fn short(
    options: &mut Options,
    letters: &str,
    rest: &mut std::slice::Iter<'_, String>,
) -> Result<Option<Parsed>, Refused> {
    for (at, letter) in letters.char_indices() {
        let found = OPTIONS.iter().find(|(short, _, _)| *short == letter && letter != '\0');
        let Some((_, name, argument)) = found else { return Err(Refused::Usage(format!("Unknown option -{letter}"))) };
        let left = &letters[at + letter.len_utf8()..];
        let value = match argument {
            No => None,
            May => Some(left.to_owned()).filter(|left| !left.is_empty()),
            Must if left.is_empty() => Some(next(rest, &format!("-{letter}"))?),
            Must => Some(left.to_owned()),
        };
        let done = options.take(name, value)?;
        if done.is_some() || *argument != No {
            return Ok(done);
        }
    }
    Ok(None)
}

fn next(rest: &mut std::slice::Iter<'_, String>, name: &str) -> Result<String, Refused> {
    rest.next().cloned().ok_or_else(|| Refused::Usage(format!("Missing argument of {name}")))
}

/// By its whole name, or by a beginning that no other has.
fn find_long(given: &str) -> Result<(char, &'static str, Argument), Refused> {
    if let Some(found) = OPTIONS.iter().find(|(_, name, _)| *name == given) {
        return Ok(*found);
    }
    let mut fitting = OPTIONS.iter().filter(|(_, name, _)| name.starts_with(given));
    match (fitting.next(), fitting.next()) {
        (Some(found), None) => Ok(*found),
        _ => Err(Refused::Usage(format!("Unknown option --{given}"))),
    }
}

impl Options {
    fn take(&mut self, name: &str, value: Option<String>) -> Result<Option<Parsed>, Refused> {
        if let Some((_, why)) = NOT_DONE.iter().find(|(refused, _)| *refused == name) {
            return Err(Refused::NotDone(format!("--{name}: {why}")));
        }
        let text = value.clone().unwrap_or_default();
        match name {
            "use-file" => self.file = Some(text.into()),
            "vrrp" => self.vrrp_only = true,
            "log-console" => self.console = true,
            "log-detail" => self.detail = true,
            "log-facility" => self.facility = Some(facility(&text)?),
            "no-syslog" => self.no_syslog = true,
            "umask" => self.umask = Some(umask(&text)?),
            "dont-fork" => self.foreground = true,
            "dump-conf" => self.dump = true,
            "pid" => {
                self.own_pid_file = true;
                self.pid_files.push(text.into());
            }
            "vrrp_pid" | "checkers_pid" | "bfd_pid" => self.pid_files.push(text.into()),
            "address-monitoring" => self.address_monitoring = true,
            "namespace" => self.namespace = Some(text),
            "core-dump" => self.core_dump = true,
            "all-config" => self.all_config = true,
            "config-id" => self.config_id = Some(text),
            "config-test" => self.test = Some(value.map(PathBuf::from)),
            "strict" => self.strict = true,
            "version" => return Ok(Some(Parsed::Version)),
            "help" => return Ok(Some(Parsed::Help)),
            "signum" => return Ok(Some(Parsed::Signal(text))),
            // What they ask for is how it is: one process, without BFD and IPVS, and addresses go at the end.
            "no_bfd" | "all" | "release-vips" | "dont-release-ipvs" | "dont-respawn" => {}
            _ => return Err(Refused::Usage(format!("Unknown option --{name}"))),
        }
        Ok(None)
    }
}

/// Of syslog: `local0` to `local7` (or the digit alone), `user`, `daemon`.
fn facility(text: &str) -> Result<u8, Refused> {
    match text {
        "user" => return Ok(1),
        "daemon" => return Ok(3),
        _ => {}
    }
    let digit = text.strip_prefix("local").unwrap_or(text);
    match digit.parse::<u8>() {
        Ok(number) if number < 8 => Ok(16 + number),
        _ => Err(Refused::Usage(format!("Invalid log facility '{text}'"))),
    }
}

/// As C reads numbers: octal behind a zero.
fn umask(text: &str) -> Result<u32, Refused> {
    let number = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(hex), _) => u32::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8),
        _ => text.parse(),
    };
    number.ok().filter(|mask| *mask <= 0o777).ok_or_else(|| Refused::Usage(format!("Invalid umask option {text}")))
}

/// The number that `--signum` prints.
#[must_use]
pub(super) fn signal_number(name: &str) -> Option<i32> {
    // The real-time signals as the C library counts them.
    match name {
        "STOP" => Some(15),
        "RELOAD" => Some(1),
        "DATA" => Some(10),
        "STATS" => Some(12),
        "STATS_CLEAR" => Some(63),
        "JSON" => Some(36),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn run(line: &str) -> Options {
        match parse(&words(line)) {
            Ok(Parsed::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn read_as_the_original_reads_them() {
        assert_eq!(run(""), Options::default());
        let wanted = Options {
            file: Some("x.conf".into()),
            foreground: true,
            console: true,
            detail: true,
            ..Options::default()
        };
        for line in
            ["-nlDf x.conf", "-nlDfx.conf", "-n -l -D -f x.conf", "--dont-fork --log-c --log-d --use-file=x.conf"]
        {
            assert_eq!(run(line), wanted, "{line}");
        }
        assert_eq!(run("-t").test, Some(None));
        assert_eq!(run("-t/tmp/log").test, Some(Some("/tmp/log".into())));
        assert_eq!(run("--config-test=/tmp/log -n").test, Some(Some("/tmp/log".into())));
        assert_eq!(run("-u 022").umask, Some(0o22));
        assert_eq!(run("-S 5").facility, Some(21));
        assert_eq!(run("-S daemon").facility, Some(3));
        assert_eq!(run("--release-vips --dont-respawn -B --all -I"), Options::default());
        let pids = run("-p a --vrrp_pid b -c c");
        assert_eq!((pids.own_pid_file, pids.pid_files.len()), (true, 3));
        assert_eq!(parse(&words("-n -v")), Ok(Parsed::Version));
        assert_eq!(parse(&words("--signum=JSON")), Ok(Parsed::Signal("JSON".to_owned())));
    }

    #[test]
    fn refused_by_name() {
        let refused = |line: &str| match parse(&words(line)) {
            Err(Refused::Usage(why)) => (true, why),
            Err(Refused::NotDone(why)) => (false, why),
            Ok(parsed) => panic!("{line}: {parsed:?}"),
        };
        assert_eq!(refused("--bogus"), (true, "Unknown option --bogus".to_owned()));
        assert_eq!(refused("-nz"), (true, "Unknown option -z".to_owned()));
        assert_eq!(refused("-f"), (true, "Missing argument of -f".to_owned()));
        assert_eq!(refused("--log"), (true, "Unknown option --log".to_owned()), "more than one begins so");
        assert_eq!(refused("more").1, "unexpected argument more");
        assert!(refused("-u 9999").0);
        for (name, why) in NOT_DONE {
            let value = if name == "snmp-agent-socket" { "=x" } else { "" };
            assert_eq!(refused(&format!("--{name}{value}")), (false, format!("--{name}: {why}")));
        }
    }
}
