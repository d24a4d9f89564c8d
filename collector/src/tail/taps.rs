//! Lines for viewers: from the reader's rounds to their buffers.
//!
//! In: the lines of one unit as they are read ([`Before`], a sink before the real one), or what a batch has more after a round
//! than before. Out: lines in [`TapBuffer`]s. Without viewers a round of reads costs one look at an empty list, and a line nothing.
//! A line that several viewers want is copied once. Where no viewer has room, which is most of the time on a busy node, lines are only
//! counted. Regular expressions are matched here, so that only lines that are wanted are copied, and for no longer than their viewers
//! are allowed.

use std::{sync::Arc, time::Instant};

use super::{Unit, destination::Append};
use crate::{
    batch::{Batch, BatchEntry, EntryAdapter},
    decode::Sink,
    model::Line,
    status::view::{ShownLine, TapBuffer, TapLine, TapSpec, TapUnit},
};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Of so many lines that an expression is matched with the time of one is taken: to read the clock costs as much as to match.
const TIMED: i64 = 8;

/// The viewers.
#[derive(Default)]
pub(super) struct Taps(Vec<Arc<TapSpec>>);

/// The viewers of one unit, during one call.
pub struct Watch {
    raw: Viewers,
    sent: Viewers,
    unit: Arc<TapUnit>,
    /// Bytes and entries of the batch before the call.
    before: (usize, u64),
}

/// Those who see lines in the same form.
#[derive(Default)]
struct Viewers {
    taps: Vec<Tap>,
    /// Some of them have room.
    open: bool,
    /// Lines that came when none had.
    dropped: u64,
}

/// A viewer, during one call.
struct Tap {
    spec: Arc<TapSpec>,
    out: Arc<TapBuffer>,
    dropped: u64,
    added: bool,
    /// The time that its expression may take.
    allowed_ns: i64,
    /// Lines that it was matched with, those whose time was taken, and that time.
    matched: i64,
    timed: i64,
    timed_ns: i64,
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
        let (sent, raw): (Vec<Tap>, Vec<Tap>) =
            self.0.iter().filter(|spec| selects(spec, unit)).filter_map(Tap::of).partition(|tap| tap.spec.processed);
        if sent.is_empty() && raw.is_empty() {
            return None;
        }
        let unit = TapUnit {
            id: unit.id,
            namespace: unit.pod.namespace.clone(),
            pod: unit.pod.pod.clone(),
            container: unit.name.clone(),
        };
        let before = (batch.encoded_bytes(), batch.entries());
        Some(Watch { raw: Viewers::of(raw), sent: Viewers::of(sent), unit: Arc::new(unit), before })
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
        !self.raw.taps.is_empty()
    }

    /// A sink before the real one.
    pub(super) fn before<'w, 'a>(&'w mut self, sink: Append<'a>) -> Before<'w, 'a> {
        Before { watch: self, sink }
    }

    /// Shows what the batch has more than before, and wakes the viewers.
    pub(super) fn finish(mut self, batch: &Batch) {
        self.show_entries(batch);
        self.raw.finish();
        self.sent.finish();
    }

    fn show_entries(&mut self, batch: &Batch) {
        let Self { sent, unit, before: (from, entries_before), .. } = self;
        if sent.taps.is_empty() {
            return;
        }
        let all = batch.entries().saturating_sub(*entries_before);
        let mut shown = 0;
        if sent.open {
            for entry in batch.entries_from(*from) {
                let Some(decoded) = entry.decoded() else { return };
                sent.show(decoded.line.as_bytes(), || entry_line(unit, &entry, &decoded));
                shown += 1;
                if !sent.open {
                    break;
                }
            }
        }
        sent.dropped += all.saturating_sub(shown);
    }

    fn show_line(&mut self, line: &Line<'_>) {
        let unit = &self.unit;
        self.raw.show(line.text, || TapLine {
            time_ns: line.timestamp_ns,
            unit: Arc::clone(unit),
            stream: line.stream.name(),
            labels: None,
            metadata: None,
            text: String::from_utf8_lossy(line.text).into_owned(),
        });
    }
}

fn entry_line(unit: &Arc<TapUnit>, entry: &BatchEntry<'_>, decoded: &EntryAdapter) -> TapLine {
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
}

impl Viewers {
    fn of(taps: Vec<Tap>) -> Self {
        Self { open: taps.iter().any(Tap::has_room), taps, dropped: 0 }
    }

    /// `line`: made once, and not at all where nobody wants it.
    fn show(&mut self, text: &[u8], line: impl FnOnce() -> TapLine) {
        if !self.open {
            self.dropped += 1;
            return;
        }
        let (mut line, mut made) = (Some(line), None::<Arc<ShownLine>>);
        self.open = false;
        for tap in &mut self.taps {
            if !tap.has_room() {
                tap.dropped += 1;
                continue;
            }
            if tap.wants(text)
                && let Some(shown) = made.clone().or_else(|| Some(line.take()?().shown()))
            {
                tap.out.add(Arc::clone(&shown));
                tap.added = true;
                made = Some(shown);
            }
            self.open |= tap.has_room();
        }
    }

    /// Tells the viewers, and wakes them.
    fn finish(self) {
        for tap in self.taps {
            let dropped = tap.dropped + self.dropped;
            if dropped > 0 {
                tap.out.note_dropped(dropped);
            }
            if tap.matched > 0 {
                tap.out.note_matching(tap.used_ns());
            }
            if tap.added || dropped > 0 {
                tap.out.notify.notify_one();
            }
        }
    }
}

impl Tap {
    fn of(spec: &Arc<TapSpec>) -> Option<Self> {
        let out = spec.out.upgrade()?;
        let allowed_ns = out.matching_left();
        Some(Self {
            out,
            spec: Arc::clone(spec),
            dropped: 0,
            added: false,
            allowed_ns,
            matched: 0,
            timed: 0,
            timed_ns: 0,
        })
    }

    /// Whether a line is looked at for it: a slow viewer and a slow expression cost the reader nothing more. Of a filtered view
    /// the lines that are counted as dropped may be too many therefore.
    fn has_room(&self) -> bool {
        !self.out.is_full() && (self.spec.grep.is_none() || self.used_ns() < self.allowed_ns)
    }

    fn wants(&mut self, text: &[u8]) -> bool {
        let Some(grep) = &self.spec.grep else { return true };
        self.matched += 1;
        if self.matched % TIMED != 1 {
            return grep.is_match(text);
        }
        let begun = Instant::now();
        let is_wanted = grep.is_match(text);
        self.timed += 1;
        self.timed_ns += i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX).max(1);
        is_wanted
    }

    /// What its expression has taken, by the lines whose time was.
    fn used_ns(&self) -> i64 {
        self.timed_ns.saturating_mul(self.matched) / self.timed.max(1)
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
