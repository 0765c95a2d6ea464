//! Markers: written when the keeper asks, and again when somebody else has removed them.

use baton_core::keeper::Marker;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::Planner;
use crate::markers::Refused;

impl Planner {
    /// Writes a marker. The keeper does not wait for it.
    pub(super) async fn remember(&mut self, marker: Marker) {
        if matches!(marker, Marker::LongestLease(lease) if lease < self.parts.settings.ownership.lease) {
            // Said before a reload that allows longer ones, and has written so.
            return;
        }
        let store = self.parts.markers.clone();
        let written = spawn_blocking(move || (store.write(marker), store.read())).await;
        let (written, remembered) = written.expect("writing a marker does not panic");
        self.remembered = remembered;
        self.written(written);
    }

    /// Before a grant of another length: the longer of it and what was allowed before.
    pub(super) async fn raise(&mut self, lease: std::time::Duration) -> Result<(), String> {
        let store = self.parts.markers.clone();
        let written = spawn_blocking(move || (store.raise(lease), store.read())).await;
        let (written, remembered) = written.expect("writing a marker does not panic");
        if let Err(refused) = &written
            && refused.everywhere
        {
            return Err(format!("the longest lease cannot be remembered: {}", refused.why));
        }
        self.remembered = remembered;
        self.written(written);
        Ok(())
    }

    /// A flush of all rules of the host takes the markers along; on a disk they may be deleted.
    pub(super) async fn heal_markers(&mut self) {
        let (store, remembered) = (self.parts.markers.clone(), self.remembered);
        let healed = spawn_blocking(move || store.heal(&remembered)).await;
        match healed.expect("writing a marker does not panic") {
            Ok(false) => {}
            Ok(true) => {
                warn!(event = "markers", "the markers were removed by somebody else: written again");
                self.parts.warnings.remove("markers");
            }
            Err(refused) => self.written(Err(refused)),
        }
    }

    /// Tells a failure once, and shows it until it is over.
    fn written(&mut self, written: Result<(), Refused>) {
        match written {
            Ok(()) => {
                self.parts.warnings.remove("markers");
            }
            Err(refused) => {
                let why = format!("a marker was not written: {}", refused.why);
                if self.parts.warnings.insert("markers", why.clone()).as_ref() != Some(&why) {
                    warn!("{why}");
                }
            }
        }
    }
}
