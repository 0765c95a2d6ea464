//! `baton start`: load, refuse or run.

use std::process::ExitCode;

use super::args::{LogLevel, Start};
use super::load;
use super::output::{REFUSED, complain};
use crate::{daemon, log};

/// Runs until a signal ends it.
pub(super) fn run(options: Start, as_kube_vip: bool) -> ExitCode {
    let loaded = match load::load(&options.flags, as_kube_vip) {
        Ok(loaded) => loaded,
        Err(messages) => {
            complain(&load::text(&messages));
            return ExitCode::from(REFUSED);
        }
    };
    let level = options.log_level.or(options.log.map(log::level_of_logrus)).unwrap_or(LogLevel::Info);
    log::start(options.log_format, level);
    daemon::run(options, loaded, as_kube_vip)
}
