//! Pilcrow's own log: on stderr, as text or JSON. Knows nothing of the logs that are collected.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat, LogLevel};

/// Starts it for the whole process; a second call changes nothing.
///
/// Colours only on a terminal, as `kubectl logs` and files would show them as rubbish.
pub fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // kube warns by itself each time that it is refused, many times a minute; we say the same, less often and with the mend.
    let kube = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    let targets = Targets::new().with_default(level).with_target("kube_runtime", kube);
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    // The other result is that there is a subscriber already, which a test may have set.
    let _ = match log.format {
        LogFormat::Text => {
            let builder = builder.with_ansi(io::stderr().is_terminal()).with_target(false);
            builder.finish().with(targets).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).finish().with(targets).try_init(),
    };
}
