//! `limit`: so many lines a second, more of them for a moment.
//!
//! With `drop` the others are dropped. Without it Promtail stands still, with all its streams; here the entry takes its token
//! in advance and the channel alone is not read until the token is there.

use std::collections::HashMap;

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    stage::{Context, Failed, Stage, Step},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    rate: f64,
    burst: u32,
    drop: bool,
    by_label_name: String,
    max_distinct_labels: usize,
}

/// The least number of label values that have a bucket of their own, as in Promtail.
const MIN_DISTINCT_LABELS: usize = 10_000;
/// A clock that goes back by more was wrong before.
const SET_BACK_NS: i64 = 60_000_000_000;

struct Limit {
    rate: f64,
    burst: f64,
    buckets: Buckets,
    reason: usize,
}

enum Buckets {
    Wait(Bucket),
    Drop(Bucket),
    /// By the value of a label: the newer and the older generation, each of so many at most.
    ByLabel {
        name: String,
        max: usize,
        newer: HashMap<String, Bucket>,
        older: HashMap<String, Bucket>,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    tokens: f64,
    /// When `tokens` was right; `None`: never, the bucket is full.
    at_ns: Option<i64>,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    if settings.rate.is_nan() || settings.rate <= 0.0 {
        return Err(compiler.error("rate", "must be more than 0 lines a second"));
    }
    if settings.burst == 0 {
        return Err(compiler.error("burst", "must be more than 0 lines"));
    }
    let buckets = match (settings.by_label_name, settings.drop) {
        (name, true) if !name.is_empty() => Buckets::ByLabel {
            name,
            max: settings.max_distinct_labels.max(MIN_DISTINCT_LABELS),
            newer: HashMap::new(),
            older: HashMap::new(),
        },
        (name, false) if !name.is_empty() => return Err(compiler.error("by_label_name", "needs drop: true")),
        (_, true) => Buckets::Drop(Bucket::default()),
        (_, false) => Buckets::Wait(Bucket::default()),
    };
    let reason = compiler.reason(None, "ratelimit_drop_stage");
    Ok(vec![Box::new(Limit { rate: settings.rate, burst: f64::from(settings.burst), buckets, reason })])
}

impl Stage for Limit {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let (rate, burst, now) = (self.rate, self.burst, context.now_ns);
        let has_token = match &mut self.buckets {
            Buckets::Wait(bucket) => {
                bucket.fill(rate, burst, now);
                bucket.tokens -= 1.0;
                if bucket.tokens < 0.0 {
                    // Rounded up by a nanosecond at most.
                    let until = now.saturating_add((-bucket.tokens / rate * 1e9) as i64 + 1);
                    context.wait_until_ns = Some(context.wait_until_ns.map_or(until, |other| other.max(until)));
                }
                true
            }
            Buckets::Drop(bucket) => bucket.take(rate, burst, now),
            Buckets::ByLabel { name, max, newer, older } => match entry.labels.get(name) {
                Some(value) => {
                    if let Some(bucket) = newer.get_mut(value) {
                        bucket.take(rate, burst, now)
                    } else {
                        let mut bucket = older.remove(value).unwrap_or_default();
                        let taken = bucket.take(rate, burst, now);
                        if newer.len() >= *max {
                            *older = std::mem::take(newer);
                        }
                        newer.insert(value.to_owned(), bucket);
                        taken
                    }
                }
                None => true,
            },
        };
        if has_token { Step::Next } else { Step::Drop(self.reason) }
    }
}

impl Bucket {
    fn fill(&mut self, rate: f64, burst: f64, now_ns: i64) {
        // A clock that was ahead and was set back: nothing would be refilled until it is there again.
        self.at_ns = self.at_ns.map(|at| if now_ns < at - SET_BACK_NS { now_ns } else { at });
        self.tokens = match self.at_ns {
            None => burst,
            Some(at) => burst.min(self.tokens + now_ns.saturating_sub(at).max(0) as f64 / 1e9 * rate),
        };
        self.at_ns = Some(self.at_ns.map_or(now_ns, |at| at.max(now_ns)));
    }

    fn take(&mut self, rate: f64, burst: f64, now_ns: i64) -> bool {
        self.fill(rate, burst, now_ns);
        let has_token = self.tokens >= 1.0;
        if has_token {
            self.tokens -= 1.0;
        }
        has_token
    }
}
