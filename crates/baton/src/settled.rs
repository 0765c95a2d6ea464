//! A daemon that has settled gives back what only its start needed. It must not know which daemon.

use std::time::Duration;

use baton_net::process;
use tracing::debug;

/// By then everything that a start does is done.
const SETTLED: Duration = Duration::from_secs(3);

/// To be spawned beside a daemon's loop.
pub(crate) async fn give_back() {
    tokio::time::sleep(SETTLED).await;
    if let Err(error) = process::give_back_text() {
        debug!("memory of the start is not given back: {error}");
    }
}
