//! `baton run keepalived.conf haproxy.cfg`: both in one process, and mastership follows the balancer without a script.
//!
//! A node whose listener is gone or whose servers are all down is not fit to hold the addresses: it gives them up at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::sync::oneshot;
use tracing::{error, info};

use crate::cli::output::{FAILED, REFUSED, complain, fail};
use crate::haproxy::daemon::Daemon;
use crate::haproxy::start;
use crate::keepalived::Beside;
use crate::{log, settled};

/// Runs the files until a signal ends it.
pub(crate) fn run(files: &[PathBuf]) -> ExitCode {
    let (keepers, balancers): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(|file| is_keepalived(file));
    let [keeper] = keepers.as_slice() else {
        return fail(REFUSED, "name one keepalived.conf (a file with a vrrp_instance), and at least one haproxy.cfg");
    };
    if balancers.is_empty() {
        return fail(REFUSED, "name a haproxy.cfg, too; without one, `baton keepalived -f FILE` is the command");
    }
    // What is wrong with both is said at once.
    let keeper = Beside::read(keeper);
    let options =
        start::Options { files: balancers.into_iter().cloned().collect(), foreground: true, ..Default::default() };
    let (config, said) = start::read(&options);
    if let Err(why) = &keeper {
        complain(why);
    }
    complain(said.trim_end());
    let (Ok(keeper), Some(config)) = (keeper, config) else { return ExitCode::from(REFUSED) };
    log::start_as_daemon(true, None, false);
    let pids = match keeper.enter() {
        Ok(pids) => pids,
        Err(why) => return fail(FAILED, &why),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(FAILED, &format!("the event loop: {e}")),
    };
    runtime.spawn(settled::give_back());
    let code = runtime.block_on(together(keeper, options, config));
    // A name that is being resolved is not waited for.
    runtime.shutdown_background();
    drop(pids);
    code
}

/// The balancer first: an address comes to a host that can serve it. On the way out the addresses go first.
async fn together(keeper: Beside, options: start::Options, config: baton_config::haproxy::Config) -> ExitCode {
    let balancer = match Daemon::start(options, config).await {
        Ok(balancer) => balancer,
        Err(why) => {
            error!("{why}");
            return ExitCode::from(FAILED);
        }
    };
    info!("the balancer of this process decides whether this node is fit: no check of it is needed");
    let serving = balancer.serving();
    let (end, over) = oneshot::channel();
    let keep = async {
        let code = keeper.run(serving).await;
        // The balancer may have ended by itself.
        let _ = end.send(());
        code
    };
    let (code, balanced) = tokio::join!(keep, balancer.run_beside(over));
    if code == ExitCode::SUCCESS { balanced } else { code }
}

/// What tells the two apart: every keepalived.conf that is of use has one of these blocks.
fn is_keepalived(file: &Path) -> bool {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let first = |line: &str| line.split([' ', '\t', '{']).find(|word| !word.is_empty()).map(str::to_owned);
    text.lines()
        .filter_map(|line| first(line.trim()))
        .any(|word| matches!(word.as_str(), "vrrp_instance" | "vrrp_sync_group" | "global_defs" | "vrrp_script"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_what_is_in_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("x");
        for (text, expected) in [
            ("vrrp_instance VI_1 {\n}\n", true),
            ("! comment\nglobal_defs{\n}\n", true),
            ("global\n  log 127.0.0.1 local0\ndefaults\n  mode tcp\n", false),
            ("", false),
        ] {
            fs::write(&file, text).expect("written");
            assert_eq!(is_keepalived(&file), expected, "{text}");
        }
        assert!(!is_keepalived(&dir.path().join("missing")));
    }
}
