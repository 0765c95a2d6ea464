//! Figures of measurements, and the tables that show them.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// Durations of repeated runs.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// One more.
    pub fn add(&mut self, one: Duration) {
        self.0.push(one);
        self.0.sort();
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The longest.
    #[must_use]
    pub fn most(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// Median / maximum, and of how many.
    #[must_use]
    pub fn text(&self) -> String {
        match self.0.get(self.0.len() / 2) {
            Some(median) => format!("{} / {} (n = {})", time(*median), time(self.most()), self.0.len()),
            None => "–".to_owned(),
        }
    }
}

/// A time with as many digits as it is worth.
#[must_use]
pub fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

/// What was measured on.
#[must_use]
pub fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().nth(2).unwrap_or("?");
    format!("{processors} processors, Linux {}, load average {load} at the end", kernel.trim())
}

/// A line of a table beside an original.
pub struct Row {
    what: String,
    must: String,
    baton: String,
    rival: String,
}

impl Row {
    /// A line; progress goes to standard error at once.
    #[must_use]
    pub fn new(what: &str, must: &str, baton: String, rival: String) -> Row {
        eprintln!("{what}: {baton} (must be {must}); {rival}");
        Row { what: what.to_owned(), must: must.to_owned(), baton, rival }
    }
}

/// A table beside the original `rival`.
#[must_use]
pub fn table(rows: &[Row], rival: &str) -> String {
    let mut text = format!("| measured | must be | Baton | {rival} |\n| --- | --- | --- | --- |\n");
    for row in rows {
        let _ = writeln!(text, "| {} | {} | {} | {} |", row.what, row.must, row.baton, row.rival);
    }
    text
}
