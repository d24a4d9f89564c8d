//! The series of the `metrics` stages in a scrape.
//!
//! In: all samples, of all metrics. Out: one family for each metric. Names are as the configuration has them, but that a counter's
//! ends in `_total`, as OpenMetrics wants it.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{Custom, Measure, Sample};
use crate::model::now_ns;

impl Collector for Custom {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let samples = self.samples(now_ns());
        for family in samples.chunk_by(|one, other| one.name == other.name) {
            let Some(first) = family.first() else { continue };
            let kind = match first.measure {
                Measure::Counter(_) => MetricType::Counter,
                Measure::Gauge(_) => MetricType::Gauge,
                Measure::Histogram { .. } => MetricType::Histogram,
            };
            // The encoder ends a help text with a full stop, and a counter's name with `_total`.
            let (name, help) = (first.name.trim_end_matches("_total"), first.help.trim_end_matches('.'));
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            for Sample { labels, measure, .. } in family {
                let mut encoder = encoder.encode_family(labels)?;
                match measure {
                    Measure::Counter(value) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None)?,
                    Measure::Gauge(value) => encoder.encode_gauge(value)?,
                    Measure::Histogram { count, sum, buckets } => {
                        let mut below = 0;
                        let mut own: Vec<(f64, u64)> = Vec::with_capacity(buckets.len() + 1);
                        for (bound, up_to) in buckets.iter().copied().chain([(f64::MAX, *count)]) {
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
