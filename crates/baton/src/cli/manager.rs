//! `baton manager` and `baton service`: load, refuse or run.

use std::process::ExitCode;

use baton_config::Message;
use baton_config::manager::{Level, LoadedManager, ManagerArgs, manager, manager_file, unbuilt};

use super::args::{LogLevel, Manager};
use super::load;
use super::output::{FAILED, REFUSED, complain};

/// Flags, environment and file become settings.
///
/// # Errors
/// Everything that is wrong.
pub fn load(options: &Manager, service: bool, kube_vip: bool) -> Result<LoadedManager, Vec<Message>> {
    let env = load::environment();
    let file = load::named_file(manager_file(&options.flags.given, &env))?;
    let host = load::host_name();
    manager(&ManagerArgs {
        flags: &options.flags.given,
        env: &env,
        file: file.as_ref().map(|(path, text)| (path.as_str(), text.as_str())),
        host: &host,
        service,
        kube_vip,
    })
}

/// What is worth a log line.
#[must_use]
pub fn level(settings: Level) -> LogLevel {
    match settings {
        Level::Error => LogLevel::Error,
        Level::Warn => LogLevel::Warn,
        Level::Info => LogLevel::Info,
        Level::Debug => LogLevel::Debug,
        Level::Trace => LogLevel::Trace,
    }
}

/// Runs until a signal ends it.
pub(super) fn run(options: Manager, service: bool, kube_vip: bool) -> ExitCode {
    let loaded = match load(&options, service, kube_vip) {
        Ok(loaded) => loaded,
        Err(messages) => {
            complain(&load::text(&messages));
            // A mistake is one for the original, too, and has its exit code; what it would have done has ours.
            return ExitCode::from(if kube_vip && !unbuilt(&messages) { FAILED } else { REFUSED });
        }
    };
    crate::log::start(options.log_format, options.log_level.unwrap_or(level(loaded.settings.log)));
    crate::manager::run(loaded, &options.run_dir)
}
