//! The way out of the thread: never blocks, keeps notifications in order, loses only log lines and says how many.

use std::collections::VecDeque;

use baton_core::keeper::Level;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Report;

/// Notifications that wait; older ones have been overtaken by then.
const WAITING: usize = 4096;

/// The sending end.
pub(super) struct Reports {
    sender: mpsc::Sender<Report>,
    waiting: VecDeque<Report>,
    lost: u64,
}

impl Reports {
    pub(super) fn new(sender: mpsc::Sender<Report>) -> Reports {
        Reports { sender, waiting: VecDeque::new(), lost: 0 }
    }

    pub(super) fn send(&mut self, report: Report) {
        let keep = matches!(report, Report::Notify { .. } | Report::Stopped);
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

    fn wait(&mut self, report: Report) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back(report);
    }

    pub(super) fn log(&mut self, level: Level, line: String) {
        self.send(Report::Log(level, line));
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
            let line = format!("{} lines or notifications were lost: the process was busy", self.lost);
            if self.sender.try_send(Report::Log(Level::Warn, line)).is_ok() {
                self.lost = 0;
            }
        }
        false
    }
}
