//! The tables that the gates are in: made, looked at, and what dead instances of another kind left in theirs.

use baton_core::settings::Vip;

use super::Kernel;
use super::batch::Set;
use crate::table::{self, Orphan, TableError};

impl Kernel {
    pub(super) fn install(&mut self, vips: &[Vip]) -> Result<(), TableError> {
        let of = (self.layout, &self.instance);
        self.runtime.block_on(table::install(&self.connection, of, vips))?;
        if self.orphans.is_none() {
            self.orphans = Some(self.runtime.block_on(table::orphans(&self.connection, &self.instance))?);
        }
        Ok(())
    }

    pub(super) fn intact(&self, vips: &[Vip]) -> bool {
        let of = (self.layout, &self.instance);
        self.runtime.block_on(table::intact(&self.connection, of, vips)).unwrap_or(false)
    }

    /// Takes the guards of dead instances off addresses that this one guards now. Those of one that has come back meanwhile
    /// stay.
    pub(super) fn free(&mut self, vips: &[Vip]) {
        let Some(orphans) = &mut self.orphans else { return };
        let now_ours = |orphan: &mut Orphan| vips.iter().any(|vip| vip.address == orphan.address);
        let freed: Vec<Orphan> = orphans.extract_if(.., now_ours).collect();
        for Orphan { family, table, set, address } in &freed {
            let mut batch = self.batch();
            batch.clear(Set { family: *family, table, name: set }, &table::key(*address));
            // The table may be gone, or somebody's again.
            let _ = self.run(batch);
        }
    }
}
