//! Failover, and virtual routers, beside keepalived, in network namespaces. The measuring is done by programs of their own
//! (crate `baton-lab`), since they enter namespaces for good.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process;

/// Builds what is measured and what measures, and runs it. Its options: `cargo run -p baton-lab --bin failover -- --help`.
pub(super) fn measure(args: &[String]) -> Result<String> {
    with("failover", args)
}

/// The same with keepalived's own files: `cargo run -p baton-lab --bin vrrp -- --help`.
pub(super) fn measure_vrrp(args: &[String]) -> Result<String> {
    with("vrrp", args)
}

fn with(program: &str, args: &[String]) -> Result<String> {
    for package in ["baton", "baton-lab"] {
        process::run(process::cargo().args(["build", "--release", "--package", package]))?;
    }
    let release = process::root().join("target/release");
    let mut program = Command::new(release.join(program));
    program.arg("--baton").arg(release.join("baton")).args(args).env("PATH", process::path()?).stderr(Stdio::inherit());
    let output = program.output().context("running the measurement")?;
    ensure!(output.status.success(), "the measurement failed");
    String::from_utf8(output.stdout).context("the section is text")
}
