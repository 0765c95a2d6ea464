//! Answers questions: the keeper's snapshot and the planner's own knowledge become one document.

use std::time::Duration;

use baton_net::clock;
use tokio::sync::oneshot;

use super::Planner;
use crate::admin::document::{Around, document};
use crate::admin::{Ask, wall};
use crate::keeper::Command;

/// The keeper answers within a round of its loop; one that does not within this time is taken for stuck.
const KEEPER: Duration = Duration::from_secs(1);

impl Planner {
    /// Answers when the keeper has; goes on with other work until then.
    pub(super) fn answer(&self, question: Ask) {
        let (sender, status) = oneshot::channel();
        if !self.parts.keeper.send(Command::Status(sender)) {
            return;
        }
        let around = Around {
            fence: self.parts.settings.ownership.fence,
            balancers: self.balancers(),
            uptime: clock::now().since(self.parts.started),
            warnings: self.parts.warnings.values().cloned().collect(),
        };
        tokio::spawn(async move {
            if let Ok(Ok(status)) = tokio::time::timeout(KEEPER, status).await {
                // Whoever asked may have gone.
                let _ = question.send(document(&status, around, clock::now(), wall::now()));
            }
        });
    }
}
