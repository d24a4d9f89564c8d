//! Bounds of numbers and durations, and those that depend on each other.

use std::time::Duration;

use super::Problems;
use crate::config::{ByteSize, Config, HumanDuration, Rate, RefusedStreams};

pub(super) fn check(config: &Config, problems: &mut Problems) {
    const HOUR: HumanDuration = HumanDuration::from_secs(3600);
    const TEN_MINUTES: HumanDuration = HumanDuration::from_secs(600);
    let millis = HumanDuration::from_millis;
    let loki = &config.loki;
    let mut within = |key: &str, value: HumanDuration, least: HumanDuration, most: HumanDuration| {
        if value < least || value > most {
            problems.add(key, format!("must lie between {least} and {most}, found {value}"));
        }
    };
    within("loki.timeout", loki.timeout, millis(100), TEN_MINUTES);
    within("loki.backoff.min", loki.backoff.min, millis(10), HOUR);
    within("loki.backoff.max", loki.backoff.max, millis(10), HOUR);
    within("loki.batch.age", loki.batch.age, millis(10), TEN_MINUTES);
    within("kubernetes.wait", config.kubernetes.wait, HumanDuration(Duration::ZERO), TEN_MINUTES);
    within("lines.partial_timeout", config.lines.partial_timeout, millis(100), HOUR);
    within("checkpoint.interval", config.checkpoint.interval, millis(100), TEN_MINUTES);
    within("sweep.interval", config.sweep.interval, millis(100), TEN_MINUTES);
    within("shutdown.deadline", config.shutdown.deadline, HumanDuration(Duration::ZERO), TEN_MINUTES);
    if !config.log.summary.0.is_zero() {
        within("log.summary", config.log.summary, HumanDuration::from_secs(60), HumanDuration::from_secs(86_400));
    }
    within("ready.after", config.ready.after, millis(100), HOUR);
    if let RefusedStreams::DropAfter(after) = loki.refused_streams {
        within("loki.refused_streams", after, HumanDuration::from_secs(1), HumanDuration::from_secs(30 * 86_400));
    }
    let mut within = |key: &str, value: ByteSize, least: ByteSize, most: ByteSize| {
        if value < least || value > most {
            problems.add(key, format!("must lie between {least} and {most}, found {value}"));
        }
    };
    within("loki.batch.bytes", loki.batch.bytes, ByteSize::kib(1), ByteSize::mib(64));
    if let Rate::PerSecond(rate) = loki.stream_rate {
        within("loki.stream_rate", rate, ByteSize::kib(1), ByteSize::mib(1024));
    }
    within("loki.stream_burst", loki.stream_burst, ByteSize::kib(1), ByteSize::mib(1024));
    within("lines.max_bytes", config.lines.max_bytes, ByteSize(256), ByteSize::mib(16));
    within("memory.queue", config.memory.queue, ByteSize::kib(64), ByteSize::mib(4096));
    if !(0.0..=1.0).contains(&config.debug.drop_signals) {
        let message = format!("must lie between 0 and 1, found {}", config.debug.drop_signals);
        problems.add("debug.drop_signals", message);
    }
    if loki.backoff.min > loki.backoff.max {
        let message =
            format!("must not be less than loki.backoff.min ({}), found {}", loki.backoff.min, loki.backoff.max);
        problems.add("loki.backoff.max", message);
    }
    if config.memory.queue < loki.batch.bytes {
        let message = format!("must hold at least one batch (loki.batch.bytes is {})", loki.batch.bytes);
        problems.add("memory.queue", format!("{message}, found {}", config.memory.queue));
    }
}
