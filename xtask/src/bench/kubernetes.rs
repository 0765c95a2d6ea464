//! `manager` on three nodes with real API servers. The measuring is a program of its own (crate `baton-cluster`), since it
//! enters namespaces for good.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{kubernetes, process};

/// Builds what is measured and what measures, and runs it. Its options: `cargo run -p baton-cluster --bin kubernetes -- bench --help`.
pub(super) fn measure(args: &[String]) -> Result<String> {
    kubernetes::set_up()?;
    for package in ["baton", "baton-cluster"] {
        process::run(process::cargo().args(["build", "--release", "--package", package]))?;
    }
    let release = process::root().join("target/release");
    let mut program = Command::new(release.join("kubernetes"));
    program.arg("bench").arg("--baton").arg(release.join("baton")).args(args).stderr(Stdio::inherit());
    let output = program.output().context("running the measurement")?;
    ensure!(output.status.success(), "the measurement failed:\n{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).context("the section is text")
}
