//! The daemon that is looked at, started as a kubelet would start it: with files at the places where a container has them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use baton_lab::host::Host;
use nix::unistd::Pid;

use crate::components::{API_SERVICE, start};

/// How a daemon gets at the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// `/etc/kubernetes/admin.conf`, as a static pod of kubeadm has it.
    AdminConf,
    /// The token of a service account, as a DaemonSet has it.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A daemon: what is started, and how it gets at the API.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, besides what the way of access sets.
    pub environment: Vec<(String, String)>,
    /// How it gets at the API.
    pub access: Access,
}

impl Daemon {
    /// A daemon with the arguments of `line`, separated by spaces.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, line: &str, access: Access) -> Daemon {
        let arguments = line.split_whitespace().map(ToOwned::to_owned).collect();
        Daemon { program: program.into(), arguments, environment: Vec::new(), access }
    }

    /// The same with an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Daemon {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it on `host`, with files of its own that survive its end.
    pub fn start(&self, host: &Host, node: &str) -> io::Result<Pid> {
        start(host, "daemon", self.command(host, node)?)
    }

    /// The command that starts it.
    pub fn command(&self, host: &Host, node: &str) -> io::Result<Command> {
        let mut command = inside(host)?;
        command.arg(&self.program).args(&self.arguments).env("vip_nodename", node);
        if self.access != Access::AdminConf {
            command.env("KUBERNETES_SERVICE_HOST", API_SERVICE).env("KUBERNETES_SERVICE_PORT", "443");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// Where a host keeps what its daemon finds in `/etc/kubernetes`.
#[must_use]
pub fn etc_kubernetes(host: &Host) -> PathBuf {
    host.directory().join("kubernetes")
}

/// Where a host keeps what its daemon finds as its service account.
#[must_use]
pub fn service_account(host: &Host) -> PathBuf {
    host.directory().join("serviceaccount")
}

/// Mounts what a container would have, then becomes the program: `$1` is the host's directory.
const CONTAINER: &str = r#"
set -e
own=$1; shift
echo "${own##*/}" > /proc/sys/kernel/hostname
mkdir -p /run/baton /run/secrets/kubernetes.io/serviceaccount /run/etc
mount --bind "$own/run" /run/baton
mount --bind "$own/serviceaccount" /run/secrets/kubernetes.io/serviceaccount
mount --bind /etc /run/etc
mount -t tmpfs tmpfs /etc
ln -s /run/etc/* /etc/
rm -f /etc/kubernetes
ln -s "$own/kubernetes" /etc/kubernetes
# Names that a test gives: a file that it may change.
if [ -e "$own/hosts" ]; then rm -f /etc/hosts; ln -s "$own/hosts" /etc/hosts; fi
mount -t tmpfs tmpfs /var/lib
ln -s "$own/state" /var/lib/baton
exec "$@"
"#;

/// A command in what stands for the daemon's container on `host`; the program and its arguments are yet to be added.
pub fn inside(host: &Host) -> io::Result<Command> {
    let own: &Path = host.directory();
    for name in ["run", "state", "kubernetes", "serviceaccount"] {
        fs::create_dir_all(own.join(name))?;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--uts", "--propagation", "private", "sh", "-c", CONTAINER, "container"]).arg(own);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", "/nonexistent");
    Ok(command)
}
