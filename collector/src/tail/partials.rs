//! Lines that wait for their rest: when they are given out as they are.
//!
//! In: silent units, and the bytes that all units hold back. Out: those lines, in batches with room. What all of them hold back
//! together has a bound, so that no number of containers that never write a newline can fill the memory.

use std::time::Instant;

use super::{State, Unit};
use crate::model::UnitId;

/// Bytes of unfinished lines of all units. Past it the unit that was silent for longest gives its lines out.
const HELD_BYTES_MAX: usize = 4 << 20;

impl State {
    /// Gives out partial lines of units that have been silent for `lines.partial_timeout`.
    pub(super) fn flush_silent(&mut self, now: Instant) {
        let timeout = self.config.lines.partial_timeout.0;
        let units = self.units.iter();
        let silent = units.filter(|unit| unit.holds_partial_line() && now - unit.last_read >= timeout);
        // One that waits to be read, cannot be read now, or has a further file, is not silent: the rest may be on the disk.
        let silent = silent.filter(|unit| {
            let chain = &unit.chain;
            let is_last =
                chain.current().is_none_or(|index| !chain.is_superseded(index) && !chain.files()[index].is_failing());
            !unit.queued && !unit.stalled && unit.waits_until.is_none_or(|until| until <= now) && is_last
        });
        let silent: Vec<UnitId> = silent.map(|unit| unit.id).collect();
        for id in silent {
            if !self.flush_partial(id) {
                // No batch has room. The next sweep goes on.
                return;
            }
        }
    }

    /// A unit holds back `after` bytes where it held back `before`.
    pub(super) fn note_held(&mut self, before: usize, after: usize) {
        self.decoding.held_bytes = self.decoding.held_bytes + after - before;
        while self.decoding.held_bytes > HELD_BYTES_MAX && self.flush_oldest() {}
    }

    /// Counts anew: units that are excluded or go forget what they hold.
    pub(super) fn count_held(&mut self) {
        self.decoding.held_bytes = self.units.iter().map(Unit::held_bytes).sum();
    }

    fn flush_oldest(&mut self) -> bool {
        let held = self.units.iter().filter(|unit| unit.is_labelled() && unit.held_bytes() > 0);
        let Some(oldest) = held.min_by_key(|unit| unit.last_read).map(|unit| unit.id) else { return false };
        if let Some(more) = self.throttles.unfinished_lines.permit() {
            tracing::warn!(
                more,
                "containers write long lines without a newline; those that are unfinished for longest are sent in pieces"
            );
        }
        self.flush(oldest)
    }
}
