//! The names of log files, and the order that they give.
//!
//! kubelet with containerd or CRI-O: `N.log` is written to, N the restart count; rotation renames it to
//! `N.log.YYYYMMDD-HHMMSS` and compresses older ones to `….gz` by way of `….tmp` (kubernetes
//! pkg/kubelet/logs/container_log_manager.go). Docker's json-file: `N.log` is a symbolic link to `ID-json.log`, rotated
//! to `ID-json.log.1`, `.2` and so on, higher is older, with or without `.gz`.

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
    /// Rotated by the kubelet. The time in the name is local time, which runs backwards when daylight saving ends, so
    /// it does not decide the order: what the file begins with does.
    RotatedByTime,
    /// Rotated by Docker; the number in the name.
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
        let (stamp, gzip) = strip_gzip(rest.strip_prefix('.')?);
        is_rotation_stamp(stamp).then_some(Self { restart, age: Age::RotatedByTime, gzip })
    }

    /// Parses the name of a file beside the target of Docker's link; `live` is the target's own name.
    pub fn parse_docker(name: &str, live: &str, restart: u32) -> Option<Self> {
        let rest = name.strip_prefix(live)?;
        if rest.is_empty() {
            return Some(Self { restart, age: Age::Live, gzip: false });
        }
        let (number, gzip) = strip_gzip(rest.strip_prefix('.')?);
        Some(Self { restart, age: Age::RotatedByNumber(parse_number(number)?), gzip })
    }
}

fn strip_gzip(name: &str) -> (&str, bool) {
    name.strip_suffix(".gz").map_or((name, false), |plain| (plain, true))
}

fn parse_number(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
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
            "0.log.1",
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
