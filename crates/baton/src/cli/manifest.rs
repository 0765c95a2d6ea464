//! `baton manifest …` and `baton kubeadm …`: YAML on standard output.

use std::path::Path;
use std::process::ExitCode;

use baton_config::manager::{IMAGE, Manifest, ManifestArgs, NoManifest, manager_file, manifest};

use super::args::{Generated, KubeadmOf, ManifestOf};
use super::load;
use super::output::{REFUSED, complain, print};

/// `manifest …`. `help`: prints what kube-vip prints beside a refusal.
pub(super) fn of(what: &ManifestOf, help: Option<&dyn Fn() -> ExitCode>) -> ExitCode {
    let (what, generated) = match what {
        ManifestOf::Pod(generated) => (Manifest::Pod, generated),
        ManifestOf::Daemonset { generated, taint } => (Manifest::DaemonSet { taint: *taint }, generated),
        ManifestOf::Rbac { generated, role, rolebinding } => {
            (Manifest::Rbac { role: *role, rolebinding: *rolebinding }, generated)
        }
    };
    generate(what, generated, help)
}

/// `kubeadm …`.
pub(super) fn kubeadm(what: &KubeadmOf, help: Option<&dyn Fn() -> ExitCode>) -> ExitCode {
    let generated = match what {
        KubeadmOf::Init(generated) => generated,
        KubeadmOf::Join { generated, config } => {
            if !Path::new(config).exists() {
                complain(&format!(
                    "baton: {config}: there is no such file, and `kubeadm join` wants the kubeconfig of a joined node"
                ));
                return refusal(help);
            }
            generated
        }
    };
    generate(Manifest::Kubeadm, generated, help)
}

/// kube-vip logs a refusal and exits with 0.
fn refusal(help: Option<&dyn Fn() -> ExitCode>) -> ExitCode {
    if help.is_some() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
}

fn generate(what: Manifest, generated: &Generated, help: Option<&dyn Fn() -> ExitCode>) -> ExitCode {
    let env = load::environment();
    let file = match load::named_file(manager_file(&generated.flags.given, &env)) {
        Ok(file) => file,
        Err(messages) => {
            complain(&load::text(&messages));
            return refusal(help);
        }
    };
    let made = manifest(&ManifestArgs {
        what,
        flags: &generated.flags.given,
        env: &env,
        file: file.as_ref().map(|(path, text)| (path.as_str(), text.as_str())),
        image: generated.image.as_deref().unwrap_or(IMAGE),
        version: crate::VERSION,
        in_cluster: generated.in_cluster,
        minimal: generated.minimal,
        kube_vip: help.is_some(),
    });
    match made {
        Ok((text, warnings)) => {
            complain(&load::text(&warnings));
            print(&text)
        }
        Err(NoManifest { help: wanted, messages }) => {
            if let (true, Some(help)) = (wanted, help) {
                help();
            }
            complain(&load::text(&messages));
            refusal(help)
        }
    }
}
