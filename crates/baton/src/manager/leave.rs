//! The end: what is held is handed over, what this node said about itself is taken back.

use std::process::ExitCode;
use std::time::Duration;

use baton_core::settings::Vip;
use baton_net::table::Instance;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::Manager;
use crate::cli::output::FAILED;
use crate::keeper::Command;
use crate::kernel;

/// What a hand-over may take, and how much longer for each address. Leases whose release nobody answers run out by
/// themselves.
const HAND_OVER: Duration = Duration::from_millis(2500);
const EACH: Duration = Duration::from_millis(10);
/// A keeper that is told to leave at once gets this long, and longer for each address.
const AT_ONCE: Duration = Duration::from_millis(500);
/// How long the last words to the API may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the loop ends.
pub(super) enum End {
    /// Everything is withdrawn.
    Stopped,
    /// The hand-over took too long.
    TooLong,
    /// The keeper's thread is gone.
    KeeperLost,
}

impl Manager {
    /// How long the hand-over of what is kept may take.
    pub(super) fn hand_over(&self) -> Duration {
        HAND_OVER + self.for_each()
    }

    fn for_each(&self) -> Duration {
        EACH * u32::try_from(self.kept.len()).unwrap_or(u32::MAX)
    }

    pub(super) async fn leave(mut self, end: End) -> ExitCode {
        let clean = match end {
            End::Stopped => true,
            End::TooLong => {
                warn!("the hand-over takes too long: leaving at once");
                self.parts.keeper.send(Command::Leave);
                self.keeper_ended().await
            }
            End::KeeperLost => {
                error!("the keeper's thread has ended: withdrawing everything");
                false
            }
        };
        if !clean {
            let vips = self.kept.values().cloned().collect();
            withdraw(self.parts.instance.clone(), vips, self.parts.fence).await;
        }
        drop(self.parts.socket.take());
        self.remove_ports().await;
        if let Some(balancing) = &mut self.balancing {
            balancing.proxy.stop();
        }
        self.tidy().await;
        let _ = timeout(LAST_WORDS, async {
            while self.writer.waiting() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        match end {
            End::Stopped => info!("left"),
            End::TooLong => warn!("left without a complete hand-over"),
            End::KeeperLost => return ExitCode::from(FAILED),
        }
        ExitCode::SUCCESS
    }

    async fn keeper_ended(&mut self) -> bool {
        let patience = AT_ONCE + self.for_each();
        let ended = async {
            // The queue closes when the thread drops its end.
            while self.parts.reports.recv().await.is_some() {}
        };
        timeout(patience, ended).await.is_ok()
    }

    async fn remove_ports(&mut self) {
        self.kept.clear();
        self.held.clear();
        self.apply_ports().await;
    }
}

/// Shuts and removes what the keeper's thread no longer can.
async fn withdraw(instance: Instance, vips: Vec<Vip>, fence: bool) {
    let failures = spawn_blocking(move || kernel::withdraw(&instance, &vips, fence)).await;
    for failure in failures.unwrap_or_else(|e| vec![e.to_string()]) {
        error!("not withdrawn: {failure}");
    }
}
