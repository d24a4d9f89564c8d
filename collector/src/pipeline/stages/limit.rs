//! `limit`: a rate of lines per second, with a burst.
//!
//! With `drop` the others are dropped. Without it Promtail stands still, with all its streams; here the entry takes its token
//! in advance and the channel alone is not read until the token is there.

use std::collections::HashMap;

use serde::Deserialize;

use crate::pipeline::{
    bucket::Bucket,
    compile::Compiler,
    entry::Entry,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
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

struct Limit {
    rate: f64,
    burst: f64,
    buckets: Buckets,
    reason: usize,
}

enum Buckets {
    Wait(Bucket),
    Drop(Bucket),
    /// By the value of a label: the newer and the older generation, each of this many at most.
    ByLabel {
        name: String,
        max: usize,
        newer: HashMap<String, Bucket>,
        older: HashMap<String, Bucket>,
    },
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
                bucket.take_in_advance(1.0, rate, now, &mut context.wait_until_ns);
                true
            }
            Buckets::Drop(bucket) => take(bucket, rate, burst, now),
            Buckets::ByLabel { name, max, newer, older } => match entry.labels.get(name) {
                Some(value) => {
                    if let Some(bucket) = newer.get_mut(value) {
                        take(bucket, rate, burst, now)
                    } else {
                        let mut bucket = older.remove(value).unwrap_or_default();
                        let taken = take(&mut bucket, rate, burst, now);
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

    fn why(&self, seen: &Unchanged<'_>) -> String {
        match &self.buckets {
            Buckets::ByLabel { name, .. } if !seen.entry.labels.contains(name) => format!("there is no label {name}"),
            _ => "the limit has room".into(),
        }
    }
}

/// Takes a token if there is one.
fn take(bucket: &mut Bucket, rate: f64, burst: f64, now_ns: i64) -> bool {
    bucket.fill(rate, burst, now_ns);
    let has_token = bucket.tokens >= 1.0;
    if has_token {
        bucket.tokens -= 1.0;
    }
    has_token
}
