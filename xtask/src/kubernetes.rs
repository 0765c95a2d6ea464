//! Kubernetes' own programs, which tests run real clusters of: built from Go modules, once, into the user's cache.

use anyhow::{Result, bail};

use crate::process;

/// Builds what is missing. Without Go the tests that need a cluster are skipped and say so; where `CI` is set that is a failure.
pub(crate) fn set_up() -> Result<()> {
    let mut build = process::cargo();
    build.args(["run", "--locked", "--quiet", "-p", "baton-cluster", "--bin", "kubernetes", "--", "build"]);
    let Err(problem) = process::run(build.env("PATH", process::path()?)) else { return Ok(()) };
    eprintln!(
        "missing: etcd, kube-apiserver, kube-controller-manager, kubectl, kube-proxy, which tests run clusters of"
    );
    eprintln!(
        "they are built with Go; crates/cluster/go/go.mod says which release. Or KUBEBUILDER_ASSETS names a directory that has them"
    );
    if std::env::var_os("CI").is_some() {
        bail!("there is no Kubernetes, and CI skips no test: {problem:#}");
    }
    eprintln!("{problem:#}; going on: tests that need a cluster are skipped and say so");
    Ok(())
}
