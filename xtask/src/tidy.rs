//! The house rules that a program can check, as tests. Each failure names the place and the rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::process;

/// From a function's signature to its closing brace: what fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Of a file, its tests not counted: one subject.
const FILE_LINES_MAX: usize = 500;

/// What the pure crates may depend on. A new name here is a decision, not a convenience.
const ALLOWED: &[(&str, &[&str])] =
    &[("baton-wire", &["ring"]), ("baton-core", &["baton-wire"]), ("baton-sim", &["baton-core", "baton-wire"])];

/// The one file that may contain `unsafe`.
const UNSAFE_FILE: &str = "crates/net/src/sys.rs";

/// Files of the repository, tracked or about to be.
fn files(suffix: &str) -> Vec<(PathBuf, String)> {
    let mut git = Command::new("git");
    git.current_dir(process::root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let list = process::text(&mut git).expect("git lists the files");
    let paths: BTreeSet<&str> = list.lines().filter(|path| path.ends_with(suffix)).collect();
    let read = |path: &str| Some((path.into(), std::fs::read_to_string(process::root().join(path)).ok()?));
    paths.into_iter().filter_map(read).collect()
}

fn refuse(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// Walks the code of a file that is shipped; test code is left out.
#[derive(Default)]
struct Shipped {
    functions: Vec<(String, usize, usize)>,
    unwraps: Vec<usize>,
    unsafe_lines: Vec<usize>,
    test_lines: usize,
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        path.is_ident("test")
            || path.segments.last().is_some_and(|last| last.ident == "test")
            || path.is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

fn lines(node: &impl Spanned) -> (usize, usize) {
    (node.span().start().line, node.span().end().line)
}

impl Shipped {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (lines(signature).0, lines(block).1);
        self.functions.push((signature.ident.to_string(), first, last + 1 - first));
    }

    fn test(&mut self, node: &impl Spanned) {
        let (first, last) = lines(node);
        self.test_lines += last + 1 - first;
    }
}

impl<'ast> Visit<'ast> for Shipped {
    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        if is_test(&node.attrs) { self.test(node) } else { visit::visit_item_mod(self, node) }
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        if is_test(&node.attrs) {
            return self.test(node);
        }
        self.function(&node.sig, &node.block);
        visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        if is_test(&node.attrs) {
            return self.test(node);
        }
        self.function(&node.sig, &node.block);
        visit::visit_impl_item_fn(self, node);
    }

    fn visit_expr_method_call(&mut self, node: &'ast syn::ExprMethodCall) {
        if node.method == "unwrap" {
            self.unwraps.push(lines(&node.method).0);
        }
        visit::visit_expr_method_call(self, node);
    }

    fn visit_expr_unsafe(&mut self, node: &'ast syn::ExprUnsafe) {
        self.unsafe_lines.push(lines(node).0);
        visit::visit_expr_unsafe(self, node);
    }
}

fn shipped(path: &Path, text: &str) -> Shipped {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut shipped = Shipped::default();
    shipped.visit_file(&file);
    shipped
}

/// Files that are test code as a whole: `tests.rs`, `x/tests/…`, `tests/…`, `benches/…`.
fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches" | "tests.rs")))
}

#[test]
fn files_open_with_what_they_own() {
    let bare = |(path, text): &(PathBuf, String)| {
        (!text.starts_with("//! ")).then(|| format!("{}:1: does not open with `//!`: what it owns", path.display()))
    };
    refuse(&files(".rs").iter().filter_map(bare).collect::<Vec<_>>());
}

#[test]
fn functions_and_files_are_short() {
    let mut problems = Vec::new();
    for (path, text) in files(".rs") {
        if is_test_file(&path) || path.ends_with("xtask/src/tidy.rs") {
            continue;
        }
        let shipped = shipped(&path, &text);
        let length = text.lines().count() - shipped.test_lines;
        if length > FILE_LINES_MAX {
            problems.push(format!("{}: {length} lines without tests, at most {FILE_LINES_MAX}", path.display()));
        }
        for (name, line, length) in shipped.functions.iter().filter(|function| function.2 > FUNCTION_LINES_MAX) {
            let place = path.display();
            problems.push(format!("{place}:{line}: `{name}` has {length} lines, at most {FUNCTION_LINES_MAX}"));
        }
    }
    refuse(&problems);
}

#[test]
fn nothing_unwraps_and_unsafe_has_one_room() {
    let mut problems = Vec::new();
    for (path, text) in files(".rs") {
        if is_test_file(&path) {
            continue;
        }
        let shipped = shipped(&path, &text);
        let place = path.display();
        problems.extend(shipped.unwraps.iter().map(|line| format!("{place}:{line}: `unwrap`: say why it holds")));
        if !path.ends_with(UNSAFE_FILE) {
            let elsewhere = |line: &usize| format!("{place}:{line}: `unsafe` outside of {UNSAFE_FILE}");
            problems.extend(shipped.unsafe_lines.iter().map(elsewhere));
        }
    }
    refuse(&problems);
}

/// The workspace's crates, as cargo describes them.
fn packages() -> Vec<serde_json::Value> {
    let mut cargo = process::cargo();
    let cargo = cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let metadata: serde_json::Value =
        serde_json::from_slice(&process::output(cargo).expect("cargo knows the workspace")).expect("metadata is JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

#[test]
fn pure_crates_depend_on_nothing_new() {
    let packages = packages();
    let mut problems = Vec::new();
    for (name, allowed) in ALLOWED {
        let package = packages.iter().find(|package| package["name"] == *name);
        let package = package.unwrap_or_else(|| panic!("there is no package {name}"));
        for dependency in package["dependencies"].as_array().expect("a list of dependencies") {
            let dependency_name = dependency["name"].as_str().expect("a dependency has a name");
            if dependency["kind"].is_null() && !allowed.contains(&dependency_name) {
                problems.push(format!("{name} depends on {dependency_name}: not in xtask's list of what it may"));
            }
        }
    }
    refuse(&problems);
}

/// Dependencies that are there for a feature which another one needs.
const FOR_A_FEATURE: &[&str] = &["proc-macro2"];

#[test]
fn dependencies_are_used() {
    let sources = files(".rs");
    let mut problems = Vec::new();
    for package in packages() {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let folder = manifest.parent().and_then(|folder| folder.strip_prefix(process::root()).ok());
        let folder = folder.expect("a crate is in a directory of the workspace");
        let texts: Vec<&String> =
            sources.iter().filter(|(path, _)| path.starts_with(folder)).map(|(_, text)| text).collect();
        for dependency in package["dependencies"].as_array().expect("a list of dependencies") {
            let name = dependency["name"].as_str().expect("a dependency has a name");
            let word = name.replace('-', "_");
            let used = texts.iter().any(|text| mentions(text, &word));
            if !used && !FOR_A_FEATURE.contains(&name) {
                problems.push(format!("{}: {name} is not used", manifest.display()));
            }
        }
    }
    refuse(&problems);
}

/// Whether a word stands in a text by itself.
fn mentions(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

#[test]
fn nothing_speaks_of_a_developers_machine() {
    let marks = ["/home/", "/root/"];
    let mut problems = Vec::new();
    for (path, text) in files("") {
        if path.ends_with("xtask/src/tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                problems.push(format!("{}:{}: a path of somebody's machine: {mark}", path.display(), number + 1));
            }
        }
    }
    refuse(&problems);
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut problems = Vec::new();
    for (path, text) in files(".md") {
        let here = process::root().join(&path);
        let here = here.parent().expect("a file is in a directory");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
            if !outside && !here.join(file).exists() {
                problems.push(format!("{}: a link leads nowhere: {target}", path.display()));
            }
        }
    }
    refuse(&problems);
}

#[test]
fn scripts_are_correct_shell() {
    for (path, _) in files("").into_iter().filter(|(_, text)| text.starts_with("#!/usr/bin/env bash")) {
        process::run(Command::new("bash").arg("-n").arg(process::root().join(path))).expect("bash reads it");
    }
}
