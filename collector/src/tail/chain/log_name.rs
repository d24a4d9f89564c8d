//! The names of log files, and the order that they give.
//!
//! kubelet with containerd or CRI-O: `N.log` is written to, N the restart count; rotation renames it to
//! `N.log.YYYYMMDD-HHMMSS` and compresses older ones to `….gz` by way of `….tmp` (kubernetes
//! pkg/kubelet/logs/container_log_manager.go). Docker's json-file: `N.log` is a symbolic link to `ID-json.log`, rotated
//! to `ID-json.log.1`, `.2` and so on, higher is older, with or without `.gz`. logrotate, which some nodes have on top of
//! either, copies a file to `….1` or `…-YYYYMMDD` and truncates it (`copytruncate`).

/// What a file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogName {
    /// The container's restart count.
    pub restart: u32,
    /// Where it stands among the files of that restart.
    pub age: Age,
    /// Compressed by gzip.
    pub gzip: bool,
}

/// A file's place among those of one restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Rotated by the kubelet, or by logrotate with a date. The time in the name is local time, which runs backwards when daylight saving ends, so
    /// it does not decide the order: what the file begins with does.
    RotatedByTime,
    /// Rotated by Docker or logrotate; the number in the name.
    RotatedByNumber(u32),
    /// Written to.
    Live,
}

impl LogName {
    /// Parses a name in a container's folder; `None`: no log file, or one that is still being compressed.
    pub fn parse(name: &str) -> Option<Self> {
        let (restart, rest) = name.split_once(".log")?;
        let restart = parse_number(restart)?;
        if rest.is_empty() {
            return Some(Self { restart, age: Age::Live, gzip: false });
        }
        let (rest, gzip) = strip_gzip(rest);
        let is_kubelets = rest.strip_prefix('.').is_some_and(is_rotation_stamp);
        let age = if is_kubelets { Some(Age::RotatedByTime) } else { numbered_or_dated(rest) };
        Some(Self { restart, age: age?, gzip })
    }

    /// Parses the name of a file beside the target of Docker's link; `live` is the target's own name.
    pub fn parse_docker(name: &str, live: &str, restart: u32) -> Option<Self> {
        let rest = name.strip_prefix(live)?;
        if rest.is_empty() {
            return Some(Self { restart, age: Age::Live, gzip: false });
        }
        let (rest, gzip) = strip_gzip(rest);
        Some(Self { restart, age: numbered_or_dated(rest)?, gzip })
    }
}

/// `.1` to `.9999`, or logrotate's `-YYYYMMDD` with or without more of the time.
fn numbered_or_dated(rest: &str) -> Option<Age> {
    if let Some(number) = rest.strip_prefix('.').filter(|number| number.len() <= 4) {
        return parse_number(number).map(Age::RotatedByNumber);
    }
    let date = rest.strip_prefix('-')?.as_bytes();
    let is_date = date.len() >= 8 && date[..8].iter().all(u8::is_ascii_digit);
    let is_time = is_date && date[8..].iter().all(|b| b.is_ascii_digit() || *b == b'-');
    is_time.then_some(Age::RotatedByTime)
}

fn strip_gzip(name: &str) -> (&str, bool) {
    name.strip_suffix(".gz").map_or((name, false), |plain| (plain, true))
}

fn parse_number(text: &str) -> Option<u32> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// `YYYYMMDD-HHMMSS`.
fn is_rotation_stamp(text: &str) -> bool {
    text.len() == 15 && text.bytes().enumerate().all(|(i, b)| if i == 8 { b == b'-' } else { b.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelets_names_are_known() {
        let name = |restart, age, gzip| Some(LogName { restart, age, gzip });
        assert_eq!(LogName::parse("0.log"), name(0, Age::Live, false));
        assert_eq!(LogName::parse("12.log"), name(12, Age::Live, false));
        assert_eq!(LogName::parse("0.log.20260102-030405"), name(0, Age::RotatedByTime, false));
        assert_eq!(LogName::parse("3.log.20260102-030405.gz"), name(3, Age::RotatedByTime, true));
    }

    #[test]
    fn the_copies_that_logrotate_makes_before_it_truncates_are_known() {
        let name = |age, gzip| Some(LogName { restart: 0, age, gzip });
        assert_eq!(LogName::parse("0.log.1"), name(Age::RotatedByNumber(1), false));
        assert_eq!(LogName::parse("0.log.12.gz"), name(Age::RotatedByNumber(12), true));
        assert_eq!(LogName::parse("0.log-20260102"), name(Age::RotatedByTime, false));
        assert_eq!(LogName::parse("0.log-20260102-1767323045.gz"), name(Age::RotatedByTime, true));
        assert_eq!(LogName::parse_docker("ab-json.log-20260102", "ab-json.log", 0), name(Age::RotatedByTime, false));
    }

    #[test]
    fn dockers_names_are_known() {
        let live = "ab12-json.log";
        let parse = |name| LogName::parse_docker(name, live, 2);
        assert_eq!(parse("ab12-json.log"), Some(LogName { restart: 2, age: Age::Live, gzip: false }));
        assert_eq!(parse("ab12-json.log.1"), Some(LogName { restart: 2, age: Age::RotatedByNumber(1), gzip: false }));
        assert_eq!(parse("ab12-json.log.4.gz"), Some(LogName { restart: 2, age: Age::RotatedByNumber(4), gzip: true }));
        assert_eq!(parse("config.v2.json"), None);
        assert_eq!(parse("ab12-json.log.tmp"), None);
    }

    #[test]
    fn other_names_are_no_logs() {
        for name in [
            "",
            "0.log.20260102-030405.tmp",
            "0.log.20260102-030405.gz.tmp",
            "0.log.",
            "0.log.20260102",
            "0.log-",
            "0.log-2026010",
            "0.log-20260102x",
            "x.log",
            ".log",
            "+1.log",
            "-1.log",
            "0.logx",
            "0.txt",
            "4294967296.log",
            "0.log.20260102_030405",
        ] {
            assert_eq!(LogName::parse(name), None, "{name}");
        }
    }
}
