//! What a change has to pass, and what a program can put right.

use anyhow::Result;

use crate::{debian, kubernetes, process};

/// The release of cargo-deny that `ci` installs where there is none.
const CARGO_DENY: &str = "0.20.2";

/// Of each property in a run of the tests: how many cases, and which. The same ones each time, so that what fails
/// belongs to the change; `properties` looks for new ones.
const PROPERTIES: &[(&str, &str)] = &[("PROPTEST_CASES", "512"), ("PROPTEST_RNG_SEED", "5798")];

/// Every test of every crate, after the set-up that they need.
pub(crate) fn test(args: &[String]) -> Result<()> {
    debian::set_up()?;
    let mut packages =
        args.windows(2).filter(|pair| pair[0] == "-p" || pair[0] == "--package").map(|pair| pair[1].as_str());
    if packages.clone().next().is_none() || packages.any(|package| matches!(package, "baton" | "baton-cluster")) {
        kubernetes::set_up()?;
    }
    let mut cargo = process::cargo();
    cargo.args(["test", "--locked", "--no-fail-fast"]);
    if !args.iter().any(|arg| arg == "-p" || arg.starts_with("--package")) {
        cargo.arg("--workspace");
    }
    cargo.envs(PROPERTIES.iter().filter(|(name, _)| std::env::var_os(name).is_none()).copied());
    process::run(cargo.args(args).env("PATH", process::path()?))
}

/// Every property of the crates that decide and read, optimised, with cases that no run had before.
pub(crate) fn properties(cases: u32) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--release", "--locked", "--no-fail-fast"]);
    cargo.args(["-p", "baton-wire", "-p", "baton-core", "-p", "baton-config"]);
    process::run(cargo.env("PROPTEST_CASES", cases.to_string()).env_remove("PROPTEST_RNG_SEED"))
}

/// Everything, in the order in which it is quick to fail.
pub(crate) fn all() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
    process::run(process::cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    process::run(
        process::cargo()
            .args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"),
    )?;
    test(&[])?;
    deny()
}

/// Licences, bans and sources of the dependencies. Advisories need a database from the network; they are left to
/// whoever has one.
fn deny() -> Result<()> {
    if process::find("cargo-deny").is_none() && !in_cargo_home("cargo-deny") {
        process::run(process::cargo().args(["install", "--locked", "cargo-deny", "--version", CARGO_DENY]))?;
    }
    process::run(process::cargo().args(["fetch", "--locked"]))?;
    process::run(process::cargo().args(["deny", "--offline", "check", "licenses", "bans", "sources"]))
}

fn in_cargo_home(program: &str) -> bool {
    std::env::var_os("CARGO_HOME").is_some_and(|home| std::path::Path::new(&home).join("bin").join(program).is_file())
}

/// Writes to the tree, and does only that.
pub(crate) fn fix() -> Result<()> {
    process::run(process::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
    ]))?;
    process::run(process::cargo().args(["fmt", "--all"]))?;
    let mut documents = process::cargo();
    process::run(documents.args(["test", "-p", "xtask", "documents"]).env("BATON_WRITE_DOCUMENTS", "1"))
}

/// The simulator, optimised: a swarm is as good as the number of its seeds.
pub(crate) fn sim(args: &[String]) -> Result<()> {
    process::run(process::cargo().args(["run", "--release", "--quiet", "-p", "baton-sim", "--"]).args(args))
}
