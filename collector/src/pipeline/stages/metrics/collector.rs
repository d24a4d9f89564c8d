//! The series of the `metrics` stages in a scrape.
//!
//! In: all samples, of all metrics. Out: one family for each metric, by the name that the configuration gives, as in Promtail.
//! OpenMetrics has no counters whose names do not end in `_total`: those are of the type `unknown`, which PromQL takes alike.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{Custom, Measure, Sample};
use crate::model::now_ns;

/// Of the names of OpenMetrics' counters.
const COUNTER_SUFFIX: &str = "_total";

impl Collector for Custom {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let samples = self.samples(now_ns());
        for family in samples.chunk_by(|one, other| one.name == other.name) {
            let Some(first) = family.first() else { continue };
            let counter = first.name.strip_suffix(COUNTER_SUFFIX);
            let kind = match first.measure {
                Measure::Counter(_) if counter.is_none() => MetricType::Unknown,
                Measure::Counter(_) => MetricType::Counter,
                Measure::Gauge(_) => MetricType::Gauge,
                Measure::Histogram { .. } => MetricType::Histogram,
            };
            // The encoder ends a help text with a full stop, and a counter's name with its suffix.
            let name = counter.filter(|_| matches!(kind, MetricType::Counter)).unwrap_or(&first.name);
            let help = first.help.trim_end_matches('.');
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            for Sample { labels, measure, .. } in family {
                let mut encoder = encoder.encode_family(labels)?;
                match measure {
                    Measure::Counter(value) if counter.is_none() => encoder.encode_gauge(value)?,
                    Measure::Counter(value) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None)?,
                    Measure::Gauge(value) => encoder.encode_gauge(value)?,
                    Measure::Histogram { count, sum, buckets } => {
                        let mut below = 0;
                        let mut own: Vec<(f64, u64)> = Vec::with_capacity(buckets.len() + 1);
                        for (bound, up_to) in buckets.iter().copied().chain([(f64::INFINITY, *count)]) {
                            own.push((bound, up_to - below));
                            below = up_to;
                        }
                        encoder.encode_histogram::<NoLabelSet>(*sum, *count, &own, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::super::registry::{Change, Kind};
    use super::*;
    use crate::pipeline::entry::Pairs;

    #[test]
    fn names_are_those_of_promtail_and_a_histogram_ends_with_infinity() {
        let custom = Custom::new(10);
        for (name, kind) in [("errors", Kind::Counter), ("hits_total", Kind::Counter), ("took", Kind::Histogram)] {
            let id = custom.add(name, "", kind, &[1.0, f64::INFINITY], 1_000_000_000).unwrap();
            for value in [1.0, 3.0] {
                let change = if kind == Kind::Counter { Change::Add(value) } else { Change::Observe(value) };
                custom.change(id, &Pairs::default(), change, 0);
            }
        }
        let mut registry = Registry::default();
        registry.register_collector(Box::new(custom));
        let mut scrape = String::new();
        text::encode(&mut scrape, &registry).unwrap();
        let lines: Vec<&str> = scrape.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE errors unknown",
                "errors{} 4.0",
                "# TYPE hits counter",
                "hits_total{} 4.0",
                "# TYPE took histogram",
                "took_sum{} 4.0",
                "took_count{} 2",
                "took_bucket{le=\"1.0\"} 1",
                "took_bucket{le=\"+Inf\"} 2",
                "# EOF",
            ]
        );
    }
}
