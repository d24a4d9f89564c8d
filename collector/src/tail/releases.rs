//! Giving out what is held back, of one unit or because it is due by the node's clock; and what stages did, in counts.
//!
//! In: units that hold text back. Out: that text in batches once it is due, where its unit has been read to its end: while there
//! is more to read the clock of the log decides. Counts of dropped lines, by reason, go to the metrics.

use std::time::Instant;

use super::{State, Unit};
use crate::{
    model::{TENANT_NAME_RULE, UnitId},
    pipeline::{Note, Which},
    status::Reason,
};

/// A unit with more to read is looked at again after this time.
const LOOK_AGAIN_NS: i64 = 1_000_000_000;

impl State {
    /// Gives out a unit's partial lines as they are; returns whether a batch had room.
    pub(super) fn flush_partial(&mut self, id: UnitId) -> bool {
        let holds = self.units.get(id).is_some_and(Unit::holds_partial_line);
        !holds || self.with_batch(id, Unit::flush_partial).is_some()
    }

    /// Gives out all that is held back of a unit as it is; returns whether a batch had room.
    pub(super) fn flush(&mut self, id: UnitId) -> bool {
        let holds = self.units.get(id).is_some_and(Unit::holds_text);
        !holds || self.with_batch(id, Unit::flush).is_some()
    }

    /// As [`Self::flush`], for all that stages hold back.
    pub(super) fn release_all(&mut self, id: UnitId) -> bool {
        self.with_batch(id, |unit, feed| unit.release(feed, Which::All)).is_some()
    }

    /// As [`Self::flush`], for what stages hold back and is due by the node's clock.
    pub(super) fn release_due(&mut self, id: UnitId) -> bool {
        self.with_batch(id, |unit, feed| unit.release(feed, Which::Late)).is_some()
    }

    /// Whether text is held back of a container whose folder is gone: the next run could not read it again.
    pub(super) fn holds_text_of_gone(&self) -> bool {
        let mut gone = self.units.iter().filter(|unit| unit.gone && unit.exclusion().is_none() && !unit.stalled);
        gone.any(Unit::holds_text)
    }

    /// Gives out what stages have to report, as the program ends. Lines that they hold back are read again by the next one.
    pub(super) fn release_reports(&mut self) {
        let held: Vec<_> = self.units.iter().filter(|unit| unit.due_ns().is_some()).map(|unit| unit.id).collect();
        for id in held {
            self.with_batch(id, |unit, feed| unit.release(feed, Which::Reports));
        }
    }

    /// Gives out text that stages hold back and that is due.
    pub(super) fn release_held(&mut self) {
        let Some(stages) = &mut self.decoding.stages else { return };
        let Some(due_ns) = stages.due_ns else { return };
        stages.begin();
        let now_ns = stages.now_ns();
        if due_ns > now_ns {
            return;
        }
        stages.due_ns = None;
        let (mut next, mut due) = (None, Vec::<UnitId>::new());
        for unit in self.units.iter() {
            let Some(due_ns) = unit.due_ns() else { continue };
            let look_at = if due_ns > now_ns {
                due_ns
            } else if self.is_at_its_end(unit) {
                due.push(unit.id);
                continue;
            } else {
                now_ns + LOOK_AGAIN_NS
            };
            next = [next, Some(look_at)].into_iter().flatten().min();
        }
        for id in due {
            if !self.release_due(id) {
                next = Some(now_ns + LOOK_AGAIN_NS);
            }
        }
        if let Some(stages) = &mut self.decoding.stages {
            stages.note_due(next);
        }
    }

    /// Whether all of a unit was read that is there.
    fn is_at_its_end(&self, unit: &Unit) -> bool {
        let has_more = unit.chain.current().is_some_and(|index| unit.chain.is_superseded(index));
        !unit.queued && !has_more && unit.waits_until.is_none_or(|until| until <= Instant::now())
    }

    /// When [`Self::release_held`] has something to do.
    pub(super) fn release_is_due(&self) -> Option<Instant> {
        Some(Instant::now() + self.decoding.stages.as_ref()?.until_due()?)
    }

    /// Adds what stages did to the metrics.
    pub(super) fn publish_staged(&mut self) {
        let Some(stages) = &mut self.decoding.stages else { return };
        let metrics = &self.metrics;
        stages.take_dropped(|reason, lines| metrics.dropped_lines.add(reason, lines));
        for Note { preset, labels } in stages.pipelines.take_notes() {
            tracing::info!(
                preset,
                stream = labels,
                "multiline: auto has seen a trace, and joins those of its language in this stream"
            );
        }
        let counts = stages.take_counts();
        if counts.oversize > 0 {
            metrics.malformed_lines.get_or_create(&Reason { reason: "oversize" }).inc_by(counts.oversize);
        }
        if counts.repeated > 0 {
            metrics.repeated_lines.inc_by(counts.repeated);
        }
        if counts.too_many_tenants > 0 {
            metrics.dropped_lines.add("too_many_tenants", counts.too_many_tenants);
        }
        if counts.invalid_tenants > 0 {
            metrics.invalid_tenant_lines.inc_by(counts.invalid_tenants);
            if let Some(more) = self.throttles.invalid_tenants.permit() {
                tracing::warn!(
                    more,
                    "a tenant stage chose a name that Loki would not take; the lines go to the tenant of loki.tenant. A name \
                     is {TENANT_NAME_RULE}"
                );
            }
        }
        if counts.moved_labels > 0 {
            metrics.moved_label_lines.inc_by(counts.moved_labels);
            if let Some(more) = self.throttles.moved_labels.permit() {
                tracing::warn!(
                    more,
                    "labels that pipeline_stages makes became structured metadata: one container has more than 200 streams in an \
                     hour, or Loki takes no such label; give labels few values"
                );
            }
        }
    }
}
