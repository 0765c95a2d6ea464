//! What is shipped: one static binary, and two image archives around it, made without a daemon or a base image.

mod debs;
mod image;
mod layer;
mod notices;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use image::Image;
use layer::Layer;

use crate::process;

/// The repository that generated manifests name, so that they run what is built here.
pub(crate) const REPOSITORY: &str = "ghcr.io/baton-vip/baton";

/// How to build it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Repository name that the images carry, such as registry.example/net/baton
    #[arg(long, default_value = REPOSITORY)]
    repository: String,
    /// Pack this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Only the binary
    #[arg(long)]
    binary_only: bool,
}

/// The names that the binary answers to; see `baton help`.
const LINKS: &[&str] = &["kube-vip", "keepalived", "haproxy", "kube-keepalived-vip", "kube-vip-cloud-provider"];

/// What users' scripts may count on in the image with tools.
const TOOLS: &[&str] = &["dash", "coreutils", "grep", "sed", "curl"];

/// Builds everything into `target/shipping`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let shipping = process::root().join("target/shipping");
    std::fs::create_dir_all(&shipping)?;
    let binary = shipping.join("baton");
    let built = args.binary.clone().map_or_else(build, Ok)?;
    std::fs::copy(&built, &binary).with_context(|| format!("copying {}", built.display()))?;
    runs_alone(&binary)?;
    if !args.binary_only {
        images(&binary, &shipping, &args.repository)?;
    }
    sums(&shipping)
}

/// A static-pie with glibc inside: no loader, no libraries, no NSS modules.
fn build() -> Result<PathBuf> {
    let triple = triple()?;
    let root = process::root();
    let mut flags =
        vec!["-Ctarget-feature=+crt-static".to_owned(), format!("--remap-path-prefix={}=.", root.display())];
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    let mut cargo = process::cargo();
    cargo.args(["build", "--locked", "--release", "--package", "baton", "--target", &triple]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    process::run(cargo.env("BATON_BUILD", git(&["describe", "--always", "--dirty"])?))?;
    Ok(root.join("target").join(triple).join("release/baton"))
}

fn triple() -> Result<String> {
    let about = process::text(Command::new("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say its host")?;
    if !host.ends_with("-linux-gnu") {
        bail!("the static binary is built on Linux with glibc, and this is {host}");
    }
    Ok(host.to_owned())
}

fn cargo_home() -> Option<PathBuf> {
    let given = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    given.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}

/// Starts the binary in a root directory that holds nothing else.
fn runs_alone(binary: &Path) -> Result<()> {
    let empty = binary.with_file_name("empty-root");
    if empty.exists() {
        std::fs::remove_dir_all(&empty)?;
    }
    std::fs::create_dir(&empty)?;
    std::fs::copy(binary, empty.join("baton"))?;
    std::os::unix::fs::symlink("baton", empty.join("kube-vip"))?;
    for command in [["/baton", "version"], ["/kube-vip", "version"], ["/baton", "schema"]] {
        let mut alone = Command::new("unshare");
        if !process::is_root()? {
            alone.args(["--user", "--map-root-user"]);
        }
        alone.arg(format!("--root={}", empty.display())).args(command);
        let text = process::text(&mut alone).context("the binary does not run in an empty root directory")?;
        println!("in an empty root: {}: {}", command.join(" "), text.lines().next().unwrap_or_default());
    }
    Ok(std::fs::remove_dir_all(&empty)?)
}

/// Both archives. They share the layer with the binary.
fn images(binary: &Path, shipping: &Path, repository: &str) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let created = commit_time()?;
    let debs = shipping.join("debs");
    let mut base = Layer::new(created);
    base.directory("tmp", 0o1777);
    base.file("etc/ssl/certs/ca-certificates.crt", 0o644, debs::certificates(&debs)?);
    base.file("LICENSE", 0o644, std::fs::read(process::root().join("LICENSE"))?);
    base.file("THIRD-PARTY.txt", 0o644, notices::text(&triple()?)?.into_bytes());
    let mut program = Layer::new(created);
    program.file("baton", 0o755, std::fs::read(binary)?);
    LINKS.iter().for_each(|name| program.link(name, "baton"));
    let (base, program) = (base.finish()?, program.finish()?);

    let plain = Image { repository, version, created, layers: vec![&base, &program] };
    plain.write(&shipping.join("baton-image.tar"))?;

    let tools = debs::layer(&debs, TOOLS, created)?.finish()?;
    let name = format!("{repository}-tools");
    let image = Image { repository: &name, version, created, layers: vec![&tools, &base, &program] };
    image.write(&shipping.join("baton-tools-image.tar"))
}

/// Seconds since 1970 of the commit: the same tree gives the same archives.
fn commit_time() -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().context("SOURCE_DATE_EPOCH is not a number of seconds");
    }
    git(&["log", "-1", "--format=%ct"])?.parse().context("git does not say when the commit was made")
}

/// What git says about the tree.
fn git(args: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    Ok(process::text(git.current_dir(process::root()).args(args))?.trim().to_owned())
}

/// Says what was made, and writes it down for whoever checks a download.
fn sums(shipping: &Path) -> Result<()> {
    let mut sums = String::new();
    for name in ["baton", "baton-image.tar", "baton-tools-image.tar"] {
        let file = shipping.join(name);
        let Ok(bytes) = std::fs::read(&file) else { continue };
        println!("{}: {:.1} MB", file.display(), bytes.len() as f64 / 1e6);
        sums += &format!("{}  {name}\n", image::sha256(&bytes));
    }
    std::fs::write(shipping.join("SHA256SUMS"), sums).context("writing SHA256SUMS")
}
