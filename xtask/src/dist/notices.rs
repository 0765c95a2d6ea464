//! The licence texts that have to travel with the binary, gathered from the sources of what is linked into it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// Every linked crate with its licence, then each licence text once with the crates that carry it.
pub(super) fn text(triple: &str) -> Result<String> {
    let mut cargo = process::cargo();
    let cargo = cargo.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", triple]);
    let metadata: Value = serde_json::from_slice(&process::output(cargo)?)?;
    let linked = linked(&metadata).context("cargo's metadata has another shape than expected")?;
    let mut page = String::from("Software from others in the program `baton`\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (Some(id), Some(name)) = (package["id"].as_str(), package["name"].as_str()) else { continue };
        if package["source"].is_null() || !linked.contains(id) {
            continue;
        }
        let label = format!("{name} {}", package["version"].as_str().unwrap_or_default());
        page += &format!("{label}: {}\n", package["license"].as_str().unwrap_or("see its text"));
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        for licence in licences(manifest.parent().context("a manifest is in a directory")?)? {
            texts.entry(licence).or_default().push(label.clone());
        }
    }
    page += "The Rust standard library: MIT OR Apache-2.0\n";
    page += "GNU C Library: LGPL-2.1-or-later; its sources are those of Debian's package glibc\n";
    for (licence, crates) in texts {
        page += &format!("\n{}\n{}\n\n{}\n", "-".repeat(80), crates.join(", "), licence.trim_end());
    }
    Ok(page)
}

/// What the binary is linked from: normal dependencies, and theirs.
fn linked(metadata: &Value) -> Option<BTreeSet<&str>> {
    let nodes = metadata["resolve"]["nodes"].as_array()?;
    let nodes: BTreeMap<&str, &Value> = nodes.iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let packages = metadata["packages"].as_array()?;
    let baton = packages.iter().find(|package| package["name"] == "baton" && package["source"].is_null())?;
    let mut open = vec![baton["id"].as_str()?];
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        for dependency in nodes.get(id)?["deps"].as_array()? {
            if dependency["dep_kinds"].as_array()?.iter().any(|kind| kind["kind"].is_null()) {
                open.push(dependency["pkg"].as_str()?);
            }
        }
    }
    Some(found)
}

/// The licence files in a crate's root.
fn licences(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        let licence =
            ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"].iter().any(|word| name.starts_with(word));
        if licence && path.is_file() {
            found.push(String::from_utf8_lossy(&std::fs::read(&path)?).into_owned());
        }
    }
    Ok(found)
}
