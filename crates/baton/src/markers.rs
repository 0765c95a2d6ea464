//! The two markers that outlive the process: the longest lease that was ever allowed here, and that a majority was seen.
//!
//! They are kept twice, in an nft table of their own (it survives the process, not a reboot) and in the state directory
//! (it survives a reboot where the disk does). What can be read counts, the larger of the two; a file that is there and
//! cannot be read means that nothing is known.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baton_core::keeper::Marker;
use baton_core::settings::LEASE_MAX;
use baton_net::table;

/// What is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Markers {
    /// The longest lease that any configuration of this node allowed; `None`: unknown.
    pub longest_lease: Option<Duration>,
    /// A majority was seen once.
    pub majority_seen: bool,
}

/// Where they are kept.
#[derive(Clone, Debug)]
pub struct Store {
    file: PathBuf,
    fence: bool,
}

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Absent,
    Known(Markers),
    Unreadable,
}

impl Store {
    /// In `state_dir`, and in nftables unless `fence` is off.
    #[must_use]
    pub fn new(state_dir: &Path, fence: bool) -> Store {
        Store { file: state_dir.join("markers"), fence }
    }

    /// Reads both places.
    #[must_use]
    pub fn read(&self) -> Markers {
        join(if self.fence { read_table() } else { Kept::Absent }, read(&self.file))
    }

    /// Before a configuration takes effect: its lease, or the longest that was allowed before. When nothing is known that
    /// is the protocol's bound.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn raise(&self, lease: Duration) -> Result<(), Refused> {
        let longest = self.read().longest_lease.unwrap_or(LEASE_MAX);
        self.write(Marker::LongestLease(longest.max(lease)))
    }

    /// Writes a marker to both places. One that took it is enough, but the other's refusal is told.
    ///
    /// # Errors
    /// One sentence for each place that refused.
    pub fn write(&self, marker: Marker) -> Result<(), Refused> {
        let mut why = Vec::new();
        let mut places = 1;
        if let Err(e) = self.write_file(marker) {
            why.push(format!("{}: {e}", self.file.display()));
        }
        if self.fence {
            places = 2;
            if let Err(e) = table::mark(marker) {
                why.push(format!("nftables: {e}"));
            }
        }
        if why.is_empty() { Ok(()) } else { Err(Refused { everywhere: why.len() == places, why: why.join("; ") }) }
    }

    fn write_file(&self, marker: Marker) -> io::Result<()> {
        let before = read(&self.file);
        let mut kept = match &before {
            Kept::Known(kept) => *kept,
            Kept::Absent => Markers::default(),
            // What it said is lost for good, so the protocol's bound takes its place.
            Kept::Unreadable => Markers { longest_lease: Some(LEASE_MAX), majority_seen: true },
        };
        match marker {
            Marker::LongestLease(lease) => kept.longest_lease = Some(lease),
            Marker::MajoritySeen => kept.majority_seen = true,
        }
        if before == Kept::Known(kept) {
            // A restart within the lease has no time for a disk.
            return Ok(());
        }
        let dir = self.file.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        let fresh = self.file.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(text(&kept).as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.file)
    }

    /// Forgets what the file says.
    ///
    /// # Errors
    /// What removing a file may fail with; one that is not there is no error.
    pub fn forget_file(&self) -> io::Result<bool> {
        match fs::remove_file(&self.file) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Writes again what somebody else has removed (a flush of all nftables rules, say). `true`: something was.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn heal(&self, remembered: &Markers) -> Result<bool, Refused> {
        let known = |kept: Kept| matches!(kept, Kept::Known(m) if m == *remembered);
        if known(read(&self.file)) && (!self.fence || known(read_table())) {
            return Ok(false);
        }
        if let Some(lease) = remembered.longest_lease {
            self.write(Marker::LongestLease(lease))?;
        }
        if remembered.majority_seen {
            self.write(Marker::MajoritySeen)?;
        }
        Ok(true)
    }

    /// Path of the file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// A marker could not be written.
#[derive(Debug)]
pub struct Refused {
    /// Nowhere at all.
    pub everywhere: bool,
    /// Where and why.
    pub why: String,
}

/// What cannot be read means that nothing is known.
fn join(table: Kept, file: Kept) -> Markers {
    match (table, file) {
        (Kept::Unreadable, _) | (_, Kept::Unreadable) => Markers { longest_lease: None, majority_seen: true },
        (Kept::Absent, Kept::Absent) => Markers::default(),
        (Kept::Known(one), Kept::Absent) | (Kept::Absent, Kept::Known(one)) => one,
        (Kept::Known(table), Kept::Known(file)) => Markers {
            longest_lease: table.longest_lease.max(file.longest_lease),
            majority_seen: table.majority_seen || file.majority_seen,
        },
    }
}

fn read_table() -> Kept {
    match table::markers() {
        Ok(t) => Kept::Known(Markers { longest_lease: t.longest_lease, majority_seen: t.majority_seen }),
        Err(_) => Kept::Unreadable,
    }
}

fn read(file: &Path) -> Kept {
    match fs::read_to_string(file) {
        Ok(text) => parse(&text),
        Err(e) if e.kind() == ErrorKind::NotFound => Kept::Absent,
        Err(_) => Kept::Unreadable,
    }
}

fn text(markers: &Markers) -> String {
    let mut text = String::from("# baton: what must outlive the process; see `baton cleanup --markers`\n");
    if let Some(lease) = markers.longest_lease {
        text.push_str(&format!("longest-lease-ms {}\n", lease.as_millis()));
    }
    if markers.majority_seen {
        text.push_str("majority-seen\n");
    }
    text.push_str("end\n");
    text
}

/// A file without its last line was cut short, so it says nothing.
fn parse(text: &str) -> Kept {
    let mut markers = Markers::default();
    let mut lines = text.lines().filter(|l| !l.starts_with('#'));
    for line in lines.by_ref() {
        match line.split_once(' ') {
            Some(("longest-lease-ms", ms)) => match ms.parse() {
                Ok(ms) => markers.longest_lease = Some(Duration::from_millis(ms)),
                Err(_) => return Kept::Unreadable,
            },
            None if line == "majority-seen" => markers.majority_seen = true,
            None if line == "end" => return Kept::Known(markers),
            _ => return Kept::Unreadable,
        }
    }
    Kept::Unreadable
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(500);

    #[test]
    fn written_and_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::new(&dir.path().join("state"), false);
        assert_eq!(store.read(), Markers::default(), "a first start knows nothing");
        let known = |lease, majority_seen| Markers { longest_lease: Some(lease), majority_seen };
        store.raise(LEASE).expect("written");
        assert_eq!(store.read(), known(LEASE_MAX, false), "nothing was known, so the bound");
        store.write(Marker::LongestLease(LEASE)).expect("written");
        store.raise(LEASE / 2).expect("written");
        assert_eq!(store.read(), known(LEASE, false), "the longest stays");
        store.raise(LEASE * 2).expect("written");
        store.write(Marker::MajoritySeen).expect("written");
        assert_eq!(store.read(), known(LEASE * 2, true));
        let remembered = store.read();
        assert!(!store.heal(&remembered).expect("read"), "nothing is missing");
        assert!(store.forget_file().expect("removed"));
        assert!(store.heal(&remembered).expect("written"), "it was missing");
        assert_eq!(store.read(), remembered);
        assert!(store.forget_file().expect("removed"));
        assert!(!store.forget_file().expect("no error"));
    }

    #[test]
    fn what_cannot_be_read_means_unknown() {
        for text in ["", "longest-lease-ms 500\n", "longest-lease-ms x\nend\n", "\u{1}\nend\n"] {
            assert_eq!(parse(text), Kept::Unreadable, "{text:?}");
        }
        let known = |lease| Kept::Known(Markers { longest_lease: Some(lease), majority_seen: false });
        let unknown = Markers { longest_lease: None, majority_seen: true };
        assert_eq!(join(known(LEASE), Kept::Unreadable), unknown);
        assert_eq!(join(Kept::Unreadable, known(LEASE)), unknown);
        assert_eq!(join(known(LEASE), Kept::Absent).longest_lease, Some(LEASE));
        assert_eq!(join(known(LEASE), known(LEASE * 2)).longest_lease, Some(LEASE * 2));
        assert_eq!(join(Kept::Absent, Kept::Absent), Markers::default());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("file"), "").expect("a file");
        let store = Store::new(&dir.path().join("file/state"), false);
        let refused = store.write(Marker::MajoritySeen).expect_err("a file is no directory");
        assert!(refused.everywhere && refused.why.contains("file/state/markers"), "{}", refused.why);
    }
}
