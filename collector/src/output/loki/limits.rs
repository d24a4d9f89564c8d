//! The rate limits in force for all streams: those of the configuration, or those that Loki publishes.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{
    answer::{Answer, bytes_in},
    rate::RateLimit,
};
use crate::config;

/// Below a default Loki's 3 MB a second with 15 MB at once, with room for bytes that Loki counts and Pilcrow does not know of.
pub(super) const DEFAULT: RateLimit = RateLimit { rate: 2.5 * 1024.0 * 1024.0, burst: 10.0 * 1024.0 * 1024.0 };
/// Published limits are asked for no more often than this.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// The limits, and whether to ask for others.
#[derive(Debug)]
pub(super) struct Limits {
    /// `None`: unlimited.
    configured: Option<RateLimit>,
    published: Option<RateLimit>,
    asked: Option<Instant>,
}

impl Limits {
    pub(super) fn of(config: &config::Loki) -> Self {
        Self::new(match config.stream_rate {
            config::Rate::Unlimited => None,
            config::Rate::PerSecond(rate) => {
                Some(RateLimit { rate: rate.0.max(1) as f64, burst: config.stream_burst.0.max(1) as f64 })
            }
        })
    }

    pub(super) fn new(configured: Option<RateLimit>) -> Self {
        Self { configured, published: None, asked: None }
    }

    /// The limit in force. What Loki publishes stands in for the defaults; a lower limit in the configuration stays.
    pub(super) fn in_force(&self) -> Option<RateLimit> {
        let configured = self.configured?;
        Some(match self.published {
            None => configured,
            Some(published) if configured == DEFAULT => published,
            Some(published) => {
                RateLimit { rate: configured.rate.min(published.rate), burst: configured.burst.min(published.burst) }
            }
        })
    }

    /// Whether to ask Loki for its limits, now that a stream comes near its own: at most once in [`ASK_AGAIN_AFTER`].
    pub(super) fn should_ask(&mut self, now: Instant) -> bool {
        let asked_lately = |at| now.saturating_duration_since(at) < ASK_AGAIN_AFTER;
        if self.configured.is_none() || self.asked.is_some_and(asked_lately) {
            return false;
        }
        self.asked = Some(now);
        true
    }

    /// Loki's answer. Anything but published limits changes nothing: most Lokis publish none.
    pub(super) fn answered(&mut self, answer: &Answer) {
        if let Some(published) = published(answer) {
            tracing::debug!(?published, "Loki publishes its limits for a stream");
            self.published = Some(published);
        }
    }
}

/// `/loki/api/v1/drilldown-limits` (pkg/loki/drilldown_config.go).
#[derive(Deserialize)]
struct Published {
    #[serde(default)]
    limits: StreamLimits,
}

#[derive(Default, Deserialize)]
struct StreamLimits {
    per_stream_rate_limit: Option<serde_json::Value>,
    per_stream_rate_limit_burst: Option<serde_json::Value>,
}

/// The same distance to Loki's limits as [`DEFAULT`] has to its defaults.
fn published(answer: &Answer) -> Option<RateLimit> {
    let bytes = |value: serde_json::Value| match value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => bytes_in(&text).map(|bytes| bytes as f64),
        _ => None,
    };
    let Published { limits } = serde_json::from_str(&answer.text).ok().filter(|_| answer.status.is_success())?;
    let rate = bytes(limits.per_stream_rate_limit?).filter(|rate| *rate > 0.0)?;
    let burst = limits.per_stream_rate_limit_burst.and_then(bytes).unwrap_or(rate).max(rate);
    Some(RateLimit { rate: rate * 5.0 / 6.0, burst: burst * 2.0 / 3.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer {
            status: hyper::StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            location: None,
            content_type: String::new(),
            date: None,
            text: text.into(),
        }
    }

    #[test]
    fn published_limits_stand_in_for_the_defaults_and_bound_what_was_configured() {
        let text =
            r#"{"limits": {"per_stream_rate_limit": "6MB", "per_stream_rate_limit_burst": 31457280}, "version": "3"}"#;
        let published = RateLimit { rate: 5.0 * 1048576.0, burst: 20.0 * 1048576.0 };
        let own = RateLimit { rate: 1e6, burst: 9e7 };
        for (configured, in_force) in [
            (None, None),
            (Some(DEFAULT), Some(published)),
            (Some(own), Some(RateLimit { rate: 1e6, burst: published.burst })),
        ] {
            let mut limits = Limits::new(configured);
            limits.answered(&answer(404, text));
            limits.answered(&answer(200, "<html>"));
            limits.answered(&answer(200, r#"{"limits": {"retention_period": "0s"}, "version": "3"}"#));
            assert_eq!(limits.in_force(), configured);
            limits.answered(&answer(200, text));
            assert_eq!(limits.in_force(), in_force);
        }
    }

    #[test]
    fn loki_is_asked_once_in_a_while_and_never_where_no_limit_is_wanted() {
        let now = Instant::now();
        assert!(!Limits::new(None).should_ask(now));
        let mut limits = Limits::new(Some(DEFAULT));
        assert!(limits.should_ask(now) && !limits.should_ask(now));
        assert!(limits.should_ask(now + ASK_AGAIN_AFTER));
    }
}
