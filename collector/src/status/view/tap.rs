//! Lines for one viewer: a bounded buffer between the reader thread and a connection.
//!
//! In: lines as they were read, or as they go into a batch. Out: the same lines, or how many were dropped because there were more
//! than the viewer may have, or it was too slow. The reader never waits: what has no room is dropped and counted. A line that several
//! viewers see is copied and encoded once for all of them. A viewer that is gone is found by its buffer's being gone.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::model::UnitId;

/// Bytes of lines that wait for a viewer, as they are sent.
const BYTES_MAX: usize = 192 << 10;
/// A longer text is cut for the viewer.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What a viewer wants to see.
#[derive(Default)]
pub struct TapSpec {
    pub namespace: Option<String>,
    /// A pod's name, or the beginning of one.
    pub pod: Option<String>,
    /// `pod` is a whole name.
    pub pod_is_whole: bool,
    pub container: Option<String>,
    pub unit: Option<UnitId>,
    /// Lines as they are sent, with labels and metadata, instead of as they were read.
    pub processed: bool,
    /// Only lines that this matches.
    pub grep: Option<Regex>,
    pub out: Weak<TapBuffer>,
}

impl TapSpec {
    /// Whether lines of this unit are wanted.
    #[must_use]
    pub fn selects(&self, id: UnitId, namespace: &str, pod: &str, container: &str) -> bool {
        self.unit.is_none_or(|unit| unit == id)
            && self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && self.pod.as_deref().is_none_or(|wanted| is_pod(wanted, pod, self.pod_is_whole))
            && self.container.as_deref().is_none_or(|wanted| wanted == container)
    }

    /// The beginning of a pod's name is enough only where no unit's pod has it as its whole name. `has_unit`: whether a unit is
    /// selected.
    pub fn prefer_whole_name(&mut self, has_unit: impl FnOnce(&Self) -> bool) {
        self.pod_is_whole = true;
        self.pod_is_whole = has_unit(self);
    }
}

/// Whether `wanted` is a pod's name, or the beginning of it.
#[must_use]
pub fn is_pod(wanted: &str, pod: &str, is_whole: bool) -> bool {
    if is_whole { pod == wanted } else { pod.starts_with(wanted) }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapUnit {
    pub id: UnitId,
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapLine {
    pub time_ns: i64,
    pub unit: Arc<TapUnit>,
    pub stream: &'static str,
    /// In LogQL's form; `None`: the line as it was read.
    pub labels: Option<Arc<str>>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub text: String,
}

/// A line for all viewers that see it.
#[derive(Debug)]
pub struct ShownLine {
    line: TapLine,
    bytes: usize,
    json: OnceLock<String>,
}

/// What a viewer may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    pub lines: u32,
    /// The reader's time for its expression.
    pub matching: Duration,
}

/// A line as `/api/v1/tail` sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailRow {
    /// A number in quotes: more digits than JavaScript's numbers have.
    pub time_ns: String,
    pub unit: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub stream: String,
    pub labels: Option<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub text: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct TapBuffer {
    held: Mutex<Held>,
    /// There was no room for the last line. Cleared by [`Self::take`].
    full: AtomicBool,
    /// Lines that it may have yet.
    lines_left: AtomicI64,
    /// What is left of the reader's time for the viewer's expression; negative: more was taken than allowed.
    matching_ns: AtomicI64,
    /// Woken after lines came.
    pub notify: Notify,
}

#[derive(Debug, Default)]
struct Held {
    lines: Vec<Arc<ShownLine>>,
    bytes: usize,
    dropped: u64,
}

impl TapBuffer {
    /// Whether the next line has no room.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) || self.lines_left.load(Ordering::Relaxed) <= 0
    }

    /// The reader's time that is left for the viewer's expression.
    pub fn matching_left(&self) -> i64 {
        self.matching_ns.load(Ordering::Relaxed)
    }

    /// Takes off what was used of it.
    pub fn note_matching(&self, used_ns: i64) {
        self.matching_ns.fetch_sub(used_ns, Ordering::Relaxed);
    }

    /// Allows so much more, and not more than `most` at one time.
    pub fn allow(&self, more: Allowance, most: Allowance) {
        let ns = |of: Duration| i64::try_from(of.as_nanos()).unwrap_or(i64::MAX / 2);
        self.matching_ns.fetch_add(ns(more.matching), Ordering::Relaxed);
        self.matching_ns.fetch_min(ns(most.matching), Ordering::Relaxed);
        self.lines_left.fetch_add(more.lines.into(), Ordering::Relaxed);
        self.lines_left.fetch_min(most.lines.into(), Ordering::Relaxed);
    }

    /// Adds a line, or drops it.
    pub fn add(&self, line: Arc<ShownLine>) {
        let mut held = self.held();
        // One line always has room, however long its metadata is.
        if self.is_full() || (held.bytes + line.bytes > BYTES_MAX && !held.lines.is_empty()) {
            held.dropped += 1;
            self.full.store(true, Ordering::Relaxed);
            return;
        }
        self.lines_left.fetch_sub(1, Ordering::Relaxed);
        held.bytes += line.bytes;
        held.lines.push(line);
    }

    /// Counts lines that were not even looked at.
    pub fn note_dropped(&self, lines: u64) {
        self.held().dropped += lines;
    }

    /// Takes all lines, and how many were dropped since the last call.
    pub fn take(&self) -> (Vec<Arc<ShownLine>>, u64) {
        let Held { lines, dropped, .. } = std::mem::take(&mut *self.held());
        self.full.store(false, Ordering::Relaxed);
        (lines, dropped)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
}

/// Bytes of an event without its texts: field names, a time and a unit's number.
const EVENT_BYTES: usize = 176;

/// Bytes of a text in JSON, without its quotes.
fn json_bytes(text: &str) -> usize {
    let bytes = |byte| match byte {
        b'"' | b'\\' => 2,
        // `\u0000`
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(bytes).sum()
}

impl TapLine {
    /// At most this many bytes of the answer, and no fewer than it takes in memory.
    fn sent_bytes(&self) -> usize {
        let TapUnit { namespace, pod, container, .. } = &*self.unit;
        let metadata = self.metadata.iter().flatten().map(|(name, value)| json_bytes(name) + json_bytes(value) + 6);
        let texts = [&**namespace, pod, container, self.labels.as_deref().unwrap_or_default(), &self.text];
        EVENT_BYTES + texts.map(json_bytes).iter().sum::<usize>() + metadata.sum::<usize>()
    }

    #[must_use]
    pub fn shown(mut self) -> Arc<ShownLine> {
        cut(&mut self.text);
        Arc::new(ShownLine { bytes: self.sent_bytes(), line: self, json: OnceLock::new() })
    }

    fn row(&self) -> TailRow {
        let TapUnit { id, namespace, pod, container } = &*self.unit;
        TailRow {
            time_ns: self.time_ns.to_string(),
            unit: super::rows::unit_name(*id),
            namespace: namespace.clone(),
            pod: pod.clone(),
            container: container.clone(),
            stream: self.stream.to_owned(),
            labels: self.labels.as_deref().map(str::to_owned),
            metadata: self.metadata.clone(),
            text: self.text.clone(),
        }
    }
}

impl ShownLine {
    /// As [`TailRow`].
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| serde_json::to_string(&self.row()).unwrap_or_else(|_| "{}".into()))
    }
}

impl Deref for ShownLine {
    type Target = TapLine;

    fn deref(&self) -> &TapLine {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Allowance = Allowance { lines: 1000, matching: Duration::ZERO };

    fn line(text: &str) -> TapLine {
        let [namespace, pod, container] = ["n", "p", "c"].map(str::to_owned);
        let unit = Arc::new(TapUnit { id: UnitId(1), namespace, pod, container });
        TapLine { time_ns: 1, unit, stream: "stdout", labels: None, metadata: None, text: text.into() }
    }

    fn buffer() -> TapBuffer {
        let buffer = TapBuffer::default();
        buffer.allow(MOST, MOST);
        buffer
    }

    #[test]
    fn a_viewer_has_no_more_lines_than_it_is_allowed_and_is_told_how_many_it_missed() {
        let buffer = buffer();
        (0..1007).for_each(|_| buffer.add(line("x").shown()));
        assert!(buffer.is_full());
        buffer.note_dropped(3);
        let (lines, dropped) = buffer.take();
        assert_eq!((lines.len(), dropped, buffer.is_full()), (1000, 10, true));
        buffer.allow(Allowance { lines: 2, ..MOST }, MOST);
        (0..3).for_each(|_| buffer.add(line("x").shown()));
        let (lines, dropped) = buffer.take();
        assert_eq!((lines.len(), dropped), (2, 1));
        (0..3).for_each(|_| buffer.allow(MOST, MOST));
        (0..3000).for_each(|_| buffer.add(line("x").shown()));
        assert_eq!(buffer.take().0.len(), 1000, "what was not used is not kept");
    }

    #[test]
    fn long_lines_are_cut_and_few_of_them_fill_the_buffer() {
        let buffer = buffer();
        let long = "ä".repeat(TEXT_BYTES_MAX);
        (0..100).for_each(|_| buffer.add(line(&long).shown()));
        let (lines, dropped) = buffer.take();
        assert!(lines.len() < 15, "{}", lines.len());
        assert_eq!(lines.len() as u64 + dropped, 100);
        assert!(lines[0].text.ends_with("ä…") && lines[0].text.len() <= TEXT_BYTES_MAX + "…".len());
    }

    #[test]
    fn what_is_held_for_a_viewer_is_no_larger_when_it_is_sent() {
        let buffer = buffer();
        let labels: Arc<str> = format!("{{a=\"{}\"}}", "\"".repeat(2000)).into();
        let metadata = [("\u{1}".repeat(50), "\\".repeat(200))];
        for text in ["\u{1}".repeat(3000), "\"\\\n\t".repeat(500), "plain ä".into()].iter().cycle().take(200) {
            let metadata = Some(metadata.clone().into());
            buffer.add(TapLine { labels: Some(Arc::clone(&labels)), metadata, ..line(text) }.shown());
        }
        let sent: usize = buffer.take().0.iter().map(|line| "event: line\ndata: \n\n".len() + line.json().len()).sum();
        assert!(sent > BYTES_MAX / 2 && sent <= BYTES_MAX, "{sent}");
    }

    #[test]
    fn the_beginning_of_a_pods_name_counts_only_where_no_pod_has_it_as_its_name() {
        let pods = ["web-1", "web-10", "web-2"];
        let selected = |wanted: &str| {
            let mut spec = TapSpec { pod: Some(wanted.into()), ..TapSpec::default() };
            let selects = |spec: &TapSpec, pod: &str| spec.selects(UnitId(1), "n", pod, "c");
            spec.prefer_whole_name(|spec| pods.iter().any(|pod| selects(spec, pod)));
            pods.into_iter().filter(|pod| selects(&spec, pod)).collect::<Vec<_>>()
        };
        assert_eq!(selected("web-1"), ["web-1"]);
        assert_eq!(selected("web"), pods);
    }

    #[test]
    fn a_pod_is_selected_by_the_beginning_of_its_name_and_the_rest_by_the_whole() {
        let spec = TapSpec { namespace: Some("shop".into()), pod: Some("web".into()), ..TapSpec::default() };
        assert!(spec.selects(UnitId(1), "shop", "web-1", "any"));
        assert!(!spec.selects(UnitId(1), "shop-2", "web-1", "any") && !spec.selects(UnitId(1), "shop", "db", "any"));
        let spec = TapSpec { container: Some("app".into()), unit: Some(UnitId(2)), ..spec };
        assert!(spec.selects(UnitId(2), "shop", "web", "app"));
        assert!(
            !spec.selects(UnitId(1), "shop", "web", "app") && !spec.selects(UnitId(2), "shop", "web", "application")
        );
    }
}
