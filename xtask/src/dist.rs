//! What is shipped.

use anyhow::{Result, bail};

/// How to build it.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Builds it.
pub(crate) fn run(_args: &Args) -> Result<()> {
    bail!("not yet")
}
