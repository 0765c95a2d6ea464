//! `baton sample config|manifest|run-pod|run-unit`: something to start from.

use std::process::ExitCode;

use baton_config::manager::IMAGE;
use baton_config::{ManifestArgs, RunArgs, StartArgs, run_pod, run_unit, sample_config, sample_manifest};

use super::args::{Pair, Sample};
use super::load;
use super::output::{REFUSED, complain, print};

/// Prints it.
pub(super) fn run(what: &Sample, as_kube_vip: bool) -> ExitCode {
    match what {
        Sample::Config(flags) => {
            let args = StartArgs { flags: flags.given.clone() };
            match sample_config(&args, &load::environment(), as_kube_vip) {
                Ok(text) => print(&text),
                Err(messages) => {
                    complain(&load::text(&messages));
                    ExitCode::from(REFUSED)
                }
            }
        }
        Sample::Manifest { image } => {
            let ours = ours();
            let image = image.as_deref().unwrap_or(&ours);
            let name = if as_kube_vip { "kube-vip" } else { "baton" };
            print(&sample_manifest(&ManifestArgs { image, name, command: None }))
        }
        Sample::RunPod { image, files } => print(&run_pod(&pair(files), image.as_deref().unwrap_or(&ours()))),
        Sample::RunUnit { files } => print(&run_unit(&pair(files))),
    }
}

/// The image of this version.
fn ours() -> String {
    format!("{IMAGE}:{}", crate::VERSION)
}

fn pair(files: &Pair) -> RunArgs<'_> {
    RunArgs { keepalived: &files.keepalived, haproxy: &files.haproxy }
}
