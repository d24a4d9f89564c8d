//! Stages that keys of their own add behind those of `pipeline_stages`, in the order in which they are added.

use std::time::Duration;

use super::{
    annotations::{LEVEL, LeastLevel},
    budgets::{Budget, Budgets},
    compile::Pipeline,
    dedupe::Dedupe,
    level::Level,
    levels::{Counting, Levels},
    line_counts::LineCounts,
    stage::{Note, Stage},
};

impl Pipeline {
    /// Finds the level of each entry. `sends`: it becomes structured metadata, and lines are counted by it; else it is only there for
    /// what follows.
    #[must_use]
    pub fn with_levels(mut self, sends: bool) -> Self {
        let counting = sends.then(|| Counting {
            counts: self.line_counts.get_or_insert_default().clone(),
            channel: self.next_channel(),
        });
        self.add("levels", Levels::new(sends, counting));
        self
    }

    /// Drops lines of lower levels than this. Behind [`Self::with_levels`].
    #[must_use]
    pub fn with_least_level(mut self, least: Level) -> Self {
        let reason = self.drops.len();
        self.drops.push((LEVEL, 0));
        self.add("level", LeastLevel { least, reason });
        self
    }

    /// Counts lines by level where others count them, too. Before [`Self::with_levels`].
    #[must_use]
    pub fn sharing(mut self, counts: LineCounts) -> Self {
        self.line_counts = Some(counts);
        self
    }

    /// Makes one entry of equal lines in a row.
    #[must_use]
    pub fn with_dedupe(mut self, window: Duration) -> Self {
        let channel = self.next_channel();
        self.add("dedupe", Dedupe::new(window, channel));
        self
    }

    /// Lets each container send only so much.
    #[must_use]
    pub fn with_budgets(mut self, budgets: Vec<Budget>) -> Self {
        let (channel, first_reason) = (self.next_channel(), self.drops.len());
        self.drops.extend(Budgets::REASONS.map(|reason| (reason, 0)));
        self.add("budgets", Budgets::new(budgets, channel, first_reason));
        self
    }

    /// Where lines are counted by level.
    #[must_use]
    pub fn line_counts(&self) -> Option<&LineCounts> {
        self.line_counts.as_ref()
    }

    /// How many lines became one with the one before them since the last call.
    pub fn take_repeated(&mut self) -> u64 {
        std::mem::take(&mut self.repeated)
    }

    /// What `multiline: {preset: auto}` took since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    fn next_channel(&mut self) -> usize {
        self.channels += 1;
        self.channels - 1
    }

    fn add(&mut self, key: &str, stage: impl Stage + 'static) {
        self.places.push((self.stages.len(), key.to_owned()));
        self.stages.push(Box::new(stage));
        self.ran.push((0, 0));
    }
}
