//! keepalived's place: its command line, its file, its pid files, signals, scripts and dumps, around `core::vrrp`.

mod assemble;
mod check;
mod daemon;
mod dump;
mod facts;
pub(crate) mod load;
mod native;
mod network;
mod notify;
pub(crate) mod options;
mod pids;
mod program;
mod refuse;
mod scripts;
mod services;
mod trackers;

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::LinkNameSpaceType;
use tokio::sync::watch;
use tracing::error;

use crate::cli::output::{FAILED, REFUSED, complain, fail, print};
use crate::syslog::Syslog;
use crate::{background, log, settled};
pub(crate) use check::check;
use options::{Options, Parsed, Refused};
use pids::Pids;

/// What programs that look for keepalived expect to read.
const VERSION: &str = "Keepalived v2.2.7 (baton";
/// Facility `daemon`.
const DAEMON: u8 = 3;

/// Runs keepalived's command line; the program's name comes first.
#[must_use]
pub fn main(args: &[OsString]) -> ExitCode {
    let mut words = Vec::new();
    for arg in args.iter().skip(1) {
        match arg.to_str() {
            Some(word) => words.push(word.to_owned()),
            None => return fail(REFUSED, "an argument is no text"),
        }
    }
    match options::parse(&words) {
        Ok(Parsed::Version) => {
            complain(&format!("{VERSION} {})", crate::VERSION));
            ExitCode::SUCCESS
        }
        Ok(Parsed::Help) => {
            complain(HELP);
            ExitCode::SUCCESS
        }
        Ok(Parsed::Signal(name)) => match options::signal_number(&name) {
            Some(number) => print(&format!("{number}\n")),
            None => {
                complain(&format!("Unknown sigfunc {name}"));
                ExitCode::from(1)
            }
        },
        Ok(Parsed::Run(options)) => run(*options, args),
        Err(Refused::Usage(why)) => {
            complain(&why);
            ExitCode::from(1)
        }
        Err(Refused::NotDone(why)) => fail(REFUSED, &why),
    }
}

fn run(options: Options, args: &[OsString]) -> ExitCode {
    if let Some(to) = &options.test {
        return load::test(&options, to.as_deref());
    }
    let loaded = match load::load(&options) {
        Ok(loaded) => loaded,
        Err(refused) => {
            complain(&refused.text());
            return ExitCode::from(refused.code());
        }
    };
    if !options.foreground && !background::inside() {
        return match background::start(args) {
            Ok(code) => code,
            Err(e) => fail(FAILED, &format!("going into the background: {e}")),
        };
    }
    if !options.foreground {
        background::detach();
    }
    start_logging(&options);
    loaded.say();
    if options.dump {
        for line in format!("{:#?}", loaded.config).lines() {
            tracing::info!("{line}");
        }
    }
    if let Err(why) = enter(&options, &loaded.config.global) {
        error!("{why}");
        return ExitCode::from(FAILED);
    }
    let pids = match Pids::write(&options, &loaded.config.global) {
        Ok(pids) => pids,
        Err(why) => {
            error!("{why}");
            complain(&why);
            return ExitCode::from(FAILED);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(FAILED, &format!("the event loop: {e}")),
    };
    let in_background = !options.foreground;
    let started = move || {
        if in_background && let Err(e) = background::ready() {
            error!("going into the background: {e}");
        }
    };
    runtime.spawn(settled::give_back());
    let code = runtime.block_on(daemon::run(options, loaded.config, None, started));
    // A name that is being resolved is not waited for.
    runtime.shutdown_background();
    drop(pids);
    code
}

/// A file that may be run beside a balancer in one process.
pub(crate) struct Beside {
    options: Options,
    loaded: load::Loaded,
}

impl Beside {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn read(file: &Path) -> Result<Beside, String> {
        let options = Options { file: Some(file.to_owned()), foreground: true, console: true, ..Options::default() };
        match load::load(&options) {
            Ok(loaded) => Ok(Beside { options, loaded }),
            Err(refused) => Err(refused.text()),
        }
    }

    /// Makes the process what the file asks for, before it has threads.
    ///
    /// # Errors
    /// For people.
    pub(crate) fn enter(&self) -> Result<Pids, String> {
        self.loaded.say();
        enter(&self.options, &self.loaded.config.global)?;
        Pids::write(&self.options, &self.loaded.config.global)
    }

    /// Runs until a signal ends it; a node whose balancer can serve nobody gives its addresses up.
    pub(crate) async fn run(self, serving: watch::Receiver<bool>) -> ExitCode {
        daemon::run(self.options, self.loaded.config, Some(serving), || {}).await
    }
}

/// Where the original logs: syslog, and the console when asked. Without a syslog daemon, the console.
fn start_logging(options: &Options) {
    let syslog = if options.no_syslog {
        None
    } else {
        Syslog::connect(options.facility.unwrap_or(DAEMON), "Keepalived_vrrp").ok()
    };
    let console = options.console || (syslog.is_none() && !options.no_syslog);
    log::start_as_daemon(console, syslog, options.detail);
}

/// What the process is to be like before it has threads.
fn enter(options: &Options, global: &baton_config::keepalived::model::Global) -> Result<(), String> {
    if let Some(mask) = options.umask.or(global.umask) {
        rustix::process::umask(Mode::from_raw_mode(mask));
    }
    if options.core_dump {
        let limit = Rlimit { current: None, maximum: None };
        setrlimit(Resource::Core, limit).map_err(|e| format!("core dumps without limit: {e}"))?;
    }
    let Some(name) = options.namespace.as_ref().or(global.net_namespace.as_ref()) else { return Ok(()) };
    let path = format!("/run/netns/{name}");
    let namespace = File::open(&path).map_err(|e| format!("network namespace {name}: {path}: {e}"))?;
    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))
        .map_err(|e| format!("network namespace {name}: {e}"))
}

const HELP: &str = "Usage: keepalived [OPTION...], as run by baton
  -f, --use-file=FILE          the configuration (default /etc/keepalived/keepalived.conf)
  -P, --vrrp                   leave virtual servers out
  -n, --dont-fork              stay in the foreground
  -l, --log-console            log to standard error
  -D, --log-detail             log details
  -S, --log-facility=FACILITY  0-7, local0-local7, user or daemon (default)
  -G, --no-syslog              do not log to syslog
  -u, --umask=MASK             for files that are made
  -d, --dump-conf              log the configuration as it was understood
  -p, --pid=FILE               pid file; also -r, -c and -b
  -a, --address-monitoring     log addresses that come and go
  -s, --namespace=NAME         run in a network namespace
  -m, --core-dump              no limit for core dumps
  -e, --all-config             a file to include that is missing is an error
  -i, --config-id ID           for lines that begin with @ID or @^ID (default: the host's name)
      --signum=SIGFUNC         print the number of STOP, RELOAD, DATA, STATS, STATS_CLEAR or JSON
  -t, --config-test[=FILE]     only say what is wrong with the configuration: exit 0, 5 (warnings), 6 (scripts)
      --strict                 refuse what would be weakened silently
  -v, --version                print the version
  -h, --help                   print this
Taken, and how it is anyway: -B, --all, -X, -I, -R.
";
