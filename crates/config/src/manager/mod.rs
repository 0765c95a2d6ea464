//! kube-vip 1.x's way of being configured: flags, environment and file become [`ManagerSettings`].
//!
//! Precedence is what kube-vip's code does: environment over flag over file. Everything that is wrong is told at once.

mod cloud;
mod cloud_flags;
mod cloud_manifest;
mod dump;
mod emit;
mod environment;
mod manifest;
mod rbac;
mod reference;
mod settings;
mod settle;
mod table;
mod values;

pub use cloud::{
    CLOUD_LEASE, CLOUD_LEASE_NAMESPACE, CloudAccess, CloudElection, CloudSettings, LoadedCloud, Pools, cloud,
};
pub use cloud_flags::{CLOUD_FLAGS, CloudFlag};
pub use cloud_manifest::cloud_manifest;
pub use dump::DumpFacts;
pub use manifest::{IMAGE, Manifest, ManifestArgs, NoManifest, manifest};
pub use reference::settings_reference;
pub use settings::*;
pub use table::{GONE, Gone, SETTINGS, Setting};

use crate::message::{Findings, Message};
use settle::Settle;
use values::Values;

/// Settings that may be started with.
#[derive(Clone)]
pub struct LoadedManager {
    /// What to do.
    pub settings: ManagerSettings,
    /// What is legal and probably not meant, or has no effect.
    pub warnings: Vec<Message>,
    /// What was written, for [`LoadedManager::dump`].
    values: Values,
}

impl std::fmt::Debug for LoadedManager {
    /// Without what was written, which may have secrets in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LoadedManager { settings, warnings, .. } = self;
        write!(f, "LoadedManager {{ settings: {settings:?}, warnings: {warnings:?} }}")
    }
}

/// Where flags, environment and file came from, for [`manager`].
#[derive(Clone, Copy, Debug)]
pub struct ManagerArgs<'a> {
    /// Flags by name without dashes ([`SETTINGS`], [`GONE`]), in order; a later one wins. `--flag` alone is `true`.
    pub flags: &'a [(String, String)],
    /// Environment variables.
    pub env: &'a [(String, String)],
    /// Path and text of the file that [`manager_file`] names.
    pub file: Option<(&'a str, &'a str)>,
    /// The host's name.
    pub host: &'a str,
    /// `service` was typed, not `manager`.
    pub service: bool,
    /// `kube-vip` was typed: an unknown key of the file is only warned of.
    pub kube_vip: bool,
}

/// The file that flags and environment name.
#[must_use]
pub fn manager_file(flags: &[(String, String)], env: &[(String, String)]) -> Option<String> {
    let flag = flags.iter().rev().find(|(name, _)| name == "config-file");
    let variable = env.iter().find(|(name, value)| name == "config_file" && !value.is_empty());
    variable.or(flag).map(|(_, path)| path.clone()).filter(|path| !path.is_empty())
}

/// Whether something was refused that kube-vip does: not a mistake of whoever wrote it.
#[must_use]
pub fn unbuilt(messages: &[Message]) -> bool {
    messages.iter().any(|message| message.text.starts_with(settle::UNBUILT))
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong, and the warnings too.
pub fn manager(args: &ManagerArgs<'_>) -> Result<LoadedManager, Vec<Message>> {
    let mut found = Findings::default();
    let values = Values::read(args.flags, args.env, args.file.map(|(_, text)| text), args.kube_vip, &mut found);
    let pools = cloud::pools(args.env, &mut found);
    let settings =
        Settle { values: &values, found: &mut found, service: args.service, manifest: false }.all(args.host, &pools);
    values::without_effect(&values, &mut found);
    let refused = found.refused();
    let messages = found.finish(args.file);
    if refused { Err(messages) } else { Ok(LoadedManager { settings, warnings: messages, values }) }
}
