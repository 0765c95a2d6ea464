//! What the daemon shows of itself: the status document, the control socket, metrics and probes.

pub mod document;
pub(crate) mod exposition;
pub mod http;
pub mod metrics;
pub mod socket;
pub mod table;
pub mod wall;

use tokio::sync::{mpsc, oneshot};

use document::Document;

/// A question to the planner: the document of now. No answer (the sender is dropped) means that the keeper did not
/// answer in time.
pub type Ask = oneshot::Sender<Document>;

/// Questions that wait for the planner; more are refused.
pub const ASKS: usize = 16;

/// Asks the planner.
async fn ask(questions: &mpsc::Sender<Ask>) -> Option<Document> {
    let (sender, answer) = oneshot::channel();
    questions.try_send(sender).ok()?;
    answer.await.ok()
}
