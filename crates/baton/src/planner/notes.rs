//! Notes of the keeper become log lines: one sentence for people, and fields for programs.

use baton_core::keeper::{Level, Note};
use tracing::{debug, error, info, warn};

/// Writes one note.
pub(crate) fn log(note: &Note) {
    let text = note.to_string();
    let event = name(note);
    match note {
        Note::Gained { vip, reason, took } => {
            info!(event, %vip, %reason, took_ms = took.as_secs_f64() * 1e3, "{text}");
        }
        Note::Lost { vip, reason, held } => {
            let held_ms = held.as_secs_f64() * 1e3;
            if note.level() == Level::Warn {
                warn!(event, %vip, %reason, held_ms, "{text}");
            } else {
                info!(event, %vip, %reason, held_ms, "{text}");
            }
        }
        _ => line(note.level(), event, &text),
    }
}

/// Writes one line.
pub(crate) fn line(level: Level, event: &'static str, text: &str) {
    match level {
        Level::Debug => debug!(event, "{text}"),
        Level::Info => info!(event, "{text}"),
        Level::Warn => warn!(event, "{text}"),
        Level::Error => error!(event, "{text}"),
    }
}

/// What programs may look for; stable.
fn name(note: &Note) -> &'static str {
    match note {
        Note::Gained { .. } => "gained",
        Note::Lost { .. } => "lost",
        Note::HeldBy { .. } => "held-by",
        Note::PeerUp { .. } => "peer-up",
        Note::PeerDown { .. } => "peer-down",
        Note::VotersDiffer { .. } => "voters-differ",
        Note::Dropped { .. } => "dropped",
        Note::Stranger { .. } => "stranger",
        Note::Leftover { .. } => "leftover",
        Note::Healed { .. } => "healed",
        Note::LinkChanged { .. } => "link",
        Note::Voting { .. } => "voting",
        Note::Adopted { .. } => "adopted",
        Note::Configured { .. } => "configured",
        Note::LeaseTrouble { .. } => "lease-trouble",
        Note::NoKey => "no-key",
    }
}
