//! The collector's own figures: `/metrics` in Prometheus' text format, and /proc.

use std::{fs, io, time::Duration};

use anyhow::{Context, bail};

const TIMEOUT: Duration = Duration::from_secs(2);

/// One line of `/metrics`.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// What `/metrics` said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<Sample>);

/// A backend and why it is not a better one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// As the info metric's label has it: `inotify`, `ebpf (…)`, `io_uring`.
    pub name: String,
    /// Empty where the first choice was taken.
    pub fallback_reason: String,
}

impl Metrics {
    /// Asks the status server at `address`.
    pub fn fetch(address: &str) -> anyhow::Result<Self> {
        let (status, body) = crate::http::get(&format!("http://{address}/metrics"), TIMEOUT)?;
        if status != 200 {
            bail!("/metrics answered {status}");
        }
        Self::parse(&String::from_utf8_lossy(&body))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| parse_sample(line).with_context(|| format!("cannot read the metric {line:?}"));
        lines.map(sample).collect::<anyhow::Result<_>>().map(Self)
    }

    /// The sum over all label sets of a metric; 0 where there is none.
    pub fn sum(&self, name: &str) -> u64 {
        self.0.iter().filter(|sample| sample.name == name).map(|sample| sample.value).sum::<f64>() as u64
    }

    /// The backend that an info metric names.
    pub fn backend(&self, name: &str) -> Option<Backend> {
        let sample = self.0.iter().find(|sample| sample.name == name && sample.value > 0.0)?;
        let label = |name| sample.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        Some(Backend { name: label("backend")?, fallback_reason: label("fallback_reason").unwrap_or_default() })
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = parse_label_value(after)?;
            labels.push((label.trim_start_matches(',').to_owned(), value));
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A value up to its closing quotation mark, and what follows.
fn parse_label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => match chars.next()? {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

/// What the kernel says about a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time, all threads.
    pub cpu: Duration,
    /// Resident now.
    pub resident_bytes: u64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
}

impl Usage {
    /// Of a running process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Self::parse(&stat, &status, rustix::param::clock_ticks_per_second())
            .ok_or_else(|| io::Error::other("cannot read /proc"))
    }

    fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Self> {
        // The command's name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let bytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
        };
        Some(Self {
            cpu: Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64),
            resident_bytes: bytes("VmRSS:")?,
            peak_bytes: bytes("VmHWM:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP pilcrow_parsed_lines Log records parsed, by format.\n\
        # TYPE pilcrow_parsed_lines counter\n\
        pilcrow_parsed_lines_total{format=\"cri\"} 120\n\
        pilcrow_parsed_lines_total{format=\"docker\"} 3\n\
        pilcrow_lag_bytes{namespace=\"a\",pod=\"b,}c\",container=\"d\"} 1.5e3 1700000000\n\
        pilcrow_open_files 7\n\
        pilcrow_signal_backend_info{backend=\"inotify\",fallback_reason=\"no \\\"BTF\\\",\\nreally {\"} 1\n\
        # EOF\n";

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let metrics = Metrics::parse(TEXT).unwrap();
        assert_eq!(metrics.sum("pilcrow_parsed_lines_total"), 123);
        assert_eq!(metrics.sum("pilcrow_lag_bytes"), 1500);
        assert_eq!(metrics.sum("pilcrow_open_files"), 7);
        assert_eq!(metrics.sum("pilcrow_absent"), 0);
        assert!(Metrics::parse("no number").is_err());
    }

    #[test]
    fn backends_and_their_reasons_are_read() {
        let backend = Metrics::parse(TEXT).unwrap().backend("pilcrow_signal_backend_info").unwrap();
        let expected = Backend { name: "inotify".into(), fallback_reason: "no \"BTF\",\nreally {".into() };
        assert_eq!(backend, expected);
        assert_eq!(Metrics::default().backend("pilcrow_signal_backend_info"), None);
    }

    #[test]
    fn usage_is_read_whatever_the_command_is_called() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 100 1000000 500";
        let status = "Name:\ta) b (c\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let usage = Usage::parse(stat, status, 100).unwrap();
        let expected = Usage { cpu: Duration::from_secs(2), resident_bytes: 1 << 20, peak_bytes: 2 << 20 };
        assert_eq!(usage, expected);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 0 && usage.peak_bytes >= usage.resident_bytes);
    }
}
