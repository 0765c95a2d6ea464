//! The way from a thread to the rest of the process: never blocks, keeps the order of what matters, loses only log lines,
//! and says how many.

use std::collections::VecDeque;

use baton_core::keeper::Level;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// What waits at most; older words have been overtaken by then.
const WAITING: usize = 65_536;

/// What a thread tells.
pub(crate) trait Told: Sized {
    /// What the thread itself has to say.
    fn log(level: Level, line: String) -> Self;

    /// It is for the log only.
    fn may_be_lost(&self) -> bool;

    /// It is a later word about the same thing, which takes the place of the earlier one.
    fn replaces(&self, earlier: &Self) -> bool;
}

/// The sending end.
pub(crate) struct Reports<R> {
    sender: mpsc::Sender<R>,
    /// What must not be lost and found no room.
    waiting: VecDeque<R>,
    lost: u64,
}

impl<R: Told> Reports<R> {
    pub(super) fn new(sender: mpsc::Sender<R>) -> Reports<R> {
        Reports { sender, waiting: VecDeque::new(), lost: 0 }
    }

    pub(crate) fn send(&mut self, report: R) {
        let keep = !report.may_be_lost();
        if keep && !self.waiting.is_empty() {
            return self.wait(report);
        }
        match self.sender.try_send(report) {
            Ok(()) => {}
            Err(TrySendError::Full(report)) if keep => self.wait(report),
            Err(TrySendError::Full(_)) => self.lost += 1,
            // The process is about to end.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    pub(crate) fn log(&mut self, level: Level, line: String) {
        self.send(R::log(level, line));
    }

    fn wait(&mut self, report: R) {
        self.waiting.retain(|earlier| !report.replaces(earlier));
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back(report);
    }

    /// Sends what waits. `true`: something still does, so come back soon.
    pub(crate) fn flush(&mut self) -> bool {
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
            let line = format!("{} log lines were lost: the process was busy", self.lost);
            if self.sender.try_send(R::log(Level::Warn, line)).is_ok() {
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
    use crate::keeper::Report;

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
