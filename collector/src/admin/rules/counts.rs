//! What came to each stage and ended there.

use std::collections::{BTreeMap, HashSet};

use super::{Sent, Trace, trace::End};

/// Lines, or entries, and the bytes of their texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub lines: u64,
    pub bytes: u64,
}

impl Amount {
    pub fn add(&mut self, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes as u64;
    }
}

/// Of one stage.
#[derive(Clone, Debug, Default)]
pub struct StageCount {
    /// Entries that came to it.
    pub came: Amount,
    /// Those that it dropped, by reason.
    pub dropped: BTreeMap<&'static str, Amount>,
}

/// Of a run.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Lines that entered.
    pub given: Amount,
    /// Entries that would be sent.
    pub sent: Amount,
    /// Those that were dropped, by any stage.
    pub dropped: Amount,
    /// Entries that are cut at `lines.max_bytes`.
    pub cut: u64,
    /// Entries whose labels Loki would not take, so that they become structured metadata.
    pub moved_labels: u64,
    /// Entries whose tenant Loki would not take.
    pub invalid_tenants: u64,
    /// By the number of the stage.
    pub stages: Vec<StageCount>,
    streams: HashSet<String>,
}

impl Counts {
    pub(super) fn new(stages: usize) -> Self {
        Self { stages: vec![StageCount::default(); stages], ..Self::default() }
    }

    /// How many streams there would be.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn came(&mut self, stage: usize, bytes: usize) {
        if let Some(count) = self.stages.get_mut(stage) {
            count.came.add(bytes);
        }
    }

    pub(super) fn ended(&mut self, trace: &Trace, bytes: usize) {
        if trace.held_by.is_none() {
            self.given.add(trace.before.len());
        }
        match &trace.end {
            End::Held { .. } => {}
            End::Dropped { reason, stage } => {
                self.dropped.add(bytes);
                if let Some(count) = self.stages.get_mut(*stage) {
                    count.dropped.entry(reason).or_default().add(bytes);
                }
            }
            End::Sent(sent) => self.add_sent(sent),
        }
    }

    fn add_sent(&mut self, sent: &Sent) {
        self.sent.add(sent.line.len());
        self.cut += u64::from(sent.is_cut);
        self.invalid_tenants += u64::from(sent.invalid_tenant.is_some());
        self.moved_labels += u64::from(sent.has_moved_labels);
        let mut stream = sent.tenant.clone().unwrap_or_default();
        for (name, value) in &sent.labels {
            stream += &format!(",{name}={value:?}");
        }
        self.streams.insert(stream);
    }
}
