//! What Loki's answer to a push tells beside: the time, and its limits.

use super::Finding;
use crate::{
    config::{Config, Rate},
    output::loki::{PublishedLimits, Reached},
};

/// An answer's time is whole seconds, and it was on its way.
const CLOCK_EXACT_S: u64 = 5;
/// Loki's default for lines from the future (`creation_grace_period`).
const FUTURE_MAX_S: i64 = 600;

pub(super) fn examine(config: &Config, reached: &Reached) -> Vec<Finding> {
    reached.clock_ahead_s.map(clock).into_iter().chain([limits(config, &reached.limits)]).collect()
}

fn clock(ahead_s: i64) -> Finding {
    if ahead_s.unsigned_abs() <= CLOCK_EXACT_S {
        return Finding::ok("loki", "clock", "this machine's clock and Loki's agree");
    }
    let side = if ahead_s > 0 { "ahead of" } else { "behind" };
    let found = format!("this machine's clock is {} {side} Loki's", span(ahead_s.unsigned_abs()));
    let fix = "set the clock of whichever is wrong (timedatectl; a Pi has none that runs without power, and needs NTP): lines have the \
               time of this machine";
    if ahead_s > FUTURE_MAX_S {
        return Finding::fail(
            "loki",
            "clock",
            format!("{found}: Loki refuses lines from more than 10 min in the future"),
            fix,
        );
    }
    Finding::warn("loki", "clock", found, fix)
}

/// `90 s`, `12 min`, `7 h`, `3 d`.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The configuration beside what Loki tells of its limits.
fn limits(config: &Config, limits: &PublishedLimits) -> Finding {
    if limits.is_empty() {
        return Finding::ok("loki", "limits", "Loki's limits are not available");
    }
    let (mut wrong, mut fixes) = (Vec::new(), Vec::new());
    let mut note = |found: String, fix: &'static str| {
        wrong.push(found);
        fixes.push(fix);
    };
    let text = |name| limits.text(name).unwrap_or_default();
    if limits.is("allow_structured_metadata") == Some(false) && config.levels {
        let found = "it takes no structured metadata, which levels: true sends: it refuses those lines";
        note(found.into(), "set limits_config.allow_structured_metadata: true in Loki, or levels: false");
    }
    if let Some(most) = limits.bytes("max_line_size")
        && most < config.lines.max_bytes.0
        && limits.is("max_line_size_truncate") != Some(true)
    {
        note(
            format!("it refuses lines of more than {}, and lines.max_bytes is more", text("max_line_size")),
            "set lines.max_bytes to Loki's max_line_size, by which longer lines are cut",
        );
    }
    if let Some(rate) = limits.bytes("per_stream_rate_limit")
        && is_above(config.loki.stream_rate, rate)
    {
        note(
            format!("it takes {} a second of a stream, and loki.stream_rate is more", text("per_stream_rate_limit")),
            "set loki.stream_rate below Loki's per_stream_rate_limit: above it Loki refuses whole streams for a while",
        );
    }
    if wrong.is_empty() {
        return Finding::ok("loki", "limits", known(limits));
    }
    Finding::warn("loki", "limits", format!("Loki's limits: {}", wrong.join("; ")), fixes.join("; "))
}

fn is_above(rate: Rate, limit: u64) -> bool {
    match rate {
        Rate::Unlimited => true,
        Rate::PerSecond(rate) => rate.0 > limit,
    }
}

/// Those that a person may want to know.
fn known(limits: &PublishedLimits) -> String {
    let old = limits.is("reject_old_samples").unwrap_or(true);
    let parts = [
        ("max_line_size", "lines up to ", ""),
        ("per_stream_rate_limit", "", " a second of a stream"),
        ("ingestion_rate_mb", "", " MB a second of a tenant"),
        ("reject_old_samples_max_age", "lines no older than ", ""),
    ];
    let parts = parts.into_iter().filter(|(name, ..)| old || *name != "reject_old_samples_max_age");
    let parts: Vec<_> =
        parts.filter_map(|(name, before, behind)| Some(format!("{before}{}{behind}", limits.text(name)?))).collect();
    if parts.is_empty() {
        "nothing in them that matters here".into()
    } else {
        format!("Loki takes {}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::doctor::Status;

    #[test]
    fn a_clock_that_is_off_is_told_with_how_far() {
        for (ahead_s, status, found) in [
            (-3, Status::Ok, "this machine's clock and Loki's agree"),
            (90, Status::Warn, "this machine's clock is 90 s ahead of Loki's"),
            (-7300, Status::Warn, "this machine's clock is 2 h behind Loki's"),
            (
                700,
                Status::Fail,
                "this machine's clock is 11 min ahead of Loki's: Loki refuses lines from more than 10 min in the future",
            ),
        ] {
            let finding = clock(ahead_s);
            assert_eq!((finding.status, finding.found.as_str()), (status, found));
        }
    }

    fn finding(yaml: &str, change: impl FnOnce(&mut Config)) -> Finding {
        let mut config = Config::default();
        change(&mut config);
        limits(&config, &PublishedLimits::of_config(yaml))
    }

    #[test]
    fn limits_that_the_configuration_exceeds_are_told_with_the_setting() {
        let defaults = "limits_config:\n  max_line_size: 256KB\n  per_stream_rate_limit: 3MB\n  reject_old_samples: true\n  \
                        reject_old_samples_max_age: 1w\n  allow_structured_metadata: true\n";
        let good = finding(defaults, |_| ());
        assert_eq!(
            (good.status, good.found.as_str()),
            (Status::Ok, "Loki takes lines up to 256KB, 3MB a second of a stream, lines no older than 1w")
        );
        assert_eq!(finding("", |_| ()).found, "Loki's limits are not available");
        let low =
            "limits_config:\n  max_line_size: 64KB\n  per_stream_rate_limit: 1MB\n  allow_structured_metadata: false\n";
        let bad = finding(low, |config| config.levels = true);
        assert_eq!(bad.status, Status::Warn);
        for part in ["64KB, and lines.max_bytes is more", "1MB a second of a stream", "no structured metadata"] {
            assert!(bad.found.contains(part), "{}", bad.found);
        }
        assert!(bad.fix.unwrap().contains("loki.stream_rate"));
        assert_eq!(finding(low, |config| config.loki.stream_rate = Rate::Unlimited).status, Status::Warn);
    }
}
