//! The way from the keeper's thread to the planner: never blocks, loses only log lines, and says how many.

use std::collections::VecDeque;

use baton_core::keeper::Level;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Report;

/// The sending end.
pub(super) struct Reports {
    sender: mpsc::Sender<Report>,
    /// What must not be lost and found no room: at most one entry per address and kind.
    waiting: VecDeque<Report>,
    lost: u64,
}

impl Reports {
    pub(super) fn new(sender: mpsc::Sender<Report>) -> Reports {
        Reports { sender, waiting: VecDeque::new(), lost: 0 }
    }

    pub(super) fn send(&mut self, report: Report) {
        let keep = !matches!(report, Report::Note(_) | Report::Log(..));
        if keep && !self.waiting.is_empty() {
            return self.wait(report);
        }
        match self.sender.try_send(report) {
            Ok(()) => {}
            Err(TrySendError::Full(report)) if keep => self.wait(report),
            Err(TrySendError::Full(_)) => self.lost += 1,
            // The planner is gone; the process is about to end.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    pub(super) fn log(&mut self, level: Level, line: String) {
        self.send(Report::Log(level, line));
    }

    /// A later word about the same thing takes the place of an earlier one.
    fn wait(&mut self, report: Report) {
        self.waiting.retain(|old| match (old, &report) {
            (Report::Holding(a, _), Report::Holding(b, _)) => a != b,
            (Report::Leading { name: a, .. }, Report::Leading { name: b, .. }) => a != b,
            (Report::Remember(a), Report::Remember(b)) => a != b,
            _ => true,
        });
        self.waiting.push_back(report);
    }

    /// Sends what waits. `true`: something still does, so come back soon.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(report) = self.waiting.pop_front() {
            match self.sender.try_send(report) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(report)) => {
                    self.waiting.push_front(report);
                    return true;
                }
            }
        }
        if self.lost > 0 {
            let line = format!("{} log lines were lost: the planner was busy", self.lost);
            if self.sender.try_send(Report::Log(Level::Warn, line)).is_ok() {
                self.lost = 0;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use baton_core::keeper::{Holding, Note};

    use super::*;

    #[test]
    fn a_full_queue_loses_lines_only() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut reports = Reports::new(sender);
        let vip: IpAddr = "10.0.0.100".parse().expect("an address");
        reports.send(Report::Note(Note::NoKey));
        reports.send(Report::Note(Note::NoKey));
        reports.send(Report::Holding(vip, Holding::Held));
        reports.send(Report::Holding(vip, Holding::Gone));
        assert!(reports.flush(), "no room yet");
        assert!(matches!(receiver.try_recv(), Ok(Report::Note(_))));
        assert!(!reports.flush());
        assert!(matches!(receiver.try_recv(), Ok(Report::Holding(_, Holding::Gone))), "the last word");
        assert!(!reports.flush());
        let Ok(Report::Log(_, line)) = receiver.try_recv() else { panic!("the loss is told") };
        assert!(line.starts_with("1 log lines"), "{line}");
    }
}
