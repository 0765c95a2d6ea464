//! Debian packages that tests and benchmarks compare with and look through.
//!
//! Nothing that Baton itself needs: the binary brings all it uses.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// A program, the package that has it, and what happens without it.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { program: "ip", package: "iproute2", purpose: "looks at addresses and links with eyes other than ours" },
    Tool { program: "nft", package: "nftables", purpose: "looks at the gates with eyes other than ours" },
    Tool { program: "unshare", package: "util-linux", purpose: "gives each test kernel state of its own" },
    Tool { program: "nsenter", package: "util-linux", purpose: "looks at a test's other hosts" },
    Tool { program: "tcpdump", package: "tcpdump", purpose: "sees what is on the wire" },
    Tool { program: "arping", package: "iputils-arping", purpose: "asks who has an address" },
    Tool { program: "ndisc6", package: "ndisc6", purpose: "asks the same of IPv6" },
    Tool { program: "ping", package: "iputils-ping", purpose: "asks whether an address can be reached" },
    Tool { program: "kill", package: "procps", purpose: "stops what a test started, in every way there is" },
    Tool { program: "capsh", package: "libcap2-bin", purpose: "looks at capabilities" },
    Tool { program: "go", package: "golang-go", purpose: "builds Kubernetes (an older Go fetches the one it takes)" },
    Tool { program: "curl", package: "curl", purpose: "is the HTTP client" },
    Tool { program: "keepalived", package: "keepalived", purpose: "is what failover is compared with" },
    Tool { program: "haproxy", package: "haproxy", purpose: "is what balancing is compared with" },
];

/// Installs what is missing where that is allowed (root, with apt), else says what is missing. Where `CI` is set,
/// a test that would be skipped is a failure.
pub(crate) fn set_up() -> Result<()> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| process::find(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    let problem = match install(&packages) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    for tool in &missing {
        eprintln!("missing: {} ({}): {}", tool.program, tool.package, tool.purpose);
    }
    eprintln!("install them with: sudo apt-get install {}", packages.join(" "));
    if std::env::var_os("CI").is_some() {
        bail!("programs that the tests need are missing, and CI skips no test: {problem:#}");
    }
    eprintln!("not installed: {problem:#}; going on: tests that need them are skipped and say so");
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    if !process::is_root()? {
        bail!("only root may install packages");
    }
    if process::find("apt-get").is_none() {
        bail!("there is no apt-get here");
    }
    // Only the programs are wanted: where scripts start services, installing must not start these.
    let quiet = |command: &mut Command| -> Result<()> {
        eprintln!("installing: {}", process::line(command));
        process::output(command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1")).map(drop)
    };
    quiet(Command::new("apt-get").args(["update", "-qq"])).context("cannot read the package lists")?;
    quiet(Command::new("apt-get").args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
}
