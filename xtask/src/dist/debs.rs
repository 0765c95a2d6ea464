//! Tools for users' scripts, taken out of Debian packages: no container engine, and nothing is installed here.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tar::EntryType;

use super::layer::Layer;
use crate::process;

/// What no script needs: documentation, translations, character sets.
const LEFT_OUT: &[&str] = &[
    "usr/share/man/",
    "usr/share/locale/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/bash-completion/",
    "usr/share/zsh/",
    "usr/lib/x86_64-linux-gnu/gconv/",
    "usr/lib/aarch64-linux-gnu/gconv/",
];

/// Packages that others depend on to be installed, not to run.
const INSTALLERS: &[&str] = &["dpkg=", "tar="];

/// Packages with everything that they depend on, unpacked into one layer.
pub(super) fn layer(cache: &Path, packages: &[&str], time: u64) -> Result<Layer> {
    let mut layer = Layer::new(time);
    let packages = closure(cache, packages)?;
    for (package, deb) in packages.iter().zip(download(cache, &packages)?) {
        unpack(&deb, &mut layer).with_context(|| format!("unpacking {package}"))?;
    }
    if !layer.contains("bin/sh") {
        layer.link("bin/sh", "dash");
    }
    Ok(layer)
}

/// The certificates of public authorities, as one file.
pub(super) fn certificates(cache: &Path) -> Result<Vec<u8>> {
    std::fs::create_dir_all(cache)?;
    let about = process::text(Command::new("apt-cache").args(["show", "--no-all-versions", "ca-certificates"]))?;
    let version = about.lines().find_map(|line| line.strip_prefix("Version: "));
    let package = format!("ca-certificates={}", version.context("apt does not know ca-certificates")?);
    let mut certificates: Vec<(String, Vec<u8>)> = Vec::new();
    for deb in download(cache, std::slice::from_ref(&package))? {
        each_file(&deb, |path, _, bytes| {
            if path.starts_with("usr/share/ca-certificates/") && path.ends_with(".crt") {
                certificates.push((path.to_owned(), bytes));
            }
        })?;
    }
    certificates.sort();
    if certificates.is_empty() {
        bail!("{package} holds no certificates");
    }
    Ok(certificates.into_iter().flat_map(|(_, bytes)| bytes).collect())
}

/// What apt would install on a machine that has nothing, as `name=version`.
fn closure(cache: &Path, packages: &[&str]) -> Result<Vec<String>> {
    std::fs::create_dir_all(cache)?;
    let nothing = cache.join("status");
    std::fs::write(&nothing, "")?;
    let mut apt = Command::new("apt-get");
    apt.arg("-o").arg(format!("Dir::State::status={}", nothing.display()));
    apt.args(["-o", "Debug::NoLocking=1", "--no-install-recommends", "--yes", "--print-uris", "install"]);
    let plan = process::text(apt.args(packages)).context("`apt-get update` may help")?;
    let installs = |package: &String| INSTALLERS.iter().any(|name| package.starts_with(name));
    let mut list: Vec<String> = plan.lines().filter_map(package_of).filter(|package| !installs(package)).collect();
    list.sort();
    Ok(list)
}

/// `'http://…/x.deb' name_version_architecture.deb size hash` as `name=version`.
fn package_of(line: &str) -> Option<String> {
    let mut parts = line.split(' ').nth(1)?.strip_suffix(".deb")?.splitn(3, '_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(format!("{name}={}", version.replace("%3a", ":")))
}

/// Where the packages are, after fetching those that are not there; apt checks their signatures.
fn download(cache: &Path, packages: &[String]) -> Result<Vec<PathBuf>> {
    let missing: Vec<&String> = packages.iter().filter(|package| cached(cache, package).is_err()).collect();
    if !missing.is_empty() {
        let mut apt = Command::new("apt-get");
        apt.current_dir(cache).args(["-o", "APT::Sandbox::User=root", "download", "-qq"]);
        process::run(apt.args(missing))?;
    }
    packages.iter().map(|package| cached(cache, package)).collect()
}

/// The file of a package: `name_version_architecture.deb`.
fn cached(cache: &Path, package: &str) -> Result<PathBuf> {
    let (name, version) = package.split_once('=').context("a package has a version")?;
    let prefix = format!("{name}_{}_", version.replace(':', "%3a"));
    for entry in std::fs::read_dir(cache)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&prefix)) {
            return Ok(path);
        }
    }
    bail!("apt-get did not fetch {package}")
}

fn unpack(deb: &Path, layer: &mut Layer) -> Result<()> {
    let mut links = Vec::new();
    each_file(deb, |path, header, bytes| {
        let documentation = path.starts_with("usr/share/doc/") && !path.ends_with("/copyright");
        if documentation || LEFT_OUT.iter().any(|prefix| path.starts_with(prefix)) {
            return;
        }
        let mode = header.mode().unwrap_or(0o644);
        match header.entry_type() {
            EntryType::Directory if !layer.contains(path) => layer.directory(path, mode),
            EntryType::Regular => layer.file(path, mode, bytes),
            EntryType::Symlink | EntryType::Link => {
                let target = header.link_name().ok().flatten().map(|target| target.display().to_string());
                links.push((path.to_owned(), target.unwrap_or_default(), header.entry_type()));
            }
            _ => {}
        }
    })?;
    for (path, target, kind) in links {
        // A hard link names a path of the archive; as a symbolic link it needs the root before it.
        let hard = || format!("/{}", target.trim_start_matches("./"));
        layer.link(&path, &if kind == EntryType::Link { hard() } else { target.clone() });
    }
    Ok(())
}

/// Calls back with every entry of a package: its path without `./`, its header, its bytes.
fn each_file(deb: &Path, mut visit: impl FnMut(&str, &tar::Header, Vec<u8>)) -> Result<()> {
    let archive = process::output(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb))?;
    let mut archive = tar::Archive::new(archive.as_slice());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.display().to_string();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        if path.is_empty() || path == "." {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        let mut header = entry.header().clone();
        // Long names sit beside the header, not in it.
        if let Some(target) = entry.link_name()? {
            header.set_link_name(&target)?;
        }
        visit(&path, &header, bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! apt's own way to print a plan.

    use super::package_of;

    #[test]
    fn packages_are_read_from_apts_plan() {
        let line = "'http://deb.example/pool/main/l/x/libx1_1.2-3_amd64.deb' libx1_1%3a1.2-3+b1_amd64.deb 42 SHA256:00";
        assert_eq!(package_of(line).as_deref(), Some("libx1=1:1.2-3+b1"));
        assert_eq!(package_of("Reading package lists..."), None);
    }
}
