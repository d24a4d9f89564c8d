//! What Loki refuses of a push that it can read: single streams, and not always with a word of it.
//!
//! In: the decoded streams of a push and its tenant. Out: which entries are stored, and what the answer is. The rules are those of
//! Loki's pkg/ingester/instance.go (`Push`) and stream.go: each stream is judged by itself, the others of the same request are
//! stored all the same, and the answer is that of the *last* stream only. Knows no HTTP beyond a status.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::{Duration, Instant},
};

use super::push;

/// Which refusals the client is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// As Loki: that of the last stream in the request. Earlier ones are dropped silently.
    #[default]
    LastStream,
    /// As a kinder server: the first refusal, wherever its stream stands.
    AnyStream,
}

/// What a refused stream's answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Plain text.
    pub body: String,
}

impl Refusal {
    /// A rejection by the ingester of one stream, as a gateway or an overloaded ring gives it: 503.
    pub fn unavailable() -> Self {
        Self { status: 503, body: "at least 2 live replicas required, could only find 1".into() }
    }

    /// 429 in the words of Loki's stream limit.
    pub fn stream_limit(labels: &str) -> Self {
        let body = format!(
            "maximum active stream limit exceeded when trying to create stream {labels}, reduce the number of active streams \
             (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, \
             user: 'fake'"
        );
        Self { status: 429, body }
    }

    /// 400 in the words of Loki's window for entries out of order.
    pub fn too_far_behind(labels: &str, refused: usize, of: usize) -> Self {
        let body = format!(
            "entry with timestamp 2026-01-02 03:04:05 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: \
             2026-01-02T03:04:05Z, oldest acceptable timestamp is: 2026-01-02T04:04:05Z',\nuser 'fake', total ignored: \
             {refused} out of {of} for stream: {labels}"
        );
        Self { status: 400, body }
    }

    /// 429 in the words of Loki's per-stream rate limit.
    pub fn stream_rate(labels: &str, refused: usize, of: usize) -> Self {
        let body = format!(
            "entry with timestamp 2026-01-02 03:04:05 +0000 UTC ignored, reason: 'Per stream rate limit exceeded (limit: 3MB/s) \
             while attempting to ingest for stream '{labels}' totaling 1MB, consider splitting a stream via additional labels or \
             contact your Loki administrator to see if the limit can be increased',\nuser 'fake', total ignored: {refused} out \
             of {of} for stream: {labels}"
        );
        Self { status: 429, body }
    }
}

type Judge = Box<dyn FnMut(&push::Stream<'_>) -> Option<Refusal> + Send>;

/// Rules for streams; none by default. They are asked in the order of the methods below, the first refusal counts.
#[derive(Default)]
pub struct Limits {
    told: Told,
    whole: Vec<Judge>,
    judges: Vec<Judge>,
    too_far_behind_ns: Option<i64>,
    newest_ns: HashMap<(String, String), i64>,
    streams_max: Option<usize>,
    rate: Option<Rate>,
    active: HashSet<(String, String)>,
    buckets: HashMap<(String, String), Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    bytes_per_s: f64,
    burst: f64,
}

#[derive(Debug)]
struct Bucket {
    bytes: f64,
    at: Instant,
}

/// The outcome of a push.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The answer, where it is a refusal.
    pub(super) answer: Option<Refusal>,
    /// For each stream, in the request's order, the entries that are *not* stored.
    pub(super) refused: Vec<HashSet<usize>>,
}

impl Limits {
    /// Refuses the streams for which `judge` says so; the others are stored.
    #[must_use]
    pub fn refuse(mut self, judge: impl FnMut(&push::Stream<'_>) -> Option<Refusal> + Send + 'static) -> Self {
        self.judges.push(Box::new(judge));
        self
    }

    /// Refuses the whole push where `judge` says so of one of its streams: what stands before Loki, and its distributor, do so.
    #[must_use]
    pub fn refuse_whole(mut self, judge: impl FnMut(&push::Stream<'_>) -> Option<Refusal> + Send + 'static) -> Self {
        self.whole.push(Box::new(judge));
        self
    }

    /// Refuses streams that have this label.
    #[must_use]
    pub fn refuse_label(self, name: &'static str, value: &'static str, refusal: Refusal) -> Self {
        let has = move |stream: &push::Stream<'_>| stream.labels.iter().any(|(n, v)| n == name && v == value);
        self.refuse(move |stream| has(stream).then(|| refusal.clone()))
    }

    /// This many streams of one tenant may be in memory (`max_global_streams_per_user`).
    #[must_use]
    pub fn streams_max(mut self, streams: usize) -> Self {
        self.streams_max = Some(streams);
        self
    }

    /// Refuses entries that are so much older than the newest one of their stream (half of `max_chunk_age`, 1 h by default); 400.
    #[must_use]
    pub fn too_far_behind(mut self, span: Duration) -> Self {
        self.too_far_behind_ns = Some(span.as_nanos() as i64);
        self
    }

    /// What one stream may bring (`per_stream_rate_limit` and its burst; Loki's defaults are 3 MB and 15 MB). Entries that fit are stored.
    #[must_use]
    pub fn stream_rate(mut self, bytes_per_s: usize, burst: usize) -> Self {
        self.rate = Some(Rate { bytes_per_s: bytes_per_s as f64, burst: burst as f64 });
        self
    }

    /// Loki's own defaults for one stream.
    #[must_use]
    pub fn loki_defaults() -> Self {
        Self::default().stream_rate(3_000_000, 15_000_000)
    }

    /// Which refusals are told.
    #[must_use]
    pub fn told(mut self, told: Told) -> Self {
        self.told = told;
        self
    }

    /// Forgets the active streams, as when their last chunk is flushed: each has to be created again.
    pub fn flush(&mut self) {
        self.active.clear();
    }

    pub(super) fn judge(&mut self, tenant: &str, streams: &[push::Stream<'_>]) -> Outcome {
        let mut outcome = Outcome::default();
        let whole = &mut self.whole;
        if let Some(refusal) = streams.iter().find_map(|stream| whole.iter_mut().find_map(|judge| judge(stream))) {
            outcome.refused = streams.iter().map(all_of).collect();
            outcome.answer = Some(refusal);
            return outcome;
        }
        for (index, stream) in streams.iter().enumerate() {
            let (refused, refusal) = self.judge_stream(tenant, stream);
            outcome.refused.push(refused);
            let is_last = index + 1 == streams.len();
            match self.told {
                Told::LastStream if is_last => outcome.answer = refusal,
                Told::LastStream => {}
                Told::AnyStream => outcome.answer = outcome.answer.take().or(refusal),
            }
        }
        outcome
    }

    fn judge_stream(&mut self, tenant: &str, stream: &push::Stream<'_>) -> (HashSet<usize>, Option<Refusal>) {
        if let Some(refusal) = self.judges.iter_mut().find_map(|judge| judge(stream)) {
            return (all_of(stream), Some(refusal));
        }
        let key = (tenant.to_owned(), stream.labels_text.to_owned());
        if let Some(max) = self.streams_max
            && !self.active.contains(&key)
            && self.active.iter().filter(|(of, _)| of == tenant).count() >= max
        {
            return (all_of(stream), Some(Refusal::stream_limit(stream.labels_text)));
        }
        self.active.insert(key.clone());
        let behind = self.find_behind(&key, stream);
        if !behind.is_empty() {
            let refusal = Refusal::too_far_behind(stream.labels_text, behind.len(), stream.entries.len());
            return (behind, Some(refusal));
        }
        let Some(rate) = self.rate else { return (HashSet::new(), None) };
        let bucket = self.buckets.entry(key).or_insert(Bucket { bytes: rate.burst, at: Instant::now() });
        let refused: HashSet<usize> =
            (0..stream.entries.len()).filter(|&entry| !bucket.take(stream.entries[entry].line.len(), rate)).collect();
        let refusal = (!refused.is_empty())
            .then(|| Refusal::stream_rate(stream.labels_text, refused.len(), stream.entries.len()));
        (refused, refusal)
    }

    fn find_behind(&mut self, key: &(String, String), stream: &push::Stream<'_>) -> HashSet<usize> {
        let Some(span) = self.too_far_behind_ns else { return HashSet::new() };
        let newest = self.newest_ns.entry(key.clone()).or_insert(i64::MIN);
        let mut behind = HashSet::new();
        for (index, entry) in stream.entries.iter().enumerate() {
            *newest = entry.timestamp_ns.max(*newest);
            if entry.timestamp_ns < newest.saturating_sub(span) {
                behind.insert(index);
            }
        }
        behind
    }
}

fn all_of(stream: &push::Stream<'_>) -> HashSet<usize> {
    (0..stream.entries.len()).collect()
}

impl Bucket {
    fn take(&mut self, bytes: usize, rate: Rate) -> bool {
        let now = Instant::now();
        self.bytes = (self.bytes + now.duration_since(self.at).as_secs_f64() * rate.bytes_per_s).min(rate.burst);
        self.at = now;
        let enough = self.bytes >= bytes as f64;
        if enough {
            self.bytes -= bytes as f64;
        }
        enough
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("told", &self.told)
            .field("judges", &self.judges.len())
            .field("streams_max", &self.streams_max)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}
