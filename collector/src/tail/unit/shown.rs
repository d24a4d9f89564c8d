//! What the status page shows of a unit's lines.

use super::Unit;
use crate::{model::TenantName, pipeline::LevelCounts, tail::pipelines::PipelineId};

impl Unit {
    /// That which its lines go through.
    pub fn pipeline(&self) -> Option<&PipelineId> {
        self.staged().next().map(|(_, staged)| &staged.pipeline)
    }

    /// Those of its last lines.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.staged().map(|(_, staged)| staged.tenant())
    }

    /// Lines by level since the start; none where they are not counted.
    pub fn levels(&self) -> LevelCounts {
        let mut levels = LevelCounts::default();
        self.staged().for_each(|(_, staged)| levels.add(&staged.levels()));
        levels
    }
}
