//! What the node and the collectors of a storm are set to.

use std::{path::Path, time::Duration};

use rig::{kubelet::LiveOptions, receiver::Receiver};

use super::{PUSH_TIMEOUT, Scale};
use crate::chaos::plan::Start;

/// What a collector sends of one stream: four times what a container writes. A batch is half a second of it, as by default.
const STREAM_RATE: &str = "256KiB";
const STREAM_BURST: &str = "256KiB";
/// What the receiver takes of one stream a second: more by what Loki's default (3 MB) is more than the collector's (2.5 MiB).
pub const TAKEN_BYTES_PER_S: usize = 300_000;
/// What it takes at once: four of the largest requests more than the collector sends, as with both defaults (15 MB, 10 MiB,
/// requests of 1 MiB). A request that a slow line holds up counts when it arrives, and the collector's next burst beside it.
pub const TAKEN_BURST: usize = (256 << 10) + 4 * (128 << 10);

/// A busy node: everything happens more often than on a real one.
pub fn live_options(seed: u64, scale: Scale) -> LiveOptions {
    LiveOptions {
        containers: scale.containers,
        lines_per_second: scale.lines_per_second,
        rotate_every: Duration::from_millis(900),
        restart_every: Duration::from_secs(8),
        replace_pod_every: Duration::from_secs(5),
        docker_one_in: 3,
        long_one_in: 300,
        halved_one_in: 50,
        keep: 5,
        seed,
    }
}

/// Stages that hold back every line until the next one begins, and leave each as it is.
const STAGES: &str = r#"
pipeline_stages:
- multiline: {firstline: '^(\{"src":|src=)', max_wait_time: 300ms}
- json: {expressions: {level: level}}
- drop: {source: level, value: debug}
"#;

/// Everything happens sooner than by default. A line whose rest does not come is given out as it is after
/// `lines.partial_timeout`: that must be more than a writer is ever held up.
pub fn configuration(receiver: &Receiver, pods: &Path, state: &Path, start: Start) -> String {
    let Start { signal, reader, drop_signals, checkpoint_every } = start;
    format!(
        "loki:\n  url: {:?}\n  timeout: {}ms\n  batch: {{age: 100ms, bytes: 128KiB}}\n  backoff: {{min: 20ms, max: 500ms}}\n  \
         stream_rate: {STREAM_RATE}\n  stream_burst: {STREAM_BURST}\n\
         labels: {{cluster: chaos}}\n\
         paths: {{pods: {pods:?}, state: {state:?}}}\n\
         kubernetes: {{enabled: false}}\n\
         signal: {signal}\n\
         reader: {{backend: {reader}}}\n\
         memory: {{queue: 1MiB}}\n\
         checkpoint: {{interval: {}ms}}\n\
         sweep: {{interval: 500ms}}\n\
         lines: {{partial_timeout: 20s}}\n\
         shutdown: {{deadline: 2s}}\n\
         log: {{level: debug}}\n\
         debug: {{drop_signals: {drop_signals}}}\n{}",
        receiver.url(),
        PUSH_TIMEOUT.as_millis(),
        checkpoint_every.as_millis(),
        if start.has_stages() { STAGES } else { "" },
    )
}
