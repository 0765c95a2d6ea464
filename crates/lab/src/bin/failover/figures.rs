//! The table of the figures.

use std::fmt::Write as _;

use baton_lab::figures::machine;

/// A line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) must: String,
    pub(crate) baton: String,
    pub(crate) rival: String,
}

impl Row {
    /// A line; progress goes to standard error at once.
    pub(crate) fn new(what: &str, must: &str, baton: String, rival: String) -> Row {
        eprintln!("{what}: {baton} (must be {must}); {rival}");
        Row { what: what.to_owned(), must: must.to_owned(), baton, rival }
    }
}

/// The whole section.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "Three hosts, a client and two servers in network namespaces of one machine: {}, no real-time \
         priority. Median / maximum. \"Without\" is the longest time between two answers to a client that connects each 5 ms (200 ms time-out), less these 5 ms; faults come at random moments. \"Two answering\" are answers of \
         two hosts to one ARP request or neighbour solicitation, asked on every wire each 2 ms.\n\n\
         | measured | must be | Baton | keepalived |\n| --- | --- | --- | --- |\n",
        machine()
    );
    for row in rows {
        let _ = writeln!(text, "| {} | {} | {} | {} |", row.what, row.must, row.baton, row.rival);
    }
    text
}
