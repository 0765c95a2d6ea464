//! What is tracked: scripts, processes, files, interfaces, and what they do to a priority.

use std::time::Duration;

use super::super::native::Native;
use super::{At, Command};

/// What a check that goes wrong does to a priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// 0: failed means FAULT. Above: added while good. Below: subtracted while bad.
    pub value: i32,
    /// Good and bad change places.
    pub reverse: bool,
}

/// `vrrp_script`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// What runs.
    pub command: Command,
    /// What that finds out, when it is recognised: answered in this process then, and not run.
    pub native: Option<Native>,
    /// Between two starts.
    pub interval: Duration,
    /// After that it has failed and is ended.
    pub timeout: Duration,
    /// For those that track it without a weight of their own.
    pub weight: Weight,
    /// Successes in a row that make it good.
    pub rise: u32,
    /// Failures in a row that make it bad.
    pub fall: u32,
    /// Bad until it was good once.
    pub init_fail: bool,
    /// Where it was written.
    pub at: At,
}

/// How much of a command line is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// The name alone.
    Any,
    /// All parameters, exactly.
    Exact,
    /// The first ones, exactly.
    Partial,
    /// The first ones, and the last of them may go on.
    Initial,
}

/// `vrrp_track_process`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name in this file.
    pub name: String,
    /// Name of the process as in `/proc/PID/comm`, or of its program with `full_command`.
    pub process: String,
    /// Parameters it must have.
    pub args: Vec<String>,
    /// How they are compared.
    pub parameters: Parameters,
    /// The command line is compared, not the name.
    pub full_command: bool,
    /// For those that track it without a weight of their own.
    pub weight: Weight,
    /// At least that many.
    pub quorum: u32,
    /// At most that many.
    pub quorum_max: Option<u32>,
    /// There for so long before it counts.
    pub fork_delay: Duration,
    /// Gone for so long before it counts.
    pub terminate_delay: Duration,
    /// Where it was written.
    pub at: At,
}

/// `track_file`: a number in a file, times the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFile {
    /// Its name in this file.
    pub name: String,
    /// Path.
    pub path: String,
    /// For those that track it without a weight of their own. Value 0: any number but 0 means FAULT.
    pub weight: Weight,
    /// `init_file`: written at the start, and whether over what is there.
    pub init: Option<(i64, bool)>,
    /// Where it was written.
    pub at: At,
}

/// Something that is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Interface, script, process or file.
    pub name: String,
    /// What it does to the priority.
    pub weight: Weight,
    /// Where it was written.
    pub at: At,
}

/// Everything that one instance or sync group tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    /// `track_interface`.
    pub interfaces: Vec<Track>,
    /// `track_script`: names in [`Config::scripts`].
    pub scripts: Vec<Track>,
    /// `track_process`: names in [`Config::processes`].
    pub processes: Vec<Track>,
    /// `track_file`: names in [`Config::files`].
    pub files: Vec<Track>,
}
