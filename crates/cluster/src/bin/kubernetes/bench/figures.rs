//! The table of the figures.

use std::fmt::Write as _;

use baton_lab::figures::machine;

/// A line of the table.
pub(crate) struct Row([String; 4]);

impl Row {
    /// What was measured, what it must be, what it is, and what it is with kube-vip. Progress goes to standard error at once.
    pub(crate) fn new(what: &str, must: &str, baton: String, rival: &str) -> Row {
        eprintln!("{what}: {baton} (must be {must}; kube-vip {rival})");
        Row([what.to_owned(), must.to_owned(), baton, rival.to_owned()])
    }
}

/// The whole section.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "Three nodes with an API server each, a host with etcd, the controllers and an API server of the measurement's own, and a client, in network \
         namespaces of one machine: {}. Median / maximum. An outage is the \
         longest time between two answers to a client that connects each 5 ms, less these 5 ms. \"Two answering\" as above. The column on the right \
         is kube-vip 1.2.3, measured in a lab of the same kind.\n\n| measured | must be | Baton | kube-vip |\n| --- | --- | --- | --- |\n",
        machine()
    );
    for Row(cells) in rows {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}
