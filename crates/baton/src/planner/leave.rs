//! The end: after a hand-over, or at once. Only the markers stay behind.

use std::process::ExitCode;
use std::time::Duration;

use baton_core::settings::Ownership;
use baton_net::table::Instance;
use tracing::{error, info, warn};

use super::{End, Planner};
use crate::cli::output::FAILED;
use crate::keeper::Command;
use crate::kernel;

/// A keeper that is told to leave at once gets this long.
const AT_ONCE: Duration = Duration::from_millis(500);

impl Planner {
    pub(super) async fn leave(mut self, end: End) -> ExitCode {
        let settings = self.parts.settings.ownership.clone();
        let clean = match end {
            End::Stopped => true,
            End::AtOnce => {
                self.parts.keeper.send(Command::Leave);
                self.keeper_ended().await
            }
            End::KeeperLost => {
                error!("the keeper's thread has ended: withdrawing everything");
                false
            }
        };
        if !clean {
            withdraw(&settings).await;
        }
        drop(self.parts.socket.take());
        self.parts.proxy.stop();
        match end {
            End::Stopped => info!("left"),
            End::AtOnce => warn!("left without a complete hand-over"),
            End::KeeperLost => return ExitCode::from(FAILED),
        }
        ExitCode::SUCCESS
    }

    async fn keeper_ended(&mut self) -> bool {
        let ended = async {
            // The queue closes when the thread drops its end.
            while self.parts.reports.recv().await.is_some() {}
        };
        tokio::time::timeout(AT_ONCE, ended).await.is_ok()
    }
}

/// Shuts and removes what the keeper's thread no longer can.
pub(super) async fn withdraw(settings: &Ownership) {
    let (vips, fence) = (settings.vips.clone(), settings.fence);
    let failures = tokio::task::spawn_blocking(move || kernel::withdraw(&Instance::default(), &vips, fence)).await;
    for failure in failures.unwrap_or_else(|e| vec![e.to_string()]) {
        error!("not withdrawn: {failure}");
    }
}
