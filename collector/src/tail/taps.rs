//! Lines for viewers: from the reader's rounds to their buffers.
//!
//! In: the lines of one unit as they are read ([`Before`], a sink before the real one), or what a batch has more after a round
//! than before. Out: lines in [`TapBuffer`]s. Without viewers a round of reads costs one look at an empty list, and a line nothing.
//! Regular expressions are matched here, so that only lines that are wanted are copied, and for no longer than their viewers are allowed.

use std::{sync::Arc, time::Instant};

use super::{Unit, destination::Append};
use crate::{
    batch::{Batch, BatchEntry, EntryAdapter},
    decode::Sink,
    model::Line,
    status::view::{TapBuffer, TapLine, TapSpec, TapUnit},
};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// The viewers.
#[derive(Default)]
pub(super) struct Taps(Vec<Arc<TapSpec>>);

/// The viewers of one unit, during one call.
pub struct Watch {
    taps: Vec<Tap>,
    unit: Arc<TapUnit>,
    /// Bytes of the batch before the call.
    from: usize,
}

/// A viewer, during one call.
struct Tap {
    spec: Arc<TapSpec>,
    out: Arc<TapBuffer>,
    dropped: u64,
    added: bool,
    /// The time that its expression may take, and has taken.
    allowed_ns: i64,
    used_ns: i64,
}

/// Shows lines as they were read, and gives them on.
pub(super) struct Before<'w, 'a> {
    watch: &'w mut Watch,
    sink: Append<'a>,
}

impl Taps {
    /// `units`: all that there are now.
    pub(super) fn add<'u>(&mut self, mut spec: TapSpec, mut units: impl Iterator<Item = &'u Unit>) {
        self.forget_gone();
        spec.prefer_whole_name(|spec| units.any(|unit| selects(spec, unit)));
        self.0.push(Arc::new(spec));
    }

    /// The viewers of lines of this unit, which will go into `batch`; `None`: there are none.
    #[inline]
    pub(super) fn watch(&mut self, unit: &Unit, batch: &Batch) -> Option<Watch> {
        if self.0.is_empty() { None } else { self.watch_selected(unit, batch) }
    }

    #[inline(never)]
    fn watch_selected(&mut self, unit: &Unit, batch: &Batch) -> Option<Watch> {
        self.forget_gone();
        let taps: Vec<Tap> = self.0.iter().filter(|spec| selects(spec, unit)).filter_map(Tap::of).collect();
        if taps.is_empty() {
            return None;
        }
        let unit = TapUnit {
            id: unit.id,
            namespace: unit.pod.namespace.clone(),
            pod: unit.pod.pod.clone(),
            container: unit.name.clone(),
        };
        Some(Watch { taps, unit: Arc::new(unit), from: batch.encoded_bytes() })
    }

    /// Viewers that are gone have dropped their buffers.
    fn forget_gone(&mut self) {
        self.0.retain(|spec| spec.out.strong_count() > 0);
    }

    /// Whether there are no viewers.
    #[cfg(test)]
    pub fn is_empty(&mut self) -> bool {
        self.forget_gone();
        self.0.is_empty()
    }
}

/// Whether lines of this unit are wanted.
fn selects(spec: &TapSpec, unit: &Unit) -> bool {
    spec.selects(unit.id, &unit.pod.namespace, &unit.pod.pod, &unit.name)
}

impl Watch {
    /// Whether somebody wants lines as they were read.
    pub(super) fn wants_raw(&self) -> bool {
        self.taps.iter().any(|tap| !tap.spec.processed)
    }

    /// A sink before the real one.
    pub(super) fn before<'w, 'a>(&'w mut self, sink: Append<'a>) -> Before<'w, 'a> {
        Before { watch: self, sink }
    }

    /// Shows what the batch has more than before, and wakes the viewers.
    pub(super) fn finish(mut self, batch: &Batch) {
        if self.taps.iter().any(|tap| tap.spec.processed) {
            for entry in batch.entries_from(self.from) {
                self.show_entry(&entry);
            }
        }
        for tap in self.taps {
            if tap.dropped > 0 {
                tap.out.note_dropped(tap.dropped);
            }
            if tap.used_ns > 0 {
                tap.out.note_matching(tap.used_ns);
            }
            if tap.added || tap.dropped > 0 {
                tap.out.notify.notify_one();
            }
        }
    }

    fn show_line(&mut self, line: &Line<'_>) {
        let unit = &self.unit;
        for tap in self.taps.iter_mut().filter(|tap| !tap.spec.processed) {
            tap.show(line.text, || TapLine {
                time_ns: line.timestamp_ns,
                unit: Arc::clone(unit),
                stream: line.stream.name(),
                labels: None,
                metadata: None,
                text: String::from_utf8_lossy(line.text).into_owned(),
            });
        }
    }

    fn show_entry(&mut self, entry: &BatchEntry<'_>) {
        let unit = &self.unit;
        // Decoded once for all, and not at all where no viewer has room.
        let mut decoded: Option<EntryAdapter> = None;
        for tap in self.taps.iter_mut().filter(|tap| tap.spec.processed) {
            if !tap.has_room() {
                tap.dropped += 1;
                continue;
            }
            if decoded.is_none() {
                decoded = entry.decoded();
            }
            let Some(decoded) = &decoded else { return };
            tap.show(decoded.line.as_bytes(), || {
                let time = decoded.timestamp.unwrap_or_default();
                let metadata = decoded.structured_metadata.iter();
                TapLine {
                    time_ns: time.seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(time.nanos.into()),
                    unit: Arc::clone(unit),
                    stream: entry.stream.channel.stream.name(),
                    labels: Some(Arc::clone(&entry.stream.labels)),
                    metadata: Some(metadata.map(|pair| (pair.name.clone(), pair.value.clone())).collect()),
                    text: decoded.line.clone(),
                }
            });
        }
    }
}

impl Tap {
    fn of(spec: &Arc<TapSpec>) -> Option<Self> {
        let out = spec.out.upgrade()?;
        let allowed_ns = out.matching_left();
        Some(Self { out, spec: Arc::clone(spec), dropped: 0, added: false, allowed_ns, used_ns: 0 })
    }

    /// Whether a line is looked at for it: a slow viewer and a slow expression cost the reader nothing more. Of a filtered view
    /// the lines that are counted as dropped may be too many therefore.
    fn has_room(&self) -> bool {
        !self.out.is_full() && (self.spec.grep.is_none() || self.used_ns < self.allowed_ns)
    }

    fn show(&mut self, text: &[u8], line: impl FnOnce() -> TapLine) {
        if !self.has_room() {
            self.dropped += 1;
        } else if self.wants(text) {
            self.out.add(line());
            self.added = true;
        }
    }

    fn wants(&mut self, text: &[u8]) -> bool {
        let Some(grep) = &self.spec.grep else { return true };
        let begun = Instant::now();
        let is_wanted = grep.is_match(text);
        self.used_ns += i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX).max(1);
        is_wanted
    }
}

impl Sink for Before<'_, '_> {
    fn has_room(&self) -> bool {
        self.sink.has_room()
    }

    fn line(&mut self, line: Line<'_>) {
        self.watch.show_line(&line);
        self.sink.line(line);
    }
}
