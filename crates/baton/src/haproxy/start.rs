//! haproxy's command line: what each option does, and the start.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use baton_config::haproxy::{self, Class, Config, Finding};
use rustix::process::Signal;

use super::daemon::Daemon;
use super::{moot, refuse};
use crate::cli::args::{LogFormat, LogLevel};
use crate::cli::output::{complain, print};
use crate::{background, systemd};

/// What haproxy answers with when it refuses.
const FAILED: u8 = 1;

/// How often, and how long after another, the start is tried while a predecessor closes its listeners.
const PREDECESSOR: u32 = 40;
const AGAIN: std::time::Duration = std::time::Duration::from_millis(25);

/// The command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Files and directories of `-f`, and what follows `--`.
    pub files: Vec<PathBuf>,
    /// `-c`
    pub check: bool,
    /// `-V`, `-d`
    pub verbose: bool,
    /// `-q`
    pub quiet: bool,
    /// `-D`
    pub background: bool,
    /// `-db`: stays in the foreground whatever the file says.
    pub foreground: bool,
    /// `-Ws`: tells systemd when it is ready.
    pub notify: bool,
    /// `-p`
    pub pidfile: Option<PathBuf>,
    /// `-C`
    pub directory: Option<PathBuf>,
    /// `-dW`: warnings are failures.
    pub zero_warning: bool,
    /// `-sf`, `-st`: a predecessor, and whether its connections may go on.
    pub predecessors: Vec<i32>,
    /// `-st` rather than `-sf`.
    pub at_once: bool,
    /// `-v` once or twice.
    pub version: u8,
    /// `-n`: most connections, whatever the file says.
    pub connections: Option<u64>,
    /// `-L`
    pub local_peer: Option<String>,
    /// `-S`: a socket for commands, with the words that may follow it.
    pub master: Option<String>,
    /// What was asked for and has no effect.
    pub moot: Vec<String>,
}

impl Options {
    /// An option with a value that changes nothing, for this reason.
    fn moot(&mut self, words: &mut dyn Iterator<Item = String>, flag: &str, why: &str) -> Result<(), String> {
        words.next().ok_or(format!("{flag} needs a value"))?;
        self.moot.push(format!("warning: {flag} has no effect: {why}"));
        Ok(())
    }
}

/// Takes the command line apart.
///
/// # Errors
/// What is wrong with it.
pub fn parse(args: &[OsString]) -> Result<Options, String> {
    let mut options = Options::default();
    let words: Vec<String> = args.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let mut words = words.into_iter().peekable();
    let value =
        |words: &mut dyn Iterator<Item = String>, flag: &str| words.next().ok_or(format!("{flag} needs a value"));
    while let Some(word) = words.next() {
        match word.as_str() {
            "-f" => options.files.push(value(&mut words, "-f")?.into()),
            "-C" => options.directory = Some(value(&mut words, "-C")?.into()),
            "-p" => options.pidfile = Some(value(&mut words, "-p")?.into()),
            "-n" => {
                let most = value(&mut words, "-n")?;
                // 0 is "as the file says".
                options.connections = most
                    .parse()
                    .map(|most| Some(most).filter(|most| *most > 0))
                    .map_err(|_| format!("-n {most}: not a number of connections"))?;
            }
            "-L" => options.local_peer = Some(value(&mut words, "-L")?),
            "-N" => options.moot(&mut words, "-N", "`maxconn` of a frontend limits it")?,
            "-m" => options.moot(&mut words, "-m", "memory is limited by who starts this process")?,
            // Sockets of a predecessor: they stay in the process that reads its files again.
            "-x" => drop(value(&mut words, "-x")?),
            "-c" => options.check = true,
            "-V" | "-d" => options.verbose = true,
            "-q" => options.quiet = true,
            "-D" => options.background = true,
            "-db" => options.foreground = true,
            "-Ws" => options.notify = true,
            "-v" => options.version = 1,
            "-vv" => options.version = 2,
            "-dW" => options.zero_warning = true,
            // There is one process, which is its own master; pollers, splicing and memory are not chosen.
            "-W" | "-dp" | "-de" | "-dS" | "-dG" | "-dR" | "-dr" | "-dZ" | "-dL" | "-dI" | "-dF" | "-dD" => {}
            word if word.starts_with("-dM") => {}
            "-sf" | "-st" => {
                options.at_once = word == "-st";
                // A negative number would name a group of processes, or all.
                while let Some(pid) = words.peek().and_then(|word| word.parse().ok()).filter(|pid| *pid > 0) {
                    options.predecessors.push(pid);
                    words.next();
                }
            }
            "--" => options.files.extend(words.by_ref().map(PathBuf::from)),
            "-S" => options.master = Some(value(&mut words, "-S")?),
            "-cc" => return Err("-cc: conditions are not evaluated on the command line".to_owned()),
            _ => return Err(format!("unknown option `{word}`")),
        }
    }
    if options.version == 0 && options.files.is_empty() {
        return Err("no configuration: -f FILE".to_owned());
    }
    Ok(options)
}

/// Runs as haproxy.
pub fn main(args: &[OsString]) -> ExitCode {
    let options = match parse(args) {
        Ok(options) => options,
        Err(why) => {
            complain(&format!("{why}\n{USAGE}"));
            return ExitCode::from(FAILED);
        }
    };
    if options.version > 0 {
        return print(&version(options.version));
    }
    if let Some(directory) = &options.directory
        && let Err(e) = std::env::set_current_dir(directory)
    {
        complain(&format!("-C {}: {e}", directory.display()));
        return ExitCode::from(FAILED);
    }
    let (config, said) = read(&options);
    let quiet = options.quiet && config.is_some();
    let said_all = options.moot.iter().map(String::as_str).chain(said.lines()).collect::<Vec<_>>().join("\n");
    if !said_all.is_empty() && !quiet {
        complain(&said_all);
    }
    let Some(config) = config else { return ExitCode::from(FAILED) };
    if options.check {
        let warned = if said.is_empty() { "" } else { "Warnings were found.\n" };
        return if options.quiet {
            ExitCode::SUCCESS
        } else {
            print(&format!("{warned}Configuration file is valid\n"))
        };
    }
    if (options.background || config.global.daemon) && !options.foreground && !options.notify && !background::inside() {
        return background::start(args).unwrap_or_else(|e| {
            complain(&format!("the background: {e}"));
            ExitCode::from(FAILED)
        });
    }
    run(options, config)
}

const USAGE: &str =
    "usage: baton haproxy -f FILE|DIRECTORY [-f …] [-c] [-V] [-d] [-db] [-D] [-q] [-W|-Ws] [-p PIDFILE] [-C DIRECTORY]
       [-S SOCKET] [-sf|-st PID…] [-v|-vv] [-- FILE…]";

fn version(times: u8) -> String {
    let mut text = format!("HAProxy version 2.6-compatible: baton {} ({})\n", crate::VERSION, crate::BUILD);
    if times > 1 {
        text.push_str("Feature list : +EPOLL +SPLICE +THREAD +GETADDRINFO +PROMEX -OPENSSL -LUA -PCRE -QUIC\n");
    }
    text
}

/// Reads the files: what they say, if it can be done, and what there is to say about them.
#[must_use]
pub fn read(options: &Options) -> (Option<Config>, String) {
    let mut files = match files(&options.files) {
        Ok(files) => files,
        Err(why) => return (None, why),
    };
    files.extend(options.master.as_deref().map(master));
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let load = |path: &str| std::fs::read_to_string(path).map_err(|e| e.to_string());
    let host = options.local_peer.clone().unwrap_or_else(super::host_name);
    let outside = haproxy::Outside { environment: &environment, load: &load, local_peer: &host };
    let loaded = haproxy::read(&files, &outside);
    let mut findings: Vec<Finding> = loaded.findings.into_iter().filter(|f| f.class != Class::Lint).collect();
    let mut config = loaded.config;
    if let Some(read) = &config {
        findings.extend(moot::findings(read));
        let refused = refuse::findings(read);
        let fails = !refused.is_empty() || (options.zero_warning || read.global.zero_warning) && !findings.is_empty();
        findings.extend(refused);
        if fails {
            config = None;
        }
    }
    let said = findings.iter().map(|finding| format!("{}\n", finding.message)).collect();
    (config, said)
}

/// The socket of `-S` as a file says it: one process is its own master, and takes all commands there.
fn master(socket: &str) -> haproxy::File {
    let words = socket.replace(',', " ");
    let level = if words.contains(" level ") { "" } else { " level admin" };
    haproxy::File { path: "-S".to_owned(), text: format!("global\n    stats socket {words}{level}\n") }
}

/// The files of the command line; of a directory those that end with `.cfg`, by name.
fn files(named: &[PathBuf]) -> Result<Vec<haproxy::File>, String> {
    let mut files = Vec::new();
    for path in named {
        let paths = if path.is_dir() { directory(path)? } else { vec![path.clone()] };
        for path in paths {
            let text = std::fs::read(&path).map_err(|e| format!("{}: {e}\n", path.display()))?;
            let text = String::from_utf8_lossy(&text).into_owned();
            files.push(haproxy::File { path: path.display().to_string(), text });
        }
    }
    Ok(files)
}

fn directory(path: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(path).map_err(|e| format!("{}: {e}\n", path.display()))?;
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "cfg") && path.is_file() && !hidden(path))
        .collect();
    paths.sort();
    Ok(paths)
}

/// Deals with predecessors (`-sf`, `-st`). One that is this very program reads its files again, and this process is not
/// needed; any other is asked to finish, or ended.
fn succeed(options: &Options) -> Option<ExitCode> {
    let own = std::fs::read_link("/proc/self/exe").ok()?;
    let mut done = None;
    for pid in &options.predecessors {
        let Some(process) = rustix::process::Pid::from_raw(*pid) else { continue };
        let same = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == own);
        let signal = match (same, options.at_once) {
            (true, _) => Signal::USR2,
            (false, true) => Signal::TERM,
            (false, false) => Signal::USR1,
        };
        // One that is not there any more needs no signal.
        if rustix::process::kill_process(process, signal).is_ok() && same {
            complain(&format!("process {pid} reads its configuration again; no other process is needed"));
            done = Some(ExitCode::SUCCESS);
        }
    }
    done
}

fn run(options: Options, config: Config) -> ExitCode {
    if background::inside() {
        background::detach();
    }
    let level = if options.quiet { LogLevel::Error } else { LogLevel::Info };
    crate::log::start(LogFormat::Human, level);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            complain(&format!("the runtime: {e}"));
            return ExitCode::from(FAILED);
        }
    };
    if let Some(done) = succeed(&options) {
        return done;
    }
    runtime.block_on(async {
        let pidfile = options.pidfile.clone().or_else(|| config.global.pidfile.clone().map(PathBuf::from));
        let options = Options { pidfile: pidfile.clone(), ..options };
        // A predecessor that was asked to finish may take a moment to close its listeners.
        let patience = if options.predecessors.is_empty() { 0 } else { PREDECESSOR };
        let mut started = Daemon::start(options.clone(), config.clone()).await;
        for _ in 0..patience {
            if started.is_ok() {
                break;
            }
            tokio::time::sleep(AGAIN).await;
            started = Daemon::start(options.clone(), config.clone()).await;
        }
        let daemon = match started {
            Ok(daemon) => daemon,
            Err(why) => {
                complain(&why);
                return ExitCode::from(FAILED);
            }
        };
        if let Some(path) = pidfile
            && let Err(e) = std::fs::write(&path, format!("{}\n", std::process::id()))
        {
            complain(&format!("{}: {e}", path.display()));
            return ExitCode::from(FAILED);
        }
        // Nothing depends on it but the patience of a service manager.
        let _ = systemd::notify("READY=1");
        if background::inside()
            && let Err(e) = background::ready()
        {
            complain(&format!("the background: {e}"));
            return ExitCode::from(FAILED);
        }
        daemon.run().await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn command_lines() {
        let options = parse(&words("haproxy -f a -f b -db -c -sf 12 13 -p x -- c d")).unwrap();
        assert_eq!(options.files, ["a", "b", "c", "d"].map(PathBuf::from));
        assert_eq!((options.predecessors, options.check, options.foreground), (vec![12, 13], true, true));
        let check = |line: &str, expected: &str| assert_eq!(parse(&words(line)).unwrap_err(), expected, "{line}");
        check("haproxy", "no configuration: -f FILE");
        check("haproxy -f", "-f needs a value");
        check("haproxy -f a -y", "unknown option `-y`");
        check("haproxy -f a -sf 12 -1", "unknown option `-1`");
        check("haproxy -f a -st 0", "unknown option `0`");
        assert_eq!(parse(&words("haproxy -vv")).unwrap().version, 2);
        let options = parse(&words("haproxy -Ws -f a -n 500 -L me -x s -m 100")).unwrap();
        assert_eq!((options.connections, options.local_peer.as_deref()), (Some(500), Some("me")));
        let moot = ["-m has no effect: memory is limited"];
        assert!(options.moot.iter().zip(moot).all(|(said, wanted)| said.contains(wanted)), "{:?}", options.moot);
        check("haproxy -f a -n many", "-n many: not a number of connections");
        let options = parse(&words("haproxy -Ws -f a -S /run/m.sock,mode,600")).unwrap();
        assert_eq!(
            master(&options.master.unwrap()).text,
            "global\n    stats socket /run/m.sock mode 600 level admin\n"
        );
    }
}
