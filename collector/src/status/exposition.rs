//! The text of GET /metrics, in the format that the scraper asks for.
//!
//! In: a registry. Out: OpenMetrics 1.0, or Prometheus's own text format 0.0.4. They differ in little, but a scraper that
//! knows only the older one takes a counter in the newer one for untyped.

use std::fmt;

use prometheus_client::{encoding::text, registry::Registry};

/// How the metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl Format {
    /// What a request's Accept header allows. Whoever names OpenMetrics at all gets it, as Prometheus does.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// The answer's Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics of a registry.
///
/// # Errors
/// A metric could not be written; none of this crate's fails.
pub fn encode(registry: &Registry, format: Format) -> Result<String, fmt::Error> {
    let mut openmetrics = String::with_capacity(16 << 10);
    text::encode(&mut openmetrics, registry)?;
    Ok(match format {
        Format::OpenMetrics => openmetrics,
        Format::Prometheus => to_prometheus(&openmetrics),
    })
}

/// In 0.0.4 a counter's family is named like its samples, with `_total`; there is neither UNIT nor EOF.
fn to_prometheus(openmetrics: &str) -> String {
    let mut converted = String::with_capacity(openmetrics.len() + (1 << 10));
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, text)) = help.take() {
                converted.extend(["# HELP ", name, suffix, " ", text, "\n"]);
            }
            converted.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            converted.extend([line, "\n"]);
        }
    }
    converted
}

#[cfg(test)]
mod tests {
    use prometheus_client::{
        metrics::{counter::Counter, gauge::Gauge},
        registry::Unit,
    };

    use super::*;

    #[test]
    fn each_format_names_counters_as_its_readers_expect() {
        let mut registry = Registry::with_prefix("pilcrow");
        let (read, files) = (Counter::<u64>::default(), Gauge::<i64>::default());
        registry.register_with_unit("read", "Bytes read", Unit::Bytes, read.clone());
        registry.register("open_files", "Files held open", files.clone());
        read.inc_by(7);
        files.set(3);
        assert_eq!(
            encode(&registry, Format::OpenMetrics).unwrap(),
            "# HELP pilcrow_read_bytes Bytes read.\n# TYPE pilcrow_read_bytes counter\n# UNIT pilcrow_read_bytes bytes\n\
             pilcrow_read_bytes_total 7\n# HELP pilcrow_open_files Files held open.\n# TYPE pilcrow_open_files gauge\n\
             pilcrow_open_files 3\n# EOF\n"
        );
        assert_eq!(
            encode(&registry, Format::Prometheus).unwrap(),
            "# HELP pilcrow_read_bytes_total Bytes read.\n# TYPE pilcrow_read_bytes_total counter\n\
             pilcrow_read_bytes_total 7\n# HELP pilcrow_open_files Files held open.\n# TYPE pilcrow_open_files gauge\n\
             pilcrow_open_files 3\n"
        );
    }

    #[test]
    fn openmetrics_is_given_to_those_who_name_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::accepted(Some("*/*")), Format::Prometheus);
        assert_eq!(Format::accepted(None), Format::Prometheus);
    }
}
